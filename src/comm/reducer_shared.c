/* The sum through memory that the ranks of a node share.
 *
 * Every rank's vector lies in one window. Of each bucket rank r owns slice r: it reads
 * that slice of all vectors, adds them in rank order and writes the sum to all of
 * them, so that afterwards every replica is whole. A slice is touched by its owner
 * alone; two things need waiting for: that all ranks have written the bucket
 * (`ready`), and at the end of the step that all have summed (`finished`), before
 * backward writes again. Flags are stored with release and read with acquire order.
 *
 * With several nodes the owners of equal slices sum them over the nodes by
 * MPI_Iallreduce in between: reduce-scatter inside, exchange between equals, gather
 * inside. Nodes may have different numbers of ranks: as many own slices on each as
 * the smallest node has. */
#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "comm/reducer_internal.h"
#include "kernel/clones.h"

enum { LINE = 16, BLOCK = 1024 /* floats */ };

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
        a[i] = b[i] = c[i] = d[i] = a[i] + b[i] + c[i] + d[i];
}

COHORT_CLONES static void add(float *restrict sum, const float *restrict x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sum[i] += x[i];
}

/* sum = Σ replicas[r][at …] in rank order. */
static void sum_into(float *restrict sum, float *const *replicas, size_t replica_count, size_t at,
                     size_t count)
{
    memcpy(sum, replicas[0] + at, count * sizeof *sum);
    for (size_t r = 1; r < replica_count; r++)
        add(sum, replicas[r] + at, count);
}

static void spread(float *const *replicas, size_t replica_count, size_t at, const float *sum,
                   size_t count)
{
    for (size_t r = 0; r < replica_count; r++)
        memcpy(replicas[r] + at, sum, count * sizeof *sum);
}

/* Replaces the range in every replica by its sum. */
static void sum_in_place(float *const *v, size_t replica_count, size_t at, size_t count)
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
            sum_into(sum, v, replica_count, at + done, block);
            spread(v, replica_count, at + done, sum, block);
        }
    }
}

/* The owners of equal place on all nodes talk to each other; others to nobody. */
static cohort_status connect_nodes(cohort_reducer *reducer)
{
    cohort_comm *comm = reducer->comm;
    double fewest = -comm->node_size;
    COHORT_TRY(cohort_comm_max(comm, &fewest, 1));
    reducer->owners = (size_t)-fewest;
    if (comm->node_count == 1)
        return COHORT_OK;
    cohort_status status = COHORT_ALLOCATE(&reducer->sums, reducer->length);
    COHORT_TRY(cohort_comm_agree(comm, status));
    int place = (size_t)comm->node_rank < reducer->owners ? comm->node_rank : MPI_UNDEFINED;
    COHORT_TRY(cohort_comm_check(
        comm, MPI_Comm_split(comm->world, place, comm->node_index, &reducer->peers),
        "connecting the nodes"));
    if (reducer->peers != MPI_COMM_NULL)
        MPI_Comm_set_errhandler(reducer->peers, MPI_ERRORS_RETURN);
    return COHORT_OK;
}

cohort_status cohort_reducer_shared_open(cohort_reducer *reducer)
{
    cohort_comm *comm = reducer->comm;
    size_t size = (size_t)comm->node_size;
    const size_t page = 4096;
    size_t head = cohort_size_align(size * sizeof(cohort_reducer_flags), page);
    size_t stride = cohort_size_align(reducer->length * sizeof(float), page);
    size_t bytes = 0;
    cohort_status mine = COHORT_OK;
    if (!cohort_size_multiply(&bytes, stride, size) || __builtin_add_overflow(bytes, head, &bytes))
        mine = COHORT_FAIL(COHORT_MEMORY, "a gradient of %zu floats does not fit in memory",
                           reducer->length);
    if (mine == COHORT_OK)
        mine = COHORT_ALLOCATE(&reducer->replicas, size);
    COHORT_TRY(cohort_comm_agree(comm, mine));
    void *base = NULL;
    mine = cohort_shared_create(&reducer->memory, &base, comm, bytes);
    COHORT_TRY(cohort_comm_agree(comm, mine));
    reducer->flags = base;
    for (size_t r = 0; r < size; r++)
        reducer->replicas[r] = (float *)((char *)base + head + r * stride);
    reducer->vector = reducer->replicas[comm->node_rank];
    return connect_nodes(reducer);
}

