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

/* Whether weights [k][n] are for these functions. */
bool cohort_thin_fits(size_t k, size_t n);

/* Reals of SCRATCH (64-byte aligned) that each function wants for at most ROWS rows. */
size_t cohort_thin_forward_scratch(size_t rows, size_t k, size_t n);
size_t cohort_thin_backward_scratch(size_t rows, size_t k, size_t n);

/* z [rows][n] = x [rows][k] * w [k][n]. */
void cohort_thin_forward(real *z, const real *x, const real *w, size_t rows, size_t k, size_t n,
                         real *scratch);

/* dx [rows][k] = dz [rows][n] * w'. */
void cohort_thin_data(real *dx, const real *dz, const real *w, size_t rows, size_t k, size_t n,
                      real *scratch);

/* Consecutive rows in parts: part p ends before row ends[p] * unit. */
typedef struct cohort_thin_parts {
    const size_t *ends; /* [count], not falling */
    size_t count;       /* a power of two, at most 2^COHORT_THIN_LEVELS */
    size_t unit;
} cohort_thin_parts;

enum { COHORT_THIN_LEVELS = 10 };

/* dw [k][n] (ADD: +=) the sum over parts of x_p' * dz_p: of halves, of quarters, … */
void cohort_thin_weights(real *dw, const real *x, const real *dz, const cohort_thin_parts *parts,
                         size_t k, size_t n, bool add, real *scratch);
/* The same for one part of many rows: dw (+)= x' * dz, row after row. */
void cohort_thin_weights_of_many(real *dw, const real *x, const real *dz, size_t rows, size_t k,
                                 size_t n, bool add, real *scratch);
/* db [n] (ADD: +=) the sum of the rows of dz in the order of cohort_thin_weights. */
void cohort_thin_bias(real *db, const real *dz, const cohort_thin_parts *parts, size_t n, bool add);

#endif
