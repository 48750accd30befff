/* Which clients take part in a round and who trains them. */
#include <math.h>

#include "base/rng.h"
#include "federated/protect.h"

/* Draws without putting back, keyed by the round; ascending, so that what follows has one
 * order. */
cohort_status cohort_federated_choose(cohort_federated *federated)
{
    if (cohort_federated_is_protected(federated))
        return cohort_federated_protect_draw(federated);
    cohort_round *round = &federated->round;
    const cohort_permutation order =
        cohort_permutation_make(federated->eligible_count, (uint64_t)federated->recipe->seed,
                                COHORT_RNG_CLIENTS, 0, federated->progress.epoch);
    round->count = federated->chosen_most;
    for (size_t i = 0; i < round->count; i++) {
        const size_t client = federated->eligible[cohort_permutation_at(&order, i)];
        size_t at = i;
        for (; at > 0 && round->clients[at - 1] > client; at--)
            round->clients[at] = round->clients[at - 1];
        round->clients[at] = client;
    }
    return COHORT_OK;
}

/* The most work first, each to the rank that has least so far; work is rows. The result does
 * not depend on it, only the time. */
static void balance(cohort_federated *federated, size_t *load)
{
    cohort_round *round = &federated->round;
    const size_t size = (size_t)cohort_comm_size(federated->comm);
    for (size_t i = 0; i < round->count; i++)
        round->ranks[i] = -1;
    for (size_t rank = 0; rank < size; rank++)
        load[rank] = 0;
    for (size_t left = round->count; left > 0; left--) {
        size_t largest = SIZE_MAX, most = 0, lightest = 0;
        for (size_t i = 0; i < round->count; i++) {
            const size_t rows = cohort_partition_count(&federated->partition, round->clients[i]);
            if (round->ranks[i] < 0 && (largest == SIZE_MAX || rows > most)) {
                largest = i;
                most = rows;
            }
        }
        for (size_t rank = 1; rank < size; rank++)
            lightest = load[rank] < load[lightest] ? rank : lightest;
        round->ranks[largest] = (int)lightest;
        load[lightest] += most;
    }
}

void cohort_federated_assign(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const size_t size = (size_t)cohort_comm_size(federated->comm);
    if (!cohort_client_store_is_used(&federated->store)) {
        balance(federated, round->load);
        return;
    }
    for (size_t i = 0; i < round->count; i++)
        round->ranks[i] = (int)(round->clients[i] % size);
}
