#include "federated/fixed.h"

#include <math.h>

/* Bits of a sum without its sign, with one to spare; of an element, so that a double holds
 * it; of an element at least, as many as a float has. */
enum { SUM_BITS = 62, ELEMENT_BITS = 50, LEAST_BITS = 24 };

cohort_status cohort_fixed_make(cohort_fixed *fixed, double limit, uint64_t total_weight)
{
    int weight_bits = 0;
    while (weight_bits < 63 && (uint64_t)1 << weight_bits < total_weight)
        weight_bits++;
    int bits = SUM_BITS - weight_bits;
    bits = bits < ELEMENT_BITS ? bits : ELEMENT_BITS;
    COHORT_REQUIRE(bits >= LEAST_BITS, COHORT_USAGE,
                   "weights that add up to %llu leave only %d bits for an update's element; set "
                   "federated.weighting: uniform",
                   (unsigned long long)total_weight, bits);
    *fixed = (cohort_fixed){.limit = limit,
                            .scale = ldexp(1, bits - (int)ceil(log2(limit))),
                            .sum_bits = (unsigned)(bits + weight_bits) + 2};
    return COHORT_OK;
}

cohort_update_fault cohort_fixed_check(const cohort_fixed *fixed, const real *update, size_t count)
{
    size_t within = 0;
    for (size_t i = 0; i < count; i++)
        within += fabs((double)update[i]) <= fixed->limit;
    if (within == count)
        return COHORT_UPDATE_FINE;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(update[i]))
            return COHORT_UPDATE_NOT_FINITE;
    return COHORT_UPDATE_TOO_LARGE;
}

void cohort_fixed_add(uint64_t *sum, const cohort_fixed *fixed, const real *update, size_t count,
                      uint64_t weight)
{
    const double scale = fixed->scale;
    for (size_t i = 0; i < count; i++)
        sum[i] += weight * (uint64_t)(int64_t)llrint((double)update[i] * scale);
}

double cohort_fixed_norm(const cohort_fixed *fixed, size_t count)
{
    return sqrt((double)count) / 2 / fixed->scale;
}

void cohort_fixed_mean(real *mean, const cohort_fixed *fixed, const uint64_t *sum, size_t count,
                       uint64_t total_weight)
{
    const double divisor = (double)total_weight * fixed->scale;
    for (size_t i = 0; i < count; i++)
        mean[i] = (real)((double)(int64_t)sum[i] / divisor);
}
