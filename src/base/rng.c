#include "base/rng.h"

#include <math.h>

uint64_t cohort_mix64(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

void cohort_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c0;
        uint64_t p1 = (uint64_t)0xcd9e8d57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

cohort_rng cohort_rng_make(uint64_t seed, cohort_rng_purpose purpose, uint32_t layer, uint64_t time,
                           uint64_t item)
{
    /* 128 + 64 bits hold block, layer, item and a key mixed from the rest. */
    uint64_t key = cohort_mix64(cohort_mix64(seed ^ ((uint64_t)purpose << 56)) ^ time);
    cohort_rng rng = {
        .key = {(uint32_t)key, (uint32_t)(key >> 32)},
        .counter = {0, layer, (uint32_t)item, (uint32_t)(item >> 32)},
        .used = 4,
    };
    return rng;
}

void cohort_rng_seek(cohort_rng *rng, uint64_t index)
{
    rng->counter[0] = (uint32_t)(index / 4);
    rng->used = 4;
    unsigned skip = (unsigned)(index % 4);
    if (skip) {
        cohort_rng_u32(rng);
        rng->used = skip;
    }
}

uint32_t cohort_rng_u32(cohort_rng *rng)
{
    if (rng->used == 4) {
        cohort_philox(rng->block, rng->counter, rng->key);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint64_t cohort_rng_u64(cohort_rng *rng)
{
    uint64_t high = cohort_rng_u32(rng);
    return high << 32 | cohort_rng_u32(rng);
}

float cohort_rng_float(cohort_rng *rng)
{
    return (float)(cohort_rng_u32(rng) >> 8) * 0x1p-24f;
}

double cohort_rng_double(cohort_rng *rng)
{
    return (double)(cohort_rng_u64(rng) >> 11) * 0x1p-53;
}

uint32_t cohort_rng_below(cohort_rng *rng, uint32_t bound)
{
    if (bound == 0)
        return 0;
    uint64_t product = (uint64_t)cohort_rng_u32(rng) * bound;
    if ((uint32_t)product < bound) {
        uint32_t threshold = (uint32_t)-bound % bound;
        while ((uint32_t)product < threshold)
            product = (uint64_t)cohort_rng_u32(rng) * bound;
    }
    return (uint32_t)(product >> 32);
}

double cohort_rng_normal(cohort_rng *rng)
{
    double u = ((double)cohort_rng_u32(rng) + 0.5) * 0x1p-32;
    double v = ((double)cohort_rng_u32(rng) + 0.5) * 0x1p-32;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

cohort_permutation cohort_permutation_make(uint64_t count, uint64_t seed,
                                           cohort_rng_purpose purpose, uint32_t layer,
                                           uint64_t time)
{
    cohort_permutation permutation = {.count = count, .half_bits = 1};
    while (permutation.half_bits < 31 && (uint64_t)1 << (2 * permutation.half_bits) < count)
        permutation.half_bits++;
    cohort_rng rng = cohort_rng_make(seed, purpose, layer, time, UINT64_MAX);
    for (int round = 0; round < 8; round++)
        permutation.round_key[round] = cohort_rng_u32(&rng);
    return permutation;
}

uint64_t cohort_permutation_at(const cohort_permutation *permutation, uint64_t index)
{
    const unsigned bits = permutation->half_bits;
    const uint32_t mask = (uint32_t)(((uint64_t)1 << bits) - 1);
    do {
        uint32_t left = (uint32_t)(index >> bits) & mask, right = (uint32_t)index & mask;
        for (int round = 0; round < 8; round++) {
            uint32_t hash = right ^ permutation->round_key[round];
            hash = (hash ^ (hash >> 16)) * 0x7feb352du;
            hash = (hash ^ (hash >> 15)) * 0x846ca68bu;
            hash ^= hash >> 16;
            uint32_t next = left ^ (hash & mask);
            left = right;
            right = next;
        }
        index = (uint64_t)left << bits | right;
    } while (index >= permutation->count);
    return index;
}
