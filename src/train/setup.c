/* Opening everything a run needs, in the order in which a user would want to hear of
 * mistakes: data, network, run folder. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "comm/tree.h"
#include "data/folds.h"
#include "train/private.h"

/* A loader that walks SUBSET of the split in order, in passes of one microbatch. */
cohort_status cohort_trainer_open_split(cohort_eval_split *split, cohort_trainer *trainer)
{
    const size_t global = trainer->microbatch * (size_t)cohort_comm_size(trainer->comm);
    split->batch_count = (cohort_subset_count(&split->subset) + global - 1) / global;
    const cohort_share share = cohort_job_even_share(trainer->comm);
    return cohort_job_loader(&split->loader, trainer->recipe, split->dataset, &split->subset,
                             global, &share, trainer->model, COHORT_TO_EVALUATE);
}

static cohort_status open_group(cohort_eval_split *split, cohort_trainer *trainer,
                                const char *group, bool is_read_once)
{
    const cohort_job_data data = {.group = group,
                                  .with_targets = cohort_job_needs_targets(trainer->recipe),
                                  .is_read_once = is_read_once};
    COHORT_TRY(cohort_job_open_split(&split->dataset, trainer->comm, trainer->recipe, &data,
                                     cohort_model_input(trainer->model), &trainer->loss));
    split->subset = cohort_subset_all(cohort_dataset_describe(split->dataset)->count);
    return cohort_comm_agree(trainer->comm, cohort_trainer_open_split(split, trainer));
}

/* A split that is open already. */
static cohort_status take_split(cohort_eval_split *split, cohort_trainer *trainer,
                                cohort_dataset *dataset)
{
    const char *name = split == &trainer->test ? "test" : "validation";
    split->dataset = dataset;
    split->is_borrowed = true;
    split->subset = cohort_subset_all(cohort_dataset_describe(dataset)->count);
    cohort_status status =
        cohort_job_check_data(dataset, name, cohort_model_input(trainer->model), &trainer->loss);
    if (status == COHORT_OK)
        status = cohort_trainer_open_split(split, trainer);
    return cohort_comm_agree(trainer->comm, status);
}

static cohort_status open_test(cohort_trainer *trainer)
{
    bool has_test = false;
    if (trainer->options.data.test)
        return take_split(&trainer->test, trainer, trainer->options.data.test);
    if (trainer->options.data.train)
        return COHORT_OK;
    COHORT_TRY(cohort_job_has_test(&has_test, trainer->comm, trainer->recipe, NULL));
    return has_test ? open_group(&trainer->test, trainer, trainer->recipe->data.test, true)
                    : COHORT_OK;
}

/* ROWS of the training data, held back. */
static cohort_status hold_back(cohort_trainer *trainer, const cohort_subset *rows)
{
    trainer->validation.dataset = trainer->train;
    trainer->validation.is_borrowed = true;
    trainer->validation.subset = *rows;
    return cohort_comm_agree(trainer->comm,
                             cohort_trainer_open_split(&trainer->validation, trainer));
}

static cohort_status open_splits(cohort_trainer *trainer)
{
    const cohort_recipe *recipe = trainer->recipe;
    double fraction = 0;
    if (trainer->options.fold) {
        const cohort_subset held = cohort_subset_list(trainer->fold_rows, trainer->fold_held);
        COHORT_TRY(hold_back(trainer, &held));
    } else if (cohort_job_validation_fraction(&fraction, recipe)) {
        const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
        const cohort_subset held = cohort_subset_validation(info->count, fraction, info->chunk_rows,
                                                            (uint64_t)recipe->seed);
        COHORT_REQUIRE(cohort_subset_count(&held) > 0, COHORT_DATA,
                       "data.validation: %s of the training samples is none of them; raise it",
                       recipe->data.validation);
        COHORT_TRY(hold_back(trainer, &held));
    } else if (trainer->options.data.validation) {
        COHORT_TRY(take_split(&trainer->validation, trainer, trainer->options.data.validation));
    } else if (recipe->data.validation) {
        COHORT_TRY(open_group(&trainer->validation, trainer, recipe->data.validation, false));
    }
    return open_test(trainer);
}

