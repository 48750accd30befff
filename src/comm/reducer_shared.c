/* The sum through memory that the ranks of a node share, and by messages between nodes.
 *
 * Every rank's vector lies in one window. Of each bucket rank r owns slice r: it reads
 * that slice of all vectors, adds them in tree order (tree.h) and writes the sum to all of
 * them, so that afterwards every replica is whole. A slice is touched by its owner
 * alone; two things need waiting for: that all ranks have written the bucket
 * (`ready`), and at the end of the step that all have summed (`finished`), before
 * backward writes again. Flags are stored with release and read with acquire order.
 *
 * With several nodes the owners of equal slices sum them over the nodes in between
 * (exchange.h): reduce-scatter inside, exchange between equals, gather inside. Nodes
 * may have different numbers of ranks: as many own slices on each as the smallest
 * node has. A rank that is alone in its window only exchanges.
 *
 * Tables of embeddings are buckets of their own, summed by rows (reducer_rows.c). */
#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "comm/reducer_internal.h"
#include "comm/tree.h"
#include "kernel/clones.h"

enum { LINE = 16, BLOCK = COHORT_TREE_BLOCK, PAGE = 4096 };

/* Two to four ranks: one pass, each value read once and written once. */
COHORT_CLONES static void sum_two(float *restrict a, float *restrict b, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        a[i] = b[i] = a[i] + b[i];
}

COHORT_CLONES static void sum_three(float *restrict a, float *restrict b, float *restrict c,
                                    size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        a[i] = b[i] = c[i] = a[i] + b[i] + c[i];
}

COHORT_CLONES static void sum_four(float *restrict a, float *restrict b, float *restrict c,
                                   float *restrict d, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        a[i] = b[i] = c[i] = d[i] = (a[i] + b[i]) + (c[i] + d[i]);
}

void cohort_reducer_spread(float *const *replicas, size_t replica_count, size_t at,
                           const float *sum, size_t count)
{
    for (size_t r = 0; r < replica_count; r++)
        memcpy(replicas[r] + at, sum, count * sizeof *sum);
}

void cohort_reducer_sum_in_place(float *const *v, size_t replica_count, size_t at, size_t count)
{
    if (replica_count == 2) {
        sum_two(v[0] + at, v[1] + at, count);
    } else if (replica_count == 3) {
        sum_three(v[0] + at, v[1] + at, v[2] + at, count);
    } else if (replica_count == 4) {
        sum_four(v[0] + at, v[1] + at, v[2] + at, v[3] + at, count);
    } else {
        float sum[BLOCK];
        for (size_t done = 0; done < count; done += BLOCK) {
            size_t block = count - done < BLOCK ? count - done : BLOCK;
            cohort_tree_sum(sum, v, replica_count, at + done, block);
            cohort_reducer_spread(v, replica_count, at + done, sum, block);
        }
    }
}

/* Writes the sum of the range into this rank's vector alone. */
COHORT_CLONES static void sum_two_here(float *restrict a, const float *restrict b, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        a[i] = a[i] + b[i];
}

static void sum_here(const cohort_reducer *reducer, size_t at, size_t count)
{
    const cohort_layout *layout = &reducer->layout;
    if (layout->local_count == 2) { /* a + b is b + a */
        sum_two_here(reducer->vector + at, reducer->replicas[1 - layout->local_rank] + at, count);
        return;
    }
    for (size_t done = 0; done < count; done += BLOCK)
        cohort_tree_sum(reducer->vector + at + done, reducer->replicas, layout->local_count,
                        at + done, count - done < BLOCK ? count - done : BLOCK);
}

/* Where gradients begin in a slice: behind the extras. */
static size_t begin_of_grads(cohort_slice own)
{
    return own.begin == 0 && own.end > 0 ? (size_t)COHORT_REDUCER_EXTRAS : own.begin;
}

static void tell_summed(const cohort_reducer *reducer, cohort_slice own)
{
    const size_t begin = begin_of_grads(own);
    if (reducer->summed && own.end > begin)
        reducer->summed(reducer->summed_context, begin - COHORT_REDUCER_EXTRAS,
                        own.end - COHORT_REDUCER_EXTRAS);
}

