/* The run folder: what is there, whether this run may continue it, and continuing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "state/foreign.h"
#include "train/private.h"
#include "train/trainer_private.h"

static cohort_status share_weights(cohort_trainer *trainer, int source)
{
    COHORT_TRY(cohort_comm_broadcast(trainer->comm, trainer->params,
                                     cohort_model_params_count(trainer->model) * sizeof(float),
                                     source));
    return cohort_comm_broadcast(trainer->comm, trainer->state,
                                 cohort_model_state_count(trainer->model) * sizeof(float), source);
}

cohort_status cohort_trainer_share_weights(cohort_trainer *trainer)
{
    return share_weights(trainer, 0);
}

/* The VALUES [count] of rank SOURCE to every node, whose ranks hold them together: the first of
 * them writes what comes. Collective. */
static cohort_status share_by_nodes(cohort_comm *comm, float *values, size_t count, int source)
{
    enum { CHUNK = 1 << 18 };
    const bool writes = cohort_comm_node_rank(comm) == 0;
    float *chunk = NULL;
    cohort_status status = COHORT_ALLOCATE(&chunk, CHUNK);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    for (size_t at = 0; at < count; at += CHUNK) {
        const size_t bytes = (count - at < CHUNK ? count - at : CHUNK) * sizeof *chunk;
        if (cohort_comm_rank(comm) == source)
            memcpy(chunk, values + at, bytes);
        COHORT_TRY_DONE(status, cohort_comm_broadcast(comm, chunk, bytes, source));
        if (writes)
            memcpy(values + at, chunk, bytes);
    }
    status = cohort_comm_node_barrier(comm);
done:
    cohort_free(chunk);
    return status;
}

cohort_status cohort_trainer_share_all(cohort_trainer *trainer, int source)
{
    COHORT_TRY(share_weights(trainer, source));
    const size_t count = cohort_model_params_count(trainer->model);
    for (size_t i = 0; i < cohort_optimizer_slot_count(trainer->optimizer); i++) {
        float *slot = cohort_optimizer_slot(trainer->optimizer, i);
        COHORT_TRY(trainer->shares_update
                       ? share_by_nodes(trainer->comm, slot, count, source)
                       : cohort_comm_broadcast(trainer->comm, slot, count * sizeof *slot, source));
    }
    return cohort_comm_broadcast(trainer->comm, &trainer->progress, sizeof trainer->progress,
                                 source);
}

/* Whether the run saved in OLD may be continued by this recipe. Rank 0. */
static cohort_status check_same_run(const cohort_trainer *trainer, const cohort_snapshot *old,
                                    const char *where)
{
    COHORT_TRY(cohort_job_check_same_run(old, where, trainer->recipe, trainer->folder.data));
    COHORT_REQUIRE(old->progress.train_samples == trainer->progress.train_samples &&
                       old->progress.chunk_rows == trainer->progress.chunk_rows,
                   COHORT_USAGE,
                   "%s was trained on %llu samples, but the data file now gives %llu%s; use "
                   "--fresh to start anew",
                   trainer->folder.data, (unsigned long long)old->progress.train_samples,
                   (unsigned long long)trainer->progress.train_samples,
                   old->progress.chunk_rows != trainer->progress.chunk_rows
                       ? " or is read another way (data.memory_limit)"
                       : "");
    return COHORT_OK;
}

static cohort_status refuse_finished(const cohort_trainer *trainer, const cohort_progress *old)
{
    const bool is_over = old->finished == COHORT_RUN_FINISHED_EARLY ||
                         (old->finished && old->step >= trainer->total_steps);
    COHORT_REQUIRE(!is_over, COHORT_USAGE,
                   "the run in %s is finished (%llu epochs, %llu steps); use --fresh to move it "
                   "aside and start anew, or --run for another folder",
                   trainer->folder.data, (unsigned long long)old->epoch,
                   (unsigned long long)old->step);
    return COHORT_OK;
}

/* Loads the checkpoint PATH into the trainer on rank 0. */
static cohort_status load(cohort_trainer *trainer, const char *path)
{
    cohort_checkpoint *checkpoint = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&checkpoint, path));
    const cohort_snapshot *old = cohort_checkpoint_describe(checkpoint);
    COHORT_TRY_DONE(status, check_same_run(trainer, old, path));
    COHORT_TRY_DONE(status, refuse_finished(trainer, &old->progress));
    cohort_snapshot snapshot = cohort_trainer_snapshot(trainer);
    COHORT_TRY_DONE(status, cohort_checkpoint_load(checkpoint, &snapshot));
    if (old->ways)
        cohort_text_append(&trainer->ways, "%s", old->ways);
    COHORT_TRY_DONE(status, cohort_text_status(&trainer->ways));
    if (old->sum_way)
        snprintf(trainer->sum_tuning.found, sizeof trainer->sum_tuning.found, "%s", old->sum_way);
    COHORT_TRY_DONE(status, cohort_private_resume(trainer, old, path));
    trainer->progress = snapshot.progress;
    trainer->progress.finished = 0;
    trainer->resumed = true;
