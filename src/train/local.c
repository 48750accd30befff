#include "train/local.h"

#include <math.h>
#include <omp.h>

#include "base/memory.h"
#include "base/rng.h"
#include "train/pass.h"

struct cohort_local {
    const cohort_recipe *recipe;
    cohort_model *model;
    cohort_loss loss;
    cohort_loader *loader;
    cohort_optimizer *optimizer;
    real *params, *grads, *state;
    size_t batch, microbatch; /* rows a step, rows a pass */
    bool counts_targets;      /* the loss is a mean over what was drawn to be guessed */
};

/* The batch at hand is trained whole, by passes of at most `microbatch`. */
static cohort_status create_model(cohort_local *local, cohort_dataset *dataset)
{
    const cohort_recipe *recipe = local->recipe;
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const size_t limit = recipe->train.microbatch_size;
    cohort_flow input;
    local->microbatch = limit && limit < local->batch ? limit : local->batch;
    COHORT_TRY(cohort_model_check_precision(recipe));
    COHORT_TRY(cohort_job_input(&input, recipe, info));
    COHORT_TRY(cohort_model_create(&local->model, recipe, &input, local->microbatch, true));
    COHORT_REQUIRE(local->microbatch == local->batch ||
                       !cohort_model_needs_whole_batch(local->model),
                   COHORT_USAGE,
                   "train.microbatch_size cuts the batch, but `batch_norm` wants the whole of it; "
                   "remove microbatch_size or give batch_norm `sync: false`");
    return cohort_job_loss(&local->loss, recipe, local->model, info);
}

static cohort_status create_vectors(cohort_local *local)
{
    const size_t count = cohort_model_params_count(local->model);
    COHORT_TRY(COHORT_ALLOCATE(&local->params, count));
    COHORT_TRY(COHORT_ALLOCATE(&local->grads, count));
    COHORT_TRY(COHORT_ALLOCATE(&local->state, cohort_model_state_count(local->model)));
    cohort_model_bind(local->model, local->params, local->grads, local->state);
    const cohort_tensors tensors = cohort_model_param_tensors(local->model);
    return cohort_optimizer_create(&local->optimizer, &local->recipe->optimizer, &tensors, count);
}

cohort_status cohort_local_create(cohort_local **out, const cohort_recipe *recipe,
                                  cohort_dataset *dataset, size_t batch, size_t most_rows)
{
    cohort_local *local = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&local, 1));
    local->recipe = recipe;
    local->batch = batch < most_rows ? batch : most_rows;
    local->counts_targets = !cohort_job_needs_targets(recipe);
    COHORT_TRY_DONE(status, create_model(local, dataset));
    COHORT_TRY_DONE(status, create_vectors(local));
    const cohort_subset largest = cohort_subset_all(most_rows);
    const cohort_share whole = {.begin = 0, .end = 1, .count = 1};
    COHORT_TRY_DONE(status, cohort_job_loader(&local->loader, recipe, dataset, &largest,
                                              local->batch, &whole, local->model, COHORT_TO_TRAIN));
    *out = local;
    local = NULL;
done:
    cohort_local_destroy(local);
    return status;
}

void cohort_local_destroy(cohort_local *local)
{
    if (!local)
        return;
    cohort_loader_destroy(local->loader);
    cohort_optimizer_destroy(local->optimizer);
    cohort_model_destroy(local->model);
    cohort_free(local->params);
    cohort_free(local->grads);
    cohort_free(local->state);
    cohort_free(local);
}

cohort_model *cohort_local_model(cohort_local *local)
{
    return local->model;
}

const cohort_loss *cohort_local_loss(const cohort_local *local)
{
    return &local->loss;
}

real *cohort_local_params(cohort_local *local)
{
    return local->params;
}

real *cohort_local_state(cohort_local *local)
{
    return local->state;
}

/* What the batch's sum of losses is divided by. */
static double divisor_of(const cohort_local *local, const cohort_batch *batch)
{
    const size_t positions = batch->count * local->loss.positions;
    double count = 0;
    if (!local->counts_targets)
        return (double)positions;
    for (size_t i = 0; i < positions; i++)
        count += batch->labels[i] >= 0;
    return count > 0 ? count : 1;
}

/* False when the gradient was seen not to be finite. The norm is worth a pass over it only
 * where it clips: weights that are not finite show at the end. */
static bool update(cohort_local *local, double lr, uint64_t step)
{
    const size_t count = cohort_model_params_count(local->model);
    if (local->recipe->optimizer.clip_norm > 0 || omp_get_max_threads() > 1)
        return isfinite(
            cohort_optimizer_step(local->optimizer, local->params, local->grads, lr, step));
    cohort_optimizer_update_range(local->optimizer, local->params, local->grads, 0, lr, step, 0,
                                  count);
    return true;
}

static cohort_status step(cohort_local_result *result, cohort_local *local,
                          const cohort_local_work *work, uint64_t time)
{
    const cohort_batch *batch = NULL;
    cohort_loss_sums sums = {0};
    COHORT_TRY(cohort_loader_next(local->loader, &batch));
    const double divisor = divisor_of(local, batch);
    for (size_t begin = 0; begin < batch->count; begin += local->microbatch) {
        const size_t left = batch->count - begin;
        const size_t count = left < local->microbatch ? left : local->microbatch;
        const cohort_pass_range range = {.begin = begin, .ends = &count, .part_count = 1};
        cohort_pass pass = {.training = true,
                            .accumulate = begin > 0,
                            .seed = (uint64_t)local->recipe->seed,
                            .step = time + result->steps};
        cohort_pass_run(&sums, local->model, &local->loss, batch, &range, divisor, &pass, NULL);
    }
    if (work->adjust)
        work->adjust(work->adjust_context, local->grads, local->params);
    if (!update(local, work->lr, ++result->steps))
        result->diverged = true;
    result->loss += sums.loss;
    result->correct += sums.correct;
    result->count += sums.count;
    return COHORT_OK;
}

cohort_status cohort_local_train(cohort_local_result *result, cohort_local *local,
                                 const cohort_local_work *work)
{
    const cohort_subset rows = cohort_subset_list(work->rows, work->row_count);
    const uint64_t seed = cohort_mix64((uint64_t)local->recipe->seed ^ cohort_mix64(work->key + 1));
    const uint64_t steps = (work->row_count - 1) / local->batch + 1;
    *result = (cohort_local_result){0};
    cohort_optimizer_restart(local->optimizer);
    cohort_loader_set_subset(local->loader, &rows, seed);
    cohort_loader_seek(local->loader, work->time * work->epochs, 0);
    for (uint64_t left = steps * work->epochs; left > 0; left--) {
        result->stopped = work->should_stop && work->should_stop(work->stop_context);
        if (result->stopped)
            return COHORT_OK;
        COHORT_TRY(step(result, local, work, work->time * steps * work->epochs));
    }
    return COHORT_OK;
}
