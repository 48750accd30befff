/* Do all ranks still hold the same network? A flipped bit, a broken core, a difference of
 * CPUs: whatever it was, the ranks would train different networks from then on. */
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "train/trainer_private.h"

/* 1 + where this rank's parameters differed from its node's when those were updated together,
 * which made them the same again; 0: nowhere. */
static size_t past_difference(const cohort_trainer *trainer)
{
    return trainer->shares_update ? cohort_shared_update_difference(trainer->shared) : 0;
}

static uint64_t hash_of(const cohort_trainer *trainer)
{
    const uint64_t params =
        cohort_hash(trainer->params, cohort_model_params_count(trainer->model) * sizeof(float),
                    past_difference(trainer));
    return cohort_hash(trainer->state, cohort_model_state_count(trainer->model) * sizeof(float),
                       params);
}

/* The rank whose hash most ranks have; the lowest of them. */
static int find_usual(const uint64_t *hashes, int size)
{
    int usual = 0, most = 0;
    for (int r = 0; r < size; r++) {
        int count = 0;
        for (int other = 0; other < size; other++)
            count += hashes[other] == hashes[r];
        if (count > most) {
            usual = r;
            most = count;
        }
    }
    return usual;
}

/* *layer = that of the first of TENSORS in DATA that is not the same on all ranks, or was not
 * at the element before PAST (0: was); kept when there is one already. Collective. */
static cohort_status find_layer(const char **layer, cohort_comm *comm, cohort_tensors tensors,
                                const float *data, size_t past)
{
    for (size_t i = 0; i < tensors.count; i++) {
        const cohort_tensor *tensor = &tensors.items[i];
        const bool was_odd = past > tensor->offset && past <= tensor->offset + tensor->count;
        const uint64_t mine =
            cohort_hash(data + tensor->offset, tensor->count * sizeof(float), was_odd);
        uint64_t first = mine;
        COHORT_TRY(cohort_comm_broadcast(comm, &first, sizeof first, 0));
        double differs = mine != first;
        COHORT_TRY(cohort_comm_max(comm, &differs, 1));
        if (differs > 0 && !*layer)
            *layer = tensor->layer;
    }
    return COHORT_OK;
}

/* Names step, ranks, hosts and layer. Collective: HASHES are the same on all ranks. */
static cohort_status name_difference(cohort_trainer *trainer, const uint64_t *hashes)
{
    cohort_comm *comm = trainer->comm;
    const int size = cohort_comm_size(comm), usual = find_usual(hashes, size);
    const char *layer = NULL;
    cohort_text ranks = {0};
    bool *differs = NULL;
    int first = -1;
    cohort_status status = COHORT_ALLOCATE(&differs, (size_t)size);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, find_layer(&layer, comm, cohort_model_param_tensors(trainer->model),
                                       trainer->params, past_difference(trainer)));
    COHORT_TRY_DONE(status, find_layer(&layer, comm, cohort_model_state_tensors(trainer->model),
                                       trainer->state, 0));
    for (int r = size - 1; r >= 0; r--) {
        differs[r] = hashes[r] != hashes[usual];
        first = differs[r] ? r : first;
    }
    cohort_comm_list_ranks(&ranks, differs, size);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, cohort_text_status(&ranks)));
    status = COHORT_FAIL(COHORT_PEER,
                         "the ranks' parameters differ at step %llu: %s (%s) from rank %d (%s), "
                         "first in layer %s; suspect a host's memory or CPU, then run the same "
                         "command again: it continues from the last checkpoint, which is good",
                         (unsigned long long)trainer->progress.step, ranks.data,
                         cohort_comm_host(comm, first), usual, cohort_comm_host(comm, usual),
                         layer ? layer : "padding");
done:
    cohort_free(differs);
    cohort_text_clear(&ranks);
    return status;
}

cohort_status cohort_trainer_verify(cohort_trainer *trainer)
{
    const int size = cohort_comm_size(trainer->comm);
    uint64_t *all = NULL;
    if (size == 1 || !trainer->recipe->train.verify_every ||
        trainer->verified_step == trainer->progress.step)
        return COHORT_OK;
    cohort_status status = COHORT_ALLOCATE(&all, (size_t)size);
    COHORT_TRY_DONE(status, cohort_comm_agree(trainer->comm, status));
    const uint64_t mine = hash_of(trainer);
    COHORT_TRY_DONE(status, cohort_comm_gather_all(trainer->comm, all, &mine, sizeof mine));
    for (int r = 1; r < size && status == COHORT_OK; r++)
        if (all[r] != all[0])
            status = name_difference(trainer, all);
    trainer->verified_step = trainer->progress.step;
done:
    cohort_free(all);
    return status;
}
