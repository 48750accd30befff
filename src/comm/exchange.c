#include "comm/exchange.h"

#include <limits.h>
#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "comm/pack.h"
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

/* Floats of the largest part of range INDEX. */
static size_t largest_part(const cohort_exchange *exchange, size_t index)
{
    const cohort_slice range = exchange->ranges[index];
    const size_t lines = (range.end - range.begin) / LINE;
    return LINE * ((lines + exchange->size - 1) / exchange->size);
}

/* Bytes of room for a message of range INDEX. */
static size_t message_room(const cohort_exchange *exchange, size_t index)
{
    const size_t floats = largest_part(exchange, index);
    return exchange->is_packed ? cohort_size_align(cohort_pack_bound(floats), LINE * sizeof(float))
                               : floats * sizeof(float);
}

/* The place of rank PEER's message of range INDEX in MEMORY, `received` or `sent`. */
static char *place_of(const cohort_exchange *exchange, char *memory, size_t index, size_t peer)
{
    return memory + exchange->messages_at[index] + peer * message_room(exchange, index);
}

static MPI_Request *requests_of(const cohort_exchange *exchange, size_t index)
{
    return exchange->requests + index * 2 * exchange->size;
}

static void free_messages(cohort_exchange *exchange)
{
    cohort_free(exchange->received);
    cohort_free(exchange->sent);
    cohort_free(exchange->requests);
    exchange->received = exchange->sent = NULL;
    exchange->requests = NULL;
}

cohort_status cohort_exchange_place(cohort_exchange *exchange, const cohort_slice *ranges,
                                    size_t range_count, bool is_packed)
{
    exchange->ranges = ranges;
    exchange->range_count = range_count;
    exchange->is_packed = is_packed;
    if (exchange->peers == MPI_COMM_NULL)
        return COHORT_OK;
    free_messages(exchange);
    cohort_free(exchange->messages_at);
    cohort_free(exchange->unpacked);
    exchange->unpacked = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&exchange->messages_at, range_count));
    /* MPI counts by int: bytes here, else floats. Equal on all peers. */
    for (size_t i = 0; i < range_count; i++)
        exchange->is_packed &= cohort_pack_bound(largest_part(exchange, i)) <= INT_MAX;
    size_t total = 0, largest = 0;
    for (size_t i = 0; i < range_count; i++) {
        const size_t floats = largest_part(exchange, i);
        exchange->messages_at[i] = total;
        total += exchange->size * message_room(exchange, i);
        largest = floats > largest ? floats : largest;
    }
    COHORT_TRY(COHORT_ALLOCATE(&exchange->received, total));
    if (exchange->is_packed) {
        COHORT_TRY(COHORT_ALLOCATE(&exchange->sent, total));
        COHORT_TRY(COHORT_ALLOCATE(&exchange->unpacked, exchange->size * largest));
    }
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
    return cohort_exchange_place(exchange, ranges, range_count, false);
}

void cohort_exchange_close(cohort_exchange *exchange)
{
    /* Once broken, MPI may still write to what it was given to receive into. */
    if (exchange->comm && !exchange->comm->is_broken) {
        if (exchange->peers != MPI_COMM_NULL)
            MPI_Comm_free(&exchange->peers);
        free_messages(exchange);
    }
    cohort_free(exchange->sources);
    cohort_free(exchange->messages_at);
    cohort_free(exchange->unpacked);
    *exchange = (cohort_exchange){.peers = MPI_COMM_NULL};
}

void cohort_exchange_begin(cohort_exchange *exchange)
{
    exchange->started = exchange->summed = exchange->done = 0;
}

/* What lies in memory and travels: floats of the vector, or bytes. */
typedef struct message {
    void *at;
    int count;
    MPI_Datatype type;
} message;

/* What is received from PEER: its contribution to our part, or (SECOND) the sum of its own. */
static message message_from(const cohort_exchange *exchange, size_t index, size_t peer,
                            bool is_second)
{
    const cohort_slice part = part_of(exchange, index, is_second ? peer : exchange->rank);
    const size_t floats = part.end - part.begin;
    char *const memory = is_second ? exchange->sent : exchange->received;
    if (exchange->is_packed)
        return (message){place_of(exchange, memory, index, peer),
                         (int)(floats ? cohort_pack_bound(floats) : 0), MPI_BYTE};
    if (is_second)
        return (message){exchange->values + part.begin, (int)floats, MPI_FLOAT};
    return (message){place_of(exchange, memory, index, peer), (int)floats, MPI_FLOAT};
}

