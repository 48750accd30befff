/* Opening what a run needs, in the order in which a user would want to hear of mistakes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/groups.h"
#include "federated/protect.h"
#include "federated/secure.h"

/* Samples of a block of evaluation: a function of the recipe alone, so that sums are too. */
static size_t block_size(const cohort_recipe *recipe)
{
    enum { BLOCK = 128 };
    const size_t limit = recipe->train.microbatch_size;
    return limit && limit < BLOCK ? limit : BLOCK;
}

/* --- Who has which rows --- */

/* The labels of ROWS [count], where PARTITION goes by them. */
static cohort_status read_labels(int32_t **labels, cohort_dataset *dataset, const char *partition,
                                 const uint64_t *rows, size_t count)
{
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    COHORT_REQUIRE(info->labels && cohort_shape_count(&info->y_shape) == 1, COHORT_USAGE,
                   "partition %s goes by class, but y is not one class number a row; choose iid or "
                   "by",
                   partition);
    return cohort_job_read_labels(labels, dataset, rows, count);
}

/* The groups of ROWS [count], read by rank 0. Collective. */
static cohort_status share_groups(int32_t **groups, size_t *group_count,
                                  const cohort_federated *federated, const uint64_t *rows,
                                  size_t count)
{
    const cohort_recipe *recipe = federated->recipe;
    const size_t all = cohort_dataset_describe(federated->train)->count;
    const char *name = ((const cohort_by_recipe *)federated->how->partition.config)->dataset;
    int32_t *ids = NULL;
    uint64_t found = 0;
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(federated->comm) == 0)
        status =
            cohort_groups_read(&ids, group_count, recipe->data.file, recipe->data.train, name, all);
    COHORT_TRY_DONE(status, cohort_comm_follow(federated->comm, status));
    if (!ids)
        status = COHORT_ALLOCATE(&ids, all);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(groups, count);
    COHORT_TRY_DONE(status, cohort_comm_agree(federated->comm, status));
    COHORT_TRY_DONE(status, cohort_comm_broadcast(federated->comm, ids, all * sizeof *ids, 0));
    found = *group_count;
    COHORT_TRY_DONE(status, cohort_comm_broadcast(federated->comm, &found, sizeof found, 0));
    *group_count = (size_t)found;
    for (size_t i = 0; i < count; i++)
        (*groups)[i] = ids[rows[i]];
done:
    cohort_free(ids);
    return status;
}

/* Deals the training rows to the clients. Collective. */
static cohort_status make_partition(cohort_federated *federated)
{
    const cohort_recipe *recipe = federated->recipe;
    const cohort_variant *how = &federated->how->partition;
    const uint64_t seed = (uint64_t)recipe->seed;
    cohort_partition_source source = {0};
    uint64_t *rows = NULL;
    int32_t *keys = NULL;
    cohort_subset subset;
    cohort_status status =
        cohort_job_training_subset(&subset, recipe, cohort_dataset_describe(federated->train));
    if (status == COHORT_OK)
        status = cohort_job_list_rows(&rows, &subset);
    COHORT_TRY_DONE(status, cohort_comm_agree(federated->comm, status));
    source.rows = rows;
    source.row_count = (size_t)cohort_subset_count(&subset);
    if (strcmp(how->table->name, "by") == 0)
        COHORT_TRY_DONE(
            status, share_groups(&keys, &source.group_count, federated, rows, source.row_count));
    else if (strcmp(how->table->name, "iid") != 0)
        COHORT_TRY_DONE(status,
                        cohort_comm_agree(federated->comm,
                                          read_labels(&keys, federated->train, how->table->name,
                                                      rows, source.row_count)));
    source.keys = keys;
    status =
        cohort_partition_make(&federated->partition, how, federated->how->clients, &source, seed);
    if (status == COHORT_OK)
        status =
            cohort_partition_hold_out(&federated->partition, federated->how->client_test, seed);
    COHORT_TRY_DONE(status, cohort_comm_agree(federated->comm, status));
    federated->client_count = federated->partition.client_count;
done:
    cohort_free(rows);
    cohort_free(keys);
    return status;
}

/* --- The network --- */

cohort_status cohort_federated_open_model(cohort_federated *federated,
                                          const cohort_dataset_info *info)
{
    const cohort_recipe *recipe = federated->recipe;
    cohort_flow input;
    COHORT_TRY(cohort_job_input(&input, recipe, info));
    COHORT_TRY(cohort_model_create(&federated->model, recipe, &input, block_size(recipe), false));
    COHORT_TRY(cohort_job_loss(&federated->loss, recipe, federated->model, info));
    federated->exchange = cohort_exchange_of(federated->model, federated->strategy);
    federated->compression =
        cohort_compression_make(&federated->how->compression, federated->exchange.params);
    return COHORT_OK;
}

