/* The ranks of a job. The only room that knows MPI; with one rank no MPI call is made
 * after start, so `cohort` also runs without a launcher. */
#ifndef COHORT_COMM_COMM_H
#define COHORT_COMM_COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

typedef struct cohort_comm cohort_comm;

/* Starts MPI (unless the program has) with the thread level we need and opens the
 * world. Without a launcher (no mpirun, srun), and for a job of one rank, MPI is not
 * started at all and the communicator has one rank. Collective. Errors: COHORT_PEER;
 * COHORT_USAGE when several processes were launched but do not find each other (srun
 * without PMIx, another MPI's mpirun). MPI is called from one thread only: the one that
 * calls this room's functions. */
COHORT_NODISCARD cohort_status cohort_comm_start(cohort_comm **out);
/* Opens a communicator of the caller's: MPI_COMM is a pointer to an MPI_Comm, which is
 * duplicated; NULL is this process alone. Collective over it. */
COHORT_NODISCARD cohort_status cohort_comm_open(cohort_comm **out, const void *mpi_comm);
/* *part = those ranks of COMM that give the same COLOUR, in its order. When the part is broken so
 * is COMM: a job does not go on with some of its ranks in pieces. COMM outlives the part.
 * Collective. */
COHORT_NODISCARD cohort_status cohort_comm_split(cohort_comm **part, cohort_comm *comm, int colour);
/* Collective. Finalises MPI if cohort_comm_start started it. */
void cohort_comm_close(cohort_comm *comm);
/* Ends all ranks at once with EXIT_CODE; for `main` alone, when other ranks cannot be
 * reached. The speaker (below) goes first, so that its message is out. COMM may be NULL.
 * Does not return. */
void cohort_comm_kill(cohort_comm *comm, int exit_code) __attribute__((noreturn));
/* Before this rank ends by _exit, in any thread, since MPI is stuck: where mpirun then waits for
 * hosts that are cut off, it is made to end within seconds. */
void cohort_comm_release_launcher(void);

/* Name and version of the MPI library in one line; needs no MPI running. TEXT [BYTES]. */
void cohort_comm_library(char *text, size_t bytes);

/* This rank ends without waiting for others, who may be gone: close leaves MPI as it is (it would
 * wait in MPI_Finalize), and the program ends by _exit. */
void cohort_comm_abandon(cohort_comm *comm);
bool cohort_comm_is_abandoned(const cohort_comm *comm);

int cohort_comm_rank(const cohort_comm *comm);
int cohort_comm_size(const cohort_comm *comm);
/* Place and number of ranks on this host; host index (0-based by lowest rank) and count. */
int cohort_comm_node_rank(const cohort_comm *comm);
int cohort_comm_node_size(const cohort_comm *comm);
int cohort_comm_node_index(const cohort_comm *comm);
int cohort_comm_node_count(const cohort_comm *comm);
/* This rank's number among launched processes read from the launcher's environment,
 * before or without MPI; 0 if there is none. */
int cohort_comm_launched_rank(void);
/* The tasks of the batch job this process is in (SLURM_NTASKS); 0 if it does not say. */
int cohort_comm_job_tasks(void);

/* The host RANK runs on; owned by COMM. */
const char *cohort_comm_host(const cohort_comm *comm, int rank);
/* This node has more ranks than cores they may run on. */
bool cohort_comm_is_crowded(const cohort_comm *comm);

/* Deadlines. Every collective below waits at most SECONDS for the other ranks (default
 * 300; 0 = for ever; the same on all ranks), then fails with COHORT_PEER naming those that
 * did not arrive, their hosts and their phase. A rank of this node whose process has ended
 * is noticed within a tenth of a second. After that COMM is broken: all its collectives
 * fail at once with the same message, its memory must no longer be relied on, and the
 * program ends by cohort_comm_kill. */
void cohort_comm_set_timeout(cohort_comm *comm, double seconds);
/* Says what this rank is doing ("step 120: backward", printf-style, cut at 87 bytes), for
 * other ranks' messages. Not collective; some 0.2 us. */
