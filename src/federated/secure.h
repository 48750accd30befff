/* A simulation's rounds by secure aggregation (privacy/secure_sum.h): every rank plays its share of
 * the clients, and the coordinator beside all others. The sums, and so the model, are the same
 * bits as without. Keys and shares come before training: a client whose update is dropped
 * afterwards has dropped out of the sum, which is restored from the others' shares.
 *
 * Masked are the updates. How many rows a client has, its loss and the norm of its update are
 * figures of the simulation and not covered.
 *
 * Functions that take a federated do nothing, and secure_is says false, without
 * federated.secure_aggregation. */
#ifndef COHORT_FEDERATED_SECURE_H
#define COHORT_FEDERATED_SECURE_H

#include "federated/federated_private.h"
#include "privacy/secure_sum.h"

bool cohort_federated_secure_is(const cohort_federated *federated);
/* The fewest updates a round may have. */
size_t cohort_federated_secure_least(const cohort_federated *federated);
/* The plan of a round of CLIENTS clients. */
cohort_secure_plan cohort_federated_secure_plan(const cohort_federated *federated, size_t clients);
/* Whether rounds of the size at hand can be masked. COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_federated_secure_check(const cohort_federated *federated);

/* Begins the round: keys and shares of round.clients. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_secure_begin(cohort_federated *federated);
/* Masks federated->sums, the weighted update of client INDEX of the round, and adds it to what
 * has come. Rank-local. */
COHORT_NODISCARD cohort_status cohort_federated_secure_take(cohort_federated *federated,
                                                            size_t index);
/* federated->sums = the sum over the clients that round.dropped leaves. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_secure_end(cohort_federated *federated);
/* SUM [count] modulo 2^BITS back to numbers of 64 bits with a sign. */
void cohort_federated_secure_sign(uint64_t *sum, size_t count, unsigned bits);
/* Forgets all keys of the round. */
void cohort_federated_secure_clear(cohort_federated *federated);

/* Bytes a client of the round sends (IS_KEPT: also its vector and the last phase), and gets beside
 * the model, in how many messages. */
double cohort_federated_secure_bytes_up(const cohort_federated *federated, bool is_kept);
double cohort_federated_secure_bytes_down(const cohort_federated *federated);

#endif
