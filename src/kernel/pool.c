#include "kernel/pool.h"

#include <omp.h>
#include <stdbool.h>
#include <string.h>

#include "kernel/clones.h"

/* The part of a window that lies on the image. */
typedef struct patch {
    size_t top, bottom, left, right; /* taps */
    size_t y, x;                     /* image position of tap (0, 0) plus padding */
} patch;

static inline patch patch_at(const cohort_window *w, size_t oy, size_t ox)
{
    patch p = {.y = oy * w->stride_y, .x = ox * w->stride_x};
    cohort_window_taps(&p.top, &p.bottom, oy, w->stride_y, w->pad_top, w->height, w->in_height);
    cohort_window_taps(&p.left, &p.right, ox, w->stride_x, w->pad_left, w->width, w->in_width);
    return p;
}

/* Where tap (KY, KX) of patch P lies in an image, in reals. */
static inline size_t patch_offset(const cohort_pool *pool, const patch *p, size_t ky, size_t kx)
{
    const cohort_window *w = &pool->window;
    return ((p->y + ky - w->pad_top) * w->in_width + p->x + kx - w->pad_left) * pool->channels;
}

static size_t in_count(const cohort_pool *pool)
{
    return pool->window.in_height * pool->window.in_width * pool->channels;
}

static size_t out_count(const cohort_pool *pool)
{
    return pool->window.out_height * pool->window.out_width * pool->channels;
}

static bool use_threads(size_t batch)
{
    return batch > 1 && omp_get_max_threads() > 1;
}

/* Whether V takes the place of BEST: larger, or not a number. */
static inline bool wins(real v, real best)
{
    return v > best || v != v;
}

/* Maximum. */

COHORT_CLONES
static void max_start(real *restrict y, uint16_t *restrict winners, const real *restrict x,
                      uint16_t tap, size_t channels)
{
    memcpy(y, x, channels * sizeof *y);
    if (winners)
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            winners[c] = tap;
}

COHORT_CLONES
static void max_step(real *restrict y, uint16_t *restrict winners, const real *restrict x,
                     uint16_t tap, size_t channels)
{
    if (!winners) {
#pragma omp simd
        for (size_t c = 0; c < channels; c++)
            y[c] = wins(x[c], y[c]) ? x[c] : y[c];
        return;
    }
#pragma omp simd
    for (size_t c = 0; c < channels; c++) {
        const bool better = wins(x[c], y[c]);
        y[c] = better ? x[c] : y[c];
        winners[c] = better ? tap : winners[c];
    }
}

static void max_sample(real *y, uint16_t *winners, const cohort_pool *pool, const real *x)
{
    const cohort_window *w = &pool->window;
    const size_t channels = pool->channels;
    for (size_t oy = 0; oy < w->out_height; oy++)
        for (size_t ox = 0; ox < w->out_width; ox++) {
            const patch p = patch_at(w, oy, ox);
            for (size_t ky = p.top; ky < p.bottom; ky++)
                for (size_t kx = p.left; kx < p.right; kx++) {
                    const uint16_t tap = (uint16_t)(ky * w->width + kx);
                    const real *from = x + patch_offset(pool, &p, ky, kx);
                    if (ky == p.top && kx == p.left)
                        max_start(y, winners, from, tap, channels);
                    else
                        max_step(y, winners, from, tap, channels);
                }
            y += channels;
            if (winners)
                winners += channels;
        }
}

/* Two by two without padding, the usual case: one row of Y from two rows of X. */
COHORT_CLONES
static void max_row_2x2(real *restrict y, uint16_t *restrict winners, const real *restrict upper,
                        const real *restrict lower, size_t width, size_t step, size_t channels)
{
    for (size_t ox = 0; ox < width; ox++, y += channels, upper += step, lower += step) {
        const real *restrict upper_right = upper + channels;
        const real *restrict lower_right = lower + channels;
#pragma omp simd
        for (size_t c = 0; c < channels; c++) {
            real best = upper[c];
            int32_t winner = 0;
            winner = wins(upper_right[c], best) ? 1 : winner;
            best = wins(upper_right[c], best) ? upper_right[c] : best;
            winner = wins(lower[c], best) ? 2 : winner;
            best = wins(lower[c], best) ? lower[c] : best;
            winner = wins(lower_right[c], best) ? 3 : winner;
            best = wins(lower_right[c], best) ? lower_right[c] : best;
            y[c] = best;
            if (winners)
                winners[c] = (uint16_t)winner;
        }
        if (winners)
            winners += channels;
    }
}

