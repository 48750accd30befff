/* The size of the reducer's buckets, whether they are summed while backward goes on, and whether
 * messages are packed: tried in turn over the first steps, which train as ever, since no way
 * changes a bit of the sums.
 *
 * A turn is a few steps, of which the fastest counts: the first still finds caches and buffers
 * cold. After each round through all ways the ranks agree on the times of the slowest of them, so
 * that all leave out, and in the end take, the same. The way one begins with is given up for a
 * clear gain alone. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "train/trainer_private.h"

enum { WARM_UP = 2, TURN = 3, ROUNDS_LEAST = 3, ROUNDS_MOST = 20 };
static const double SECONDS = 0.3;     /* go on for so long, between the least and most rounds */
static const double HOPELESS = 1.25;   /* times the fastest: left out after a round */
static const double CLEAR_GAIN = 0.97; /* of the time of the first way */
static const double NEVER = 1e300;     /* seconds */

static bool is_wanted(const cohort_trainer *trainer)
{
    const cohort_recipe *recipe = trainer->recipe;
    return recipe->comm.bucket == 0 && recipe->train.tune != COHORT_TUNE_OFF;
}

static cohort_status take(cohort_trainer *trainer, cohort_reducer_way way)
{
    COHORT_TRY(cohort_reducer_choose(trainer->reducer, way));
    return trainer->shares_update ? cohort_shared_update_deal_again(trainer->shared) : COHORT_OK;
}

/* What an earlier part of the run has found on as many ranks and nodes. */
static bool read_found(cohort_reducer_way *way, const cohort_trainer *trainer)
{
    int ranks, nodes;
    uint64_t bytes;
    char when[16];
    if (sscanf(trainer->sum_tuning.found, "%d ranks, %d nodes, bucket %" SCNu64 ", %15[a-z]",
               &ranks, &nodes, &bytes, when) != 4 ||
        ranks != cohort_comm_size(trainer->comm) ||
        nodes != cohort_comm_node_count(trainer->comm) || bytes == 0)
        return false;
    *way =
        (cohort_reducer_way){(size_t)bytes, strcmp(when, "late") == 0, strcmp(when, "packed") == 0};
    return true;
}

static void keep_found(cohort_trainer *trainer, cohort_reducer_way way)
{
    snprintf(trainer->sum_tuning.found, sizeof trainer->sum_tuning.found,
             "%d ranks, %d nodes, bucket %" PRIu64 ", %s", cohort_comm_size(trainer->comm),
             cohort_comm_node_count(trainer->comm), (uint64_t)way.bucket_bytes,
             way.is_late     ? "late"
             : way.is_packed ? "packed"
                             : "early");
}

static void begin_turn(cohort_sum_tuning *tuning, size_t way)
{
    tuning->now = way;
    tuning->steps = 0;
}

cohort_status cohort_trainer_begin_sum_tuning(cohort_trainer *trainer)
{
    cohort_sum_tuning *tuning = &trainer->sum_tuning;
    tuning->count = 0;
    if (!is_wanted(trainer)) {
        tuning->found[0] = '\0';
        return COHORT_OK;
    }
    /* Rank 0 has read the checkpoint. */
    COHORT_TRY(cohort_comm_broadcast(trainer->comm, tuning->found, sizeof tuning->found, 0));
    const size_t count = cohort_reducer_ways(tuning->ways, trainer->reducer);
    cohort_reducer_way way;
    if (count == 1)
        return COHORT_OK;
    if (read_found(&way, trainer)) {
        COHORT_TRY(take(trainer, way));
        if (cohort_comm_rank(trainer->comm) == 0)
            cohort_log(COHORT_LOG_INFO, "gradients are summed as before in this run: %s",
                       cohort_reducer_describe(trainer->reducer));
        return COHORT_OK;
    }
    tuning->found[0] = '\0';
    tuning->count = tuning->tried = count;
    tuning->rounds = 0;
    tuning->started = 0;
    for (size_t i = 0; i < count; i++)
        tuning->least[i] = NEVER;
    begin_turn(tuning, 0);
    return COHORT_OK;
}

/* The times of the slowest rank, and the seconds since the beginning. */
static cohort_status agree(double *elapsed, cohort_trainer *trainer)
{
    cohort_sum_tuning *tuning = &trainer->sum_tuning;
    double values[COHORT_REDUCER_WAYS + 1];
    memcpy(values, tuning->least, tuning->count * sizeof *values);
    values[tuning->count] = cohort_clock_seconds() - tuning->started;
    COHORT_TRY(cohort_comm_max(trainer->comm, values, tuning->count + 1));
    memcpy(tuning->least, values, tuning->count * sizeof *values);
    *elapsed = values[tuning->count];
    return COHORT_OK;
}

