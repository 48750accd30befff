/* The sum of a table of which each rank has touched few rows.
 *
 * A rank marks the rows it has touched. Inside a node every rank unites the marks of all and
 * sums its share of the marked rows in all vectors, in the same tree order as everything else:
 * what is left out are sums of zeros, so the result is the bits of the whole sum.
 *
 * Between nodes the ranks that sum (owners, see reducer_shared.c) first unite the marks over
 * the nodes, each a part of them, in the window; then each packs its share of the marked rows
 * and exchanges that as if it were a vector of its own. With n of N rows marked anywhere that
 * moves n/N of what the whole table would, and a bit for each row: never more than about the
 * whole. */
#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "comm/reducer_internal.h"
#include "comm/tree.h"

enum { LINE = 16, BLOCK = COHORT_TREE_BLOCK, LIST_TAG = 2 /* the exchange uses 0 and 1 */ };

static size_t own_word_count(const cohort_rows_sum *sum)
{
    return sum->own_words.end - sum->own_words.begin;
}

/* The most that this rank sums of a table, as a vector of its own. */
static cohort_slice most_rows(const cohort_reducer *reducer, const cohort_rows_sum *sum)
{
    const size_t share = sum->table->row_count / reducer->layout.owners + 1;
    return (cohort_slice){0, cohort_size_align(share * sum->table->width, LINE)};
}

/* The memory and the communicator for a table between nodes. */
static cohort_status connect(cohort_reducer *reducer, cohort_rows_sum *sum)
{
    const cohort_layout *layout = &reducer->layout;
    const bool owns = layout->local_rank < layout->owners;
    MPI_Comm peers;
    const cohort_lookout_watch before =
        cohort_comm_enter_mpi(reducer->comm, "preparing the gradient sum");
    const int made =
        MPI_Comm_split(reducer->comm->world, owns ? (int)layout->local_rank : MPI_UNDEFINED,
                       reducer->comm->rank, &peers);
    cohort_lookout_leave(before);
    COHORT_TRY(cohort_comm_check(reducer->comm, made, "preparing the gradient sum"));
    sum->range = most_rows(reducer, sum);
    cohort_status status = owns ? COHORT_ALLOCATE(&sum->packed, sum->range.end) : COHORT_OK;
    const cohort_status opened =
        cohort_exchange_open(&sum->exchange, reducer->comm, peers, sum->packed, &sum->range, 1);
    COHORT_TRY(status);
    COHORT_TRY(opened);
    if (!owns)
        return COHORT_OK;
    sum->own_words =
        (cohort_slice){cohort_part_begin(sum->words, layout->local_rank, layout->owners),
                       cohort_part_begin(sum->words, layout->local_rank + 1, layout->owners)};
    COHORT_TRY(COHORT_ALLOCATE(&sum->lists, layout->far_count * own_word_count(sum)));
    COHORT_TRY(COHORT_ALLOCATE(&sum->requests, 2 * layout->far_count));
    for (size_t i = 0; i < 2 * layout->far_count; i++)
        sum->requests[i] = MPI_REQUEST_NULL;
    return COHORT_OK;
}

cohort_status cohort_reducer_rows_open(cohort_reducer *reducer)
{
    const cohort_tables *tables = &reducer->tables;
    cohort_status mine = COHORT_ALLOCATE(&reducer->rows, tables->count);
    COHORT_TRY(cohort_comm_agree(reducer->comm, mine));
    for (size_t i = 0; i < tables->count; i++) {
        const cohort_table *table = &tables->items[i];
        reducer->rows[i] = (cohort_rows_sum){.table = table,
                                             .begin = COHORT_REDUCER_EXTRAS + table->offset,
                                             .words = cohort_rows_words(table->row_count),
                                             .united = reducer->united + table->first_word,
                                             .exchange = {.peers = MPI_COMM_NULL}};
    }
    for (size_t i = 0; i < tables->count && reducer->layout.far_count > 1; i++)
        COHORT_TRY(cohort_comm_agree(reducer->comm, connect(reducer, &reducer->rows[i])));
    return COHORT_OK;
}

cohort_status cohort_reducer_rows_pack(cohort_reducer *reducer, size_t index)
{
    cohort_rows_sum *sum = &reducer->rows[index];
    if (reducer->layout.far_count == 1 || reducer->is_packed == sum->exchange.is_packed)
        return COHORT_OK;
    sum->range = most_rows(reducer, sum);
    return cohort_exchange_place(&sum->exchange, &sum->range, 1, reducer->is_packed);
}