/* The rows of this run's fold and all others, by class where there are classes. *subset = the
 * others. Rank-local. */
static cohort_status part_folds(cohort_subset *subset, cohort_trainer *trainer)
{
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    const size_t count = (size_t)cohort_subset_count(subset);
    uint64_t *members = NULL;
    int32_t *labels = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_job_list_rows(&members, subset));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&trainer->fold_rows, count));
    if (info->labels && cohort_shape_count(&info->y_shape) == 1)
        COHORT_TRY_DONE(status, cohort_job_read_labels(&labels, trainer->train, members, count));
    COHORT_TRY_DONE(status,
                    cohort_folds_part(trainer->fold_rows, &trainer->fold_held, members, labels,
                                      count, trainer->recipe->train.folds,
                                      trainer->options.fold - 1, (uint64_t)trainer->recipe->seed));
    *subset =
        cohort_subset_list(trainer->fold_rows + trainer->fold_held, count - trainer->fold_held);
done:
    cohort_free(members);
    cohort_free(labels);
    return status;
}

/* The sampler of the training part, the number of steps. Rank-local. */
static cohort_status choose_samples(cohort_trainer *trainer)
{
    const cohort_recipe *recipe = trainer->recipe;
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    cohort_subset subset;
    COHORT_TRY(cohort_job_training_subset(&subset, recipe, info));
    if (trainer->options.fold)
        COHORT_TRY(part_folds(&subset, trainer));
    const size_t samples = (size_t)cohort_subset_count(&subset);
    size_t global = recipe->train.global_batch_size;
    global = global < samples ? global : samples;
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

enum { PARTS = 4, PARTS_PARAMS_MAX = 2000000 };

/* Whether summing PARTS gradients instead of one costs next to nothing: not where the
 * vectors are long against the arithmetic (large tables of embeddings, very wide layers).
 * A function of the recipe alone, never of the ranks. */
static bool is_cheap_to_part(const cohort_model *model)
{
    const cohort_tensors tensors = cohort_model_param_tensors(model);
    size_t embedded = 0;
    for (size_t i = 0; i < tensors.count; i++)
        if (tensors.items[i].flags & COHORT_PARAM_EMBEDDING)
            embedded += tensors.items[i].count;
    const size_t total = cohort_model_params_count(model);
    return total <= PARTS_PARAMS_MAX && 2 * embedded <= total;
}

/* Into how many parts the global batch is cut, if the network has nothing against it. */
static size_t parts_wanted(const cohort_trainer *trainer)
{
    size_t parts = trainer->recipe->train.parts ? trainer->recipe->train.parts : PARTS;
    while (parts > trainer->sampler.global_batch)
        parts /= 2;
    return parts;
}

/* The same by PROBE, the network planned for one sample. */
static cohort_status choose_parts(size_t *parts, const cohort_trainer *trainer,
                                  const cohort_model *probe)
{
    const size_t wanted = trainer->recipe->train.parts;
    COHORT_REQUIRE((wanted & (wanted - 1)) == 0, COHORT_USAGE,
                   "train.parts: %zu is no power of two; give 1, 2, 4, 8, …", wanted);
    COHORT_REQUIRE(wanted <= 1 || !cohort_model_uses_sum(probe), COHORT_USAGE,
                   "train.parts: `batch_norm` takes statistics over more than a part; set parts "
                   "to 1 or leave it out");
    *parts = parts_wanted(trainer);
    if (wanted == 0 &&
        (cohort_model_uses_sum(probe) || (!trainer->privacy && !is_cheap_to_part(probe))))
        *parts = 1;
    return COHORT_OK;
}

static size_t divide_up(size_t count, size_t parts)
{
    return (count + parts - 1) / parts;
}

/* This rank's share of each batch, how it is cut into parts and those into passes. */
static cohort_status choose_share(cohort_trainer *trainer, const cohort_flow *input)
{
    const size_t rank = (size_t)cohort_comm_rank(trainer->comm),
                 size = (size_t)cohort_comm_size(trainer->comm),
                 global = trainer->sampler.global_batch,
                 limit = trainer->recipe->train.microbatch_size;
    cohort_model *probe = NULL;
    size_t parts = 1;
    COHORT_TRY(cohort_model_create_in_parts(&probe, trainer->recipe, input, 1,
                                            divide_up(global, parts_wanted(trainer))));
    cohort_status status = choose_parts(&parts, trainer, probe);
    const bool needs_whole = cohort_model_needs_whole_batch(probe);
    const bool is_row_by_row = cohort_model_is_row_by_row(probe);
    cohort_model_destroy(probe);
    COHORT_TRY(status);
    if (size <= parts) {
        trainer->share.count = parts;
        cohort_tree_share(&trainer->share.begin, &trainer->share.end, parts, rank, size);
    } else { /* each rank one part: the order of the sum is then that of the ranks */
        trainer->share = cohort_job_even_share(trainer->comm);
    }
    const size_t part = divide_up(global, trainer->share.count);
    const size_t own_parts = trainer->share.end - trainer->share.begin;
    trainer->share.draw = cohort_private_draw(trainer->privacy);
    trainer->part = part;
    trainer->microbatch = limit && limit < part ? limit : part;
    trainer->pass_count = divide_up(part, trainer->microbatch);
    trainer->is_at_once = !trainer->privacy && is_row_by_row && trainer->pass_count == 1 &&
                          own_parts > 1 && own_parts <= COHORT_PARTS_AT_ONCE;
    COHORT_REQUIRE(trainer->pass_count == 1 || !needs_whole, COHORT_USAGE,
                   "train.microbatch_size cuts the batch, but `batch_norm` wants the whole of it; "
                   "remove microbatch_size or give batch_norm `sync: false`");
    return COHORT_OK;
}

static cohort_status open_loader(cohort_trainer *trainer)
{
    return cohort_job_loader(&trainer->loader, trainer->recipe, trainer->train,
                             &trainer->sampler.subset, trainer->sampler.global_batch,
                             &trainer->share, trainer->model, COHORT_TO_TRAIN);
}

cohort_status cohort_trainer_reload(cohort_trainer *trainer)
{
    cohort_loader_destroy(trainer->loader);
    trainer->loader = NULL;
    COHORT_TRY(cohort_job_check_data(trainer->train, "train", cohort_model_input(trainer->model),
                                     &trainer->loss));
    COHORT_TRY(open_loader(trainer));
    cohort_loader_seek(trainer->loader, trainer->progress.epoch, trainer->progress.step_in_epoch);
    return COHORT_OK;
}

cohort_status cohort_trainer_create_network(cohort_trainer *trainer)
{
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    char name[128];
    cohort_flow input;
    COHORT_TRY(cohort_job_input(&input, trainer->recipe, info));
    COHORT_TRY(choose_share(trainer, &input));
    const size_t part = trainer->part;
    const size_t own_parts = trainer->share.end - trainer->share.begin;
    COHORT_TRY(cohort_model_create_in_parts(
        &trainer->model, trainer->recipe, &input,
        trainer->is_at_once ? part * own_parts : trainer->microbatch, part));
    COHORT_TRY(cohort_job_loss(&trainer->loss, trainer->recipe, trainer->model, info));
    snprintf(name, sizeof name, "%s/%s", trainer->recipe->data.file, trainer->recipe->data.train);
    COHORT_TRY(cohort_job_check_data(trainer->train, name, &input, &trainer->loss));
    return open_loader(trainer);
}

/* The network and memory for its parameters and state. Rank-local. */
static cohort_status create_model(cohort_trainer *trainer)
{
    COHORT_TRY(cohort_trainer_create_network(trainer));
    COHORT_TRY(cohort_model_check_precision(trainer->recipe));
    cohort_model_note_precision(trainer->model, trainer->recipe);
    const size_t state_count = cohort_model_state_count(trainer->model);
    if (trainer->recipe->train.on_nonfinite == COHORT_NONFINITE_SKIP && state_count > 0)
        COHORT_TRY(COHORT_ALLOCATE(&trainer->state_before, state_count));
    COHORT_TRY(COHORT_ALLOCATE(&trainer->committed_state, state_count));
    return COHORT_ALLOCATE(&trainer->state, state_count);
}

/* The parameters: in a window of the node, so that its ranks can share the work of updating
 * them, or this rank's own. Collective.
 *
 * An elastic run keeps them its own: what survives must be whole on each rank at any moment. */
static cohort_status create_params(cohort_trainer *trainer)
{
    const size_t count = cohort_model_params_count(trainer->model);
    cohort_status status = COHORT_OK;
    const bool has_window = trainer->recipe->comm.reducer == COHORT_REDUCER_AUTO ||
                            trainer->recipe->comm.reducer == COHORT_REDUCER_SHARED;
    /* A private gradient gets its noise between the sum and the update: no update inside the
     * sum. */
    if (has_window && !trainer->privacy && !trainer->recipe->train.elastic)
        COHORT_TRY(cohort_shared_update_create(&trainer->shared, trainer->comm, count,
                                               cohort_optimizer_slot_count(trainer->optimizer)));
    if (trainer->shared)
        trainer->params = cohort_shared_update_params(trainer->shared);
    else
        status = COHORT_ALLOCATE(&trainer->params, count);
    return cohort_comm_agree(trainer->comm, status);
}

/* The reducer for gradients with TABLES, and the update dealt as it deals the sums. Collective. */
static cohort_status create_reducer(cohort_trainer *trainer, const cohort_tables *tables)
{
    const cohort_recipe *recipe = trainer->recipe;
    cohort_reducer_config config = {.mode = (cohort_reducer_mode)recipe->comm.reducer,
                                    .bucket_bytes = (size_t)recipe->comm.bucket,
                                    .timeout = recipe->comm.timeout,
                                    .tables = *tables};
    if (trainer->shared) {
        config.slice_unit = COHORT_OPTIMIZER_BLOCK;
        config.summed = cohort_shared_update_summed;
        config.summed_context = trainer->shared;
    }
    trainer->tables = *tables;
    COHORT_TRY(cohort_reducer_create(&trainer->reducer, trainer->comm, &config,
                                     cohort_model_params_count(trainer->model)));
    COHORT_TRY(cohort_comm_agree(
        trainer->comm, cohort_optimizer_watch_rows(trainer->optimizer, tables,
                                                   cohort_reducer_rows(trainer->reducer))));
    trainer->shares_update = trainer->shared && cohort_reducer_is_sliced(trainer->reducer);
    if (!trainer->shares_update)
        return COHORT_OK;
    return cohort_shared_update_deal(trainer->shared, trainer->reducer, trainer->optimizer, tables);
}

cohort_status cohort_trainer_connect_network(cohort_trainer *trainer)
{
    /* Noise is on all rows, so a private gradient has no unused ones, which would tell the rest. */
    const cohort_tables tables =
        trainer->privacy ? (cohort_tables){0} : cohort_model_tables(trainer->model);
    COHORT_TRY(create_reducer(trainer, &tables));
    cohort_model_bind(trainer->model, trainer->params, cohort_reducer_grads(trainer->reducer),
                      trainer->state);
    return cohort_comm_agree(trainer->comm, cohort_trainer_create_lanes(trainer));
}

static cohort_status create_vectors(cohort_trainer *trainer)
{
    const cohort_tensors tensors = cohort_model_param_tensors(trainer->model);
    COHORT_TRY(cohort_comm_agree(
        trainer->comm,
        cohort_optimizer_create(&trainer->optimizer, &trainer->recipe->optimizer, &tensors,
                                cohort_model_params_count(trainer->model))));
    COHORT_TRY(create_params(trainer));
    COHORT_TRY(cohort_trainer_connect_network(trainer));
    cohort_model_init(trainer->model, (uint64_t)trainer->recipe->seed);
    return COHORT_OK;
}

/* train.elastic. */
static cohort_status allow_loss(cohort_trainer *trainer)
{
    COHORT_REQUIRE(!trainer->privacy, COHORT_USAGE,
                   "train.elastic is not for private training: a step done again by other ranks "
                   "would draw other noise on the same batch; remove train.elastic");
    COHORT_REQUIRE(
        cohort_comm_size(trainer->comm) == 1 || cohort_comm_launcher_recovers() ||
            !getenv("OMPI_COMM_WORLD_SIZE"),
        COHORT_USAGE,
        "train.elastic: mpirun ends all ranks when one dies; start it by `cohort launch mpirun …`, "
        "or with `mpirun --enable-recovery`");
    return cohort_comm_allow_loss(trainer->comm);
}

cohort_status cohort_trainer_open(cohort_trainer *trainer)
{
    cohort_comm_set_timeout(trainer->comm, trainer->recipe->comm.timeout);
    cohort_comm_set_stop(trainer->comm, trainer->options.should_stop,
                         trainer->options.stop_context);
    cohort_comm_set_phase(trainer->comm, "opening the data");
    if (!trainer->threads)
        trainer->threads = cohort_job_set_threads(trainer->comm, trainer->recipe->train.threads);
    trainer->train = trainer->options.data.train;
    if (!trainer->train)
        COHORT_TRY(cohort_job_open_data(
            &trainer->train, trainer->comm, trainer->recipe,
            &(cohort_job_data){.group = trainer->recipe->data.train,
                               .with_targets = cohort_job_needs_targets(trainer->recipe),
                               .is_left = true}));
    COHORT_TRY(cohort_comm_agree(trainer->comm, choose_samples(trainer)));
    COHORT_TRY(cohort_private_open(trainer));
    COHORT_TRY(cohort_comm_agree(trainer->comm, create_model(trainer)));
    COHORT_TRY(create_vectors(trainer));
    COHORT_TRY(cohort_private_open_lanes(trainer));
    COHORT_TRY(open_splits(trainer));
    return trainer->recipe->train.elastic ? allow_loss(trainer) : COHORT_OK;
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
    cohort_private_close(trainer->privacy); /* the loader draws by it */
    close_split(&trainer->test);
    close_split(&trainer->validation);
    if (trainer->train != trainer->options.data.train)
        cohort_dataset_close(trainer->train);
    cohort_model_destroy(trainer->model);
    cohort_optimizer_destroy(trainer->optimizer);
    cohort_reducer_destroy(trainer->reducer);
    cohort_run_close(trainer->run);
    cohort_record_close(&trainer->record);
    cohort_evaluation_clear(&trainer->test_result);
    cohort_text_clear(&trainer->recipe_text);
    cohort_text_clear(&trainer->folder);
    cohort_text_clear(&trainer->ways);
    cohort_text_clear(&trainer->ledger_text);
    cohort_ledger_clear(&trainer->ledger);
    cohort_trainer_destroy_lanes(trainer);
    if (!trainer->shared)
        cohort_free(trainer->params);
    cohort_shared_update_destroy(trainer->shared);
    cohort_free(trainer->state);
    cohort_free(trainer->state_before);
    cohort_free(trainer->best);
    cohort_free(trainer->committed_state);
    cohort_free(trainer->choices);
    cohort_free(trainer->fold_rows);
    free(trainer);
}
