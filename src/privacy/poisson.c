#include "privacy/poisson.h"

#include <math.h>

size_t cohort_poisson_most(uint64_t count, double q)
{
    const double mean = q * (double)count;
    /* Bernstein: P(X > mean + t) <= exp(-t^2 / (2 (mean + t / 3))), and t as below gives e^-47. */
    const double most = mean + 32 + 10 * sqrt(mean);
    return most < (double)count ? (size_t)most : (size_t)count;
}

size_t cohort_poisson_draw(uint64_t *members, size_t most, const cohort_secret *secret,
                           uint64_t step, uint64_t count, double q)
{
    enum { WORDS = 1024 };
    uint64_t words[WORDS];
    const bool takes_all = q >= 1;
    const uint64_t limit = takes_all ? UINT64_MAX : (uint64_t)ldexp(q, 64);
    size_t drawn = 0;
    for (uint64_t begin = 0; begin < count; begin += WORDS) {
        const size_t here = count - begin < WORDS ? (size_t)(count - begin) : WORDS;
        cohort_secret_words(words, secret, step, begin, here);
        for (size_t i = 0; i < here; i++) {
            if (!takes_all && words[i] >= limit)
                continue;
            if (drawn == most)
                return most + 1;
            members[drawn++] = begin + i;
        }
    }
    cohort_secret_wipe(words, sizeof words);
    return drawn;
}
