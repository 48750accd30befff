#ifndef COHORT_FEDERATED_DEPLOY_PRIVATE_H
#define COHORT_FEDERATED_DEPLOY_PRIVATE_H

#include "comm/mail.h"
#include "federated/deploy.h"
#include "privacy/secure_sum.h"

typedef enum cohort_letter_kind {
    COHORT_LETTER_JOIN = 1,
    COHORT_LETTER_TRAIN,
    COHORT_LETTER_UPDATE,
    COHORT_LETTER_ALIVE,
    COHORT_LETTER_FINISH,
    COHORT_LETTER_INVITE, /* secure aggregation, in the order of its phases: */
    COHORT_LETTER_KEYS,
    COHORT_LETTER_ROSTER,
    COHORT_LETTER_SHARES,
    COHORT_LETTER_SEALED,
    COHORT_LETTER_SURVIVORS,
    COHORT_LETTER_REVEAL
} cohort_letter_kind;

/* What stands before the vector of a message. */
typedef struct cohort_letter {
    uint32_t kind;
    int32_t status;              /* join: of the start-up; finish: of the run */
    uint64_t round;              /* train, update, secure aggregation */
    uint64_t attempt;            /* the same: answers repeat it */
    uint64_t vector;             /* join: reals of the exchanged vector */
    uint64_t samples;            /* join: rows to train on */
    uint64_t whole;              /* finish: every rank is there */
    double limit, scale;         /* train: cohort_fixed */
    double clip;                 /* train: of a private round; else 0 */
    cohort_client_result result; /* update */
} cohort_letter;
_Static_assert(sizeof(cohort_letter) <= COHORT_FEDERATED_HEADER_BYTES, "a letter is a header");

enum { COHORT_LETTER_TEXT = 1024 }; /* bytes of a message for people behind the header */

/* *out = a parcel with LETTER and room for VECTOR_BYTES behind it. */
COHORT_NODISCARD cohort_status cohort_letter_create(cohort_parcel **out,
                                                    const cohort_letter *letter,
                                                    size_t vector_bytes);
/* Reads the header of a message of BYTES; false when it is none. */
bool cohort_letter_read(cohort_letter *letter, const unsigned char *data, size_t bytes);

/* data.file of rank RANK: {rank} replaced, looked for as any. PATH is replaced. COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_deployment_file(cohort_text *path,
                                                      const cohort_recipe *recipe, int rank);

/* COHORT_DATA: a client whose network exchanges HAS numbers, where the coordinator's has WANTED. */
cohort_status cohort_deployment_refuse_vector(uint64_t has, uint64_t wanted);

/* What an invitation to a secure sum says: the plan's figures and who the client is in it. */
typedef struct cohort_invitation {
    uint64_t clients, threshold, count, bits, index;
    unsigned char session[COHORT_SECURE_SESSION_BYTES];
} cohort_invitation;

/* Under masks the figures of a client's training travel in the masked vector, behind the update:
 * loss, hits and positions, in steps of 2^-COHORT_SECURE_FIGURE_BITS. */
enum { COHORT_SECURE_FIGURES = 3, COHORT_SECURE_FIGURE_BITS = 16 };

/* Bytes of the longest message with CLIENTS clients. */
size_t cohort_deployment_most_bytes(const cohort_exchange *exchange,
                                    const cohort_compression *compression, size_t clients);

/* A mailbox for the messages of RECIPE's run, whose vectors have at most VECTOR_BYTES.
 * Collective. */
COHORT_NODISCARD cohort_status cohort_deployment_open_mail(cohort_mail **out, cohort_comm *comm,
                                                           size_t vector_bytes);

#endif