done:
    cohort_checkpoint_close(checkpoint);
    return status;
}

static cohort_status load_initial_weights(cohort_trainer *trainer)
{
    cohort_snapshot snapshot = cohort_trainer_snapshot(trainer);
    COHORT_TRY(cohort_job_load_initial_weights(&snapshot, trainer->recipe,
                                               trainer->options.observer.on_note,
                                               trainer->options.observer.context));
    return cohort_private_inherit(trainer);
}

cohort_status cohort_trainer_try_run(cohort_trainer *trainer, const cohort_run_place *place)
{
    cohort_checkpoint *checkpoint = NULL;
    cohort_status status = COHORT_OK;
    if (place->last.length == 0)
        return trainer->recipe->train.initial_weights ? load_initial_weights(trainer) : COHORT_OK;
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&checkpoint, place->last.data));
    const cohort_snapshot *old = cohort_checkpoint_describe(checkpoint);
    COHORT_TRY_DONE(status, check_same_run(trainer, old, place->last.data));
    COHORT_TRY_DONE(status, refuse_finished(trainer, &old->progress));
done:
    cohort_checkpoint_close(checkpoint);
    return status;
}

static void note_resumed(const cohort_trainer *trainer, const char *path)
{
    char text[512];
    if (!trainer->options.observer.on_note)
        return;
    snprintf(text, sizeof text, "continuing from %s (epoch %llu, step %llu)", path,
             (unsigned long long)trainer->progress.epoch,
             (unsigned long long)trainer->progress.step);
    trainer->options.observer.on_note(trainer->options.observer.context, text);
}

enum { JOB_BYTES_MAX = 256 };

bool cohort_trainer_has_opened(const char *folder, const char *job)
{
    cohort_text path = {0}, last = {0};
    bool same = false;
    if (job && cohort_path_join(&path, folder, ".job") == COHORT_OK &&
        cohort_file_exists(path.data) &&
        cohort_file_read(&last, path.data, JOB_BYTES_MAX) == COHORT_OK && last.length > 0)
        same = strcmp(last.data, job) == 0;
    cohort_error_clear();
    cohort_text_clear(&path);
    cohort_text_clear(&last);
    return same;
}

static cohort_status write_job(const cohort_trainer *trainer)
{
    cohort_text path = {0};
    const char *job = trainer->options.job;
    if (!job)
        return COHORT_OK;
    cohort_status status = cohort_run_path(&path, trainer->run, ".job");
    if (status == COHORT_OK)
        status = cohort_file_write(path.data, job, strlen(job));
    cohort_text_clear(&path);
    return status;
}

/* The checkpoint to start from into PATH; empty if there is none. */
static cohort_status find_start(cohort_text *path, cohort_trainer *trainer, bool again)
{
    if (again || !trainer->options.resume)
        COHORT_TRY(cohort_run_latest(path, trainer->run));
    if (path->length == 0 && trainer->options.resume)
        cohort_text_append(path, "%s", trainer->options.resume);
    return cohort_text_status(path);
}

/* Rank 0's part: lock the folder, load what is there, write the resolved recipe. */
static cohort_status open_run(cohort_trainer *trainer)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    const bool again = cohort_trainer_has_opened(trainer->folder.data, trainer->options.job);
    COHORT_TRY_DONE(status, cohort_run_open(&trainer->run, trainer->folder.data,
                                            trainer->options.fresh && !again));
    COHORT_TRY_DONE(status, find_start(&path, trainer, again));
    COHORT_TRY_DONE(status, write_job(trainer));
    if (path.length > 0) {
        COHORT_TRY_DONE(status, load(trainer, path.data));
        note_resumed(trainer, path.data);
    } else if (trainer->recipe->train.initial_weights) {
        COHORT_TRY_DONE(status, load_initial_weights(trainer));
    }
    COHORT_TRY_DONE(status, cohort_private_settle(trainer));
    COHORT_TRY_DONE(status, cohort_run_write_recipe(trainer->run, trainer->recipe_text.data));
    COHORT_TRY_DONE(status, cohort_trainer_open_record(trainer));
    cohort_private_join_records(trainer);
done:
    cohort_text_clear(&path);
    return status;
}

/* Rank 0's part of a run without a folder. */
static cohort_status begin_loose(cohort_trainer *trainer)
{
    if (trainer->options.resume) {
        COHORT_TRY(load(trainer, trainer->options.resume));
        note_resumed(trainer, trainer->options.resume);
        return COHORT_OK;
    }
    return trainer->recipe->train.initial_weights ? load_initial_weights(trainer) : COHORT_OK;
}

