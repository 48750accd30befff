/* The run folder: what is there, whether this run may continue it, and continuing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "federated/protect.h"

/* --- What a checkpoint holds --- */

static cohort_status attach(cohort_federated *federated, const char *group, const char *slot,
                            const cohort_tensors *tensors, real *data)
{
    COHORT_TRY(cohort_grow((void **)&federated->attachments, &federated->attachment_capacity,
                           federated->attachment_count + 1, sizeof *federated->attachments));
    federated->attachments[federated->attachment_count++] =
        (cohort_attachment){.group = group, .slot = slot, .tensors = *tensors, .data = data};
    return COHORT_OK;
}

static cohort_status attach_server(cohort_federated *federated)
{
    const cohort_exchange *exchange = &federated->exchange;
    const cohort_tensors params = cohort_model_param_tensors(federated->model);
    for (size_t i = 0; cohort_server_slot_name(&federated->server, i); i++)
        COHORT_TRY(attach(federated, "server", cohort_server_slot_name(&federated->server, i),
                          &params, federated->server.slots[i]));
    if (exchange->control)
        COHORT_TRY(attach(federated, "server", "control", &params,
                          federated->global + exchange->params + exchange->state));
    return COHORT_OK;
}

static const char *const kind_names[COHORT_CLIENT_KINDS] = {"control", "residual", "batch_norm"};

/* One client's vectors. The name of its group lives in attachment_groups. */
static cohort_status attach_client(cohort_federated *federated, size_t client)
{
    const cohort_client_store *store = &federated->store;
    const cohort_tensors params = cohort_model_param_tensors(federated->model),
                         state = cohort_model_state_tensors(federated->model);
    const char *group = federated->attachment_groups[client];
    for (size_t kind = 0; kind < COHORT_CLIENT_NORM; kind++) {
        real *vector = cohort_client_store_find(store, (cohort_client_kind)kind, client);
        if (vector)
            COHORT_TRY(attach(federated, group, kind_names[kind], &params, vector));
    }
    real *norm = cohort_client_store_find(store, COHORT_CLIENT_NORM, client);
    if (!norm)
        return COHORT_OK;
    size_t behind = 0;
    const cohort_tensors own = cohort_client_norm_tensors(&behind, federated->client);
    COHORT_TRY(attach(federated, group, kind_names[COHORT_CLIENT_NORM], &own, norm));
    return attach(federated, group, kind_names[COHORT_CLIENT_NORM], &state, norm + behind);
}

static cohort_status name_groups(cohort_federated *federated)
{
    if (federated->attachment_groups || federated->client_count == 0)
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&federated->attachment_groups, federated->client_count));
    for (size_t k = 0; k < federated->client_count; k++)
        snprintf(federated->attachment_groups[k], sizeof *federated->attachment_groups,
                 "clients/%zu", k);
    return COHORT_OK;
}

static cohort_status make_snapshot(cohort_snapshot *snapshot, cohort_federated *federated)
{
    const cohort_dataset_info *info = cohort_federated_about(federated);
    const cohort_flow *input = cohort_model_input(federated->model);
    const char *ledger;
    federated->attachment_count = 0;
    COHORT_TRY(cohort_federated_protect_ledger(&ledger, federated));
    COHORT_TRY(name_groups(federated));
    COHORT_TRY(attach_server(federated));
    for (size_t k = 0; k < federated->store.client_count; k++)
        COHORT_TRY(attach_client(federated, k));
    *snapshot = (cohort_snapshot){
        .recipe = federated->recipe_text.data,
        .params = cohort_model_param_tensors(federated->model),
        .state = cohort_model_state_tensors(federated->model),
        .params_data = federated->global,
        .state_data = federated->global + federated->exchange.params,
        .attachments = federated->attachments,
        .attachment_count = federated->attachment_count,
        .progress = federated->progress,
        .classes = info->classes,
        .class_count = info->class_count,
        .vocabulary = info->vocabulary,
        .vocabulary_count = info->vocabulary_count,
        .tokenizer = info->tokenizer,
        .ledger = ledger,
        .table = info->table,
        .input_shape = input->shape,
        .input_tokens = input->tokens,
    };
    return COHORT_OK;
}

