/* Secure aggregation (Bonawitz et al. 2017, section 4): the sum of clients' vectors of whole
 * numbers, of which the coordinator learns the sum and nothing else, while clients may drop out at
 * any time. State machines that talk by arrays of bytes; who carries them is the caller's affair.
 *
 *   1 keys    client u -> all: two X25519 public keys, for messages and for masks
 *   2 shares  client u -> client v, encrypted, by way of the coordinator: shares of its private
 *             mask key s_u and of its self-mask's seed b_u (Shamir, `threshold` of them restore it)
 *   3 masked  client u -> coordinator:
 *                 y_u = x_u + F(b_u) + sum of F(s_uv) over v > u - sum of F(s_uv) over v < u
 *             modulo 2^bits, v being all whose shares came; F expands a key by ChaCha20, s_uv is
 *             what X25519 makes of s_u and v's public key
 *   4 reveal  client u -> coordinator: of each v its share of b_v if v's y_v arrived, of s_v if
 *             it did not; never both
 *
 * The coordinator adds the y_u; masks between two who sent theirs cancel; it restores and takes
 * away the self-masks of those who did and the pairwise masks of those who did not. After each
 * phase `threshold` clients must be left, else the sum is abandoned and nothing is learned.
 *
 * Threat model. Protected: one client's vector (that it is in the sum, and the sum, are known)
 * against a coordinator that follows the protocol but looks at everything it gets, together with
 * up to threshold - 1 clients, and against whoever reads the network. Messages between clients
 * are authenticated under keys of both; a share that was tampered with on its way is noticed by
 * the client that gets it, one that a client falsifies by the coordinator, which compares what
 * it restores with the public key or a commitment. As more than half of the clients must
 * answer, no two sets of answers can give it both secrets of one client.
 *
 * Not protected:
 *   - one administrator over all ranks (a simulation is always that): who reads the memory of the
 *     clients needs no protocol;
 *   - an active coordinator: public keys are not signed, so it can stand between clients or
 *     invent clients of its own, and it decides who takes part; a coordinator that replays rounds
 *     with other clients learns the difference of two sums. Start from keys you trust if you must
 *     guard against it (the paper's section 6 needs a public key infrastructure);
 *   - what the sum itself tells: add noise (privacy: unit: client) against that;
 *   - clients that lie about their vector: masks hide nonsense as well as sense;
 *   - who takes part, who drops out, and how large vectors are. */
#ifndef COHORT_PRIVACY_SECURE_SUM_H
#define COHORT_PRIVACY_SECURE_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    COHORT_SECURE_KEYS_BYTES = 64,    /* two public keys */
    COHORT_SECURE_SEALED_BYTES = 120, /* shares for one client: nonce, shares, tag */
    COHORT_SECURE_COMMIT_BYTES = 32,
    COHORT_SECURE_REVEALED_BYTES = 40, /* one share */
    COHORT_SECURE_SESSION_BYTES = 16
};

/* What all agree on beforehand. */
typedef struct cohort_secure_plan {
    size_t clients;   /* numbered from 0 */
    size_t threshold; /* more than half of them, at least 2 */
    size_t count;     /* numbers of a vector */
    unsigned bits;    /* sums are modulo 2^bits, 1 to 64 */
    uint64_t round;
    unsigned char session[COHORT_SECURE_SESSION_BYTES]; /* a number used once */
} cohort_secure_plan;

/* The threshold for SHARE (0.5 to 1) of CLIENTS: rounded up, more than half, at least 2. */
size_t cohort_secure_threshold(size_t clients, double share);
/* COHORT_USAGE for a plan that protects nothing. */
COHORT_NODISCARD cohort_status cohort_secure_check(const cohort_secure_plan *plan);

/* plan->session = random bytes; for one sum only. COHORT_INTERNAL without a random source. */
COHORT_NODISCARD cohort_status cohort_secure_draw_session(cohort_secure_plan *plan);

/* Bytes of a client's messages in phases 2, 3 and 4; keys are COHORT_SECURE_KEYS_BYTES. */
size_t cohort_secure_shares_bytes(const cohort_secure_plan *plan);
size_t cohort_secure_masked_bytes(const cohort_secure_plan *plan);
size_t cohort_secure_reveal_bytes(const cohort_secure_plan *plan);
/* All that a client sends, and all that it gets (the roster, others' shares, the list of those who
 * sent) besides what it would get without masks. */
size_t cohort_secure_bytes_up(const cohort_secure_plan *plan);
size_t cohort_secure_bytes_down(const cohort_secure_plan *plan);

/* --- A client --- */

typedef struct cohort_secure_client cohort_secure_client;

