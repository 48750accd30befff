#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "comm/reducer.h"

enum { LEAST_REPETITIONS = 5, MOST_REPETITIONS = 1001 };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one sum on the slowest rank. */
static cohort_status time_once(double *seconds, cohort_comm *comm, cohort_reducer *reducer,
                               size_t count)
{
    float *grads = cohort_reducer_grads(reducer);
    for (size_t i = 0; i < count; i++)
        grads[i] = (float)(i & 7);
    COHORT_TRY(cohort_comm_barrier(comm));
    double start = cohort_clock_seconds();
    cohort_reducer_begin(reducer);
    COHORT_TRY(cohort_reducer_finish(reducer));
    *seconds = cohort_clock_seconds() - start;
    return cohort_comm_max(comm, seconds, 1);
}

/* Repeats until the budget is spent; which it is, one rank decides for all. */
static cohort_status time_many(cohort_reducer_timing *out, cohort_comm *comm,
                               cohort_reducer *reducer, size_t count, double budget)
{
    double seconds[MOST_REPETITIONS], spent = 0, start = cohort_clock_seconds();
    int done = 0;
    COHORT_TRY(time_once(&seconds[0], comm, reducer, count)); /* warms up */
    while (done < LEAST_REPETITIONS || (done < MOST_REPETITIONS && spent < budget)) {
        COHORT_TRY(time_once(&seconds[done++], comm, reducer, count));
        spent = cohort_clock_seconds() - start;
        COHORT_TRY(cohort_comm_broadcast(comm, &spent, sizeof spent, 0));
    }
    qsort(seconds, (size_t)done, sizeof *seconds, compare);
    out->best = seconds[0];
    out->median = seconds[done / 2];
    return COHORT_OK;
}

cohort_status cohort_reducer_measure(cohort_reducer_timing *out, cohort_comm *comm,
                                     cohort_reducer_mode mode, size_t count, double budget)
{
    cohort_reducer *reducer;
    cohort_reducer_config config = {.mode = mode, .timeout = 60};
    COHORT_TRY(cohort_reducer_create(&reducer, comm, &config, count));
    snprintf(out->description, sizeof out->description, "%s", cohort_reducer_describe(reducer));
    cohort_status status = time_many(out, comm, reducer, count, budget);
    cohort_reducer_destroy(reducer);
    return status;
}
