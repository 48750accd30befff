#include "federated/protect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernel/vector.h"
#include "privacy/ledger.h"
#include "privacy/noise.h"
#include "privacy/poisson.h"
#include "privacy/quantile.h"
#include "train/private.h"

typedef struct cohort_protection {
    cohort_secret *sampling;
    cohort_secret *noise; /* rank 0 */
    double q, noise_multiplier;
    size_t most;
    uint64_t *members;    /* [most] clients drawn, also those without rows */
    uint64_t data;        /* rank 0: a hash of the rows */
    cohort_ledger ledger; /* rank 0 */
    cohort_text ledger_text;
    double epsilon; /* rank 0: after round `counted_at` */
    uint64_t counted_at;
    /* The clip is recipe's, or with adaptive_clip progress.clip, within least_clip to most_clip. */
    double least_clip, most_clip;
    double vector_noise, count_noise; /* what noise_multiplier comes to for each; rank 0 */
    double used_clip, share;          /* of the latest round; share: rank 0, NaN when not asked */
} cohort_protection;

static const cohort_privacy_recipe *recipe_of(const cohort_federated *federated)
{
    return &federated->recipe->privacy;
}

static bool is_adaptive(const cohort_federated *federated)
{
    return recipe_of(federated)->adaptive_clip.quantile > 0;
}

bool cohort_federated_is_protected(const cohort_federated *federated)
{
    return recipe_of(federated)->delta > 0;
}

size_t cohort_federated_protect_most(const cohort_federated *federated)
{
    return cohort_poisson_most(federated->client_count, federated->how->fraction);
}

double cohort_federated_protect_mean(const cohort_federated *federated)
{
    return (double)federated->client_count * federated->how->fraction;
}

double cohort_federated_protect_clip(const cohort_federated *federated)
{
    if (!cohort_federated_is_protected(federated))
        return 0;
    return is_adaptive(federated) ? federated->progress.clip : recipe_of(federated)->clip;
}

/* --- Opening --- */

/* What rounding may add to a clipped update is taken off the clip: it must be little. */
enum { ROUNDINGS_IN_CLIP = 1000 };

static double least_clip(const cohort_federated *federated)
{
    return ROUNDINGS_IN_CLIP * cohort_fixed_norm(&federated->fixed, federated->exchange.params);
}

static cohort_status check_network(const cohort_federated *federated)
{
    const cohort_tensors state = cohort_model_state_tensors(federated->model);
    for (size_t i = 0; i < state.count; i++)
        COHORT_REQUIRE(state.items[i].frozen, COHORT_USAGE,
                       "%s: layer %s keeps means of a client's rows (batch_norm), which no noise "
                       "covers; with `privacy:` use layer_norm instead, or freeze the layer",
                       federated->recipe->path, state.items[i].layer);
    COHORT_REQUIRE(recipe_of(federated)->clip >= least_clip(federated), COHORT_USAGE,
                   "privacy.clip %g is too small for sums in steps of %g; lower "
                   "federated.update_limit",
                   recipe_of(federated)->clip, 1 / federated->fixed.scale);
    return COHORT_OK;
}

static cohort_status make(cohort_federated *federated)
{
    cohort_protection *protection = NULL;
    COHORT_TRY(check_network(federated));
    COHORT_TRY(COHORT_ALLOCATE(&protection, 1));
    federated->protection = protection;
    protection->q = federated->how->fraction;
    protection->most = cohort_federated_protect_most(federated);
    protection->counted_at = UINT64_MAX;
    protection->share = NAN;
    protection->least_clip = least_clip(federated);
    /* No update is longer: larger elements are refused. */
    protection->most_clip = federated->fixed.limit * sqrt((double)federated->exchange.params);
    if (is_adaptive(federated))
        federated->progress.clip = fmin(recipe_of(federated)->clip, protection->most_clip);
    return COHORT_ALLOCATE(&protection->members, protection->most);
}

