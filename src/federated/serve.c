/* A client of a deployment. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "federated/serve_secure.h"

static const double POLL_INTERVAL = 0.05; /* seconds between looks at the mail while training */
static const double GOODBYE_TIME = 20;    /* longer than the coordinator's */

typedef struct servant {
    cohort_comm *job, *alone;
    cohort_recipe *recipe;
    const cohort_trainer_options *options;
    cohort_mail *mail;
    cohort_dataset *train;
    cohort_client *client;
    cohort_client_store store; /* of one client */
    cohort_exchange exchange;
    cohort_compression compression;
    uint64_t *rows;
    size_t row_count;
    real *global;
    unsigned char *payload;
    bool is_masked; /* by secure aggregation: */
    cohort_seat seat;
    real *update;
    double heard, next_look;
    bool has_letter; /* one came while training and ends it: */
    cohort_letter letter;
    const unsigned char *data;
    size_t bytes;
} servant;

/* --- Start-up --- */

static cohort_status open_data(servant *s)
{
    const cohort_recipe *recipe = s->recipe;
    cohort_text path = {0};
    cohort_subset subset;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_deployment_file(&path, recipe, cohort_comm_rank(s->job)));
    COHORT_TRY_DONE(
        status,
        cohort_job_open_data(&s->train, s->alone, recipe,
                             &(cohort_job_data){.file = path.data,
                                                .group = recipe->data.train,
                                                .with_targets = cohort_job_needs_targets(recipe)}));
    COHORT_TRY_DONE(status,
                    cohort_job_training_subset(&subset, recipe, cohort_dataset_describe(s->train)));
    s->row_count = (size_t)cohort_subset_count(&subset);
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&s->rows, s->row_count));
    for (size_t i = 0; i < s->row_count; i++)
        s->rows[i] = cohort_subset_row(&subset, i);
    COHORT_TRY_DONE(status, cohort_client_create(&s->client, recipe, s->train, s->row_count));
    cohort_local *local = cohort_client_local(s->client);
    COHORT_TRY_DONE(status, cohort_job_check_data(s->train, path.data,
                                                  cohort_model_input(cohort_local_model(local)),
                                                  cohort_local_loss(local)));
done:
    cohort_text_clear(&path);
    return status;
}

/* Its data and network, and what of that it exchanges. */
static cohort_status open_training(servant *s)
{
    COHORT_TRY(open_data(s));
    s->exchange = cohort_exchange_of(cohort_local_model(cohort_client_local(s->client)),
                                     cohort_strategy_find(&s->recipe->federated.strategy));
    return COHORT_OK;
}

static cohort_status open_client(servant *s)
{
    const cohort_federated_recipe *how = &s->recipe->federated;
    size_t lengths[COHORT_CLIENT_KINDS];
    COHORT_TRY(open_training(s));
    s->compression = cohort_compression_make(&how->compression, s->exchange.params);
    cohort_client_lengths(lengths, s->client);
    COHORT_TRY(cohort_client_store_init(&s->store, 1, lengths));
    COHORT_TRY(COHORT_ALLOCATE(&s->global, s->exchange.count));
    COHORT_TRY(
        COHORT_ALLOCATE(&s->payload, cohort_client_payload_bytes(&s->exchange, &s->compression)));
    s->is_masked = strcmp(how->secure_aggregation.table->name, "false") != 0;
    s->seat = (cohort_seat){.recipe = s->recipe, .exchange = &s->exchange};
    if (s->is_masked)
        COHORT_TRY(COHORT_ALLOCATE(&s->update, s->exchange.count));
    return cohort_mail_set_limit(
        s->mail, cohort_deployment_most_bytes(&s->exchange, &s->compression,
                                              (size_t)cohort_comm_size(s->job) - 1));
}

static void close_client(servant *s)
{
    cohort_client_destroy(s->client);
    cohort_dataset_close(s->train);
    cohort_client_store_clear(&s->store);
    cohort_mail_close(s->mail);
    cohort_comm_close(s->alone);
    cohort_free(s->rows);
    cohort_free(s->global);
    cohort_free(s->payload);
    cohort_free(s->update);
    cohort_seat_clear(&s->seat);
}

