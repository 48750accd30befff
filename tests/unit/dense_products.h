/* What tests of dense products share: operands, and the definition in double precision. */
#ifndef COHORT_TESTS_DENSE_PRODUCTS_H
#define COHORT_TESTS_DENSE_PRODUCTS_H

#include "tests/cmocka_all.h"

#include <math.h>

#include "base/memory.h"
#include "base/real.h"
#include "base/rng.h"

/* COUNT numbers in ±1, others for each WHAT; freed by cohort_free. */
static real *noise(size_t count, uint32_t what)
{
    real *out;
    assert_ok(COHORT_ALLOCATE(&out, count));
    cohort_rng rng = cohort_rng_make(3, COHORT_RNG_TEST, what, count, 0);
    for (size_t i = 0; i < count; i++)
        out[i] = 2 * (real)cohort_rng_float(&rng) - 1;
    return out;
}

/* SCALE: of the terms' sum of which GOT is one. */
static void expect(double got, double wanted, double scale)
{
    if (!(fabs(got - wanted) <= 1e-5 * (1 + scale)))
        fail_msg("%g, expected %g", got, wanted);
}

/* z [rows][n] = x [rows][k] * w [k][n] and dx [rows][k] = dz [rows][n] * w', of every STEPth row.
 */
static void expect_rows(const real *z, const real *dx, const real *x, const real *dz, const real *w,
                        size_t rows, size_t step, size_t k, size_t n)
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

#endif
