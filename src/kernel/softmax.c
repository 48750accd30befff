#include "kernel/softmax.h"

#include "kernel/clones.h"
#include "kernel/math.h"

COHORT_INLINE real row_max(const real *x, size_t width)
{
    real largest = x[0];
#pragma omp simd reduction(max : largest)
    for (size_t j = 1; j < width; j++)
        largest = x[j] > largest ? x[j] : largest;
    return largest;
}

/* y = e^(x - shift); returns the sum. */
COHORT_INLINE real row_exp(real *y, const real *x, real shift, size_t width)
{
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < width; j++) {
        real value = cohort_exp_down(x[j] - shift);
        y[j] = value;
        sum += value;
    }
    return sum;
}

COHORT_CLONES void cohort_softmax_forward(real *y, const real *x, size_t rows, size_t width)
{
    if (width == 0)
        return;
    for (size_t r = 0; r < rows; r++) {
        const real *in = x + r * width;
        real *out = y + r * width;
        real factor = 1 / row_exp(out, in, row_max(in, width), width);
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            out[j] *= factor;
    }
}

COHORT_CLONES void cohort_softmax_backward(real *dx, const real *dy, const real *y, size_t rows,
                                           size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        const real *p = y + r * width, *dp = dy + r * width;
        real *out = dx + r * width;
        real dot = 0;
#pragma omp simd reduction(+ : dot)
        for (size_t j = 0; j < width; j++)
            dot += dp[j] * p[j];
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            out[j] = p[j] * (dp[j] - dot);
    }
}

/* With x shifted by its maximum, log softmax(x) = x - log(sum e^x). */
COHORT_CLONES static double label_cross_entropy(real *dx, const real *x,
                                                const cohort_softmax_target *target, size_t width,
                                                double scale)
{
    real shift = row_max(x, width), sum = 0, total = 0;
    double own = (double)(x[target->label] - shift);
    real keep = (real)(1 - target->smoothing), share = (real)(target->smoothing / (double)width);
    if (share != 0) {
#pragma omp simd reduction(+ : total)
        for (size_t j = 0; j < width; j++)
            total += x[j] - shift;
    }
    if (dx) {
        sum = row_exp(dx, x, shift, width);
        real weight = (real)(target->weight * scale), factor = weight / sum;
        real base = weight * share;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            dx[j] = dx[j] * factor - base;
        dx[target->label] -= weight * keep;
    } else {
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < width; j++)
            sum += cohort_exp_down(x[j] - shift);
    }
    return target->weight * (log((double)sum) - (1 - target->smoothing) * own -
                             target->smoothing / (double)width * (double)total);
}

/* Rows t that need not sum to 1: loss = T log(sum e^x) - sum(t x), T = sum t. */
COHORT_CLONES static double values_cross_entropy(real *dx, const real *x,
                                                 const cohort_softmax_target *target, size_t width,
                                                 double scale)
{
    const real *values = target->values;
    real shift = row_max(x, width), sum = 0, mass = 0, total = 0;
    real keep = (real)(1 - target->smoothing), share = (real)(target->smoothing / (double)width);
#pragma omp simd reduction(+ : sum, mass, total)
    for (size_t j = 0; j < width; j++) {
        real wanted = values[j] * keep + share;
        mass += wanted;
        total += wanted * (x[j] - shift);
        sum += cohort_exp_down(x[j] - shift);
    }
    if (dx) {
        real weight = (real)(target->weight * scale), factor = weight * mass / sum;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            dx[j] = cohort_exp_down(x[j] - shift) * factor - (values[j] * keep + share) * weight;
    }
    return target->weight * (log((double)sum) * (double)mass - (double)total);
}

double cohort_softmax_cross_entropy(real *dx, const real *x, const cohort_softmax_target *target,
                                    size_t width, double scale)
{
    return target->values ? values_cross_entropy(dx, x, target, width, scale)
                          : label_cross_entropy(dx, x, target, width, scale);
}

COHORT_CLONES size_t cohort_argmax(const real *x, size_t width)
{
    if (width == 0)
        return 0;
    real largest = row_max(x, width);
    for (size_t j = 0; j < width; j++)
        if (x[j] == largest)
            return j;
    return 0;
}

COHORT_CLONES bool cohort_is_argmax(const real *x, size_t width, size_t index)
{
    const real own = x[index];
    int before = 0, beyond = 0;
#pragma omp simd reduction(| : before)
    for (size_t j = 0; j < index; j++)
        before |= !(x[j] < own);
#pragma omp simd reduction(| : beyond)
    for (size_t j = index; j < width; j++)
        beyond |= !(x[j] <= own);
    return !(before | beyond);
}
