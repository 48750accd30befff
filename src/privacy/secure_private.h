/* What client and coordinator of a secure sum both need. */
#ifndef COHORT_PRIVACY_SECURE_PRIVATE_H
#define COHORT_PRIVACY_SECURE_PRIVATE_H

#include "privacy/secure_sum.h"
#include "privacy/shamir.h"

enum { COHORT_SECURE_KEY_BYTES = 32 };

/* The two secrets of a client that others hold shares of. */
typedef struct cohort_secure_pair {
    cohort_shamir_share key, seed; /* of the private mask key, of the self-mask's seed */
} cohort_secure_pair;

void cohort_secure_store(unsigned char bytes[8], uint64_t value);
uint64_t cohort_secure_load(const unsigned char bytes[8]);

/* VECTOR [count] += SIGN (1 or -1) x F(seed of client OWNER), the self-mask. */
void cohort_secure_self_mask(uint64_t *vector, const cohort_secure_plan *plan, size_t owner,
                             const unsigned char *seed, int sign);
/* VECTOR [count] += SIGN x what client U adds for its pair with V, from a private mask key and
 * the other's public one. COHORT_DATA for a public key that is none. */
COHORT_NODISCARD cohort_status cohort_secure_pair_mask(uint64_t *vector,
                                                       const cohort_secure_plan *plan, size_t u,
                                                       size_t v, const unsigned char *private_key,
                                                       const unsigned char *public_key, int sign);
/* What the coordinator keeps to know the seed of client OWNER again. */
void cohort_secure_commit(unsigned char *commitment, const cohort_secure_plan *plan, size_t owner,
                          const unsigned char *seed);
/* Low `bits` bits of each of VALUES [count], one behind the other; and the sum of what they say:
 * VALUES += the unpacked. */
void cohort_secure_pack(unsigned char *bytes, const cohort_secure_plan *plan,
                        const uint64_t *values);
void cohort_secure_add_packed(uint64_t *values, const cohort_secure_plan *plan,
                              const unsigned char *bytes);

#endif
