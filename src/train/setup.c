/* Opening everything a run needs, in the order in which a user would want to hear of
 * mistakes: data, network, run folder. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/trainer_private.h"

/* data.validation: none, a fraction, or the name of a group. */
static bool validation_fraction(double *fraction, const cohort_recipe *recipe)
{
    *fraction = 0;
    return recipe->data.validation && cohort_parse_double(fraction, recipe->data.validation);
}

static size_t largest_share(size_t global, int size)
{
    return (global + (size_t)size - 1) / (size_t)size;
}

/* A loader that walks SUBSET of the split in order, in passes of one microbatch. */
static cohort_status open_eval(cohort_eval_split *split, cohort_trainer *trainer,
                               const cohort_subset *subset)
{
    const size_t global = trainer->microbatch * (size_t)cohort_comm_size(trainer->comm);
    split->batch_count = (cohort_subset_count(subset) + global - 1) / global;
    return cohort_job_loader(&split->loader, trainer->comm, trainer->recipe, split->dataset, subset,
                             global, trainer->model, false);
}

static cohort_status open_group(cohort_eval_split *split, cohort_trainer *trainer,
                                const char *group)
{
    char name[128];
    COHORT_TRY(
        cohort_job_open_data(&split->dataset, trainer->comm, trainer->recipe, NULL, group, true));
    snprintf(name, sizeof name, "%s/%s", trainer->recipe->data.file, group);
    COHORT_TRY(cohort_comm_agree(
        trainer->comm, cohort_job_check_data(split->dataset, name,
                                             cohort_model_input(trainer->model), &trainer->loss)));
    const cohort_subset all = cohort_subset_all(cohort_dataset_describe(split->dataset)->count);
    return cohort_comm_agree(trainer->comm, open_eval(split, trainer, &all));
}

static cohort_status open_splits(cohort_trainer *trainer)
{
    const cohort_recipe *recipe = trainer->recipe;
    double fraction = 0;
    if (validation_fraction(&fraction, recipe)) {
        const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
        const cohort_subset held = cohort_subset_validation(info->count, fraction, info->chunk_rows,
                                                            (uint64_t)recipe->seed);
        COHORT_REQUIRE(cohort_subset_count(&held) > 0, COHORT_DATA,
                       "data.validation: %s of the training samples is none of them; raise it",
                       recipe->data.validation);
        trainer->validation.dataset = trainer->train;
        trainer->validation.is_borrowed = true;
        COHORT_TRY(
            cohort_comm_agree(trainer->comm, open_eval(&trainer->validation, trainer, &held)));
    } else if (recipe->data.validation) {
        COHORT_TRY(open_group(&trainer->validation, trainer, recipe->data.validation));
    }
    bool has_test = false;
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(trainer->comm) == 0)
        status = cohort_dataset_has_group(&has_test, recipe->data.file, recipe->data.test);
    COHORT_TRY(cohort_comm_agree(trainer->comm, status));
    COHORT_TRY(cohort_comm_broadcast(trainer->comm, &has_test, sizeof has_test, 0));
    COHORT_REQUIRE(has_test || strcmp(recipe->data.test, "test") == 0, COHORT_DATA,
                   "%s has no group '%s' (data.test)", recipe->data.file, recipe->data.test);
    return has_test ? open_group(&trainer->test, trainer, recipe->data.test) : COHORT_OK;
}

/* The sampler of the training part and the batch sizes. Rank-local. */
static cohort_status choose_batches(cohort_trainer *trainer)
{
    const cohort_recipe *recipe = trainer->recipe;
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    double fraction = 0;
    cohort_subset subset = cohort_subset_all(info->count);
    if (validation_fraction(&fraction, recipe))
        subset =
            cohort_subset_training(info->count, fraction, info->chunk_rows, (uint64_t)recipe->seed);
    const size_t samples = (size_t)cohort_subset_count(&subset);
    COHORT_REQUIRE(samples > 0, COHORT_DATA,
                   "data.validation: %s leaves no sample to train on; lower it",
                   recipe->data.validation);
    size_t global = recipe->train.global_batch_size;
    global = global < samples ? global : samples;
    const size_t share = largest_share(global, cohort_comm_size(trainer->comm));
    trainer->microbatch = recipe->train.microbatch_size ? recipe->train.microbatch_size : share;
    trainer->microbatch = trainer->microbatch < share ? trainer->microbatch : share;
    trainer->microbatch_count = (share + trainer->microbatch - 1) / trainer->microbatch;
    trainer->progress.train_samples = samples;
    trainer->progress.global_batch_size = global;
    trainer->progress.chunk_rows = info->chunk_rows;
    trainer->progress.seed = (uint64_t)recipe->seed;
    trainer->sampler = (cohort_sampler){.subset = subset,
                                        .seed = (uint64_t)recipe->seed,
                                        .shuffle = recipe->data.shuffle,
                                        .chunk_rows = info->chunk_rows,
                                        .global_batch = global};
    trainer->steps_per_epoch = cohort_sampler_steps(&trainer->sampler);
    trainer->total_steps = trainer->steps_per_epoch * recipe->train.epochs;
    if (recipe->train.max_steps && recipe->train.max_steps < trainer->total_steps)
        trainer->total_steps = recipe->train.max_steps;
    return COHORT_OK;
}

