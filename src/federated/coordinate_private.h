/* What the parts of rank 0 of a deployment share. Client k is rank k + 1. */
#ifndef COHORT_FEDERATED_COORDINATE_PRIVATE_H
#define COHORT_FEDERATED_COORDINATE_PRIVATE_H

#include "federated/deploy_private.h"
#include "privacy/secure_sum.h"

typedef enum cohort_member_state {
    MEMBER_STARTING,
    MEMBER_JOINED,
    MEMBER_GONE, /* its process has ended */
    MEMBER_LEFT  /* has said goodbye */
} cohort_member_state;

typedef struct cohort_member {
    cohort_member_state state;
    uint64_t rows;
    bool is_silent; /* owes an answer whose time is over, and has said nothing since */
} cohort_member;

typedef struct cohort_deployment {
    cohort_comm *job, *alone; /* all ranks; this one */
    cohort_mail *mail;
    size_t count; /* clients */
    cohort_member *members;
    size_t *available; /* [count] scratch */
    size_t wanted;     /* updates of a round */
    uint64_t attempt;  /* at a round; answers to an earlier one are no use */
    double next_alive;
    cohort_secure_coordinator *coordinator; /* of the round under way; NULL without masks */
} cohort_deployment;

/* What the coordinator waits for: messages of KIND from clients INDEX of the round that LACK. */
typedef struct cohort_listener {
    cohort_letter_kind kind;
    void (*take)(cohort_federated *federated, size_t index, const cohort_letter *letter,
                 const unsigned char *vector, size_t bytes);
    bool (*lacks)(const cohort_federated *federated, size_t index);
} cohort_listener;

static inline int cohort_deployment_rank(size_t client)
{
    return (int)client + 1;
}

/* Forgets earlier answers; nobody has answered yet. */
COHORT_NODISCARD cohort_status cohort_deployment_begin_round(cohort_federated *federated);
/* Sends LETTER and VECTOR [bytes] to the round's clients that WHO [round.count] (NULL: all)
 * names. */
COHORT_NODISCARD cohort_status cohort_deployment_send(cohort_federated *federated,
                                                      const cohort_letter *letter,
                                                      const void *vector, size_t bytes,
                                                      const bool *who);
COHORT_NODISCARD cohort_status cohort_deployment_send_model(cohort_federated *federated,
                                                            const bool *who);
/* Takes messages until nobody lacks any more, round_timeout is over or the run is told to stop
 * (round.is_abandoned). */
COHORT_NODISCARD cohort_status cohort_deployment_listen(cohort_federated *federated,
                                                        const cohort_listener *listener);
/* A round by secure aggregation (coordinate_secure.c). */
COHORT_NODISCARD cohort_status cohort_deployment_gather_secure(cohort_federated *federated);

#endif
