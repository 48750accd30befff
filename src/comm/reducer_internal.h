/* The reducer's parts: what is common (reducer.c) and the two ways to sum. */
#ifndef COHORT_COMM_REDUCER_INTERNAL_H
#define COHORT_COMM_REDUCER_INTERNAL_H

#include "comm/exchange.h"
#include "comm/reducer.h"

/* Of a rank, in the window, on lines of its own. Both only grow. */
typedef struct cohort_reducer_flags {
    _Alignas(128) _Atomic uint64_t ready; /* buckets whose gradients are written, all steps */
    _Atomic uint64_t finished;            /* steps in which its slices are summed */
} cohort_reducer_flags;

/* Which ranks sum through memory, which by messages. */
typedef struct cohort_layout {
    size_t local_count, local_rank; /* ranks that share this rank's window */
    size_t far_count;               /* windows */
    size_t owners;                  /* ranks of a window that sum: the fewest of any */
} cohort_layout;

/* The vector is cut into buckets from its tail; the last one has the extras. */
struct cohort_reducer {
    cohort_comm *comm;
    cohort_reducer_mode mode; /* SHARED or MPI (also for one rank) */
    double timeout;
    float *vector; /* [length], extras first */
    size_t length; /* floats, a multiple of 16 */
    size_t bucket_length, bucket_count;
    /* The step. Buckets [0, ready) are complete here; [0, started) are given to MPI or
     * summed inside the node; [0, done) hold their result. */
    size_t ready, started, done;
    cohort_status status; /* of what ready() did */
    char message[COHORT_MESSAGE_BYTES];
    double waited; /* seconds */
    char text[96];
    void *private_memory; /* where the vector is, if not in `memory` */
    /* MPI alone. */
    MPI_Comm peers;
    MPI_Request *requests; /* [bucket_count] */
    /* SHARED alone. */
    cohort_layout layout;
    cohort_shared *memory;
    cohort_reducer_flags *flags; /* [local_count] */
    float **replicas;            /* [local_count] every rank's vector */
    cohort_slice *slices;        /* [bucket_count] what this rank sums */
    float *sums;                 /* [length] between nodes; the vector itself if alone */
    cohort_exchange exchange;
    uint64_t step;
};

/* Bucket INDEX as a range of the vector. */
cohort_slice cohort_reducer_bucket(const cohort_reducer *reducer, size_t index);

/* Each starts what [0, ready) allows and moves what is under way; never blocks. */
COHORT_NODISCARD cohort_status cohort_reducer_mpi_advance(cohort_reducer *reducer);
COHORT_NODISCARD cohort_status cohort_reducer_shared_advance(cohort_reducer *reducer);
/* Every rank of the node has finished the step: its vector is ours again. */
bool cohort_reducer_shared_is_over(const cohort_reducer *reducer);

/* The buckets are cut already. Collective; the same status on all ranks, COHORT_MEMORY
 * when memory is short on any of them. */
COHORT_NODISCARD cohort_status cohort_reducer_mpi_open(cohort_reducer *reducer);
COHORT_NODISCARD cohort_status cohort_reducer_shared_open(cohort_reducer *reducer);
/* Gives all back that the two took, also after they failed. Collective. */
void cohort_reducer_mpi_close(cohort_reducer *reducer);
void cohort_reducer_shared_close(cohort_reducer *reducer);

#endif
