/* Preflight: whatever could go wrong in a run, looked for in seconds, on every rank. */
#ifndef COHORT_TRAIN_PREFLIGHT_H
#define COHORT_TRAIN_PREFLIGHT_H

#include "comm/comm.h"

typedef enum cohort_finding_level {
    COHORT_FINDING_GOOD,
    COHORT_FINDING_WARNING, /* the run would go, but badly */
    COHORT_FINDING_PROBLEM  /* the run would fail */
} cohort_finding_level;

/* Where findings go: REPORT is called on rank 0, once for each however many ranks it is
 * about. TEXT is one line that says what to do, unless the finding is good. */
typedef struct cohort_findings {
    void *context;
    void (*report)(void *context, cohort_finding_level level, const char *subject,
                   const char *text);
    size_t good, warnings, problems; /* so far; on rank 0 */
} cohort_findings;

typedef struct cohort_preflight_options {
    const char *recipe;      /* file */
    const char *const *sets; /* [set_count] */
    size_t set_count;
    const char *run_folder; /* NULL: runs/<name> */
    bool fresh;             /* what is in the run folder would be moved aside */
} cohort_preflight_options;

/* Goes through everything a run needs, and trains a few steps; leaves nothing behind.
 * COHORT_OK when it got through, whatever was found. Collective. Errors: COHORT_PEER when a
 * rank is lost. */
COHORT_NODISCARD cohort_status cohort_preflight(cohort_findings *findings, cohort_comm *comm,
                                                const cohort_preflight_options *options);

#endif
