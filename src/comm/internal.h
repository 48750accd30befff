/* What the files of this room share. */
#ifndef COHORT_COMM_INTERNAL_H
#define COHORT_COMM_INTERNAL_H

#include <mpi.h>
#include <stdatomic.h>

#include "comm/comm.h"
#include "comm/lookout.h"

enum {
    COHORT_HOST_BYTES = 64,
    COHORT_PHASE_BYTES = 88,
    COHORT_PHASE_WORDS = COHORT_PHASE_BYTES / 8,
    COHORT_MESSAGE_BYTES = 1024,
    COHORT_STAGE_BYTES = 1 << 20
};

/* What a rank says about itself to the ranks of its node, in shared memory: three cache
 * lines. Atomics on these types are lock-free and so work between processes. */
typedef struct cohort_presence {
    _Alignas(64) _Atomic uint64_t sequence; /* collectives entered, over all ranks */
    _Atomic uint64_t node_sequence;         /* collectives entered, over the node */
    _Atomic uint64_t version;               /* of `phase`; odd while it is written */
    _Atomic uint32_t pid, pid_space;        /* process number, and in which namespace (inode) */
    _Atomic uint32_t speaker;               /* node rank 0's alone: 1 + who reports a failure */
    _Atomic uint32_t leaving;               /* COHORT_REGROUPS, COHORT_OVER */
    _Atomic uint64_t born; /* when the process started: numbers of processes are reused */
    _Atomic uint64_t phase[COHORT_PHASE_WORDS]; /* text, what the rank is doing */
} cohort_presence;
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_LONG_LOCK_FREE == 2,
               "presence is shared between processes: atomics must be lock-free");

/* A presence as sent between nodes. */
typedef struct cohort_report {
    int32_t rank;
    int16_t answered;   /* the rank itself answered or its node told */
    int16_t is_stopped; /* by a signal */
    uint64_t sequence;
    char phase[COHORT_PHASE_BYTES];
} cohort_report;

/* What `leaving` says: this rank's collectives are over. */
enum { COHORT_REGROUPS = 1, COHORT_OVER = 2 };

typedef enum cohort_scope { COHORT_SCOPE_ALL, COHORT_SCOPE_NODE } cohort_scope;

struct cohort_comm {
    int rank, size;
    int node_rank, node_size, node_index, node_count;
    bool started_mpi;  /* by us: we finalise */
    bool crowded;      /* more ranks than cores on this node */
    bool sees_pids;    /* /proc shows the other ranks of the node */
    bool is_abandoned; /* nobody waits for anybody any more */
    bool is_broken;    /* a collective timed out or failed: none may follow */
    bool speaks;       /* once broken: of this node, this rank reports it */
    int first_arrived; /* lowest rank that waited, once broken */
    double timeout;
    bool (*stop)(void *context); /* see cohort_comm_set_stop */
    void *stop_context;
    size_t chunk_bytes; /* one MPI call moves at most this much: its counts are ints */
    MPI_Comm world, node;
    MPI_Comm control;                 /* questions and answers between nodes; null on one node */
    MPI_Op max;                       /* maximum that keeps NaN */
    int *node_of;                     /* [size] node index */
    int *node_ranks;                  /* [node_size] ranks, ascending */
    char (*hosts)[COHORT_HOST_BYTES]; /* [size] */
    cohort_shared *board_memory;
    cohort_presence *board; /* [node_size]; NULL while opening and with one rank */
    uint64_t sequence, node_sequence;
    cohort_report *answer, *reports; /* [node_size] being sent, [size] received */
    MPI_Request answer_request;
    char failure[COHORT_MESSAGE_BYTES]; /* why it is broken */
    cohort_comm *whole;                 /* which this one is a part of; breaks with it */
    bool timed_out;                     /* because somebody did not arrive in time */
    /* Going on without lost ranks (regroup.c). */
    MPI_Comm lifeline;  /* point-to-point between all who ever were; null: not prepared for loss */
    int *lifeline_rank; /* [size] of today's ranks */
    int generation;     /* how often it was regrouped */
    /* Every collective's data pass through here: when it is given up MPI may still write. */
    unsigned char *stage; /* [COHORT_STAGE_BYTES] */
};

/* An MPI return code as a status: COHORT_PEER with MPI's text. */
COHORT_NODISCARD cohort_status cohort_comm_check(cohort_comm *comm, int code, const char *what);

/* Begins a collective: counts it where others can see. COHORT_PEER once broken. */
COHORT_NODISCARD cohort_status cohort_comm_enter(cohort_comm *comm, cohort_scope scope);

/* Marks COMM as broken with the current error message; returns COHORT_PEER. */
cohort_status cohort_comm_break(cohort_comm *comm);

/* Waits for something another rank must do. Call poll each time it is not there yet:
 * it spins, then yields, then sleeps; answers other nodes; and fails with COHORT_PEER
 * naming the missing ranks when one died or TIMEOUT seconds (0 = for ever) are over. */
typedef struct cohort_waiter {
    cohort_comm *comm;
    const char *what; /* "broadcast", "gradient sum", … */
    cohort_scope scope;
    double timeout;
    uint64_t polls;
    double start, next_service; /* seconds; start 0 = clock not read yet */
} cohort_waiter;

cohort_waiter cohort_waiter_make(cohort_comm *comm, cohort_scope scope, const char *what,
                                 double timeout);
COHORT_NODISCARD cohort_status cohort_waiter_poll(cohort_waiter *waiter);

/* Waits for COUNT requests under the communicator's timeout. */
COHORT_NODISCARD cohort_status cohort_comm_wait(cohort_comm *comm, MPI_Request *requests, int count,
                                                cohort_scope scope, const char *what);

/* As cohort_shared_create; LIMITED = false leaves out the tests' limit on free memory. */
COHORT_NODISCARD cohort_status cohort_shared_take(cohort_shared **out, void **base,
                                                  cohort_comm *comm, size_t bytes, bool limited);

/* Before this rank ends with hosts that may be cut off: sees to it that the launcher, if it is
 * Open MPI's, ends nevertheless. Does not block; leaves a process behind for seconds. */
void cohort_launcher_release(void);

/* When process PID of this host was started, in ticks since boot; 0 if it has ended (a zombie
 * counts). */
uint64_t cohort_process_born(uint32_t pid);
/* As in /proc/PID/stat ('T' = stopped); 'X' when there is none. */
char cohort_process_state(uint32_t pid);

/* Before a call of MPI that is collective and knows no deadline: this process ends when it takes
 * longer than comm.timeout. Behind it cohort_lookout_leave. */
cohort_lookout_watch cohort_comm_enter_mpi(const cohort_comm *comm, const char *doing);
/* Whether the process of this node's rank has ended. */
bool cohort_presence_is_dead(cohort_presence *presence);

/* Makes COMM's innards over PARENT's ranks (over this rank alone: NULL). Collective. */
COHORT_NODISCARD cohort_status cohort_comm_build(cohort_comm *comm, const MPI_Comm *parent);
/* Whether a rank of COMM has begun to regroup and waits for the others. */
bool cohort_comm_regroup_is_asked(cohort_comm *comm);

#endif
