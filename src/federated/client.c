#include "federated/client.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernel/update.h"
#include "privacy/clip.h"

struct cohort_client {
    const cohort_recipe *recipe;
    const cohort_strategy *strategy;
    const cohort_strategy_recipe *numbers;
    cohort_local *local;
    cohort_exchange exchange;
    cohort_compression compression;
    real *update;        /* [exchange.count] */
    const real *global;  /* of the task under way */
    const real *control; /* the client's own; NULL: all zero, or none is kept */
    cohort_tensor *norm; /* batch_norm's parameters: offsets within a packed vector … */
    size_t *norm_from;   /* … and within the parameters */
    size_t norm_count, norm_reals;
};

cohort_exchange cohort_exchange_of(const cohort_model *model, const cohort_strategy *strategy)
{
    cohort_exchange made = {.params = cohort_model_params_count(model),
                            .state = cohort_model_state_count(model)};
    made.control = strategy->control ? made.params : 0;
    made.count = made.params + made.state + made.control;
    return made;
}

/* --- batch_norm of its own --- */

/* A layer with moving averages is a batch_norm. */
static bool has_state(const cohort_model *model, const char *layer)
{
    const cohort_tensors state = cohort_model_state_tensors(model);
    for (size_t i = 0; i < state.count; i++)
        if (strcmp(state.items[i].layer, layer) == 0)
            return true;
    return false;
}

static cohort_status find_norm(cohort_client *client)
{
    const cohort_model *model = cohort_local_model(client->local);
    const cohort_tensors params = cohort_model_param_tensors(model);
    if (client->recipe->federated.batch_norm != COHORT_NORM_LOCAL)
        return COHORT_OK;
    COHORT_REQUIRE(client->exchange.state > 0, COHORT_USAGE,
                   "federated.batch_norm: local needs a network with batch_norm; remove it");
    COHORT_TRY(COHORT_ALLOCATE(&client->norm, params.count));
    COHORT_TRY(COHORT_ALLOCATE(&client->norm_from, params.count));
    for (size_t i = 0; i < params.count; i++) {
        if (!has_state(model, params.items[i].layer))
            continue;
        client->norm[client->norm_count] = params.items[i];
        client->norm[client->norm_count].offset = client->norm_reals;
        client->norm_from[client->norm_count++] = params.items[i].offset;
        client->norm_reals += params.items[i].count;
    }
    return COHORT_OK;
}

/* Between the network and a client's own vector. */
static void copy_norm(cohort_client *client, real *own, bool keep)
{
    real *params = cohort_local_params(client->local), *state = cohort_local_state(client->local);
    for (size_t i = 0; i < client->norm_count; i++) {
        real *here = params + client->norm_from[i], *there = own + client->norm[i].offset;
        memcpy(keep ? there : here, keep ? here : there, client->norm[i].count * sizeof *own);
    }
    memcpy(keep ? own + client->norm_reals : state, keep ? state : own + client->norm_reals,
           client->exchange.state * sizeof *own);
}

cohort_tensors cohort_client_norm_tensors(size_t *state_offset, const cohort_client *client)
{
    *state_offset = client->norm_reals;
    return (cohort_tensors){client->norm, client->norm_count};
}

void cohort_client_lengths(size_t lengths[COHORT_CLIENT_KINDS], const cohort_client *client)
{
    const bool keeps_norm = client->recipe->federated.batch_norm == COHORT_NORM_LOCAL;
    lengths[COHORT_CLIENT_CONTROL] = client->exchange.control;
    lengths[COHORT_CLIENT_RESIDUAL] =
        cohort_compression_has_residual(&client->compression) ? client->exchange.params : 0;
    lengths[COHORT_CLIENT_NORM] = keeps_norm ? client->norm_reals + client->exchange.state : 0;
}

/* --- Making --- */

cohort_status cohort_client_create(cohort_client **out, const cohort_recipe *recipe,
                                   cohort_dataset *dataset, size_t most_rows)
{
    const cohort_federated_recipe *federated = &recipe->federated;
    const size_t batch = federated->local_batch_size ? federated->local_batch_size : most_rows;
    cohort_client *client = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&client, 1));
    client->recipe = recipe;
    client->strategy = cohort_strategy_find(&federated->strategy);
    client->numbers = federated->strategy.config;
    COHORT_TRY_DONE(status, cohort_local_create(&client->local, recipe, dataset, batch, most_rows));
    client->exchange = cohort_exchange_of(cohort_local_model(client->local), client->strategy);
    client->compression = cohort_compression_make(&federated->compression, client->exchange.params);
    COHORT_TRY_DONE(status, find_norm(client));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&client->update, client->exchange.count));
    *out = client;
    client = NULL;
