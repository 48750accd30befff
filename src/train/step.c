#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "kernel/embedding.h"
#include "kernel/vector.h"
#include "train/pass.h"
#include "train/private.h"

static void sum_over_ranks(void *context, double *values, size_t count)
{
    cohort_trainer *trainer = context;
    /* A failure here also fails the reduction that ends the step, which reports it. */
    if (cohort_comm_sum(trainer->comm, values, count) != COHORT_OK)
        for (size_t i = 0; i < count; i++)
            values[i] = NAN;
}

/* --- The sum over this rank's parts ------------------------------------------- */

cohort_status cohort_trainer_create_sums(cohort_trainer *trainer)
{
    const size_t parts = trainer->is_at_once ? 1 : trainer->share.end - trainer->share.begin;
    const size_t length = COHORT_REDUCER_EXTRAS + cohort_model_params_count(trainer->model);
    cohort_part_sums *sums = &trainer->sums;
    sums->vectors[0] = cohort_reducer_extras(trainer->reducer);
    sums->rows[0] = cohort_reducer_rows(trainer->reducer);
    for (size_t level = 1; (size_t)1 << (level - 1) < parts; level++) {
        COHORT_TRY(COHORT_ALLOCATE(&sums->vectors[level], length));
        COHORT_TRY(COHORT_ALLOCATE(&sums->rows[level], cohort_tables_words(&sums->tables)));
    }
    return COHORT_OK;
}

void cohort_trainer_destroy_sums(cohort_trainer *trainer)
{
    for (size_t level = 1; level < COHORT_PART_LEVELS; level++) {
        cohort_free(trainer->sums.vectors[level]);
        cohort_free(trainer->sums.rows[level]);
    }
}

/* Adds [begin, end) of the vector at level FROM to the one below it: of tables, which never
 * lie across the ends, the marked rows. */
static void merge_level(const cohort_part_sums *sums, size_t from, size_t begin, size_t end)
{
    float *below = sums->vectors[from - 1];
    const float *above = sums->vectors[from];
    for (size_t i = 0; i < sums->tables.count; i++) {
        const cohort_table *table = &sums->tables.items[i];
        const size_t at = COHORT_REDUCER_EXTRAS + table->offset;
        if (at < begin || at >= end)
            continue;
        const uint64_t *rows = sums->rows[from] + table->first_word;
        cohort_vector_add(below + begin, above + begin, at - begin);
        cohort_embedding_add_rows(below + at, above + at, rows, table->row_count, table->width);
        cohort_rows_unite(sums->rows[from - 1] + table->first_word, rows,
                          cohort_rows_words(table->row_count));
        begin = at + table->row_count * table->width;
    }
    cohort_vector_add(below + begin, above + begin, end - begin);
}

/* Adds [begin, end) of the vector being written to those below it, top down: with part i
 * done, as many pairs are complete as i has trailing ones in binary. */
static void merge(const cohort_part_sums *sums, size_t begin, size_t end)
{
    for (size_t k = 0; k < sums->merges; k++)
        merge_level(sums, sums->depth - k, begin, end);
}

/* Gradients from OFFSET on are complete: sum them, and reduce what needs no more. */
static void tell_ready(void *context, size_t offset)
{
    cohort_trainer *trainer = context;
    cohort_part_sums *sums = &trainer->sums;
    merge(sums, COHORT_REDUCER_EXTRAS + offset, COHORT_REDUCER_EXTRAS + sums->merged);
    sums->merged = offset;
    if (sums->is_last)
        cohort_reducer_ready(trainer->reducer, offset);
}

/* The next part's gradients go on top of those that wait. */
static void begin_part(cohort_trainer *trainer, size_t index, size_t count)
{
    cohort_part_sums *sums = &trainer->sums;
    sums->merges = (size_t)__builtin_ctzll(~(unsigned long long)index);
    sums->merged = cohort_model_params_count(trainer->model);
    sums->is_last = index + 1 == count;
    if (count > 1) {
        cohort_model_set_grads(trainer->model, sums->vectors[sums->depth] + COHORT_REDUCER_EXTRAS);
        cohort_model_set_rows(trainer->model, sums->rows[sums->depth]);
    }
    memset(sums->vectors[sums->depth], 0, COHORT_REDUCER_EXTRAS * sizeof(float));
}