void cohort_reducer_shared_close(cohort_reducer *reducer)
{
    if (reducer->memory)
        reducer->vector = NULL;
    cohort_shared_destroy(reducer->memory);
    cohort_free(reducer->replicas);
    cohort_free(reducer->sums);
    reducer->memory = NULL;
    reducer->replicas = NULL;
    reducer->sums = NULL;
}

/* The slice of bucket INDEX that this rank owns; empty for ranks that own none. */
static cohort_slice own_slice(const cohort_reducer *reducer, size_t index)
{
    cohort_slice bucket = cohort_reducer_bucket(reducer, index);
    size_t lines = (bucket.end - bucket.begin) / LINE, rank = (size_t)reducer->comm->node_rank;
    if (rank >= reducer->owners)
        return (cohort_slice){bucket.begin, bucket.begin};
    return (cohort_slice){bucket.begin + LINE * cohort_part_begin(lines, rank, reducer->owners),
                          bucket.begin +
                              LINE * cohort_part_begin(lines, rank + 1, reducer->owners)};
}

/* Whether all ranks of the node have written bucket INDEX of this step. */
static bool is_written(const cohort_reducer *reducer, size_t index)
{
    uint64_t least = reducer->step * reducer->bucket_count + index + 1;
    for (int r = 0; r < reducer->comm->node_size; r++)
        if (atomic_load_explicit(&reducer->flags[r].ready, memory_order_acquire) < least)
            return false;
    return true;
}

/* Sums the bucket inside the node; with several nodes sends it on its way. */
static cohort_status sum_bucket(cohort_reducer *reducer, size_t index)
{
    size_t size = (size_t)reducer->comm->node_size;
    cohort_slice own = own_slice(reducer, index);
    size_t count = own.end - own.begin;
    reducer->requests[index] = MPI_REQUEST_NULL;
    if (count == 0)
        return COHORT_OK;
    if (reducer->comm->node_count == 1) {
        sum_in_place(reducer->replicas, size, own.begin, count);
        return COHORT_OK;
    }
    float *sum = reducer->sums + own.begin;
    for (size_t done = 0; done < count; done += BLOCK)
        sum_into(sum + done, reducer->replicas, size, own.begin + done,
                 count - done < BLOCK ? count - done : BLOCK);
    return cohort_comm_check(reducer->comm,
                             MPI_Iallreduce(MPI_IN_PLACE, sum, (int)count, MPI_FLOAT, MPI_SUM,
                                            reducer->peers, &reducer->requests[index]),
                             "the gradient sum");
}

/* Takes in what has come from the other nodes, in order. */
static cohort_status receive(cohort_reducer *reducer)
{
    while (reducer->done < reducer->started) {
        if (reducer->comm->node_count > 1) {
            int is_done = 0;
            COHORT_TRY(cohort_comm_check(
                reducer->comm,
                MPI_Test(&reducer->requests[reducer->done], &is_done, MPI_STATUS_IGNORE),
                "the gradient sum"));
            if (!is_done)
                return COHORT_OK;
            cohort_slice own = own_slice(reducer, reducer->done);
            spread(reducer->replicas, (size_t)reducer->comm->node_size, own.begin,
                   reducer->sums + own.begin, own.end - own.begin);
        }
        reducer->done++;
    }
    return COHORT_OK;
}

void cohort_reducer_shared_advance(cohort_reducer *reducer)
{
    cohort_reducer_flags *mine = &reducer->flags[reducer->comm->node_rank];
    uint64_t ready = reducer->step * reducer->bucket_count + reducer->ready;
    if (atomic_load_explicit(&mine->ready, memory_order_relaxed) != ready)
        atomic_store_explicit(&mine->ready, ready, memory_order_release);
    cohort_status status = COHORT_OK;
    while (status == COHORT_OK && reducer->started < reducer->ready &&
           is_written(reducer, reducer->started)) {
        status = sum_bucket(reducer, reducer->started);
        if (status == COHORT_OK) {
            reducer->started++;
            status = receive(reducer);
        }
    }
    if (status == COHORT_OK)
        status = receive(reducer);
    if (status == COHORT_OK && reducer->done == reducer->bucket_count)
        atomic_store_explicit(&mine->finished, reducer->step + 1, memory_order_release);
    cohort_reducer_note(reducer, status);
}

bool cohort_reducer_shared_is_over(const cohort_reducer *reducer)
{
    for (int r = 0; r < reducer->comm->node_size; r++)
        if (atomic_load_explicit(&reducer->flags[r].finished, memory_order_acquire) <=
            reducer->step)
            return false;
    return true;
}