cohort_status cohort_federated_protect(cohort_federated *federated)
{
    const cohort_privacy_recipe *recipe = recipe_of(federated);
    const uint64_t seed = (uint64_t)recipe->testing_seed;
    if (!cohort_federated_is_protected(federated))
        return COHORT_OK;
    COHORT_TRY(cohort_comm_agree(federated->comm, make(federated)));
    if (recipe->delta * (double)federated->client_count >= 1 &&
        cohort_comm_rank(federated->comm) == 0)
        cohort_log(COHORT_LOG_WARNING,
                   "privacy.delta %g is not below 1 / %zu clients: such a promise is kept by "
                   "publishing one of them; lower it",
                   recipe->delta, federated->client_count);
    COHORT_TRY(cohort_secret_create(&federated->protection->sampling, federated->comm,
                                    COHORT_SECRET_SAMPLING, seed));
    return cohort_secret_create(&federated->protection->noise, federated->comm, COHORT_SECRET_NOISE,
                                seed);
}

void cohort_federated_unprotect(cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    if (!protection)
        return;
    cohort_secret_destroy(protection->noise);
    cohort_secret_destroy(protection->sampling);
    cohort_ledger_clear(&protection->ledger);
    cohort_text_clear(&protection->ledger_text);
    cohort_free(protection->members);
    cohort_free(protection);
    federated->protection = NULL;
}

/* --- A round --- */

cohort_status cohort_federated_protect_draw(cohort_federated *federated)
{
    const cohort_protection *protection = federated->protection;
    cohort_round *round = &federated->round;
    const size_t drawn =
        cohort_poisson_draw(protection->members, protection->most, protection->sampling,
                            federated->progress.epoch, federated->client_count, protection->q);
    COHORT_REQUIRE(drawn <= protection->most, COHORT_INTERNAL,
                   "more than %zu clients were drawn; run the same command again",
                   protection->most);
    round->count = 0;
    for (size_t i = 0; i < drawn; i++) {
        const size_t client = (size_t)protection->members[i];
        if (federated->deployment || cohort_partition_count(&federated->partition, client) > 0)
            round->clients[round->count++] = client;
    }
    return COHORT_OK;
}

/* What a round is entered as: with a testing seed there is no noise that could be relied on. */
static cohort_ledger_entry entry_of(const cohort_federated *federated)
{
    const cohort_protection *protection = federated->protection;
    cohort_ledger_entry entry = {.mechanism = COHORT_MECHANISM_NONE,
                                 .unit = COHORT_UNIT_CLIENT,
                                 .release = {.steps = 1},
                                 .data = protection->data};
    if (recipe_of(federated)->testing_seed)
        return entry;
    entry.mechanism = COHORT_MECHANISM_GAUSSIAN;
    entry.release.q = protection->q;
    entry.release.noise_multiplier = protection->noise_multiplier;
    return entry;
}

/* A half for each client whose update is within the clip, minus a half for each other one. */
static double count_within(const cohort_round *round, double clip)
{
    double halves = 0;
    for (size_t i = 0; i < round->count; i++)
        if (round->dropped[i] == COHORT_DROPPED_NOT)
            halves += round->results[i].norm <= clip ? 0.5 : -0.5;
    return halves;
}

/* From the round's noisy count: where the clip goes. Its words lie behind those of the vectors. */
static void adapt_clip(cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    const cohort_adaptive_clip_recipe *adaptive = &recipe_of(federated)->adaptive_clip;
    const uint64_t index = (federated->exchange.params + 7) / 8 * 8;
    const double halves = count_within(&federated->round, protection->used_clip);
    protection->share = cohort_quantile_share(halves, protection->count_noise,
                                              cohort_federated_protect_mean(federated),
                                              protection->noise, federated->progress.epoch, index);
    federated->progress.clip =
        cohort_quantile_next(protection->used_clip, protection->share, adaptive->quantile,
                             adaptive->lr, protection->least_clip, protection->most_clip);
}

/* Entered before the noise is drawn: a round that fails here has cost too much, not too little. */
static cohort_status add_noise(cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    const cohort_tensors tensors = cohort_model_param_tensors(federated->model);
    const cohort_ledger_entry entry = entry_of(federated);
    COHORT_TRY(cohort_ledger_add(&protection->ledger, &entry));
    cohort_noise_add(federated->mean, &tensors, protection->noise, federated->progress.epoch,
                     protection->used_clip, protection->vector_noise);
    cohort_vector_scale(federated->mean, (float)(1 / cohort_federated_protect_mean(federated)),
                        federated->exchange.params);
    if (is_adaptive(federated))
        adapt_clip(federated);
    return COHORT_OK;
}