void cohort_reducer_rows_close(cohort_reducer *reducer)
{
    for (size_t i = 0; reducer->rows && i < reducer->tables.count; i++) {
        cohort_rows_sum *sum = &reducer->rows[i];
        cohort_exchange_close(&sum->exchange);
        cohort_free(sum->packed);
        cohort_free(sum->lists);
        cohort_free(sum->requests);
    }
    cohort_free(reducer->rows);
    reducer->rows = NULL;
}

void cohort_reducer_rows_begin(cohort_reducer *reducer)
{
    reducer->summed_rows = 0;
    for (size_t i = 0; i < reducer->tables.count; i++)
        reducer->rows[i].stage = COHORT_ROWS_WAITING;
}

/* Sets TO to the marks [begin, begin + count) of any rank of this window. */
static void unite_node(const cohort_reducer *reducer, const cohort_rows_sum *sum, uint64_t *to,
                       cohort_slice words)
{
    const size_t at = sum->table->first_word + words.begin, count = words.end - words.begin;
    memcpy(to, reducer->all_marks[0] + at, count * sizeof *to);
    for (size_t r = 1; r < reducer->layout.local_count; r++)
        cohort_rows_unite(to, reducer->all_marks[r] + at, count);
}

/* Deals the marked rows evenly to those that sum. */
static void choose_rows(const cohort_reducer *reducer, cohort_rows_sum *sum)
{
    const cohort_layout *layout = &reducer->layout;
    const size_t count = cohort_rows_count(sum->united, sum->words);
    const size_t first = cohort_part_begin(count, layout->local_rank, layout->owners),
                 behind = cohort_part_begin(count, layout->local_rank + 1, layout->owners);
    sum->from = cohort_rows_select(sum->united, sum->words, first);
    sum->to = behind == count ? sum->table->row_count
                              : cohort_rows_select(sum->united, sum->words, behind);
}

/* The next run of this rank's rows, as floats of the vector: [*at, *at + *count). */
static bool next_run(size_t *at, size_t *count, size_t *end_row, const cohort_rows_sum *sum)
{
    size_t begin_row;
    if (!cohort_rows_next(&begin_row, end_row, sum->united, sum->to))
        return false;
    *at = sum->begin + begin_row * sum->table->width;
    *count = (*end_row - begin_row) * sum->table->width;
    return true;
}

static void sum_in_node(cohort_reducer *reducer, cohort_rows_sum *sum)
{
    size_t at, count;
    unite_node(reducer, sum, sum->united, (cohort_slice){0, sum->words});
    choose_rows(reducer, sum);
    for (size_t row = sum->from; next_run(&at, &count, &row, sum);) {
        cohort_reducer_sum_in_place(reducer->replicas, reducer->layout.local_count, at, count);
        reducer->work.floats_summed += count;
    }
}

/* Sends this rank's part of the node's marks to its peers on the other nodes. */
static cohort_status send_lists(cohort_reducer *reducer, cohort_rows_sum *sum)
{
    const cohort_exchange *exchange = &sum->exchange;
    const size_t count = own_word_count(sum);
    uint64_t *mine = sum->lists + exchange->rank * count;
    unite_node(reducer, sum, mine, sum->own_words);
    for (size_t step = 1; step < exchange->size && count > 0; step++) {
        const size_t peer = (exchange->rank + step) % exchange->size;
        COHORT_TRY(
            cohort_comm_check(reducer->comm,
                              MPI_Irecv(sum->lists + peer * count, (int)count, MPI_UINT64_T,
                                        (int)peer, LIST_TAG, exchange->peers, &sum->requests[peer]),
                              "the gradient sum"));
        COHORT_TRY(
            cohort_comm_check(reducer->comm,
                              MPI_Isend(mine, (int)count, MPI_UINT64_T, (int)peer, LIST_TAG,
                                        exchange->peers, &sum->requests[exchange->size + peer]),
                              "the gradient sum"));
        reducer->work.bytes_sent += count * sizeof *mine;
    }
    return COHORT_OK;
}