static cohort_status write_checkpoint(cohort_federated *federated, bool round_end, bool is_best)
{
    cohort_snapshot snapshot;
    cohort_text file = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, make_snapshot(&snapshot, federated));
    COHORT_TRY_DONE(
        status,
        cohort_run_save(&file, federated->run, &snapshot, (size_t)federated->progress.epoch,
                        (round_end ? COHORT_RUN_EPOCH_END : 0u) | (is_best ? COHORT_RUN_BEST : 0u),
                        federated->recipe->checkpoint.keep));
    cohort_text *line = cohort_record_begin(&federated->record, "checkpoint");
    cohort_json_string(line, "file", file.data);
    cohort_json_integer(line, "round", (int64_t)federated->progress.epoch);
    status = cohort_record_end(&federated->record);
done:
    cohort_text_clear(&file);
    return status;
}

cohort_status cohort_federated_save(cohort_federated *federated, bool round_end, bool is_best)
{
    cohort_status status = COHORT_OK;
    cohort_comm_set_phase(federated->comm, "writing a checkpoint");
    COHORT_TRY(cohort_client_store_collect(&federated->store, federated->comm));
    if (cohort_comm_rank(federated->comm) == 0)
        status = write_checkpoint(federated, round_end, is_best);
    if (!federated->deployment)
        cohort_client_store_release(&federated->store, federated->comm);
    return cohort_comm_follow(federated->comm, status);
}

/* --- Continuing --- */

/* Makes room for the clients' vectors that CHECKPOINT holds. */
static cohort_status expect_clients(cohort_federated *federated,
                                    const cohort_checkpoint *checkpoint)
{
    char name[64];
    real *vector;
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++)
        for (size_t k = 0; federated->store.lengths[kind] && k < federated->store.client_count;
             k++) {
            snprintf(name, sizeof name, "clients/%zu/%s", k, kind_names[kind]);
            if (cohort_checkpoint_has(checkpoint, name))
                COHORT_TRY(cohort_client_store_get(&vector, &federated->store,
                                                   (cohort_client_kind)kind, k));
        }
    return COHORT_OK;
}

static cohort_status refuse_finished(const cohort_federated *federated, const cohort_progress *old)
{
    const bool is_over = old->finished == COHORT_RUN_FINISHED_EARLY ||
                         (old->finished && old->epoch >= federated->how->rounds);
    COHORT_REQUIRE(!is_over, COHORT_USAGE,
                   "the run in %s is finished (%llu rounds); use --fresh to move it aside and "
                   "start anew, or --run for another folder",
                   federated->folder.data, (unsigned long long)old->epoch);
    COHORT_REQUIRE(!federated->progress.train_samples ||
                       old->train_samples == federated->progress.train_samples,
                   COHORT_USAGE,
                   "%s was trained on %llu samples, but the data file now gives %llu; use --fresh "
                   "to start anew",
                   federated->folder.data, (unsigned long long)old->train_samples,
                   (unsigned long long)federated->progress.train_samples);
    return COHORT_OK;
}

cohort_status cohort_federated_try(cohort_federated *federated, const char *checkpoint,
                                   const char *folder)
{
    cohort_checkpoint *opened = NULL;
    cohort_text_append(&federated->folder, "%s", folder);
    COHORT_TRY(cohort_text_status(&federated->folder));
    COHORT_TRY(cohort_checkpoint_open(&opened, checkpoint));
    const cohort_snapshot *old = cohort_checkpoint_describe(opened);
    cohort_status status = cohort_job_check_same_run(old, checkpoint, federated->recipe, folder);
    if (status == COHORT_OK)
        status = refuse_finished(federated, &old->progress);
    cohort_checkpoint_close(opened);
    return status;
}