static size_t fastest(const cohort_sum_tuning *tuning)
{
    size_t best = 0;
    for (size_t i = 1; i < tuning->count; i++)
        if (tuning->least[i] < tuning->least[best])
            best = i;
    return best;
}

static void swap(cohort_sum_tuning *tuning, size_t a, size_t b)
{
    const cohort_reducer_way way = tuning->ways[a];
    const double least = tuning->least[a];
    tuning->ways[a] = tuning->ways[b];
    tuning->least[a] = tuning->least[b];
    tuning->ways[b] = way;
    tuning->least[b] = least;
}

/* The first way stays: others are measured against it. */
static void leave_out_hopeless(cohort_sum_tuning *tuning)
{
    const double limit = HOPELESS * tuning->least[fastest(tuning)];
    for (size_t i = tuning->count; i-- > 1;)
        if (tuning->least[i] > limit)
            swap(tuning, i, --tuning->count);
}

/* The record of the choice. Rank 0 writes. */
static cohort_status record(cohort_trainer *trainer, const cohort_sum_tuning *tried)
{
    cohort_text *line = cohort_record_begin(&trainer->record, "reducer");
    cohort_json_integer(line, "step", (int64_t)trainer->progress.step);
    cohort_json_string(line, "reducer", cohort_reducer_describe(trainer->reducer));
    cohort_json_begin_array(line, "tried");
    for (size_t i = 0; i < tried->tried; i++) {
        cohort_json_begin_object(line, NULL);
        cohort_json_integer(line, "bucket", (int64_t)tried->ways[i].bucket_bytes);
        cohort_json_boolean(line, "after_backward", tried->ways[i].is_late);
        cohort_json_number(line, "step_seconds", tried->least[i]);
        cohort_json_boolean(line, "packed", tried->ways[i].is_packed);
        cohort_json_end_object(line);
    }
    cohort_json_end_array(line);
    return cohort_record_end(&trainer->record);
}

static cohort_status settle(cohort_trainer *trainer)
{
    cohort_sum_tuning *tuning = &trainer->sum_tuning;
    const size_t best = fastest(tuning);
    const bool is_clear = tuning->least[best] < CLEAR_GAIN * tuning->least[0];
    const size_t taken = is_clear ? best : 0;
    COHORT_TRY(take(trainer, tuning->ways[taken]));
    keep_found(trainer, tuning->ways[taken]);
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(trainer->comm) == 0) {
        cohort_log(COHORT_LOG_INFO,
                   "gradients are summed by %s: %.3g ms a step, the first of %zu ways that were "
                   "tried %.3g ms",
                   cohort_reducer_describe(trainer->reducer), 1e3 * tuning->least[taken],
                   tuning->tried, 1e3 * tuning->least[0]);
        status = record(trainer, tuning);
    }
    tuning->count = 0;
    return cohort_comm_follow(trainer->comm, status);
}

/* After a round: the next one, or the end. */
static cohort_status end_round(cohort_trainer *trainer)
{
    cohort_sum_tuning *tuning = &trainer->sum_tuning;
    double elapsed = 0;
    COHORT_TRY(agree(&elapsed, trainer));
    tuning->rounds++;
    if (tuning->rounds >= ROUNDS_MOST || (tuning->rounds >= ROUNDS_LEAST && elapsed >= SECONDS))
        return settle(trainer);
    leave_out_hopeless(tuning);
    return COHORT_OK;
}

static cohort_status end_turn(cohort_trainer *trainer)
{
    cohort_sum_tuning *tuning = &trainer->sum_tuning;
    size_t next = tuning->now + 1;
    if (next == tuning->count) {
        COHORT_TRY(end_round(trainer));
        if (tuning->count == 0)
            return COHORT_OK;
        next = 0;
    }
    begin_turn(tuning, next);
    return take(trainer, tuning->ways[next]);
}

cohort_status cohort_trainer_tune_sum(cohort_trainer *trainer)
{
    cohort_sum_tuning *tuning = &trainer->sum_tuning;
    if (tuning->count == 0)
        return COHORT_OK;
    if (tuning->started == 0) { /* the very first steps of a run are like no others */
        if (++tuning->steps < WARM_UP)
            return COHORT_OK;
        tuning->started = cohort_clock_seconds();
        begin_turn(tuning, 0);
        return COHORT_OK;
    }
    double *least = &tuning->least[tuning->now];
    if (trainer->step_seconds < *least)
        *least = trainer->step_seconds;
    return ++tuning->steps < TURN ? COHORT_OK : end_turn(trainer);
}
