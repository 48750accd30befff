/* Running a job and staying outside of it: exit codes that mean what they say, the name of a
 * rank that was killed, starting again from the last checkpoint. */
#ifndef COHORT_CLI_SUPERVISE_H
#define COHORT_CLI_SUPERVISE_H

#include "cli/options.h"

/* Set in the environment of a job that runs under a supervisor. */
#define COHORT_SUPERVISED "COHORT_SUPERVISED"

typedef struct cohort_supervision {
    const char *program; /* what is executed; looked for in $PATH without a slash */
    char **command;      /* argv of the job, NULL-terminated; argv[0] its name */
    int64_t restarts;    /* how often it may start again */
    bool outlives;       /* ranks may outlive others: mpirun's exit code says nothing */
} cohort_supervision;

/* Runs the job to its end and returns the exit code: its own where it is one of ours, 5 when a
 * rank was killed or lost. After 5 (and codes that are not ours) the job starts again while
 * restarts are left; an elastic one that lost a rank while the others regrouped, which it cannot
 * survive by itself, does without being told to. Signals that ask to stop are passed on, and end
 * the restarts: the first as SIGUSR1, which mpirun hands to the ranks; the second as SIGTERM. */
int cohort_supervise(const cohort_supervision *job);

/* `cohort train … --restarts N`, not yet under a supervisor: ARGV is this program's. Alone it
 * supervises itself. Under mpirun rank 0 supervises a second mpirun with the same arguments,
 * since ranks of one mpirun cannot be replaced, and the others have nothing to do. Returns the
 * exit code. */
int cohort_supervise_train(char **argv, int64_t restarts);

/* Finds `cohort train …` in the COMMAND of a launcher and takes over its --restarts and
 * what its recipe says of lost ranks. What is wrong with them the ranks will say. */
void cohort_supervise_look(cohort_supervision *job, int argc, char **command);

#endif
