#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "train/trainer_private.h"

/* What rides along with the gradients, in floats of the reducer's extras. */
enum { EXTRA_LOSS, EXTRA_CORRECT, EXTRA_COUNT, EXTRA_STOP, EXTRA_FAILED };

static void sum_over_ranks(void *context, double *values, size_t count)
{
    cohort_trainer *trainer = context;
    /* A failure here also fails the reduction that ends the step, which reports it. */
    if (cohort_comm_sum(trainer->comm, values, count) != COHORT_OK)
        for (size_t i = 0; i < count; i++)
            values[i] = NAN;
}

static void tell_ready(void *context, size_t offset)
{
    cohort_reducer_ready(((cohort_trainer *)context)->reducer, offset);
}

/* Forward and backward over this rank's share, microbatch by microbatch. */
static void compute(cohort_loss_sums *sums, cohort_trainer *trainer, const cohort_batch *batch)
{
    const size_t sample_bytes = cohort_shape_count(&cohort_model_input(trainer->model)->shape) * 4;
    const size_t positions = trainer->loss.positions, width = trainer->loss.width;
    const double scale = 1.0 / ((double)batch->global_count * (double)positions);
    for (size_t m = 0; m < trainer->microbatch_count; m++) {
        const size_t begin =
            m * trainer->microbatch < batch->count ? m * trainer->microbatch : batch->count;
        const size_t rest = batch->count - begin;
        cohort_pass pass = {
            .batch = rest < trainer->microbatch ? rest : trainer->microbatch,
            .training = true,
            .accumulate = m > 0,
            .seed = (uint64_t)trainer->recipe->seed,
            .step = trainer->progress.step,
            .samples = batch->rows + begin,
        };
        if (cohort_comm_size(trainer->comm) > 1) {
            pass.sum = sum_over_ranks;
            pass.sum_context = trainer;
        }
        if (m + 1 == trainer->microbatch_count) {
            pass.ready = tell_ready;
            pass.ready_context = trainer;
        }
        const cohort_targets targets = {
            .labels = batch->labels ? batch->labels + begin * positions : NULL,
            .values = batch->values ? batch->values + begin * positions * width : NULL};
        const float *logits = cohort_model_forward(
            trainer->model, (const char *)batch->x + begin * sample_bytes, &pass);
        cohort_loss_run(sums, cohort_model_output_grad(trainer->model), &trainer->loss, logits,
                        &targets, pass.batch, scale);
        cohort_model_backward(trainer->model, &pass);
    }
}

/* A rank whose data could not be read still enters the reduction, with nothing. */
static cohort_status fail_together(cohort_trainer *trainer, cohort_status mine)
{
    cohort_status status = cohort_comm_agree(trainer->comm, mine);
    return status != COHORT_OK ? status : COHORT_FAIL(COHORT_PEER, "another rank failed in a step");
}

/* Says which rank and rows were not finite. Collective: the loss sum was not finite on
 * every rank. */
static cohort_status diverged(cohort_trainer *trainer, const cohort_batch *batch, double own_loss,
                              double norm)
{
    const cohort_progress *progress = &trainer->progress;
    cohort_status mine = COHORT_OK;
    if (!isfinite(own_loss))
        mine = COHORT_FAIL(COHORT_DIVERGED,
                           "the loss is not finite at step %llu (epoch %llu) in the batch with "
                           "dataset row %llu; lower optimizer.lr or set optimizer.clip_norm (the "
                           "last checkpoint is kept)",
                           (unsigned long long)progress->step + 1,
                           (unsigned long long)progress->epoch + 1,
                           (unsigned long long)(batch && batch->count ? batch->rows[0] : 0));
    cohort_status all = cohort_comm_agree(trainer->comm, mine);
    if (all != COHORT_OK)
        return all;
    return COHORT_FAIL(COHORT_DIVERGED,
                       "the gradient is not finite (norm %g) at step %llu (epoch %llu); lower "
                       "optimizer.lr or set optimizer.clip_norm (the last checkpoint is kept)",
                       norm, (unsigned long long)progress->step + 1,
                       (unsigned long long)progress->epoch + 1);
}

static cohort_status record_step(cohort_trainer *trainer, double loss, double lr)
{
    const size_t every = trainer->recipe->train.log_every_steps;
    if (!every || trainer->progress.step % every != 0)
        return COHORT_OK;
    cohort_text *line = cohort_record_begin(&trainer->record, "step");
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch + 1);
    cohort_json_number(line, "loss", loss);
    cohort_json_number(line, "lr", lr);
    return cohort_record_end(&trainer->record);
}

/* Runs the optimizer and moves the progress on, the sums of all ranks in EXTRAS. */
static cohort_status update(cohort_trainer *trainer, const cohort_batch *batch, const float *extras,
                            double own_loss)
{
    cohort_progress *progress = &trainer->progress;
    const double loss_sum = (double)extras[EXTRA_LOSS], count = (double)extras[EXTRA_COUNT];
    const double lr =
        cohort_schedule_lr(&trainer->recipe->optimizer.schedule, trainer->recipe->optimizer.lr,
                           progress->step, (double)trainer->steps_per_epoch, trainer->total_steps);
    if (!isfinite(loss_sum))
        return diverged(trainer, batch, own_loss, NAN);
    double norm =
        cohort_optimizer_step(trainer->optimizer, trainer->params,
                              cohort_reducer_grads(trainer->reducer), lr, progress->step + 1);
    if (!isfinite(norm))
        return diverged(trainer, batch, own_loss, norm);
    progress->step++;
    progress->step_in_epoch++;
    progress->epoch_loss += loss_sum;
    progress->epoch_correct += (double)extras[EXTRA_CORRECT];
    progress->epoch_count += count;
    trainer->stop_seen = extras[EXTRA_STOP] > 0;
    return record_step(trainer, count > 0 ? loss_sum / count : 0, lr);
}

cohort_status cohort_trainer_step(cohort_trainer *trainer)
{
    const double started = cohort_clock_seconds();
    float *extras = cohort_reducer_extras(trainer->reducer);
    const cohort_batch *batch = NULL;
    const cohort_batch nothing = {.global_count = 1};
    cohort_loss_sums sums = {0};
    cohort_comm_set_phase(trainer->comm, "step %llu",
                          (unsigned long long)trainer->progress.step + 1);
    cohort_status mine = cohort_loader_next(trainer->loader, &batch);
    cohort_reducer_begin(trainer->reducer);
    /* Layers may sum over ranks on the way, so a rank without data walks along empty. */
    compute(&sums, trainer, mine == COHORT_OK ? batch : &nothing);
    memset(extras, 0, COHORT_REDUCER_EXTRAS * sizeof *extras);
    extras[EXTRA_LOSS] = (float)sums.loss;
    extras[EXTRA_CORRECT] = (float)sums.correct;
    extras[EXTRA_COUNT] = (float)sums.count;
    extras[EXTRA_FAILED] = mine != COHORT_OK;
    extras[EXTRA_STOP] =
        trainer->options.should_stop && trainer->options.should_stop(trainer->options.stop_context);
    COHORT_TRY(cohort_reducer_finish(trainer->reducer));
    if (extras[EXTRA_FAILED] > 0)
        return fail_together(trainer, mine);
    COHORT_TRY(update(trainer, batch, extras, sums.loss));
    trainer->wait_comm += cohort_reducer_take_wait_seconds(trainer->reducer);
    trainer->wait_data += cohort_loader_take_wait_seconds(trainer->loader);
    trainer->progress.epoch_seconds += cohort_clock_seconds() - started;
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
    };
}