static cohort_status send(servant *s, const cohort_letter *letter, const void *vector,
                          size_t vector_bytes)
{
    cohort_parcel *parcel = NULL;
    COHORT_TRY(cohort_letter_create(&parcel, letter, vector_bytes));
    if (vector_bytes)
        memcpy(parcel->data + COHORT_FEDERATED_HEADER_BYTES, vector, vector_bytes);
    cohort_status status = cohort_mail_send(s->mail, 0, parcel);
    cohort_parcel_release(parcel);
    return status;
}

/* Says that this client is ready, or why it is not. */
static cohort_status join(servant *s, cohort_status started)
{
    char text[COHORT_LETTER_TEXT] = "";
    const cohort_letter letter = {.kind = COHORT_LETTER_JOIN,
                                  .status = (int32_t)started,
                                  .vector = s->exchange.count,
                                  .samples = s->row_count};
    if (started != COHORT_OK)
        snprintf(text, sizeof text, "%s", cohort_error_message());
    return send(s, &letter, text, sizeof text);
}

/* --- Mail ----------------------------------------------------------------------------------------
 */

/* Looks whether rank 0 has sent something; what is not only a sign of life is kept. */
static cohort_status look(servant *s)
{
    int from = -1;
    COHORT_TRY(cohort_mail_receive(s->mail, &from, &s->data, &s->bytes));
    if (from != 0 || !cohort_letter_read(&s->letter, s->data, s->bytes))
        return COHORT_OK;
    s->heard = cohort_clock_seconds();
    s->has_letter = s->letter.kind != COHORT_LETTER_ALIVE;
    return COHORT_OK;
}

/* Asked after each step: a signal, or a new message, ends the training. */
static bool should_stop(void *context)
{
    servant *s = context;
    if (s->options->should_stop && s->options->should_stop(s->options->stop_context))
        return true;
    const double now = cohort_clock_seconds();
    if (now < s->next_look)
        return false;
    s->next_look = now + POLL_INTERVAL;
    if (look(s) != COHORT_OK)
        cohort_error_clear();
    return s->has_letter;
}

/* The coordinator sends signs of life; without them it is gone. */
static cohort_status wait_for_letter(servant *s, double seconds)
{
    while (!s->has_letter) {
        COHORT_TRY(look(s));
        if (s->has_letter)
            break;
        if (cohort_clock_seconds() - s->heard > seconds || cohort_mail_is_dead(s->mail, 0)) {
            (void)COHORT_FAIL(COHORT_PEER,
                              "the coordinator (rank 0 on %s) has died or given no sign of life "
                              "for %g s; start the job again, it goes on from its checkpoint",
                              cohort_comm_host(s->job, 0), seconds);
            return cohort_mail_give_up(s->mail);
        }
        cohort_mail_idle(s->mail);
    }
    s->has_letter = false;
    return COHORT_OK;
}

/* --- Work --- */

/* The update as it is sent: masked, where sums are secure. */
static cohort_status send_update(servant *s, const cohort_letter *sent, const cohort_fixed *fixed,
                                 cohort_letter *answer)
{
    cohort_client_result *result = &answer->result;
    const bool has_update = result->fault == 0 && result->stopped == 0;
    const uint64_t weight =
        s->recipe->federated.weighting == COHORT_WEIGHT_UNIFORM ? 1 : (uint64_t)s->row_count;
    if (!s->is_masked)
        return send(s, answer, s->payload,
                    has_update ? cohort_client_payload_bytes(&s->exchange, &s->compression) : 0);
    if (has_update)
        COHORT_TRY(cohort_client_unpack(s->update, &s->exchange, &s->compression, s->payload));
    COHORT_TRY(cohort_seat_mask(&s->seat, sent, fixed, s->update, weight, result));
    return send(s, answer, s->seat.answer, s->seat.answer_bytes);
}

static cohort_status train(servant *s)
{
    const size_t bytes = s->exchange.count * sizeof(real);
    if (s->bytes != COHORT_FEDERATED_HEADER_BYTES + bytes)
        return COHORT_OK; /* not from a coordinator of this run */
    memcpy(s->global, s->data + COHORT_FEDERATED_HEADER_BYTES, bytes);
    const cohort_fixed fixed = {.limit = s->letter.limit, .scale = s->letter.scale};
    const cohort_letter sent = s->letter; /* training looks at the mail */
    cohort_letter answer = {
        .kind = COHORT_LETTER_UPDATE, .round = sent.round, .attempt = sent.attempt};
    const cohort_client_task task = {
        .client = (size_t)cohort_comm_rank(s->job) - 1,
        .round = s->letter.round,
        .epochs = s->recipe->federated.local_epochs,
        .rows = s->rows,
        .row_count = s->row_count,
        .global = s->global,
        .clip = s->letter.clip,
        .should_stop = should_stop,
        .stop_context = s,
    };
    COHORT_TRY(
        cohort_client_train(&answer.result, s->payload, s->client, &s->store, &task, &fixed));
    return send_update(s, &sent, &fixed, &answer);
}

