#include "kernel/gemm.h"

#include <cblas.h>
#include <limits.h>
#include <omp.h>

#include "base/shape.h"

#ifdef COHORT_DOUBLE
#define blas_gemm cblas_dgemm
#else
#define blas_gemm cblas_sgemm
#endif

/* OpenBLAS divides a product among threads in ways that change its bits: it cuts k at
 * other places, and takes other kernels. Here it always runs on one thread, and products
 * are cut into panels of rows or columns whose number depends on their shape alone.
 * Panels share an operand, which is packed for each of them anew: they are wide enough
 * for this not to show, and those of small products would cost more than they bring. */
enum { PANEL_WIDTH = 192, PANELS_MOST = 16 };
static const double panel_operations = 1 << 21; /* multiply-adds */

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

/* One call of BLAS, where sizes fit its int; on one thread within one_thread_begin. */
static void gemm_one(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                     size_t k, real alpha, const real *a, size_t lda, const real *b, size_t ldb,
                     real beta, real *c, size_t ldc)
{
    /* BLAS checks leading dimensions also of empty operands. */
    blas_gemm(CblasRowMajor, blas_transpose(trans_a), blas_transpose(trans_b), (int)m, (int)n,
              (int)k, alpha, a, (int)at_least_one(lda), b, (int)at_least_one(ldb), beta, c,
              (int)ldc);
}

/* OpenBLAS built for OpenMP takes the caller's number of threads, and one within a
 * parallel region; built for threads of its own, what it was told. */
static int one_thread_begin(void)
{
    const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    if (openblas_get_parallel() == OPENBLAS_THREAD)
        openblas_set_num_threads(1);
    if (threads > 1)
        omp_set_num_threads(1);
    return threads;
}

static void one_thread_end(int threads)
{
    if (threads > 1)
        omp_set_num_threads(threads);
}

static size_t panel_count(size_t m, size_t n, size_t k)
{
    const double operations = (double)m * (double)n * (double)k;
    const size_t width = (m > n ? m : n) / PANEL_WIDTH;
    const size_t most = width < PANELS_MOST ? width : PANELS_MOST;
    const size_t worth = operations < panel_operations * PANELS_MOST
                             ? (size_t)(operations / panel_operations)
                             : most;
    return at_least_one(worth < most ? worth : most);
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
    const size_t panels = panel_count(m, n, k);
    const bool by_rows = m > n;
    const size_t a_step = !by_rows ? 0 : trans_a == COHORT_PLAIN ? lda : 1;
    const size_t b_step = by_rows ? 0 : trans_b == COHORT_PLAIN ? 1 : ldb;
    const int threads = one_thread_begin();
    /* All threads or none: OpenMP ends the threads that a smaller team leaves out. */
#pragma omp parallel for num_threads(panels > 1 ? threads : 1) schedule(static)
    for (size_t p = 0; p < panels; p++) {
        const size_t begin = cohort_part_begin(by_rows ? m : n, p, panels);
        const size_t count = cohort_part_begin(by_rows ? m : n, p + 1, panels) - begin;
        gemm_one(trans_a, trans_b, by_rows ? count : m, by_rows ? n : count, k, alpha,
                 a + begin * a_step, lda, b + begin * b_step, ldb, beta,
                 c + begin * (by_rows ? ldc : 1), ldc);
    }
    one_thread_end(threads);
}

void cohort_gemm_one_thread(cohort_transpose trans_a, cohort_transpose trans_b, size_t m, size_t n,
                            size_t k, const real *a, const real *b, bool add, real *c)
{
    const size_t lda = trans_a == COHORT_PLAIN ? k : m, ldb = trans_b == COHORT_PLAIN ? n : k;
    if (!fits_int(m) || !fits_int(n) || !fits_int(k)) {
        cohort_gemm_dense(trans_a, trans_b, m, n, k, a, b, add, c);
        return;
    }
    if (m == 0 || n == 0)
        return;
    const int threads = one_thread_begin();
    gemm_one(trans_a, trans_b, m, n, k, 1, a, lda, b, ldb, add ? 1 : 0, c, n);
    one_thread_end(threads);
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
