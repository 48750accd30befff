/* Dense products with many weights: against sums in double precision; a row's bits do not depend on
 * other rows, nor any on the number of threads or on how the weights are cut. */
#include "tests/unit/dense_products.h"

#include <omp.h>
#include <stdlib.h>

#ifdef COHORT_NO_WIDE /* the path of CPUs without AVX-512, compiled once more */
#define cohort_panel_count narrow_panel_count
#define cohort_panel_pack narrow_panel_pack
#define cohort_panel_pack_strip narrow_panel_pack_strip
#define cohort_panel_strip narrow_panel_strip
#define cohort_panel_strip_columns narrow_panel_strip_columns
#define cohort_panel_has_registers narrow_panel_has_registers
#define cohort_panel_multiply narrow_panel_multiply
#define cohort_panel_multiply_bias narrow_panel_multiply_bias
#define cohort_panel_product narrow_panel_product
#define cohort_large_fits narrow_large_fits
#define cohort_large_scratch narrow_large_scratch
#define cohort_large_forward narrow_large_forward
#define cohort_large_data narrow_large_data
#define cohort_large_weights narrow_large_weights
#include "kernel/large.c"
#include "kernel/panel.c"
#else
#include "kernel/large.h"
#include "kernel/panel.h"
#endif

static const size_t sizes[][2] = {{128, 128}, {144, 272}, {784, 160}, {272, 1040}, {384, 416}};
/* More rows than are near at a time. */
enum { SIZES = sizeof sizes / sizeof *sizes, ROWS = 531 };

/* Of the operands of which zeros may be left out. */
static size_t nonzero_percent;

typedef struct fixture {
    size_t k, n;
    real *x, *w, *dz, *z, *dx, *dw, *scratch;
} fixture;

static void set_up(fixture *f, size_t k, size_t n)
{
    *f = (fixture){.k = k, .n = n};
    f->x = noise(ROWS * k, 1);
    f->w = noise(k * n, 2);
    f->dz = noise(ROWS * n, 3);
    thin_out(f->x, ROWS * k, nonzero_percent, 1);
    thin_out(f->dz, ROWS * n, nonzero_percent, 2);
    f->z = noise(ROWS * n, 4);
    f->dx = noise(ROWS * k, 5);
    f->dw = noise(k * n, 6);
    f->scratch = noise(cohort_large_scratch(ROWS), 7);
}

static void tear_down(fixture *f)
{
    real *all[] = {f->x, f->w, f->dz, f->z, f->dx, f->dw, f->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void forward(const void *operands, real *z, size_t row, size_t rows)
{
    const fixture *f = operands;
    cohort_large_forward(z + row * f->n, f->x + row * f->k, f->w, rows, f->k, f->n, f->scratch);
}

static void data(const void *operands, real *dx, size_t row, size_t rows)
{
    const fixture *f = operands;
    cohort_large_data(dx + row * f->k, f->dz + row * f->n, f->w, rows, f->k, f->n, NULL, NULL,
                      f->scratch);
}

static void test_against_definition(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++) {
        fixture f;
        set_up(&f, sizes[s][0], sizes[s][1]);
        const size_t k = f.k, n = f.n;
        forward(&f, f.z, 0, ROWS);
        data(&f, f.dx, 0, ROWS);
        for (int add = 0; add < 2; add++)
            cohort_large_weights(f.dw, f.x, f.dz, ROWS, k, n, 0, k, add, f.scratch);
        expect_rows(f.z, f.dx, f.x, f.dz, f.w, ROWS, 53, k, n);
        for (size_t i = 0; i < k; i += 7)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t r = 0; r < ROWS; r++)
                    sum += (double)f.x[r * k + i] * (double)f.dz[r * n + j];
                expect((double)f.dw[i * n + j], 2 * sum, ROWS);
            }
        tear_down(&f);
    }
}

static void test_rows_alone(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++) {
        fixture f;
        set_up(&f, sizes[s][0], sizes[s][1]);
        expect_rows_alone(forward, &f, ROWS, f.n, 61);
        expect_rows_alone(data, &f, ROWS, f.k, 61);
        tear_down(&f);
    }
}

