/* What surrounds private steps: keys, the networks for single rows, the ledger, epsilon. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "privacy/poisson.h"
#include "train/private_internal.h"

static const cohort_privacy_recipe *recipe_of(const cohort_trainer *trainer)
{
    return &trainer->recipe->privacy;
}

static const char *unit_name(const cohort_privacy_recipe *recipe)
{
    return recipe->unit == (int)COHORT_UNIT_CLIENT ? "client" : "example";
}

/* --- Opening ---------------------------------------------------------------------- */

static size_t draw_members(void *context, uint64_t *members, uint64_t step)
{
    const cohort_private *privacy = context;
    return cohort_poisson_draw(members, privacy->draw.most, privacy->sampling, step,
                               privacy->samples, privacy->q);
}

cohort_status cohort_private_open(cohort_trainer *trainer)
{
    const cohort_privacy_recipe *recipe = recipe_of(trainer);
    const uint64_t seed = (uint64_t)recipe->testing_seed;
    if (!(recipe->delta > 0))
        return COHORT_OK;
    cohort_private *privacy = NULL;
    COHORT_TRY(cohort_comm_agree(trainer->comm, COHORT_ALLOCATE(&privacy, 1)));
    trainer->privacy = privacy;
    privacy->samples = trainer->progress.train_samples;
    privacy->q = (double)trainer->sampler.global_batch / (double)privacy->samples;
    privacy->draw = (cohort_draw){.members = draw_members,
                                  .context = privacy,
                                  .most = cohort_poisson_most(privacy->samples, privacy->q)};
    privacy->counted_at = UINT64_MAX;
    if (recipe->delta * (double)privacy->samples >= 1)
        cohort_log(COHORT_LOG_WARNING,
                   "privacy.delta %g is not below 1 / %llu samples: such a promise is kept by "
                   "publishing a sample; lower it",
                   recipe->delta, (unsigned long long)privacy->samples);
    COHORT_TRY(
        cohort_secret_create(&privacy->sampling, trainer->comm, COHORT_SECRET_SAMPLING, seed));
    return cohort_secret_create(&privacy->noise, trainer->comm, COHORT_SECRET_NOISE, seed);
}

const cohort_draw *cohort_private_draw(cohort_private *privacy)
{
    return privacy ? &privacy->draw : NULL;
}

/* State that training changes is a statistic of the rows that no noise covers. */
static cohort_status refuse_statistics(const cohort_trainer *trainer)
{
    const cohort_tensors state = cohort_model_state_tensors(trainer->model);
    for (size_t i = 0; i < state.count; i++)
        COHORT_REQUIRE(state.items[i].frozen, COHORT_USAGE,
                       "%s: layer %s mixes the rows of a batch (batch_norm), which no noise "
                       "covers; with `privacy:` use layer_norm instead, or freeze the layer",
                       trainer->recipe->path, state.items[i].layer);
    return COHORT_OK;
}

static cohort_status create_lanes(cohort_trainer *trainer)
{
    enum { RUNS_BYTES_MAX = 256 << 20 };
    cohort_private *privacy = trainer->privacy;
    const size_t count = cohort_model_params_count(trainer->model);
    COHORT_TRY(refuse_statistics(trainer));
    privacy->run_count = COHORT_PRIVATE_RUNS; /* a function of the network alone */
    while (privacy->run_count > 1 && privacy->run_count * count > RUNS_BYTES_MAX / sizeof(float))
        privacy->run_count /= 2;
    for (size_t run = 1; run < privacy->run_count; run++)
        COHORT_TRY(COHORT_ALLOCATE(&privacy->runs[run], count));
    const size_t lanes =
        trainer->threads < privacy->run_count ? trainer->threads : privacy->run_count;
    COHORT_TRY(COHORT_ALLOCATE(&privacy->lanes, lanes));
    privacy->lane_count = lanes;
    for (size_t i = 0; i < lanes; i++) {
        cohort_lane *lane = &privacy->lanes[i];
        COHORT_TRY(COHORT_ALLOCATE(&lane->grads, count));
        COHORT_TRY(cohort_model_create(&lane->model, trainer->recipe,
                                       cohort_model_input(trainer->model), 1, true));
        cohort_model_bind(lane->model, trainer->params, lane->grads, trainer->state);
    }
    return COHORT_OK;
}