/* One node: the slice's sum, left here, but for extras. */
static void sum_slice(const cohort_reducer *reducer, cohort_slice own)
{
    const size_t begin = begin_of_grads(own);
    cohort_reducer_sum_in_place(reducer->replicas, reducer->layout.local_count, own.begin,
                                begin - own.begin);
    sum_here(reducer, begin, own.end - begin);
    tell_summed(reducer, own);
}

/* Several nodes: takes it from the exchange. */
static void take_slice(const cohort_reducer *reducer, cohort_slice own)
{
    const size_t begin = begin_of_grads(own);
    if (reducer->layout.local_count > 1) {
        cohort_reducer_spread(reducer->replicas, reducer->layout.local_count, own.begin,
                              reducer->sums + own.begin, begin - own.begin);
        memcpy(reducer->vector + begin, reducer->sums + begin, (own.end - begin) * sizeof(float));
    }
    tell_summed(reducer, own);
}

size_t cohort_reducer_slice_count(const cohort_reducer *reducer)
{
    return cohort_reducer_is_sliced(reducer) ? reducer->whole_count : 0;
}

void cohort_reducer_slice(size_t *begin, size_t *end, const cohort_reducer *reducer, size_t index)
{
    const cohort_slice own = reducer->slices[index];
    *begin = *end = 0;
    if (!reducer->is_sliced[index] || own.end <= begin_of_grads(own))
        return;
    *begin = begin_of_grads(own) - COHORT_REDUCER_EXTRAS;
    *end = own.end - COHORT_REDUCER_EXTRAS;
}

/* The slice of BUCKET that this rank owns; empty for ranks that own none. Slices of a sliced
 * bucket begin at their multiples, and the first has the extras in front. */
static cohort_slice own_slice(const cohort_reducer *reducer, const cohort_bucket *bucket)
{
    const cohort_layout *layout = &reducer->layout;
    const cohort_slice range = bucket->range;
    const size_t unit = bucket->is_sliced ? reducer->slice_unit : LINE;
    const size_t base =
        bucket->is_sliced && range.begin == 0 ? (size_t)COHORT_REDUCER_EXTRAS : range.begin;
    const size_t units = (range.end - base + unit - 1) / unit;
    if (layout->local_rank >= layout->owners)
        return (cohort_slice){range.begin, range.begin};
    size_t begin = base + unit * cohort_part_begin(units, layout->local_rank, layout->owners),
           end = base + unit * cohort_part_begin(units, layout->local_rank + 1, layout->owners);
    return (cohort_slice){layout->local_rank == 0 ? range.begin : begin,
                          end < range.end ? end : range.end};
}

/* Memory of this window: flags, then the vectors of its ranks, their marks and the unions of
 * those. */
static cohort_status place_vectors(cohort_reducer *reducer)
{
    cohort_comm *comm = reducer->comm;
    size_t count = reducer->layout.local_count;
    size_t head = cohort_size_align(count * sizeof(cohort_reducer_flags), PAGE);
    size_t stride = cohort_size_align(reducer->length * sizeof(float), PAGE);
    size_t mark_stride = cohort_size_align(reducer->words * sizeof(uint64_t), PAGE);
    size_t bytes = 0;
    void *base = NULL;
    cohort_status mine = COHORT_OK;
    if (!cohort_size_multiply(&bytes, stride + 2 * mark_stride, count) ||
        __builtin_add_overflow(bytes, head, &bytes))
        mine = COHORT_FAIL(COHORT_MEMORY, "a gradient of %zu floats does not fit in memory",
                           reducer->length);
    if (mine == COHORT_OK)
        mine = COHORT_ALLOCATE(&reducer->replicas, count);
    if (mine == COHORT_OK)
        mine = COHORT_ALLOCATE(&reducer->all_marks, count);
    if (mine == COHORT_OK && count == 1)
        mine = cohort_allocate(&reducer->private_memory, bytes, 1);
    COHORT_TRY(cohort_comm_agree(comm, mine));
    base = reducer->private_memory;
    if (count > 1)
        mine = cohort_shared_create(&reducer->memory, &base, comm, bytes);
    COHORT_TRY(cohort_comm_agree(comm, mine));
    reducer->flags = base;
    char *marks = (char *)base + head + count * stride;
    for (size_t r = 0; r < count; r++) {
        reducer->replicas[r] = (float *)((char *)base + head + r * stride);
        reducer->all_marks[r] = (uint64_t *)(marks + r * mark_stride);
    }
    /* One node: every rank makes the union for itself. Several: those that sum share it. */
    const size_t place = reducer->layout.far_count == 1 ? reducer->layout.local_rank : 0;
    reducer->united = (uint64_t *)(marks + (count + place) * mark_stride);
    reducer->vector = reducer->replicas[reducer->layout.local_rank];
    reducer->marks = reducer->all_marks[reducer->layout.local_rank];
    return COHORT_OK;
}