static void test_weights_in_pieces(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++) {
        fixture f;
        set_up(&f, sizes[s][0], sizes[s][1]);
        real *pieces = noise(f.k * f.n, 10);
        omp_set_num_threads(3);
        cohort_large_weights(f.dw, f.x, f.dz, ROWS, f.k, f.n, 0, f.k, false, f.scratch);
        omp_set_num_threads(1);
        for (size_t begin = 0, count = 1, end; begin < f.k; begin = end, count = count % 217 + 31) {
            end = begin + count < f.k ? begin + count : f.k;
            cohort_large_weights(pieces, f.x, f.dz, ROWS, f.k, f.n, begin, end, false, f.scratch);
        }
        assert_memory_equal(pieces, f.dw, f.k * f.n * sizeof *pieces);
        cohort_free(pieces);
        tear_down(&f);
    }
}

/* No rows: gradients of 0, or left as they are. */
static void test_none(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, 272, 128);
    const real before = f.dw[7];
    cohort_large_weights(f.dw, f.x, f.dz, 0, f.k, f.n, 0, f.k, true, f.scratch);
    assert_true(f.dw[7] == before);
    cohort_large_weights(f.dw, f.x, f.dz, 0, f.k, f.n, 0, 100, false, f.scratch);
    for (size_t i = 0; i < 100 * f.n; i++)
        assert_true(f.dw[i] == 0);
    assert_true(f.dw[100 * f.n] != 0);
    forward(&f, f.z, 0, 0);
    data(&f, f.dx, 0, 0);
    tear_down(&f);
}

static void count_calls(const void *context)
{
    ++**(int *const *)context;
}

/* Whoever has something under way is called, more than once for many weights. */
static void test_progress(void **state)
{
    (void)state;
    fixture f;
    int calls = 0, *const counter = &calls;
    set_up(&f, 272, 1040);
    cohort_large_data(f.dx, f.dz, f.w, ROWS, f.k, f.n, count_calls, &counter, f.scratch);
    assert_true(calls > 1);
    tear_down(&f);
}

static void test_sizes_that_fit(void **state)
{
    (void)state;
    assert_true(cohort_large_fits(784, 2048) == cohort_panel_has_registers());
    assert_false(cohort_large_fits(784, 2056));
    assert_false(cohort_large_fits(785, 2048));
    assert_false(cohort_large_fits(1 << 20, 16));
    assert_false(cohort_large_fits(16, 1 << 20));
}

/* Nothing else tells whether zeros are left out: the bits are the same. */
static void test_zeros_are_left_out(void **state)
{
    (void)state;
    enum { K = 384, N = 416 };
    const bool finite = nonzero_percent < 100;
    fixture f;
    set_up(&f, K, N);
    clear_column(f.x, ROWS, K, 300);
    set_nan(f.w + 300 * N, N, 1);
    forward(&f, f.z, 0, ROWS);
    expect_finite(f.z, ROWS * N, finite);
    tear_down(&f);
    set_up(&f, K, N);
    clear_column(f.dz, ROWS, N, 70);
    set_nan(f.w + 70, K, N);
    data(&f, f.dx, 0, ROWS);
    expect_finite(f.dx, ROWS * K, finite);
    tear_down(&f);
    set_up(&f, K, N);
    clear_column(f.x + 30 * K, K, 1, 0);
    set_nan(f.dz + 30 * N, N, 1);
    cohort_large_weights(f.dw, f.x, f.dz, ROWS, K, N, 0, K, false, f.scratch);
    expect_finite(f.dw, K * N, finite);
    tear_down(&f);
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition), cmocka_unit_test(test_rows_alone),
        cmocka_unit_test(test_weights_in_pieces),  cmocka_unit_test(test_none),
        cmocka_unit_test(test_progress),           cmocka_unit_test(test_sizes_that_fit),
        cmocka_unit_test(test_zeros_are_left_out),
    };
    return run_with_zeros("large", tests, sizeof tests / sizeof *tests, &nonzero_percent);
}
