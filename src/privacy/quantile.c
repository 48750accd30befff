#include "privacy/quantile.h"

#include <math.h>

#include "privacy/noise.h"

double cohort_quantile_count_noise(double mean_units, double noise_multiplier)
{
    return fmax(mean_units / 20, noise_multiplier);
}

double cohort_quantile_vector_noise(double noise_multiplier, double count_noise)
{
    const double share = noise_multiplier / (2 * count_noise);
    return share < 1 ? noise_multiplier / sqrt((1 - share) * (1 + share)) : INFINITY;
}

double cohort_quantile_share(double halves, double count_noise, double mean_units,
                             const cohort_secret *secret, uint64_t step, uint64_t index)
{
    const double noisy = cohort_noise_add_one(halves, secret, step, index, count_noise);
    return noisy / mean_units + 0.5;
}

double cohort_quantile_next(double clip, double share, double quantile, double lr, double least,
                            double most)
{
    const double next = clip * exp(-lr * (share - quantile));
    return next < least ? least : next > most ? most : next;
}
