/* Seconds of one gradient sum, by vector length: shared memory, MPI_Iallreduce as the
 * fallback uses it, and plain blocking MPI_Allreduce. The data are written anew before
 * each sum, as backward does; the best and the median of the repetitions are shown.
 *
 *   launch/mpirun.sh 2 build/tests/mpi/bench_reducer [FLOATS]… */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "comm/reducer.h"

enum { REPETITIONS = 41, VARIANTS = 3 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void fill(float *values, size_t count, int step)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(step + (int)(i & 7));
}

/* Sums VALUES once: by the reducer, or without one by MPI_Allreduce. */
static cohort_status sum_once(cohort_reducer *reducer, float *values, size_t count)
{
    if (!reducer) {
        MPI_Allreduce(MPI_IN_PLACE, values, (int)count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
        return COHORT_OK;
    }
    cohort_reducer_begin(reducer);
    return cohort_reducer_finish(reducer);
}

/* Seconds of each repetition, sorted: of the slowest rank. */
static cohort_status measure(double *seconds, cohort_comm *comm, cohort_reducer *reducer,
                             float *values, size_t count)
{
    int inner = count < 10000 ? 100 : count < 1000000 ? 10 : 1;
    for (int i = 0; i < REPETITIONS; i++) {
        double sum = 0;
        for (int j = 0; j < inner; j++) {
            fill(values, count, i);
            COHORT_TRY(cohort_comm_barrier(comm));
            double start = cohort_clock_seconds();
            COHORT_TRY(sum_once(reducer, values, count));
            sum += cohort_clock_seconds() - start;
        }
        seconds[i] = sum / inner;
        COHORT_TRY(cohort_comm_max(comm, &seconds[i], 1));
    }
    qsort(seconds, REPETITIONS, sizeof *seconds, compare);
    return COHORT_OK;
}

static cohort_status bench(cohort_comm *comm, size_t count)
{
    double seconds[VARIANTS][REPETITIONS], middle[VARIANTS];
    static const cohort_reducer_mode modes[] = {COHORT_REDUCER_SHARED, COHORT_REDUCER_MPI};
    for (int i = 0; i < 2; i++) {
        cohort_reducer *reducer;
        cohort_reducer_config config = {.mode = modes[i], .timeout = 60};
        COHORT_TRY(cohort_reducer_create(&reducer, comm, &config, count));
        COHORT_TRY(measure(seconds[i], comm, reducer, cohort_reducer_grads(reducer), count));
        cohort_reducer_destroy(reducer);
    }
    float *values = malloc(count * sizeof *values);
    if (!values)
        return COHORT_FAIL(COHORT_MEMORY, "no memory for %zu floats", count);
    cohort_status status = measure(seconds[2], comm, NULL, values, count);
    free(values);
    COHORT_TRY(status);
    for (int i = 0; i < VARIANTS; i++)
        middle[i] = seconds[i][REPETITIONS / 2];
    if (cohort_comm_rank(comm) == 0)
        printf("%9zu  %9.1f %9.1f  %9.1f %9.1f  %9.1f %9.1f   %5.1f %5.1f\n", count,
               1e6 * seconds[0][0], 1e6 * middle[0], 1e6 * seconds[1][0], 1e6 * middle[1],
               1e6 * seconds[2][0], 1e6 * middle[2], middle[1] / middle[0], middle[2] / middle[0]);
    return COHORT_OK;
}

int main(int argc, char **argv)
{
    cohort_comm *comm;
    cohort_status status = cohort_comm_start(&comm);
    if (status == COHORT_OK && cohort_comm_rank(comm) == 0)
        printf("   floats  shared us: best, median  Iallreduce           Allreduce             "
               "times faster\n");
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
