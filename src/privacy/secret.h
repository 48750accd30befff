/* Secret random numbers: ChaCha20 keystreams under a key that nobody else has.
 *
 * Privacy rests on two things that an observer of the model must not know: the noise, and who
 * was drawn into which batch (subsampling amplifies only while it is secret). Neither may
 * therefore come from the recipe's seed. A key is drawn from the operating system when a run, or
 * a continuation of one, starts; it lives in locked, guarded memory that is left out of core
 * dumps, and is never written anywhere: whoever had both the key and a checkpoint could subtract
 * the noise. So a continued run goes on with fresh noise and fresh batches. That is safe, because
 * no key is used for a step twice; storing the key would be safe only if precisely the same steps
 * were repeated, and it would lie beside the model. The price is that a stopped and continued
 * private run is another (as good) sample than the uninterrupted one.
 *
 * A testing seed replaces the key by a function of the seed, so that tests can compare runs. It
 * protects nothing. */
#ifndef COHORT_PRIVACY_SECRET_H
#define COHORT_PRIVACY_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "comm/comm.h"

typedef struct cohort_secret cohort_secret;

/* What a secret is for; each has its own key, also under a testing seed. */
typedef enum cohort_secret_purpose {
    COHORT_SECRET_NOISE = 1, /* of rank 0 alone */
    COHORT_SECRET_SAMPLING   /* the same on all ranks, sent by rank 0 */
} cohort_secret_purpose;

/* *out = a new secret. TESTING_SEED 0: from the operating system, else a function of it and
 * PURPOSE. COHORT_SECRET_SAMPLING is shared over COMM; another one is NULL on ranks above 0.
 * Collective. COHORT_MEMORY when no memory can be locked away; COHORT_INTERNAL without a random
 * source. */
COHORT_NODISCARD cohort_status cohort_secret_create(cohort_secret **out, cohort_comm *comm,
                                                    cohort_secret_purpose purpose,
                                                    uint64_t testing_seed);
/* Wipes it; NULL is fine. */
void cohort_secret_destroy(cohort_secret *secret);

/* WORDS [count] = keystream of stream STREAM (a step, never used twice for different things)
 * from word FIRST, a multiple of 8, on. Any thread. */
void cohort_secret_words(uint64_t *words, const cohort_secret *secret, uint64_t stream,
                         uint64_t first, size_t count);

/* Overwrites what was secret. */
void cohort_secret_wipe(void *bytes, size_t count);

/* "1.0.18", of libsodium. */
const char *cohort_secret_library(void);

#endif
