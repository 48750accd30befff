/* Rank 0 of a deployment. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/rng.h"
#include "federated/coordinate_private.h"
#include "federated/protect.h"
#include "federated/secure.h"

/* Seconds between signs of life, and that clients get to say goodbye. */
static const double ALIVE_INTERVAL = 2, GOODBYE_TIME = 10;

/* Waiting that counts only while this process runs: a coordinator that was itself held up (stopped,
 * no CPU for it) finds its clients' messages before it blames them. */
typedef struct waiting {
    double seen, left; /* seconds */
} waiting;

static bool is_patient(waiting *wait)
{
    static const double MOST_AT_ONCE = 0.1;
    const double now = cohort_clock_seconds(), since = now - wait->seen;
    wait->seen = now;
    wait->left -= since < MOST_AT_ONCE ? since : MOST_AT_ONCE;
    return wait->left > 0;
}

static double round_timeout(const cohort_federated *federated)
{
    return federated->how->round_timeout > 0 ? federated->how->round_timeout
                                             : federated->recipe->comm.timeout;
}

/* Sends LETTER with TEXT behind it (may be NULL) to CLIENT; nobody minds if it is lost. */
static void tell(cohort_deployment *deployment, size_t client, const cohort_letter *letter,
                 const char *text)
{
    cohort_parcel *parcel = NULL;
    cohort_status status = cohort_letter_create(&parcel, letter, text ? COHORT_LETTER_TEXT : 0);
    if (status == COHORT_OK && text)
        snprintf((char *)parcel->data + COHORT_FEDERATED_HEADER_BYTES, COHORT_LETTER_TEXT, "%s",
                 text);
    if (status == COHORT_OK)
        status = cohort_mail_send(deployment->mail, cohort_deployment_rank(client), parcel);
    if (status != COHORT_OK)
        cohort_error_clear();
    cohort_parcel_release(parcel);
}

/* Signs of life, now and then; dead processes of this host. */
static void look_after(cohort_deployment *deployment)
{
    const double now = cohort_clock_seconds();
    const cohort_letter alive = {.kind = COHORT_LETTER_ALIVE};
    if (now < deployment->next_alive)
        return;
    deployment->next_alive = now + ALIVE_INTERVAL;
    for (size_t k = 0; k < deployment->count; k++) {
        cohort_member *at = &deployment->members[k];
        if (at->state == MEMBER_GONE || at->state == MEMBER_LEFT)
            continue;
        if (cohort_mail_is_dead(deployment->mail, cohort_deployment_rank(k))) {
            at->state = MEMBER_GONE;
            cohort_log(COHORT_LOG_WARNING, "client %zu (rank %d on %s) has died", k,
                       cohort_deployment_rank(k),
                       cohort_comm_host(deployment->job, cohort_deployment_rank(k)));
        }
        if (at->state != MEMBER_GONE &&
            !cohort_mail_is_pending(deployment->mail, cohort_deployment_rank(k)))
            tell(deployment, k, &alive, NULL);
    }
}

/* --- Start-up --- */

/* Network and test data from this rank's own file. */
static cohort_status open_own(cohort_federated *federated)
{
    const cohort_recipe *recipe = federated->recipe;
    cohort_text path = {0};
    cohort_dataset *dataset = NULL;
    double fraction = 0;
    bool has_test = false;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_deployment_file(&path, recipe, 0));
    COHORT_TRY_DONE(status, cohort_job_has_test(&has_test, federated->comm, recipe, path.data));
    const bool has_group =
        recipe->data.validation && !cohort_job_validation_fraction(&fraction, recipe);
    COHORT_REQUIRE_DONE(status, has_test || has_group, COHORT_DATA,
                        "%s: the coordinator needs test data to know the network's input; give it "
                        "a group '%s'",
                        path.data, recipe->data.test);
    COHORT_TRY_DONE(status, cohort_job_open_data(
                                &dataset, federated->comm, recipe,
                                &(cohort_job_data){
                                    .file = path.data,
                                    .group = has_test ? recipe->data.test : recipe->data.validation,
                                    .with_targets = cohort_job_needs_targets(recipe)}));
    COHORT_TRY_DONE(status,
                    cohort_federated_open_model(federated, cohort_dataset_describe(dataset)));
    cohort_model_note_precision(federated->model, recipe);
    COHORT_TRY_DONE(status, cohort_federated_open_splits(federated, path.data));
done:
    cohort_dataset_close(dataset);
    cohort_text_clear(&path);
    return status;
}

