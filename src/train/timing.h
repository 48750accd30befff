/* What a training step costs here: for `cohort check` and `cohort bench`. */
#ifndef COHORT_TRAIN_TIMING_H
#define COHORT_TRAIN_TIMING_H

#include "comm/comm.h"
#include "recipe/recipe.h"

typedef struct cohort_step_timing {
    size_t steps;             /* measured */
    double seconds;           /* of all of them */
    double wait_comm;         /* of that for other ranks: on the rank that waited least … */
    double wait_comm_most;    /* … and longest */
    double wait_data;         /* of that for data: on the rank that waited longest */
    size_t parameters;        /* floats of a gradient sum */
    size_t global_batch_size; /* samples of a step */
} cohort_step_timing;

/* Opens what training by RECIPE needs, without a run folder, and trains steps for about
 * BUDGET seconds. RECIPE is as cohort_job_read_recipe gives it. Collective. Errors as training
 * has them. */
COHORT_NODISCARD cohort_status cohort_train_time(cohort_step_timing *out, cohort_comm *comm,
                                                 cohort_recipe *recipe, double budget);

#endif
