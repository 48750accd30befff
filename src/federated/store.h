/* What clients keep from one round to the next: vectors by client and kind, each with its
 * home, one rank. In a simulation client k is at home on rank k mod size. */
#ifndef COHORT_FEDERATED_STORE_H
#define COHORT_FEDERATED_STORE_H

#include "comm/comm.h"
#include "nn/model.h"
#include "state/checkpoint.h"

typedef enum cohort_client_kind {
    COHORT_CLIENT_CONTROL,  /* SCAFFOLD's control variate, laid out as the parameters */
    COHORT_CLIENT_RESIDUAL, /* what top_k has not sent yet, laid out as the parameters */
    COHORT_CLIENT_NORM,     /* batch_norm's parameters and state of its own */
    COHORT_CLIENT_KINDS
} cohort_client_kind;

/* A vector as it was before the round under way. */
typedef struct cohort_client_saved {
    cohort_client_kind kind;
    size_t client;
    real *copy; /* NULL: there was none */
} cohort_client_saved;

typedef struct cohort_client_store {
    size_t client_count;
    cohort_client_saved *saved;
    size_t saved_count, saved_capacity;
    size_t lengths[COHORT_CLIENT_KINDS]; /* reals of a vector; 0: clients keep no such */
    real **vectors[COHORT_CLIENT_KINDS]; /* [client_count] each; NULL: none yet, or not here */
} cohort_client_store;

/* For CLIENT_COUNT clients with vectors of LENGTHS. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_client_store_init(cohort_client_store *store,
                                                        size_t client_count, const size_t *lengths);
void cohort_client_store_clear(cohort_client_store *store);
/* Whether clients keep anything: then each must be trained where it is at home. */
bool cohort_client_store_is_used(const cohort_client_store *store);
/* *out = the client's vector of KIND, zeroed when it is new. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_client_store_get(real **out, cohort_client_store *store,
                                                       cohort_client_kind kind, size_t client);
/* The same, or NULL when there is none. */
real *cohort_client_store_find(const cohort_client_store *store, cohort_client_kind kind,
                               size_t client);

/* A round that is dropped must leave no trace: guard keeps what CLIENT has now, roll_back puts
 * it back, commit forgets it. */
COHORT_NODISCARD cohort_status cohort_client_store_guard(cohort_client_store *store, size_t client);
void cohort_client_store_roll_back(cohort_client_store *store);
void cohort_client_store_commit(cohort_client_store *store);

/* Brings every vector to rank 0, for a checkpoint; release drops those not at home there.
 * Collective. */
COHORT_NODISCARD cohort_status cohort_client_store_collect(cohort_client_store *store,
                                                           cohort_comm *comm);
void cohort_client_store_release(cohort_client_store *store, const cohort_comm *comm);
/* Takes every vector that rank 0 has home. Collective. */
COHORT_NODISCARD cohort_status cohort_client_store_spread(cohort_client_store *store,
                                                          cohort_comm *comm);

#endif