static void end_part(cohort_trainer *trainer, const cohort_loss_sums *part)
{
    cohort_part_sums *sums = &trainer->sums;
    float *extras = sums->vectors[sums->depth];
    extras[EXTRA_LOSS] = (float)part->loss;
    extras[EXTRA_CORRECT] = (float)part->correct;
    extras[EXTRA_COUNT] = (float)part->count;
    merge(sums, 0, COHORT_REDUCER_EXTRAS);
    sums->depth = sums->depth + 1 - sums->merges;
}

/* The sums of parts that were taken at once, in the same order: of halves, of quarters, …,
 * each rounded as it would be riding along. */
static cohort_loss_sums add_up(const cohort_loss_sums *parts, size_t count)
{
    if (count == 1)
        return (cohort_loss_sums){(float)parts->loss, (float)parts->correct, (float)parts->count};
    const cohort_loss_sums left = add_up(parts, count / 2);
    const cohort_loss_sums right = add_up(parts + count / 2, count / 2);
    return (cohort_loss_sums){(float)left.loss + (float)right.loss,
                              (float)left.correct + (float)right.correct,
                              (float)left.count + (float)right.count};
}

/* --- A step ----------------------------------------------------------------------- */

/* Forward and backward over RANGE of the batch, the first or last of the passes over a part. */
static void run_pass(cohort_loss_sums *sums, cohort_trainer *trainer, const cohort_batch *batch,
                     const cohort_pass_range *range, bool is_first, bool is_last)
{
    const double divisor = trainer->target_count > 0
                               ? trainer->target_count
                               : (double)batch->global_count * (double)trainer->loss.positions;
    cohort_pass pass = {
        .part_ends = trainer->is_at_once ? range->ends : NULL,
        .part_count = range->part_count,
        .training = true,
        .accumulate = !is_first,
        .seed = (uint64_t)trainer->recipe->seed,
        .step = trainer->progress.step,
    };
    if (cohort_comm_size(trainer->comm) > 1) {
        pass.sum = sum_over_ranks;
        pass.sum_context = trainer;
    }
    if (trainer->search) {
        pass.visit = cohort_search_visit;
        pass.visit_context = trainer->search;
    } else if (is_last) {
        pass.ready = tell_ready;
        pass.ready_context = trainer;
    }
    cohort_pass_run(sums, trainer->model, &trainer->loss, batch, range, divisor, &pass,
                    trainer->search);
}

/* Where part PART of the global batch begins among this rank's samples. */
static size_t part_start(const cohort_trainer *trainer, const cohort_batch *batch, size_t part)
{
    const cohort_share *share = &trainer->share;
    const size_t at = cohort_part_begin(batch->global_count, part, share->count) -
                      cohort_part_begin(batch->global_count, share->begin, share->count);
    return at < batch->count ? at : batch->count;
}

/* All of this rank's parts in one pass. */
static void compute_at_once(cohort_trainer *trainer, const cohort_batch *batch)
{
    const size_t count = trainer->share.end - trainer->share.begin;
    cohort_loss_sums sums[COHORT_PARTS_AT_ONCE] = {0};
    size_t ends[COHORT_PARTS_AT_ONCE];
    for (size_t part = 0; part < count; part++)
        ends[part] = part_start(trainer, batch, trainer->share.begin + part + 1);
    begin_part(trainer, 0, 1);
    run_pass(sums, trainer, batch, &(cohort_pass_range){.ends = ends, .part_count = count}, true,
             true);
    const cohort_loss_sums total = add_up(sums, count);
    end_part(trainer, &total);
}

