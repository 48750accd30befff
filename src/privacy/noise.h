/* The Gaussian mechanism on a sum of clipped vectors.
 *
 * What comes out lies on a grid, g, of 2^-34 to 2^-35 of the noise's standard deviation: the sum is
 * rounded to the grid, a normal number rounded to the grid is added, in integers. That equals
 * rounding (rounded sum + normal number), so it is the Gaussian mechanism followed by a function
 * that knows no data; the low bits of the result, which betray the data when doubles are just added
 * (Mironov 2012), come from the grid alone. Rounding the sum may enlarge what one record changes by
 * g sqrt(count), for which the noise is enlarged.
 *
 * Limits, known and accepted: the normal numbers are made by Box and Muller's method in double
 * precision from 64-bit uniforms (steps finer than the grid by 2^18, none beyond 9.4 standard
 * deviations), by a C library whose timing may depend on them; and the sum of the clipped vectors
 * itself is taken in single precision, so that one record also changes the rounding of others, by
 * some 1e-7 of the sum. */
#ifndef COHORT_PRIVACY_NOISE_H
#define COHORT_PRIVACY_NOISE_H

#include "nn/model.h"
#include "privacy/secret.h"

/* Adds noise of standard deviation CLIP x NOISE_MULTIPLIER to the elements of SUM that belong to
 * trained TENSORS (offsets multiples of 16); others stay. STEP: never the same twice for one
 * SECRET. Not finite elements count as 0. Uses all threads; the result does not depend on their
 * number. Rank-local: call it on one rank and send the result, so that the noise is drawn once
 * and the same everywhere. */
void cohort_noise_add(float *sum, const cohort_tensors *tensors, const cohort_secret *secret,
                      uint64_t step, double clip, double noise_multiplier);

/* VALUE with noise of standard deviation DEVIATION (below 2^32), on a grid likewise, which
 * multiples of 1/2 lie on. Takes the words of STEP from INDEX on, a multiple of 8. Rank-local, as
 * above. */
double cohort_noise_add_one(double value, const cohort_secret *secret, uint64_t step,
                            uint64_t index, double deviation);

#endif
