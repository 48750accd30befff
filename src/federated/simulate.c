/* A round of simulated clients: every rank trains its share of them one after another. */
#include <string.h>

#include "base/clock.h"
#include "federated/federated_private.h"

/* Doubles of a result, which travels as an array of them. */
enum { FIGURES = sizeof(cohort_client_result) / sizeof(double) };

static bool is_mine(const cohort_federated *federated, size_t index)
{
    return federated->round.ranks[index] == cohort_comm_rank(federated->comm);
}

/* Takes the client's update into the sums, or keeps it for a robust mean. */
static cohort_status take(cohort_federated *federated, size_t index)
{
    COHORT_TRY(cohort_client_unpack(federated->update, &federated->exchange,
                                    &federated->compression, federated->payload));
    if (federated->all)
        memcpy(federated->all[index], federated->update, federated->exchange.count * sizeof(real));
    else
        cohort_federated_add(federated,
                             cohort_federated_weight(federated, &federated->round.results[index]));
    return COHORT_OK;
}

static cohort_status train_one(cohort_federated *federated, size_t index)
{
    const cohort_partition *partition = &federated->partition;
    cohort_round *round = &federated->round;
    const size_t client = round->clients[index];
    const size_t held = cohort_partition_test_count(partition, client, federated->how->client_test);
    const cohort_client_task task = {
        .client = client,
        .slot = client,
        .round = federated->progress.epoch,
        .epochs = federated->how->local_epochs,
        .rows = partition->rows + partition->begins[client],
        .row_count = cohort_partition_count(partition, client) - held,
        .global = federated->global,
        .should_stop = federated->options.should_stop,
        .stop_context = federated->options.stop_context,
    };
    cohort_client_result *result = &round->results[index];
    cohort_comm_set_phase(federated->comm, "round %llu: client %zu",
                          (unsigned long long)federated->progress.epoch + 1, client);
    COHORT_TRY(cohort_client_store_guard(&federated->store, client));
    COHORT_TRY(cohort_client_train(result, federated->payload, federated->client, &federated->store,
                                   &task, &federated->fixed));
    if (result->stopped > 0 || result->fault > 0)
        return COHORT_OK;
    return take(federated, index);
}

/* Trains this rank's clients until one is told to stop. */
static cohort_status train_mine(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    for (size_t i = 0; i < round->count; i++) {
        if (!is_mine(federated, i))
            continue;
        COHORT_TRY(train_one(federated, i));
        if (round->results[i].stopped > 0)
            break;
    }
    return COHORT_OK;
}

/* Every rank gets every update, for means that need them one by one. */
static cohort_status share_updates(cohort_federated *federated)
{
    const cohort_round *round = &federated->round;
    for (size_t i = 0; i < round->count; i++)
        if (round->dropped[i] == COHORT_DROPPED_NOT)
            COHORT_TRY(cohort_comm_broadcast(federated->comm, federated->all[i],
                                             federated->exchange.count * sizeof(real),
                                             round->ranks[i]));
    return COHORT_OK;
}

cohort_status cohort_federated_simulate(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const double started = cohort_clock_seconds();
    cohort_federated_assign(federated);
    memset(round->results, 0, round->count * sizeof *round->results);
    memset(federated->sums, 0, federated->exchange.count * sizeof *federated->sums);
    COHORT_TRY(cohort_comm_agree(federated->comm, train_mine(federated)));
    COHORT_TRY(cohort_comm_sum(federated->comm, (double *)round->results, round->count * FIGURES));
    for (size_t i = 0; i < round->count; i++) {
        round->dropped[i] = (int)round->results[i].fault;
        round->is_abandoned |= round->results[i].stopped > 0;
        round->kept += round->dropped[i] == COHORT_DROPPED_NOT;
    }
    if (round->is_abandoned) {
        cohort_client_store_roll_back(&federated->store);
        return COHORT_OK;
    }
    cohort_client_store_commit(&federated->store);
    const double down = (double)(federated->exchange.count * sizeof(real)),
                 up = (double)cohort_client_payload_bytes(&federated->exchange,
                                                          &federated->compression);
    round->bytes_down = (double)round->count * (down + COHORT_FEDERATED_HEADER_BYTES);
    round->bytes_up =
        (double)round->count * COHORT_FEDERATED_HEADER_BYTES + (double)round->kept * up;
    round->seconds = cohort_clock_seconds() - started;
    if (federated->all)
        return share_updates(federated);
    return cohort_comm_sum_integers(federated->comm, federated->sums, federated->exchange.count);
}
