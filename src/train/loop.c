/* Epochs: training, evaluation, early stopping, checkpoints, records. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "train/private.h"

static bool is_rank_0(const cohort_trainer *trainer)
{
    return cohort_comm_rank(trainer->comm) == 0;
}

cohort_snapshot cohort_trainer_snapshot(cohort_trainer *trainer)
{
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    const cohort_flow *input = cohort_model_input(trainer->model);
    return (cohort_snapshot){
        .recipe = trainer->recipe_text.data,
        .params = cohort_model_param_tensors(trainer->model),
        .state = cohort_model_state_tensors(trainer->model),
        .params_data = trainer->params,
        .state_data = trainer->state,
        .optimizer = trainer->optimizer,
        .progress = trainer->progress,
        .classes = info->classes,
        .class_count = info->class_count,
        .vocabulary = info->vocabulary,
        .vocabulary_count = info->vocabulary_count,
        .tokenizer = info->tokenizer,
        .table = info->table,
        .ways = trainer->ways.data,
        .sum_way = trainer->sum_tuning.found[0] ? trainer->sum_tuning.found : NULL,
        .ledger = trainer->ledger.count ? trainer->ledger_text.data : NULL,
        .input_shape = input->shape,
        .input_tokens = input->tokens,
    };
}

/* Writes the checkpoint on rank 0, unless the ranks hold different parameters: then nobody
 * knows whose are right, and the checkpoints there are stay. Collective. */
static cohort_status save(cohort_trainer *trainer, bool epoch_end, bool is_best)
{
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_trainer_verify(trainer));
    if (trainer->options.no_folder) {
        if (is_rank_0(trainer) && is_best && trainer->recipe->train.early_stopping.metric)
            status = cohort_trainer_keep_best(trainer);
        return cohort_comm_follow(trainer->comm, status);
    }
    cohort_comm_set_phase(trainer->comm, "writing a checkpoint");
    if (is_rank_0(trainer)) {
        cohort_text file = {0};
        status = cohort_private_write_ledger(trainer);
        const cohort_snapshot snapshot = cohort_trainer_snapshot(trainer);
        if (status == COHORT_OK)
            status = cohort_run_save(
                &file, trainer->run, &snapshot, (size_t)trainer->progress.epoch,
                (epoch_end ? COHORT_RUN_EPOCH_END : 0u) | (is_best ? COHORT_RUN_BEST : 0u),
                trainer->recipe->checkpoint.keep);
        if (status == COHORT_OK) {
            cohort_text *line = cohort_record_begin(&trainer->record, "checkpoint");
            cohort_json_string(line, "file", file.data);
            cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch);
            cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
            status = cohort_record_end(&trainer->record);
        }
        cohort_text_clear(&file);
    }
    return cohort_comm_follow(trainer->comm, status);
}

static cohort_status record_start(cohort_trainer *trainer)
{
    const cohort_dataset_info *info = cohort_dataset_describe(trainer->train);
    cohort_text *line = cohort_record_begin(&trainer->record, "start");
    cohort_json_string(line, "name", trainer->recipe->name);
    cohort_json_string(line, "version", COHORT_VERSION);
    cohort_json_integer(line, "ranks", cohort_comm_size(trainer->comm));
    cohort_json_integer(line, "nodes", cohort_comm_node_count(trainer->comm));
    cohort_json_integer(line, "threads", (int64_t)trainer->threads);
    cohort_json_integer(line, "parameters", (int64_t)cohort_model_parameter_count(trainer->model));
    cohort_json_integer(line, "train_samples", (int64_t)trainer->progress.train_samples);
    if (trainer->options.fold)
        cohort_json_integer(line, "fold", (int64_t)trainer->options.fold);
    cohort_json_integer(line, "global_batch_size", (int64_t)trainer->progress.global_batch_size);
    cohort_json_integer(line, "microbatch_size", (int64_t)trainer->microbatch);
    cohort_json_integer(line, "steps_per_epoch", (int64_t)trainer->steps_per_epoch);
    cohort_json_boolean(line, "streamed", info->streamed);
    cohort_json_string(line, "reducer", cohort_reducer_describe(trainer->reducer));
    cohort_trainer_record_ways(line, trainer);
    cohort_json_boolean(line, "resumed", trainer->resumed);
    cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch);
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_record_machine(line);
    cohort_json_number(line, "startup_seconds", cohort_clock_seconds() - trainer->launched);
    return cohort_record_end(&trainer->record);
}

/* Only where steps were left out. */
static void skipped_figure(cohort_text *line, const cohort_trainer *trainer)
{
    if (trainer->progress.skipped)
        cohort_json_integer(line, "skipped", (int64_t)trainer->progress.skipped);
}

