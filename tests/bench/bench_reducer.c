/* Seconds of one gradient sum, by vector length: as Cohort does it, by MPI_Iallreduce in
 * buckets, and by one blocking MPI_Allreduce. The best and the median of the repetitions.
 *
 *   launch/mpirun.sh 2 build/tests/mpi/bench_reducer [FLOATS]… */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "comm/reducer.h"

enum { REPETITIONS = 41 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static cohort_status measure_blocking(cohort_reducer_timing *out, cohort_comm *comm, size_t count)
{
    double seconds[REPETITIONS] = {0};
    float *values = malloc(count * sizeof *values);
    if (!values)
        return COHORT_FAIL(COHORT_MEMORY, "no memory for %zu floats", count);
    cohort_status status = COHORT_OK;
    for (int i = 0; i < REPETITIONS && status == COHORT_OK; i++) {
        for (size_t at = 0; at < count; at++)
            values[at] = (float)(at & 7);
        status = cohort_comm_barrier(comm);
        double start = cohort_clock_seconds();
        if (cohort_comm_size(comm) > 1)
            MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        seconds[i] = cohort_clock_seconds() - start;
        if (status == COHORT_OK)
            status = cohort_comm_max(comm, &seconds[i], 1);
    }
    free(values);
    qsort(seconds, REPETITIONS, sizeof *seconds, compare);
    out->best = seconds[0];
    out->median = seconds[REPETITIONS / 2];
    return status;
}

static cohort_status bench(cohort_comm *comm, size_t count)
{
    cohort_reducer_timing ours, buckets, blocking = {0};
    COHORT_TRY(cohort_reducer_measure(&ours, comm, COHORT_REDUCER_SHARED, count, 0.3));
    COHORT_TRY(cohort_reducer_measure(&buckets, comm, COHORT_REDUCER_MPI, count, 0.3));
    COHORT_TRY(measure_blocking(&blocking, comm, count));
    if (cohort_comm_rank(comm) == 0)
        printf("%9zu %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f   %6.1f %6.1f   %s\n", count,
               1e6 * ours.best, 1e6 * ours.median, 1e6 * buckets.best, 1e6 * buckets.median,
               1e6 * blocking.best, 1e6 * blocking.median, buckets.best / ours.best,
               blocking.best / ours.best, ours.description);
    return COHORT_OK;
}

int main(int argc, char **argv)
{
    cohort_comm *comm;
    cohort_status status = cohort_comm_start(&comm);
    if (status == COHORT_OK && cohort_comm_rank(comm) == 0)
        printf("               Cohort, us    MPI_Iallreduce, us    MPI_Allreduce, us     times "
               "faster\n   floats      best    median      best    median      best    median    "
               "       (best)\n");
    static const size_t counts[] = {16, 1000, 10000, 93322, 842000, 5800000};
    size_t count = argc > 1 ? (size_t)argc - 1 : sizeof counts / sizeof *counts;
    for (size_t i = 0; status == COHORT_OK && i < count; i++)
        status = bench(comm, argc > 1 ? strtoull(argv[i + 1], NULL, 10) : counts[i]);
    if (status != COHORT_OK) {
        fprintf(stderr, "%s\n", cohort_error_message());
        return cohort_status_exit_code(status);
    }
    cohort_comm_close(comm);
    return 0;
}
