/* Products of a layer whose matrix of weights fits a core's cache, for any number of rows, few
 * above all, where BLAS would spend its time on packing the weights.
 *
 * Every row is computed by itself: its bits do not depend on which other rows come with it, nor
 * on the number of threads. Gradients of weights are summed over parts of the rows in the order
 * of a balanced binary tree, so that they have the bits of the parts computed apart and
 * added in that order. */
#ifndef COHORT_KERNEL_THIN_H
#define COHORT_KERNEL_THIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"
#include "kernel/parts.h"

/* Whether weights [k][n] are for these functions. */
bool cohort_thin_fits(size_t k, size_t n);

/* Reals of SCRATCH (64-byte aligned) that each function wants for at most ROWS rows. */
size_t cohort_thin_forward_scratch(size_t rows, size_t k, size_t n);
size_t cohort_thin_backward_scratch(size_t rows, size_t k, size_t n);

/* What is done to the rows [row, row + rows) of a matrix while they are in cache. Threads call it
 * for rows of their own. */
typedef struct cohort_thin_rows {
    void (*visit)(void *context, size_t row, size_t rows);
    void *context;
} cohort_thin_rows;

/* z [rows][n] = x [rows][k] * w [k][n] + bias [n] (NULL: none); then FINISH, unless it is NULL, on
 * every row of z. */
void cohort_thin_forward(real *z, const real *x, const real *w, const real *bias, size_t rows,
                         size_t k, size_t n, const cohort_thin_rows *finish, real *scratch);

/* dx [rows][k] = dz [rows][n] * w'. */
void cohort_thin_data(real *dx, const real *dz, const real *w, size_t rows, size_t k, size_t n,
                      real *scratch);

/* dw [k][n] (ADD: +=) the sum over parts of x_p' * dz_p: of halves, of quarters, … */
void cohort_thin_weights(real *dw, const real *x, const real *dz, const cohort_row_parts *parts,
                         size_t k, size_t n, bool add, real *scratch);
/* db [n] (ADD: +=) the sum of the rows of dz in the order of cohort_thin_weights. */
void cohort_thin_bias(real *db, const real *dz, const cohort_row_parts *parts, size_t n, bool add);

/* All of backward for one part of many rows. */
typedef struct cohort_thin_backward {
    real *dw, *db, *dx; /* [k][n], [n] and [rows][k]; those that are NULL are not wanted */
    const real *x, *w;  /* of forward */
    real *dz;           /* [rows][n] */
    size_t rows, k, n;
    bool add;                 /* dw and db, not dx, are added to */
    cohort_thin_rows prepare; /* makes rows of dz what they should be; visit may be NULL */
    real *scratch;
} cohort_thin_backward;

/* dw (+)= x' * dz and db (+)= the sum of the rows of dz, row after row; dx = dz * w'. Some rows of
 * dz after others are prepared and taken into all three while they are in cache. */
void cohort_thin_backward_of_many(const cohort_thin_backward *backward);

#endif
