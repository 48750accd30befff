/* Forward and backward over this rank's share of a batch, by lanes of threads.
 *
 * The share is cut into parts (see cohort_share), whose gradients are summed as a binary tree. A
 * thread is given some of them as a rank would be: a subtree, which it takes through a network of
 * its own, all layers, without meeting the others; their sums are then summed in the same tree, so
 * that the bits do not depend on the number of lanes. Where there is one lane alone, threads share
 * the work inside the layers instead. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "comm/tree.h"
#include "kernel/embedding.h"
#include "kernel/vector.h"
#include "train/private.h"

static size_t own_parts(const cohort_trainer *trainer)
{
    return trainer->share.end - trainer->share.begin;
}

/* --- Lanes ------------------------------------------------------------------------ */

/* Two threads that share the layers do 1.3 to 1.6 times as much as one (tests/bench/figures.md), so
 * that by Amdahl's law any number would do 1.9 to 3.6 times as much: less than four lanes, and as
 * much as two or three where there are so many threads for each. */
enum { ENOUGH_PARTS = 4, THREADS_A_PART = 3 };
/* Multiply-adds of a part's forward pass, below which a lane's start and end, some microseconds,
 * would be felt. */
static const double WORK_LEAST = 1e5;

/* One lane where rows are taken one by one (privacy) or layers keep a state, which each part hands
 * to the next. */
static size_t choose_lane_count(const cohort_trainer *trainer)
{
    const size_t parts = own_parts(trainer), threads = trainer->threads;
    const double work = cohort_model_work(trainer->model) * (double)trainer->part;
    if (work < WORK_LEAST || trainer->privacy || cohort_model_state_count(trainer->model) > 0 ||
        (parts < ENOUGH_PARTS && threads > THREADS_A_PART * parts))
        return 1;
    return threads < parts ? threads : parts;
}

static cohort_status create_vector(cohort_part_lane *lane, size_t level)
{
    const cohort_trainer *trainer = lane->trainer;
    const size_t count = COHORT_REDUCER_EXTRAS + cohort_model_params_count(trainer->model);
    COHORT_TRY(COHORT_ALLOCATE(&lane->vectors[level], count));
    return COHORT_ALLOCATE(&lane->rows[level], cohort_tables_words(&trainer->tables));
}

/* Vectors for the sum of PARTS parts; the first is there. */
static cohort_status create_levels(cohort_part_lane *lane, size_t parts)
{
    if (lane->trainer->is_at_once)
        return COHORT_OK;
    for (size_t level = 1; (size_t)1 << (level - 1) < parts; level++)
        COHORT_TRY(create_vector(lane, level));
    return COHORT_OK;
}

/* The network and vectors of a lane behind the first; planned for one thread. */
static cohort_status create_lane(cohort_part_lane *lane)
{
    const cohort_trainer *trainer = lane->trainer;
    const size_t parts = lane->end - lane->begin, threads = (size_t)omp_get_max_threads();
    COHORT_TRY(create_vector(lane, 0));
    COHORT_TRY(create_levels(lane, parts));
    omp_set_num_threads(1);
    const cohort_status status = cohort_model_create_in_parts(
        &lane->model, trainer->recipe, cohort_model_input(trainer->model),
        trainer->is_at_once ? trainer->part * parts : trainer->microbatch, trainer->part);
    omp_set_num_threads((int)threads);
    COHORT_TRY(status);
    cohort_model_bind(lane->model, trainer->params, lane->vectors[0] + COHORT_REDUCER_EXTRAS,
                      trainer->state);
    return COHORT_OK;
}

cohort_status cohort_trainer_create_lanes(cohort_trainer *trainer)
{
    const size_t count = choose_lane_count(trainer);
    COHORT_TRY(COHORT_ALLOCATE(&trainer->lanes, count));
    trainer->lane_count = count;
    for (size_t i = 0; i < count; i++) {
        cohort_part_lane *lane = &trainer->lanes[i];
        lane->trainer = trainer;
        cohort_tree_share(&lane->begin, &lane->end, own_parts(trainer), i, count);
        lane->begin += trainer->share.begin;
        lane->end += trainer->share.begin;
        if (i > 0)
            COHORT_TRY(create_lane(lane));
    }
    /* The first may have to take all parts, when what is not finite is searched. */
    cohort_part_lane *first = &trainer->lanes[0];
    first->model = trainer->model;
    first->vectors[0] = cohort_reducer_extras(trainer->reducer);
    first->rows[0] = cohort_reducer_rows(trainer->reducer);
    COHORT_TRY(create_levels(first, own_parts(trainer)));
    if (count > 1)
        cohort_log(COHORT_LOG_INFO, "%zu parts of a batch by %zu threads, each through all layers",
                   own_parts(trainer), count);
    return cohort_trainer_choose_lanes(trainer);
}

