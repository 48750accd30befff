/* A thread that keeps a deadline while this rank is inside calls of MPI that know none (starting,
 * making windows and communicators), and that sees ranks of this host die meanwhile, where the
 * launcher does not end the job then (`mpirun --enable-recovery`). */
#ifndef COHORT_COMM_LOOKOUT_H
#define COHORT_COMM_LOOKOUT_H

#include <stdbool.h>
#include <stdint.h>

/* Called in that thread when this rank must not wait any longer: it prints MESSAGE on the lowest
 * rank that is left and ends the process with exit code 5. Does not return. */
typedef void cohort_lookout_action(const char *message, int is_speaker);

/* What was watched before. */
typedef struct cohort_lookout_watch {
    bool was_running;
    const char *doing;
    double deadline;
} cohort_lookout_watch;
/* Without an action nothing is watched. Set by the program, before MPI is started. */
void cohort_lookout_set_action(cohort_lookout_action *action);

/* A rank of this host, as it was launched. */
typedef struct cohort_lookout_rank {
    uint32_t pid;
    uint64_t born; /* see cohort_process_born */
    int rank;
} cohort_lookout_rank;
/* Only RANKS [count] of this host are waited for from now on; who of them is no longer there has
 * died. None: no rank is watched, only the deadline is kept. LOWEST: of all hosts, says when that
 * has passed. Not while something is watched. */
void cohort_lookout_expect(const cohort_lookout_rank *ranks, int count, int lowest);

/* From now on, until end, for at most SECONDS. DOING: "start-up", static. */
void cohort_lookout_begin(const char *doing, double seconds);
void cohort_lookout_end(void);

/* Brackets around one call that knows no deadline, also where something is being watched. */
cohort_lookout_watch cohort_lookout_enter(const char *doing, double seconds);
void cohort_lookout_leave(cohort_lookout_watch before);

#endif