/* *out = client INDEX of PLAN, with keys from the operating system. COHORT_USAGE as
 * cohort_secure_check; COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_secure_client_create(cohort_secure_client **out,
                                                           const cohort_secure_plan *plan,
                                                           size_t index);
/* Wipes what is secret; NULL is fine. */
void cohort_secure_client_destroy(cohort_secure_client *client);

/* KEYS [COHORT_SECURE_KEYS_BYTES]: phase 1. */
void cohort_secure_client_advertise(unsigned char *keys, const cohort_secure_client *client);
/* MESSAGE [cohort_secure_shares_bytes]: phase 2: a commitment, then what is sealed for each client
 * (zeros for itself and those without keys). ROSTER [clients][COHORT_SECURE_KEYS_BYTES], zeros
 * for who sent none. COHORT_PEER when fewer than the threshold did; COHORT_DATA for keys that are
 * none, or not this client's own. */
COHORT_NODISCARD cohort_status cohort_secure_client_share(unsigned char *message,
                                                          cohort_secure_client *client,
                                                          const unsigned char *roster);
/* MASKED [cohort_secure_masked_bytes]: phase 3. SEALED [clients][COHORT_SECURE_SEALED_BYTES]: what
 * others have sealed for this client, from HAS_SHARED [clients] only. VALUES [count] modulo
 * 2^bits. COHORT_DATA when a box does not open (names the sender); COHORT_PEER below the
 * threshold. */
COHORT_NODISCARD cohort_status cohort_secure_client_mask(unsigned char *masked,
                                                         cohort_secure_client *client,
                                                         const unsigned char *sealed,
                                                         const bool *has_shared,
                                                         const uint64_t *values);
/* MESSAGE [cohort_secure_reveal_bytes]: phase 4, once: HAS_SENT [clients] are those whose masked
 * vectors arrived. COHORT_PEER below the threshold; COHORT_DATA for a list that cannot be, or a
 * second one. */
COHORT_NODISCARD cohort_status cohort_secure_client_reveal(unsigned char *message,
                                                           cohort_secure_client *client,
                                                           const bool *has_sent);

/* --- The coordinator --- */

typedef enum cohort_secure_phase {
    COHORT_SECURE_KEYS,
    COHORT_SECURE_SHARES,
    COHORT_SECURE_MASKED,
    COHORT_SECURE_REVEAL,
    COHORT_SECURE_DONE
} cohort_secure_phase;

typedef struct cohort_secure_coordinator cohort_secure_coordinator;

COHORT_NODISCARD cohort_status cohort_secure_coordinator_create(cohort_secure_coordinator **out,
                                                                const cohort_secure_plan *plan);
void cohort_secure_coordinator_destroy(cohort_secure_coordinator *coordinator);

/* Takes client INDEX's message of the phase under way. COHORT_DATA for one that is out of place
 * (its phase before was missed, or it sent already): leave it out. */
COHORT_NODISCARD cohort_status cohort_secure_take(cohort_secure_coordinator *coordinator,
                                                  size_t index, const unsigned char *message);
/* Ends the phase: who has not sent is out. COHORT_PEER when fewer than the threshold are left; the
 * message says so, and the sum is over. */
COHORT_NODISCARD cohort_status cohort_secure_end_phase(cohort_secure_coordinator *coordinator);

cohort_secure_phase cohort_secure_phase_of(const cohort_secure_coordinator *coordinator);
/* [clients] Who took part in PHASE, which has ended. */
const bool *cohort_secure_has(const cohort_secure_coordinator *coordinator,
                              cohort_secure_phase phase);
/* ROSTER as clients want it, after phase 1. */
const unsigned char *cohort_secure_roster(const cohort_secure_coordinator *coordinator);
/* SEALED [clients][COHORT_SECURE_SEALED_BYTES] for client INDEX, after phase 2. */
void cohort_secure_deliver(unsigned char *sealed, const cohort_secure_coordinator *coordinator,
                           size_t index);
/* SUM [count] modulo 2^bits of the vectors of all that took part in phase 3, after phase 4.
 * COHORT_DATA when what the shares restore does not fit, naming whose secret it is. */
COHORT_NODISCARD cohort_status cohort_secure_finish(uint64_t *sum,
                                                    cohort_secure_coordinator *coordinator);

/* The coordinator's sum so far of masked vectors, [count]: several that have each taken a part of
 * phase 3's messages add theirs up before it ends (a simulation over ranks does). */
uint64_t *cohort_secure_partial(cohort_secure_coordinator *coordinator);
/* Counts client INDEX as one whose phase 3 message another has taken. */
COHORT_NODISCARD cohort_status cohort_secure_note(cohort_secure_coordinator *coordinator,
                                                  size_t index);

#endif
