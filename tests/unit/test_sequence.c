/* The kernels of sequence layers against their definitions, in plain loops. */
#include "tests/cmocka_all.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/embedding.h"
#include "kernel/panel.h"

/* The path of CPUs without AVX-512, compiled once more under other names. */
#define COHORT_NO_WIDE
#define cohort_panel_count narrow_count
#define cohort_panel_pack narrow_pack
#define cohort_panel_multiply narrow_multiply
#undef COHORT_KERNEL_PANEL_H
#include "kernel/panel.c"
#undef cohort_panel_count
#undef cohort_panel_pack
#undef cohort_panel_multiply

static cohort_rng stream;

/* COUNT numbers in ±1; freed by cohort_free. */
static real *numbers(size_t count)
{
    real *out = NULL;
    assert_ok(COHORT_ALLOCATE(&out, count));
    for (size_t i = 0; i < count; i++)
        out[i] = (real)(2 * cohort_rng_double(&stream) - 1);
    return out;
}

static void assert_close(const real *a, const double *b, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance * (1 + fabs(b[i]))))
            fail_msg("element %zu of %zu: %.9g, expected %.9g", i, count, (double)a[i], b[i]);
}

typedef void multiply(real *c, size_t ldc, cohort_transpose trans_a, const real *a, size_t lda,
                      const real *packed, size_t m, size_t n, size_t k, bool add);

static void check_product(multiply *run, size_t m, size_t n, size_t k, cohort_transpose trans_a,
                          cohort_transpose trans_b, bool add)
{
    const size_t lda = (trans_a == COHORT_PLAIN ? k : m) + 3;
    const size_t ldb = (trans_b == COHORT_PLAIN ? n : k) + 1, ldc = n + 2;
    real *a = numbers(m * lda + k * lda), *b = numbers(k * ldb + n * ldb), *c = numbers(m * ldc);
    real *packed = numbers(cohort_panel_count(k, n) + 1);
    double *expected = NULL;
    assert_ok(COHORT_ALLOCATE(&expected, m * ldc));
    for (size_t i = 0; i < m * ldc; i++)
        expected[i] = c[i];
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = add ? expected[i * ldc + j] : 0;
            for (size_t p = 0; p < k; p++)
                sum += (double)(trans_a == COHORT_PLAIN ? a[i * lda + p] : a[p * lda + i]) *
                       (double)(trans_b == COHORT_PLAIN ? b[p * ldb + j] : b[j * ldb + p]);
            expected[i * ldc + j] = sum;
        }
    cohort_panel_pack(packed, trans_b, b, ldb, k, n);
    run(c, ldc, trans_a, a, lda, packed, m, n, k, add);
    assert_close(c, expected, m * ldc, 1e-5);
    cohort_free(a);
    cohort_free(b);
    cohort_free(c);
    cohort_free(packed);
    cohort_free(expected);
}

static void panels_multiply(void **state)
{
    (void)state;
    const size_t sizes[][3] = {{1, 1, 1},   {8, 32, 4},   {15, 33, 7}, {32, 128, 32},
                               {13, 70, 0}, {3, 31, 100}, {7, 96, 5},  {9, 20, 33}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned variant = 0; variant < 16; variant++)
            check_product(variant & 8 ? narrow_multiply : cohort_panel_multiply, sizes[s][0],
                          sizes[s][1], sizes[s][2], variant & 1 ? COHORT_TRANSPOSED : COHORT_PLAIN,
                          variant & 2 ? COHORT_TRANSPOSED : COHORT_PLAIN, variant & 4);
}

static void embeddings_gather_and_scatter(void **state)
{
    (void)state;
    enum { VOCABULARY = 7, UNITS = 5, COUNT = 6 };
    const int32_t tokens[COUNT] = {3, 0, 3, 6, 3, 1};
    real *table = numbers(VOCABULARY * UNITS), *dy = numbers(COUNT * UNITS);
    real y[COUNT * UNITS], dtable[VOCABULARY * UNITS];
    double expected[VOCABULARY * UNITS];
    cohort_embedding_forward(y, table, tokens, COUNT, UNITS);
    for (size_t i = 0; i < VOCABULARY * UNITS; i++)
        expected[i] = dtable[i] = REAL(0.5);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < UNITS; j++) {
            assert_true(y[i * UNITS + j] == table[(size_t)tokens[i] * UNITS + j]);
            expected[(size_t)tokens[i] * UNITS + j] += dy[i * UNITS + j];
        }
    cohort_embedding_backward(dtable, dy, tokens, COUNT, UNITS);
    assert_close(dtable, expected, VOCABULARY * UNITS, 1e-6);
    cohort_free(table);
    cohort_free(dy);
}

static void sinusoids(void **state)
{
    (void)state;
    real table[11 * 5];
    cohort_sinusoid_table(table, 11, 5);
    const double expected[] = {0, 1, 0, 1, 0};
    assert_close(table, expected, 5, 1e-7);
    const double rate = pow(10000, -2.0 / 5);
    const double tenth[] = {sin(10), cos(10), sin(10 * rate), cos(10 * rate),
                            sin(10 * rate * rate)};
    assert_close(table + 50, tenth, 5, 1e-6);
}

static int setup(void **state)
{
    (void)state;
    stream = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_multiply),
        cmocka_unit_test(embeddings_gather_and_scatter),
        cmocka_unit_test(sinusoids),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
