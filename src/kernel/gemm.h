/* Matrix products over OpenBLAS, the same bits on any number of threads. */
#ifndef COHORT_KERNEL_GEMM_H
#define COHORT_KERNEL_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* Whether an operand is used as it lies in memory or transposed. */
typedef enum cohort_transpose { COHORT_PLAIN, COHORT_TRANSPOSED } cohort_transpose;

/* c = alpha * op(a) * op(b) + beta * c, all row-major:
 *   op(a) [m][k]   a is [m][k], or [k][m] when transposed; rows LDA reals apart
 *   op(b) [k][n]   b is [k][n], or [n][k] when transposed; rows LDB reals apart
 *   c     [m][n]   rows LDC reals apart
 * With beta == 0 c is not read (it may hold anything). Any size may be 0. Sizes that
 * do not fit BLAS's int are cut into parts. */
void cohort_gemm(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n, size_t k,
                 real alpha, const real *a, size_t lda, const real *b, size_t ldb, real beta,
                 real *c, size_t ldc);

/* c (+)= op(a) * op(b) on dense matrices (rows adjoin): the common case. ADD says
 * whether the product is added to c or replaces it. */
void cohort_gemm_dense(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                       size_t k, const real *a, const real *b, bool add, real *c);

/* The same on the calling thread alone: for callers that divide the work themselves. */
void cohort_gemm_one_thread(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                            size_t k, const real *a, const real *b, bool add, real *c);

/* Name, version and build of the BLAS library, as it says itself. */
const char *cohort_gemm_library(void);

#endif