static cohort_status record_epoch(cohort_trainer *trainer, const cohort_train_view *view)
{
    const double seconds = trainer->progress.epoch_seconds;
    const char *tokenizer = cohort_dataset_describe(trainer->train)->tokenizer;
    double waits[2] = {trainer->wait_comm, trainer->wait_data};
    COHORT_TRY(cohort_comm_max(trainer->comm, waits, 2));
    cohort_text *line = cohort_record_begin(&trainer->record, "epoch");
    cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch);
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_number(line, "loss", view->loss);
    if (trainer->loss.counts_correct)
        cohort_json_number(line, "accuracy", view->accuracy);
    cohort_record_language(line, &trainer->loss, tokenizer, "", view->loss);
    if (trainer->validation.dataset) {
        cohort_json_number(line, "validation_loss", view->validation_loss);
        if (trainer->loss.counts_correct)
            cohort_json_number(line, "validation_accuracy", view->validation_accuracy);
        cohort_record_language(line, &trainer->loss, tokenizer, "validation_",
                               view->validation_loss);
    }
    cohort_json_number(line, "lr", view->lr);
    cohort_json_number(line, "seconds", seconds);
    cohort_json_number(line, "samples_per_s", view->samples_per_s);
    cohort_json_number(line, "communication_fraction", seconds > 0 ? waits[0] / seconds : 0);
    cohort_json_number(line, "data_fraction", seconds > 0 ? waits[1] / seconds : 0);
    cohort_json_number(line, "peak_rss_mb", cohort_job_peak_rss_mb(trainer->comm));
    skipped_figure(line, trainer);
    return cohort_record_end(&trainer->record);
}

/* The figure that decides which epoch is best: early_stopping.metric, else validation loss,
 * else training loss. Sets *higher_is_better. */
static double deciding_metric(bool *higher_is_better, const cohort_trainer *trainer,
                              const cohort_train_view *view)
{
    const char *metric = trainer->recipe->train.early_stopping.metric;
    if (!metric)
        metric = trainer->options.metric;
    if (!metric)
        metric = trainer->validation.dataset ? "validation_loss" : "loss";
    *higher_is_better = strstr(metric, "accuracy") != NULL;
    if (strcmp(metric, "validation_accuracy") == 0)
        return view->validation_accuracy;
    if (strcmp(metric, "validation_loss") == 0)
        return view->validation_loss;
    return *higher_is_better ? view->accuracy : view->loss;
}

/* Whether the epoch that has just ended gets a checkpoint of its own. */
static bool is_due(const cohort_trainer *trainer)
{
    const size_t every = trainer->recipe->checkpoint.every_epochs;
    return every && trainer->progress.epoch % every == 0;
}

/* Updates the best figure; true when this epoch is the best so far. */
static bool judge_epoch(cohort_trainer *trainer, const cohort_train_view *view)
{
    cohort_progress *progress = &trainer->progress;
    const double margin = trainer->recipe->train.early_stopping.min_delta;
    bool higher = false;
    if (trainer->privacy) {
        /* No noise covers the figures to choose by: the newest that is saved is taken. */
        progress->best_metric = view->loss;
        progress->best_epoch = progress->epoch;
        return is_due(trainer);
    }
    const double figure = deciding_metric(&higher, trainer, view);
    const bool better =
        isnan(progress->best_metric) || (higher ? figure > progress->best_metric + margin
                                                : figure < progress->best_metric - margin);
    progress->epochs_without_improvement = better ? 0 : progress->epochs_without_improvement + 1;
    if (better) {
        progress->best_metric = figure;
        progress->best_epoch = progress->epoch;
    }
    return better;
}

static cohort_status validate(cohort_trainer *trainer)
{
    if (!trainer->validation.dataset)
        return COHORT_OK;
    cohort_evaluation result;
    COHORT_TRY(cohort_evaluate(&result, trainer->comm, trainer->model, &trainer->loss,
                               trainer->validation.loader, trainer->validation.batch_count, false));
    trainer->last_validation_loss = result.loss;
    trainer->last_validation_accuracy = result.accuracy;
    cohort_evaluation_clear(&result);
    return COHORT_OK;
}

static cohort_status stop(cohort_trainer *trainer);

/* STATUS of an evaluation: one that was stopped leaves a checkpoint from where it begins again. */
static cohort_status stop_if_told(cohort_trainer *trainer, cohort_status status)
{
    if (status != COHORT_STOPPED)
        return status;
    cohort_error_clear();
    return stop(trainer);
}

