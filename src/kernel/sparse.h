/* Products whose left operand is zero in many places: what relu left of a layer, its gradient, the
 * margins of pictures, categories as zeros and a one. Multiply-adds of its zeros are left out. The
 * others come in the order of every other product here, one after another along k, so that sums
 * have the same bits whichever way is taken (if b is finite, zeros of either sign being the same):
 * what lies in memory may decide. */
#ifndef COHORT_KERNEL_SPARSE_H
#define COHORT_KERNEL_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "kernel/gemm.h"
#include "kernel/panel.h"
#include "kernel/parts.h"

/* Steps along k that a mask tells of. */
enum { COHORT_SPARSE_DEPTH = 64 };

/* Whether zeros are so many in a [rows][columns], rows LDA reals apart, that leaving them out pays
 * for sums of DEPTH elements of it, each with N columns of b. Looks at some of them. */
bool cohort_sparse_pays(const real *a, size_t lda, size_t rows, size_t columns, size_t depth,
                        size_t n);

/* Bit p of masks[i] = whether op(a) [m][k] is not zero at (i, p); K at most COHORT_SPARSE_DEPTH. */
void cohort_sparse_mask(uint64_t *masks, cohort_transpose trans, const real *a, size_t lda,
                        size_t m, size_t k);

/* Columns of b that pass through the registers at a time: some panels, at most
 * COHORT_SPARSE_COLUMNS. */
#define COHORT_SPARSE_COLUMNS (4 * COHORT_PANEL)
size_t cohort_sparse_columns(void);

/* c [m][columns] = FIRST + op(a) [m][k] * b [k][columns], by the MASKS of op(a). FIRST: rows
 * LD_FIRST apart (0: one for all; it may be c), NULL: zero. COLUMNS: panels, at most
 * cohort_sparse_columns; rows of b are best adjoining. */
void cohort_sparse_multiply(real *c, size_t ldc, const real *first, size_t ld_first,
                            cohort_transpose trans, const real *a, size_t lda,
                            const uint64_t *masks, const real *b, size_t ldb, size_t columns,
                            size_t m);

/* c [m][n] = FIRST + op(a) [m][k] * b [k][n] for N a multiple of a panel and any K, on the calling
 * thread. */
void cohort_sparse_product(real *c, size_t ldc, const real *first, size_t ld_first,
                           cohort_transpose trans, const real *a, size_t lda, const real *b,
                           size_t ldb, size_t m, size_t n, size_t k);

enum { COHORT_SPARSE_PARTS = 64 };

/* c [m][n] (ADD: +=) the sum over at most COHORT_SPARSE_PARTS PARTS, each of at most
 * COHORT_SPARSE_DEPTH rows, of x_p' [m][rows] * dz_p [rows][n]: of halves, of quarters, … N and
 * thread as above. */
void cohort_sparse_parts(real *c, size_t ldc, bool add, const real *x, size_t ldx, const real *dz,
                         size_t ldz, const cohort_row_parts *parts, size_t m, size_t n);

#endif
