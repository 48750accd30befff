/* Going on without ranks that are lost.
 *
 * Every rank holds the whole run: parameters, optimizer, progress. They change only when the sum
 * of a step is complete on a rank, in memory of its own and without a collective in between, so
 * at any moment ranks stand at the same step or one apart, each at a whole one. Those that are
 * left take all from the one that is farthest and do again what was interrupted: a step, or the
 * end of an epoch. What depends on the number of ranks (shares, buffers, loaders, reducer) is
 * made anew. The data stay: shared memory outlives who made it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/trainer_private.h"

void cohort_trainer_commit(cohort_trainer *trainer)
{
    if (!cohort_comm_may_lose(trainer->comm))
        return;
    trainer->committed = trainer->progress;
    trainer->is_whole = true;
    memcpy(trainer->committed_state, trainer->state,
           cohort_model_state_count(trainer->model) * sizeof(float));
}

bool cohort_trainer_may_go_on(const cohort_trainer *trainer, cohort_status failed)
{
    return failed == COHORT_PEER && trainer->recipe->train.elastic &&
           cohort_comm_may_lose(trainer->comm) && cohort_comm_is_broken(trainer->comm);
}

/* How far this rank is; what is half taken from another is nowhere. */
static cohort_position position_of(const cohort_trainer *trainer)
{
    if (!trainer->is_whole)
        return (cohort_position){0, 0};
    return (cohort_position){trainer->committed.step + 1, trainer->committed.epoch};
}

/* What depends on the ranks there were. *choices [choice_count] of the network is kept. */
static cohort_status take_down(uint32_t **choices, cohort_trainer *trainer)
{
    if (trainer->model) {
        cohort_free(*choices);
        COHORT_TRY(COHORT_ALLOCATE(choices, cohort_model_choice_count(trainer->model)));
        cohort_model_choices(*choices, trainer->model);
        memcpy(trainer->state, trainer->committed_state,
               cohort_model_state_count(trainer->model) * sizeof(float));
    }
    trainer->progress = trainer->committed;
    cohort_loader **const loaders[] = {&trainer->loader, &trainer->validation.loader,
                                       &trainer->test.loader};
    for (size_t i = 0; i < 3; i++) {
        cohort_loader_destroy(*loaders[i]);
        *loaders[i] = NULL;
    }
    cohort_trainer_destroy_lanes(trainer);
    cohort_model_destroy(trainer->model);
    trainer->model = NULL;
    cohort_reducer_destroy(trainer->reducer);
    trainer->reducer = NULL;
    trainer->stop_seen = false;
    return COHORT_OK;
}

/* Rank-local. */
static cohort_status open_splits(cohort_trainer *trainer)
{
    cohort_eval_split *const splits[] = {&trainer->validation, &trainer->test};
    for (size_t i = 0; i < 2; i++)
        if (splits[i]->dataset)
            COHORT_TRY(cohort_trainer_open_split(splits[i], trainer));
    return COHORT_OK;
}

/* The same again for the ranks that are left. Collective. */
static cohort_status set_up(cohort_trainer *trainer, int source)
{
    COHORT_TRY(cohort_comm_agree(trainer->comm, cohort_trainer_create_network(trainer)));
    cohort_model_choose(trainer->model, trainer->choices);
    COHORT_TRY(cohort_trainer_connect_network(trainer));
    COHORT_TRY(cohort_comm_agree(trainer->comm, open_splits(trainer)));
    if (cohort_comm_rank(trainer->comm) != source)
        trainer->is_whole = false;
    COHORT_TRY(cohort_trainer_share_all(trainer, source));
    double last[3] = {trainer->last_step, trainer->last_loss, trainer->last_lr};
    COHORT_TRY(cohort_comm_broadcast(trainer->comm, last, sizeof last, source));
    trainer->last_step = last[0];
    trainer->last_loss = last[1];
    trainer->last_lr = last[2];
    COHORT_TRY(cohort_trainer_begin_sum_tuning(trainer));
    cohort_trainer_commit(trainer);
    trainer->is_whole = true;
    return COHORT_OK;
}

/* A new rank 0 takes the run folder: its lock ended with the process that held it. Whichever it is
 * records the last step: the lost one may not have come to it, and rank 0 itself may have been
 * behind. */
static cohort_status take_over(cohort_trainer *trainer)
{
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(trainer->comm) != 0)
        return COHORT_OK;
    if (!trainer->run) {
        status = cohort_run_open(&trainer->run, trainer->folder.data, false);
        if (status == COHORT_OK)
            status = cohort_trainer_open_record(trainer);
    }
    if (status != COHORT_OK)
        return COHORT_FAIL(COHORT_PEER, "rank 0 is lost and nobody can take its place: %s",
                           cohort_error_message());
    if (trainer->progress.step > 0 && (uint64_t)trainer->last_step == trainer->progress.step)
        return cohort_trainer_record_step(trainer);
    return COHORT_OK;
}

static cohort_status record_loss(cohort_trainer *trainer, const cohort_loss_report *report,
                                 double seconds)
{
    cohort_text *line = cohort_record_begin(&trainer->record, "ranks_lost");
    cohort_json_integer(line, "lost", report->lost_count);
    cohort_json_integer(line, "ranks", cohort_comm_size(trainer->comm));
    cohort_json_string(line, "who", report->lost);
    cohort_json_integer(line, "epoch", (int64_t)trainer->progress.epoch);
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_string(line, "reducer", cohort_reducer_describe(trainer->reducer));
    cohort_json_number(line, "seconds", seconds);
    return cohort_record_end(&trainer->record);
}

cohort_status cohort_trainer_go_on(bool *is_over, cohort_trainer *trainer)
{
    const double started = cohort_clock_seconds();
    cohort_loss_report report;
    *is_over = false;
    COHORT_TRY(take_down(&trainer->choices, trainer));
    COHORT_TRY(cohort_comm_regroup(&report, trainer->comm, position_of(trainer),
                                   (int)trainer->recipe->train.min_ranks));
    *is_over = report.is_over;
    if (report.is_over)
        return COHORT_OK;
    COHORT_REQUIRE(report.is_source_whole, COHORT_PEER,
                   "lost %s, the only one that held the newest step; run the same command again to "
                   "continue",
                   report.lost);
    COHORT_TRY(set_up(trainer, report.source));
    COHORT_TRY(cohort_comm_follow(trainer->comm, take_over(trainer)));
    const double seconds = cohort_clock_seconds() - started;
    cohort_log(COHORT_LOG_WARNING, "lost %s; %d of %d ranks go on from step %llu after %.2f s",
               report.lost, cohort_comm_size(trainer->comm), report.before,
               (unsigned long long)trainer->progress.step, seconds);
    return cohort_comm_follow(trainer->comm, record_loss(trainer, &report, seconds));
}
