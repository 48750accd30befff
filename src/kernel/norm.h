/* Normalisation: batch norm over the columns, layer norm over the rows of a matrix
 * [rows][width]. */
#ifndef COHORT_KERNEL_NORM_H
#define COHORT_KERNEL_NORM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* Sums of the columns of x - shift and of their squares into SUMS [2][width] (set). SHIFT
 * [width], near the means, keeps the squares small; the totals are in double. */
void cohort_norm_moments(double *sums, const real *x, const real *shift, size_t rows, size_t width);

/* y = (x - mean) * scale + offset by column, plus SIDE [rows][width] unless it is NULL; with RELU
 * the positive part of it. Y may be X. */
void cohort_norm_apply(real *y, const real *x, const real *mean, const real *scale,
                       const real *offset, const real *side, bool relu, size_t rows, size_t width);

/* dy = 0 wherever y <= 0 (in place; skipped when Y is NULL), then the column sums of dy and
 * of dy * (x - mean) into SUMS [2][width] (set). */
void cohort_norm_gradient_sums(double *sums, real *dy, const real *y, const real *x,
                               const real *mean, size_t rows, size_t width);

/* dx = a * dy + b * (x - mean) + c, by column. DX may be DY. */
void cohort_norm_gradient(real *dx, const real *dy, const real *x, const real *mean, const real *a,
                          const real *b, const real *c, size_t rows, size_t width);

/* Layer norm (Ba, Kiros and Hinton 2016): y = (x - mean) * inverse * gamma + beta with the
 * mean and variance (divided by width) of each row, inverse = 1 / sqrt(variance + epsilon).
 * MEAN, INVERSE [rows] are results. Y may be X. */
void cohort_norm_rows(real *y, real *mean, real *inverse, const real *x, const real *gamma,
                      const real *beta, real epsilon, size_t rows, size_t width);

/* Its gradients: dx (may be DY; NULL: not wanted), plus SIDE [rows][width] unless it is NULL, and
 * DGAMMA, DBETA [width], to which is added (NULL: not wanted). */
void cohort_norm_rows_backward(real *dx, const real *side, real *dgamma, real *dbeta,
                               const real *dy, const real *x, const real *mean, const real *inverse,
                               const real *gamma, size_t rows, size_t width);

#endif