/* Takes the word of CLIENT that it is ready, or why not. */
static cohort_status take_join(cohort_federated *federated, size_t client,
                               const cohort_letter *letter, const unsigned char *data, size_t bytes)
{
    cohort_deployment *deployment = federated->deployment;
    cohort_member *at = &deployment->members[client];
    const char *host = cohort_comm_host(deployment->job, cohort_deployment_rank(client));
    if (letter->status != COHORT_OK) {
        char text[COHORT_LETTER_TEXT] = "";
        if (bytes >= COHORT_FEDERATED_HEADER_BYTES + sizeof text)
            memcpy(text, data + COHORT_FEDERATED_HEADER_BYTES, sizeof text - 1);
        const bool known = letter->status > 0 && letter->status < COHORT_STATUS_COUNT;
        return COHORT_FAIL(known ? (cohort_status)letter->status : COHORT_PEER, "rank %d on %s: %s",
                           cohort_deployment_rank(client), host, text);
    }
    if (letter->vector != federated->exchange.count)
        return cohort_error_prefix(
            cohort_deployment_refuse_vector(letter->vector, federated->exchange.count),
            "rank %d on %s", cohort_deployment_rank(client), host);
    at->state = MEMBER_JOINED;
    at->rows = letter->samples;
    return COHORT_OK;
}

static size_t count_in(const cohort_deployment *deployment, cohort_member_state state)
{
    size_t count = 0;
    for (size_t k = 0; k < deployment->count; k++)
        count += deployment->members[k].state == state;
    return count;
}

/* Hears from every client, or until the time is over. */
static cohort_status gather_members(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    waiting wait = {cohort_clock_seconds(), federated->recipe->comm.timeout};
    while (count_in(deployment, MEMBER_STARTING) > 0 && is_patient(&wait)) {
        const unsigned char *data = NULL;
        size_t bytes = 0;
        int from = -1;
        cohort_letter letter;
        look_after(deployment);
        COHORT_TRY(cohort_mail_receive(deployment->mail, &from, &data, &bytes));
        if (from < 0)
            cohort_mail_idle(deployment->mail);
        else if (from > 0 && cohort_letter_read(&letter, data, bytes) &&
                 letter.kind == COHORT_LETTER_JOIN)
            COHORT_TRY(take_join(federated, (size_t)from - 1, &letter, data, bytes));
    }
    for (size_t k = 0; k < deployment->count; k++)
        if (deployment->members[k].state == MEMBER_STARTING)
            cohort_log(COHORT_LOG_WARNING,
                       "client %zu (rank %d on %s) has not started; the run begins without it", k,
                       cohort_deployment_rank(k),
                       cohort_comm_host(deployment->job, cohort_deployment_rank(k)));
    return COHORT_OK;
}

/* The clients there are, the sum of all their weights. */
static cohort_status count_members(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    uint64_t weight = 0;
    COHORT_TRY(COHORT_ALLOCATE(&federated->eligible, deployment->count));
    COHORT_TRY(COHORT_ALLOCATE(&deployment->available, deployment->count));
    for (size_t k = 0; k < deployment->count; k++) {
        if (deployment->members[k].state != MEMBER_JOINED)
            continue;
        federated->eligible[federated->eligible_count++] = k;
        federated->progress.train_samples += deployment->members[k].rows;
        weight +=
            federated->how->weighting == COHORT_WEIGHT_UNIFORM ? 1 : deployment->members[k].rows;
    }
    if (cohort_federated_is_protected(federated))
        weight = deployment->count; /* whoever has started */
    COHORT_REQUIRE(federated->eligible_count >= federated->how->min_clients, COHORT_PEER,
                   "only %zu of %zu clients have started, fewer than federated.min_clients (%zu)",
                   federated->eligible_count, deployment->count, federated->how->min_clients);
    federated->client_count = deployment->count;
    return cohort_fixed_make(&federated->fixed, federated->how->update_limit, weight);
}

/* As many as the round wants, and some more. */
static cohort_status open_rounds(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    size_t asked;
    COHORT_TRY(cohort_federated_open_round(federated));
    deployment->wanted = federated->chosen_most;
    asked = (size_t)ceil((double)deployment->wanted * (1 + federated->how->over_selection));
    asked = asked < federated->eligible_count ? asked : federated->eligible_count;
    if (asked > deployment->wanted) {
        federated->chosen_most = asked;
        COHORT_TRY(cohort_federated_grow_round(federated));
    }
    return COHORT_OK;
}