cohort_status cohort_trainer_choose_lanes(cohort_trainer *trainer)
{
    uint32_t *choices = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&choices, cohort_model_choice_count(trainer->model)));
    cohort_model_choices(choices, trainer->model);
    for (size_t i = 1; i < trainer->lane_count; i++)
        cohort_model_choose(trainer->lanes[i].model, choices);
    cohort_free(choices);
    return COHORT_OK;
}

void cohort_trainer_destroy_lanes(cohort_trainer *trainer)
{
    for (size_t i = 0; i < trainer->lane_count; i++) {
        cohort_part_lane *lane = &trainer->lanes[i];
        for (size_t level = i > 0 ? 0 : 1; level < COHORT_PART_LEVELS; level++) {
            cohort_free(lane->vectors[level]);
            cohort_free(lane->rows[level]);
        }
        if (i > 0)
            cohort_model_destroy(lane->model);
    }
    cohort_free(trainer->lanes);
    trainer->lanes = NULL;
    trainer->lane_count = 0;
}

size_t cohort_trainer_vector_count(const cohort_trainer *trainer)
{
    size_t count = 0;
    for (size_t i = 0; i < trainer->lane_count; i++)
        for (size_t level = 0; level < COHORT_PART_LEVELS; level++)
            count += trainer->lanes[i].vectors[level] != NULL;
    return count;
}

size_t cohort_trainer_work_bytes(const cohort_trainer *trainer)
{
    size_t bytes = 0;
    for (size_t i = 0; i < trainer->lane_count; i++)
        bytes += cohort_model_work_bytes(trainer->lanes[i].model);
    return bytes;
}

/* --- Sums ------------------------------------------------------------------------- */

/* Adds [begin, end) of ABOVE to BELOW: of tables, which never lie across the ends, the rows that
 * are marked in ROWS, which are then marked in ROWS_BELOW, too. */
static void add_vector(const cohort_tables *tables, float *below, uint64_t *rows_below,
                       const float *above, const uint64_t *rows, size_t begin, size_t end)
{
    for (size_t i = 0; i < tables->count; i++) {
        const cohort_table *table = &tables->items[i];
        const size_t at = COHORT_REDUCER_EXTRAS + table->offset, word = table->first_word;
        if (at < begin || at >= end)
            continue;
        cohort_vector_add(below + begin, above + begin, at - begin);
        cohort_embedding_add_rows(below + at, above + at, rows + word, table->row_count,
                                  table->width);
        cohort_rows_unite(rows_below + word, rows + word, cohort_rows_words(table->row_count));
        begin = at + table->row_count * table->width;
    }
    cohort_vector_add(below + begin, above + begin, end - begin);
}

/* Adds [begin, end) of the vector being written to those below it, top down: with part i
 * done, as many pairs are complete as i has trailing ones in binary. */
static void merge(const cohort_part_lane *lane, size_t begin, size_t end)
{
    for (size_t k = 0; k < lane->merges; k++) {
        const size_t from = lane->depth - k;
        add_vector(&lane->trainer->tables, lane->vectors[from - 1], lane->rows[from - 1],
                   lane->vectors[from], lane->rows[from], begin, end);
    }
}

/* [begin, end) of the sums of COUNT lanes into that of the first: of the first half (rounded up),
 * plus the rest, as cohort_tree_sum. */
static void join(const cohort_part_lane *lanes, size_t count, size_t begin, size_t end)
{
    const size_t half = count - count / 2;
    if (count <= 1 || begin == end)
        return;
    join(lanes, half, begin, end);
    join(lanes + half, count - half, begin, end);
    add_vector(&lanes->trainer->tables, lanes->vectors[0], lanes->rows[0], lanes[half].vectors[0],
               lanes[half].rows[0], begin, end);
}

