/* The limit that rates are compared with: GFLOP/s of a large single-precision matrix
 * product on one core, best of several. */
#include <omp.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "kernel/gemm.h"

enum { N = 1024, REPETITIONS = 20 };

int main(void)
{
    float *a = NULL, *b = NULL, *c = NULL;
    omp_set_num_threads(1);
    if (COHORT_ALLOCATE(&a, N * N) != COHORT_OK || COHORT_ALLOCATE(&b, N * N) != COHORT_OK ||
        COHORT_ALLOCATE(&c, N * N) != COHORT_OK)
        return 1;
    for (size_t i = 0; i < (size_t)N * N; i++) {
        a[i] = (float)(i % 7) - 3;
        b[i] = (float)(i % 5) - 2;
    }
    double best = 1e9;
    for (int i = 0; i < REPETITIONS; i++) {
        const double start = cohort_clock_seconds();
        cohort_gemm_dense(COHORT_PLAIN, COHORT_PLAIN, N, N, N, a, b, false, c);
        const double seconds = cohort_clock_seconds() - start;
        best = seconds < best ? seconds : best;
    }
    printf("%.1f\n", 2.0 * N * N * N / best * 1e-9);
    cohort_free(a);
    cohort_free(b);
    cohort_free(c);
    return 0;
}
