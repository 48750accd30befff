/* A round's updates become one. */
#include <string.h>

#include "base/memory.h"
#include "federated/protect.h"
#include "federated/robust.h"

uint64_t cohort_federated_weight(const cohort_federated *federated,
                                 const cohort_client_result *result)
{
    return federated->how->weighting == COHORT_WEIGHT_UNIFORM ? 1 : (uint64_t)result->rows;
}

void cohort_federated_add(cohort_federated *federated, uint64_t weight)
{
    cohort_client_add(federated->sums, &federated->exchange, &federated->fixed, federated->update,
                      weight);
}

static void take_mean(cohort_federated *federated)
{
    const cohort_exchange *exchange = &federated->exchange;
    const cohort_round *round = &federated->round;
    const size_t weighted = exchange->params + exchange->state;
    uint64_t weight = 0;
    for (size_t i = 0; i < round->count; i++)
        if (round->dropped[i] == COHORT_DROPPED_NOT)
            weight += cohort_federated_weight(federated, &round->results[i]);
    cohort_fixed_mean(federated->mean, &federated->fixed, federated->sums, weighted, weight);
    cohort_fixed_mean(federated->mean + weighted, &federated->fixed, federated->sums + weighted,
                      exchange->control, round->kept);
}

/* This rank's run of coordinates, cut at multiples of the block. */
static void find_slice(size_t *begin, size_t *end, const cohort_federated *federated)
{
    const size_t count = federated->exchange.count,
                 rank = (size_t)cohort_comm_rank(federated->comm),
                 size = (size_t)cohort_comm_size(federated->comm);
    const size_t blocks = (count + COHORT_ROBUST_BLOCK - 1) / COHORT_ROBUST_BLOCK;
    *begin = cohort_part_begin(blocks, rank, size) * COHORT_ROBUST_BLOCK;
    *end = cohort_part_begin(blocks, rank + 1, size) * COHORT_ROBUST_BLOCK;
    *end = *end < count ? *end : count;
}

/* Every rank has a slice of the mean: together they have all. Bits are sent as whole numbers,
 * zero elsewhere. */
static cohort_status join_slices(cohort_federated *federated, size_t begin, size_t end)
{
    const size_t count = federated->exchange.count;
    memset(federated->sums, 0, count * sizeof *federated->sums);
    for (size_t i = begin; i < end; i++) {
        uint32_t bits;
        memcpy(&bits, &federated->mean[i], sizeof bits);
        federated->sums[i] = bits;
    }
    COHORT_TRY(cohort_comm_sum_integers(federated->comm, federated->sums, count));
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = (uint32_t)federated->sums[i];
        memcpy(&federated->mean[i], &bits, sizeof bits);
    }
    return COHORT_OK;
}

static cohort_status combine_columns(cohort_federated *federated, const real *const *updates,
                                     size_t count)
{
    size_t begin, end;
    real *column = NULL;
    find_slice(&begin, &end, federated);
    cohort_status status = COHORT_ALLOCATE(&column, count);
    COHORT_TRY(cohort_comm_agree(federated->comm, status));
    if (federated->strategy->combine == COHORT_COMBINE_MEDIAN)
        cohort_robust_median(federated->mean, updates, count, begin, end, column);
    else
        cohort_robust_trimmed_mean(federated->mean, updates, count, federated->numbers->trim, begin,
                                   end, column);
    cohort_free(column);
    return join_slices(federated, begin, end);
}

static void average(real *mean, const real *const *updates, const size_t *chosen, size_t keep,
                    size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t k = 0; k < keep; k++)
            sum += (double)updates[chosen[k]][i];
        mean[i] = (real)(sum / (double)keep);
    }
}

static cohort_status combine_krum(cohort_federated *federated, const real *const *updates,
                                  size_t count)
{
    const size_t length = federated->exchange.count, keep = federated->numbers->keep;
    const size_t blocks = (length + COHORT_ROBUST_BLOCK - 1) / COHORT_ROBUST_BLOCK;
    size_t begin, end, *chosen = NULL;
    double *distances = NULL;
    cohort_status status = COHORT_OK;
    find_slice(&begin, &end, federated);
    status = COHORT_ALLOCATE(&distances, blocks * count * count);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&chosen, keep);
    COHORT_TRY_DONE(status, cohort_comm_agree(federated->comm, status));
    cohort_robust_distances(distances, updates, count, begin, end);
    COHORT_TRY_DONE(status, cohort_comm_sum(federated->comm, distances, blocks * count * count));
    COHORT_TRY_DONE(status, cohort_robust_krum(chosen, distances, blocks, count,
                                               federated->numbers->byzantine, keep));
    average(federated->mean, updates, chosen, keep, length);
done:
    cohort_free(distances);
    cohort_free(chosen);
    return status;
}

cohort_status cohort_federated_combine(cohort_federated *federated)
{
    const cohort_round *round = &federated->round;
    if (cohort_federated_is_protected(federated))
        return cohort_federated_protect_release(federated);
    if (federated->strategy->combine == COHORT_COMBINE_MEAN) {
        take_mean(federated);
        return COHORT_OK;
    }
    const real **updates = NULL;
    size_t count = 0;
    cohort_status status = COHORT_ALLOCATE(&updates, round->count);
    COHORT_TRY(cohort_comm_agree(federated->comm, status));
    for (size_t i = 0; i < round->count; i++)
        if (round->dropped[i] == COHORT_DROPPED_NOT)
            updates[count++] = federated->all[i];
    status = federated->strategy->combine == COHORT_COMBINE_KRUM
                 ? combine_krum(federated, updates, count)
                 : combine_columns(federated, updates, count);
    cohort_free(updates);
    return status;
}
