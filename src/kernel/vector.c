#include "kernel/vector.h"

#include <string.h>

#include "kernel/clones.h"

/* Elements summed in `real` before the total goes on in double. */
enum { SUM_BLOCK = 2048 };

COHORT_CLONES void cohort_vector_axpy(real *y, real alpha, const real *x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] += alpha * x[i];
}

COHORT_CLONES void cohort_vector_add(real *y, const real *x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] += x[i];
}

COHORT_CLONES void cohort_vector_sum_of(real *y, const real *a, const real *b, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] = a[i] + b[i];
}

COHORT_CLONES void cohort_vector_relu_of_sum(real *y, const real *a, const real *b, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const real sum = a[i] + b[i];
        y[i] = sum < 0 ? 0 : sum;
    }
}

COHORT_CLONES void cohort_vector_relu_gradients(real *restrict dz, real *restrict dy,
                                                const real *restrict y, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        dz[i] = dy[i] = y[i] > 0 ? dy[i] : 0;
}

COHORT_CLONES void cohort_vector_multiply(real *restrict y, const real *restrict x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] *= x[i];
}

COHORT_CLONES void cohort_vector_scale(real *x, real alpha, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        x[i] *= alpha;
}

COHORT_CLONES void cohort_vector_fill(real *x, real value, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        x[i] = value;
}

COHORT_CLONES double cohort_vector_sum(const real *x, size_t count)
{
    double total = 0;
    for (size_t begin = 0; begin < count; begin += SUM_BLOCK) {
        size_t end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = begin; i < end; i++)
            sum += x[i];
        total += (double)sum;
    }
    return total;
}

COHORT_CLONES double cohort_vector_dot(const real *x, const real *y, size_t count)
{
    double total = 0;
    for (size_t begin = 0; begin < count; begin += SUM_BLOCK) {
        size_t end = count - begin < SUM_BLOCK ? count : begin + SUM_BLOCK;
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = begin; i < end; i++)
            sum += x[i] * y[i];
        total += (double)sum;
    }
    return total;
}

COHORT_CLONES void cohort_vector_add_bias(real *z, const real *bias, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        real *row = z + r * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            row[j] += bias[j];
    }
}

/* Sixteen rows at a time: one load and store of a sum serves all of them, and adding
 * short partial sums loses less than adding single elements to a long one. */
COHORT_CLONES void cohort_vector_column_sums(real *restrict sums, const real *restrict x,
                                             size_t rows, size_t width, bool add)
{
    enum { GROUP = 16 };
    if (!add)
        memset(sums, 0, width * sizeof *sums);
    size_t row = 0;
    for (; row + GROUP <= rows; row += GROUP) {
        const real *block = x + row * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            real partial = 0;
            for (size_t r = 0; r < GROUP; r++)
                partial += block[r * width + j];
            sums[j] += partial;
        }
    }
    for (; row < rows; row++) {
        const real *one = x + row * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            sums[j] += one[j];
    }
}