done:
    cohort_client_destroy(client);
    return status;
}

void cohort_client_destroy(cohort_client *client)
{
    if (!client)
        return;
    cohort_local_destroy(client->local);
    cohort_free(client->update);
    cohort_free(client->norm);
    cohort_free(client->norm_from);
    cohort_free(client);
}

cohort_local *cohort_client_local(cohort_client *client)
{
    return client->local;
}

/* --- Training --- */

/* FedProx: the gradient of mu/2 |w - w0|^2. SCAFFOLD: g - c_k + c. */
static void adjust(void *context, real *grads, const real *params)
{
    const cohort_client *client = context;
    const size_t count = client->exchange.params;
    if (client->strategy->proximal) {
        const real mu = (real)client->numbers->mu;
        for (size_t i = 0; i < count; i++)
            grads[i] += mu * (params[i] - client->global[i]);
    }
    if (client->strategy->control) {
        const real *server = client->global + client->exchange.params + client->exchange.state;
        const real *own = client->control;
        for (size_t i = 0; i < count; i++)
            grads[i] += own ? server[i] - own[i] : server[i];
    }
}

void cohort_client_begin(cohort_client *client, const cohort_client_store *store,
                         const cohort_client_task *task)
{
    const cohort_exchange *exchange = &client->exchange;
    real *norm = cohort_client_store_find(store, COHORT_CLIENT_NORM, task->slot);
    memcpy(cohort_local_params(client->local), task->global, exchange->params * sizeof(real));
    memcpy(cohort_local_state(client->local), task->global + exchange->params,
           exchange->state * sizeof(real));
    if (norm)
        copy_norm(client, norm, false);
    client->global = task->global;
    client->control = cohort_client_store_find(store, COHORT_CLIENT_CONTROL, task->slot);
}

/* The update: what changed in parameters and state, and SCAFFOLD's change of the control
 * variate (option II): c_k' - c_k = -c + (w0 - w) / (steps lr). */
static void subtract(cohort_client *client, uint64_t steps, double lr)
{
    const cohort_exchange *exchange = &client->exchange;
    const real *params = cohort_local_params(client->local),
               *state = cohort_local_state(client->local), *global = client->global;
    real *update = client->update;
    for (size_t i = 0; i < exchange->params; i++)
        update[i] = params[i] - global[i];
    update += exchange->params;
    global += exchange->params;
    for (size_t i = 0; i < exchange->state; i++)
        update[i] = state[i] - global[i];
    update += exchange->state;
    global += exchange->state;
    const double per_step = 1 / ((double)steps * lr);
    for (size_t i = 0; i < exchange->control; i++)
        update[i] = (real)(-(double)global[i] - (double)client->update[i] * per_step);
}

static double norm_of(const real *x, size_t count)
{
    double sum = 0;
    for (size_t at = 0; at < count; at += COHORT_UPDATE_BLOCK) {
        const size_t left = count - at;
        sum += cohort_update_square_sum(x + at,
                                        left < COHORT_UPDATE_BLOCK ? left : COHORT_UPDATE_BLOCK);
    }
    return sqrt(sum);
}

/* Scales the parameters' part down to the strategy's limit. */
static void bound(cohort_client *client, double norm)
{
    if (!client->strategy->bounded || !(norm > client->numbers->limit))
        return;
    const double factor = client->numbers->limit / norm;
    for (size_t i = 0; i < client->exchange.params; i++)
        client->update[i] = (real)((double)client->update[i] * factor);
}

/* What the client keeps for its next time. */
static cohort_status keep(cohort_client *client, cohort_client_store *store, size_t slot)
{
    real *vector = NULL;
    if (store->lengths[COHORT_CLIENT_CONTROL]) {
        const real *change = client->update + client->exchange.params + client->exchange.state;
        COHORT_TRY(cohort_client_store_get(&vector, store, COHORT_CLIENT_CONTROL, slot));
        for (size_t i = 0; i < client->exchange.control; i++)
            vector[i] += change[i];
    }
    if (store->lengths[COHORT_CLIENT_NORM]) {
        COHORT_TRY(cohort_client_store_get(&vector, store, COHORT_CLIENT_NORM, slot));
        copy_norm(client, vector, true);
    }
    return COHORT_OK;
}