/* What lies before the first table, or [0, end): pieces of it are joined by all threads. */
static void join_by_all(const cohort_trainer *trainer, size_t end)
{
    const cohort_tables *tables = &trainer->tables;
    const size_t lanes = trainer->lane_count;
    size_t plain = end;
    for (size_t i = 0; i < tables->count; i++)
        if (COHORT_REDUCER_EXTRAS + tables->items[i].offset < plain)
            plain = COHORT_REDUCER_EXTRAS + tables->items[i].offset;
    const size_t pieces = (plain + COHORT_TREE_BLOCK - 1) / COHORT_TREE_BLOCK;
#pragma omp parallel for num_threads((int)trainer->threads) schedule(static)
    for (size_t piece = 0; piece < pieces; piece++) {
        const size_t at = piece * COHORT_TREE_BLOCK, next = at + COHORT_TREE_BLOCK;
        join(trainer->lanes, lanes, at, next < plain ? next : plain);
    }
    join(trainer->lanes, lanes, plain, end);
}

/* What of the sum of the lanes is complete: the gradients that all of them have. Called by the
 * first one, of the rank's own thread, while the others may be at work. */
static void join_complete(cohort_trainer *trainer)
{
    size_t offset = 0;
    for (size_t i = 0; i < trainer->lane_count; i++) {
        const size_t of_lane =
            atomic_load_explicit(&trainer->lanes[i].complete, memory_order_acquire);
        offset = of_lane > offset ? of_lane : offset;
    }
    join(trainer->lanes, trainer->lane_count, COHORT_REDUCER_EXTRAS + offset,
         COHORT_REDUCER_EXTRAS + trainer->joined);
    trainer->joined = offset;
    cohort_reducer_ready(trainer->reducer, offset);
}

/* Gradients from OFFSET on are complete: sum them, and reduce what needs no more. */
static void tell_ready(void *context, size_t offset)
{
    cohort_part_lane *lane = context;
    cohort_trainer *trainer = lane->trainer;
    merge(lane, COHORT_REDUCER_EXTRAS + offset, COHORT_REDUCER_EXTRAS + lane->merged);
    lane->merged = offset;
    if (!lane->is_last)
        return;
    atomic_store_explicit(&lane->complete, offset, memory_order_release);
    if (lane == trainer->lanes && cohort_comm_size(trainer->comm) > 1)
        join_complete(trainer);
}

/* --- Parts ------------------------------------------------------------------------ */

/* The gradients of the next of COUNT parts go on top of those that wait. */
static void begin_part(cohort_part_lane *lane, size_t index, size_t count)
{
    const cohort_trainer *trainer = lane->trainer;
    lane->merges = (size_t)__builtin_ctzll(~(unsigned long long)index);
    lane->merged = cohort_model_params_count(trainer->model);
    lane->is_last = index + 1 == count;
    if (!trainer->privacy) {
        cohort_model_set_grads(lane->model, lane->vectors[lane->depth] + COHORT_REDUCER_EXTRAS);
        cohort_model_set_rows(lane->model, lane->rows[lane->depth]);
    }
    memset(lane->vectors[lane->depth], 0, COHORT_REDUCER_EXTRAS * sizeof(float));
}