cohort_status cohort_private_open_lanes(cohort_trainer *trainer)
{
    cohort_private *privacy = trainer->privacy;
    if (!privacy)
        return COHORT_OK;
    COHORT_TRY(cohort_comm_agree(trainer->comm, create_lanes(trainer)));
    /* By rule, not by measurement, and as on rank 0. */
    const size_t choices = cohort_model_choice_count(privacy->lanes[0].model);
    uint32_t *ways = NULL;
    cohort_status status = COHORT_ALLOCATE(&ways, choices);
    COHORT_TRY(cohort_comm_agree(trainer->comm, status));
    cohort_model_choices(ways, privacy->lanes[0].model);
    status = cohort_comm_broadcast(trainer->comm, ways, choices * sizeof *ways, 0);
    for (size_t i = 0; i < privacy->lane_count; i++)
        cohort_model_choose(privacy->lanes[i].model, ways);
    cohort_free(ways);
    return status;
}

void cohort_private_close(cohort_private *privacy)
{
    if (!privacy)
        return;
    for (size_t i = 0; i < privacy->lane_count; i++) {
        cohort_model_destroy(privacy->lanes[i].model);
        cohort_free(privacy->lanes[i].grads);
    }
    for (size_t run = 1; run < COHORT_PRIVATE_RUNS; run++)
        cohort_free(privacy->runs[run]);
    cohort_free(privacy->lanes);
    cohort_secret_destroy(privacy->noise);
    cohort_secret_destroy(privacy->sampling);
    cohort_free(privacy);
}

/* --- The ledger ------------------------------------------------------------------- */

static void note(const cohort_trainer *trainer, const char *text)
{
    if (trainer->options.observer.on_note)
        trainer->options.observer.on_note(trainer->options.observer.context, text);
}

cohort_status cohort_private_hash_data(uint64_t *hash, cohort_dataset *dataset)
{
    enum { ROWS = 256 };
    static const size_t bytes_of[] = {[COHORT_U8] = 1, [COHORT_I32] = 4, [COHORT_F32] = 4};
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const size_t row = cohort_shape_count(&info->x_shape) * bytes_of[info->x_element];
    const unsigned char *memory = cohort_dataset_memory(dataset);
    unsigned char *block = NULL;
    cohort_status status = COHORT_OK;
    *hash = info->count;
    if (!memory)
        COHORT_TRY(cohort_allocate((void **)&block, ROWS, row));
    for (uint64_t begin = 0; begin < info->count; begin += ROWS) {
        const size_t count = info->count - begin < ROWS ? (size_t)(info->count - begin) : ROWS;
        uint64_t rows[ROWS];
        for (size_t i = 0; i < count; i++)
            rows[i] = begin + i;
        if (!memory)
            COHORT_TRY_DONE(status, cohort_dataset_gather(block, NULL, dataset, rows, count));
        *hash = cohort_hash(memory ? memory + begin * row : block, count * row, *hash);
    }
done:
    cohort_free(block);
    return status;
}

cohort_status cohort_private_resume(cohort_trainer *trainer, const cohort_snapshot *about,
                                    const char *path)
{
    COHORT_TRY(cohort_ledger_read(&trainer->ledger, about->ledger));
    COHORT_REQUIRE(!trainer->privacy ||
                       cohort_ledger_steps(&trainer->ledger) >= about->progress.step,
                   COHORT_DATA,
                   "%s has lost (part of) its privacy ledger, so no epsilon would hold; take a "
                   "checkpoint as Cohort wrote it",
                   path);
    return COHORT_OK;
}

/* Whether the weights ABOUT describes were trained, without noise, on the file and group of this
 * run; FILE is the one they were trained on. */
static cohort_status find_noiseless(bool *trained, bool *same, cohort_text *file,
                                    const cohort_trainer *trainer, const cohort_snapshot *about)
{
    const cohort_data_recipe *ours = &trainer->recipe->data;
    cohort_recipe *before = NULL;
    *trained = *same = false;
    if (about->progress.step == 0)
        return COHORT_OK;
    *trained = true;
    if (cohort_recipe_parse(&before, about->recipe, "recipe", ".", NULL, 0,
                            cohort_model_catalog()) != COHORT_OK) {
        cohort_error_clear(); /* weights from elsewhere: what they saw is not known */
        cohort_text_append(file, "data that is not known");
        return cohort_text_status(file);
    }
    const bool is_counted = cohort_ledger_steps(&trainer->ledger) >= about->progress.step;
    *trained = !(before->privacy.delta > 0 && is_counted);
    *same = *trained && strcmp(before->data.file, ours->file) == 0 &&
            strcmp(before->data.train, ours->train) == 0;
    cohort_text_append(file, "%s", before->data.file);
    cohort_recipe_destroy(before);
    return cohort_text_status(file);
}

