/* Renyi differential privacy of the sampled Gaussian mechanism.
 *
 * With mu0 = N(0, s^2) and mu = (1 - q) N(0, s^2) + q N(1, s^2), the divergence of order a is
 * log A / (a - 1), A = E_{mu0}[(mu / mu0)^a] (Mironov, Talwar, Zhang 2019, theorem 4 and
 * corollary 7: this direction is the larger one). */
#include <math.h>
#include <stdbool.h>

#include "privacy/account.h"

/* What rounding may have taken away; figures are raised by it. */
static const double SLACK = 1e-10, ABSOLUTE_SLACK = 1e-13;

static double log_add(double a, double b)
{
    const double high = a > b ? a : b, low = a > b ? b : a;
    return low == -INFINITY ? high : high + log1p(exp(low - high));
}

/* log(e^x - 1), x > 0 */
static double log_expm1(double x)
{
    return x > 30 ? x + log1p(-exp(-x)) : log(expm1(x));
}

/* log erfc(x) also where erfc underflows: the asymptotic series, an upper bound after an even
 * number of terms behind the first. */
static double log_erfc(double x)
{
    if (x < 20)
        return log(erfc(x));
    const double y = 1 / (2 * x * x);
    return -x * x - log(x * sqrt(M_PI)) + log1p(-y + 3 * y * y);
}

/* log A for integer a: A - 1 = sum_{k=2}^a C(a, k) (1-q)^(a-k) q^k (e^{(k^2-k)/(2 s^2)} - 1),
 * all terms positive (equation 10, less the sum of the binomial probabilities). */
static double log_moment_integer(double q, double noise, unsigned order)
{
    double sum = -INFINITY;
    const double a = order;
    for (unsigned i = 2; i <= order; i++) {
        const double k = i;
        const double choose = lgamma(a + 1) - lgamma(k + 1) - lgamma(a - k + 1);
        sum = log_add(sum, choose + k * log(q) + (a - k) * log1p(-q) +
                               log_expm1((k * k - k) / (2 * noise * noise)));
    }
    return sum > 0 ? sum + log1p(exp(-sum)) : log1p(exp(sum));
}

/* log A for any a (section 3.3): both halves of the integral, split at z0 where
 * (1 - q) mu0 = q mu1, as binomial series. From i > a on the terms alternate and shrink, so that
 * the first one left out bounds the rest. */
static double log_moment_real(double q, double noise, double a)
{
    const double width = M_SQRT2 * noise, twice = 2 * noise * noise;
    const double z0 = noise * noise * (log1p(-q) - log(q)) + 0.5;
    double sum = 0, log_choose = 0, omitted = INFINITY, scale = 0;
    int sign = 1;
    for (unsigned n = 0; n < 10000000; n++) {
        const double i = n, j = a - i;
        const double lower = log_choose + i * log(q) + j * log1p(-q) + (i * i - i) / twice +
                             log_erfc((i - z0) / width) - M_LN2;
        const double upper = log_choose + j * log(q) + i * log1p(-q) + (j * j - j) / twice +
                             log_erfc((z0 - j) / width) - M_LN2;
        if (n == 0)
            scale = lower > upper ? lower : upper;
        else if (lower > scale + 600 || upper > scale + 600)
            return INFINITY; /* beyond what this order is good for */
        omitted = exp(lower - scale) + exp(upper - scale);
        if (i > a && omitted < 1e-13 * sum)
            break;
        sum += sign * omitted;
        log_choose += log(fabs(a - i) / (i + 1));
        if (i > a)
            sign = -sign;
    }
    return scale + log(sum + omitted + ABSOLUTE_SLACK * sum);
}

double cohort_renyi_step(double q, double noise_multiplier, double order)
{
    const bool is_integer = order == floor(order) && order <= 4096;
    if (q <= 0)
        return 0;
    if (!(noise_multiplier > 0))
        return INFINITY;
    if (q >= 1)
        return order / (2 * noise_multiplier * noise_multiplier);
    const double moment = is_integer ? log_moment_integer(q, noise_multiplier, (unsigned)order)
                                     : log_moment_real(q, noise_multiplier, order);
    return isnan(moment) ? INFINITY : moment * (1 + SLACK) / (order - 1);
}

/* Orders: 1.25 to 11 by quarters, then whole ones. */
enum { FRACTIONS = 40, ORDERS = FRACTIONS + 70 };

static double order_at(size_t index)
{
    static const double large[] = {72,  80,  96,  112, 128, 160,  192,  224, 256,
                                   320, 384, 512, 640, 768, 1024, 1536, 2048};
    if (index < FRACTIONS)
        return 1.25 + 0.25 * (double)index;
    if (index < FRACTIONS + 53)
        return 12 + (double)(index - FRACTIONS);
    return large[index - FRACTIONS - 53];
}
_Static_assert(ORDERS == FRACTIONS + 53 + 17, "every order has its place");

static double divergence(const cohort_release *releases, size_t count, double order)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        if (releases[i].steps)
            sum += (double)releases[i].steps *
                   cohort_renyi_step(releases[i].q, releases[i].noise_multiplier, order);
    return sum;
}

double cohort_renyi_epsilon(const cohort_release *releases, size_t count, double delta)
{
    double least = INFINITY;
    for (size_t i = 0; i < ORDERS; i++) {
        const double order = order_at(i), sum = divergence(releases, count, order);
        if (sum == 0)
            return 0;
        const double epsilon = sum + log1p(-1 / order) - (log(delta) + log(order)) / (order - 1);
        if (epsilon < least)
            least = epsilon;
    }
    return least > 0 ? least : 0;
}

double cohort_moments_epsilon(const cohort_release *releases, size_t count, double delta)
{
    double least = INFINITY;
    for (unsigned moment = 1; moment <= 64; moment++) {
        const double epsilon =
            divergence(releases, count, moment + 1.0) - log(delta) / (double)moment;
        if (epsilon < least)
            least = epsilon;
    }
    return least;
}

static double normal_tail(double x)
{
    return 0.5 * erfc(x / M_SQRT2);
}

double cohort_gaussian_delta(double noise_multiplier, double epsilon)
{
    const double half = 0.5 / noise_multiplier, shift = epsilon * noise_multiplier;
    return normal_tail(shift - half) - exp(epsilon + log_erfc((shift + half) / M_SQRT2) - M_LN2);
}