/* A message of secure aggregation. */
static cohort_status take_seat(servant *s)
{
    cohort_letter answer = {.round = s->letter.round, .attempt = s->letter.attempt};
    COHORT_TRY(cohort_seat_take(&answer.kind, &s->seat, &s->letter,
                                s->data + COHORT_FEDERATED_HEADER_BYTES,
                                s->bytes - COHORT_FEDERATED_HEADER_BYTES));
    return answer.kind ? send(s, &answer, s->seat.answer, s->seat.answer_bytes) : COHORT_OK;
}

/* The run is over: says goodbye, hears whether all are there, takes over its status. */
static cohort_status leave(servant *s)
{
    const cohort_letter goodbye = {.kind = COHORT_LETTER_FINISH};
    char text[COHORT_LETTER_TEXT] = "";
    const int32_t outcome = s->letter.status;
    if (s->bytes >= COHORT_FEDERATED_HEADER_BYTES + sizeof text)
        memcpy(text, s->data + COHORT_FEDERATED_HEADER_BYTES, sizeof text - 1);
    COHORT_TRY(send(s, &goodbye, NULL, 0));
    s->heard = cohort_clock_seconds();
    while (!s->has_letter && cohort_clock_seconds() - s->heard < GOODBYE_TIME) {
        COHORT_TRY(look(s));
        cohort_mail_idle(s->mail);
    }
    if (!s->has_letter || !s->letter.whole)
        cohort_comm_abandon(s->job);
    if (outcome == COHORT_OK)
        return COHORT_OK;
    return COHORT_FAIL(outcome > 0 && outcome < COHORT_STATUS_COUNT ? (cohort_status)outcome
                                                                    : COHORT_PEER,
                       "%s", text);
}

static cohort_status serve(servant *s)
{
    const double silence = s->recipe->comm.timeout;
    for (;;) {
        cohort_comm_set_phase(s->job, "waiting for the coordinator");
        COHORT_TRY(wait_for_letter(s, silence));
        if (s->letter.kind == COHORT_LETTER_FINISH)
            return leave(s);
        if (s->is_masked)
            COHORT_TRY(take_seat(s));
        if (s->letter.kind != COHORT_LETTER_TRAIN)
            continue;
        cohort_comm_set_phase(s->job, "round %llu", (unsigned long long)s->letter.round + 1);
        COHORT_TRY(train(s));
    }
}

cohort_status cohort_deployment_serve(cohort_comm *comm, cohort_recipe *recipe,
                                      const cohort_trainer_options *options)
{
    servant s = {.job = comm, .recipe = recipe, .options = options};
    cohort_status status = cohort_comm_open(&s.alone, NULL);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, cohort_deployment_open_mail(&s.mail, comm, COHORT_LETTER_TEXT));
    s.heard = cohort_clock_seconds();
    status = join(&s, open_client(&s));
    if (status == COHORT_OK)
        status = serve(&s);
    if (status != COHORT_OK && !cohort_comm_is_broken(comm) && s.mail)
        cohort_comm_abandon(comm);
done:
    close_client(&s);
    return status;
}

cohort_status cohort_deployment_try_client(cohort_comm *job, cohort_recipe *recipe,
                                           cohort_status (*visit)(void *context,
                                                                  const cohort_client_view *view),
                                           void *context)
{
    servant s = {.job = job, .recipe = recipe};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_comm_open(&s.alone, NULL));
    COHORT_TRY_DONE(status, open_training(&s));
    const cohort_client_view view = {.local = cohort_client_local(s.client),
                                     .rows = s.rows,
                                     .row_count = s.row_count,
                                     .vector = s.exchange.count};
    COHORT_TRY_DONE(status, visit(context, &view));
done:
    close_client(&s);
    return status;
}