cohort_status cohort_federated_open_vectors(cohort_federated *federated)
{
    const cohort_exchange *exchange = &federated->exchange;
    const bool one_by_one = federated->strategy->combine != COHORT_COMBINE_MEAN;
    COHORT_TRY(COHORT_ALLOCATE(&federated->global, exchange->count));
    COHORT_TRY(COHORT_ALLOCATE(&federated->mean, exchange->count));
    COHORT_TRY(COHORT_ALLOCATE(&federated->update, exchange->count));
    COHORT_TRY(COHORT_ALLOCATE(&federated->sums, exchange->count));
    COHORT_TRY(COHORT_ALLOCATE(&federated->payload,
                               cohort_client_payload_bytes(exchange, &federated->compression)));
    if (one_by_one)
        COHORT_TRY(COHORT_ALLOCATE(&federated->all, federated->chosen_most));
    for (size_t i = 0; one_by_one && i < federated->chosen_most; i++)
        COHORT_TRY(COHORT_ALLOCATE(&federated->all[i], exchange->count));
    cohort_model_bind(federated->model, federated->global, NULL,
                      federated->global + exchange->params);
    cohort_model_init(federated->model, (uint64_t)federated->recipe->seed);
    return cohort_server_init(&federated->server, federated->strategy->server, federated->numbers,
                              exchange->params);
}

/* --- Splits --- */

static cohort_status open_loader(cohort_federated_split *split, cohort_federated *federated,
                                 const cohort_subset *subset)
{
    const cohort_share whole = {.begin = 0, .end = 1, .count = 1};
    const size_t block = block_size(federated->recipe);
    split->block_count = (cohort_subset_count(subset) + block - 1) / block;
    return cohort_comm_agree(federated->comm,
                             cohort_job_loader(&split->loader, federated->recipe, split->dataset,
                                               subset, block, &whole, federated->model,
                                               COHORT_TO_EVALUATE));
}

static cohort_status open_group(cohort_federated_split *split, cohort_federated *federated,
                                const char *file, const char *group)
{
    const cohort_job_data data = {
        .file = file, .group = group, .with_targets = cohort_job_needs_targets(federated->recipe)};
    COHORT_TRY(cohort_job_open_split(&split->dataset, federated->comm, federated->recipe, &data,
                                     cohort_model_input(federated->model), &federated->loss));
    const cohort_subset all = cohort_subset_all(cohort_dataset_describe(split->dataset)->count);
    return open_loader(split, federated, &all);
}

/* The part of the training rows drawn for validation; only where they are all here. */
static cohort_status open_fraction(cohort_federated *federated, double fraction)
{
    const cohort_recipe *recipe = federated->recipe;
    COHORT_REQUIRE(federated->train, COHORT_USAGE,
                   "data.validation: %s is a share of training rows, which the coordinator of real "
                   "clients does not have; give a group of its own file",
                   recipe->data.validation);
    const cohort_dataset_info *info = cohort_dataset_describe(federated->train);
    const cohort_subset held =
        cohort_subset_validation(info->count, fraction, info->chunk_rows, (uint64_t)recipe->seed);
    COHORT_REQUIRE(cohort_subset_count(&held) > 0, COHORT_DATA,
                   "data.validation: %s of the training samples is none of them; raise it",
                   recipe->data.validation);
    federated->validation.dataset = federated->train;
    federated->validation.is_borrowed = true;
    return open_loader(&federated->validation, federated, &held);
}

cohort_status cohort_federated_open_splits(cohort_federated *federated, const char *file)
{
    const cohort_recipe *recipe = federated->recipe;
    double fraction = 0;
    bool has_test = false;
    if (cohort_job_validation_fraction(&fraction, recipe))
        COHORT_TRY(open_fraction(federated, fraction));
    else if (recipe->data.validation)
        COHORT_TRY(open_group(&federated->validation, federated, file, recipe->data.validation));
    COHORT_TRY(cohort_job_has_test(&has_test, federated->comm, recipe, file));
    COHORT_REQUIRE(has_test || !(federated->how->target_accuracy > 0), COHORT_DATA,
                   "federated.target_accuracy is judged on test data, but %s has no group '%s'",
                   file ? file : recipe->data.file, recipe->data.test);
    return has_test ? open_group(&federated->test, federated, file, recipe->data.test) : COHORT_OK;
}

/* --- Rounds --- */

/* How many are asked each round, and whether the strategy can do with so many. */
static cohort_status choose_most(cohort_federated *federated)
{
    const cohort_federated_recipe *how = federated->how;
    const size_t eligible = federated->eligible_count;
    size_t most = (size_t)llround((double)eligible * how->fraction);
    if (cohort_federated_is_protected(federated)) {
        federated->chosen_most = cohort_federated_protect_most(federated);
        return COHORT_OK;
    }
    most = most > how->min_clients ? most : how->min_clients;
    COHORT_REQUIRE(how->min_clients <= eligible, COHORT_USAGE,
                   "federated.min_clients is %zu, but only %zu clients have rows to train on",
                   how->min_clients, eligible);
    federated->chosen_most = most;
    if (federated->strategy->combine != COHORT_COMBINE_KRUM)
        return COHORT_OK;
    const size_t byzantine = federated->numbers->byzantine, keep = federated->numbers->keep;
    COHORT_REQUIRE(
        how->min_clients >= 2 * byzantine + 3 && how->min_clients >= keep + byzantine + 2,
        COHORT_USAGE,
        "strategy krum with byzantine: %zu and keep: %zu needs %zu updates a round; set "
        "federated.min_clients to that",
        byzantine, keep,
        2 * byzantine + 3 > keep + byzantine + 2 ? 2 * byzantine + 3 : keep + byzantine + 2);
    return COHORT_OK;
}

