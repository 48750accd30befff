/* Sums of updates that are exact in any order: whole numbers modulo 2^64.
 *
 * An element x of a client's update becomes weight * round(x 2^e). The exponent e is chosen so
 * that the sum over ALL clients, each at the limit, stays below 2^62: overflow is impossible
 * by construction, on any number of ranks and in any order. What a client contributes is thus
 * a vector of integers: noise and masks of secure sums are added to it, here and nowhere
 * else. */
#ifndef COHORT_FEDERATED_FIXED_H
#define COHORT_FEDERATED_FIXED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"

typedef struct cohort_fixed {
    double limit;      /* largest magnitude of an element */
    double scale;      /* 2^e */
    unsigned sum_bits; /* of any sum, with its sign */
} cohort_fixed;

/* For elements up to LIMIT and weights that add up to at most TOTAL_WEIGHT. COHORT_USAGE when
 * fewer than 24 bits would be left for an element. */
COHORT_NODISCARD cohort_status cohort_fixed_make(cohort_fixed *fixed, double limit,
                                                 uint64_t total_weight);

typedef enum cohort_update_fault {
    COHORT_UPDATE_FINE,
    COHORT_UPDATE_NOT_FINITE,
    COHORT_UPDATE_TOO_LARGE
} cohort_update_fault;

/* What is wrong with UPDATE [count], if anything. */
cohort_update_fault cohort_fixed_check(const cohort_fixed *fixed, const real *update, size_t count);

/* SUM [count] += WEIGHT x UPDATE [count], which has been checked. */
void cohort_fixed_add(uint64_t *sum, const cohort_fixed *fixed, const real *update, size_t count,
                      uint64_t weight);

/* What rounding to whole numbers adds at most to the L2 norm of COUNT elements. */
double cohort_fixed_norm(const cohort_fixed *fixed, size_t count);

/* MEAN [count] = SUM / TOTAL_WEIGHT (above 0), as reals. */
void cohort_fixed_mean(real *mean, const cohort_fixed *fixed, const uint64_t *sum, size_t count,
                       uint64_t total_weight);

#endif
