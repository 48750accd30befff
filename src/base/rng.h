/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel Random
 * Numbers: As Easy as 1, 2, 3", SC 2011).
 *
 * A number is a pure function of what it is for, never of who computes it:
 * (seed, purpose, layer, step or epoch, sample, index). That is what makes the
 * result of a run independent of the number of ranks. */
#ifndef COHORT_BASE_RNG_H
#define COHORT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What a stream is for. Append only: the numbers are part of reproducibility. */
typedef enum cohort_rng_purpose {
    COHORT_RNG_INIT = 1,
    COHORT_RNG_SHUFFLE,
    COHORT_RNG_SPLIT,
    COHORT_RNG_DROPOUT,
    COHORT_RNG_AUGMENT,
    COHORT_RNG_MASKING,
    COHORT_RNG_CLIENTS,
    COHORT_RNG_PARTITION,
    COHORT_RNG_NOISE,
    COHORT_RNG_GENERATE,
    COHORT_RNG_DIGITS,
    COHORT_RNG_CONVERT,
    COHORT_RNG_TEST,
    COHORT_RNG_COMPRESS,
    COHORT_RNG_SEARCH,
    COHORT_RNG_FOLDS
} cohort_rng_purpose;

/* A stream; copyable, no resources behind it. */
typedef struct cohort_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* [0] is the block index within the stream */
    uint32_t block[4];
    unsigned used; /* words of `block` handed out */
} cohort_rng;

/* One Philox4x32-10 block. */
void cohort_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* The stream for SEED and PURPOSE, told apart by LAYER (or any small index), TIME
 * (step or epoch) and ITEM (sample row). 2^34 numbers before it repeats. */
cohort_rng cohort_rng_make(uint64_t seed, cohort_rng_purpose purpose, uint32_t layer, uint64_t time,
                           uint64_t item);

/* Moves the stream to its INDEX-th 32-bit number, so that numbers can be drawn
 * in any order (index / 4 is the block). */
void cohort_rng_seek(cohort_rng *rng, uint64_t index);

uint32_t cohort_rng_u32(cohort_rng *rng);
uint64_t cohort_rng_u64(cohort_rng *rng);
/* Uniform in [0, 1), 24 bits. */
float cohort_rng_float(cohort_rng *rng);
/* Uniform in [0, 1), 53 bits. */
double cohort_rng_double(cohort_rng *rng);
/* Uniform integer in [0, bound), unbiased (Lemire 2019); 0 if bound is 0. */
uint32_t cohort_rng_below(cohort_rng *rng, uint32_t bound);
/* Standard normal (Box-Muller on two 32-bit numbers). */
double cohort_rng_normal(cohort_rng *rng);

/* A pseudo-random permutation of [0, count) without memory: where INDEX goes.
 * A balanced Feistel network over the next even power of two, walked until the
 * value falls inside (Black and Rogaway 2002). Keyed by (seed, purpose, layer,
 * time); index < count. */
typedef struct cohort_permutation {
    uint32_t round_key[8];
    uint64_t count;
    unsigned half_bits;
} cohort_permutation;

cohort_permutation cohort_permutation_make(uint64_t count, uint64_t seed,
                                           cohort_rng_purpose purpose, uint32_t layer,
                                           uint64_t time);
uint64_t cohort_permutation_at(const cohort_permutation *permutation, uint64_t index);

/* A strong 64-bit mixer (SplitMix64 finaliser), for deriving keys. */
uint64_t cohort_mix64(uint64_t value);

#endif
