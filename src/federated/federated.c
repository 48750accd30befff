#include "federated/federated.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "federated/deploy.h"
#include "federated/protect.h"
#include "federated/secure.h"

bool cohort_federated_is(const cohort_recipe *recipe)
{
    return recipe->federated.rounds > 0;
}

cohort_status cohort_federated_make(cohort_federated **out, cohort_comm *comm,
                                    cohort_recipe *recipe, const cohort_trainer_options *options)
{
    cohort_federated *federated = NULL;
    *out = NULL;
    COHORT_TRY(cohort_comm_agree(comm, COHORT_ALLOCATE(&federated, 1)));
    *out = federated;
    federated->comm = comm;
    federated->rank_count = cohort_comm_size(comm);
    federated->recipe = recipe;
    federated->how = &recipe->federated;
    federated->options = *options;
    federated->strategy = cohort_strategy_find(&recipe->federated.strategy);
    federated->numbers = recipe->federated.strategy.config;
    federated->launched = cohort_clock_seconds() - cohort_clock_since_launch();
    federated->progress = (cohort_progress){.seed = (uint64_t)recipe->seed, .best_metric = NAN};
    federated->test.loss = federated->test.accuracy = NAN;
    federated->validation.loss = federated->validation.accuracy = NAN;
    cohort_comm_set_timeout(comm, recipe->comm.timeout);
    federated->threads = cohort_job_set_threads(comm, recipe->train.threads);
    return COHORT_OK;
}

cohort_status cohort_federated_create(cohort_federated **out, cohort_comm *comm,
                                      cohort_recipe *recipe, const cohort_trainer_options *options)
{
    cohort_federated *federated = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY(cohort_federated_make(&federated, comm, recipe, options));
    const bool deployed = cohort_deployment_is(recipe);
    federated->serves = deployed && cohort_comm_rank(comm) > 0;
    if (!federated->serves) {
        COHORT_TRY_DONE(status, deployed ? cohort_deployment_coordinate(federated, comm)
                                         : cohort_federated_open(federated));
        COHORT_TRY_DONE(status, cohort_federated_open_run(federated));
    }
    *out = federated;
    federated = NULL;
done:
    if (status != COHORT_OK && federated->deployment)
        cohort_deployment_finish(federated, status);
    cohort_federated_destroy(federated);
    return status;
}

static void close_split(cohort_federated_split *split)
{
    cohort_loader_destroy(split->loader);
    if (!split->is_borrowed)
        cohort_dataset_close(split->dataset);
}

static void free_vectors(cohort_federated *federated)
{
    for (size_t i = 0; federated->all && i < federated->chosen_most; i++)
        cohort_free(federated->all[i]);
    cohort_free(federated->all);
    cohort_free(federated->global);
    cohort_free(federated->mean);
    cohort_free(federated->before);
    cohort_free(federated->update);
    cohort_free(federated->sums);
    cohort_free(federated->payload);
    cohort_free(federated->eligible);
    cohort_free(federated->round.clients);
    cohort_free(federated->round.ranks);
    cohort_free(federated->round.results);
    cohort_free(federated->round.dropped);
    cohort_free(federated->round.load);
    cohort_free(federated->attachment_groups);
    free(federated->attachments);
}

void cohort_federated_destroy(cohort_federated *federated)
{
    if (!federated)
        return;
    if (federated->serves) {
        cohort_free(federated);
        return;
    }
    close_split(&federated->test);
    close_split(&federated->validation);
    cohort_federated_close_lanes(federated);
    cohort_client_destroy(federated->client);
    cohort_dataset_close(federated->train);
    cohort_model_destroy(federated->model);
    cohort_server_clear(&federated->server);
    cohort_client_store_clear(&federated->store);
    cohort_partition_clear(&federated->partition);
    cohort_run_close(federated->run);
    cohort_record_close(&federated->record);
    cohort_evaluation_clear(&federated->test_result);
    cohort_text_clear(&federated->recipe_text);
    cohort_text_clear(&federated->folder);
    cohort_federated_unprotect(federated);
    cohort_federated_secure_clear(federated);
    free_vectors(federated);
    cohort_deployment_destroy(federated->deployment);
    cohort_free(federated);
}

const char *cohort_federated_folder(const cohort_federated *federated)
{
    return federated->folder.data;
}

const cohort_evaluation *cohort_federated_test(const cohort_federated *federated)
{
    return federated->tested ? &federated->test_result : NULL;
}

const cohort_dataset_info *cohort_federated_about(const cohort_federated *federated)
{
    const cohort_dataset *about = federated->train ? federated->train : federated->test.dataset;
    return cohort_dataset_describe(about ? about : federated->validation.dataset);
}
