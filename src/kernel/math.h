/* Transcendental functions that the compiler can put into vector loops: no branches,
 * no calls, no tables. In float their relative error is about 1e-7 (2 ulp); in the
 * double build they are libm's. For use inside kernels marked COHORT_CLONES, in loops
 * under `#pragma omp simd`. */
#ifndef COHORT_KERNEL_MATH_H
#define COHORT_KERNEL_MATH_H

#include <math.h>
#include <stdint.h>

#include "base/real.h"
#include "kernel/clones.h"

/* Values of Φ and φ, the standard normal distribution. */
#define COHORT_SQRT_HALF 0.70710678118654752440
#define COHORT_INV_SQRT_TAU 0.39894228040143267794

#ifdef COHORT_DOUBLE

COHORT_INLINE real cohort_exp_down(real x)
{
    return exp(x);
}

COHORT_INLINE real cohort_tanh(real x)
{
    return tanh(x);
}

COHORT_INLINE real cohort_normal(real *density, real x)
{
    *density = COHORT_INV_SQRT_TAU * exp(-0.5 * x * x);
    return 0.5 * erfc(-x * COHORT_SQRT_HALF);
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

/* e^x = 2^n e^r with |r| <= ln 2 / 2: returns e^r, by Cephes's minimax polynomial (expf). n is
 * rounded by adding 1.5 * 2^23. */
COHORT_INLINE float cohort_exp_reduced(int32_t *n, float x)
{
    const float shift = 12582912.0f;
    float rounded = x * 1.44269504088896341f + shift;
    union {
        float value;
        int32_t bits;
    } pun = {.value = rounded};
    *n = pun.bits - 0x4b400000;
    float whole = rounded - shift;
    float r = x - whole * 0.693359375f;
    r = r - whole * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * r * r + r + 1.0f;
}

/* e^x for x up to 80; 0 where that is below the normal range. NaN passes. */
COHORT_INLINE float cohort_exp_down(float x)
{
    int32_t n;
    x = x < -88.0f ? -88.0f : x; /* 2^-127, by its bits, is 0 */
    float p = cohort_exp_reduced(&n, x);
    return p * cohort_power_of_two(n);
}

/* Near 0 an odd polynomial (Cephes tanhf), else (1 - e^-2|x|) / (1 + e^-2|x|). */
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
    float e = cohort_exp_down(-2.0f * size);
    float far = copysignf((1.0f - e) / (1.0f + e), x);
    return size < 0.625f ? near : far;
}

/* Φ(x), and φ(x) into *density. Φ(-|x|) = e^(-x²/2) u P(u) / 2 with u = 1 / (1 + 0.38 |x| / √2):
 * u P(u) is a minimax polynomial for erfcx(|x| / √2), within 2e-8 of it for |x| < 13; beyond that
 * the density is 0 in float. The tail keeps its relative accuracy, and one exponential does for
 * both. */
COHORT_INLINE float cohort_normal(float *density, float x)
{
    const float u = 1.0f / (1.0f + 0.26870058f * fabsf(x));
    const float e = cohort_exp_down(-0.5f * x * x);
    float p = 0.058896020f;
    p = p * u - 0.26192069f;
    p = p * u + 0.36307868f;
    p = p * u - 0.16051332f;
    p = p * u + 0.22933120f;
    p = p * u + 0.13896558f;
    p = p * u + 0.20381999f;
    p = p * u + 0.21393242f;
    p = p * u + 0.21441013f;
    const float tail = 0.5f * e * (p * u);
    *density = 0.39894228f * e;
    return x > 0 ? 1.0f - tail : tail;
}

#endif

/* 1 / (1 + e^-x), by e^-|x|. */
COHORT_INLINE real cohort_sigmoid(real x)
{
    const real e = cohort_exp_down(-REAL_FN(fabs)(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* x Φ(x) ("Gaussian Error Linear Units", Hendrycks and Gimpel 2016), and its derivative,
 * Φ(x) + x φ(x), into *slope. */
COHORT_INLINE real cohort_gelu_with_slope(real *slope, real x)
{
    real density, area = cohort_normal(&density, x);
    *slope = area + x * density;
    return x * area;
}

COHORT_INLINE real cohort_gelu(real x)
{
    real density;
    return x * cohort_normal(&density, x);
}

COHORT_INLINE real cohort_gelu_slope(real x)
{
    real slope;
    cohort_gelu_with_slope(&slope, x);
    return slope;
}

#endif
