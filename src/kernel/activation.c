#include "kernel/activation.h"

#include <string.h>

#include "kernel/clones.h"
#include "kernel/math.h"
#include "kernel/softmax.h"
#include "kernel/vector.h"

const char *const cohort_activation_names[] = {"linear", "relu",    "leaky_relu", "gelu",
                                               "tanh",   "sigmoid", "softmax",    NULL};

bool cohort_activation_needs_input(cohort_activation activation)
{
    return activation == COHORT_GELU;
}

COHORT_INLINE real leaky(real x, real slope)
{
    return x > 0 ? x : slope * x;
}

/* Elements are computed BLOCK at a time, a short last block in a buffer: the compiler rounds
 * differently in the vectors of a loop and in what is left over, and no element's bits may depend
 * on how many others there are. */
enum { BLOCK = 64 };

static size_t block_size(size_t count, size_t begin)
{
    return count - begin < BLOCK ? count - begin : BLOCK;
}

/* One loop over the elements for each function. y and z are the same memory or do not
 * overlap, so an element never depends on another. */
#define FORWARD_LOOP(name, expression)                                                             \
    COHORT_CLONES static void name##_forward(real *y, const real *z, real slope, size_t count)     \
    {                                                                                              \
        real in[BLOCK] = {0}, out[BLOCK];                                                          \
        (void)slope;                                                                               \
        for (size_t begin = 0; begin < count; begin += BLOCK) {                                    \
            const size_t size = block_size(count, begin);                                          \
            const real *from = size < BLOCK ? memcpy(in, z + begin, size * sizeof *z) : z + begin; \
            real *to = size < BLOCK ? out : y + begin;                                             \
            _Pragma("omp simd") for (size_t i = 0; i < BLOCK; i++)                                 \
            {                                                                                      \
                real x = from[i];                                                                  \
                to[i] = (expression);                                                              \
            }                                                                                      \
            if (size < BLOCK)                                                                      \
                memcpy(y + begin, out, size * sizeof *y);                                          \
        }                                                                                          \
    }

/* dz = dy * factor, the factor from y or z, called s; dy is called d. */
#define BACKWARD_LOOP(name, expression)                                                            \
    COHORT_CLONES static void name##_backward(real *dz, const real *dy, const real *saved,         \
                                              real slope, size_t count)                            \
    {                                                                                              \
        real in[2][BLOCK] = {{0}}, out[BLOCK];                                                     \
        (void)slope;                                                                               \
        for (size_t begin = 0; begin < count; begin += BLOCK) {                                    \
            const size_t size = block_size(count, begin), bytes = size * sizeof *dz;               \
            const real *s_from =                                                                   \
                size < BLOCK ? memcpy(in[0], saved + begin, bytes) : saved + begin;                \
            const real *d_from = size < BLOCK ? memcpy(in[1], dy + begin, bytes) : dy + begin;     \
            real *to = size < BLOCK ? out : dz + begin;                                            \
            _Pragma("omp simd") for (size_t i = 0; i < BLOCK; i++)                                 \
            {                                                                                      \
                real s = s_from[i], d = d_from[i];                                                 \
                to[i] = (expression);                                                              \
            }                                                                                      \
            if (size < BLOCK)                                                                      \
                memcpy(dz + begin, out, bytes);                                                    \
        }                                                                                          \
    }

/* A NaN must not turn into 0, or divergence would go unseen: hence "x < 0 ? 0 : x". */
FORWARD_LOOP(relu, x < 0 ? 0 : x)
FORWARD_LOOP(leaky_relu, leaky(x, slope))
FORWARD_LOOP(gelu, cohort_gelu(x))
FORWARD_LOOP(tanh, cohort_tanh(x))
FORWARD_LOOP(sigmoid, cohort_sigmoid(x))

BACKWARD_LOOP(relu, s > 0 ? d : 0)
BACKWARD_LOOP(leaky_relu, s > 0 ? d : slope * d)
BACKWARD_LOOP(gelu, d *cohort_gelu_slope(s))
BACKWARD_LOOP(tanh, d *(1 - s * s))
BACKWARD_LOOP(sigmoid, d *s *(1 - s))