/* What is sent to PEER: our contribution to its part, or (SECOND) the sum of our own, which
 * PACKED bytes are packed of already. */
static message message_to(const cohort_exchange *exchange, size_t index, size_t peer,
                          bool is_second, size_t packed)
{
    const cohort_slice part = part_of(exchange, index, is_second ? exchange->rank : peer);
    float *const values = exchange->values + part.begin;
    const size_t floats = part.end - part.begin;
    if (!exchange->is_packed)
        return (message){values, (int)floats, MPI_FLOAT};
    if (is_second)
        return (message){place_of(exchange, exchange->received, index, exchange->rank), (int)packed,
                         MPI_BYTE};
    char *const to = place_of(exchange, exchange->sent, index, peer);
    return (message){to, (int)cohort_pack((uint8_t *)to, values, floats), MPI_BYTE};
}

/* Posts one message per peer. Tags tell ranges and the two rounds apart; messages of one pair and
 * tag do not overtake. */
static cohort_status post(cohort_exchange *exchange, size_t index, bool is_second)
{
    MPI_Request *requests = requests_of(exchange, index);
    const int tag = (int)(2 * index) + is_second;
    size_t packed = 0;
    if (exchange->is_packed && is_second) {
        const cohort_slice own = part_of(exchange, index, exchange->rank);
        char *const to = place_of(exchange, exchange->received, index, exchange->rank);
        packed = cohort_pack((uint8_t *)to, exchange->values + own.begin, own.end - own.begin);
    }
    for (size_t step = 1; step < exchange->size; step++) {
        /* Everyone begins with another peer, so that none is flooded. */
        const size_t peer = (exchange->rank + step) % exchange->size;
        const message in = message_from(exchange, index, peer, is_second);
        if (in.count > 0)
            COHORT_TRY(cohort_comm_check(exchange->comm,
                                         MPI_Irecv(in.at, in.count, in.type, (int)peer, tag,
                                                   exchange->peers, &requests[peer]),
                                         "the gradient sum"));
        const message out = message_to(exchange, index, peer, is_second, packed);
        if (out.count > 0)
            COHORT_TRY(
                cohort_comm_check(exchange->comm,
                                  MPI_Isend(out.at, out.count, out.type, (int)peer, tag,
                                            exchange->peers, &requests[exchange->size + peer]),
                                  "the gradient sum"));
        exchange->bytes_sent +=
            (size_t)out.count * (out.type == MPI_BYTE ? sizeof(char) : sizeof(float));
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
    const cohort_slice own = part_of(exchange, index, exchange->rank);
    const size_t count = own.end - own.begin;
    for (size_t peer = 0; peer < exchange->size; peer++) {
        char *const came = place_of(exchange, exchange->received, index, peer);
        float **const source = &exchange->sources[peer];
        *source = peer == exchange->rank ? exchange->values + own.begin : (float *)came;
        if (!exchange->is_packed || peer == exchange->rank)
            continue;
        *source = exchange->unpacked + peer * largest_part(exchange, index);
        (void)cohort_unpack(*source, (const uint8_t *)came, count);
    }
    for (size_t at = 0; at < count; at += COHORT_TREE_BLOCK)
        cohort_tree_sum(exchange->values + own.begin + at, exchange->sources, exchange->size, at,
                        count - at < COHORT_TREE_BLOCK ? count - at : COHORT_TREE_BLOCK);
}

/* The sums that have come of the others' parts of range INDEX. */
static void take_sums(const cohort_exchange *exchange, size_t index)
{
    for (size_t peer = 0; exchange->is_packed && peer < exchange->size; peer++) {
        const cohort_slice theirs = part_of(exchange, index, peer);
        if (peer != exchange->rank)
            (void)cohort_unpack(exchange->values + theirs.begin,
                                (uint8_t *)place_of(exchange, exchange->sent, index, peer),
                                theirs.end - theirs.begin);
    }
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
        take_sums(exchange, exchange->done);
        exchange->done++;
    }
    return COHORT_OK;
}
