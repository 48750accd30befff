/* bfloat16: rounding bit by bit, products against double precision. */
#include "tests/unit/dense_products.h"

#include <omp.h>

#include "kernel/bf16.h"

static void test_rounding(void **state)
{
    (void)state;
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, /* half-way: to even, down */
        {0x3f818000, 0x3f82},                       /* … up */
        {0x3f808001, 0x3f81}, {0x3f807fff, 0x3f80}, {0x80000000, 0x8000},
        {0x7f800000, 0x7f80}, {0xff800000, 0xff80}, {0x7f7fffff, 0x7f80}, /* to infinity */
        {0x7fc00000, 0x7fc0}, {0x7fffffff, 0x7fff}, {0x7f800001, 0x7fc0}, /* NaN stays NaN */
        {0x00000001, 0x0000},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    float from[COUNT];
    uint16_t to[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        memcpy(&from[i], &cases[i].from, sizeof from[i]);
    cohort_bf16_round(to, from, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        if (to[i] != cases[i].to)
            fail_msg("%08x became %04x, not %04x", cases[i].from, to[i], cases[i].to);
}

/* The nearest of the two that VALUE lies between; ties to the even one. */
static uint16_t nearest(float value)
{
    uint32_t bits, above_bits;
    memcpy(&bits, &value, sizeof bits);
    bits &= 0xffff0000;
    above_bits = bits + 0x10000;
    float below, above;
    memcpy(&below, &bits, sizeof below);
    memcpy(&above, &above_bits, sizeof above);
    const double down = fabs((double)value - (double)below);
    const double up = fabs((double)above - (double)value);
    const bool is_down = down < up || (down == up && (bits & 0x10000) == 0);
    return (uint16_t)((is_down ? bits : above_bits) >> 16);
}

/* Of every length up to some registers, nothing written behind them. */
static void test_rounding_lengths(void **state)
{
    (void)state;
    enum { MOST = 150 };
    real *from = noise(MOST, 5);
    uint16_t to[MOST + 1];
    for (size_t i = 0; i < MOST; i++)
        from[i] *= powf(2, (float)(i % 200) - 100);
    for (size_t count = 0; count <= MOST; count++) {
        memset(to, 0xab, sizeof to);
        cohort_bf16_round(to, from, count);
        for (size_t i = 0; i < count; i++)
            if (to[i] != nearest(from[i]))
                fail_msg("%zu of %zu: %a became %04x, not %04x", i, count, (double)from[i], to[i],
                         nearest(from[i]));
        assert_int_equal(to[count], 0xabab);
    }
    cohort_free(from);
}

static double rounded(real value)
{
    uint16_t half;
    cohort_bf16_round(&half, &value, 1);
    const uint32_t bits = (uint32_t)half << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return (double)out;
}

/* Twice, so that the prepared product is used again; then on more threads. */
static void check_product(size_t m, size_t n, size_t k, bool trans_a, bool trans_b, bool add)
{
    const cohort_transpose ta = trans_a ? COHORT_TRANSPOSED : COHORT_PLAIN;
    const cohort_transpose tb = trans_b ? COHORT_TRANSPOSED : COHORT_PLAIN;
    cohort_bf16 *products;
    real *a = noise(m * k, 1), *b = noise(k * n, 2), *c = noise(m * n, 3), *again = noise(m * n, 3);
    real *scratch = noise(cohort_bf16_scratch(m, n, k) + 1, 4);
    omp_set_num_threads(3);
    assert_ok(cohort_bf16_create(&products));
    cohort_bf16_product(products, ta, tb, m, n, k, a, b, add, again, scratch);
    omp_set_num_threads(1);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = add ? (double)c[i * n + j] : 0;
            for (size_t p = 0; p < k; p++)
                sum += rounded(a[trans_a ? p * m + i : i * k + p]) *
                       rounded(b[trans_b ? j * k + p : p * n + j]);
            if (fabs(sum - (double)again[i * n + j]) > 1e-5 * (1 + sqrt((double)k)))
                fail_msg("%zux%zux%zu: [%zu][%zu] is %g, expected %g", m, n, k, i, j,
                         (double)again[i * n + j], sum);
        }
    cohort_bf16_product(products, ta, tb, m, n, k, a, b, add, c, scratch);
    assert_memory_equal(c, again, m * n * sizeof *c);
    cohort_bf16_destroy(products);
    real *all[] = {a, b, c, again, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void test_products(void **state)
{
    (void)state;
    static const size_t sizes[][3] = {{1, 1, 1},    {8, 10, 33},  {128, 16, 64},
                                      {129, 7, 20}, {300, 65, 9}, {31, 100, 257}};
    if (!cohort_bf16_available())
        skip();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int how = 0; how < 8; how++)
            check_product(sizes[i][0], sizes[i][1], sizes[i][2], how & 1, how & 2, how & 4);
}

/* Threads that run the same prepared panel at once must not share what it writes on the way. */
static void test_threads_do_not_meet(void **state)
{
    (void)state;
    if (!cohort_bf16_available())
        skip();
    for (int round = 0; round < 50; round++)
        check_product(900, 65, 9, round & 1, round & 2, round & 4);
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_rounding_lengths),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_threads_do_not_meet),
    };
    return cmocka_run_group_tests_name("bf16", tests, NULL, NULL);
}