static bool is_2x2(const cohort_window *w)
{
    return w->height == 2 && w->width == 2 &&
           (w->out_height - 1) * w->stride_y + 2 <= w->in_height &&
           (w->out_width - 1) * w->stride_x + 2 <= w->in_width;
}

static void max_sample_2x2(real *y, uint16_t *winners, const cohort_pool *pool, const real *x)
{
    const cohort_window *w = &pool->window;
    const size_t row = w->in_width * pool->channels, out_row = w->out_width * pool->channels;
    for (size_t oy = 0; oy < w->out_height; oy++) {
        const real *upper = x + oy * w->stride_y * row;
        max_row_2x2(y + oy * out_row, winners ? winners + oy * out_row : NULL, upper, upper + row,
                    w->out_width, w->stride_x * pool->channels, pool->channels);
    }
}

void cohort_max_pool_forward(real *y, uint16_t *winners, const cohort_pool *pool, const real *x,
                             size_t batch)
{
    const size_t in = in_count(pool), out = out_count(pool);
    const bool small = is_2x2(&pool->window);
#pragma omp parallel for schedule(static) if (use_threads(batch))
    for (size_t n = 0; n < batch; n++) {
        uint16_t *w = winners ? winners + n * out : NULL;
        if (small)
            max_sample_2x2(y + n * out, w, pool, x + n * in);
        else
            max_sample(y + n * out, w, pool, x + n * in);
    }
}

COHORT_CLONES
static void max_back_add(real *restrict dx, const real *restrict dy,
                         const uint16_t *restrict winners, uint16_t tap, size_t channels)
{
#pragma omp simd
    for (size_t c = 0; c < channels; c++) {
        const real gradient = dy[c]; /* read in any case: without masks, and without branches */
        dx[c] += winners[c] == tap ? gradient : 0;
    }
}

static void max_back_sample(real *dx, const cohort_pool *pool, const real *dy,
                            const uint16_t *winners)
{
    const cohort_window *w = &pool->window;
    const size_t channels = pool->channels;
    memset(dx, 0, in_count(pool) * sizeof *dx);
    for (size_t oy = 0; oy < w->out_height; oy++)
        for (size_t ox = 0; ox < w->out_width; ox++, dy += channels, winners += channels) {
            const patch p = patch_at(w, oy, ox);
            for (size_t ky = p.top; ky < p.bottom; ky++)
                for (size_t kx = p.left; kx < p.right; kx++)
                    max_back_add(dx + patch_offset(pool, &p, ky, kx), dy, winners,
                                 (uint16_t)(ky * w->width + kx), channels);
        }
}

/* Two by two, side by side: every pixel under a window is written once. */
COHORT_CLONES
static void max_back_row_2x2(real *restrict upper, real *restrict lower, const real *restrict dy,
                             const uint16_t *restrict winners, size_t width, size_t channels)
{
    for (size_t ox = 0; ox < width; ox++, dy += channels, winners += channels) {
        real *restrict upper_right = upper + channels, *restrict lower_right = lower + channels;
#pragma omp simd
        for (size_t c = 0; c < channels; c++) {
            const int32_t winner = winners[c];
            const real gradient = dy[c];
            /* All before the first is stored: a selection then, and not a branch. */
            const real first = winner == 0 ? gradient : 0, second = winner == 1 ? gradient : 0;
            const real third = winner == 2 ? gradient : 0, fourth = winner == 3 ? gradient : 0;
            upper[c] = first;
            upper_right[c] = second;
            lower[c] = third;
            lower_right[c] = fourth;
        }
        upper += 2 * channels;
        lower += 2 * channels;
    }
}

static void max_back_sample_2x2(real *dx, const cohort_pool *pool, const real *dy,
                                const uint16_t *winners)
{
    const cohort_window *w = &pool->window;
    const size_t channels = pool->channels, row = w->in_width * channels;
    const size_t out_row = w->out_width * channels, under = 2 * out_row;
    for (size_t oy = 0; oy < w->out_height; oy++) {
        real *upper = dx + 2 * oy * row, *lower = upper + row;
        max_back_row_2x2(upper, lower, dy + oy * out_row, winners + oy * out_row, w->out_width,
                         channels);
        memset(upper + under, 0, (row - under) * sizeof *dx);
        memset(lower + under, 0, (row - under) * sizeof *dx);
    }
    const size_t below = 2 * w->out_height;
    memset(dx + below * row, 0, (w->in_height - below) * row * sizeof *dx);
}