COHORT_CLONES static void gelu_keeping(real *y, real *z, size_t count)
{
    real in[BLOCK] = {0}, out[BLOCK];
    for (size_t begin = 0; begin < count; begin += BLOCK) {
        const size_t size = block_size(count, begin), bytes = size * sizeof *z;
        real *from = size < BLOCK ? memcpy(in, z + begin, bytes) : z + begin;
        real *to = size < BLOCK ? out : y + begin;
#pragma omp simd
        for (size_t i = 0; i < BLOCK; i++)
            to[i] = cohort_gelu_with_slope(&from[i], from[i]);
        if (size < BLOCK) {
            memcpy(y + begin, out, bytes);
            memcpy(z + begin, in, bytes);
        }
    }
}

/* relu is cheap enough for the bias to be worth a loop of its own. */
COHORT_CLONES static void bias_relu(real *y, const real *bias, size_t rows, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        real *row = y + r * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            real x = row[j] + bias[j];
            row[j] = x < 0 ? 0 : x;
        }
    }
}

void cohort_activation_forward(cohort_activation activation, real slope, real *y, const real *z,
                               size_t rows, size_t width)
{
    size_t count = rows * width;
    switch (activation) {
    case COHORT_LINEAR:
        if (y != z)
            memcpy(y, z, count * sizeof *y);
        break;
    case COHORT_RELU:
        relu_forward(y, z, slope, count);
        break;
    case COHORT_LEAKY_RELU:
        leaky_relu_forward(y, z, slope, count);
        break;
    case COHORT_GELU:
        gelu_forward(y, z, slope, count);
        break;
    case COHORT_TANH:
        tanh_forward(y, z, slope, count);
        break;
    case COHORT_SIGMOID:
        sigmoid_forward(y, z, slope, count);
        break;
    case COHORT_SOFTMAX:
        cohort_softmax_forward(y, z, rows, width);
        break;
    }
}

/* Rows are taken in blocks that stay in the first-level cache from pass to pass. */
static size_t rows_in_cache(size_t width)
{
    const size_t cached = 4096;
    return width > 0 && width < cached ? cached / width : 1;
}

void cohort_gelu_forward_keeping(real *y, real *z, const real *bias, size_t rows, size_t width)
{
    const size_t block = rows_in_cache(width);
    for (size_t row = 0; row < rows; row += block) {
        const size_t part = rows - row < block ? rows - row : block, offset = row * width;
        if (bias)
            cohort_vector_add_bias(z + offset, bias, part, width);
        gelu_keeping(y + offset, z + offset, part * width);
    }
}

void cohort_activation_forward_bias(cohort_activation activation, real slope, real *y, real *z,
                                    const real *bias, size_t rows, size_t width)
{
    if (activation == COHORT_RELU && y == z) {
        bias_relu(y, bias, rows, width);
        return;
    }
    const size_t block = rows_in_cache(width);
    for (size_t row = 0; row < rows; row += block) {
        size_t part = rows - row < block ? rows - row : block, offset = row * width;
        cohort_vector_add_bias(z + offset, bias, part, width);
        cohort_activation_forward(activation, slope, y + offset, z + offset, part, width);
    }
}

void cohort_activation_backward(cohort_activation activation, real slope, real *dz, const real *dy,
                                const real *saved, size_t rows, size_t width)
{
    size_t count = rows * width;
    switch (activation) {
    case COHORT_LINEAR:
        if (dz != dy)
            memcpy(dz, dy, count * sizeof *dz);
        break;
    case COHORT_RELU:
        relu_backward(dz, dy, saved, slope, count);
        break;
    case COHORT_LEAKY_RELU:
        leaky_relu_backward(dz, dy, saved, slope, count);
        break;
    case COHORT_GELU:
        gelu_backward(dz, dy, saved, slope, count);
        break;
    case COHORT_TANH:
        tanh_backward(dz, dy, saved, slope, count);
        break;
    case COHORT_SIGMOID:
        sigmoid_backward(dz, dy, saved, slope, count);
        break;
    case COHORT_SOFTMAX:
        cohort_softmax_backward(dz, dy, saved, rows, width);
        break;
    }
}
