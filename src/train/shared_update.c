#include "train/shared_update.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/shape.h"

enum {
    BLOCK = COHORT_OPTIMIZER_BLOCK,
    PIECE = 4 * BLOCK, /* elements updated at a time: what is then copied is in the cache */
    ROW_GROUP = 16,    /* pieces of tables are so many rows, times something: whole lines */
    PAGE = 4096
};

/* A part of the parameters that this rank updates. */
typedef struct piece {
    size_t begin, end;
    const cohort_table *table; /* only marked rows change; NULL: all of it */
} piece;

struct cohort_shared_update {
    cohort_comm *comm;
    cohort_shared *memory;
    cohort_reducer *reducer;
    cohort_optimizer *optimizer;
    cohort_table *tables; /* [table_count] */
    size_t table_count;
    size_t count, local_count, local_rank;
    float **replicas; /* [local_count][count] */
    float *slots;
    _Atomic uint64_t *odd; /* [local_count] 1 + where a replica differs */
    double *block_sums;    /* [block_count] of slices, in the window */
    double *all_sums;      /* [block_count] this rank's */
    size_t block_count;
    bool *is_sliced; /* [block_count] whose sum is made by one rank */
    piece *pieces;
    size_t piece_count, piece_capacity;
};

/* The window: a line for each rank's difference, sums of blocks, replicas, slots. */
static cohort_status place(cohort_shared_update *update, size_t slot_count)
{
    const size_t stride = cohort_size_align(update->count * sizeof(float), PAGE);
    const size_t head = cohort_size_align(update->local_count * sizeof(uint64_t), PAGE);
    const size_t sums = cohort_size_align(update->block_count * sizeof(double), PAGE);
    const size_t vectors = update->local_count + slot_count;
    size_t bytes = 0;
    void *base = NULL;
    cohort_status mine = COHORT_OK;
    if (!cohort_size_multiply(&bytes, stride, vectors) ||
        __builtin_add_overflow(bytes, head + sums + PAGE, &bytes))
        mine = COHORT_FAIL(COHORT_MEMORY, "%zu parameters do not fit in memory", update->count);
    COHORT_TRY(cohort_comm_agree(update->comm, mine));
    mine = cohort_shared_create(&update->memory, &base, update->comm, bytes);
    COHORT_TRY(cohort_comm_agree(update->comm, mine));
    update->odd = base;
    update->block_sums = (double *)((char *)base + head);
    char *at = (char *)base + head + sums;
    for (size_t r = 0; r < update->local_count; r++, at += stride)
        update->replicas[r] = (float *)at;
    update->slots = (float *)at + COHORT_OPTIMIZER_SKEW;
    return COHORT_OK;
}

cohort_status cohort_shared_update_create(cohort_shared_update **out, cohort_comm *comm,
                                          size_t count, size_t slot_count)
{
    cohort_shared_update *update = NULL;
    *out = NULL;
    if (cohort_comm_node_count(comm) == cohort_comm_size(comm))
        return COHORT_OK;
    cohort_status status = COHORT_ALLOCATE(&update, 1);
    if (status == COHORT_OK) {
        update->comm = comm;
        update->count = count;
        update->block_count = (count + BLOCK - 1) / BLOCK;
        update->local_count = (size_t)cohort_comm_node_size(comm);
        update->local_rank = (size_t)cohort_comm_node_rank(comm);
        status = COHORT_ALLOCATE(&update->replicas, update->local_count);
    }
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&update->all_sums, update->block_count);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&update->is_sliced, update->block_count);
    status = cohort_comm_agree(comm, status);
    if (status == COHORT_OK) {
        status = place(update, slot_count);
        if (status == COHORT_MEMORY) { /* the way without a window may still do */
            cohort_error_clear();
            cohort_shared_update_destroy(update);
            return COHORT_OK;
        }
    }
    if (status != COHORT_OK) {
        cohort_shared_update_destroy(update);
        return status;
    }
    *out = update;
    return COHORT_OK;
}

