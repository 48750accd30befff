#include "comm/reducer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/shape.h"
#include "comm/reducer_internal.h"

enum { LINE = 16 /* floats */ };
/* Inside a node a bucket should stay in the second-level cache between backward and
 * sum; a message should stay below MPI's eager limit, and the last be short. */
static const size_t BUCKET_BYTES = (size_t)1 << 20;
static const size_t MESSAGE_BYTES = 24 << 10;
static const size_t MOST_BUCKET_BYTES = (size_t)1 << 29; /* of one MPI call; twice in the last */
/* Direct exchange sends a message to every peer: beyond this many, trees are better. */
enum { MOST_PEERS = 256 };

cohort_slice cohort_reducer_bucket(const cohort_reducer *reducer, size_t index)
{
    size_t end = (reducer->bucket_count - index) * reducer->bucket_length;
    return (cohort_slice){end - reducer->bucket_length, index == 0 ? reducer->length : end};
}

/* The first bucket, at the tail, takes what is over, so that none is tiny. Not the last: what it
 * holds is complete only when backward ends, and nothing hides its way over the network. */
static void cut_buckets(cohort_reducer *reducer, size_t bucket_bytes)
{
    const cohort_layout *layout = &reducer->layout;
    if (bucket_bytes == 0)
        bucket_bytes = layout->far_count == 1 || reducer->mode == COHORT_REDUCER_MPI
                           ? BUCKET_BYTES
                           : MESSAGE_BYTES * layout->owners * layout->far_count;
    if (bucket_bytes > MOST_BUCKET_BYTES)
        bucket_bytes = MOST_BUCKET_BYTES;
    if (bucket_bytes < LINE * sizeof(float))
        bucket_bytes = LINE * sizeof(float);
    reducer->bucket_length = cohort_size_align(bucket_bytes / sizeof(float), LINE);
    reducer->bucket_count = reducer->length / reducer->bucket_length;
    if (reducer->bucket_count == 0) {
        reducer->bucket_count = 1;
        reducer->bucket_length = reducer->length;
    }
}

static void describe(cohort_reducer *reducer)
{
    const cohort_comm *comm = reducer->comm;
    size_t kib = reducer->bucket_length * sizeof(float) / 1024;
    char buckets[48], how[64] = "MPI_Iallreduce";
    if (reducer->bucket_count == 1)
        snprintf(buckets, sizeof buckets, "1 bucket");
    else
        snprintf(buckets, sizeof buckets, "%zu buckets of %.3g %s", reducer->bucket_count,
                 kib >= 1024 ? (double)kib / 1024 : (double)kib, kib >= 1024 ? "MiB" : "KiB");
    if (reducer->mode == COHORT_REDUCER_SHARED) {
        if (reducer->layout.far_count == 1)
            snprintf(how, sizeof how, "shared memory");
        else if (reducer->layout.far_count == (size_t)comm->size)
            snprintf(how, sizeof how, "MPI messages");
        else
            snprintf(how, sizeof how, "shared memory on %zu nodes, MPI messages between",
                     reducer->layout.far_count);
    }
    if (comm->size == 1)
        snprintf(reducer->text, sizeof reducer->text, "1 rank");
    else
        snprintf(reducer->text, sizeof reducer->text, "%s, %d ranks, %s", how, comm->size, buckets);
}

/* The window of every node, or each rank for itself. */
static cohort_status plan_layout(cohort_reducer *reducer, bool use_windows)
{
    const cohort_comm *comm = reducer->comm;
    reducer->layout =
        (cohort_layout){.local_count = 1, .far_count = (size_t)comm->size, .owners = 1};
    if (!use_windows)
        return COHORT_OK;
    double negated = -comm->node_size; /* the maximum is minus the fewest ranks of a node */
    COHORT_TRY(cohort_comm_max(reducer->comm, &negated, 1));
    reducer->layout = (cohort_layout){.local_count = (size_t)comm->node_size,
                                      .local_rank = (size_t)comm->node_rank,
                                      .far_count = (size_t)comm->node_count,
                                      .owners = (size_t)-negated};
    return COHORT_OK;
}

/* Opens the reducer in the wanted way; COHORT_MEMORY leaves nothing behind. */
static cohort_status try_mode(cohort_reducer *reducer, cohort_reducer_mode mode, bool use_windows,
                              size_t bucket_bytes)
{
    COHORT_TRY(plan_layout(reducer, use_windows));
    reducer->mode = mode != COHORT_REDUCER_MPI && reducer->comm->size > 1 &&
                            reducer->layout.far_count <= MOST_PEERS
                        ? COHORT_REDUCER_SHARED
                        : COHORT_REDUCER_MPI;
    cut_buckets(reducer, bucket_bytes);
    if (reducer->mode == COHORT_REDUCER_MPI)
        return cohort_reducer_mpi_open(reducer);
    cohort_status status = cohort_reducer_shared_open(reducer);
    if (status == COHORT_MEMORY)
        cohort_reducer_shared_close(reducer);
    return status;
}

