#include "federated/store.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

cohort_status cohort_client_store_init(cohort_client_store *store, size_t client_count,
                                       const size_t *lengths)
{
    *store = (cohort_client_store){.client_count = client_count};
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++) {
        store->lengths[kind] = lengths[kind];
        if (lengths[kind])
            COHORT_TRY(COHORT_ALLOCATE(&store->vectors[kind], client_count));
    }
    return COHORT_OK;
}

static void drop(cohort_client_store *store, size_t kind, size_t client)
{
    cohort_free(store->vectors[kind][client]);
    store->vectors[kind][client] = NULL;
}

void cohort_client_store_clear(cohort_client_store *store)
{
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++) {
        for (size_t client = 0; store->vectors[kind] && client < store->client_count; client++)
            drop(store, kind, client);
        cohort_free(store->vectors[kind]);
    }
    cohort_client_store_commit(store);
    free(store->saved);
    *store = (cohort_client_store){0};
}

bool cohort_client_store_is_used(const cohort_client_store *store)
{
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++)
        if (store->lengths[kind])
            return true;
    return false;
}

cohort_status cohort_client_store_get(real **out, cohort_client_store *store,
                                      cohort_client_kind kind, size_t client)
{
    real **vector = &store->vectors[kind][client];
    if (!*vector)
        COHORT_TRY(COHORT_ALLOCATE(vector, store->lengths[kind]));
    *out = *vector;
    return COHORT_OK;
}

real *cohort_client_store_find(const cohort_client_store *store, cohort_client_kind kind,
                               size_t client)
{
    return store->vectors[kind] ? store->vectors[kind][client] : NULL;
}

cohort_status cohort_client_store_guard(cohort_client_store *store, size_t client)
{
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++) {
        if (!store->lengths[kind])
            continue;
        COHORT_TRY(cohort_grow((void **)&store->saved, &store->saved_capacity,
                               store->saved_count + 1, sizeof *store->saved));
        cohort_client_saved *saved = &store->saved[store->saved_count];
        *saved = (cohort_client_saved){.kind = (cohort_client_kind)kind, .client = client};
        if (store->vectors[kind][client]) {
            COHORT_TRY(COHORT_ALLOCATE(&saved->copy, store->lengths[kind]));
            memcpy(saved->copy, store->vectors[kind][client], store->lengths[kind] * sizeof(real));
        }
        store->saved_count++;
    }
    return COHORT_OK;
}

void cohort_client_store_roll_back(cohort_client_store *store)
{
    for (size_t i = 0; i < store->saved_count; i++) {
        const cohort_client_saved *saved = &store->saved[i];
        drop(store, saved->kind, saved->client);
        store->vectors[saved->kind][saved->client] = saved->copy;
    }
    store->saved_count = 0;
}

void cohort_client_store_commit(cohort_client_store *store)
{
    for (size_t i = 0; i < store->saved_count; i++)
        cohort_free(store->saved[i].copy);
    store->saved_count = 0;
}

static int home_of(const cohort_comm *comm, size_t client)
{
    return (int)(client % (size_t)cohort_comm_size(comm));
}

/* Copies one vector from the rank FROM to all that want it; others use SCRATCH. */
static cohort_status copy(cohort_client_store *store, cohort_comm *comm, size_t kind, size_t client,
                          int from, bool wanted, real *scratch)
{
    real *vector = scratch;
    cohort_status status = COHORT_OK;
    if (wanted || cohort_comm_rank(comm) == from)
        status = cohort_client_store_get(&vector, store, (cohort_client_kind)kind, client);
    COHORT_TRY(cohort_comm_agree(comm, status));
    return cohort_comm_broadcast(comm, vector, store->lengths[kind] * sizeof *vector, from);
}

/* Moves the vectors that exist: from home to rank 0, or the other way. */
static cohort_status move(cohort_client_store *store, cohort_comm *comm, bool to_rank_0)
{
    const int rank = cohort_comm_rank(comm);
    double *there = NULL;
    real *scratch = NULL;
    cohort_status status = COHORT_ALLOCATE(&there, store->client_count);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++) {
        if (!store->lengths[kind])
            continue;
        status = COHORT_ALLOCATE(&scratch, store->lengths[kind]);
        COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
        for (size_t k = 0; k < store->client_count; k++)
            there[k] = store->vectors[kind][k] && (to_rank_0 ? home_of(comm, k) == rank : !rank);
        COHORT_TRY_DONE(status, cohort_comm_sum(comm, there, store->client_count));
        for (size_t k = 0; k < store->client_count; k++) {
            const int home = home_of(comm, k);
            if (there[k] > 0 && home != 0)
                COHORT_TRY_DONE(status, copy(store, comm, kind, k, to_rank_0 ? home : 0,
                                             rank == (to_rank_0 ? 0 : home), scratch));
        }
        cohort_free(scratch);
        scratch = NULL;
    }
done:
    cohort_free(scratch);
    cohort_free(there);
    return status;
}

cohort_status cohort_client_store_collect(cohort_client_store *store, cohort_comm *comm)
{
    return cohort_comm_size(comm) > 1 ? move(store, comm, true) : COHORT_OK;
}

void cohort_client_store_release(cohort_client_store *store, const cohort_comm *comm)
{
    for (size_t kind = 0; kind < COHORT_CLIENT_KINDS; kind++)
        for (size_t k = 0; store->vectors[kind] && k < store->client_count; k++)
            if (home_of(comm, k) != cohort_comm_rank(comm))
                drop(store, kind, k);
}

cohort_status cohort_client_store_spread(cohort_client_store *store, cohort_comm *comm)
{
    if (cohort_comm_size(comm) > 1)
        COHORT_TRY(move(store, comm, false));
    cohort_client_store_release(store, comm);
    return COHORT_OK;
}
