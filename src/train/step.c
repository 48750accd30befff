#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "train/private.h"

/* A rank whose data could not be read still enters the reduction, with nothing. */
static cohort_status fail_together(cohort_trainer *trainer, cohort_status mine)
{
    cohort_status status = cohort_comm_agree(trainer->comm, mine);
    return status != COHORT_OK ? status : COHORT_FAIL(COHORT_PEER, "another rank failed in a step");
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
    cohort_trainer_compute(trainer, mine == COHORT_OK ? batch : &nothing);
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