static cohort_status open_network(cohort_federated *federated)
{
    COHORT_REQUIRE(!(federated->how->client_test > 0), COHORT_USAGE,
                   "federated.client_test is for simulated clients: real ones test the model "
                   "themselves (cohort eval); remove it");
    return open_own(federated);
}

/* What follows once it is known who the clients are. */
static cohort_status open_rest(cohort_federated *federated)
{
    COHORT_TRY(count_members(federated));
    COHORT_TRY(open_rounds(federated));
    COHORT_TRY(cohort_federated_secure_check(federated));
    COHORT_TRY(cohort_federated_open_vectors(federated));
    return cohort_federated_protect(federated);
}

static cohort_status coordinate(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    COHORT_TRY(open_network(federated));
    COHORT_TRY(gather_members(federated));
    COHORT_TRY(open_rest(federated));
    federated->progress.global_batch_size = deployment->wanted;
    return cohort_mail_set_limit(
        deployment->mail, cohort_deployment_most_bytes(&federated->exchange,
                                                       &federated->compression, deployment->count));
}

static cohort_status gather(cohort_federated *federated);

/* A coordinator of the clients of JOB, none of which has been heard of. */
static cohort_status create(cohort_deployment **out, cohort_comm *job)
{
    cohort_deployment *deployment = NULL;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&deployment, 1));
    deployment->job = job;
    deployment->count = (size_t)cohort_comm_size(job) - 1;
    cohort_status status = COHORT_ALLOCATE(&deployment->members, deployment->count);
    if (status == COHORT_OK)
        status = cohort_comm_open(&deployment->alone, NULL);
    if (status == COHORT_OK)
        *out = deployment;
    else
        cohort_deployment_destroy(deployment);
    return status;
}

cohort_status cohort_deployment_coordinate(cohort_federated *federated, cohort_comm *comm)
{
    cohort_deployment *deployment = NULL;
    const int size = cohort_comm_size(comm);
    COHORT_REQUIRE(size > 1, COHORT_USAGE,
                   "federated: without clients needs ranks: rank 0 coordinates, every other is a "
                   "client with its own file (mpirun -n 3 …); or set federated.clients to simulate "
                   "them");
    COHORT_TRY(cohort_comm_agree(comm, create(&deployment, comm)));
    federated->deployment = deployment;
    COHORT_TRY(cohort_deployment_open_mail(&deployment->mail, comm, COHORT_LETTER_TEXT));
    federated->comm = deployment->alone;
    federated->gather = gather;
    return coordinate(federated);
}

cohort_status cohort_deployment_try(cohort_federated *federated, cohort_comm *job,
                                    const double *rows)
{
    COHORT_TRY(create(&federated->deployment, job));
    cohort_deployment *deployment = federated->deployment;
    federated->comm = deployment->alone;
    COHORT_TRY(open_network(federated));
    for (size_t k = 0; k < deployment->count; k++)
        deployment->members[k] = (cohort_member){.state = MEMBER_JOINED,
                                                 .rows = (uint64_t)rows[cohort_deployment_rank(k)]};
    return open_rest(federated);
}

void cohort_deployment_destroy(cohort_deployment *deployment)
{
    if (!deployment)
        return;
    cohort_mail_close(deployment->mail);
    cohort_comm_close(deployment->alone);
    cohort_free(deployment->members);
    cohort_free(deployment->available);
    cohort_secure_coordinator_destroy(deployment->coordinator);
    cohort_free(deployment);
}

/* --- A round ------------------------------------------------------------------------------------
 */

/* Those that have taken all that was sent to them, have said something since they last owed an
 * answer, and are not known to be dead. */
static bool is_available(const cohort_deployment *deployment, size_t client)
{
    return deployment->members[client].state == MEMBER_JOINED &&
           !deployment->members[client].is_silent &&
           !cohort_mail_is_pending(deployment->mail, cohort_deployment_rank(client));
}

static size_t find_available(cohort_deployment *deployment)
{
    size_t count = 0;
    for (size_t k = 0; k < deployment->count; k++)
        if (is_available(deployment, k))
            deployment->available[count++] = k;
    return count;
}

/* Takes what has come and is of no use now: late updates of earlier rounds. */
static cohort_status drain(cohort_deployment *deployment)
{
    const unsigned char *data = NULL;
    size_t bytes = 0;
    for (int from = 0; from >= 0;) {
        COHORT_TRY(cohort_mail_receive(deployment->mail, &from, &data, &bytes));
        if (from > 0)
            deployment->members[from - 1].is_silent = false;
    }
    return COHORT_OK;
}

