/* What both sides of a secure sum do: masks, packing, sizes. */
#include "privacy/secure_sum.h"

#include <math.h>
#include <sodium.h>
#include <string.h>

#include "privacy/secure_private.h"

/* --- Plans and sizes --- */

size_t cohort_secure_threshold(size_t clients, double share)
{
    const size_t asked = (size_t)ceil(share * (double)clients - 1e-9);
    const size_t least = clients / 2 + 1 > 2 ? clients / 2 + 1 : 2;
    return asked > least ? asked : least;
}

cohort_status cohort_secure_check(const cohort_secure_plan *plan)
{
    COHORT_REQUIRE(plan->clients >= 2, COHORT_USAGE,
                   "a secure sum over %zu client would be that client's vector; take 2 or more",
                   plan->clients);
    COHORT_REQUIRE(
        plan->threshold <= plan->clients && plan->threshold > plan->clients / 2 &&
            plan->threshold >= 2,
        COHORT_USAGE,
        "a secure sum over %zu clients needs a threshold of more than half of them, not %zu",
        plan->clients, plan->threshold);
    COHORT_REQUIRE(plan->bits >= 1 && plan->bits <= 64 && plan->count > 0, COHORT_INTERNAL,
                   "a secure sum of %zu numbers of %u bits", plan->count, plan->bits);
    return COHORT_OK;
}

cohort_status cohort_secure_draw_session(cohort_secure_plan *plan)
{
    COHORT_REQUIRE(sodium_init() >= 0, COHORT_INTERNAL, "libsodium finds no source of randomness");
    randombytes_buf(plan->session, sizeof plan->session);
    return COHORT_OK;
}

size_t cohort_secure_shares_bytes(const cohort_secure_plan *plan)
{
    return COHORT_SECURE_COMMIT_BYTES + plan->clients * COHORT_SECURE_SEALED_BYTES;
}

size_t cohort_secure_masked_bytes(const cohort_secure_plan *plan)
{
    return plan->count / 8 * plan->bits + (plan->count % 8 * plan->bits + 7) / 8;
}

size_t cohort_secure_reveal_bytes(const cohort_secure_plan *plan)
{
    return plan->clients * COHORT_SECURE_REVEALED_BYTES;
}

size_t cohort_secure_bytes_up(const cohort_secure_plan *plan)
{
    return COHORT_SECURE_KEYS_BYTES + cohort_secure_shares_bytes(plan) +
           cohort_secure_masked_bytes(plan) + cohort_secure_reveal_bytes(plan);
}

size_t cohort_secure_bytes_down(const cohort_secure_plan *plan)
{
    const size_t lists = 2 * ((plan->clients + 7) / 8);
    return plan->clients * (COHORT_SECURE_KEYS_BYTES + COHORT_SECURE_SEALED_BYTES) + lists;
}

/* --- Bytes --- */

void cohort_secure_store(unsigned char bytes[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
}

uint64_t cohort_secure_load(const unsigned char bytes[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

void cohort_secure_pack(unsigned char *bytes, const cohort_secure_plan *plan,
                        const uint64_t *values)
{
    unsigned __int128 pending = 0;
    unsigned held = 0;
    const uint64_t keep = UINT64_MAX >> (64 - plan->bits);
    for (size_t i = 0; i < plan->count; i++) {
        pending |= (unsigned __int128)(values[i] & keep) << held;
        for (held += plan->bits; held >= 8; held -= 8) {
            *bytes++ = (unsigned char)pending;
            pending >>= 8;
        }
    }
    if (held > 0)
        *bytes = (unsigned char)pending;
}

void cohort_secure_add_packed(uint64_t *values, const cohort_secure_plan *plan,
                              const unsigned char *bytes)
{
    unsigned __int128 pending = 0;
    unsigned held = 0;
    const uint64_t keep = UINT64_MAX >> (64 - plan->bits);
    for (size_t i = 0; i < plan->count; i++) {
        for (; held < plan->bits; held += 8)
            pending |= (unsigned __int128)*bytes++ << held;
        values[i] += (uint64_t)pending & keep;
        pending >>= plan->bits;
        held -= plan->bits;
    }
}

/* --- Masks --- */

/* KEY = a key for one use: of SECRET in this round between U and V (the same for a self-mask). */
static void derive(unsigned char key[COHORT_SECURE_KEY_BYTES], const cohort_secure_plan *plan,
                   const char *use, size_t u, size_t v, const unsigned char *secret)
{
    unsigned char about[COHORT_SECURE_SESSION_BYTES + 3 * 8 + 8] = {0};
    unsigned char *at = about + COHORT_SECURE_SESSION_BYTES;
    memcpy(about, plan->session, COHORT_SECURE_SESSION_BYTES);
    cohort_secure_store(at, plan->round);
    cohort_secure_store(at + 8, (uint64_t)u);
    cohort_secure_store(at + 16, (uint64_t)v);
    memcpy(at + 24, use, strlen(use));
    crypto_generichash(key, COHORT_SECURE_KEY_BYTES, about, sizeof about, secret,
                       COHORT_SECURE_KEY_BYTES);
}

/* VECTOR += SIGN x the keystream of KEY, as words. */
static void expand(uint64_t *vector, size_t count, const unsigned char *key, int sign)
{
    enum { RUN = 1024, BLOCK_WORDS = 8 };
    static const unsigned char nonce[crypto_stream_chacha20_NONCEBYTES] = {0};
    unsigned char bytes[RUN * 8];
    for (size_t begin = 0; begin < count; begin += RUN) {
        const size_t here = count - begin < RUN ? count - begin : RUN;
        memset(bytes, 0, here * 8);
        crypto_stream_chacha20_xor_ic(bytes, bytes, here * 8, nonce, begin / BLOCK_WORDS, key);
        for (size_t i = 0; i < here; i++) {
            const uint64_t word = cohort_secure_load(bytes + 8 * i);
            vector[begin + i] += sign > 0 ? word : 0 - word;
        }
    }
    sodium_memzero(bytes, sizeof bytes);
}

void cohort_secure_self_mask(uint64_t *vector, const cohort_secure_plan *plan, size_t owner,
                             const unsigned char *seed, int sign)
{
    unsigned char key[COHORT_SECURE_KEY_BYTES];
    derive(key, plan, "self", owner, owner, seed);
    expand(vector, plan->count, key, sign);
    sodium_memzero(key, sizeof key);
}

cohort_status cohort_secure_pair_mask(uint64_t *vector, const cohort_secure_plan *plan, size_t u,
                                      size_t v, const unsigned char *private_key,
                                      const unsigned char *public_key, int sign)
{
    unsigned char shared[crypto_box_BEFORENMBYTES], key[COHORT_SECURE_KEY_BYTES];
    COHORT_REQUIRE(crypto_box_beforenm(shared, public_key, private_key) == 0, COHORT_DATA,
                   "secure sum: client %zu's public mask key is none", v);
    derive(key, plan, "pair", u < v ? u : v, u < v ? v : u, shared);
    expand(vector, plan->count, key, u < v ? sign : -sign);
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(key, sizeof key);
    return COHORT_OK;
}

void cohort_secure_commit(unsigned char *commitment, const cohort_secure_plan *plan, size_t owner,
                          const unsigned char *seed)
{
    derive(commitment, plan, "commit", owner, owner, seed);
}
