#include "data/convert.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernel/clones.h"

enum { PATTERN_LANES = 16, PATTERN_LONG = 192, BLOCK = 4096 };

size_t cohort_element_bytes(cohort_element element)
{
    return element == COHORT_U8 ? 1 : 4;
}

static double pick(const double *values, size_t count, size_t channel, double absent)
{
    return count == 0 ? absent : values[count == 1 ? 0 : channel];
}

cohort_status cohort_scaling_make(cohort_scaling *scaling, double scale, const double *mean,
                                  size_t mean_count, const double *std, size_t std_count,
                                  size_t channels)
{
    *scaling = (cohort_scaling){0};
    COHORT_REQUIRE(isfinite(scale) && scale != 0, COHORT_USAGE,
                   "data.scale is %g; give a number other than 0", scale);
    COHORT_REQUIRE(mean_count <= 1 || mean_count == channels, COHORT_USAGE,
                   "data.mean has %zu values but x has %zu channels; give one value or %zu",
                   mean_count, channels, channels);
    COHORT_REQUIRE(std_count <= 1 || std_count == channels, COHORT_USAGE,
                   "data.std has %zu values but x has %zu channels; give one value or %zu",
                   std_count, channels, channels);
    /* Repeated until whole vectors fit and the inner loop is long enough to pay. */
    size_t period = mean_count <= 1 && std_count <= 1 ? 1 : channels;
    if (period > 1 && period < PATTERN_LONG)
        period *= PATTERN_LANES;
    while (period > 1 && period < PATTERN_LONG)
        period *= 2;
    COHORT_TRY(COHORT_ALLOCATE(&scaling->factor, 2 * period));
    scaling->offset = scaling->factor + period;
    scaling->period = period;
    for (size_t i = 0; i < period; i++) {
        double m = pick(mean, mean_count, i % channels, 0),
               s = pick(std, std_count, i % channels, 1);
        if (!isfinite(m) || !(s > 0) || !isfinite(s)) {
            cohort_scaling_clear(scaling);
            return COHORT_FAIL(COHORT_USAGE,
                               "data.mean %g, data.std %g (channel %zu): mean must be finite and "
                               "std positive",
                               m, s, i % channels);
        }
        scaling->factor[i] = (float)(scale / s);
        scaling->offset[i] = (float)(-m / s);
    }
    return COHORT_OK;
}

void cohort_scaling_clear(cohort_scaling *scaling)
{
    cohort_free(scaling->factor);
    *scaling = (cohort_scaling){0};
}

/* One scale function per stored type; the period-1 loop keeps both numbers in
 * registers, the other walks the pattern. */
#define DEFINE_SCALE(name, type)                                                                   \
    COHORT_CLONES void name(float *out, const type *x, size_t count,                               \
                            const cohort_scaling *scaling)                                         \
    {                                                                                              \
        const size_t period = scaling->period;                                                     \
        const float *restrict factor = scaling->factor, *restrict offset = scaling->offset;        \
        if (period == 1) {                                                                         \
            const float a = factor[0], b = offset[0];                                              \
            _Pragma("omp simd") for (size_t i = 0; i < count; i++) out[i] = (float)x[i] * a + b;   \
            return;                                                                                \
        }                                                                                          \
        for (size_t begin = 0; begin < count; begin += period) {                                   \
            const size_t run = count - begin < period ? count - begin : period;                    \
            float *to = out + begin;                                                               \
            const type *from = x + begin;                                                          \
            _Pragma("omp simd") for (size_t i = 0; i < run; i++) to[i] =                           \
                (float)from[i] * factor[i] + offset[i];                                            \
        }                                                                                          \
    }

DEFINE_SCALE(cohort_scale_u8, uint8_t)
DEFINE_SCALE(cohort_scale_i32, int32_t)
DEFINE_SCALE(cohort_scale_f32, float)

void cohort_scale(float *out, const void *x, cohort_element element, size_t count,
                  const cohort_scaling *scaling)
{
    if (element == COHORT_U8)
        cohort_scale_u8(out, x, count, scaling);
    else if (element == COHORT_I32)
        cohort_scale_i32(out, x, count, scaling);
    else
        cohort_scale_f32(out, x, count, scaling);
}

COHORT_CLONES void cohort_widen_u8_i32(int32_t *out, const uint8_t *x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        out[i] = x[i];
}

COHORT_CLONES static void float_of_u8(float *out, const uint8_t *x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        out[i] = x[i];
}

COHORT_CLONES static void float_of_i32(float *out, const int32_t *x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        out[i] = (float)x[i];
}

void cohort_to_float(float *out, const void *x, cohort_element element, size_t count)
{
    if (element == COHORT_U8)
        float_of_u8(out, x, count);
    else if (element == COHORT_I32)
        float_of_i32(out, x, count);
    else
        memcpy(out, x, count * sizeof *out);
}

static const uint32_t EXPONENT = 0x7f800000u;

/* How many of BITS have all exponent bits set: NaN or infinity. */
COHORT_CLONES static uint32_t count_nonfinite(const uint32_t *bits, size_t count)
{
    uint32_t bad = 0;
#pragma omp simd reduction(+ : bad)
    for (size_t i = 0; i < count; i++)
        bad += (bits[i] & EXPONENT) == EXPONENT;
    return bad;
}

size_t cohort_find_nonfinite(const float *x, size_t count)
{
    uint32_t bits[BLOCK];
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const size_t run = count - begin < BLOCK ? count - begin : BLOCK;
        memcpy(bits, x + begin, run * sizeof *x);
        if (count_nonfinite(bits, run) == 0)
            continue;
        for (size_t i = 0; i < run; i++)
            if ((bits[i] & EXPONENT) == EXPONENT)
                return begin + i;
    }
    return count;
}

size_t cohort_narrow_i64(int32_t *out, const int64_t *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (x[i] < INT32_MIN || x[i] > INT32_MAX)
            return i;
        out[i] = (int32_t)x[i];
    }
    return count;
}

size_t cohort_narrow_u64(int32_t *out, const uint64_t *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (x[i] > INT32_MAX)
            return i;
        out[i] = (int32_t)x[i];
    }
    return count;
}

COHORT_CLONES void cohort_range_i32(int32_t *least, int32_t *most, const int32_t *x, size_t count)
{
    int32_t low = *least, high = *most;
#pragma omp simd reduction(min : low) reduction(max : high)
    for (size_t i = 0; i < count; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *least = low;
    *most = high;
}
