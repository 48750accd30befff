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

static void add_bucket(cohort_reducer *reducer, size_t begin, size_t end, bool is_sliced)
{
    if (end > begin)
        reducer->buckets[reducer->bucket_count++] =
            (cohort_bucket){{begin, end}, SIZE_MAX, is_sliced};
}

/* AT of the vector down to where a slice may begin. */
static size_t round_down(const cohort_reducer *reducer, size_t at)
{
    const size_t unit = reducer->slice_unit;
    if (unit == 0 || at < COHORT_REDUCER_EXTRAS)
        return at;
    return COHORT_REDUCER_EXTRAS + (at - COHORT_REDUCER_EXTRAS) / unit * unit;
}

/* Appends the buckets of [begin, end), from its tail. The first takes what is over, so that none
 * is tiny. Not the last: what it holds is complete only when backward ends, and nothing hides its
 * way over the network. */
static void cut_evenly(cohort_reducer *reducer, size_t begin, size_t end)
{
    size_t count = (end - begin) / reducer->bucket_length;
    for (count = count ? count : 1; count > 0; count--) {
        size_t from = round_down(reducer, begin + (count - 1) * reducer->bucket_length);
        from = count == 1 || from < begin ? begin : from;
        add_bucket(reducer, from, end, reducer->slice_unit > 0);
        end = from;
    }
}

/* The same where slices must begin at their multiples: what is over at the ends is not sliced. */
static void cut_range(cohort_reducer *reducer, size_t begin, size_t end)
{
    const size_t last = end == reducer->length ? end : round_down(reducer, end);
    size_t first = round_down(reducer, begin);
    if (first < begin)
        first += reducer->slice_unit;
    if (first >= last) {
        add_bucket(reducer, begin, end, false);
        return;
    }
    add_bucket(reducer, last, end, false);
    cut_evenly(reducer, first, last);
    add_bucket(reducer, begin, first, false);
}

/* The tables are apart where they are summed by rows. */
cohort_status cohort_reducer_cut(cohort_reducer *reducer, size_t bucket_bytes)
{
    const cohort_layout *layout = &reducer->layout;
    const size_t table_count = reducer->mode == COHORT_REDUCER_SHARED ? reducer->tables.count : 0;
    if (bucket_bytes == 0)
        bucket_bytes = layout->far_count == 1 || reducer->mode == COHORT_REDUCER_MPI
                           ? BUCKET_BYTES
                           : MESSAGE_BYTES * layout->owners * layout->far_count;
    if (bucket_bytes > MOST_BUCKET_BYTES)
        bucket_bytes = MOST_BUCKET_BYTES;
    if (bucket_bytes < LINE * sizeof(float))
        bucket_bytes = LINE * sizeof(float);
    reducer->bucket_length = cohort_size_align(bucket_bytes / sizeof(float), LINE);
    reducer->bucket_count = 0;
    cohort_free(reducer->buckets);
    reducer->buckets = NULL;
    /* A range between tables has one more than fit evenly, and one at each end. */
    COHORT_TRY(COHORT_ALLOCATE(&reducer->buckets,
                               reducer->length / reducer->bucket_length + 4 * table_count + 3));
    size_t end = reducer->length;
    for (size_t i = table_count; i-- > 0;) {
        const cohort_table *table = &reducer->tables.items[i];
        const size_t begin = COHORT_REDUCER_EXTRAS + table->offset;
        const size_t behind = begin + cohort_size_align(table->row_count * table->width, LINE);
        cut_range(reducer, behind, end);
        reducer->buckets[reducer->bucket_count++] = (cohort_bucket){{begin, behind}, i, false};
        end = begin;
    }
    cut_range(reducer, 0, end);
    return COHORT_OK;
}

void cohort_reducer_note(cohort_reducer *reducer)
{
    const cohort_comm *comm = reducer->comm;
    size_t kib = reducer->bucket_length * sizeof(float) / 1024;
    const bool by_rows = reducer->mode == COHORT_REDUCER_SHARED && reducer->tables.count > 0;
    const size_t whole = reducer->bucket_count - (by_rows ? reducer->tables.count : 0);
    char buckets[96], how[64] = "MPI_Iallreduce";
    int used = whole == 1 ? snprintf(buckets, sizeof buckets, "1 bucket")
                          : snprintf(buckets, sizeof buckets, "%zu buckets of %.3g %s", whole,
                                     kib >= 1024 ? (double)kib / 1024 : (double)kib,
                                     kib >= 1024 ? "MiB" : "KiB");
    if (by_rows)
        used += snprintf(buckets + used, sizeof buckets - (size_t)used, ", embeddings by rows");
    if (reducer->is_late)
        snprintf(buckets + used, sizeof buckets - (size_t)used, ", after backward");
    if (reducer->is_packed)
        snprintf(buckets + used, sizeof buckets - (size_t)used, ", packed");
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
static cohort_status try_mode(cohort_reducer *reducer, const cohort_reducer_config *config,
                              bool use_windows)
{
    COHORT_TRY(plan_layout(reducer, use_windows));
    reducer->mode = config->mode != COHORT_REDUCER_MPI && reducer->comm->size > 1 &&
                            reducer->layout.far_count <= MOST_PEERS
                        ? COHORT_REDUCER_SHARED
                        : COHORT_REDUCER_MPI;
    /* Only a window can be dealt to several ranks. */
    reducer->slice_unit =
        reducer->mode == COHORT_REDUCER_SHARED && use_windows ? config->slice_unit : 0;
    COHORT_TRY(cohort_comm_agree(reducer->comm, cohort_reducer_cut(reducer, config->bucket_bytes)));
    if (reducer->mode == COHORT_REDUCER_MPI)
        return cohort_reducer_mpi_open(reducer);
    cohort_status status = cohort_reducer_shared_open(reducer);
    if (status == COHORT_MEMORY)
        cohort_reducer_shared_close(reducer);
    return status;
}

static cohort_status copy_tables(cohort_reducer *reducer, const cohort_tables *tables)
{
    cohort_table *items = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&items, tables->count));
    for (size_t i = 0; i < tables->count; i++)
        items[i] = tables->items[i];
    reducer->tables = (cohort_tables){items, tables->count};
    reducer->words = cohort_tables_words(tables);
    return COHORT_OK;
}

