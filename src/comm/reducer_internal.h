/* The reducer's parts: what is common (reducer.c) and the two ways to sum. */
#ifndef COHORT_COMM_REDUCER_INTERNAL_H
#define COHORT_COMM_REDUCER_INTERNAL_H

#include "comm/internal.h"
#include "comm/reducer.h"

/* Of a rank, in the window, on lines of its own. Both only grow. */
typedef struct cohort_reducer_flags {
    _Alignas(128) _Atomic uint64_t ready; /* buckets whose gradients are written, all steps */
    _Atomic uint64_t finished;            /* steps in which its slices are summed */
} cohort_reducer_flags;

typedef struct cohort_slice {
    size_t begin, end; /* floats of the vector */
} cohort_slice;

/* The vector is cut into buckets from its tail; the last one has the extras. */
struct cohort_reducer {
    cohort_comm *comm;
    cohort_reducer_mode mode; /* SHARED or MPI; MPI also for one rank */
    double timeout;
    float *vector; /* [length], extras first */
    size_t length; /* floats, a multiple of 16 */
    size_t bucket_length, bucket_count;
    /* The step. Buckets [0, ready) are complete here; [0, started) are given to MPI or
     * summed inside the node; [0, done) hold their result. */
    size_t ready, started, done;
    cohort_status status; /* of what ready() did */
    char message[COHORT_MESSAGE_BYTES];
    MPI_Comm peers;        /* all ranks (MPI), or those of the same place on each node (SHARED) */
    MPI_Request *requests; /* [bucket_count] */
    double waited;         /* seconds */
    char text[96];
    /* SHARED alone. */
    cohort_shared *memory;
    cohort_reducer_flags *flags; /* [node_size] */
    float **replicas;            /* [node_size] every rank's vector */
    size_t owners;               /* ranks of the node that sum: the fewest on any node */
    float *sums;                 /* [slice of each bucket] between nodes */
    uint64_t step;
};

/* Bucket INDEX as a range of the vector. */
cohort_slice cohort_reducer_bucket(const cohort_reducer *reducer, size_t index);
/* Keeps a failure for finish. */
void cohort_reducer_note(cohort_reducer *reducer, cohort_status status);

/* Each starts what [0, ready) allows and moves what is under way; never blocks. */
void cohort_reducer_mpi_advance(cohort_reducer *reducer);
void cohort_reducer_shared_advance(cohort_reducer *reducer);
/* Every rank of the node has finished the step: its vector is ours again. */
bool cohort_reducer_shared_is_over(const cohort_reducer *reducer);

COHORT_NODISCARD cohort_status cohort_reducer_mpi_open(cohort_reducer *reducer);
/* COHORT_MEMORY on all ranks when any node has too little shared memory. */
COHORT_NODISCARD cohort_status cohort_reducer_shared_open(cohort_reducer *reducer);
/* Gives its memory back, also after a failed open. Collective over the node. */
void cohort_reducer_shared_close(cohort_reducer *reducer);

#endif
