#include "privacy/account.h"

#include <math.h>

#include "base/memory.h"

cohort_status cohort_account(double *epsilon, cohort_accountant accountant,
                             const cohort_release *releases, size_t count, double delta)
{
    *epsilon = cohort_renyi_epsilon(releases, count, delta);
    if (accountant == COHORT_ACCOUNTANT_RENYI)
        return COHORT_OK;
    double other = INFINITY;
    COHORT_TRY(cohort_loss_epsilon(&other, releases, count, delta));
    if (other < *epsilon)
        *epsilon = other;
    return COHORT_OK;
}

static const double NOISE_LEAST = 0.1, NOISE_MOST = 1e6, NOISE_DIGITS = 1e-4;

cohort_status cohort_account_noise(double *noise_multiplier, cohort_accountant accountant,
                                   double target, const cohort_release *past, size_t count,
                                   double q, uint64_t steps, double delta)
{
    cohort_release *all = NULL;
    double low = NOISE_LEAST, high = NOISE_LEAST, epsilon = INFINITY;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&all, count + 1));
    for (size_t i = 0; i < count; i++)
        all[i] = past[i];
    all[count] = (cohort_release){.q = q, .noise_multiplier = high, .steps = steps};
    COHORT_TRY_DONE(status, cohort_account(&epsilon, accountant, past, count, delta));
    COHORT_REQUIRE_DONE(status, epsilon < target, COHORT_USAGE,
                        "privacy.target_epsilon: %g is spent already (epsilon is %.4g before the "
                        "first step); raise it",
                        target, epsilon);
    for (;; high *= 2) {
        all[count].noise_multiplier = high;
        COHORT_TRY_DONE(status, cohort_account(&epsilon, accountant, all, count + 1, delta));
        if (epsilon <= target)
            break;
        COHORT_REQUIRE_DONE(status, high < NOISE_MOST, COHORT_USAGE,
                            "privacy.target_epsilon: no noise is enough for %g at delta %g over "
                            "%llu steps; raise it or train for fewer steps",
                            target, delta, (unsigned long long)steps);
        low = high;
    }
    while (high > low * (1 + NOISE_DIGITS)) {
        const double middle = sqrt(low * high);
        all[count].noise_multiplier = middle;
        COHORT_TRY_DONE(status, cohort_account(&epsilon, accountant, all, count + 1, delta));
        if (epsilon <= target)
            high = middle;
        else
            low = middle;
    }
    *noise_multiplier = high;
done:
    cohort_free(all);
    return status;
}