cohort_status cohort_reducer_rows_start(cohort_reducer *reducer, size_t index)
{
    cohort_rows_sum *sum = &reducer->rows[index];
    if (reducer->layout.far_count == 1) {
        sum_in_node(reducer, sum);
    } else if (reducer->layout.local_rank < reducer->layout.owners) {
        sum->stage = COHORT_ROWS_LISTING;
        return send_lists(reducer, sum);
    }
    sum->stage = COHORT_ROWS_DONE;
    reducer->summed_rows++;
    return COHORT_OK;
}

/* Unites the lists of all nodes, once they are here, where the ranks of this one see it. */
static cohort_status take_lists(cohort_reducer *reducer, cohort_rows_sum *sum)
{
    const size_t count = own_word_count(sum);
    uint64_t *united = sum->united + sum->own_words.begin;
    int is_done = 0;
    COHORT_TRY(cohort_comm_check(
        reducer->comm,
        MPI_Testall((int)(2 * sum->exchange.size), sum->requests, &is_done, MPI_STATUSES_IGNORE),
        "the gradient sum"));
    if (!is_done)
        return COHORT_OK;
    memcpy(united, sum->lists, count * sizeof *united);
    for (size_t node = 1; node < sum->exchange.size; node++)
        cohort_rows_unite(united, sum->lists + node * count, count);
    atomic_fetch_add_explicit(&reducer->flags[reducer->layout.local_rank].listed, 1,
                              memory_order_release);
    sum->stage = COHORT_ROWS_MEETING;
    return COHORT_OK;
}

/* Once the union is whole: packs this rank's rows, summed inside the node, and sends them. */
static cohort_status pack(cohort_reducer *reducer, cohort_rows_sum *sum)
{
    const cohort_layout *layout = &reducer->layout;
    const size_t index = (size_t)(sum - reducer->rows);
    /* A rank lists its tables from the last to the first. */
    const uint64_t least = reducer->step * reducer->tables.count + (reducer->tables.count - index);
    for (size_t r = 0; r < layout->owners; r++)
        if (atomic_load_explicit(&reducer->flags[r].listed, memory_order_acquire) < least)
            return COHORT_OK;
    choose_rows(reducer, sum);
    size_t at, count, used = 0;
    for (size_t row = sum->from; next_run(&at, &count, &row, sum); used += count)
        for (size_t done = 0; done < count; done += BLOCK)
            cohort_tree_sum(sum->packed + used + done, reducer->replicas, layout->local_count,
                            at + done, count - done < BLOCK ? count - done : BLOCK);
    reducer->work.floats_summed += used;
    sum->range.end = cohort_size_align(used, LINE);
    memset(sum->packed + used, 0, (sum->range.end - used) * sizeof *sum->packed);
    cohort_exchange_begin(&sum->exchange);
    sum->stage = COHORT_ROWS_SUMMING;
    return cohort_exchange_start(&sum->exchange);
}

static cohort_status unpack(cohort_reducer *reducer, cohort_rows_sum *sum)
{
    COHORT_TRY(cohort_exchange_advance(&sum->exchange));
    if (sum->exchange.done == 0)
        return COHORT_OK;
    size_t at, count, used = 0;
    for (size_t row = sum->from; next_run(&at, &count, &row, sum); used += count)
        cohort_reducer_spread(reducer->replicas, reducer->layout.local_count, at,
                              sum->packed + used, count);
    sum->stage = COHORT_ROWS_DONE;
    reducer->summed_rows++;
    return COHORT_OK;
}

cohort_status cohort_reducer_rows_advance(cohort_reducer *reducer)
{
    bool is_listed = true; /* the tables before: their lists are counted first */
    for (size_t i = reducer->tables.count; i-- > 0;) {
        cohort_rows_sum *sum = &reducer->rows[i];
        if (sum->stage == COHORT_ROWS_LISTING && is_listed)
            COHORT_TRY(take_lists(reducer, sum));
        is_listed = is_listed && sum->stage > COHORT_ROWS_LISTING;
        if (sum->stage == COHORT_ROWS_MEETING)
            COHORT_TRY(pack(reducer, sum));
        if (sum->stage == COHORT_ROWS_SUMMING)
            COHORT_TRY(unpack(reducer, sum));
    }
    return COHORT_OK;
}

/* The union becomes this rank's marks. The others have read them, and write the union only
 * after this rank has begun the next step. */
void cohort_reducer_rows_end(cohort_reducer *reducer)
{
    if (reducer->words > 0)
        memcpy(reducer->marks, reducer->united, reducer->words * sizeof *reducer->marks);
}