/* Ends the epoch whose last step was done: figures, record, checkpoint. */
static cohort_status end_epoch(cohort_trainer *trainer)
{
    cohort_progress *progress = &trainer->progress;
    cohort_train_view view;
    COHORT_TRY(stop_if_told(trainer, validate(trainer)));
    COHORT_TRY(cohort_private_count(trainer));
    cohort_trainer_look(&view, trainer);
    trainer->ended_loss = view.loss;
    trainer->ended_accuracy = view.accuracy;
    progress->epoch++;
    COHORT_TRY(cohort_comm_follow(trainer->comm, record_epoch(trainer, &view)));
    const bool is_best = judge_epoch(trainer, &view);
    if (is_rank_0(trainer) && trainer->options.observer.on_epoch)
        trainer->options.observer.on_epoch(trainer->options.observer.context, &view);
    progress->seconds += progress->epoch_seconds;
    progress->step_in_epoch = 0;
    progress->epoch_loss = progress->epoch_correct = progress->epoch_count = 0;
    progress->epoch_seconds = trainer->wait_comm = trainer->wait_data = 0;
    const bool due = is_due(trainer);
    return due || is_best ? save(trainer, due, is_best) : COHORT_OK;
}

static bool has_stopped_early(const cohort_trainer *trainer)
{
    const cohort_early_stopping_recipe *early = &trainer->recipe->train.early_stopping;
    return early->metric && trainer->progress.epochs_without_improvement >= early->patience;
}

cohort_status cohort_trainer_pause(cohort_trainer *trainer)
{
    COHORT_TRY(save(trainer, false, false));
    cohort_text *line = cohort_record_begin(&trainer->record, "end");
    cohort_json_string(line, "status", "stopped");
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_number(line, "seconds", cohort_clock_seconds() - trainer->launched);
    return cohort_comm_follow(trainer->comm, cohort_record_end(&trainer->record));
}

static cohort_status stop(cohort_trainer *trainer)
{
    COHORT_TRY(cohort_trainer_pause(trainer));
    return COHORT_FAIL(COHORT_STOPPED,
                       "stopped by a signal at step %llu after a checkpoint; run the same command "
                       "again to continue",
                       (unsigned long long)trainer->progress.step);
}

static bool is_over(const cohort_trainer *trainer)
{
    return trainer->progress.step >= trainer->total_steps || has_stopped_early(trainer);
}

/* At most COUNT steps, until the run is over or asked to stop. */
static cohort_status train(cohort_trainer *trainer, uint64_t count)
{
    cohort_progress *progress = &trainer->progress;
    const size_t every = trainer->recipe->checkpoint.every_steps,
                 verify_every = trainer->recipe->train.verify_every;
    const cohort_train_observer *observer = &trainer->options.observer;
    /* A run that goes on may stand behind the last step of an epoch that was not ended. */
    if (progress->step_in_epoch == trainer->steps_per_epoch)
        COHORT_TRY(end_epoch(trainer));
    for (; count > 0 && !is_over(trainer); count--) {
        cohort_trainer_commit(trainer);
        COHORT_TRY(cohort_trainer_step(trainer));
        cohort_trainer_commit(trainer);
        COHORT_TRY(cohort_trainer_tune_sum(trainer));
        if (verify_every && progress->step % verify_every == 0)
            COHORT_TRY(cohort_trainer_verify(trainer));
        if (is_rank_0(trainer) && observer->on_step) {
            cohort_train_view view;
            cohort_trainer_look(&view, trainer);
            observer->on_step(observer->context, &view);
        }
        if (trainer->stop_seen && progress->step < trainer->total_steps)
            return stop(trainer); /* also before a validation, which is then made up for */
        if (progress->step_in_epoch == trainer->steps_per_epoch)
            COHORT_TRY(end_epoch(trainer));
        if (every && progress->step % every == 0 && progress->step_in_epoch > 0)
            COHORT_TRY(save(trainer, false, false));
    }
    return COHORT_OK;
}

/* Early stopping gives back the weights of the best epoch. */
static cohort_status restore_best(cohort_trainer *trainer)
{
    if (!trainer->recipe->train.early_stopping.metric ||
        trainer->progress.best_epoch == trainer->progress.epoch || !trainer->progress.best_epoch)
        return COHORT_OK;
    cohort_status status = COHORT_OK;
    if (is_rank_0(trainer) && trainer->options.no_folder) {
        cohort_trainer_put_best(trainer);
    } else if (is_rank_0(trainer)) {
        cohort_text path = {0};
        cohort_snapshot snapshot = cohort_trainer_snapshot(trainer);
        snapshot.optimizer = NULL;
        status = cohort_run_path(&path, trainer->run, "checkpoints/best.h5");
        if (status == COHORT_OK)
            status = cohort_job_load_weights(&snapshot, path.data);
        cohort_text_clear(&path);
    }
    COHORT_TRY(cohort_comm_follow(trainer->comm, status));
    return cohort_trainer_share_weights(trainer);
}

