#include "kernel/gemm.h"

#include <cblas.h>
#include <limits.h>

#ifdef COHORT_DOUBLE
#define blas_gemm cblas_dgemm
#else
#define blas_gemm cblas_sgemm
#endif

static bool fits_int(size_t value)
{
    return value <= INT_MAX;
}

static size_t at_least_one(size_t value)
{
    return value ? value : 1;
}

static CBLAS_TRANSPOSE blas_transpose(cohort_transpose trans)
{
    return trans == COHORT_PLAIN ? CblasNoTrans : CblasTrans;
}

/* The definition itself, for row strides beyond BLAS's int. */
static void gemm_plain(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                       size_t k, real alpha, const real *a, size_t lda, const real *b, size_t ldb,
                       real beta, real *c, size_t ldc)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            real sum = 0;
            for (size_t p = 0; p < k; p++) {
                real left = trans_a == COHORT_PLAIN ? a[i * lda + p] : a[p * lda + i];
                real right = trans_b == COHORT_PLAIN ? b[p * ldb + j] : b[j * ldb + p];
                sum += left * right;
            }
            real before = beta == 0 ? 0 : beta * c[i * ldc + j];
            c[i * ldc + j] = alpha * sum + before;
        }
}

/* Halves the longest of m, n, k until all fit. */
static void gemm_split(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                       size_t k, real alpha, const real *a, size_t lda, const real *b, size_t ldb,
                       real beta, real *c, size_t ldc)
{
    if (m >= n && m >= k) {
        size_t half = m / 2;
        const real *a2 = a + (trans_a == COHORT_PLAIN ? half * lda : half);
        cohort_gemm(trans_a, trans_b, half, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        cohort_gemm(trans_a, trans_b, m - half, n, k, alpha, a2, lda, b, ldb, beta, c + half * ldc,
                    ldc);
    } else if (n >= k) {
        size_t half = n / 2;
        const real *b2 = b + (trans_b == COHORT_PLAIN ? half : half * ldb);
        cohort_gemm(trans_a, trans_b, m, half, k, alpha, a, lda, b, ldb, beta, c, ldc);
        cohort_gemm(trans_a, trans_b, m, n - half, k, alpha, a, lda, b2, ldb, beta, c + half, ldc);
    } else {
        size_t half = k / 2;
        const real *a2 = a + (trans_a == COHORT_PLAIN ? half : half * lda);
        const real *b2 = b + (trans_b == COHORT_PLAIN ? half * ldb : half);
        cohort_gemm(trans_a, trans_b, m, n, half, alpha, a, lda, b, ldb, beta, c, ldc);
        cohort_gemm(trans_a, trans_b, m, n, k - half, alpha, a2, lda, b2, ldb, 1, c, ldc);
    }
}

void cohort_gemm(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n, size_t k,
                 real alpha, const real *a, size_t lda, const real *b, size_t ldb, real beta,
                 real *c, size_t ldc)
{
    if (m == 0 || n == 0)
        return;
    if (!fits_int(lda) || !fits_int(ldb) || !fits_int(ldc)) {
        gemm_plain(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    if (!fits_int(m) || !fits_int(n) || !fits_int(k)) {
        gemm_split(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    /* BLAS checks leading dimensions also of empty operands. */
    blas_gemm(CblasRowMajor, blas_transpose(trans_a), blas_transpose(trans_b), (int)m, (int)n,
              (int)k, alpha, a, (int)at_least_one(lda), b, (int)at_least_one(ldb), beta, c,
              (int)ldc);
}

void cohort_gemm_dense(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                       size_t k, const real *a, const real *b, bool add, real *c)
{
    cohort_gemm(trans_a, trans_b, m, n, k, 1, a, trans_a == COHORT_PLAIN ? k : m, b,
                trans_b == COHORT_PLAIN ? n : k, add ? 1 : 0, c, n);
}

const char *cohort_gemm_library(void)
{
    return openblas_get_config();
}
