/* Sums a vector over the ranks of an MPI communicator by direct messages.
 *
 * The vector is cut into ranges, and each range into one part per rank. Every rank sends
 * each other one its part of the range; who has all contributions to its part adds them
 * in rank order and sends the sum to all. That moves 2 (p - 1)/p of the vector per rank
 * and direction, the least possible, in two messages of latency; ranges are in flight
 * together. The sum is the same on all ranks, and does not depend on timing.
 *
 * Open MPI's non-blocking allreduce works in place only by recursive doubling without
 * segments and is several times slower; messages below its eager limit (64 KiB over
 * TCP) leave at once and travel while the sender computes.
 *
 * Messages may be packed (pack.h): the same sums, to the bit, in fewer bytes. */
#ifndef COHORT_COMM_EXCHANGE_H
#define COHORT_COMM_EXCHANGE_H

#include "comm/internal.h"

typedef struct cohort_slice {
    size_t begin, end; /* floats of the vector, multiples of 16 */
} cohort_slice;

typedef struct cohort_exchange {
    cohort_comm *comm;
    MPI_Comm peers; /* owned; null: this rank takes no part */
    size_t size, rank;
    float *values;              /* the vector; not owned */
    const cohort_slice *ranges; /* [range_count], the same on all ranks; not owned. What it says
                                 * at opening is the most: a range may end earlier later on */
    size_t range_count;
    bool is_packed;
    float **sources;        /* [size] scratch of the sum */
    char *received;         /* contributions of all ranks to this rank's parts; packed, also the sum
                             * that it sends */
    char *sent;             /* packed alone: what goes to each rank, and then the sum it sends */
    float *unpacked;        /* packed alone: [size] contributions to one part */
    size_t *messages_at;    /* [range_count] where those of a range begin in both */
    MPI_Request *requests;  /* [range_count][2 size] */
    size_t started, summed; /* ranges sent; ranges whose own part is summed and sent */
    size_t done;            /* ranges that hold the sum */
    uint64_t bytes_sent;    /* in all */
} cohort_exchange;

/* Collective over PEERS, which EXCHANGE takes over. Not agreed: COHORT_MEMORY may come on
 * one rank alone. */
COHORT_NODISCARD cohort_status cohort_exchange_open(cohort_exchange *exchange, cohort_comm *comm,
                                                    MPI_Comm peers, float *values,
                                                    const cohort_slice *ranges, size_t range_count);
/* Other ranges from now on, while nothing is under way; IS_PACKED: packed, but for messages of 2
 * GiB. Rank-local; the same on all ranks. */
COHORT_NODISCARD cohort_status cohort_exchange_place(cohort_exchange *exchange,
                                                     const cohort_slice *ranges, size_t range_count,
                                                     bool is_packed);
void cohort_exchange_close(cohort_exchange *exchange);
/* Before each sum. */
void cohort_exchange_begin(cohort_exchange *exchange);
/* Sends the next range, whose values must be there. Does not block. */
COHORT_NODISCARD cohort_status cohort_exchange_start(cohort_exchange *exchange);
/* Moves what is under way; `done` tells how far it is. Does not block. */
COHORT_NODISCARD cohort_status cohort_exchange_advance(cohort_exchange *exchange);

#endif
