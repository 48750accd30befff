/* Loops over vectors and the rows of matrices. Sums run in a fixed order that depends on
 * the sizes and the instruction set alone. */
#ifndef COHORT_KERNEL_VECTOR_H
#define COHORT_KERNEL_VECTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* y += alpha * x. */
void cohort_vector_axpy(real *y, real alpha, const real *x, size_t count);
/* y += x. */
void cohort_vector_add(real *y, const real *x, size_t count);
/* y = a + b. */
void cohort_vector_sum_of(real *y, const real *a, const real *b, size_t count);
/* y = relu(a + b). */
void cohort_vector_relu_of_sum(real *y, const real *a, const real *b, size_t count);
/* dz = dy where y > 0, else 0; dy the same, in place. */
void cohort_vector_relu_gradients(real *restrict dz, real *restrict dy, const real *restrict y,
                                  size_t count);
/* y *= x. */
void cohort_vector_multiply(real *y, const real *x, size_t count);
/* x *= alpha. */
void cohort_vector_scale(real *x, real alpha, size_t count);
void cohort_vector_fill(real *x, real value, size_t count);
/* Sum of x, sum of x * y: block sums in `real`, their total in double. */
double cohort_vector_sum(const real *x, size_t count);
double cohort_vector_dot(const real *x, const real *y, size_t count);

/* z [rows][width] += bias [width] on every row. */
void cohort_vector_add_bias(real *z, const real *bias, size_t rows, size_t width);
/* sums [width] = (ADD: +=) the sum of the rows of x [rows][width]. */
void cohort_vector_column_sums(real *sums, const real *x, size_t rows, size_t width, bool add);

#endif