static cohort_status test(cohort_trainer *trainer)
{
    if (!trainer->test.dataset)
        return COHORT_OK;
    cohort_evaluation *result = &trainer->test_result;
    COHORT_TRY(cohort_evaluate(result, trainer->comm, trainer->model, &trainer->loss,
                               trainer->test.loader, trainer->test.batch_count, true));
    trainer->tested = true;
    return cohort_comm_follow(trainer->comm,
                              cohort_record_test(&trainer->record, result, &trainer->loss,
                                                 cohort_dataset_describe(trainer->test.dataset),
                                                 "epoch", trainer->progress.epoch));
}

/* The record of a max_steps run that ends inside an epoch. */
static cohort_status end_partial_epoch(cohort_trainer *trainer)
{
    cohort_train_view view;
    if (trainer->progress.step_in_epoch == 0)
        return COHORT_OK;
    COHORT_TRY(stop_if_told(trainer, validate(trainer)));
    COHORT_TRY(cohort_private_count(trainer));
    cohort_trainer_look(&view, trainer);
    trainer->progress.epoch++;
    cohort_status status = record_epoch(trainer, &view);
    trainer->progress.epoch--;
    if (is_rank_0(trainer) && trainer->options.observer.on_epoch)
        trainer->options.observer.on_epoch(trainer->options.observer.context, &view);
    return cohort_comm_follow(trainer->comm, status);
}

cohort_status cohort_trainer_begin(cohort_trainer *trainer)
{
    COHORT_TRY(cohort_trainer_begin_sum_tuning(trainer));
    COHORT_TRY(cohort_comm_follow(trainer->comm, record_start(trainer)));
    cohort_trainer_commit(trainer);
    cohort_loader_seek(trainer->loader, trainer->progress.epoch, trainer->progress.step_in_epoch);
    return COHORT_OK;
}

cohort_status cohort_trainer_advance(bool *over, cohort_trainer *trainer, uint64_t count)
{
    const cohort_status status = train(trainer, count);
    *over = is_over(trainer);
    return status;
}

cohort_status cohort_trainer_finish(cohort_trainer *trainer)
{
    cohort_trainer_commit(trainer);
    COHORT_TRY(end_partial_epoch(trainer));
    const bool early = has_stopped_early(trainer);
    COHORT_TRY(restore_best(trainer));
    COHORT_TRY(stop_if_told(trainer, test(trainer)));
    trainer->progress.finished = early ? COHORT_RUN_FINISHED_EARLY : COHORT_RUN_FINISHED;
    COHORT_TRY(save(trainer, false, trainer->privacy || isnan(trainer->progress.best_metric)));
    const double peak = cohort_job_peak_rss_mb(trainer->comm);
    cohort_text *line = cohort_record_begin(&trainer->record, "end");
    cohort_json_string(line, "status", "finished");
    if (early)
        cohort_json_boolean(line, "stopped_early", true);
    cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch);
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_number(line, "seconds", cohort_clock_seconds() - trainer->launched);
    cohort_json_number(line, "peak_rss_mb", peak);
    skipped_figure(line, trainer);
    return cohort_comm_follow(trainer->comm, cohort_record_end(&trainer->record));
}

/* From where the run stands to its end. */
static cohort_status run_to_end(cohort_trainer *trainer)
{
    cohort_loader_seek(trainer->loader, trainer->progress.epoch, trainer->progress.step_in_epoch);
    COHORT_TRY(train(trainer, UINT64_MAX));
    return cohort_trainer_finish(trainer);
}

/* A checkpoint first: rank 0 may be another one, and may be lost like the last. */
static cohort_status run_after_loss(cohort_trainer *trainer)
{
    COHORT_TRY(save(trainer, false, false));
    return run_to_end(trainer);
}

cohort_status cohort_trainer_run(cohort_trainer *trainer)
{
    cohort_status status = cohort_trainer_begin(trainer);
    bool over = false;
    if (status == COHORT_OK)
        status = run_to_end(trainer);
    while (cohort_trainer_may_go_on(trainer, status) && !over) {
        status = cohort_trainer_go_on(&over, trainer);
        if (status == COHORT_OK && !over)
            status = run_after_loss(trainer);
    }
    if (status == COHORT_OK)
        cohort_comm_set_over(trainer->comm);
    return status;
}