cohort_status cohort_federated_protect_release(cohort_federated *federated)
{
    const size_t count = federated->exchange.params;
    memset(federated->mean, 0, federated->exchange.count * sizeof *federated->mean);
    cohort_fixed_mean(federated->mean, &federated->fixed, federated->sums, count, 1);
    const bool is_first = cohort_comm_rank(federated->comm) == 0;
    federated->protection->used_clip = cohort_federated_protect_clip(federated);
    COHORT_TRY(cohort_comm_follow(federated->comm, is_first ? add_noise(federated) : COHORT_OK));
    COHORT_TRY(cohort_comm_broadcast(federated->comm, &federated->progress.clip,
                                     sizeof federated->progress.clip, 0));
    return cohort_comm_broadcast(federated->comm, federated->mean, count * sizeof(real), 0);
}

void cohort_federated_protect_note(cohort_text *line, const cohort_federated *federated)
{
    if (!federated->protection)
        return;
    cohort_json_number(line, "clip", federated->protection->used_clip);
    if (is_adaptive(federated))
        cohort_json_number(line, "within_clip", federated->protection->share);
}

/* --- What it costs --- */

static cohort_status count_now(cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    const cohort_privacy_recipe *recipe = recipe_of(federated);
    const uint64_t steps = cohort_ledger_steps(&protection->ledger);
    if (protection->counted_at == steps)
        return COHORT_OK;
    protection->epsilon = INFINITY;
    if (!recipe->testing_seed)
        COHORT_TRY(cohort_ledger_epsilon(&protection->epsilon, &protection->ledger,
                                         (cohort_accountant)recipe->accountant, COHORT_UNIT_CLIENT,
                                         protection->data, recipe->delta));
    protection->counted_at = steps;
    return COHORT_OK;
}

static cohort_status add_to_record(void *context, cohort_text *line)
{
    cohort_federated *federated = context;
    COHORT_TRY(count_now(federated));
    cohort_json_number(line, "epsilon", federated->protection->epsilon);
    cohort_json_number(line, "delta", recipe_of(federated)->delta);
    cohort_json_string(line, "unit", "client");
    if (recipe_of(federated)->testing_seed)
        cohort_json_string(line, "epsilon_refused", "privacy.testing_seed");
    return COHORT_OK;
}

void cohort_federated_protect_look(cohort_train_view *view, const cohort_federated *federated)
{
    view->epsilon = NAN;
    if (!federated->protection)
        return;
    view->epsilon = federated->protection->epsilon;
    view->delta = recipe_of(federated)->delta;
    view->unit = "client";
}

/* --- Continuing --- */

cohort_status cohort_federated_protect_resume(cohort_federated *federated,
                                              const cohort_snapshot *about, const char *path)
{
    cohort_protection *protection = federated->protection;
    if (!protection)
        return COHORT_OK;
    COHORT_TRY(cohort_ledger_read(&protection->ledger, about->ledger));
    COHORT_REQUIRE(cohort_ledger_steps(&protection->ledger) >= about->progress.step, COHORT_DATA,
                   "%s has lost (part of) its privacy ledger, so no epsilon would hold; take a "
                   "checkpoint as Cohort wrote it",
                   path);
    const double clip = about->progress.clip;
    COHORT_REQUIRE(!is_adaptive(federated) ||
                       (clip >= protection->least_clip && clip <= protection->most_clip),
                   COHORT_DATA,
                   "%s has lost the clip that its rounds had come to (%g); take a checkpoint as "
                   "Cohort wrote it",
                   path, clip);
    return COHORT_OK;
}