/* One part in one or more passes. */
static void compute_part(cohort_trainer *trainer, const cohort_batch *batch, size_t part)
{
    const cohort_share *share = &trainer->share;
    const size_t begin = part_start(trainer, batch, part),
                 end = part_start(trainer, batch, part + 1);
    cohort_loss_sums sums = {0};
    begin_part(trainer, part - share->begin, share->end - share->begin);
    if (trainer->privacy) {
        cohort_private_sum_part(&sums, trainer->sums.vectors[trainer->sums.depth], trainer, batch,
                                begin, end);
        tell_ready(trainer, 0);
    }
    for (size_t pass = 0; pass < trainer->pass_count && !trainer->privacy; pass++) {
        const size_t from = begin + pass * trainer->microbatch, to = from + trainer->microbatch;
        const size_t first = from < end ? from : end, count = (to < end ? to : end) - first;
        const cohort_pass_range range = {.begin = first, .ends = &count, .part_count = 1};
        run_pass(&sums, trainer, batch, &range, pass == 0, pass + 1 == trainer->pass_count);
    }
    end_part(trainer, &sums);
}

/* Forward and backward over this rank's share. */
static void compute(cohort_trainer *trainer, const cohort_batch *batch)
{
    trainer->sums.depth = 0;
    if (trainer->is_at_once) {
        compute_at_once(trainer, batch);
        return;
    }
    for (size_t part = trainer->share.begin; part < trainer->share.end; part++)
        compute_part(trainer, batch, part);
}

/* A rank whose data could not be read still enters the reduction, with nothing. */
static cohort_status fail_together(cohort_trainer *trainer, cohort_status mine)
{
    cohort_status status = cohort_comm_agree(trainer->comm, mine);
    return status != COHORT_OK ? status : COHORT_FAIL(COHORT_PEER, "another rank failed in a step");
}

void cohort_trainer_walk_again(cohort_trainer *trainer, const cohort_batch *batch)
{
    compute(trainer, batch);
}

cohort_status cohort_trainer_record_step(cohort_trainer *trainer)
{
    const size_t every = trainer->recipe->train.log_every_steps;
    if (!every || trainer->progress.step % every != 0)
        return COHORT_OK;
    cohort_text *line = cohort_record_begin(&trainer->record, "step");
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch + 1);
    cohort_json_number(line, "loss", trainer->last_loss);
    cohort_json_number(line, "lr", trainer->last_lr);
    return cohort_record_end(&trainer->record);
}

/* *bad = what the sums of all ranks in EXTRAS and the gradients say is not finite, which then
 * leaves parameters and optimizer as they are; NULL when the update was made. */
static cohort_status try_update(const char **bad, cohort_trainer *trainer, const float *extras,
                                double lr)
{
    /* Steps left out do not count for the optimizer. */
    const uint64_t step = trainer->progress.step + 1 - trainer->progress.skipped;
    double norm = 0;
    *bad = "loss";
    if (!isfinite(extras[EXTRA_LOSS]))
        return COHORT_OK;
    if (trainer->shares_update)
        COHORT_TRY(cohort_shared_update_step(&norm, trainer->shared, lr, step));
    else
        norm = cohort_optimizer_step(trainer->optimizer, trainer->params,
                                     cohort_reducer_grads(trainer->reducer), lr, step);
    *bad = isfinite(norm) ? NULL : "gradient";
    return COHORT_OK;
}

/* Runs the optimizer and moves the progress on. */
static cohort_status update(cohort_trainer *trainer, const cohort_batch *batch, const float *extras)
{
    cohort_progress *progress = &trainer->progress;
    const double loss_sum = (double)extras[EXTRA_LOSS], count = (double)extras[EXTRA_COUNT],
                 correct = (double)extras[EXTRA_CORRECT];
    const double lr =
        cohort_schedule_lr(&trainer->recipe->optimizer.schedule, trainer->recipe->optimizer.lr,
                           progress->step, (double)trainer->steps_per_epoch, trainer->total_steps);
    trainer->stop_seen = extras[EXTRA_STOP] > 0;
    const char *bad = NULL;
    COHORT_TRY(try_update(&bad, trainer, extras, lr));
    if (bad)
        COHORT_TRY(cohort_trainer_nonfinite(trainer, batch, bad));
    progress->step++;
    progress->step_in_epoch++;
    if (bad)
        return COHORT_OK;
    progress->epoch_loss += loss_sum;
    progress->epoch_correct += correct;
    progress->epoch_count += count;
    trainer->last_loss = count > 0 ? loss_sum / count : 0;
    trainer->last_lr = lr;
    trainer->last_step = (double)progress->step;
    return cohort_trainer_record_step(trainer);
}

