#include "kernel/conv_ways.h"

#include <string.h>

#include "kernel/clones.h"
#include "kernel/gemm.h"

/* Bytes of laid-out windows at a time: with the kernel they stay in a core's L2. */
enum { BLOCK_BYTES = 384 * 1024 };

/* A 1x1 window without stride or padding: the image is its own matrix of windows. */
static bool is_pointwise(const cohort_conv *conv)
{
    const cohort_window *w = &conv->shape.window;
    return w->height == 1 && w->width == 1 && w->stride_y == 1 && w->stride_x == 1;
}

static size_t block_rows(const cohort_conv *conv)
{
    const size_t row_bytes = conv->shape.window.out_width * conv->sizes.taps * sizeof(real);
    const size_t rows = BLOCK_BYTES / row_bytes;
    return rows ? rows : 1;
}

size_t conv_gemm_work(const cohort_conv *conv)
{
    if (is_pointwise(conv))
        return 0;
    size_t rows = block_rows(conv);
    const size_t most = conv->batch * conv->shape.window.out_height;
    if (rows > most)
        rows = most;
    return rows * conv->shape.window.out_width * conv->sizes.taps;
}

/* Short runs are copied in line: a call costs more than they do. */
static inline void copy_run(real *to, const real *from, size_t count)
{
    if (count >= 64) {
        memcpy(to, from, count * sizeof(real));
        return;
    }
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

static inline void add_run(real *restrict to, const real *restrict from, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* Windows of the output row OY as rows of COLUMNS [out_width][taps]. */
COHORT_CLONES
static void lay_row(real *columns, const cohort_conv *conv, const real *image, size_t oy)
{
    const cohort_window *w = &conv->shape.window;
    const size_t channels = conv->shape.in_channels, run = w->width * channels;
    size_t top, bottom;
    cohort_window_taps(&top, &bottom, oy, w->stride_y, w->pad_top, w->height, w->in_height);
    for (size_t ox = 0; ox < w->out_width; ox++) {
        size_t left, right;
        cohort_window_taps(&left, &right, ox, w->stride_x, w->pad_left, w->width, w->in_width);
        const bool whole = left == 0 && right == w->width;
        for (size_t ky = 0; ky < w->height; ky++, columns += run) {
            if (ky < top || ky >= bottom) {
                memset(columns, 0, run * sizeof(real));
                continue;
            }
            const size_t iy = oy * w->stride_y + ky - w->pad_top;
            const size_t ix = ox * w->stride_x + left - w->pad_left;
            const real *from = image + (iy * w->in_width + ix) * channels;
            if (whole) {
                copy_run(columns, from, run);
                continue;
            }
            memset(columns, 0, left * channels * sizeof(real));
            memcpy(columns + left * channels, from, (right - left) * channels * sizeof(real));
            memset(columns + right * channels, 0, (w->width - right) * channels * sizeof(real));
        }
    }
}

/* The transpose of lay_row: adds COLUMNS to where they were taken from. */
COHORT_CLONES
static void unlay_row(real *image, const cohort_conv *conv, const real *columns, size_t oy)
{
    const cohort_window *w = &conv->shape.window;
    const size_t channels = conv->shape.in_channels, run = w->width * channels;
    size_t top, bottom;
    cohort_window_taps(&top, &bottom, oy, w->stride_y, w->pad_top, w->height, w->in_height);
    for (size_t ox = 0; ox < w->out_width; ox++) {
        size_t left, right;
        cohort_window_taps(&left, &right, ox, w->stride_x, w->pad_left, w->width, w->in_width);
        for (size_t ky = top; ky < bottom; ky++) {
            const size_t iy = oy * w->stride_y + ky - w->pad_top;
            const size_t ix = ox * w->stride_x + left - w->pad_left;
            add_run(image + (iy * w->in_width + ix) * channels,
                    columns + ky * run + left * channels, (right - left) * channels);
        }
        columns += w->height * run;
    }
}

/* Rows are counted through the samples: row = sample * out_height + oy. */
static void lay_rows(real *columns, const cohort_conv *conv, const real *x, size_t row,
                     size_t count)
{
    const cohort_window *w = &conv->shape.window;
    for (size_t i = 0; i < count; i++, row++)
        lay_row(columns + i * w->out_width * conv->sizes.taps, conv,
                x + row / w->out_height * conv->sizes.in_count, row % w->out_height);
}

static void unlay_rows(real *dx, const cohort_conv *conv, const real *columns, size_t row,
                       size_t count)
{
    const cohort_window *w = &conv->shape.window;
    for (size_t i = 0; i < count; i++, row++) {
        real *image = dx + row / w->out_height * conv->sizes.in_count;
        if (row % w->out_height == 0)
            memset(image, 0, conv->sizes.in_count * sizeof(real));
        unlay_row(image, conv, columns + i * w->out_width * conv->sizes.taps, row % w->out_height);
    }
}

void conv_gemm_forward(const cohort_conv *conv, real *y, const real *x, const real *kernel,
                       const real *bias, size_t samples, real *work)
{
    const cohort_window *w = &conv->shape.window;
    const size_t rows = samples * w->out_height, step = block_rows(conv);
    const size_t channels = conv->shape.out_channels, taps = conv->sizes.taps;
    for (size_t row = 0; row < rows; row += step) {
        const size_t count = rows - row < step ? rows - row : step;
        const size_t first = row * w->out_width, pixels = count * w->out_width;
        const real *columns = x + first * taps;
        if (!is_pointwise(conv)) {
            lay_rows(work, conv, x, row, count);
            columns = work;
        }
        cohort_gemm_one_thread(COHORT_PLAIN, COHORT_PLAIN, pixels, channels, taps, columns, kernel,
                               false, y + first * channels);
        conv_finish(y + first * channels, bias, conv->shape.relu, pixels, channels);
    }
}

void conv_gemm_data(const cohort_conv *conv, real *dx, const real *dy, const real *kernel,
                    size_t samples, real *work)
{
    const cohort_window *w = &conv->shape.window;
    const size_t rows = samples * w->out_height, step = block_rows(conv);
    const size_t channels = conv->shape.out_channels, taps = conv->sizes.taps;
    for (size_t row = 0; row < rows; row += step) {
        const size_t count = rows - row < step ? rows - row : step;
        const size_t first = row * w->out_width, pixels = count * w->out_width;
        real *columns = is_pointwise(conv) ? dx + first * taps : work;
        cohort_gemm_one_thread(COHORT_PLAIN, COHORT_TRANSPOSED, pixels, taps, channels,
                               dy + first * channels, kernel, false, columns);
        if (!is_pointwise(conv))
            unlay_rows(dx, conv, columns, row, count);
    }
}

void conv_gemm_weights(const cohort_conv *conv, real *dkernel, const real *x, const real *dy,
                       size_t samples, bool add, real *work)
{
    const cohort_window *w = &conv->shape.window;
    const size_t rows = samples * w->out_height, step = block_rows(conv);
    const size_t channels = conv->shape.out_channels, taps = conv->sizes.taps;
    for (size_t row = 0; row < rows; row += step) {
        const size_t count = rows - row < step ? rows - row : step;
        const size_t first = row * w->out_width, pixels = count * w->out_width;
        const real *columns = x + first * taps;
        if (!is_pointwise(conv)) {
            lay_rows(work, conv, x, row, count);
            columns = work;
        }
        cohort_gemm_one_thread(COHORT_TRANSPOSED, COHORT_PLAIN, taps, channels, pixels, columns,
                               dy + first * channels, add || row > 0, dkernel);
    }
}