/* Clients a round cannot do without. */
static size_t fewest(const cohort_federated *federated)
{
    const size_t least = cohort_federated_secure_is(federated) ? 2 : 1;
    return federated->how->min_clients > least ? federated->how->min_clients : least;
}

/* Of a private round, whose clients are drawn from all that belong to the run: those among them
 * that can be reached. The others add nothing, as if they had no rows; the mean is divided by the
 * expected number all the same. */
static cohort_status choose_secretly(cohort_federated *federated)
{
    const cohort_deployment *deployment = federated->deployment;
    cohort_round *round = &federated->round;
    COHORT_TRY(cohort_federated_protect_draw(federated));
    const size_t drawn = round->count;
    round->count = 0;
    for (size_t i = 0; i < drawn; i++)
        if (is_available(deployment, round->clients[i]))
            round->clients[round->count++] = round->clients[i];
    return COHORT_OK;
}

cohort_status cohort_deployment_choose(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    cohort_round *round = &federated->round;
    const cohort_trainer_options *options = &federated->options;
    waiting wait = {cohort_clock_seconds(), round_timeout(federated)};
    const size_t least = fewest(federated);
    size_t count;
    while ((count = find_available(deployment)) < least) {
        COHORT_REQUIRE(
            is_patient(&wait) && count_in(deployment, MEMBER_JOINED) >= least, COHORT_PEER,
            "round %llu: only %zu clients can be reached, fewer than %s (%zu); look at the others, "
            "then run the same command again (the last checkpoint is kept)",
            (unsigned long long)federated->progress.epoch + 1, count,
            least > federated->how->min_clients ? "a secure sum needs" : "federated.min_clients",
            least);
        round->is_abandoned = options->should_stop && options->should_stop(options->stop_context);
        if (round->is_abandoned)
            return COHORT_OK;
        look_after(deployment);
        COHORT_TRY(drain(deployment));
        cohort_mail_idle(deployment->mail);
    }
    if (cohort_federated_is_protected(federated))
        return choose_secretly(federated);
    const cohort_permutation order = cohort_permutation_make(
        count, (uint64_t)federated->recipe->seed, COHORT_RNG_CLIENTS, 0, federated->progress.epoch);
    round->count = federated->chosen_most < count ? federated->chosen_most : count;
    for (size_t i = 0; i < round->count; i++) {
        const size_t client = deployment->available[cohort_permutation_at(&order, i)];
        size_t at = i;
        for (; at > 0 && round->clients[at - 1] > client; at--)
            round->clients[at] = round->clients[at - 1];
        round->clients[at] = client;
    }
    return COHORT_OK;
}

cohort_status cohort_deployment_send(cohort_federated *federated, const cohort_letter *letter,
                                     const void *vector, size_t bytes, const bool *who)
{
    cohort_round *round = &federated->round;
    cohort_parcel *parcel = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_letter_create(&parcel, letter, bytes));
    memcpy(parcel->data + COHORT_FEDERATED_HEADER_BYTES, vector, bytes);
    for (size_t i = 0; i < round->count && status == COHORT_OK; i++) {
        if (who && !who[i])
            continue;
        status = cohort_mail_send(federated->deployment->mail,
                                  cohort_deployment_rank(round->clients[i]), parcel);
        round->bytes_down += (double)parcel->bytes;
    }
    cohort_parcel_release(parcel);
    return status;
}

cohort_status cohort_deployment_send_model(cohort_federated *federated, const bool *who)
{
    const cohort_letter letter = {.kind = COHORT_LETTER_TRAIN,
                                  .round = federated->progress.epoch,
                                  .attempt = federated->deployment->attempt,
                                  .limit = federated->fixed.limit,
                                  .scale = federated->fixed.scale,
                                  .clip = cohort_federated_protect_clip(federated)};
    return cohort_deployment_send(federated, &letter, federated->global,
                                  federated->exchange.count * sizeof(real), who);
}

/* What is wrong with an update, seen from here: nothing a client says is believed. Leaves it
 * in federated->update. */
