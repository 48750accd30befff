/* A clip that follows a quantile of what it clips: Andrew, Thakkar, McMahan, Ramaswamy 2021,
 * "Differentially Private Learning with Adaptive Clipping", algorithm 1.
 *
 * Each unit that is drawn adds +1/2 to a count when its norm is within the clip, else -1/2; the
 * count gets noise of standard deviation count_noise and, divided by the mean number of units and
 * raised by 1/2, estimates the share within. The clip then goes by geometric steps to where that
 * share is the quantile.
 *
 * The vectors and the count are one release. A unit changes the vectors by at most the clip and the
 * count by at most 1/2: in units of their noise by 1/vector_noise and 1/(2 count_noise), together
 * by the root of the sum of squares. That is the Gaussian mechanism with noise_multiplier z for
 *   1/z^2 = 1/vector_noise^2 + 1/(2 count_noise)^2        (their theorem 1),
 * so accountants and ledger go on with z, and the vectors get the larger vector_noise. The next
 * clip is made from what has been released and costs nothing more. */
#ifndef COHORT_PRIVACY_QUANTILE_H
#define COHORT_PRIVACY_QUANTILE_H

#include "privacy/secret.h"

/* The count's noise where none is given: a twentieth of MEAN_UNITS (as in the paper), and at least
 * NOISE_MULTIPLIER, which leaves the vectors no more than 1.155 times the noise. */
double cohort_quantile_count_noise(double mean_units, double noise_multiplier);

/* The vectors' noise multiplier such that both releases together have NOISE_MULTIPLIER; INFINITY
 * where the count alone tells more than that (2 COUNT_NOISE <= NOISE_MULTIPLIER). */
double cohort_quantile_vector_noise(double noise_multiplier, double count_noise);

/* The share of units within the clip, with noise, from HALVES: the sum of +1/2 and -1/2 over those
 * drawn. STEP, INDEX: words of SECRET that nothing else takes; INDEX a multiple of 8. May lie
 * outside 0 to 1. */
double cohort_quantile_share(double halves, double count_noise, double mean_units,
                             const cohort_secret *secret, uint64_t step, uint64_t index);

/* The next clip: CLIP e^(-LR (SHARE - QUANTILE)), cut to LEAST to MOST. */
double cohort_quantile_next(double clip, double share, double quantile, double lr, double least,
                            double most);

#endif
