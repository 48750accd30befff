/* A round of simulated clients: every rank trains its share of them one after another. */
#include <string.h>

#include "base/clock.h"
#include "federated/protect.h"
#include "federated/secure.h"

/* Doubles of a result, which travels as an array of them. */
enum { FIGURES = sizeof(cohort_client_result) / sizeof(double) };

static bool is_mine(const cohort_federated *federated, size_t index)
{
    return federated->round.ranks[index] == cohort_comm_rank(federated->comm);
}

/* Takes the client's update into the sums, or keeps it for a robust mean. */
static cohort_status take(cohort_federated *federated, size_t index)
{
    const uint64_t weight = cohort_federated_weight(federated, &federated->round.results[index]);
    COHORT_TRY(cohort_client_unpack(federated->update, &federated->exchange,
                                    &federated->compression, federated->payload));
    if (federated->all)
        memcpy(federated->all[index], federated->update, federated->exchange.count * sizeof(real));
    else if (!cohort_federated_secure_is(federated))
        cohort_federated_add(federated, weight);
    else {
        memset(federated->sums, 0, federated->exchange.count * sizeof *federated->sums);
        cohort_federated_add(federated, weight);
        return cohort_federated_secure_take(federated, index);
    }
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
        .clip = cohort_federated_protect_clip(federated),
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

/* What clients apart from each other would have sent and got. */
static void count_bytes(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const double asked = (double)round->count, kept = (double)round->kept;
    const double down = (double)(federated->exchange.count * sizeof(real)),
                 up = (double)cohort_client_payload_bytes(&federated->exchange,
                                                          &federated->compression);
    const double plain = asked * COHORT_FEDERATED_HEADER_BYTES + kept * up;
    round->bytes_down = asked * (down + COHORT_FEDERATED_HEADER_BYTES);
    round->bytes_up = plain;
    if (!cohort_federated_secure_is(federated))
        return;
    round->bytes_down += asked * cohort_federated_secure_bytes_down(federated);
    round->bytes_up = kept * cohort_federated_secure_bytes_up(federated, true) +
                      (asked - kept) * cohort_federated_secure_bytes_up(federated, false);
    round->expansion = round->bytes_up / plain;
}

/* The sums over the clients that are left; too few for a secure one: none. Collective. */
static cohort_status add_up(cohort_federated *federated)
{
    if (federated->all)
        return share_updates(federated);
    if (!cohort_federated_secure_is(federated))
        return cohort_comm_sum_integers(federated->comm, federated->sums,
                                        federated->exchange.count);
    if (federated->round.kept >= cohort_federated_secure_least(federated))
        return cohort_federated_secure_end(federated);
    cohort_federated_secure_clear(federated);
    return COHORT_OK;
}

cohort_status cohort_federated_simulate(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const double started = cohort_clock_seconds();
    cohort_federated_assign(federated);
    memset(round->results, 0, round->count * sizeof *round->results);
    memset(federated->sums, 0, federated->exchange.count * sizeof *federated->sums);
    COHORT_TRY(cohort_federated_secure_begin(federated));
    COHORT_TRY(cohort_comm_agree(federated->comm, train_mine(federated)));
    COHORT_TRY(cohort_comm_sum(federated->comm, (double *)round->results, round->count * FIGURES));
    for (size_t i = 0; i < round->count; i++) {
        round->dropped[i] = (int)round->results[i].fault;
        round->is_abandoned |= round->results[i].stopped > 0;
        round->kept += round->dropped[i] == COHORT_DROPPED_NOT;
    }
    if (round->is_abandoned) {
        cohort_federated_secure_clear(federated);
        cohort_client_store_roll_back(&federated->store);
        return COHORT_OK;
    }
    count_bytes(federated);
    cohort_status status = add_up(federated);
    round->seconds = cohort_clock_seconds() - started;
    return status;
}