void cohort_shared_update_destroy(cohort_shared_update *update)
{
    if (!update)
        return;
    cohort_shared_destroy(update->memory);
    cohort_free(update->replicas);
    cohort_free(update->all_sums);
    cohort_free(update->is_sliced);
    cohort_free(update->tables);
    free(update->pieces);
    cohort_free(update);
}

float *cohort_shared_update_params(cohort_shared_update *update)
{
    return update->replicas[update->local_rank];
}

void cohort_shared_update_summed(void *context, size_t begin, size_t end)
{
    cohort_shared_update *update = context;
    cohort_optimizer_block_sums(update->block_sums, update->optimizer,
                                cohort_reducer_grads(update->reducer), begin, end);
}

/* Appends [begin, end) in pieces of UNIT elements; with EVERY > 1 only each EVERY-th of them, from
 * number FIRST on. */
static cohort_status add_pieces(cohort_shared_update *update, size_t begin, size_t end, size_t unit,
                                size_t first, size_t every, const cohort_table *table)
{
    for (size_t at = begin + first * unit; at < end; at += every * unit) {
        COHORT_TRY(cohort_grow((void **)&update->pieces, &update->piece_capacity,
                               update->piece_count + 1, sizeof *update->pieces));
        update->pieces[update->piece_count++] =
            (piece){at, end - at > unit ? at + unit : end, table};
    }
    return COHORT_OK;
}

/* What no rank sums alone, [begin, end) without tables: dealt piece by piece, in turn. */
static cohort_status deal_rest(cohort_shared_update *update, size_t begin, size_t end)
{
    return add_pieces(update, begin, end, BLOCK, update->local_rank, update->local_count, NULL);
}

/* A table, too: its common words come first, so that turns even out. */
static cohort_status deal_table(cohort_shared_update *update, const cohort_table *table)
{
    const size_t group = ROW_GROUP * table->width;
    const size_t unit = group * (BLOCK / group > 0 ? BLOCK / group : 1);
    return add_pieces(update, table->offset, table->offset + table->row_count * table->width, unit,
                      update->local_rank, update->local_count,
                      cohort_optimizer_spares_rows(update->optimizer, table) ? table : NULL);
}

/* The blocks that ranks sum alone, marked in is_sliced on all ranks. */
static cohort_status find_sliced(cohort_shared_update *update)
{
    double *marks = NULL;
    cohort_status status = COHORT_ALLOCATE(&marks, update->block_count + 1);
    COHORT_TRY_DONE(status, cohort_comm_agree(update->comm, status));
    for (size_t i = 0; i < cohort_reducer_slice_count(update->reducer); i++) {
        size_t begin, end;
        cohort_reducer_slice(&begin, &end, update->reducer, i);
        for (size_t at = begin; at < end; at += BLOCK)
            marks[at / BLOCK] = 1;
    }
    COHORT_TRY_DONE(status, cohort_comm_max(update->comm, marks, update->block_count));
    for (size_t i = 0; i < update->block_count; i++)
        update->is_sliced[i] = marks[i] > 0;
done:
    cohort_free(marks);
    return status;
}

/* Lists this rank's pieces: its slices, and its part of what has no owner. */
static cohort_status list_pieces(cohort_shared_update *update)
{
    size_t at = 0, table = 0;
    for (size_t i = 0; i < cohort_reducer_slice_count(update->reducer); i++) {
        size_t begin, end;
        cohort_reducer_slice(&begin, &end, update->reducer, i);
        COHORT_TRY(add_pieces(update, begin, end, PIECE, 0, 1, NULL));
    }
    while (at < update->count) {
        const cohort_table *next = table < update->table_count ? &update->tables[table] : NULL;
        const size_t block_end = (at / BLOCK + 1) * BLOCK;
        size_t end = block_end < update->count ? block_end : update->count;
        if (next && at == next->offset) {
            COHORT_TRY(deal_table(update, next));
            end = cohort_size_align(at + next->row_count * next->width, COHORT_LINE_REALS);
            table++;
        } else {
            if (next && next->offset < end)
                end = next->offset;
            if (!update->is_sliced[at / BLOCK])
                COHORT_TRY(deal_rest(update, at, end));
        }
        at = end;
    }
    return COHORT_OK;
}

