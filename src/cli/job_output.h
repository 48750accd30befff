/* What a launched job writes to stderr, on its way to ours: lines of the ranks pass, what
 * mpirun says about how it ended is read instead of shown, since one line of ours says it. */
#ifndef COHORT_CLI_JOB_OUTPUT_H
#define COHORT_CLI_JOB_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

/* The line by which a job's speaker tells its launcher the exit code, where mpirun would not
 * (`--enable-recovery` makes its own exit code 0). */
#define COHORT_JOB_OUTCOME "cohort-outcome: "

/* Start from {.outcome = -1, .lost_rank = -1}; free with cohort_job_output_clear. */
typedef struct cohort_job_output {
    int outcome;       /* the exit code told, or -1 */
    int lost_rank;     /* the rank mpirun saw end by a signal, or -1 */
    int signal;        /* which signal */
    char host[64];     /* where */
    cohort_text named; /* the line of ours about a lost rank that has passed; empty: none has */
    bool has_said;     /* a line of ours that is no warning has passed */
    bool has_parted;   /* a connection broke with a rank that was lost, and that is told */
    cohort_text line, block;
    cohort_text held;   /* to be shown at the end, if no rank was lost */
    cohort_text missed; /* the same, unless the job comes to a good end */
    bool in_block;      /* between two lines of dashes, as mpirun frames its words */
} cohort_job_output;

/* Takes BYTES as they come; whole lines that may pass go to stderr. */
void cohort_job_output_take(cohort_job_output *output, const char *bytes, size_t count);
/* Lets out what is held back, at the end of the stream. */
void cohort_job_output_flush(cohort_job_output *output);
void cohort_job_output_clear(cohort_job_output *output);

#endif
