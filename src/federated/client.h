/* One client's part of a round: train the network it is sent on its own rows, give back what
 * changed. The same in a simulation and in a deployment. */
#ifndef COHORT_FEDERATED_CLIENT_H
#define COHORT_FEDERATED_CLIENT_H

#include "federated/compress.h"
#include "federated/fixed.h"
#include "federated/store.h"
#include "federated/strategy.h"
#include "train/local.h"

/* How the vectors that go down and up are laid out, in reals: parameters, then the moving
 * averages of batch_norm, then the control variate (SCAFFOLD). */
typedef struct cohort_exchange {
    size_t params, state, control;
    size_t count; /* of all three */
} cohort_exchange;

cohort_exchange cohort_exchange_of(const cohort_model *model, const cohort_strategy *strategy);

typedef struct cohort_client cohort_client;

/* Which client trains what, when. */
typedef struct cohort_client_task {
    size_t client;  /* its number, from 0: a key for random numbers */
    size_t slot;    /* where the store has it */
    uint64_t round; /* from 0 */
    size_t epochs;
    const uint64_t *rows; /* [row_count] of the data set */
    size_t row_count;
    const real *global; /* [exchange.count] what the server sent */
    double clip;        /* of a private round; 0: privacy.clip */
    bool (*should_stop)(void *context);
    void *stop_context;
} cohort_client_task;

/* What came of it, as it is sent and summed: plain numbers. */
typedef struct cohort_client_result {
    double loss, correct, count; /* sums over the positions trained on */
    double rows;
    double fault;   /* cohort_update_fault; not 0: there is no update */
    double norm;    /* of the update's parameters, before it was bounded */
    double stopped; /* on request: there is no update */
} cohort_client_result;

/* *out = a client by RECIPE on DATASET (both borrowed) with at most MOST_ROWS rows. FIXED is
 * what updates must fit. Rank-local; errors as cohort_local_create. */
COHORT_NODISCARD cohort_status cohort_client_create(cohort_client **out,
                                                    const cohort_recipe *recipe,
                                                    cohort_dataset *dataset, size_t most_rows);
void cohort_client_destroy(cohort_client *client);

cohort_local *cohort_client_local(cohort_client *client);
/* Reals of the vectors it keeps, for its store. */
void cohort_client_lengths(size_t lengths[COHORT_CLIENT_KINDS], const cohort_client *client);
/* batch_norm's own parameters within a COHORT_CLIENT_NORM vector (owned by CLIENT); the
 * network's state stands behind them, from *state_offset on. */
cohort_tensors cohort_client_norm_tensors(size_t *state_offset, const cohort_client *client);

/* Trains by TASK, with what the client keeps in STORE. Unless it is faulty or stopped, the
 * update is in PAYLOAD (payload_bytes), as it is sent. */
COHORT_NODISCARD cohort_status cohort_client_train(cohort_client_result *result,
                                                   unsigned char *payload, cohort_client *client,
                                                   cohort_client_store *store,
                                                   const cohort_client_task *task,
                                                   const cohort_fixed *fixed);
/* Sets the network to TASK's start: what the server sent and what the client keeps. */
void cohort_client_begin(cohort_client *client, const cohort_client_store *store,
                         const cohort_client_task *task);

/* UPDATE's parameters clipped to CLIP, less what rounding to FIXED may add; zeros when they are not
 * finite. */
void cohort_client_clip(real *update, const cohort_exchange *exchange, const cohort_fixed *fixed,
                        double clip);

/* Bytes of an update as it is sent, without its header. */
size_t cohort_client_payload_bytes(const cohort_exchange *exchange,
                                   const cohort_compression *compression);
/* UPDATE [exchange.count] = what PAYLOAD says. COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_client_unpack(real *update, const cohort_exchange *exchange,
                                                    const cohort_compression *compression,
                                                    const unsigned char *payload);
/* SUMS [exchange.count] += UPDATE with WEIGHT. Control variates count every client alike, whatever
 * its rows (Karimireddy et al. 2020). */
void cohort_client_add(uint64_t *sums, const cohort_exchange *exchange, const cohort_fixed *fixed,
                       const real *update, uint64_t weight);

#endif
