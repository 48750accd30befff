/* Shamir's (1979) secret sharing of 32-byte secrets: any THRESHOLD of COUNT shares give the secret
 * back, fewer say nothing about it.
 *
 * The secret is cut into limbs of 7 bytes, each the constant term of a random polynomial of degree
 * THRESHOLD - 1 over the field of 2^61 - 1 elements; share v holds the polynomials' values at
 * v + 1. The field is large enough for any number of clients, and its arithmetic takes the same
 * time whatever the numbers are. */
#ifndef COHORT_PRIVACY_SHAMIR_H
#define COHORT_PRIVACY_SHAMIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { COHORT_SHAMIR_SECRET_BYTES = 32, COHORT_SHAMIR_LIMBS = 5 };

typedef struct cohort_shamir_share {
    uint64_t limbs[COHORT_SHAMIR_LIMBS];
} cohort_shamir_share;

/* SHARES [count] of SECRET [COHORT_SHAMIR_SECRET_BYTES]; 1 <= THRESHOLD <= COUNT. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_shamir_split(cohort_shamir_share *shares,
                                                   const unsigned char *secret, size_t count,
                                                   size_t threshold);

/* WEIGHTS [count]: what shares OWNERS [count] (their numbers, all different) are multiplied by to
 * give the secret. */
void cohort_shamir_weights(uint64_t *weights, const size_t *owners, size_t count);
/* SECRET from as many shares as the threshold asks for, in the order of the owners. False when
 * they are not shares of any secret; wrong shares may also give a wrong secret: compare it with
 * something. */
bool cohort_shamir_join(unsigned char *secret, const uint64_t *weights,
                        const cohort_shamir_share *shares, size_t count);

#endif