void cohort_max_pool_backward(real *dx, const cohort_pool *pool, const real *dy,
                              const uint16_t *winners, size_t batch)
{
    const cohort_window *w = &pool->window;
    const size_t in = in_count(pool), out = out_count(pool);
    const bool small = is_2x2(w) && w->stride_y == 2 && w->stride_x == 2;
#pragma omp parallel for schedule(static) if (use_threads(batch))
    for (size_t n = 0; n < batch; n++) {
        if (small)
            max_back_sample_2x2(dx + n * in, pool, dy + n * out, winners + n * out);
        else
            max_back_sample(dx + n * in, pool, dy + n * out, winners + n * out);
    }
}

/* Mean. */

COHORT_CLONES
static void add_scaled(real *restrict y, const real *restrict x, real factor, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] += factor * x[i];
}

static inline real patch_weight(const patch *p)
{
    return 1 / (real)((p->bottom - p->top) * (p->right - p->left));
}

static void average_sample(real *y, const cohort_pool *pool, const real *x)
{
    const cohort_window *w = &pool->window;
    memset(y, 0, out_count(pool) * sizeof *y);
    for (size_t oy = 0; oy < w->out_height; oy++)
        for (size_t ox = 0; ox < w->out_width; ox++, y += pool->channels) {
            const patch p = patch_at(w, oy, ox);
            for (size_t ky = p.top; ky < p.bottom; ky++)
                for (size_t kx = p.left; kx < p.right; kx++)
                    add_scaled(y, x + patch_offset(pool, &p, ky, kx), patch_weight(&p),
                               pool->channels);
        }
}

static void average_back_sample(real *dx, const cohort_pool *pool, const real *dy)
{
    const cohort_window *w = &pool->window;
    memset(dx, 0, in_count(pool) * sizeof *dx);
    for (size_t oy = 0; oy < w->out_height; oy++)
        for (size_t ox = 0; ox < w->out_width; ox++, dy += pool->channels) {
            const patch p = patch_at(w, oy, ox);
            for (size_t ky = p.top; ky < p.bottom; ky++)
                for (size_t kx = p.left; kx < p.right; kx++)
                    add_scaled(dx + patch_offset(pool, &p, ky, kx), dy, patch_weight(&p),
                               pool->channels);
        }
}

void cohort_average_pool_forward(real *y, const cohort_pool *pool, const real *x, size_t batch)
{
    const size_t in = in_count(pool), out = out_count(pool);
#pragma omp parallel for schedule(static) if (use_threads(batch))
    for (size_t n = 0; n < batch; n++)
        average_sample(y + n * out, pool, x + n * in);
}

void cohort_average_pool_backward(real *dx, const cohort_pool *pool, const real *dy, size_t batch)
{
    const size_t in = in_count(pool), out = out_count(pool);
#pragma omp parallel for schedule(static) if (use_threads(batch))
    for (size_t n = 0; n < batch; n++)
        average_back_sample(dx + n * in, pool, dy + n * out);
}

/* 1 / how many of POSITIONS count; 0 when none does. */
static real mean_weight(const real *mask, size_t positions)
{
    size_t count = positions;
    if (mask) {
        count = 0;
        for (size_t t = 0; t < positions; t++)
            count += mask[t] != 0;
    }
    return count ? 1 / (real)count : 0;
}

COHORT_CLONES
static void scale_into(real *restrict y, const real *restrict x, real factor, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] = factor * x[i];
}

void cohort_mean_forward(real *y, const real *x, const real *mask, size_t batch, size_t positions,
                         size_t channels)
{
#pragma omp parallel for schedule(static) if (use_threads(batch))
    for (size_t n = 0; n < batch; n++) {
        const real *counts = mask ? mask + n * positions : NULL;
        const real weight = mean_weight(counts, positions);
        memset(y + n * channels, 0, channels * sizeof *y);
        for (size_t t = 0; t < positions; t++)
            if (!counts || counts[t] != 0)
                add_scaled(y + n * channels, x + (n * positions + t) * channels, weight, channels);
    }
}

void cohort_mean_backward(real *dx, const real *dy, const real *mask, size_t batch,
                          size_t positions, size_t channels)
{
#pragma omp parallel for schedule(static) if (use_threads(batch))
    for (size_t n = 0; n < batch; n++) {
        const real *counts = mask ? mask + n * positions : NULL;
        const real weight = mean_weight(counts, positions);
        for (size_t t = 0; t < positions; t++) {
            const real factor = !counts || counts[t] != 0 ? weight : 0;
            scale_into(dx + (n * positions + t) * channels, dy + n * channels, factor, channels);
        }
    }
}