static cohort_status find_noise(cohort_federated *federated)
{
    const cohort_ledger none = {0};
    cohort_protection *protection = federated->protection;
    const cohort_privacy_recipe *recipe = recipe_of(federated);
    const cohort_accountant accountant = (cohort_accountant)recipe->accountant;
    const uint64_t done = federated->progress.epoch, total = federated->how->rounds,
                   left = total > done ? total - done : 1;
    bool kept = false;
    if (recipe->noise_multiplier > 0) {
        protection->noise_multiplier = recipe->noise_multiplier;
        return COHORT_OK;
    }
    if (recipe->testing_seed)
        return cohort_ledger_noise(&protection->noise_multiplier, &none, accountant,
                                   COHORT_UNIT_CLIENT, 0, recipe->target_epsilon, protection->q,
                                   total, recipe->delta);
    if (federated->resumed)
        COHORT_TRY(cohort_ledger_keep_noise(&kept, &protection->noise_multiplier,
                                            &protection->ledger, accountant, COHORT_UNIT_CLIENT,
                                            protection->data, recipe->target_epsilon, protection->q,
                                            left, recipe->delta));
    if (kept)
        return COHORT_OK;
    return cohort_ledger_noise(&protection->noise_multiplier, &protection->ledger, accountant,
                               COHORT_UNIT_CLIENT, protection->data, recipe->target_epsilon,
                               protection->q, left, recipe->delta);
}

/* What the noise found comes to for updates and, with adaptive_clip, for the count. */
static cohort_status split_noise(cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    const cohort_adaptive_clip_recipe *adaptive = &recipe_of(federated)->adaptive_clip;
    const double noise = protection->noise_multiplier;
    protection->vector_noise = noise;
    if (!is_adaptive(federated))
        return COHORT_OK;
    protection->count_noise =
        adaptive->count_noise > 0
            ? adaptive->count_noise
            : cohort_quantile_count_noise(cohort_federated_protect_mean(federated), noise);
    protection->vector_noise = cohort_quantile_vector_noise(noise, protection->count_noise);
    COHORT_REQUIRE(isfinite(protection->vector_noise), COHORT_USAGE,
                   "privacy.adaptive_clip.count_noise: %g would tell more than noise_multiplier %g "
                   "allows; set it well above half of that",
                   protection->count_noise, noise);
    return COHORT_OK;
}

static void tell(const cohort_federated *federated)
{
    const cohort_train_observer *observer = &federated->options.observer;
    const cohort_protection *protection = federated->protection;
    char text[256];
    int length =
        snprintf(text, sizeof text,
                 "privacy: noise_multiplier %.5g, each client in a round with probability %.5g",
                 protection->noise_multiplier, protection->q);
    if (is_adaptive(federated))
        length +=
            snprintf(text + length, sizeof text - (size_t)length,
                     "; clip from %.4g on (updates %.5g, count %.5g)", federated->progress.clip,
                     protection->vector_noise, protection->count_noise);
    snprintf(text + length, sizeof text - (size_t)length, "%s",
             recipe_of(federated)->testing_seed ? "; a testing seed: NOT PRIVATE" : "");
    if (observer->on_note)
        observer->on_note(observer->context, text);
}

/* Stands for the rows of real clients, which nobody here has seen: the name of their files. */
static uint64_t hash_files(const cohort_federated *federated)
{
    const char *name = federated->recipe->data.file;
    return cohort_hash(name, strlen(name), COHORT_UNIT_CLIENT);
}

cohort_status cohort_federated_protect_settle(cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    if (!protection)
        return COHORT_OK;
    if (federated->deployment)
        protection->data = hash_files(federated);
    else
        COHORT_TRY(cohort_private_hash_data(&protection->data, federated->train));
    COHORT_TRY(find_noise(federated));
    COHORT_TRY(split_noise(federated));
    federated->record.add = add_to_record;
    federated->record.context = federated;
    tell(federated);
    return COHORT_OK;
}

cohort_status cohort_federated_protect_ledger(const char **ledger, cohort_federated *federated)
{
    cohort_protection *protection = federated->protection;
    *ledger = NULL;
    if (!protection)
        return COHORT_OK;
    protection->ledger_text.length = 0;
    cohort_ledger_write(&protection->ledger_text, &protection->ledger);
    *ledger = protection->ledger_text.length > 0 ? protection->ledger_text.data : NULL;
    return cohort_text_status(&protection->ledger_text);
}
