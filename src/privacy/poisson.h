/* Poisson sampling: every member is in a batch with probability q, independent of the others and
 * of other batches. The accountants hold for nothing else. */
#ifndef COHORT_PRIVACY_POISSON_H
#define COHORT_PRIVACY_POISSON_H

#include "privacy/secret.h"

/* The most members a batch out of COUNT may have before cohort_poisson_draw gives up: more come
 * once in 10^20 batches. */
size_t cohort_poisson_most(uint64_t count, double q);

/* MEMBERS [most] = the numbers below COUNT that batch STEP has, ascending; returns how many, or
 * MOST + 1 if they are more. A pure function of its arguments: the same on every rank. Draws by
 * Q rounded down to a multiple of 2^-64. Any thread. */
size_t cohort_poisson_draw(uint64_t *members, size_t most, const cohort_secret *secret,
                           uint64_t step, uint64_t count, double q);

#endif
