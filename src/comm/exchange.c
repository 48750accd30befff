#include "comm/exchange.h"

#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "comm/tree.h"

enum { LINE = 16 /* floats */ };

/* The part of range INDEX that rank PEER sums. */
static cohort_slice part_of(const cohort_exchange *exchange, size_t index, size_t peer)
{
    cohort_slice range = exchange->ranges[index];
    size_t lines = (range.end - range.begin) / LINE;
    return (cohort_slice){range.begin + LINE * cohort_part_begin(lines, peer, exchange->size),
                          range.begin + LINE * cohort_part_begin(lines, peer + 1, exchange->size)};
}

/* Rank PEER's contribution to our part of range INDEX. */
static float *contribution(const cohort_exchange *exchange, size_t index, size_t peer)
{
    cohort_slice own = part_of(exchange, index, exchange->rank);
    return exchange->received + exchange->received_at[index] + peer * (own.end - own.begin);
}

static MPI_Request *requests_of(const cohort_exchange *exchange, size_t index)
{
    return exchange->requests + index * 2 * exchange->size;
}

cohort_status cohort_exchange_place(cohort_exchange *exchange, const cohort_slice *ranges,
                                    size_t range_count)
{
    exchange->ranges = ranges;
    exchange->range_count = range_count;
    if (exchange->peers == MPI_COMM_NULL)
        return COHORT_OK;
    cohort_free(exchange->received_at);
    cohort_free(exchange->received);
    cohort_free(exchange->requests);
    exchange->received = NULL;
    exchange->requests = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&exchange->received_at, range_count));
    size_t total = 0;
    for (size_t i = 0; i < range_count; i++) {
        cohort_slice own = part_of(exchange, i, exchange->rank);
        exchange->received_at[i] = total;
        total += exchange->size * (own.end - own.begin);
    }
    COHORT_TRY(COHORT_ALLOCATE(&exchange->received, total));
    COHORT_TRY(COHORT_ALLOCATE(&exchange->requests, range_count * 2 * exchange->size));
    for (size_t i = 0; i < range_count * 2 * exchange->size; i++)
        exchange->requests[i] = MPI_REQUEST_NULL;
    return COHORT_OK;
}

cohort_status cohort_exchange_open(cohort_exchange *exchange, cohort_comm *comm, MPI_Comm peers,
                                   float *values, const cohort_slice *ranges, size_t range_count)
{
    int size, rank;
    *exchange = (cohort_exchange){.comm = comm, .peers = peers, .values = values};
    if (peers != MPI_COMM_NULL) {
        MPI_Comm_set_errhandler(peers, MPI_ERRORS_RETURN);
        MPI_Comm_size(peers, &size);
        MPI_Comm_rank(peers, &rank);
        exchange->size = (size_t)size;
        exchange->rank = (size_t)rank;
        COHORT_TRY(COHORT_ALLOCATE(&exchange->sources, exchange->size));
    }
    return cohort_exchange_place(exchange, ranges, range_count);
}

void cohort_exchange_close(cohort_exchange *exchange)
{
    /* Once broken, MPI may still write to what it was given to receive into. */
    if (exchange->comm && !exchange->comm->is_broken) {
        if (exchange->peers != MPI_COMM_NULL)
            MPI_Comm_free(&exchange->peers);
        cohort_free(exchange->received);
        cohort_free(exchange->requests);
    }
    cohort_free(exchange->sources);
    cohort_free(exchange->received_at);
    *exchange = (cohort_exchange){.peers = MPI_COMM_NULL};
}

void cohort_exchange_begin(cohort_exchange *exchange)
{
    exchange->started = exchange->summed = exchange->done = 0;
}

/* Posts one message per peer: RECEIVE into and send from the given places. Tags tell
 * ranges and the two rounds apart; messages of one pair and tag do not overtake. */
static cohort_status post(cohort_exchange *exchange, size_t index, bool is_second)
{
    MPI_Request *requests = requests_of(exchange, index);
    cohort_slice own = part_of(exchange, index, exchange->rank);
    int tag = (int)(2 * index) + is_second;
    for (size_t step = 1; step < exchange->size; step++) {
        /* Everyone begins with another peer, so that none is flooded. */
        size_t peer = (exchange->rank + step) % exchange->size;
        cohort_slice theirs = part_of(exchange, index, peer);
        cohort_slice in = is_second ? theirs : own, out = is_second ? own : theirs;
        float *into = is_second ? exchange->values + in.begin : contribution(exchange, index, peer);
        if (in.end > in.begin)
            COHORT_TRY(
                cohort_comm_check(exchange->comm,
                                  MPI_Irecv(into, (int)(in.end - in.begin), MPI_FLOAT, (int)peer,
                                            tag, exchange->peers, &requests[peer]),
                                  "the gradient sum"));
        if (out.end > out.begin)
            COHORT_TRY(cohort_comm_check(
                exchange->comm,
                MPI_Isend(exchange->values + out.begin, (int)(out.end - out.begin), MPI_FLOAT,
                          (int)peer, tag, exchange->peers, &requests[exchange->size + peer]),
                "the gradient sum"));
        exchange->bytes_sent += (out.end - out.begin) * sizeof(float);
    }
    return COHORT_OK;
}

cohort_status cohort_exchange_start(cohort_exchange *exchange)
{
    if (exchange->peers != MPI_COMM_NULL)
        COHORT_TRY(post(exchange, exchange->started, false));
    exchange->started++;
    return COHORT_OK;
}

/* Adds all contributions to our part of range INDEX, in tree order. */
static void sum_part(const cohort_exchange *exchange, size_t index)
{
    cohort_slice own = part_of(exchange, index, exchange->rank);
    size_t count = own.end - own.begin;
    for (size_t peer = 0; peer < exchange->size; peer++)
        exchange->sources[peer] = peer == exchange->rank ? exchange->values + own.begin
                                                         : contribution(exchange, index, peer);
    for (size_t at = 0; at < count; at += COHORT_TREE_BLOCK)
        cohort_tree_sum(exchange->values + own.begin + at, exchange->sources, exchange->size, at,
                        count - at < COHORT_TREE_BLOCK ? count - at : COHORT_TREE_BLOCK);
}

static cohort_status is_complete(bool *complete, const cohort_exchange *exchange, size_t index)
{
    int is_done = 0;
    COHORT_TRY(
        cohort_comm_check(exchange->comm,
                          MPI_Testall((int)(2 * exchange->size), requests_of(exchange, index),
                                      &is_done, MPI_STATUSES_IGNORE),
                          "the gradient sum"));
    *complete = is_done;
    return COHORT_OK;
}

cohort_status cohort_exchange_advance(cohort_exchange *exchange)
{
    if (exchange->peers == MPI_COMM_NULL) {
        exchange->done = exchange->summed = exchange->started;
        return COHORT_OK;
    }
    bool complete = true;
    while (exchange->summed < exchange->started) {
        COHORT_TRY(is_complete(&complete, exchange, exchange->summed));
        if (!complete)
            break;
        sum_part(exchange, exchange->summed);
        COHORT_TRY(post(exchange, exchange->summed, true));
        exchange->summed++;
    }
    while (exchange->done < exchange->summed) {
        COHORT_TRY(is_complete(&complete, exchange, exchange->done));
        if (!complete)
            break;
        exchange->done++;
    }
    return COHORT_OK;
}
