#include "comm/reducer.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/shape.h"
#include "comm/reducer_internal.h"

enum { LINE = 16 /* floats */ };
static const size_t DEFAULT_BUCKET_BYTES = (size_t)1 << 20;
static const size_t MOST_BUCKET_BYTES = (size_t)1 << 29; /* of one MPI call; twice in the last */

cohort_slice cohort_reducer_bucket(const cohort_reducer *reducer, size_t index)
{
    size_t end = reducer->length - index * reducer->bucket_length;
    bool is_last = index + 1 == reducer->bucket_count;
    return (cohort_slice){is_last ? 0 : end - reducer->bucket_length, end};
}

void cohort_reducer_note(cohort_reducer *reducer, cohort_status status)
{
    if (status == COHORT_OK || reducer->status != COHORT_OK)
        return;
    reducer->status = status;
    snprintf(reducer->message, sizeof reducer->message, "%s", cohort_error_message());
}

/* The last bucket takes what is over, so that none is tiny. */
static cohort_status cut_buckets(cohort_reducer *reducer, size_t bucket_bytes)
{
    if (bucket_bytes == 0)
        bucket_bytes = DEFAULT_BUCKET_BYTES;
    if (bucket_bytes > MOST_BUCKET_BYTES)
        bucket_bytes = MOST_BUCKET_BYTES;
    reducer->bucket_length = cohort_size_align(bucket_bytes / sizeof(float) + 1, LINE);
    reducer->bucket_count = reducer->length / reducer->bucket_length;
    if (reducer->bucket_count == 0)
        reducer->bucket_count = 1;
    COHORT_TRY(COHORT_ALLOCATE(&reducer->requests, reducer->bucket_count));
    for (size_t i = 0; i < reducer->bucket_count; i++)
        reducer->requests[i] = MPI_REQUEST_NULL;
    return COHORT_OK;
}

static void describe(cohort_reducer *reducer)
{
    const cohort_comm *comm = reducer->comm;
    size_t kib = reducer->bucket_length * sizeof(float) / 1024;
    char buckets[48];
    if (reducer->bucket_count == 1)
        snprintf(buckets, sizeof buckets, "1 bucket");
    else if (kib >= 1024)
        snprintf(buckets, sizeof buckets, "%zu buckets of %.3g MiB", reducer->bucket_count,
                 (double)kib / 1024);
    else
        snprintf(buckets, sizeof buckets, "%zu buckets of %zu KiB", reducer->bucket_count, kib);
    if (comm->size == 1)
        snprintf(reducer->text, sizeof reducer->text, "1 rank");
    else if (reducer->mode == COHORT_REDUCER_MPI)
        snprintf(reducer->text, sizeof reducer->text, "MPI_Iallreduce, %d ranks, %s", comm->size,
                 buckets);
    else if (comm->node_count == 1)
        snprintf(reducer->text, sizeof reducer->text, "shared memory, %d ranks, %s", comm->size,
                 buckets);
    else
        snprintf(reducer->text, sizeof reducer->text,
                 "shared memory on %d nodes, MPI between them, %d ranks, %s", comm->node_count,
                 comm->size, buckets);
}

/* Shared memory where some node has several ranks and all windows can be had. */
static cohort_status open_mode(cohort_reducer *reducer, cohort_reducer_mode wanted)
{
    const cohort_comm *comm = reducer->comm;
    reducer->mode = COHORT_REDUCER_MPI;
    if (wanted != COHORT_REDUCER_MPI && comm->node_count < comm->size) {
        cohort_status status = cohort_reducer_shared_open(reducer);
        if (status == COHORT_OK)
            reducer->mode = COHORT_REDUCER_SHARED;
        if (status == COHORT_OK || status != COHORT_MEMORY)
            return status;
        cohort_error_clear();
        cohort_reducer_shared_close(reducer);
    }
    return cohort_reducer_mpi_open(reducer);
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
    if (status == COHORT_OK) {
        reducer->comm = comm;
        reducer->timeout = config->timeout;
        reducer->peers = MPI_COMM_NULL;
        reducer->length = cohort_size_align(COHORT_REDUCER_EXTRAS + count, LINE);
        status = cut_buckets(reducer, config->bucket_bytes);
    }
    status = cohort_comm_agree(comm, status);
    if (status == COHORT_OK)
        status = open_mode(reducer, config->mode);
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
    if (!reducer->memory)
        cohort_free(reducer->vector);
    cohort_reducer_shared_close(reducer);
    if (reducer->comm && !reducer->comm->is_broken && reducer->peers != MPI_COMM_NULL)
        MPI_Comm_free(&reducer->peers);
    cohort_free(reducer->requests);
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
    if (reducer->mode == COHORT_REDUCER_SHARED)
        cohort_reducer_shared_advance(reducer);
    else
        cohort_reducer_mpi_advance(reducer);
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
