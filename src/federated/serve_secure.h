/* A real client's part of a round by secure aggregation: the state machine of privacy/secure_sum.h
 * behind the coordinator's messages. What does not fit (another round's message, a plan weaker
 * than the recipe's, shares that were tampered with) ends the client's part in the round: it says
 * no more, and the coordinator goes on without it. */
#ifndef COHORT_FEDERATED_SERVE_SECURE_H
#define COHORT_FEDERATED_SERVE_SECURE_H

#include "federated/deploy_private.h"

typedef struct cohort_seat {
    const cohort_recipe *recipe;     /* borrowed */
    const cohort_exchange *exchange; /* borrowed */
    cohort_secure_client *client;    /* NULL: takes part in no sum */
    cohort_secure_plan plan;
    uint64_t attempt;
    unsigned char *sealed; /* [clients][COHORT_SECURE_SEALED_BYTES] once they came, else NULL */
    bool *has_shared;      /* [clients] */
    unsigned char *answer; /* the message to send: */
    size_t answer_bytes;
} cohort_seat;

/* Forgets all keys of the round under way; NULL members are fine. */
void cohort_seat_clear(cohort_seat *seat);

/* Takes LETTER (invite, roster, sealed or survivors) with VECTOR [bytes]. *KIND is that of what to
 * answer (seat->answer), 0 for nothing. COHORT_MEMORY; other failures end the part in the round. */
COHORT_NODISCARD cohort_status cohort_seat_take(uint32_t *kind, cohort_seat *seat,
                                                const cohort_letter *letter,
                                                const unsigned char *vector, size_t bytes);
/* seat->answer = UPDATE [exchange.count] with WEIGHT and RESULT's figures, masked; answer_bytes is
 * 0 when it is in no sum for LETTER's round. RESULT keeps only what the coordinator may see. */
COHORT_NODISCARD cohort_status cohort_seat_mask(cohort_seat *seat, const cohort_letter *letter,
                                                const cohort_fixed *fixed, const real *update,
                                                uint64_t weight, cohort_client_result *result);

#endif
