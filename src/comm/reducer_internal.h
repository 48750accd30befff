/* The reducer's parts: what is common (reducer.c) and the two ways to sum. */
#ifndef COHORT_COMM_REDUCER_INTERNAL_H
#define COHORT_COMM_REDUCER_INTERNAL_H

#include "comm/exchange.h"
#include "comm/reducer.h"

/* Of a rank, in the window, on lines of its own. They only grow. */
typedef struct cohort_reducer_flags {
    _Alignas(128) _Atomic uint64_t ready; /* buckets whose gradients are written, all steps
                                           * since they were cut */
    _Atomic uint64_t listed;              /* tables of which its part of the union is written */
    _Atomic uint64_t finished;            /* steps in which its slices are summed */
    _Atomic uint64_t met;                 /* calls of meet */
} cohort_reducer_flags;

/* Which ranks sum through memory, which by messages. */
typedef struct cohort_layout {
    size_t local_count, local_rank; /* ranks that share this rank's window */
    size_t far_count;               /* windows */
    size_t owners;                  /* ranks of a window that sum: the fewest of any */
} cohort_layout;

/* A range of the vector that is summed at once. */
typedef struct cohort_bucket {
    cohort_slice range;
    size_t table;   /* the table it is, by rows; SIZE_MAX: summed whole */
    bool is_sliced; /* the sum stays with its owners */
} cohort_bucket;

/* The sum of a table by rows, see reducer_rows.c. */
typedef enum cohort_rows_stage {
    COHORT_ROWS_WAITING, /* for ranks of this node */
    COHORT_ROWS_LISTING, /* for the marks of other nodes */
    COHORT_ROWS_MEETING, /* for the marks that other ranks of this node receive */
    COHORT_ROWS_SUMMING, /* for the values of other nodes */
    COHORT_ROWS_DONE
} cohort_rows_stage;

typedef struct cohort_rows_sum {
    const cohort_table *table;
    size_t begin; /* of the table in the vector */
    size_t words;
    cohort_rows_stage stage;
    uint64_t *united; /* [words] what any rank has marked; several nodes: in the window */
    size_t from, to;  /* the rows this rank sums */
    /* Several nodes alone. */
    cohort_slice own_words; /* whose union this rank makes */
    uint64_t *lists;        /* [far_count][words of own_words] received */
    MPI_Request *requests;  /* [2 far_count] of lists */
    float *packed;          /* the rows this rank sums, one after the other */
    cohort_slice range;     /* of `packed` */
    cohort_exchange exchange;
} cohort_rows_sum;

/* The vector is cut into buckets from its tail; the last one has the extras. */
struct cohort_reducer {
    cohort_comm *comm;
    cohort_reducer_mode mode; /* SHARED or MPI (also for one rank) */
    double timeout;
    float *vector;        /* [length], extras first */
    size_t length;        /* floats, a multiple of 16 */
    cohort_tables tables; /* a copy */
    size_t words;         /* of their marks */
    uint64_t *marks;      /* [words] this rank's */
    cohort_bucket *buckets;
    size_t slice_unit; /* 0: no bucket is sliced */
    void (*summed)(void *context, size_t begin, size_t end);
    void *summed_context;
    size_t bucket_length, bucket_count;
    bool is_late;   /* nothing is summed before finish */
    bool is_packed; /* messages are */
    /* The step. Buckets [0, ready) are complete here; [0, started) are given to MPI or
     * summed inside the node; [0, done) hold their result. */
    size_t ready, started, done;
    cohort_status status; /* of what ready() did */
    char message[COHORT_MESSAGE_BYTES];
    double waited; /* seconds */
    cohort_reducer_work work;
    char text[160];
    void *private_memory; /* where the vector is, if not in `memory` */
    /* MPI alone. */
    MPI_Comm peers;
    MPI_Request *requests; /* [bucket_count + 1] the last one for the marks */
    /* SHARED alone. */
    cohort_layout layout;
    cohort_shared *memory;
    cohort_reducer_flags *flags; /* [local_count] */
    float **replicas;            /* [local_count] every rank's vector */
    uint64_t **all_marks;        /* [local_count] every rank's marks */
    uint64_t *united;            /* [words] */
    cohort_slice *slices;        /* [whole_count] what this rank sums of buckets without rows */
    bool *is_sliced;             /* [whole_count] of which buckets those are */
    size_t whole_count;
    float *sums; /* [length] between nodes; the vector itself if alone */
    cohort_exchange exchange;
    size_t whole, received; /* whole buckets that are started; that hold their result */
    cohort_rows_sum *rows;  /* [tables.count] */
    size_t summed_rows;     /* tables that hold their result */
    uint64_t step, meetings;
    uint64_t cut_step; /* the first with the buckets that there are now */
};

/* Cuts the vector into buckets of about so many bytes; 0: as fits. Rank-local. */
COHORT_NODISCARD cohort_status cohort_reducer_cut(cohort_reducer *reducer, size_t bucket_bytes);
/* Says what runs now, for cohort_reducer_describe. */
void cohort_reducer_note(cohort_reducer *reducer);

/* Each starts what [0, ready) allows and moves what is under way; never blocks. */
COHORT_NODISCARD cohort_status cohort_reducer_mpi_advance(cohort_reducer *reducer);
COHORT_NODISCARD cohort_status cohort_reducer_shared_advance(cohort_reducer *reducer);
/* All is summed; in shared memory also: every rank of the node has finished the step, its
 * vector is ours again. */
bool cohort_reducer_mpi_is_over(const cohort_reducer *reducer);
bool cohort_reducer_shared_is_over(const cohort_reducer *reducer);

/* The buckets are cut already. Collective; the same status on all ranks, COHORT_MEMORY
 * when memory is short on any of them. */
COHORT_NODISCARD cohort_status cohort_reducer_mpi_open(cohort_reducer *reducer);
COHORT_NODISCARD cohort_status cohort_reducer_shared_open(cohort_reducer *reducer);
/* After the buckets were cut anew. Collective; the same status on all ranks. */
COHORT_NODISCARD cohort_status cohort_reducer_shared_cut(cohort_reducer *reducer);
/* Replaces COUNT floats from AT on by their sum in all REPLICAS. */
void cohort_reducer_sum_in_place(float *const *replicas, size_t replica_count, size_t at,
                                 size_t count);
/* Copies them from SUM instead. */
void cohort_reducer_spread(float *const *replicas, size_t replica_count, size_t at,
                           const float *sum, size_t count);

/* Tables by rows: to prepare (not agreed), begin a step, begin the sum of table INDEX once the
 * ranks of the node have written it, move what is under way, end a step, give back. */
COHORT_NODISCARD cohort_status cohort_reducer_rows_open(cohort_reducer *reducer);
/* Packs the messages of table INDEX from now on, if the reducer's are. Not agreed. */
COHORT_NODISCARD cohort_status cohort_reducer_rows_pack(cohort_reducer *reducer, size_t index);
void cohort_reducer_rows_begin(cohort_reducer *reducer);
COHORT_NODISCARD cohort_status cohort_reducer_rows_start(cohort_reducer *reducer, size_t index);
COHORT_NODISCARD cohort_status cohort_reducer_rows_advance(cohort_reducer *reducer);
void cohort_reducer_rows_end(cohort_reducer *reducer);
void cohort_reducer_rows_close(cohort_reducer *reducer);

/* Gives all back that the two took, also after they failed. Collective. */
void cohort_reducer_mpi_close(cohort_reducer *reducer);
void cohort_reducer_shared_close(cohort_reducer *reducer);

#endif
