/* Convolution of images: forward, and the gradients of image, kernel and bias.
 *
 *   y[n][oy][ox][f] = act(bias[f] + sum over ky, kx, c of
 *                         x[n][oy * stride - pad + ky][ox * stride - pad + kx][c]
 *                         * kernel[ky][kx][c][f])
 *
 * Images [batch][height][width][channels], kernels [height][width][in][out] (Keras's
 * layout), zeros outside the image; no flip (a correlation), as in all frameworks.
 *
 * Four ways compute it, each direction for itself. Which is fastest depends on shapes and
 * machine: a rule takes one, and cohort_conv_tune measures:
 *   gemm      blocks of windows are laid out as matrix rows in cache, OpenBLAS multiplies
 *             them (Chellapilla, Puri and Simard 2006);
 *   direct    register tiles of pixels by channels straight on image and kernel, nothing
 *             laid out (Georganas et al. 2018; channels in multiples of a vector);
 *   dnnl      oneDNN, when built with it;
 *   winograd  tiles of 2x2 pixels with 16 products instead of 36 (Lavin and Gray 2016;
 *             windows of 3x3 moved by one, channels in multiples of 16).
 *
 * Work is divided by shapes alone (see conv.c), so the number of threads changes no bit
 * of any result. The batch of cohort_conv_create may: plan the same everywhere. */
#ifndef COHORT_KERNEL_CONV_H
#define COHORT_KERNEL_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"
#include "base/text.h"
#include "kernel/window.h"

typedef enum cohort_conv_way {
    COHORT_CONV_GEMM,
    COHORT_CONV_DIRECT,
    COHORT_CONV_DNNL,
    COHORT_CONV_WINOGRAD,
    COHORT_CONV_WAY_COUNT
} cohort_conv_way;

typedef enum cohort_conv_direction {
    COHORT_CONV_FORWARD,
    COHORT_CONV_DATA,    /* dx from dy */
    COHORT_CONV_WEIGHTS, /* kernel gradient from x and dy */
    COHORT_CONV_DIRECTION_COUNT
} cohort_conv_direction;

typedef struct cohort_conv_shape {
    cohort_window window;
    size_t in_channels, out_channels;
    bool relu; /* y = max(0, .) in the same pass */
    /* Where its height is not 0: y is the largest of each such window over the image that the
     * convolution makes, which is not kept. */
    cohort_window pool;
    bool bf16; /* the dnnl way rounds its operands to bfloat16, where oneDNN is fast at it, and
                  is the one taken then; for CPUs with cohort_bf16_available */
} cohort_conv_shape;

/* A convolution prepared for one shape. Not for concurrent use. */
typedef struct cohort_conv cohort_conv;

/* *out = SHAPE prepared for passes of at most BATCH samples and for as many threads as
 * OpenMP gives now. Destroy with cohort_conv_destroy. TRAINING: backward will be
 * called; NEEDS_DX: with dx. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_conv_create(cohort_conv **out, const cohort_conv_shape *shape,
                                                  size_t batch, bool training, bool needs_dx);
void cohort_conv_destroy(cohort_conv *conv);

/* Reals of scratch that forward and backward want, whatever way is chosen. */
size_t cohort_conv_forward_scratch(const cohort_conv *conv);
size_t cohort_conv_backward_scratch(const cohort_conv *conv);

/* Y [batch][out_height][out_width][out] (of the pool, where there is one; WINNERS is then as in
 * cohort_max_pool_forward) from X [batch][in_height][in_width][in]; BIAS [out] or NULL. SCRATCH
 * 64-byte aligned. Allocates nothing, but that the dnnl way prepares itself on the first pass of
 * each batch size that was not planned (the short last batch of an epoch). */
void cohort_conv_forward(cohort_conv *conv, real *y, uint16_t *winners, const real *x,
                         const real *kernel, const real *bias, size_t batch, real *scratch);

/* Where backward writes; any may be NULL and is then not computed. */
typedef struct cohort_conv_grads {
    real *kernel, *bias; /* added to when ADD, else set */
    real *x;             /* set */
    bool add;
} cohort_conv_grads;

/* GRADS from DY, the gradient of Y. DY is multiplied by the activation's derivative in
 * place. Y is read for that alone and may be NULL without relu; WINNERS may without a pool. */
void cohort_conv_backward(cohort_conv *conv, const cohort_conv_grads *grads, real *dy,
                          const real *x, const real *y, const uint16_t *winners, const real *kernel,
                          size_t batch, real *scratch);

/* The way of each direction as one small number, to be told to other ranks and kept
 * with a run (results of the ways differ in the last bits). */
unsigned cohort_conv_choice(const cohort_conv *conv);
/* Takes a choice; a way that is not available here becomes gemm. */
void cohort_conv_choose(cohort_conv *conv, unsigned choice);
/* Whether WAY can compute DIRECTION here. */
bool cohort_conv_can(const cohort_conv *conv, cohort_conv_direction direction, cohort_conv_way way);
unsigned cohort_conv_choice_with(unsigned choice, cohort_conv_direction direction,
                                 cohort_conv_way way);
cohort_conv_way cohort_conv_choice_way(unsigned choice, cohort_conv_direction direction);
const char *cohort_conv_way_name(cohort_conv_way way);
/* Version of oneDNN, or that this build is without it. TEXT [BYTES]. */
void cohort_conv_library(char *text, size_t bytes);

/* The choice in words, "direct dnnl gemm" for forward, dx and kernel gradient, into TEXT
 * (appended), and back: false unless all of WORDS is that. */
void cohort_conv_write_choice(cohort_text *text, unsigned choice);
bool cohort_conv_read_choice(unsigned *choice, const char *words);

/* Seconds a sample, by direction and way; 0 where not measured. */
typedef struct cohort_conv_times {
    double seconds[COHORT_CONV_DIRECTION_COUNT][COHORT_CONV_WAY_COUNT];
} cohort_conv_times;

/* Measures every way of every direction wanted (without the pool) on a few made-up images, for
 * about SECONDS of CPU in all on one thread, whatever threads and batch CONV has. In each direction
 * the fastest way is taken if it is at least GAIN (1 or more) times as fast as the one taken so
 * far. Results to TIMES. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_conv_tune(cohort_conv *conv, double seconds, double gain,
                                                cohort_conv_times *times);
/* Whether A and B are alike for cohort_conv_tune: times of one are those of the other. */
bool cohort_conv_is_alike(const cohort_conv *a, const cohort_conv *b);

#endif
