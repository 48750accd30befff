/* Dropout masks from counter-based random numbers. */
#ifndef COHORT_KERNEL_DROPOUT_H
#define COHORT_KERNEL_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/rng.h"

/* keep [count]: 0 where number i of STREAM, as a fraction of 2^32, is below RATE; else 1.
 * The stream, which is fresh or at a multiple of 4, is not moved. Its numbers are those
 * cohort_rng_u32 would give, computed many at a time. */
void cohort_dropout_draw(uint8_t *keep, const cohort_rng *stream, double rate, size_t count);

/* y = x * factor where kept, else 0. Y may be X. */
void cohort_dropout_apply(real *y, const real *x, const uint8_t *keep, real factor, size_t count);

#endif