static cohort_dropped examine(cohort_federated *federated, size_t index,
                              const cohort_client_result *result, const unsigned char *payload,
                              size_t bytes)
{
    const size_t client = federated->round.clients[index];
    if (result->fault > 0)
        return result->fault == COHORT_UPDATE_TOO_LARGE ? COHORT_DROPPED_TOO_LARGE
                                                        : COHORT_DROPPED_NOT_FINITE;
    if (bytes != cohort_client_payload_bytes(&federated->exchange, &federated->compression) ||
        result->rows != (double)federated->deployment->members[client].rows ||
        !isfinite(result->loss) || !(result->count > 0))
        return COHORT_DROPPED_DAMAGED;
    if (cohort_client_unpack(federated->update, &federated->exchange, &federated->compression,
                             payload) != COHORT_OK) {
        cohort_error_clear();
        return COHORT_DROPPED_DAMAGED;
    }
    const cohort_dropped fault = (cohort_dropped)cohort_fixed_check(
        &federated->fixed, federated->update, federated->exchange.count);
    /* Epsilon must not rest on the client's word. */
    if (fault == COHORT_DROPPED_NOT && cohort_federated_is_protected(federated))
        cohort_client_clip(federated->update, &federated->exchange, &federated->fixed,
                           cohort_federated_protect_clip(federated));
    return fault;
}

static void take_update(cohort_federated *federated, size_t index, const cohort_letter *letter,
                        const unsigned char *payload, size_t bytes)
{
    cohort_round *round = &federated->round;
    if (round->dropped[index] != COHORT_DROPPED_SILENT || letter->result.stopped > 0)
        return; /* told to stop by itself: it has no update */
    round->dropped[index] = (int)examine(federated, index, &letter->result, payload, bytes);
    if (round->dropped[index] != COHORT_DROPPED_NOT)
        return;
    round->results[index] = letter->result;
    round->kept++;
    if (federated->all)
        memcpy(federated->all[index], federated->update, federated->exchange.count * sizeof(real));
    else
        cohort_federated_add(federated, cohort_federated_weight(federated, &letter->result));
}

static bool lacks_update(const cohort_federated *federated, size_t index)
{
    return federated->round.kept < federated->deployment->wanted &&
           federated->round.dropped[index] == COHORT_DROPPED_SILENT;
}

/* Hands on one message if it is what the round waits for. */
static void deliver(cohort_federated *federated, const cohort_listener *listener, int from,
                    const unsigned char *data, size_t bytes)
{
    cohort_deployment *deployment = federated->deployment;
    cohort_round *round = &federated->round;
    cohort_letter letter;
    size_t index = 0;
    if (from < 1)
        return;
    deployment->members[from - 1].is_silent = false;
    if (!cohort_letter_read(&letter, data, bytes) || letter.kind != (uint32_t)listener->kind ||
        letter.round != federated->progress.epoch || letter.attempt != deployment->attempt)
        return;
    while (index < round->count && round->clients[index] != (size_t)from - 1)
        index++;
    if (index == round->count)
        return;
    round->bytes_up += (double)bytes;
    listener->take(federated, index, &letter, data + COHORT_FEDERATED_HEADER_BYTES,
                   bytes - COHORT_FEDERATED_HEADER_BYTES);
}

/* Whether somebody may still answer. */
static bool is_waiting(const cohort_federated *federated, const cohort_listener *listener)
{
    const cohort_round *round = &federated->round;
    for (size_t i = 0; i < round->count; i++)
        if (listener->lacks(federated, i) &&
            federated->deployment->members[round->clients[i]].state == MEMBER_JOINED)
            return true;
    return false;
}

/* It is not asked again until it says something. Who is not in the round is named with it; an
 * update that has come counts, also where its client is lost before the masks are off. */
static void note_silent(cohort_federated *federated, size_t index)
{
    const cohort_round *round = &federated->round;
    const size_t client = round->clients[index];
    cohort_member *member = &federated->deployment->members[client];
    if (round->dropped[index] == COHORT_DROPPED_NOT && member->state == MEMBER_JOINED)
        cohort_log(COHORT_LOG_WARNING,
                   "the next rounds go on without client %zu (rank %d on %s): its update counts in "
                   "round %llu, but it did not help in time to take off the masks",
                   client, cohort_deployment_rank(client),
                   cohort_comm_host(federated->deployment->job, cohort_deployment_rank(client)),
                   (unsigned long long)federated->progress.epoch + 1);
    member->is_silent = true;
}

