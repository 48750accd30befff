#include "base/exact_sum.h"

#include <math.h>

/* Of each digit, which is below 2^24 in a term, save the first. */
static const double units[COHORT_EXACT_DIGITS] = {0x1p4, 0x1p-20, 0x1p-44, 0x1p-68, 0x1p-92};

void cohort_exact_add(double *digits, double value)
{
    if (!(fabs(value) < 0x1p40)) {
        digits[0] += value / units[0];
        return;
    }
    for (int i = 0; i < COHORT_EXACT_DIGITS; i++) {
        const double digit = trunc(value / units[i]);
        digits[i] += digit;
        value -= digit * units[i];
    }
}

double cohort_exact_total(const double *digits)
{
    double total = 0;
    for (int i = COHORT_EXACT_DIGITS; i-- > 0;)
        total += digits[i] * units[i];
    return total;
}