void cohort_comm_set_phase(cohort_comm *comm, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Who is asked whether this rank has been told to stop, by work that may take long: reading data,
 * evaluating. NULL: nobody. */
void cohort_comm_set_stop(cohort_comm *comm, bool (*asked)(void *context), void *context);
bool cohort_comm_has_stop(const cohort_comm *comm);
/* COHORT_STOPPED when it has ("stopped by a signal while DOING"). Rank-local: to be agreed upon. */
COHORT_NODISCARD cohort_status cohort_comm_check_stop(const cohort_comm *comm, const char *doing);
bool cohort_comm_is_broken(const cohort_comm *comm);
/* For ranks that work apart for long, between collectives. Whether the processes of this node are
 * all there (some 10 us a rank); if not, COMM is broken as by a collective. Rank-local. */
COHORT_NODISCARD cohort_status cohort_comm_look(cohort_comm *comm);
/* COMM is broken, by what the current error message says. Rank-local. Returns COHORT_PEER. */
cohort_status cohort_comm_lose(cohort_comm *comm);
/* Whether this rank is the one that prints an error all ranks have: rank 0, or once COMM
 * is broken the first that noticed (one of each host; hosts of higher ranks wait a second
 * before they fail, so that the first can print and end the job). */
bool cohort_comm_is_speaker(const cohort_comm *comm);

/* Every rank gets the worst status of all (the highest-numbered; OK if all are OK) and
 * the message of the lowest rank that has it, prefixed "rank R on HOST: " when only
 * some ranks failed. Ends every fallible phase. Collective. */
COHORT_NODISCARD cohort_status cohort_comm_agree(cohort_comm *comm, cohort_status mine);

/* Every rank gets rank 0's status and message, for phases in which it alone works. MINE is
 * not looked at elsewhere. Collective. */
COHORT_NODISCARD cohort_status cohort_comm_follow(cohort_comm *comm, cohort_status mine);

/* COUNT bytes from rank ROOT to all. Chunked, any size. Collective. */
COHORT_NODISCARD cohort_status cohort_comm_broadcast(cohort_comm *comm, void *bytes, size_t count,
                                                     int root);
/* Element-wise sum (or maximum) over ranks, in place, the same bits on every rank. */
COHORT_NODISCARD cohort_status cohort_comm_sum(cohort_comm *comm, double *values, size_t count);
COHORT_NODISCARD cohort_status cohort_comm_max(cohort_comm *comm, double *values, size_t count);
/* The same for whole numbers, modulo 2^64: exact in any order. */
COHORT_NODISCARD cohort_status cohort_comm_sum_integers(cohort_comm *comm, uint64_t *values,
                                                        size_t count);
/* ALL [size][count] receives every rank's MINE [count] bytes, in rank order, on all ranks. */
COHORT_NODISCARD cohort_status cohort_comm_gather_all(cohort_comm *comm, void *all,
                                                      const void *mine, size_t count);
COHORT_NODISCARD cohort_status cohort_comm_barrier(cohort_comm *comm);

enum { COHORT_SAME_BYTES = 160 };
/* Fails with COHORT_PEER on every rank unless all pass the same text MINE (what is beyond
 * COHORT_SAME_BYTES - 1 is not looked at): the message says of WHAT ("program version") which
 * ranks and hosts have something else than rank 0, both texts, and ADVICE. Collective. */
COHORT_NODISCARD cohort_status cohort_comm_require_same(cohort_comm *comm, const char *what,
                                                        const char *mine, const char *advice);
/* Appends those r with CHOSEN[r] [size] as "rank 3" or "ranks 0, 2-5, 9"; long lists are cut
 * ("… and 7 more"). No communication. */
void cohort_comm_list_ranks(cohort_text *text, const bool *chosen, int size);

/* Memory shared by the ranks of a node (MPI-3 window). *base is the same memory on
 * each of them, zeroed, 64-byte aligned. Collective over the NODE. Too small a /dev/shm
 * gives COHORT_MEMORY on all its ranks (checked beforehand, nothing crashes later). */
typedef struct cohort_shared cohort_shared;
COHORT_NODISCARD cohort_status cohort_shared_create(cohort_shared **out, void **base,
                                                    cohort_comm *comm, size_t bytes);
void cohort_shared_destroy(cohort_shared *shared);
/* Bytes that shared memory can still take on this host; UINT64_MAX = no limit. */
uint64_t cohort_shared_room(void);
/* Barrier over the ranks of the node that also makes their writes visible. */
COHORT_NODISCARD cohort_status cohort_comm_node_barrier(cohort_comm *comm);
/* The worst status of the node's ranks, on each of them. Collective over the node. */
COHORT_NODISCARD cohort_status cohort_comm_node_agree(cohort_comm *comm, cohort_status mine);

/* --- Going on without lost ranks --- */

/* Whether the launcher lets ranks outlive others: `mpirun --enable-recovery`. Then its own exit
 * code says nothing, and nobody but the ranks themselves ends the job. */
bool cohort_comm_launcher_recovers(void);

/* Prepares for cohort_comm_regroup: from now on COMM may lose ranks. Collective. MPI is then not
 * finalised any more (that would wait for the lost): the program ends by cohort_comm_kill. */
COHORT_NODISCARD cohort_status cohort_comm_allow_loss(cohort_comm *comm);
/* So it is prepared. */
bool cohort_comm_may_lose(const cohort_comm *comm);

/* How far a rank's work is; compared by MAJOR, then by MINOR; 0 = nowhere. */
typedef struct cohort_position {
    uint64_t major, minor;
} cohort_position;

/* What regrouping has found. */
typedef struct cohort_loss_report {
    int lost_count, before; /* ranks lost, of how many */
    int source;             /* the rank (as numbered now) that is farthest: lowest of those */
    bool is_source_whole;   /* its position is not 0 */
    bool is_over;           /* another rank has finished the work: nothing is left to do */
    char lost[256];         /* "rank 2 on host (last: step 31)", … as numbered before */
} cohort_loss_report;

/* Once COMM is broken: those that are left agree on who is gone and COMM becomes theirs, ranks
 * numbered anew in the old order. What was made on the old one (windows, reducers) may only be
 * destroyed, best before this call: their memory shared with the lost stays mapped. POSITION is
 * this rank's. A rank that stalls (stopped, stuck) and comes back has no say: those of its host
 * kill it. Collective over those that are left; waits for them as long as for a collective.
 * COHORT_PEER: fewer than LEAST are left; or ranks that may be alive (on a host where nobody is
 * left) are no minority; or another was lost on the way. COMM then stays broken. */
COHORT_NODISCARD cohort_status cohort_comm_regroup(cohort_loss_report *report, cohort_comm *comm,
                                                   cohort_position position, int least);
/* This rank has done all work: whoever is lost from now on is not missed. Before the last
 * barrier. */
void cohort_comm_set_over(cohort_comm *comm);

#endif