void cohort_trainer_put_best(cohort_trainer *trainer)
{
    const size_t params = cohort_model_params_count(trainer->model),
                 state = cohort_model_state_count(trainer->model);
    if (!trainer->best)
        return;
    memcpy(trainer->params, trainer->best, params * sizeof *trainer->best);
    memcpy(trainer->state, trainer->best + params, state * sizeof *trainer->best);
}

cohort_status cohort_trainer_keep_best(cohort_trainer *trainer)
{
    const size_t params = cohort_model_params_count(trainer->model),
                 state = cohort_model_state_count(trainer->model);
    if (!trainer->best)
        COHORT_TRY(COHORT_ALLOCATE(&trainer->best, params + state));
    memcpy(trainer->best, trainer->params, params * sizeof *trainer->best);
    memcpy(trainer->best + params, trainer->state, state * sizeof *trainer->best);
    return COHORT_OK;
}

cohort_status cohort_trainer_open_record(cohort_trainer *trainer)
{
    cohort_text path = {0};
    cohort_status status = cohort_run_path(&path, trainer->run, "metrics.jsonl");
    if (status == COHORT_OK)
        status = cohort_record_open(&trainer->record, path.data);
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_trainer_open_run(cohort_trainer *trainer)
{
    if (trainer->options.no_folder)
        cohort_text_append(&trainer->folder, "%s",
                           trainer->options.resume ? trainer->options.resume : "memory");
    else if (trainer->options.run_folder)
        cohort_text_append(&trainer->folder, "%s", trainer->options.run_folder);
    else
        cohort_text_append(&trainer->folder, "runs/%s", trainer->recipe->name);
    cohort_status status = cohort_recipe_write(&trainer->recipe_text, trainer->recipe);
    if (status == COHORT_OK)
        status = cohort_text_status(&trainer->folder);
    COHORT_TRY(cohort_comm_agree(trainer->comm, status));
    if (cohort_comm_rank(trainer->comm) == 0)
        status = trainer->options.no_folder ? begin_loose(trainer) : open_run(trainer);
    COHORT_TRY(cohort_comm_follow(trainer->comm, status));
    COHORT_TRY(cohort_comm_broadcast(trainer->comm, &trainer->resumed, sizeof trainer->resumed, 0));
    COHORT_TRY(cohort_trainer_choose_ways(trainer));
    return cohort_trainer_share_all(trainer, 0);
}

const char *cohort_trainer_folder(const cohort_trainer *trainer)
{
    return trainer->folder.data;
}

const cohort_evaluation *cohort_trainer_test(const cohort_trainer *trainer)
{
    return trainer->tested ? &trainer->test_result : NULL;
}

cohort_status cohort_trainer_create(cohort_trainer **out, cohort_comm *comm, cohort_recipe *recipe,
                                    const cohort_trainer_options *options)
{
    *out = NULL;
    COHORT_REQUIRE(options->fold > 0 || recipe->train.folds == 0, COHORT_USAGE,
                   "train.folds makes a run for each fold, which `cohort train` does; remove it");
    cohort_trainer *trainer = calloc(1, sizeof *trainer);
    COHORT_REQUIRE(trainer, COHORT_MEMORY, "out of memory");
    trainer->comm = comm;
    trainer->recipe = recipe;
    trainer->options = *options;
    trainer->launched = cohort_clock_seconds() - cohort_clock_since_launch();
    trainer->progress.best_metric = NAN;
    trainer->ended_loss = trainer->ended_accuracy = NAN;
    trainer->last_validation_loss = trainer->last_validation_accuracy = NAN;
    cohort_status status = cohort_trainer_open(trainer);
    if (status == COHORT_OK)
        status = cohort_trainer_open_run(trainer);
    if (status != COHORT_OK) {
        cohort_trainer_destroy(trainer);
        return status;
    }
    *out = trainer;
    return COHORT_OK;
}

cohort_status cohort_train_init(cohort_comm *comm, cohort_recipe *recipe, const char *weights,
                                const char *path)
{
    cohort_trainer *trainer = calloc(1, sizeof *trainer);
    COHORT_REQUIRE(trainer, COHORT_MEMORY, "out of memory");
    trainer->comm = comm;
    trainer->recipe = recipe;
    trainer->progress.best_metric = NAN;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_trainer_open(trainer));
    COHORT_TRY_DONE(status, cohort_recipe_write(&trainer->recipe_text, recipe));
    if (cohort_comm_rank(comm) == 0 && weights)
        status = cohort_foreign_import(trainer->model, weights);
    if (cohort_comm_rank(comm) == 0 && status == COHORT_OK) {
        const cohort_snapshot snapshot = cohort_trainer_snapshot(trainer);
        status = cohort_checkpoint_save(path, &snapshot);
    }
    status = cohort_comm_follow(comm, status);
done:
    cohort_trainer_destroy(trainer);
    return status;
}