/* The owners of equal place in all windows talk to each other; others to nobody. */
static cohort_status connect_windows(cohort_reducer *reducer)
{
    cohort_comm *comm = reducer->comm;
    const cohort_layout *layout = &reducer->layout;
    cohort_status mine = COHORT_OK;
    reducer->sums = reducer->vector;
    if (layout->local_count > 1)
        mine = COHORT_ALLOCATE(&reducer->sums, reducer->length);
    COHORT_TRY(cohort_comm_agree(comm, mine));
    MPI_Comm peers;
    int place = layout->local_rank < layout->owners ? (int)layout->local_rank : MPI_UNDEFINED;
    const cohort_lookout_watch before = cohort_comm_enter_mpi(comm, "preparing the gradient sum");
    const int made = MPI_Comm_split(comm->world, place, comm->rank, &peers);
    cohort_lookout_leave(before);
    COHORT_TRY(cohort_comm_check(comm, made, "preparing the gradient sum"));
    mine = cohort_exchange_open(&reducer->exchange, comm, peers, reducer->sums, reducer->slices,
                                reducer->whole_count);
    return cohort_comm_agree(comm, mine);
}

/* The slices of this rank. Not agreed. */
static cohort_status place_slices(cohort_reducer *reducer)
{
    cohort_free(reducer->slices);
    cohort_free(reducer->is_sliced);
    reducer->is_sliced = NULL;
    reducer->whole_count = 0;
    COHORT_TRY(COHORT_ALLOCATE(&reducer->slices, reducer->bucket_count));
    COHORT_TRY(COHORT_ALLOCATE(&reducer->is_sliced, reducer->bucket_count));
    for (size_t i = 0; i < reducer->bucket_count; i++) {
        const cohort_bucket *bucket = &reducer->buckets[i];
        if (bucket->table != SIZE_MAX)
            continue;
        reducer->is_sliced[reducer->whole_count] = bucket->is_sliced;
        reducer->slices[reducer->whole_count++] = own_slice(reducer, bucket);
    }
    return COHORT_OK;
}

cohort_status cohort_reducer_shared_open(cohort_reducer *reducer)
{
    reducer->exchange.peers = MPI_COMM_NULL;
    COHORT_TRY(place_vectors(reducer));
    COHORT_TRY(cohort_comm_agree(reducer->comm, place_slices(reducer)));
    if (reducer->layout.far_count > 1)
        COHORT_TRY(connect_windows(reducer));
    return cohort_comm_agree(reducer->comm, cohort_reducer_rows_open(reducer));
}

cohort_status cohort_reducer_shared_cut(cohort_reducer *reducer)
{
    cohort_status mine = place_slices(reducer);
    if (mine == COHORT_OK && reducer->layout.far_count > 1)
        mine = cohort_exchange_place(&reducer->exchange, reducer->slices, reducer->whole_count,
                                     reducer->is_packed);
    for (size_t i = 0; mine == COHORT_OK && i < reducer->tables.count; i++)
        mine = cohort_reducer_rows_pack(reducer, i);
    atomic_store_explicit(&reducer->flags[reducer->layout.local_rank].ready, 0,
                          memory_order_release);
    reducer->cut_step = reducer->step;
    /* Nobody goes on before all flags are back: agreement waits for all ranks. */
    return cohort_comm_agree(reducer->comm, mine);
}

void cohort_reducer_shared_close(cohort_reducer *reducer)
{
    cohort_exchange_close(&reducer->exchange);
    cohort_reducer_rows_close(reducer);
    if (!reducer->comm->is_broken) { /* else MPI may still write to them */
        if (reducer->sums != reducer->vector)
            cohort_free(reducer->sums);
        cohort_free(reducer->private_memory);
    }
    cohort_shared_destroy(reducer->memory);
    cohort_free(reducer->replicas);
    cohort_free(reducer->all_marks);
    cohort_free(reducer->slices);
    cohort_free(reducer->is_sliced);
    reducer->is_sliced = NULL;
    reducer->all_marks = NULL;
    reducer->marks = reducer->united = NULL;
    reducer->memory = NULL;
    reducer->private_memory = NULL;
    reducer->vector = reducer->sums = NULL;
    reducer->replicas = NULL;
    reducer->slices = NULL;
}

