/* How much a series of noisy releases tells about one record: epsilon for a given delta.
 *
 * A release is STEPS repetitions of the Poisson-subsampled Gaussian mechanism: every record is
 * drawn on its own with probability q, what the drawn ones contribute (each at most `clip` in
 * L2 norm) is summed, and normal noise of standard deviation noise_multiplier x clip is added to
 * every element. Two data sets are neighbours when one has a record that the other lacks (its
 * row being empty, so that the others keep their numbers). All releases of a list are about the
 * same records and each may depend on what the earlier ones gave: they compose.
 *
 * Every epsilon given here is an upper bound. Two accountants stand side by side:
 *   Renyi   RDP of the mechanism (Mironov, Talwar, Zhang 2019) at many orders, converted by
 *           Canonne, Kamath, Steinke 2020 (proposition 12); fast, up to a fifth above the truth.
 *   loss    the privacy loss distribution (Koskela et al. 2020; Gopi et al. 2021), on a grid that
 *           dominates the mechanism (Doroshenko et al. 2022), composed by FFT; what was cut off
 *           and a bound on the rounding are added to delta. */
#ifndef COHORT_PRIVACY_ACCOUNT_H
#define COHORT_PRIVACY_ACCOUNT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct cohort_release {
    double q;                /* probability that a record is drawn, in [0, 1] */
    double noise_multiplier; /* standard deviation of the noise / clip, above 0 */
    uint64_t steps;
} cohort_release;

typedef enum cohort_accountant {
    COHORT_ACCOUNTANT_LOSS, /* the smaller of both, each being an upper bound */
    COHORT_ACCOUNTANT_RENYI
} cohort_accountant;

/* *epsilon = an upper bound for RELEASES[0..count) at DELTA in (0, 1); 0 for none of them,
 * INFINITY where no bound is known. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_account(double *epsilon, cohort_accountant accountant,
                                              const cohort_release *releases, size_t count,
                                              double delta);

/* *noise_multiplier = the least noise (to 4 digits, rounded up) for which PAST[0..count) and then
 * STEPS steps at Q stay within TARGET at DELTA. COHORT_USAGE when none does: the past alone
 * spends it. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_account_noise(double *noise_multiplier,
                                                    cohort_accountant accountant, double target,
                                                    const cohort_release *past, size_t count,
                                                    double q, uint64_t steps, double delta);

/* The parts; see account.h's top for sources. */

/* Renyi divergence of order ORDER > 1 of one step (an upper bound within 1e-9 of itself). */
double cohort_renyi_step(double q, double noise_multiplier, double order);
double cohort_renyi_epsilon(const cohort_release *releases, size_t count, double delta);
/* By the moments accountant's conversion (Abadi et al. 2016, theorem 2), integer moments up to
 * 64: looser; for comparison with published figures. */
double cohort_moments_epsilon(const cohort_release *releases, size_t count, double delta);

COHORT_NODISCARD cohort_status cohort_loss_epsilon(double *epsilon, const cohort_release *releases,
                                                   size_t count, double delta);

/* The exact delta of one Gaussian mechanism without sampling at EPSILON >= 0 (Balle and Wang
 * 2018, theorem 8); k of them are one with noise_multiplier / sqrt(k). */
double cohort_gaussian_delta(double noise_multiplier, double epsilon);

#endif
