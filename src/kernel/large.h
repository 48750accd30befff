/* Products of a dense layer whose weights do not fit a core's cache. They pass from memory once for
 * all rows, a few columns at a time, laid out for registers on their way, while what they meet
 * stays near: where BLAS lays out all of them first and clears what it is to fill.
 *
 * Every row of z and dx is computed by itself: its bits do not depend on which other rows come with
 * it, nor those of anything on the number of threads. */
#ifndef COHORT_KERNEL_LARGE_H
#define COHORT_KERNEL_LARGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* Whether weights [k][n] are for these functions, on this CPU. */
bool cohort_large_fits(size_t k, size_t n);

/* Reals of SCRATCH (64-byte aligned) that each function wants for at most ROWS rows. */
size_t cohort_large_scratch(size_t rows);

/* z [rows][n] = x [rows][k] * w [k][n]. */
void cohort_large_forward(real *z, const real *x, const real *w, size_t rows, size_t k, size_t n,
                          real *scratch);

/* dx [rows][k] = dz [rows][n] * w'. PROGRESS (NULL: nobody) is called every few milliseconds, by
 * the calling thread. */
void cohort_large_data(real *dx, const real *dz, const real *w, size_t rows, size_t k, size_t n,
                       void (*progress)(const void *context), const void *context, real *scratch);

/* The rows [begin, end) of dw [k][n] (ADD: +=) = x' * dz, summed row after row. */
void cohort_large_weights(real *dw, const real *x, const real *dz, size_t rows, size_t k, size_t n,
                          size_t begin, size_t end, bool add, real *scratch);

#endif
