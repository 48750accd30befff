/* Transcendental functions that the compiler can put into vector loops: no branches,
 * no calls, no tables. In float their relative error is about 1e-7 (2 ulp); in the
 * double build they are libm's. For use inside kernels marked COHORT_CLONES, in loops
 * under `#pragma omp simd`. */
#ifndef COHORT_KERNEL_MATH_H
#define COHORT_KERNEL_MATH_H

#include <math.h>
#include <stdint.h>

#include "base/real.h"

#define COHORT_INLINE static inline __attribute__((always_inline))

/* Values of Φ and φ, the standard normal distribution. */
#define COHORT_SQRT_HALF 0.70710678118654752440
#define COHORT_INV_SQRT_TAU 0.39894228040143267794

#ifdef COHORT_DOUBLE

COHORT_INLINE real cohort_exp(real x)
{
    return exp(x);
}

COHORT_INLINE real cohort_tanh(real x)
{
    return tanh(x);
}

COHORT_INLINE real cohort_erf(real x)
{
    return erf(x);
}

#else

/* 2^n for n in [-127, 127] (0 at -127), by its bits; anything for other n. */
COHORT_INLINE float cohort_power_of_two(int32_t n)
{
    union {
        uint32_t bits;
        float value;
    } power = {.bits = (uint32_t)(n + 127) << 23};
    return power.value;
}

/* e^x = 2^n e^r, r in ±ln2/2; e^r by its Taylor-like minimax polynomial (Cephes expf).
 * n is rounded by adding 1.5 * 2^23; 2^n is applied in two halves, so that results
 * below the normal range and overflow to infinity come out right. NaN passes. */
COHORT_INLINE float cohort_exp(float x)
{
    const float shift = 12582912.0f;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float rounded = x * 1.44269504088896341f + shift;
    union {
        float value;
        int32_t bits;
    } pun = {.value = rounded};
    int32_t n = pun.bits - 0x4b400000;
    float whole = rounded - shift;
    float r = x - whole * 0.693359375f;
    r = r - whole * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t half = n >> 1;
    return p * cohort_power_of_two(half) * cohort_power_of_two(n - half);
}

/* Near 0 an odd polynomial (Cephes tanhf), else 1 - 2 / (e^2|x| + 1). */
COHORT_INLINE float cohort_tanh(float x)
{
    float z = x * x;
    float near = -5.70498872745e-3f;
    near = near * z + 2.06390887954e-2f;
    near = near * z - 5.37397155531e-2f;
    near = near * z + 1.33314422036e-1f;
    near = near * z - 3.33332819422e-1f;
    near = near * z * x + x;
    float size = fabsf(x);
    float far = copysignf(1.0f - 2.0f / (cohort_exp(2.0f * size) + 1.0f), x);
    return size < 0.625f ? near : far;
}

/* Near 0 an odd polynomial, else 1 - e^p(|x|), minimax polynomials of N. Juffa. */
COHORT_INLINE float cohort_erf(float x)
{
    float t = fabsf(x), s = x * x;
    t = t > 4.0f ? 4.0f : t; /* erf(4) is 1 in float */
    float far = -1.72853470e-5f * t + 3.83197126e-4f;
    float low = -3.88396438e-3f * t + 2.42546219e-2f;
    far = far * (t * t) + low;
    far = far * t - 1.06777877e-1f;
    far = far * t - 6.34846687e-1f;
    far = far * t - 1.28717512e-1f;
    far = far * t - t;
    far = copysignf(1.0f - cohort_exp(far), x);
    float near = -5.96761703e-4f;
    near = near * s + 4.99119423e-3f;
    near = near * s - 2.67681349e-2f;
    near = near * s + 1.12819925e-1f;
    near = near * s - 3.76125336e-1f;
    near = near * s + 1.28379166e-1f;
    near = near * x + x;
    return fabsf(x) > 0.927734375f ? far : near;
}

#endif

/* 1 / (1 + e^-x). */
COHORT_INLINE real cohort_sigmoid(real x)
{
    return 1 / (1 + cohort_exp(-x));
}

/* x Φ(x), Φ by erf ("Gaussian Error Linear Units", Hendrycks and Gimpel 2016). */
COHORT_INLINE real cohort_gelu(real x)
{
    return REAL(0.5) * x * (1 + cohort_erf(x * REAL(COHORT_SQRT_HALF)));
}

/* Its derivative, Φ(x) + x φ(x). */
COHORT_INLINE real cohort_gelu_slope(real x)
{
    real area = REAL(0.5) * (1 + cohort_erf(x * REAL(COHORT_SQRT_HALF)));
    return area + x * REAL(COHORT_INV_SQRT_TAU) * cohort_exp(REAL(-0.5) * x * x);
}

/* Both, for the price of little more than one; the same bits. */
COHORT_INLINE real cohort_gelu_with_slope(real *slope, real x)
{
    const real area = 1 + cohort_erf(x * REAL(COHORT_SQRT_HALF));
    *slope = REAL(0.5) * area + x * REAL(COHORT_INV_SQRT_TAU) * cohort_exp(REAL(-0.5) * x * x);
    return REAL(0.5) * x * area;
}

#endif