cohort_status cohort_deployment_listen(cohort_federated *federated, const cohort_listener *listener)
{
    cohort_deployment *deployment = federated->deployment;
    const cohort_trainer_options *options = &federated->options;
    cohort_round *round = &federated->round;
    waiting wait = {cohort_clock_seconds(), round_timeout(federated)};
    while (is_waiting(federated, listener) && is_patient(&wait)) {
        const unsigned char *data = NULL;
        size_t bytes = 0;
        int from = -1;
        round->is_abandoned = options->should_stop && options->should_stop(options->stop_context);
        if (round->is_abandoned)
            return COHORT_OK;
        look_after(deployment);
        COHORT_TRY(cohort_mail_receive(deployment->mail, &from, &data, &bytes));
        if (from < 0)
            cohort_mail_idle(deployment->mail);
        else
            deliver(federated, listener, from, data, bytes);
    }
    for (size_t i = 0; i < round->count; i++)
        if (listener->lacks(federated, i))
            note_silent(federated, i);
    return COHORT_OK;
}

cohort_status cohort_deployment_begin_round(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    round->kept = 0;
    federated->deployment->attempt++;
    memset(federated->sums, 0, federated->exchange.count * sizeof *federated->sums);
    memset(round->results, 0, round->count * sizeof *round->results);
    for (size_t i = 0; i < round->count; i++)
        round->dropped[i] = COHORT_DROPPED_SILENT;
    return drain(federated->deployment);
}

static cohort_status gather_plain(cohort_federated *federated)
{
    const cohort_listener updates = {COHORT_LETTER_UPDATE, take_update, lacks_update};
    COHORT_TRY(cohort_deployment_begin_round(federated));
    COHORT_TRY(cohort_deployment_send_model(federated, NULL));
    return cohort_deployment_listen(federated, &updates);
}

static cohort_status gather(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const double started = cohort_clock_seconds();
    if (round->is_abandoned)
        return COHORT_OK;
    COHORT_TRY(cohort_federated_secure_is(federated) ? cohort_deployment_gather_secure(federated)
                                                     : gather_plain(federated));
    for (size_t i = 0; i < round->count && round->kept >= federated->deployment->wanted; i++)
        if (round->dropped[i] == COHORT_DROPPED_SILENT)
            round->dropped[i] = COHORT_DROPPED_LATE;
    round->seconds = cohort_clock_seconds() - started;
    return COHORT_OK;
}

/* --- The end --- */

/* Waits until every client that lives has said goodbye, but not for long: stopped ones on this
 * host are killed then. False when a client is missing. */
static bool hear_goodbyes(cohort_deployment *deployment)
{
    const double end = cohort_clock_seconds() + GOODBYE_TIME;
    while (count_in(deployment, MEMBER_LEFT) + count_in(deployment, MEMBER_GONE) <
               deployment->count &&
           cohort_clock_seconds() < end) {
        const unsigned char *data = NULL;
        size_t bytes = 0;
        int from = -1;
        cohort_letter letter;
        look_after(deployment);
        if (cohort_mail_receive(deployment->mail, &from, &data, &bytes) != COHORT_OK)
            return false;
        if (from < 0)
            cohort_mail_idle(deployment->mail);
        else if (from > 0 && cohort_letter_read(&letter, data, bytes) &&
                 letter.kind == COHORT_LETTER_FINISH)
            deployment->members[from - 1].state = MEMBER_LEFT;
    }
    for (size_t k = 0; k < deployment->count; k++)
        if (deployment->members[k].state != MEMBER_LEFT)
            cohort_mail_kill(deployment->mail, cohort_deployment_rank(k));
    return count_in(deployment, MEMBER_LEFT) == deployment->count;
}

void cohort_deployment_finish(cohort_federated *federated, cohort_status status)
{
    cohort_deployment *deployment = federated->deployment;
    char text[COHORT_LETTER_TEXT];
    cohort_letter letter = {.kind = COHORT_LETTER_FINISH, .status = (int32_t)status};
    if (!deployment->mail)
        return; /* start-up failed on all ranks alike */
    snprintf(text, sizeof text, "%s", status == COHORT_OK ? "" : cohort_error_message());
    for (size_t k = 0; k < deployment->count; k++)
        tell(deployment, k, &letter, text);
    letter.whole = hear_goodbyes(deployment);
    for (size_t k = 0; k < deployment->count; k++)
        tell(deployment, k, &letter, text);
    if (!letter.whole)
        cohort_comm_abandon(deployment->job);
    if (status != COHORT_OK)
        (void)COHORT_FAIL(status, "%s", text); /* what went on here must not hide it */
}