static void end_part(cohort_part_lane *lane, const cohort_loss_sums *part)
{
    float *extras = lane->vectors[lane->depth];
    extras[EXTRA_LOSS] = (float)part->loss;
    extras[EXTRA_CORRECT] = (float)part->correct;
    extras[EXTRA_COUNT] = (float)part->count;
    merge(lane, 0, COHORT_REDUCER_EXTRAS);
    lane->depth = lane->depth + 1 - lane->merges;
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

static void sum_over_ranks(void *context, double *values, size_t count)
{
    cohort_trainer *trainer = context;
    /* A failure here also fails the reduction that ends the step, which reports it. */
    if (cohort_comm_sum(trainer->comm, values, count) != COHORT_OK)
        for (size_t i = 0; i < count; i++)
            values[i] = NAN;
}

/* Forward and backward over RANGE of the batch, the first or last of the passes over a part. */
static void run_pass(cohort_loss_sums *sums, cohort_part_lane *lane, const cohort_batch *batch,
                     const cohort_pass_range *range, bool is_first, bool is_last)
{
    cohort_trainer *trainer = lane->trainer;
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
    /* Layers that sum over ranks leave the share in one part, and that in one lane. */
    if (cohort_comm_size(trainer->comm) > 1 && trainer->lane_count == 1) {
        pass.sum = sum_over_ranks;
        pass.sum_context = trainer;
    }
    if (trainer->search) {
        pass.visit = cohort_search_visit;
        pass.visit_context = trainer->search;
    } else if (is_last) {
        pass.ready = tell_ready;
        pass.ready_context = lane;
    }
    cohort_pass_run(sums, lane->model, &trainer->loss, batch, range, divisor, &pass,
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

/* The parts [BEGIN, END) in one pass. */
static void compute_at_once(cohort_part_lane *lane, const cohort_batch *batch, size_t begin,
                            size_t end)
{
    const size_t start = part_start(lane->trainer, batch, begin);
    cohort_loss_sums sums[COHORT_PARTS_AT_ONCE] = {0};
    size_t ends[COHORT_PARTS_AT_ONCE];
    for (size_t part = begin; part < end; part++)
        ends[part - begin] = part_start(lane->trainer, batch, part + 1) - start;
    begin_part(lane, 0, 1);
    run_pass(sums, lane, batch,
             &(cohort_pass_range){.begin = start, .ends = ends, .part_count = end - begin}, true,
             true);
    const cohort_loss_sums total = add_up(sums, end - begin);
    end_part(lane, &total);
}

/* Part INDEX of COUNT, which is PART of the global batch, in one or more passes. */
static void compute_part(cohort_part_lane *lane, const cohort_batch *batch, size_t part,
                         size_t index, size_t count)
{
    cohort_trainer *trainer = lane->trainer;
    const size_t begin = part_start(trainer, batch, part),
                 end = part_start(trainer, batch, part + 1);
    cohort_loss_sums sums = {0};
    begin_part(lane, index, count);
    if (trainer->privacy) {
        cohort_private_sum_part(&sums, lane->vectors[lane->depth], trainer, batch, begin, end);
        tell_ready(lane, 0);
    }
    for (size_t pass = 0; pass < trainer->pass_count && !trainer->privacy; pass++) {
        const size_t from = begin + pass * trainer->microbatch, to = from + trainer->microbatch;
        const size_t first = from < end ? from : end, samples = (to < end ? to : end) - first;
        const cohort_pass_range range = {.begin = first, .ends = &samples, .part_count = 1};
        run_pass(&sums, lane, batch, &range, pass == 0, pass + 1 == trainer->pass_count);
    }
    end_part(lane, &sums);
}

/* Forward and backward over the parts [BEGIN, END), whose sum is in the lane's first vector. */
static void compute_lane(cohort_part_lane *lane, const cohort_batch *batch, size_t begin,
                         size_t end)
{
    lane->depth = 0;
    if (lane->trainer->is_at_once) {
        compute_at_once(lane, batch, begin, end);
        return;
    }
    for (size_t part = begin; part < end; part++)
        compute_part(lane, batch, part, part - begin, end - begin);
}

void cohort_trainer_compute(cohort_trainer *trainer, const cohort_batch *batch)
{
    const size_t lanes = trainer->lane_count, params = cohort_model_params_count(trainer->model);
    for (size_t i = 0; i < lanes; i++)
        atomic_store_explicit(&trainer->lanes[i].complete, params, memory_order_relaxed);
    trainer->joined = params;
    if (lanes == 1 || trainer->search) {
        compute_lane(trainer->lanes, batch, trainer->share.begin, trainer->share.end);
        return;
    }
    /* The rank's own thread has the first one: it alone may talk to other ranks. */
#pragma omp parallel for num_threads((int)trainer->threads) schedule(static, 1)
    for (size_t i = 0; i < lanes; i++) {
        cohort_part_lane *lane = &trainer->lanes[i];
        omp_set_num_threads(1); /* within the layers; of this region alone */
        compute_lane(lane, batch, lane->begin, lane->end);
    }
    join_by_all(trainer, COHORT_REDUCER_EXTRAS + trainer->joined);
    cohort_reducer_ready(trainer->reducer, 0);
}
