/* Sums the gradient vector over ranks while backward goes on.
 *
 * The vector is [EXTRAS][count] floats: a few floats that ride along (loss sum, hits,
 * flags), then the gradients. Backward completes the tail first; ready(offset) says
 * that everything from offset on is complete; the reducer starts on each bucket as
 * soon as it is. The sum is the same, bit for bit, on every rank.
 *
 * Of tables of embeddings only the rows that some rank has used are summed and sent. */
#ifndef COHORT_COMM_REDUCER_H
#define COHORT_COMM_REDUCER_H

#include "base/rows.h"
#include "comm/comm.h"

enum { COHORT_REDUCER_EXTRAS = 16 }; /* floats in front of the gradients: one cache line */

typedef enum cohort_reducer_mode {
    COHORT_REDUCER_AUTO,    /* as SHARED */
    COHORT_REDUCER_SHARED,  /* shared memory inside the node, direct messages between nodes, or
                             * between all ranks when shared memory is short; up to 256 nodes */
    COHORT_REDUCER_MPI,     /* MPI_Iallreduce per bucket: the reference, and beyond that */
    COHORT_REDUCER_MESSAGES /* as SHARED, but as if every rank were a node of its own */
} cohort_reducer_mode;

typedef struct cohort_reducer cohort_reducer;

typedef struct cohort_reducer_config {
    cohort_reducer_mode mode;
    size_t bucket_bytes;  /* 0 = fitting cache (1 MiB) or network (24 KiB a message) */
    double timeout;       /* seconds to wait for other ranks; 0 = for ever */
    cohort_tables tables; /* of which gradients touch few rows, offsets among the gradients; the
                           * same on all ranks; borrowed */
    /* Leave sums where they are made. Not 0: the ranks that share a window own slices of the
     * gradients, which begin at multiples of so many, and after finish a slice holds the sum on
     * its owner alone, elsewhere rubbish (see cohort_reducer_slice). */
    size_t slice_unit; /* a multiple of 16 */
    /* Told in finish, or before, that gradients [begin, end) of an own slice hold their sum. */
    void (*summed)(void *context, size_t begin, size_t end);
    void *summed_context;
} cohort_reducer_config;

/* *out = a reducer for COUNT gradients; it allocates the vector (in a shared window when
 * it can), zeroed, 64-byte aligned: see cohort_reducer_grads. COUNT must agree on all
 * ranks. Collective. COHORT_MEMORY when even private memory is short on a rank. */
COHORT_NODISCARD cohort_status cohort_reducer_create(cohort_reducer **out, cohort_comm *comm,
                                                     const cohort_reducer_config *config,
                                                     size_t count);
void cohort_reducer_destroy(cohort_reducer *reducer);

/* The gradients [count], written by backward, and the EXTRAS floats that ride along. */
float *cohort_reducer_grads(cohort_reducer *reducer);
float *cohort_reducer_extras(cohort_reducer *reducer);

/* The marks of the tables' rows [cohort_tables_words] (base/rows.h), none at first. Before a
 * table is said to be ready this rank's must be marked that hold anything but zeros; after finish
 * those are that any rank had marked. */
uint64_t *cohort_reducer_rows(cohort_reducer *reducer);

/* A step: begin, any number of ready(offset) with falling offsets (optional), finish.
 * After finish, grads and extras hold the sums. Extras must be written before finish.
 * ready never blocks and cannot fail; its errors surface in finish. finish fails with
 * COHORT_PEER naming the ranks that did not arrive. Collective. */
void cohort_reducer_begin(cohort_reducer *reducer);
void cohort_reducer_ready(cohort_reducer *reducer, size_t offset);
COHORT_NODISCARD cohort_status cohort_reducer_finish(cohort_reducer *reducer);

/* Seconds this rank has spent in finish (waiting and summing) since the last call of this function.
 */
double cohort_reducer_take_wait_seconds(cohort_reducer *reducer);
/* The gradients that finish leaves on one rank of the window: own slice INDEX [*begin, *end) of
 * slice_count. None where there are no windows or they were not asked for: then the sums are
 * everywhere. Equal slices have the same owner on every node. What is in no rank's slice, also
 * extras and tables, is everywhere. */
size_t cohort_reducer_slice_count(const cohort_reducer *reducer);
void cohort_reducer_slice(size_t *begin, size_t *end, const cohort_reducer *reducer, size_t index);
/* Whether sums are left where they are made. */
bool cohort_reducer_is_sliced(const cohort_reducer *reducer);
/* Waits for the ranks of the node, whose writes to shared memory are seen then; WHAT is for
 * messages. As finish, but over the node and cheaper. */
COHORT_NODISCARD cohort_status cohort_reducer_meet(cohort_reducer *reducer, const char *what);

/* What this rank has done so far in all. */
typedef struct cohort_reducer_work {
    uint64_t floats_summed; /* of the vector, by this rank */
    uint64_t bytes_sent;    /* to other nodes; not counted by MPI_Iallreduce */
} cohort_reducer_work;
cohort_reducer_work cohort_reducer_done(const cohort_reducer *reducer);

/* How a sum is cut up and when it begins: which is fastest depends on the machine, the sums have
 * the same bits in every way. */
typedef struct cohort_reducer_way {
    size_t bucket_bytes;
    bool is_late;   /* buckets are summed when backward has ended, not while it goes on */
    bool is_packed; /* messages between nodes take fewer bytes (pack.h), and time to make them */
} cohort_reducer_way;

enum { COHORT_REDUCER_WAYS = 8 };

/* Sets WAYS to those that may be worth a try here, the one that is taken first; how many. One:
 * there is nothing to choose (a single rank or bucket, MPI_Iallreduce, whose bits follow the
 * size of a bucket). The same on all ranks. */
size_t cohort_reducer_ways(cohort_reducer_way ways[COHORT_REDUCER_WAYS],
                           const cohort_reducer *reducer);
/* Takes a way that cohort_reducer_ways gave, of this run or of one like it, from the next step on.
 * Slices change. Between steps; the same on all ranks; collective. COHORT_MEMORY leaves the
 * reducer fit for cohort_reducer_destroy alone. */
COHORT_NODISCARD cohort_status cohort_reducer_choose(cohort_reducer *reducer,
                                                     cohort_reducer_way way);

/* "shared memory, 2 ranks" or "MPI_Iallreduce, 3 buckets of 1 MiB": what runs now. */
const char *cohort_reducer_describe(const cohort_reducer *reducer);

/* What one gradient sum of a length costs here. */
typedef struct cohort_reducer_timing {
    double best, median; /* seconds, of the slowest rank */
    char description[96];
} cohort_reducer_timing;

/* Times sums of COUNT floats in MODE: the vector is written anew before each, as backward
 * does. About BUDGET seconds, at least 5 repetitions. For `cohort bench`. Collective. */
COHORT_NODISCARD cohort_status cohort_reducer_measure(cohort_reducer_timing *out, cohort_comm *comm,
                                                      cohort_reducer_mode mode, size_t count,
                                                      double budget);

#endif
