#include "privacy/shamir.h"

#include <sodium.h>
#include <string.h>

#include "base/memory.h"

enum { LIMB_BYTES = 7 };

static const uint64_t prime = ((uint64_t)1 << 61) - 1;

/* A number below 2^62 to one below the prime, by no branch. */
static uint64_t reduce(uint64_t x)
{
    x = (x & prime) + (x >> 61);
    const uint64_t less = x - prime;
    const uint64_t keep = 0 - (less >> 63); /* all ones when x was below the prime already */
    return (x & keep) | (less & ~keep);
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return reduce(a + b);
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    return reduce((uint64_t)(product & prime) + (uint64_t)(product >> 61));
}

/* a^(prime - 2). */
static uint64_t invert(uint64_t a)
{
    uint64_t result = 1;
    for (uint64_t exponent = prime - 2; exponent; exponent >>= 1) {
        if (exponent & 1)
            result = multiply(result, a);
        a = multiply(a, a);
    }
    return result;
}

/* Uniform below the prime. */
static uint64_t draw(void)
{
    uint64_t word;
    do {
        randombytes_buf(&word, sizeof word);
        word >>= 3;
    } while (word == prime);
    return word;
}

static uint64_t load_limb(const unsigned char *secret, size_t limb)
{
    uint64_t value = 0;
    for (size_t i = LIMB_BYTES; i-- > 0;) {
        const size_t at = limb * LIMB_BYTES + i;
        value = value << 8 | (at < COHORT_SHAMIR_SECRET_BYTES ? secret[at] : 0u);
    }
    return value;
}

cohort_status cohort_shamir_split(cohort_shamir_share *shares, const unsigned char *secret,
                                  size_t count, size_t threshold)
{
    uint64_t *terms = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&terms, threshold));
    for (size_t limb = 0; limb < COHORT_SHAMIR_LIMBS; limb++) {
        terms[0] = load_limb(secret, limb);
        for (size_t i = 1; i < threshold; i++)
            terms[i] = draw();
        for (size_t v = 0; v < count; v++) {
            uint64_t value = 0;
            for (size_t i = threshold; i-- > 0;)
                value = add(multiply(value, (uint64_t)v + 1), terms[i]);
            shares[v].limbs[limb] = value;
        }
    }
    sodium_memzero(terms, threshold * sizeof *terms);
    cohort_free(terms);
    return COHORT_OK;
}

/* Lagrange at 0: the product of x_k / (x_k - x_i) over the other points x_k. */
void cohort_shamir_weights(uint64_t *weights, const size_t *owners, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t above = 1, below = 1;
        for (size_t k = 0; k < count; k++) {
            if (k == i)
                continue;
            above = multiply(above, (uint64_t)owners[k] + 1);
            below = multiply(below, add((uint64_t)owners[k], prime - (uint64_t)owners[i]));
        }
        weights[i] = multiply(above, invert(below));
    }
}

bool cohort_shamir_join(unsigned char *secret, const uint64_t *weights,
                        const cohort_shamir_share *shares, size_t count)
{
    bool good = true;
    for (size_t limb = 0; limb < COHORT_SHAMIR_LIMBS; limb++) {
        const size_t at = limb * LIMB_BYTES, left = COHORT_SHAMIR_SECRET_BYTES - at;
        const size_t bytes = left < LIMB_BYTES ? left : LIMB_BYTES;
        uint64_t value = 0;
        for (size_t i = 0; i < count; i++) {
            good = good && shares[i].limbs[limb] < prime;
            value = add(value, multiply(weights[i], shares[i].limbs[limb] & prime));
        }
        good = good && value >> 8 * bytes == 0;
        for (size_t i = 0; i < bytes; i++)
            secret[at + i] = (unsigned char)(value >> 8 * i);
    }
    return good;
}
