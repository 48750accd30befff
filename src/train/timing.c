#include "train/timing.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "train/trainer_private.h"

enum { WARM_UP = 3, STEPS_LEAST = 5, STEPS_MOST = 10000 };

cohort_status cohort_trainer_time(cohort_step_timing *out, cohort_trainer *trainer, double budget)
{
    double start = 0, spent = 0;
    size_t steps = 0;
    cohort_loader_seek(trainer->loader, 0, 0);
    while (steps < WARM_UP + STEPS_LEAST || (steps < WARM_UP + STEPS_MOST && spent < budget)) {
        if (steps == WARM_UP) {
            start = cohort_clock_seconds();
            trainer->wait_comm = trainer->wait_data = 0;
        }
        COHORT_TRY(cohort_trainer_step(trainer));
        steps++;
        spent = start > 0 ? cohort_clock_seconds() - start : 0;
        COHORT_TRY(cohort_comm_broadcast(trainer->comm, &spent, sizeof spent, 0));
    }
    double waits[3] = {-trainer->wait_comm, trainer->wait_comm, trainer->wait_data};
    COHORT_TRY(cohort_comm_max(trainer->comm, waits, 3));
    *out = (cohort_step_timing){.steps = steps - WARM_UP,
                                .seconds = spent,
                                .wait_comm = -waits[0],
                                .wait_comm_most = waits[1],
                                .wait_data = waits[2],
                                .parameters = cohort_model_params_count(trainer->model),
                                .global_batch_size = trainer->sampler.global_batch};
    return COHORT_OK;
}

cohort_status cohort_train_time(cohort_step_timing *out, cohort_comm *comm, cohort_recipe *recipe,
                                double budget)
{
    cohort_trainer *trainer = calloc(1, sizeof *trainer);
    cohort_status status = COHORT_OK;
    if (!trainer)
        status = COHORT_FAIL(COHORT_MEMORY, "out of memory");
    status = cohort_comm_agree(comm, status);
    if (status == COHORT_OK) {
        trainer->comm = comm;
        trainer->recipe = recipe;
        trainer->progress.best_metric = NAN;
        recipe->train.log_every_steps = 0; /* there is no folder to write records to */
        status = cohort_trainer_open(trainer);
    }
    if (status == COHORT_OK)
        status = cohort_trainer_time(out, trainer, budget);
    cohort_trainer_destroy(trainer);
    return status;
}