cohort_status cohort_shared_update_deal_again(cohort_shared_update *update)
{
    update->piece_count = 0;
    COHORT_TRY(find_sliced(update));
    return cohort_comm_agree(update->comm, list_pieces(update));
}

cohort_status cohort_shared_update_deal(cohort_shared_update *update, cohort_reducer *reducer,
                                        cohort_optimizer *optimizer, const cohort_tables *tables)
{
    update->reducer = reducer;
    update->optimizer = optimizer;
    update->table_count = tables->count;
    cohort_status status = COHORT_ALLOCATE(&update->tables, tables->count);
    COHORT_TRY(cohort_comm_agree(update->comm, status));
    for (size_t i = 0; i < tables->count; i++)
        update->tables[i] = tables->items[i];
    COHORT_TRY(cohort_shared_update_deal_again(update));
    cohort_optimizer_place_slots(optimizer, update->slots, update->local_rank == 0);
    return cohort_comm_node_barrier(update->comm);
}

/* The norm: of slices by their owners, of the rest by everybody. */
static double norm_of(cohort_shared_update *update)
{
    const float *grads = cohort_reducer_grads(update->reducer);
    for (size_t i = 0; i < update->block_count; i++) {
        if (update->is_sliced[i])
            update->all_sums[i] = update->block_sums[i];
        else
            cohort_optimizer_block_sums(update->all_sums, update->optimizer, grads, i * BLOCK,
                                        (i + 1) * BLOCK);
    }
    return cohort_optimizer_norm_of(update->all_sums, update->block_count);
}

/* Notes the replicas that differ from this rank's in [begin, end). */
static void compare(cohort_shared_update *update, size_t begin, size_t end)
{
    const float *own = update->replicas[update->local_rank];
    for (size_t r = 0; r < update->local_count; r++) {
        uint64_t none = 0;
        if (r != update->local_rank &&
            memcmp(update->replicas[r] + begin, own + begin, (end - begin) * sizeof *own) != 0)
            atomic_compare_exchange_strong(&update->odd[r], &none, begin + 1);
    }
}

static void copy(cohort_shared_update *update, size_t begin, size_t end)
{
    const float *own = update->replicas[update->local_rank];
    for (size_t r = 0; r < update->local_count; r++)
        if (r != update->local_rank)
            memcpy(update->replicas[r] + begin, own + begin, (end - begin) * sizeof *own);
}

/* Does WORK to what an update of AT may change. */
static void for_changed(cohort_shared_update *update, const piece *at,
                        void (*work)(cohort_shared_update *, size_t, size_t))
{
    const cohort_table *table = at->table;
    if (!table) {
        work(update, at->begin, at->end);
        return;
    }
    const uint64_t *marks = cohort_reducer_rows(update->reducer) + table->first_word;
    const size_t last = (at->end - table->offset) / table->width;
    size_t begin, end = (at->begin - table->offset) / table->width;
    while (cohort_rows_next_near(&begin, &end, marks, last))
        work(update, table->offset + begin * table->width, table->offset + end * table->width);
}

cohort_status cohort_shared_update_step(double *norm, cohort_shared_update *update, double lr,
                                        uint64_t step)
{
    const float *grads = cohort_reducer_grads(update->reducer);
    float *own = update->replicas[update->local_rank];
    *norm = norm_of(update);
    if (!isfinite(*norm))
        return COHORT_OK;
    const double whole = *norm;
#pragma omp parallel for schedule(static) if (update->piece_count > 2)
    for (size_t i = 0; i < update->piece_count; i++) {
        const piece *at = &update->pieces[i];
        for_changed(update, at, compare);
        cohort_optimizer_update_range(update->optimizer, own, grads, whole, lr, step, at->begin,
                                      at->end);
        for_changed(update, at, copy);
    }
    return cohort_reducer_meet(update->reducer, "the update");
}

size_t cohort_shared_update_difference(const cohort_shared_update *update)
{
    return (size_t)atomic_load(&update->odd[update->local_rank]);
}
