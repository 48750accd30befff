/* What tests of dense products share: operands, and the definition in double precision. */
#ifndef COHORT_TESTS_DENSE_PRODUCTS_H
#define COHORT_TESTS_DENSE_PRODUCTS_H

#include "tests/cmocka_all.h"

#include <math.h>
#include <omp.h>
#include <stdbool.h>

#include "base/memory.h"
#include "base/real.h"
#include "base/rng.h"

/* COUNT numbers in ±1, others for each WHAT; freed by cohort_free. */
static inline real *noise(size_t count, uint32_t what)
{
    real *out;
    assert_ok(COHORT_ALLOCATE(&out, count));
    cohort_rng rng = cohort_rng_make(3, COHORT_RNG_TEST, what, count, 0);
    for (size_t i = 0; i < count; i++)
        out[i] = 2 * (real)cohort_rng_float(&rng) - 1;
    return out;
}

/* Leaves PERCENT of the COUNT numbers other than zero, others for each WHAT. */
static inline void thin_out(real *numbers, size_t count, size_t percent, uint32_t what)
{
    cohort_rng rng = cohort_rng_make(5, COHORT_RNG_TEST, what, count, 0);
    for (size_t i = 0; i < count; i++)
        if (100 * cohort_rng_float(&rng) >= (float)percent)
            numbers[i] = 0;
}

/* Runs the COUNT tests twice: with PERCENT 100, and with so many numbers other than zero that zeros
 * are left out. Returns how many failed. */
static inline int run_with_zeros(const char *name, const struct CMUnitTest *tests, size_t count,
                                 size_t *percent)
{
    *percent = 100;
    const int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    *percent = 25;
    return failed + _cmocka_run_group_tests("the same, mostly zeros", tests, count, NULL, NULL);
}

/* Zeros in column COLUMN of a [rows][width], which then meets nothing but NaN: the products are
 * finite only if they leave zeros out. */
static inline void clear_column(real *a, size_t rows, size_t width, size_t column)
{
    for (size_t row = 0; row < rows; row++)
        a[row * width + column] = 0;
}

static inline void set_nan(real *b, size_t count, size_t step)
{
    for (size_t i = 0; i < count; i++)
        b[i * step] = (real)NAN;
}

static inline void expect_finite(const real *c, size_t count, bool finite)
{
    bool all = true;
    for (size_t i = 0; i < count; i++)
        all &= isfinite(c[i]) != 0;
    assert_true(all == finite);
}

/* GOT is a sum that rounding moves by parts of SCALE. */
static inline void expect(double got, double wanted, double scale)
{
    if (!(fabs(got - wanted) <= 1e-5 * (1 + scale)))
        fail_msg("%g, expected %g", got, wanted);
}

/* z [rows][n] = x [rows][k] * w [k][n] and dx [rows][k] = dz [rows][n] * w', of every STEPth row.
 */
static inline void expect_rows(const real *z, const real *dx, const real *x, const real *dz,
                               const real *w, size_t rows, size_t step, size_t k, size_t n)
{
    for (size_t r = 0; r < rows; r += step) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += (double)x[r * k + i] * (double)w[i * n + j];
            expect((double)z[r * n + j], sum, sqrt((double)k));
        }
        for (size_t i = 0; i < k; i++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++)
                sum += (double)dz[r * n + j] * (double)w[i * n + j];
            expect((double)dx[r * k + i], sum, sqrt((double)n));
        }
    }
}

/* COMPUTE, the rows [row, row + rows) of OUT [ROWS][WIDTH] from OPERANDS, gives the same bits for
 * all rows on three threads and for 1 to MOST of them at a time on one. */
static inline void expect_rows_alone(void (*compute)(const void *operands, real *out, size_t row,
                                                     size_t rows),
                                     const void *operands, size_t rows, size_t width, size_t most)
{
    real *together = noise(rows * width, 8), *alone = noise(rows * width, 9);
    omp_set_num_threads(3);
    compute(operands, together, 0, rows);
    omp_set_num_threads(1);
    for (size_t row = 0, count = 1; row < rows; row += count, count = count % most + 1)
        compute(operands, alone, row, row + count < rows ? count : rows - row);
    assert_memory_equal(alone, together, rows * width * sizeof *alone);
    cohort_free(together);
    cohort_free(alone);
}

#endif
