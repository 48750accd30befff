/* A round of simulated clients: every rank trains its share of them, its threads one each at a
 * time. Updates are summed as integers, so that it does not matter which comes first. */
#include <omp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "federated/protect.h"
#include "federated/secure.h"

/* Doubles of a result, which travels as an array of them. */
enum { FIGURES = sizeof(cohort_client_result) / sizeof(double) };

static bool is_mine(const cohort_federated *federated, size_t index)
{
    return federated->round.ranks[index] == cohort_comm_rank(federated->comm);
}

/* --- Lanes --- */

/* A lane behind the first, which computes as that does; planned for one thread. */
static cohort_status open_lane(cohort_client_lane *lane, cohort_federated *federated,
                               uint32_t *choices)
{
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const cohort_status status = cohort_client_create(&lane->client, federated->recipe,
                                                      federated->train, federated->most_rows);
    omp_set_num_threads(threads);
    COHORT_TRY(status);
    cohort_model_choose(cohort_local_model(cohort_client_local(lane->client)), choices);
    return COHORT_ALLOCATE(
        &lane->payload, cohort_client_payload_bytes(&federated->exchange, &federated->compression));
}

cohort_status cohort_federated_open_lanes(cohort_federated *federated)
{
    const size_t ranks = (size_t)cohort_comm_size(federated->comm),
                 most = (federated->chosen_most + ranks - 1) / ranks;
    const cohort_model *model = cohort_local_model(cohort_client_local(federated->client));
    const size_t count = federated->threads < most ? federated->threads : most;
    uint32_t *choices = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&federated->lanes, count ? count : 1));
    federated->lane_count = count ? count : 1;
    federated->lanes[0] = (cohort_client_lane){federated->client, federated->payload};
    COHORT_TRY(COHORT_ALLOCATE(&choices, cohort_model_choice_count(model)));
    cohort_model_choices(choices, model);
    for (size_t i = 1; i < federated->lane_count && status == COHORT_OK; i++)
        status = open_lane(&federated->lanes[i], federated, choices);
    cohort_free(choices);
    if (federated->lane_count > 1)
        cohort_log(COHORT_LOG_INFO, "%zu simulated clients train at a time on each rank",
                   federated->lane_count);
    return status;
}

void cohort_federated_close_lanes(cohort_federated *federated)
{
    for (size_t i = 1; i < federated->lane_count; i++) {
        cohort_client_destroy(federated->lanes[i].client);
        cohort_free(federated->lanes[i].payload);
    }
    cohort_free(federated->lanes);
    federated->lanes = NULL;
    federated->lane_count = 0;
}

/* --- Training --- */

/* This rank's part of a round. */
typedef struct simulation {
    cohort_federated *federated;
    size_t *mine; /* [count] of the round's clients */
    size_t count;
    _Atomic bool is_over; /* told to stop, or one has failed */
    cohort_status status; /* of the first to fail, and what it said */
    char message[1024];
} simulation;

/* Any thread asks, since each may be the last one at work. */
static bool should_stop(void *context)
{
    simulation *s = context;
    const cohort_trainer_options *options = &s->federated->options;
    if (options->should_stop && options->should_stop(options->stop_context))
        atomic_store(&s->is_over, true);
    return atomic_load(&s->is_over);
}

/* Takes the client's update into the sums, or keeps it for a robust mean. */
static cohort_status take(cohort_federated *federated, const unsigned char *payload, size_t index)
{
    const uint64_t weight = cohort_federated_weight(federated, &federated->round.results[index]);
    COHORT_TRY(cohort_client_unpack(federated->update, &federated->exchange,
                                    &federated->compression, payload));
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

static cohort_status train_one(simulation *s, const cohort_client_lane *lane, size_t index)
{
    cohort_federated *federated = s->federated;
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
        .should_stop = should_stop,
        .stop_context = s,
    };
    cohort_client_result *result = &round->results[index];
    cohort_status status = COHORT_OK;
    if (omp_get_thread_num() == 0)
        cohort_comm_set_phase(federated->comm, "round %llu: client %zu",
                              (unsigned long long)federated->progress.epoch + 1, client);
    COHORT_TRY(cohort_client_train(result, lane->payload, lane->client, &federated->store, &task,
                                   &federated->fixed));
    if (result->stopped > 0 || result->fault > 0)
        return COHORT_OK;
#pragma omp critical(cohort_take_update)
    status = take(federated, lane->payload, index);
    return status;
}

static void train_at(simulation *s, size_t at)
{
    const cohort_client_lane *lane = &s->federated->lanes[omp_get_thread_num()];
    if (atomic_load(&s->is_over))
        return;
    const cohort_status status = train_one(s, lane, s->mine[at]);
    if (status == COHORT_OK)
        return;
    atomic_store(&s->is_over, true);
#pragma omp critical(cohort_client_failure)
    if (s->status == COHORT_OK) {
        s->status = status;
        snprintf(s->message, sizeof s->message, "%s", cohort_error_message());
    }
}

/* Trains this rank's clients until one is told to stop. */
static cohort_status train_all(simulation *s)
{
    const size_t lanes = s->federated->lane_count;
    for (size_t i = 0; i < s->count; i++)
        COHORT_TRY(cohort_client_store_guard(&s->federated->store,
                                             s->federated->round.clients[s->mine[i]]));
    if (lanes == 1) {
        for (size_t i = 0; i < s->count; i++)
            train_at(s, i);
    } else {
#pragma omp parallel for num_threads((int)lanes) schedule(dynamic, 1)
        for (size_t i = 0; i < s->count; i++) {
            omp_set_num_threads(1); /* within the layers; of this region alone */
            train_at(s, i);
        }
    }
    return s->status == COHORT_OK ? COHORT_OK : COHORT_FAIL(s->status, "%s", s->message);
}

static cohort_status train_mine(cohort_federated *federated)
{
    const cohort_round *round = &federated->round;
    simulation s = {.federated = federated};
    COHORT_TRY(COHORT_ALLOCATE(&s.mine, round->count));
    for (size_t i = 0; i < round->count; i++)
        if (is_mine(federated, i))
            s.mine[s.count++] = i;
    const cohort_status status = train_all(&s);
    cohort_free(s.mine);
    return status;
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