/* Loads the checkpoint PATH on rank 0. */
static cohort_status load(cohort_federated *federated, const char *path)
{
    cohort_checkpoint *checkpoint = NULL;
    cohort_snapshot snapshot;
    char note[512];
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&checkpoint, path));
    const cohort_snapshot *old = cohort_checkpoint_describe(checkpoint);
    COHORT_TRY_DONE(
        status, cohort_job_check_same_run(old, path, federated->recipe, federated->folder.data));
    COHORT_TRY_DONE(status, refuse_finished(federated, &old->progress));
    COHORT_TRY_DONE(status, cohort_federated_protect_resume(federated, old, path));
    COHORT_TRY_DONE(status, expect_clients(federated, checkpoint));
    COHORT_TRY_DONE(status, make_snapshot(&snapshot, federated));
    COHORT_TRY_DONE(status, cohort_checkpoint_load(checkpoint, &snapshot));
    federated->progress = snapshot.progress;
    federated->progress.finished = 0;
    federated->resumed = true;
    snprintf(note, sizeof note, "continuing from %s (round %llu)", path,
             (unsigned long long)federated->progress.epoch);
    if (federated->options.observer.on_note)
        federated->options.observer.on_note(federated->options.observer.context, note);
done:
    cohort_checkpoint_close(checkpoint);
    return status;
}

static cohort_status load_initial_weights(cohort_federated *federated)
{
    cohort_snapshot snapshot;
    COHORT_TRY(make_snapshot(&snapshot, federated));
    return cohort_job_load_initial_weights(&snapshot, federated->recipe,
                                           federated->options.observer.on_note,
                                           federated->options.observer.context);
}

/* Rank 0's part: lock the folder, load what is there, write the resolved recipe. */
static cohort_status open_run(cohort_federated *federated)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(
        status, cohort_run_open(&federated->run, federated->folder.data, federated->options.fresh));
    if (federated->options.resume)
        cohort_text_append(&path, "%s", federated->options.resume);
    else
        COHORT_TRY_DONE(status, cohort_run_latest(&path, federated->run));
    COHORT_TRY_DONE(status, cohort_text_status(&path));
    if (path.length > 0)
        COHORT_TRY_DONE(status, load(federated, path.data));
    else if (federated->recipe->train.initial_weights)
        COHORT_TRY_DONE(status, load_initial_weights(federated));
    COHORT_TRY_DONE(status, cohort_run_write_recipe(federated->run, federated->recipe_text.data));
    COHORT_TRY_DONE(status, cohort_run_path(&path, federated->run, "metrics.jsonl"));
    COHORT_TRY_DONE(status, cohort_record_open(&federated->record, path.data));
    status = cohort_federated_protect_settle(federated);
done:
    cohort_text_clear(&path);
    return status;
}

/* Everything rank 0 has loaded to all. */
static cohort_status share_all(cohort_federated *federated)
{
    cohort_comm *comm = federated->comm;
    COHORT_TRY(cohort_comm_broadcast(comm, &federated->resumed, sizeof federated->resumed, 0));
    COHORT_TRY(cohort_comm_broadcast(comm, &federated->progress, sizeof federated->progress, 0));
    COHORT_TRY(cohort_comm_broadcast(comm, federated->global,
                                     federated->exchange.count * sizeof(real), 0));
    for (size_t i = 0; cohort_server_slot_name(&federated->server, i); i++)
        COHORT_TRY(cohort_comm_broadcast(comm, federated->server.slots[i],
                                         federated->exchange.params * sizeof(real), 0));
    return federated->deployment ? COHORT_OK : cohort_client_store_spread(&federated->store, comm);
}

cohort_status cohort_federated_open_run(cohort_federated *federated)
{
    if (federated->options.run_folder)
        cohort_text_append(&federated->folder, "%s", federated->options.run_folder);
    else
        cohort_text_append(&federated->folder, "runs/%s", federated->recipe->name);
    cohort_status status = cohort_recipe_write(&federated->recipe_text, federated->recipe);
    if (status == COHORT_OK)
        status = cohort_text_status(&federated->folder);
    COHORT_TRY(cohort_comm_agree(federated->comm, status));
    if (cohort_comm_rank(federated->comm) == 0)
        status = open_run(federated);
    COHORT_TRY(cohort_comm_follow(federated->comm, status));
    return share_all(federated);
}
