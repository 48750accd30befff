#include "cohort/train.h"

#include "federated/federated.h"

const char *cohort_version(void)
{
    return COHORT_VERSION;
}

cohort_status cohort_train(const void *mpi_comm, const char *recipe, const char *const *sets,
                           size_t set_count, const char *run_folder)
{
    cohort_comm *comm = NULL;
    cohort_recipe *parsed = NULL;
    cohort_trainer *trainer = NULL;
    cohort_federated *federated = NULL;
    const cohort_trainer_options options = {.run_folder = run_folder};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_comm_open(&comm, mpi_comm));
    COHORT_TRY_DONE(status, cohort_job_read_recipe(&parsed, comm, recipe, sets, set_count));
    if (cohort_federated_is(parsed)) {
        COHORT_TRY_DONE(status, cohort_federated_create(&federated, comm, parsed, &options));
        COHORT_TRY_DONE(status, cohort_federated_run(federated));
    } else {
        COHORT_TRY_DONE(status, cohort_trainer_create(&trainer, comm, parsed, &options));
        COHORT_TRY_DONE(status, cohort_trainer_run(trainer));
    }
done:
    cohort_federated_destroy(federated);
    cohort_trainer_destroy(trainer);
    cohort_recipe_destroy(parsed);
    if (comm)
        cohort_comm_close(comm);
    return status;
}
