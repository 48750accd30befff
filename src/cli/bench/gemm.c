#include <math.h>
#include <omp.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/bench/bench.h"
#include "kernel/gemm.h"
#include "train/job.h"

enum { SIZE_USUAL = 1024, SIZE_MOST = 16384, LEAST = 5 };

typedef struct matrices {
    size_t n;
    float *a, *b, *c;
} matrices;

/* GFLOP/s, the best of the products that fit SECONDS. Rank-local. */
static double rate(const matrices *m, double seconds)
{
    const double end = cohort_clock_seconds() + seconds, n = (double)m->n;
    double best = HUGE_VAL;
    for (int i = 0; i < LEAST || cohort_clock_seconds() < end; i++) {
        const double start = cohort_clock_seconds();
        cohort_gemm_dense(COHORT_PLAIN, COHORT_PLAIN, m->n, m->n, m->n, m->a, m->b, false, m->c);
        best = fmin(best, cohort_clock_seconds() - start);
    }
    return 2 * n * n * n / best * 1e-9;
}

static cohort_status allocate(matrices *m)
{
    COHORT_TRY(COHORT_ALLOCATE(&m->a, m->n * m->n));
    COHORT_TRY(COHORT_ALLOCATE(&m->b, m->n * m->n));
    COHORT_TRY(COHORT_ALLOCATE(&m->c, m->n * m->n));
    for (size_t i = 0; i < m->n * m->n; i++) {
        m->a[i] = (float)(i % 7) - 3;
        m->b[i] = (float)(i % 5) - 2;
    }
    return COHORT_OK;
}

static void write(cohort_bench *bench, size_t n, size_t threads, double alone, const double *sums)
{
    const int size = cohort_comm_size(bench->comm);
    const double cores = (double)size * (double)threads, share = sums[0] / (alone * cores);
    cohort_text *text = bench->text;
    if (bench->json) {
        cohort_json_integer(text, "size", (int64_t)n);
        cohort_json_number(text, "one_core_gflops", alone);
        cohort_json_number(text, "all_gflops", sums[0]);
        cohort_json_number(text, "slowest_rank_gflops", sums[1]);
        cohort_json_number(text, "fastest_rank_gflops", sums[2]);
        return;
    }
    cohort_text_append(
        text,
        "matrix products %zux%zu, single precision: GFLOP/s\n"
        "  one core, the others idle      %9.1f\n"
        "  %d rank%s of %zu thread%s together%*s%9.1f   %.0f %% of as many such cores\n",
        n, n, alone, size, size == 1 ? "" : "s", threads, threads == 1 ? "" : "s",
        (size == 1) + (threads == 1) + 2, "", sums[0], 100 * share);
    if (size > 1)
        cohort_text_append(text, "  slowest, fastest rank          %9.1f %9.1f\n", sums[1],
                           sums[2]);
    if (share < 0.8)
        cohort_text_append(text, "The cores slow each other down: they share clock rate, hardware "
                                 "threads or caches, or others use\nthem; binding (--bind-to core) "
                                 "may help.\n");
}

cohort_status cohort_bench_gemm(cohort_bench *bench)
{
    cohort_comm *comm = bench->comm;
    int64_t size;
    matrices m = {0};
    COHORT_TRY(cohort_options_integer(&size, bench->given, "size", SIZE_USUAL, 16, SIZE_MOST));
    const size_t threads = cohort_job_set_threads(comm, 0);
    m.n = (size_t)size;
    cohort_status status = allocate(&m);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    double alone = 0;
    if (cohort_comm_rank(comm) == 0) {
        omp_set_num_threads(1);
        alone = rate(&m, bench->seconds);
        omp_set_num_threads((int)threads);
    }
    COHORT_TRY_DONE(status, cohort_comm_barrier(comm));
    const double mine = rate(&m, bench->seconds);
    double sum = mine, extremes[2] = {-mine, mine};
    COHORT_TRY_DONE(status, cohort_comm_sum(comm, &sum, 1));
    COHORT_TRY_DONE(status, cohort_comm_max(comm, extremes, 2));
    if (cohort_comm_rank(comm) == 0)
        write(bench, m.n, threads, alone, (const double[]){sum, -extremes[0], extremes[1]});
done:
    cohort_free(m.a);
    cohort_free(m.b);
    cohort_free(m.c);
    return status;
}
