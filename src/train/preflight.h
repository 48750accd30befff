/* Preflight: whatever could go wrong in a run, looked for in seconds, on every rank. */
#ifndef COHORT_TRAIN_PREFLIGHT_H
#define COHORT_TRAIN_PREFLIGHT_H

#include "comm/comm.h"
#include "nn/model.h"
#include "recipe/recipe.h"

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

typedef struct cohort_preflight_options cohort_preflight_options;

/* Looks at what a run by rounds would do, in place of batch, memory, run folder and steps of a
 * plain one. Collective. COHORT_PEER when a rank is lost. */
typedef cohort_status cohort_preflight_rounds(cohort_findings *findings, cohort_comm *comm,
                                              cohort_recipe *recipe,
                                              const cohort_preflight_options *options);

struct cohort_preflight_options {
    const char *recipe;      /* file */
    const char *const *sets; /* [set_count] */
    size_t set_count;
    const char *run_folder;          /* NULL: runs/<name> */
    bool fresh;                      /* what is in the run folder would be moved aside */
    cohort_preflight_rounds *rounds; /* of the room that trains by rounds */
};

/* Goes through everything a run needs, and trains a few steps; leaves nothing behind.
 * COHORT_OK when it got through, whatever was found. Collective. Errors: COHORT_PEER when a
 * rank is lost. */
COHORT_NODISCARD cohort_status cohort_preflight(cohort_findings *findings, cohort_comm *comm,
                                                const cohort_preflight_options *options);

/* Adds a finding; nothing on other ranks than 0 (where report is NULL). */
void cohort_find(cohort_findings *findings, cohort_finding_level level, const char *subject,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Says how large MODEL is, and what it takes and gives. */
void cohort_find_model(cohort_findings *findings, const cohort_model *model);

/* A failure becomes a finding; *on is false then. COHORT_PEER when ranks are lost. */
COHORT_NODISCARD cohort_status cohort_note_failure(bool *on, cohort_findings *findings,
                                                   const cohort_comm *comm, const char *subject,
                                                   cohort_status status);

/* Whether the run in FOLDER can go on from CHECKPOINT, its newest; "" where it begins. */
typedef cohort_status cohort_preflight_continuing(void *context, const char *checkpoint,
                                                  const char *folder);
/* Looks at the run folder on rank 0: room for checkpoints of BYTES (0: not judged), locks, and
 * what is in it, by CONTINUING. Collective. COHORT_PEER when a rank is lost. */
COHORT_NODISCARD cohort_status cohort_preflight_folder(cohort_findings *findings, cohort_comm *comm,
                                                       const cohort_recipe *recipe,
                                                       const cohort_preflight_options *options,
                                                       double bytes,
                                                       cohort_preflight_continuing *continuing,
                                                       void *context);

#endif