/* Whether all ranks of the node have written bucket INDEX of this step. */
static bool is_written(const cohort_reducer *reducer, size_t index)
{
    uint64_t least = (reducer->step - reducer->cut_step) * reducer->bucket_count + index + 1;
    for (size_t r = 0; r < reducer->layout.local_count; r++)
        if (atomic_load_explicit(&reducer->flags[r].ready, memory_order_acquire) < least)
            return false;
    return true;
}

/* Sums the next whole bucket inside the node; with several nodes sends it on its way. */
static cohort_status sum_bucket(cohort_reducer *reducer, size_t index)
{
    const cohort_layout *layout = &reducer->layout;
    const cohort_slice own = reducer->slices[index];
    size_t count = own.end - own.begin;
    reducer->work.floats_summed += count;
    if (layout->far_count == 1) {
        if (reducer->is_sliced[index])
            sum_slice(reducer, own);
        else
            cohort_reducer_sum_in_place(reducer->replicas, layout->local_count, own.begin, count);
        reducer->received++;
        return COHORT_OK;
    }
    for (size_t done = 0; layout->local_count > 1 && done < count; done += BLOCK)
        cohort_tree_sum(reducer->sums + own.begin + done, reducer->replicas, layout->local_count,
                        own.begin + done, count - done < BLOCK ? count - done : BLOCK);
    return cohort_exchange_start(&reducer->exchange);
}

/* Takes in what has come from the other nodes, in order. */
static cohort_status receive(cohort_reducer *reducer)
{
    const cohort_layout *layout = &reducer->layout;
    if (layout->far_count == 1)
        return COHORT_OK;
    COHORT_TRY(cohort_exchange_advance(&reducer->exchange));
    for (; reducer->received < reducer->exchange.done; reducer->received++) {
        cohort_slice own = reducer->slices[reducer->received];
        if (reducer->is_sliced[reducer->received])
            take_slice(reducer, own);
        else if (layout->local_count > 1)
            cohort_reducer_spread(reducer->replicas, layout->local_count, own.begin,
                                  reducer->sums + own.begin, own.end - own.begin);
    }
    return COHORT_OK;
}

/* Starts the buckets that all ranks of the node have written, in order. */
static cohort_status start(cohort_reducer *reducer)
{
    for (; reducer->started < reducer->ready && is_written(reducer, reducer->started);
         reducer->started++) {
        const cohort_bucket *bucket = &reducer->buckets[reducer->started];
        if (bucket->table != SIZE_MAX)
            COHORT_TRY(cohort_reducer_rows_start(reducer, bucket->table));
        else
            COHORT_TRY(sum_bucket(reducer, reducer->whole++));
    }
    return COHORT_OK;
}

cohort_status cohort_reducer_shared_advance(cohort_reducer *reducer)
{
    cohort_reducer_flags *mine = &reducer->flags[reducer->layout.local_rank];
    uint64_t ready = (reducer->step - reducer->cut_step) * reducer->bucket_count + reducer->ready;
    if (reducer->started == 0) {
        cohort_exchange_begin(&reducer->exchange);
        reducer->whole = reducer->received = 0;
    }
    if (atomic_load_explicit(&mine->ready, memory_order_relaxed) != ready)
        atomic_store_explicit(&mine->ready, ready, memory_order_release);
    COHORT_TRY(start(reducer));
    COHORT_TRY(receive(reducer));
    COHORT_TRY(cohort_reducer_rows_advance(reducer));
    reducer->done = reducer->received + reducer->summed_rows;
    if (reducer->done == reducer->bucket_count)
        atomic_store_explicit(&mine->finished, reducer->step + 1, memory_order_release);
    return COHORT_OK;
}

bool cohort_reducer_shared_is_over(const cohort_reducer *reducer)
{
    if (reducer->done < reducer->bucket_count)
        return false;
    for (size_t r = 0; r < reducer->layout.local_count; r++)
        if (atomic_load_explicit(&reducer->flags[r].finished, memory_order_acquire) <=
            reducer->step)
            return false;
    return true;
}