size_t cohort_client_payload_bytes(const cohort_exchange *exchange,
                                   const cohort_compression *compression)
{
    return cohort_compression_bytes(compression) +
           (exchange->state + exchange->control) * sizeof(real);
}

static cohort_status pack(unsigned char *payload, cohort_client *client, cohort_client_store *store,
                          const cohort_client_task *task)
{
    const cohort_exchange *exchange = &client->exchange;
    const size_t bytes = cohort_compression_bytes(&client->compression);
    real *residual = NULL;
    if (store->lengths[COHORT_CLIENT_RESIDUAL])
        COHORT_TRY(cohort_client_store_get(&residual, store, COHORT_CLIENT_RESIDUAL, task->slot));
    COHORT_TRY(cohort_compress(payload, &client->compression, client->update, residual,
                               (uint64_t)client->recipe->seed, task->client, task->round));
    memcpy(payload + bytes, client->update + exchange->params,
           (exchange->state + exchange->control) * sizeof(real));
    return COHORT_OK;
}

cohort_status cohort_client_unpack(real *update, const cohort_exchange *exchange,
                                   const cohort_compression *compression,
                                   const unsigned char *payload)
{
    COHORT_TRY(cohort_decompress(update, compression, payload));
    memcpy(update + exchange->params, payload + cohort_compression_bytes(compression),
           (exchange->state + exchange->control) * sizeof(real));
    return COHORT_OK;
}

void cohort_client_add(uint64_t *sums, const cohort_exchange *exchange, const cohort_fixed *fixed,
                       const real *update, uint64_t weight)
{
    const size_t weighted = exchange->params + exchange->state;
    cohort_fixed_add(sums, fixed, update, weighted, weight);
    cohort_fixed_add(sums + weighted, fixed, update + weighted, exchange->control, 1);
}

void cohort_client_clip(real *update, const cohort_exchange *exchange, const cohort_fixed *fixed,
                        double clip)
{
    cohort_clip(update, exchange->params, clip - cohort_fixed_norm(fixed, exchange->params));
}

cohort_status cohort_client_train(cohort_client_result *result, unsigned char *payload,
                                  cohort_client *client, cohort_client_store *store,
                                  const cohort_client_task *task, const cohort_fixed *fixed)
{
    const cohort_recipe *recipe = client->recipe;
    cohort_local_result trained;
    const bool adjusts = client->strategy->proximal || client->strategy->control;
    const cohort_local_work work = {
        .rows = task->rows,
        .row_count = task->row_count,
        .key = task->client,
        .time = task->round,
        .epochs = task->epochs,
        .lr = cohort_schedule_lr(&recipe->optimizer.schedule, recipe->optimizer.lr, task->round, 1,
                                 recipe->federated.rounds),
        .adjust = adjusts ? adjust : NULL,
        .adjust_context = client,
        .should_stop = task->should_stop,
        .stop_context = task->stop_context,
    };
    cohort_client_begin(client, store, task);
    COHORT_TRY(cohort_local_train(&trained, client->local, &work));
    *result = (cohort_client_result){.loss = trained.loss,
                                     .correct = trained.correct,
                                     .count = trained.count,
                                     .rows = (double)task->row_count,
                                     .stopped = trained.stopped};
    if (trained.stopped)
        return COHORT_OK;
    subtract(client, trained.steps, work.lr);
    result->norm = norm_of(client->update, client->exchange.params);
    result->fault = trained.diverged || !isfinite(trained.loss)
                        ? COHORT_UPDATE_NOT_FINITE
                        : cohort_fixed_check(fixed, client->update, client->exchange.count);
    if (result->fault > 0)
        return COHORT_OK;
    bound(client, result->norm);
    if (recipe->privacy.delta > 0)
        cohort_client_clip(client->update, &client->exchange, fixed,
                           task->clip > 0 ? task->clip : recipe->privacy.clip);
    COHORT_TRY(keep(client, store, task->slot));
    return pack(payload, client, store, task);
}