static cohort_status inherit_private(cohort_trainer *trainer, const cohort_snapshot *about,
                                     const char *path)
{
    bool trained = false, same = false;
    cohort_text file = {0}, text = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, find_noiseless(&trained, &same, &file, trainer, about));
    COHORT_REQUIRE_DONE(status, !same, COHORT_USAGE,
                        "train.initial_weights: %s was trained on the same data without privacy, "
                        "so no epsilon would hold; start from other weights",
                        path);
    if (trained) {
        cohort_text_append(&text,
                           "the initial weights were trained without noise on %s: epsilon says "
                           "nothing of rows that are in it too",
                           file.data);
        COHORT_TRY_DONE(status, cohort_text_status(&text));
        note(trainer, text.data);
    }
done:
    cohort_text_clear(&file);
    cohort_text_clear(&text);
    return status;
}

static const cohort_ledger_entry noiseless = {.mechanism = COHORT_MECHANISM_NONE,
                                              .release = {.steps = 1}};

static cohort_status inherit(cohort_trainer *trainer, const cohort_snapshot *about,
                             const char *path)
{
    COHORT_TRY(cohort_ledger_read(&trainer->ledger, about->ledger));
    if (trainer->privacy)
        return inherit_private(trainer, about, path);
    if (trainer->ledger.count == 0)
        return COHORT_OK;
    cohort_ledger_entry entry = noiseless;
    COHORT_TRY(cohort_private_hash_data(&entry.data, trainer->train));
    return cohort_ledger_add(&trainer->ledger, &entry);
}

cohort_status cohort_private_inherit(cohort_trainer *trainer)
{
    cohort_checkpoint *checkpoint = NULL;
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_recipe_find_file(&path, trainer->recipe,
                                                    trainer->recipe->train.initial_weights));
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&checkpoint, path.data));
    status = inherit(trainer, cohort_checkpoint_describe(checkpoint), path.data);
done:
    cohort_checkpoint_close(checkpoint);
    cohort_text_clear(&path);
    return status;
}

/* What the next steps of this run are entered as. */
static cohort_ledger_entry next_entry(const cohort_trainer *trainer)
{
    const cohort_private *privacy = trainer->privacy;
    cohort_ledger_entry entry = noiseless;
    if (recipe_of(trainer)->testing_seed == 0)
        entry = (cohort_ledger_entry){.release = {.q = privacy->q,
                                                  .noise_multiplier = privacy->noise_multiplier,
                                                  .steps = 1}};
    entry.unit = (cohort_privacy_unit)recipe_of(trainer)->unit;
    entry.data = privacy->data;
    return entry;
}

static cohort_status find_noise(cohort_trainer *trainer)
{
    const cohort_ledger none = {0};
    cohort_private *privacy = trainer->privacy;
    const cohort_privacy_recipe *recipe = recipe_of(trainer);
    const uint64_t done = trainer->progress.step, total = trainer->total_steps,
                   steps = total > done ? total - done : 1;
    bool kept = false;
    if (recipe->noise_multiplier > 0) {
        privacy->noise_multiplier = recipe->noise_multiplier;
        return COHORT_OK;
    }
    if (recipe->testing_seed)
        return cohort_ledger_noise(&privacy->noise_multiplier, &none,
                                   (cohort_accountant)recipe->accountant,
                                   (cohort_privacy_unit)recipe->unit, 0, recipe->target_epsilon,
                                   privacy->q, total, recipe->delta);
    if (trainer->resumed)
        COHORT_TRY(cohort_ledger_keep_noise(
            &kept, &privacy->noise_multiplier, &trainer->ledger,
            (cohort_accountant)recipe->accountant, (cohort_privacy_unit)recipe->unit, privacy->data,
            recipe->target_epsilon, privacy->q, steps, recipe->delta));
    if (kept)
        return COHORT_OK;
    return cohort_ledger_noise(&privacy->noise_multiplier, &trainer->ledger,
                               (cohort_accountant)recipe->accountant,
                               (cohort_privacy_unit)recipe->unit, privacy->data,
                               recipe->target_epsilon, privacy->q, steps, recipe->delta);
}