cohort_status cohort_reducer_create(cohort_reducer **out, cohort_comm *comm,
                                    const cohort_reducer_config *config, size_t count)
{
    cohort_reducer *reducer = NULL;
    *out = NULL;
    cohort_status status = COHORT_ALLOCATE(&reducer, 1);
    if (status == COHORT_OK && count > SIZE_MAX / sizeof(float) / 4)
        status =
            COHORT_FAIL(COHORT_MEMORY, "a gradient of %zu floats does not fit in memory", count);
    status = cohort_comm_agree(comm, status);
    if (status != COHORT_OK) {
        cohort_free(reducer);
        return status;
    }
    reducer->comm = comm;
    reducer->timeout = config->timeout;
    reducer->peers = reducer->exchange.peers = MPI_COMM_NULL;
    reducer->length = cohort_size_align(COHORT_REDUCER_EXTRAS + count, LINE);
    bool has_windows = comm->node_count < comm->size && config->mode != COHORT_REDUCER_MESSAGES;
    status = try_mode(reducer, config->mode, has_windows, config->bucket_bytes);
    if (status == COHORT_MEMORY && has_windows && reducer->mode == COHORT_REDUCER_SHARED) {
        cohort_error_clear();
        status = try_mode(reducer, config->mode, false, config->bucket_bytes);
    }
    if (status != COHORT_OK) {
        cohort_reducer_destroy(reducer);
        return status;
    }
    describe(reducer);
    *out = reducer;
    return COHORT_OK;
}

void cohort_reducer_destroy(cohort_reducer *reducer)
{
    if (!reducer)
        return;
    if (reducer->mode == COHORT_REDUCER_SHARED)
        cohort_reducer_shared_close(reducer);
    else
        cohort_reducer_mpi_close(reducer);
    cohort_free(reducer);
}

float *cohort_reducer_grads(cohort_reducer *reducer)
{
    return reducer->vector + COHORT_REDUCER_EXTRAS;
}

float *cohort_reducer_extras(cohort_reducer *reducer)
{
    return reducer->vector;
}

static void advance(cohort_reducer *reducer)
{
    if (reducer->status != COHORT_OK)
        return;
    reducer->status = reducer->mode == COHORT_REDUCER_SHARED
                          ? cohort_reducer_shared_advance(reducer)
                          : cohort_reducer_mpi_advance(reducer);
    if (reducer->status != COHORT_OK) /* kept for finish */
        snprintf(reducer->message, sizeof reducer->message, "%s", cohort_error_message());
}

void cohort_reducer_begin(cohort_reducer *reducer)
{
    reducer->ready = reducer->started = reducer->done = 0;
    reducer->status = COHORT_OK;
}

void cohort_reducer_ready(cohort_reducer *reducer, size_t offset)
{
    if (reducer->comm->size == 1 || reducer->comm->is_broken)
        return;
    /* All but the last bucket, which has the extras, can be complete. */
    while (reducer->ready + 1 < reducer->bucket_count &&
           cohort_reducer_bucket(reducer, reducer->ready).begin >= COHORT_REDUCER_EXTRAS + offset)
        reducer->ready++;
    if (reducer->ready > 0)
        advance(reducer);
}

static bool is_over(const cohort_reducer *reducer)
{
    return reducer->done == reducer->bucket_count &&
           (reducer->mode == COHORT_REDUCER_MPI || cohort_reducer_shared_is_over(reducer));
}

static cohort_status complete(cohort_reducer *reducer)
{
    COHORT_TRY(cohort_comm_enter(reducer->comm, COHORT_SCOPE_ALL));
    cohort_waiter waiter =
        cohort_waiter_make(reducer->comm, COHORT_SCOPE_ALL, "the gradient sum", reducer->timeout);
    reducer->ready = reducer->bucket_count;
    for (;;) {
        advance(reducer);
        if (reducer->status != COHORT_OK)
            return COHORT_FAIL(reducer->status, "%s", reducer->message);
        if (is_over(reducer))
            break;
        COHORT_TRY(cohort_waiter_poll(&waiter));
    }
    reducer->step++;
    return COHORT_OK;
}

cohort_status cohort_reducer_finish(cohort_reducer *reducer)
{
    if (reducer->comm->size == 1)
        return COHORT_OK;
    double start = cohort_clock_seconds();
    cohort_status status = complete(reducer);
    reducer->waited += cohort_clock_seconds() - start;
    return status;
}

double cohort_reducer_take_wait_seconds(cohort_reducer *reducer)
{
    double waited = reducer->waited;
    reducer->waited = 0;
    return waited;
}

const char *cohort_reducer_describe(const cohort_reducer *reducer)
{
    return reducer->text;
}
