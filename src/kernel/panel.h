/* Products with a small matrix that is packed once and used for many products of few
 * rows: the recurrent matrix of an LSTM, the keys of an attention head. At these sizes
 * a BLAS call spends its time on packing; here nothing is left but the multiply-adds. */
#ifndef COHORT_KERNEL_PANEL_H
#define COHORT_KERNEL_PANEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"
#include "kernel/gemm.h"

/* Columns of a panel: two AVX-512 registers. */
#define COHORT_PANEL (128 / sizeof(real))

/* Reals of the packed form of a matrix [k][n]. */
size_t cohort_panel_count(size_t k, size_t n);

/* PACKED (64-byte aligned, cohort_panel_count reals) = op(b) [k][n], where b is [k][n],
 * or [n][k] when transposed; rows LDB reals apart. Layout [strips][k][strip], a strip as wide as
 * what passes through the registers at a time, so that its rows lie close together and spread over
 * all sets of the first cache; panels are whole, filled up with zeros. */
void cohort_panel_pack(real *packed, cohort_transpose trans, const real *b, size_t ldb, size_t k,
                       size_t n);

/* c (+)= op(a) * b for the first K rows and N columns of a packed b of DEPTH rows: op(a)
 * [m][k], where a is [m][k], or [k][m] when transposed; c [m][n]; rows LDA and LDC reals
 * apart. Without ADD c is not read. */
void cohort_panel_multiply(real *c, size_t ldc, cohort_transpose trans_a, const real *a, size_t lda,
                           const real *packed, size_t depth, size_t m, size_t n, size_t k,
                           bool add);

/* Whether this CPU has the registers that panels are made for; without, BLAS is faster. */
bool cohort_panel_has_registers(void);
/* Columns that pass through the registers at a time, a strip: a panel, or half of one. */
size_t cohort_panel_strip_columns(void);
/* PACKED [k][COLUMNS] = op(b), as cohort_panel_pack, of so many columns or a multiple. */
void cohort_panel_pack_strip(real *packed, cohort_transpose trans, const real *b, size_t ldb,
                             size_t k, size_t columns);
/* c [m][COLUMNS] (+)= op(a) * b, as cohort_panel_multiply, where rows of b [k][COLUMNS] lie LDB
 * reals apart, COLUMNS when it is packed; COLUMNS half or all of a panel. */
void cohort_panel_strip(real *c, size_t ldc, cohort_transpose trans_a, const real *a, size_t lda,
                        const real *b, size_t ldb, size_t columns, size_t m, size_t k, bool add);

/* c [m][n] = a * b + bias [n] (NULL: none) in the same way. */
void cohort_panel_multiply_bias(real *c, size_t ldc, const real *bias, const real *a, size_t lda,
                                const real *packed, size_t depth, size_t m, size_t n, size_t k);
/* c [m][PANEL] = a [m][k] * b [k][PANEL] + bias [PANEL] (NULL: none) for a b that is not packed:
 * rows LDC, LDA and LDB reals apart. */
void cohort_panel_product(real *c, size_t ldc, const real *bias, const real *a, size_t lda,
                          const real *b, size_t ldb, size_t m, size_t k);

#endif
