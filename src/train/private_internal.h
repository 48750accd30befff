/* What private.c and private_step.c share. */
#ifndef COHORT_TRAIN_PRIVATE_INTERNAL_H
#define COHORT_TRAIN_PRIVATE_INTERNAL_H

#include "privacy/secret.h"
#include "train/private.h"

/* A network that trains one row at a time. */
typedef struct cohort_lane {
    cohort_model *model;
    float *grads; /* [parameters] of the row under way */
} cohort_lane;

/* A part of the batch is cut into so many runs of rows, each summed in order, then pairwise:
 * that many threads are of use. */
enum { COHORT_PRIVATE_RUNS = 8 };

struct cohort_private {
    cohort_secret *noise; /* rank 0 */
    cohort_secret *sampling;
    cohort_draw draw;
    uint64_t samples; /* rows that are drawn from */
    double q;
    double noise_multiplier; /* rank 0 */
    uint64_t data;           /* rank 0: a hash of the rows */
    double epsilon;          /* rank 0: at step `counted_at` */
    uint64_t counted_at;
    cohort_lane *lanes; /* [lane_count] one a thread */
    size_t lane_count;
    float *runs[COHORT_PRIVATE_RUNS]; /* [run_count][parameters]; the first is the caller's */
    size_t run_count;
};

/* Enters one step into the ledger. Rank 0. */
COHORT_NODISCARD cohort_status cohort_private_enter_step(cohort_trainer *trainer);

#endif
