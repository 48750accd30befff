#include "privacy/fourier.h"

#include <math.h>

#include "base/memory.h"

cohort_status cohort_fourier_init(cohort_fourier *fourier, size_t count)
{
    *fourier = (cohort_fourier){.count = count};
    COHORT_TRY(COHORT_ALLOCATE(&fourier->twiddle, count / 2));
    for (size_t k = 0; k < count / 2; k++) {
        const double angle = 2 * M_PI * (double)k / (double)count;
        fourier->twiddle[k] = CMPLX(cos(angle), -sin(angle));
    }
    return COHORT_OK;
}

void cohort_fourier_clear(cohort_fourier *fourier)
{
    cohort_free(fourier->twiddle);
    *fourier = (cohort_fourier){0};
}

static void reverse_bits(double complex *values, size_t count)
{
    for (size_t i = 1, j = 0; i < count; i++) {
        size_t bit = count / 2;
        for (; j & bit; bit /= 2)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            const double complex kept = values[i];
            values[i] = values[j];
            values[j] = kept;
        }
    }
}

/* Without the tests for infinities that C's complex product makes. */
static double complex product(double complex a, double complex b)
{
    return CMPLX(creal(a) * creal(b) - cimag(a) * cimag(b),
                 creal(a) * cimag(b) + cimag(a) * creal(b));
}

void cohort_fourier_run(double complex *values, const cohort_fourier *fourier, bool inverse)
{
    const size_t count = fourier->count;
    reverse_bits(values, count);
    for (size_t half = 1; half < count; half *= 2) {
        const size_t stride = count / (2 * half);
        for (size_t begin = 0; begin < count; begin += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                const double complex factor = fourier->twiddle[k * stride];
                const double complex high =
                    product(values[begin + half + k], inverse ? conj(factor) : factor);
                values[begin + half + k] = values[begin + k] - high;
                values[begin + k] += high;
            }
        }
    }
}
