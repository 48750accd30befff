#include "nn/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernel/softmax.h"

static int compare_descending(const void *a, const void *b)
{
    const real x = *(const real *)a, y = *(const real *)b;
    return (x < y) - (x > y);
}

/* *least = the K-th largest of LOGITS. */
static cohort_status find_least(real *least, const real *logits, size_t width, size_t k)
{
    real *sorted = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&sorted, width));
    memcpy(sorted, logits, width * sizeof *sorted);
    qsort(sorted, width, sizeof *sorted, compare_descending);
    *least = sorted[k - 1];
    cohort_free(sorted);
    return COHORT_OK;
}

cohort_status cohort_sample(size_t *index, const real *logits, size_t width,
                            const cohort_sampling *sampling, double uniform)
{
    for (size_t i = 0; i < width; i++)
        COHORT_REQUIRE(isfinite(logits[i]), COHORT_DIVERGED,
                       "the model's outputs are not finite; take an earlier checkpoint");
    const size_t best = cohort_argmax(logits, width);
    *index = best;
    if (!(sampling->temperature > 0))
        return COHORT_OK;
    real least = -(real)INFINITY;
    if (sampling->top_k && sampling->top_k < width)
        COHORT_TRY(find_least(&least, logits, width, sampling->top_k));
    const double top = (double)logits[best];
    double total = 0, reached = 0;
    for (size_t i = 0; i < width; i++)
        if (logits[i] >= least)
            total += exp(((double)logits[i] - top) / sampling->temperature);
    for (size_t i = 0; i < width; i++) {
        if (logits[i] < least)
            continue;
        reached += exp(((double)logits[i] - top) / sampling->temperature);
        if (reached > uniform * total) {
            *index = i;
            return COHORT_OK;
        }
    }
    return COHORT_OK; /* UNIFORM fell into the rounding at the end */
}