static void free_reducer(cohort_reducer *reducer)
{
    if (!reducer)
        return;
    cohort_free((void *)reducer->tables.items);
    cohort_free(reducer->buckets);
    cohort_free(reducer);
}

cohort_status cohort_reducer_create(cohort_reducer **out, cohort_comm *comm,
                                    const cohort_reducer_config *config, size_t count)
{
    cohort_reducer *reducer = NULL;
    *out = NULL;
    cohort_status status = COHORT_ALLOCATE(&reducer, 1);
    if (status == COHORT_OK)
        status = copy_tables(reducer, &config->tables);
    if (status == COHORT_OK && count > SIZE_MAX / sizeof(float) / 4)
        status =
            COHORT_FAIL(COHORT_MEMORY, "a gradient of %zu floats does not fit in memory", count);
    status = cohort_comm_agree(comm, status);
    if (status != COHORT_OK) {
        free_reducer(reducer);
        return status;
    }
    reducer->comm = comm;
    reducer->timeout = config->timeout;
    reducer->summed = config->summed;
    reducer->summed_context = config->summed_context;
    reducer->peers = reducer->exchange.peers = MPI_COMM_NULL;
    reducer->length = cohort_size_align(COHORT_REDUCER_EXTRAS + count, LINE);
    bool has_windows = comm->node_count < comm->size && config->mode != COHORT_REDUCER_MESSAGES;
    status = try_mode(reducer, config, has_windows);
    if (status == COHORT_MEMORY && has_windows && reducer->mode == COHORT_REDUCER_SHARED) {
        cohort_error_clear();
        status = try_mode(reducer, config, false);
    }
    if (status != COHORT_OK) {
        cohort_reducer_destroy(reducer);
        return status;
    }
    cohort_reducer_note(reducer);
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
    free_reducer(reducer);
}

float *cohort_reducer_grads(cohort_reducer *reducer)
{
    return reducer->vector + COHORT_REDUCER_EXTRAS;
}

float *cohort_reducer_extras(cohort_reducer *reducer)
{
    return reducer->vector;
}

uint64_t *cohort_reducer_rows(cohort_reducer *reducer)
{
    return reducer->marks;
}

cohort_reducer_work cohort_reducer_done(const cohort_reducer *reducer)
{
    cohort_reducer_work work = reducer->work;
    work.bytes_sent += reducer->exchange.bytes_sent;
    for (size_t i = 0; reducer->rows && i < reducer->tables.count; i++)
        work.bytes_sent += reducer->rows[i].exchange.bytes_sent;
    return work;
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
    if (reducer->mode == COHORT_REDUCER_SHARED)
        cohort_reducer_rows_begin(reducer);
}

void cohort_reducer_ready(cohort_reducer *reducer, size_t offset)
{
    if (reducer->comm->size == 1 || reducer->comm->is_broken || reducer->is_late)
        return;
    /* All but the last bucket, which has the extras, can be complete. */
    while (reducer->ready + 1 < reducer->bucket_count &&
           reducer->buckets[reducer->ready].range.begin >= COHORT_REDUCER_EXTRAS + offset)
        reducer->ready++;
    if (reducer->ready > 0)
        advance(reducer);
}

static bool is_over(const cohort_reducer *reducer)
{
    return reducer->mode == COHORT_REDUCER_MPI ? cohort_reducer_mpi_is_over(reducer)
                                               : cohort_reducer_shared_is_over(reducer);
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
    if (reducer->mode == COHORT_REDUCER_SHARED)
        cohort_reducer_rows_end(reducer);
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

bool cohort_reducer_is_sliced(const cohort_reducer *reducer)
{
    return reducer->slice_unit > 0;
}

static cohort_status meet(cohort_reducer *reducer, const char *what)
{
    COHORT_TRY(cohort_comm_enter(reducer->comm, COHORT_SCOPE_NODE));
    cohort_waiter waiter =
        cohort_waiter_make(reducer->comm, COHORT_SCOPE_NODE, what, reducer->timeout);
    const uint64_t meeting = ++reducer->meetings;
    atomic_store_explicit(&reducer->flags[reducer->layout.local_rank].met, meeting,
                          memory_order_release);
    for (size_t r = 0; r < reducer->layout.local_count; r++)
        while (atomic_load_explicit(&reducer->flags[r].met, memory_order_acquire) < meeting)
            COHORT_TRY(cohort_waiter_poll(&waiter));
    return COHORT_OK;
}

cohort_status cohort_reducer_meet(cohort_reducer *reducer, const char *what)
{
    if (reducer->mode == COHORT_REDUCER_MPI || reducer->layout.local_count == 1)
        return COHORT_OK;
    const double start = cohort_clock_seconds();
    const cohort_status status = meet(reducer, what);
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