cohort_status cohort_federated_open_round(cohort_federated *federated)
{
    COHORT_TRY(choose_most(federated));
    return cohort_federated_grow_round(federated);
}

cohort_status cohort_federated_grow_round(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const size_t most = federated->chosen_most;
    cohort_free(round->clients);
    cohort_free(round->ranks);
    cohort_free(round->results);
    cohort_free(round->dropped);
    cohort_free(round->load);
    COHORT_TRY(COHORT_ALLOCATE(&round->clients, most));
    COHORT_TRY(COHORT_ALLOCATE(&round->ranks, most));
    COHORT_TRY(COHORT_ALLOCATE(&round->results, most));
    COHORT_TRY(COHORT_ALLOCATE(&round->dropped, most));
    return COHORT_ALLOCATE(&round->load, (size_t)cohort_comm_size(federated->comm));
}

/* Clients with rows, the sum of all weights. Rank-local. */
static cohort_status find_eligible(cohort_federated *federated)
{
    uint64_t weight = 0;
    COHORT_TRY(COHORT_ALLOCATE(&federated->eligible, federated->client_count));
    for (size_t k = 0; k < federated->client_count; k++) {
        const size_t count = cohort_partition_count(&federated->partition, k);
        if (count == 0)
            continue;
        federated->eligible[federated->eligible_count++] = k;
        weight += federated->how->weighting == COHORT_WEIGHT_UNIFORM ? 1 : count;
        federated->most_rows = count > federated->most_rows ? count : federated->most_rows;
    }
    if (cohort_federated_is_protected(federated))
        weight = federated->client_count; /* which rows a client has must not change the steps */
    return cohort_fixed_make(&federated->fixed, federated->how->update_limit, weight);
}

static cohort_status open_client(cohort_federated *federated)
{
    size_t lengths[COHORT_CLIENT_KINDS];
    char name[128];
    const cohort_recipe *recipe = federated->recipe;
    COHORT_TRY(find_eligible(federated));
    COHORT_TRY(cohort_federated_open_round(federated));
    COHORT_TRY(
        cohort_client_create(&federated->client, recipe, federated->train, federated->most_rows));
    snprintf(name, sizeof name, "%s/%s", recipe->data.file, recipe->data.train);
    COHORT_TRY(cohort_job_check_data(federated->train, name, cohort_model_input(federated->model),
                                     &federated->loss));
    cohort_client_lengths(lengths, federated->client);
    return cohort_client_store_init(&federated->store, federated->client_count, lengths);
}

/* Every rank computes in rank 0's ways (of convolution), also on another CPU. Collective. */
static cohort_status share_choices(cohort_comm *comm, cohort_model *model)
{
    const size_t count = cohort_model_choice_count(model);
    uint32_t *choices = NULL;
    cohort_status status = COHORT_ALLOCATE(&choices, count);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    cohort_model_choices(choices, model);
    COHORT_TRY_DONE(status, cohort_comm_broadcast(comm, choices, count * sizeof *choices, 0));
    cohort_model_choose(model, choices);
done:
    cohort_free(choices);
    return status;
}

cohort_status cohort_federated_open(cohort_federated *federated)
{
    cohort_recipe *recipe = federated->recipe;
    cohort_comm *comm = federated->comm;
    cohort_comm_set_stop(comm, federated->options.should_stop, federated->options.stop_context);
    cohort_comm_set_phase(comm, "opening the data");
    COHORT_TRY(
        cohort_job_open_data(&federated->train, comm, recipe,
                             &(cohort_job_data){.group = recipe->data.train,
                                                .with_targets = cohort_job_needs_targets(recipe)}));
    COHORT_TRY(make_partition(federated));
    COHORT_TRY(cohort_comm_agree(
        comm, cohort_federated_open_model(federated, cohort_dataset_describe(federated->train))));
    COHORT_TRY(cohort_comm_agree(comm, open_client(federated)));
    cohort_model_note_precision(federated->model, recipe);
    COHORT_TRY(share_choices(comm, federated->model));
    COHORT_TRY(share_choices(comm, cohort_local_model(cohort_client_local(federated->client))));
    COHORT_TRY(cohort_federated_secure_check(federated));
    COHORT_TRY(cohort_federated_protect(federated));
    COHORT_TRY(cohort_comm_agree(comm, cohort_federated_open_vectors(federated)));
    COHORT_TRY(cohort_comm_agree(comm, cohort_federated_open_lanes(federated)));
    federated->gather = cohort_federated_simulate;
    federated->progress.train_samples = federated->partition.row_count;
    federated->progress.global_batch_size = federated->chosen_most;
    return cohort_federated_open_splits(federated, NULL);
}