/* How many positions of the global batch are to be guessed: the loss is their mean, however
 * many a draw chose. Collective. */
static cohort_status count_targets(cohort_trainer *trainer, const cohort_batch *batch)
{
    double count = 0;
    trainer->target_count = 0;
    if (cohort_job_needs_targets(trainer->recipe))
        return COHORT_OK;
    for (size_t i = 0; i < batch->count * trainer->loss.positions; i++)
        count += batch->labels[i] >= 0;
    COHORT_TRY(cohort_comm_sum(trainer->comm, &count, 1));
    trainer->target_count = count;
    return COHORT_OK;
}

cohort_status cohort_trainer_step(cohort_trainer *trainer)
{
    const double started = cohort_clock_seconds();
    float *extras = cohort_reducer_extras(trainer->reducer);
    const cohort_batch *batch = NULL;
    const cohort_batch nothing = {.global_count = 1};
    cohort_comm_set_phase(trainer->comm, "step %llu",
                          (unsigned long long)trainer->progress.step + 1);
    cohort_status mine = cohort_loader_next(trainer->loader, &batch);
    COHORT_TRY(count_targets(trainer, mine == COHORT_OK ? batch : &nothing));
    if (trainer->state_before)
        memcpy(trainer->state_before, trainer->state,
               cohort_model_state_count(trainer->model) * sizeof *trainer->state);
    cohort_reducer_begin(trainer->reducer);
    /* Layers may sum over ranks on the way, so a rank without data walks along empty. */
    compute(trainer, mine == COHORT_OK ? batch : &nothing);
    extras[EXTRA_FAILED] = mine != COHORT_OK;
    extras[EXTRA_STOP] =
        trainer->options.should_stop && trainer->options.should_stop(trainer->options.stop_context);
    COHORT_TRY(cohort_reducer_finish(trainer->reducer));
    if (extras[EXTRA_FAILED] > 0)
        return fail_together(trainer, mine);
    COHORT_TRY(cohort_private_release(trainer));
    COHORT_TRY(update(trainer, batch, extras));
    const double wait_data = cohort_loader_take_wait_seconds(trainer->loader);
    const double seconds = cohort_clock_seconds() - started;
    trainer->wait_comm += cohort_reducer_take_wait_seconds(trainer->reducer);
    trainer->wait_data += wait_data;
    trainer->step_seconds = seconds - wait_data;
    trainer->progress.epoch_seconds += seconds;
    return COHORT_OK;
}

void cohort_trainer_look(cohort_train_view *view, const cohort_trainer *trainer)
{
    const cohort_progress *progress = &trainer->progress;
    const double count = progress->epoch_count;
    const uint64_t seen = progress->step_in_epoch * trainer->sampler.global_batch;
    *view = (cohort_train_view){
        .epoch = progress->epoch + 1,
        .epochs = trainer->recipe->train.epochs,
        .step = progress->step,
        .step_in_epoch = progress->step_in_epoch,
        .steps_per_epoch = trainer->steps_per_epoch,
        .total_steps = trainer->total_steps,
        .loss = count > 0 ? progress->epoch_loss / count : NAN,
        .accuracy =
            count > 0 && trainer->loss.counts_correct ? progress->epoch_correct / count : NAN,
        .validation_loss = trainer->last_validation_loss,
        .validation_accuracy = trainer->last_validation_accuracy,
        .lr =
            cohort_schedule_lr(&trainer->recipe->optimizer.schedule, trainer->recipe->optimizer.lr,
                               progress->step ? progress->step - 1 : 0,
                               (double)trainer->steps_per_epoch, trainer->total_steps),
        .samples_per_s =
            progress->epoch_seconds > 0
                ? (double)(seen < progress->train_samples ? seen : progress->train_samples) /
                      progress->epoch_seconds
                : 0,
        .seconds = progress->epoch_seconds,
        .test_loss = NAN,
        .test_accuracy = NAN,
        .epsilon = NAN,
    };
    cohort_private_look(view, trainer);
}
