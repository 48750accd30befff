/* The fast Fourier transform, for composing distributions. Private to this room. */
#ifndef COHORT_PRIVACY_FOURIER_H
#define COHORT_PRIVACY_FOURIER_H

#include <complex.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* glibc has C11's macro for GCC alone. */
#if !defined(CMPLX) && defined(__clang__)
#define CMPLX(re, im) __builtin_complex((double)(re), (double)(im))
#endif

typedef struct cohort_fourier {
    size_t count;            /* a power of two, at least 2 */
    double complex *twiddle; /* [count / 2] e^{-2 pi i k / count} */
} cohort_fourier;

/* COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_fourier_init(cohort_fourier *fourier, size_t count);
void cohort_fourier_clear(cohort_fourier *fourier);
/* VALUES [count] in place: sum_j v_j e^{-2 pi i j k / count}; INVERSE: with e^{+…}, not divided.
 * Every element is off by at most 4 log2(count) 2^-53 times the sum of |v_j|. */
void cohort_fourier_run(double complex *values, const cohort_fourier *fourier, bool inverse);

#endif