cohort_status cohort_private_settle(cohort_trainer *trainer)
{
    cohort_private *privacy = trainer->privacy;
    const cohort_privacy_recipe *recipe = recipe_of(trainer);
    char text[256];
    if (!privacy)
        return COHORT_OK;
    COHORT_TRY(cohort_private_hash_data(&privacy->data, trainer->train));
    COHORT_REQUIRE(recipe->testing_seed ||
                       cohort_ledger_is_bounded(&trainer->ledger, (cohort_privacy_unit)recipe->unit,
                                                privacy->data),
                   COHORT_USAGE,
                   "the initial weights have seen the same data without noise (or with noise for "
                   "examples only), so no epsilon would hold; start from other weights");
    if (cohort_ledger_has_noiseless(&trainer->ledger, privacy->data))
        note(trainer, "the initial weights were trained without noise on other data, too: epsilon "
                      "says nothing of rows that are in it as well");
    COHORT_TRY(find_noise(trainer));
    snprintf(text, sizeof text,
             "privacy: noise_multiplier %.5g, each sample in a batch with probability %.5g%s",
             privacy->noise_multiplier, privacy->q,
             recipe->testing_seed ? "; a testing seed: NOT PRIVATE" : "");
    note(trainer, text);
    return COHORT_OK;
}

/* --- What it costs ---------------------------------------------------------------- */

static cohort_status count_now(cohort_trainer *trainer)
{
    cohort_private *privacy = trainer->privacy;
    const cohort_privacy_recipe *recipe = recipe_of(trainer);
    if (privacy->counted_at == trainer->progress.step)
        return COHORT_OK;
    privacy->epsilon = INFINITY;
    if (!recipe->testing_seed)
        COHORT_TRY(cohort_ledger_epsilon(
            &privacy->epsilon, &trainer->ledger, (cohort_accountant)recipe->accountant,
            (cohort_privacy_unit)recipe->unit, privacy->data, recipe->delta));
    privacy->counted_at = trainer->progress.step;
    return COHORT_OK;
}

cohort_status cohort_private_count(cohort_trainer *trainer)
{
    if (!trainer->privacy)
        return COHORT_OK;
    return cohort_comm_follow(
        trainer->comm, cohort_comm_rank(trainer->comm) == 0 ? count_now(trainer) : COHORT_OK);
}

void cohort_private_look(cohort_train_view *view, const cohort_trainer *trainer)
{
    const cohort_private *privacy = trainer->privacy;
    if (!privacy || privacy->counted_at != trainer->progress.step)
        return;
    view->epsilon = privacy->epsilon;
    view->delta = recipe_of(trainer)->delta;
    view->unit = unit_name(recipe_of(trainer));
}

static cohort_status add_to_record(void *context, cohort_text *line)
{
    cohort_trainer *trainer = context;
    COHORT_TRY(count_now(trainer));
    cohort_json_number(line, "epsilon", trainer->privacy->epsilon);
    cohort_json_number(line, "delta", recipe_of(trainer)->delta);
    cohort_json_string(line, "unit", unit_name(recipe_of(trainer)));
    if (recipe_of(trainer)->testing_seed)
        cohort_json_string(line, "epsilon_refused", "privacy.testing_seed");
    return COHORT_OK;
}

void cohort_private_join_records(cohort_trainer *trainer)
{
    if (!trainer->privacy)
        return;
    trainer->record.add = add_to_record;
    trainer->record.context = trainer;
}

cohort_status cohort_private_enter_step(cohort_trainer *trainer)
{
    const cohort_ledger_entry entry = next_entry(trainer);
    return cohort_ledger_add(&trainer->ledger, &entry);
}

cohort_status cohort_private_write_ledger(cohort_trainer *trainer)
{
    trainer->ledger_text.length = 0;
    cohort_ledger_write(&trainer->ledger_text, &trainer->ledger);
    return cohort_text_status(&trainer->ledger_text);
}
