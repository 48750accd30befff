/* Sums the gradient vector over ranks while backward goes on.
 *
 * The vector is [EXTRAS][count] floats: a few floats that ride along (loss sum, hits,
 * flags), then the gradients. Backward completes the tail first; ready(offset) says
 * that everything from offset on is complete; the reducer starts on each bucket as
 * soon as it is. The sum is the same, bit for bit, on every rank. */
#ifndef COHORT_COMM_REDUCER_H
#define COHORT_COMM_REDUCER_H

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
    size_t bucket_bytes; /* 0 = fitting cache (1 MiB) or network (24 KiB a message) */
    double timeout;      /* seconds to wait for other ranks; 0 = for ever */
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