/* The network, planned, the loss on it, the loader for it. Rank-local. */
static cohort_status create_model(cohort_trainer *trainer)
{
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    char name[128];
    cohort_flow input;
    COHORT_TRY(cohort_job_input(&input, trainer->recipe, info));
    COHORT_TRY(
        cohort_model_create(&trainer->model, trainer->recipe, &input, trainer->microbatch, true));
    COHORT_REQUIRE(trainer->microbatch_count == 1 ||
                       !cohort_model_needs_whole_batch(trainer->model),
                   COHORT_USAGE,
                   "train.microbatch_size cuts the batch, but `batch_norm` wants the whole of it; "
                   "remove microbatch_size or give batch_norm `sync: false`");
    COHORT_TRY(cohort_loss_create(&trainer->loss, &trainer->recipe->loss,
                                  cohort_model_output_shape(trainer->model),
                                  info->labels ? 0 : cohort_shape_count(&info->y_shape)));
    snprintf(name, sizeof name, "%s/%s", trainer->recipe->data.file, trainer->recipe->data.train);
    COHORT_TRY(cohort_job_check_data(trainer->train, name, &input, &trainer->loss));
    COHORT_TRY(cohort_job_loader(&trainer->loader, trainer->comm, trainer->recipe, trainer->train,
                                 &trainer->sampler.subset, trainer->sampler.global_batch,
                                 trainer->model, true));
    const size_t state_count = cohort_model_state_count(trainer->model);
    COHORT_TRY(COHORT_ALLOCATE(&trainer->params, cohort_model_params_count(trainer->model)));
    return COHORT_ALLOCATE(&trainer->state, state_count);
}

static cohort_status create_vectors(cohort_trainer *trainer)
{
    const cohort_recipe *recipe = trainer->recipe;
    const size_t count = cohort_model_params_count(trainer->model);
    const cohort_reducer_config config = {.mode = (cohort_reducer_mode)recipe->comm.reducer,
                                          .bucket_bytes = (size_t)recipe->comm.bucket,
                                          .timeout = recipe->comm.timeout};
    COHORT_TRY(cohort_reducer_create(&trainer->reducer, trainer->comm, &config, count));
    cohort_model_bind(trainer->model, trainer->params, cohort_reducer_grads(trainer->reducer),
                      trainer->state);
    cohort_model_init(trainer->model, (uint64_t)recipe->seed);
    const cohort_tensors tensors = cohort_model_param_tensors(trainer->model);
    return cohort_comm_agree(
        trainer->comm,
        cohort_optimizer_create(&trainer->optimizer, &recipe->optimizer, &tensors, count));
}

cohort_status cohort_trainer_open(cohort_trainer *trainer)
{
    cohort_comm_set_timeout(trainer->comm, trainer->recipe->comm.timeout);
    cohort_comm_set_phase(trainer->comm, "opening the data");
    trainer->threads = cohort_job_set_threads(trainer->comm, trainer->recipe->train.threads);
    COHORT_TRY(cohort_job_open_data(&trainer->train, trainer->comm, trainer->recipe, NULL,
                                    trainer->recipe->data.train, true));
    COHORT_TRY(cohort_comm_agree(trainer->comm, choose_batches(trainer)));
    COHORT_TRY(cohort_comm_agree(trainer->comm, create_model(trainer)));
    COHORT_TRY(create_vectors(trainer));
    return open_splits(trainer);
}

static void close_split(cohort_eval_split *split)
{
    cohort_loader_destroy(split->loader);
    if (!split->is_borrowed && split->dataset)
        cohort_dataset_close(split->dataset);
}

void cohort_trainer_destroy(cohort_trainer *trainer)
{
    if (!trainer)
        return;
    cohort_loader_destroy(trainer->loader);
    close_split(&trainer->test);
    close_split(&trainer->validation);
    if (trainer->train)
        cohort_dataset_close(trainer->train);
    cohort_model_destroy(trainer->model);
    cohort_optimizer_destroy(trainer->optimizer);
    cohort_reducer_destroy(trainer->reducer);
    cohort_run_close(trainer->run);
    cohort_record_close(&trainer->record);
    cohort_evaluation_clear(&trainer->test_result);
    cohort_text_clear(&trainer->recipe_text);
    cohort_text_clear(&trainer->folder);
    cohort_free(trainer->params);
    cohort_free(trainer->state);
    free(trainer);
}
