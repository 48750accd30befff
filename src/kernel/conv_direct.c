/* The direct way. A tile of pixels by vectors of channels is held in registers while
 * the taps of the window pass by: a tap costs one broadcast per pixel and one load per
 * vector. With channels innermost in image and kernel nothing needs to be packed, and
 * pixels of a tile may lie anywhere, so that small images cost no more than large ones.
 *
 *   forward  acc[pixel][vector] over taps of   x[pixel + tap] * kernel[tap][vector]
 *   data     the same on dy, framed by zeros, with the kernel turned around
 *   weights  acc[tap][vector] over pixels of   x[pixel + tap] * dy[pixel][vector] */
#include "kernel/conv_ways.h"

#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/fma.h"

enum {
    GROUP_BYTES = 128 * 1024, /* of images handled together: a part of L2 */
    GROUP_PIXELS = 512,       /* enough for full tiles */
    V_MAX = 4,
    POSITIONS_LEAST = 6, /* samples, to fill a tile */
    PACKED_TAPS = 64,    /* with fewer, laying dy out anew costs more than it saves */
    ACCUMULATORS = 24    /* at most, of 32 registers; the rest hold operands */
};

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

/* What a forward tile needs. A pixel's window begins at x + offsets[pixel]. */
typedef struct forward_args {
    real *y; /* at the first channel of the block */
    const real *x, *kernel, *bias;
    const uint32_t *offsets;
    size_t pixels, y_step;          /* from pixel to pixel of y */
    size_t rows, run;               /* of the window */
    size_t x_row;                   /* from window row to window row */
    size_t kernel_row, kernel_step; /* the same of the kernel; from tap to tap */
    bool relu;
} forward_args;

/* What a tile of the kernel's gradient needs. */
typedef struct weights_args {
    real *dkernel; /* at the first tap and channel of the tile */
    const real *x, *dy;
    const uint32_t *offsets;
    size_t pixels, dy_step; /* from pixel to pixel of dy */
    size_t channels;
    bool add;
} weights_args;

typedef struct tile_choice {
    size_t vectors, count; /* pixels or taps */
    void (*forward)(const forward_args *);
    void (*weights)(const weights_args *);
} tile_choice;

/* 32 registers of 64 bytes. */
#ifdef COHORT_HAVE_WIDE
#define TILE(name) wide_##name
#define TILE_BYTES 64
#define TILE_DEPTH 4
#define TILE_FMA COHORT_FMA
#define TILE_SHAPES(X) X(4, 6, 3, 2) X(2, 12, 6, 3) X(1, 24, 12, 6)
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#include "kernel/conv_tiles.h"
#pragma GCC pop_options
#endif

/* 16 registers of 32 bytes. */
#ifdef COHORT_HAVE_TARGETS
#define TILE(name) narrow_##name
#define TILE_BYTES 32
#define TILE_DEPTH 4
#define TILE_FMA COHORT_FMA
#define TILE_SHAPES(X) X(2, 6, 3, 2) X(1, 12, 6, 3)
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#include "kernel/conv_tiles.h"
#pragma GCC pop_options
#endif

/* Any machine. */
#define TILE(name) plain_##name
#define TILE_BYTES 32
#define TILE_DEPTH 1
#define TILE_FMA COHORT_MULTIPLY_ADD
#define TILE_SHAPES(X) X(2, 6, 3, 2) X(1, 12, 6, 3)
#include "kernel/conv_tiles.h"

/* The tiles of this machine's registers. */
typedef struct conv_tile_set {
    size_t lanes, most_vectors, accumulators;
    const tile_choice *choices; /* most vectors and then most pixels first */
} conv_tile_set;

conv_registers conv_direct_registers(void)
{
#ifdef COHORT_HAVE_WIDE
    if (__builtin_cpu_supports("x86-64-v4"))
        return CONV_WIDE;
#endif
#ifdef COHORT_HAVE_TARGETS
    if (__builtin_cpu_supports("x86-64-v3"))
        return CONV_NARROW;
#endif
    return CONV_UNKNOWN;
}

static const conv_tile_set *tiles_here(void)
{
#ifdef COHORT_HAVE_WIDE
    static const conv_tile_set wide = {wide_LANES, 4, 24, wide_choices};
    if (conv_direct_registers() == CONV_WIDE)
        return &wide;
#endif
#ifdef COHORT_HAVE_TARGETS
    static const conv_tile_set narrow = {narrow_LANES, 2, 12, narrow_choices};
    if (conv_direct_registers() == CONV_NARROW)
        return &narrow;
#endif
    static const conv_tile_set plain = {plain_LANES, 2, 12, plain_choices};
    return &plain;
}

/* Planning. */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool direct_fits(const conv_direct *d, size_t batch)
{
    return d->out_channels % d->tiles->lanes == 0 &&
           d->padded_height * d->padded_width * d->in_channels <= UINT32_MAX / (batch + 1);
}

/* Samples whose images take BYTES each, at least AT_LEAST of them. */
static size_t group_of(size_t bytes, size_t at_least, size_t batch)
{
    const size_t count = GROUP_BYTES / bytes;
    return least(count > at_least ? count : at_least, batch);
}

/* The taps along one axis that lie on the image, summed over output positions. */
static size_t taps_on_image(size_t out, size_t stride, size_t pad, size_t size, size_t in)
{
    size_t sum = 0;
    for (size_t o = 0; o < out; o++) {
        size_t begin, end;
        cohort_window_taps(&begin, &end, o, stride, pad, size, in);
        sum += end - begin;
    }
    return sum;
}

/* Whether leaving out the products with zeros saves more than a ninth. */
static bool positions_pay(const cohort_window *w)
{
    const size_t all = w->out_height * w->height * w->out_width * w->width;
    return all / 9 * 8 >
           taps_on_image(w->out_height, w->stride_y, w->pad_top, w->height, w->in_height) *
               taps_on_image(w->out_width, w->stride_x, w->pad_left, w->width, w->in_width);
}

static void direct_fill_offsets(conv_direct *d)
{
    const cohort_window *w = &d->window;
    for (size_t i = 0; i < d->group * d->pixels; i++) {
        const size_t n = i / d->pixels, oy = i % d->pixels / w->out_width, ox = i % w->out_width;
        const size_t row = n * d->padded_height + oy * w->stride_y;
        d->offsets[i] = (uint32_t)((row * d->padded_width + ox * w->stride_x) * d->in_channels);
    }
    for (size_t n = 0; n < d->position_group; n++)
        d->position_offsets[n] = (uint32_t)(n * d->in_count);
}

/* Vectors of channels to take at a time when so many CHANNELS are left. */
static size_t next_vectors(const conv_direct *d, size_t channels)
{
    const size_t count = channels / d->tiles->lanes;
    size_t vectors = d->tiles->most_vectors;
    while (vectors > 1 && vectors > count)
        vectors /= 2;
    return vectors;
}

/* The largest tile of VECTORS and at most LEFT pixels or taps. */
static const tile_choice *next_tile(const conv_direct *d, size_t vectors, size_t left)
{
    const tile_choice *choice = d->tiles->choices;
    while (choice->vectors != vectors || choice->count > left)
        choice++;
    return choice;
}

static void direct_measure(conv_direct *d, size_t batch)
{
    const cohort_window *w = &d->window;
    const size_t high = (w->out_height - 1) * w->stride_y + w->height;
    const size_t wide = (w->out_width - 1) * w->stride_x + w->width;
    const size_t vectors = next_vectors(d, d->out_channels);
    d->in_count = w->in_height * w->in_width * d->in_channels;
    d->pixels = w->out_height * w->out_width;
    d->run = w->width * d->in_channels;
    d->padded = w->pad_top || w->pad_left || high > w->in_height || wide > w->in_width;
    d->padded_height = w->pad_top + w->in_height;
    d->padded_width = w->pad_left + w->in_width;
    if (d->padded_height < high)
        d->padded_height = high;
    if (d->padded_width < wide)
        d->padded_width = wide;
    const size_t framed = d->padded_height * d->padded_width * d->in_channels;
    d->group = least(group_of(framed * sizeof(real), 1, batch),
                     d->pixels < GROUP_PIXELS ? GROUP_PIXELS / d->pixels : 1);
    if (positions_pay(w))
        d->position_group =
            group_of(d->in_count * sizeof(real), d->tiles->accumulators / vectors, batch);
}

cohort_status conv_direct_create(conv_direct **out, const cohort_window *w, size_t in_channels,
                                 size_t out_channels, size_t batch)
{
    conv_direct *d;
    cohort_status status;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&d, 1));
    d->tiles = tiles_here();
    d->window = *w;
    d->in_channels = in_channels;
    d->out_channels = out_channels;
    direct_measure(d, batch);
    if (!direct_fits(d, batch)) {
        conv_direct_destroy(d);
        return COHORT_OK;
    }
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&d->offsets, d->group * d->pixels));
    if (d->position_group)
        COHORT_TRY_DONE(status, COHORT_ALLOCATE(&d->position_offsets, d->position_group));
    direct_fill_offsets(d);
    *out = d;
    return COHORT_OK;
done:
    conv_direct_destroy(d);
    return status;
}

void conv_direct_destroy(conv_direct *d)
{
    if (d) {
        cohort_free(d->offsets);
        cohort_free(d->position_offsets);
    }
    cohort_free(d);
}

size_t conv_direct_step(const conv_direct *d)
{
    return d->position_group >= POSITIONS_LEAST
               ? d->tiles->accumulators / next_vectors(d, d->out_channels)
               : d->group;
}

static size_t frame_reals(const conv_direct *d)
{
    return d->padded ? d->group * d->padded_height * d->padded_width * d->in_channels : 0;
}

/* Whether tiles take all channels at a time. */
static bool is_one_block(const conv_direct *d)
{
    return next_vectors(d, d->out_channels) * d->tiles->lanes == d->out_channels;
}

static bool packs_gradients(const conv_direct *d)
{
    return !is_one_block(d) && d->window.height * d->run >= PACKED_TAPS;
}

/* The frame, and a block of channels of a group's dy. */
size_t conv_direct_work(const conv_direct *d)
{
    const size_t block = next_vectors(d, d->out_channels) * d->tiles->lanes;
    return cohort_size_align(frame_reals(d), COHORT_LINE_REALS) +
           (packs_gradients(d) ? d->group * d->pixels * block : 0);
}

/* STEP channels of ROWS rows, side by side: in cache they then fall on all sets. */
static void pack_block(real *packed, const real *from, size_t rows, size_t channels, size_t step)
{
    for (size_t row = 0; row < rows; row++, packed += step, from += channels)
        memcpy(packed, from, step * sizeof(real));
}

/* A block of channels of the kernel after the other, as tiles take them. */
const real *conv_direct_pack(const conv_direct *d, real *packed, const real *kernel)
{
    const size_t channels = d->out_channels, taps = d->window.height * d->run;
    if (is_one_block(d))
        return kernel;
    for (size_t c = 0; c < channels;) {
        const size_t step = next_vectors(d, channels - c) * d->tiles->lanes;
        pack_block(packed + c * taps, kernel + c, taps, channels, step);
        c += step;
    }
    return packed;
}

const real *conv_direct_pack_turned(const conv_direct *d, real *packed, const real *kernel)
{
    const size_t window_pixels = d->window.height * d->window.width;
    real *to = packed;
    for (size_t c = 0; c < d->out_channels;) {
        const size_t step = next_vectors(d, d->out_channels - c) * d->tiles->lanes;
        for (size_t pixel = window_pixels; pixel-- > 0;) {
            const real *from = kernel + (pixel * d->out_channels + c) * d->in_channels;
            for (size_t i = 0; i < d->in_channels; i++)
                for (size_t o = 0; o < step; o++)
                    *to++ = from[o * d->in_channels + i];
        }
        c += step;
    }
    return packed;
}

/* COUNT samples of X into a frame of zeros that WORK holds already. */
static const real *frame_group(const conv_direct *d, real *work, const real *x, size_t count)
{
    const cohort_window *w = &d->window;
    if (!d->padded)
        return x;
    const size_t row = w->in_width * d->in_channels, pitch = d->padded_width * d->in_channels;
    for (size_t n = 0; n < count; n++) {
        const size_t top = n * d->padded_height + w->pad_top;
        real *to = work + top * pitch + w->pad_left * d->in_channels;
        for (size_t iy = 0; iy < w->in_height; iy++, to += pitch, x += row)
            memcpy(to, x, row * sizeof(real));
    }
    return work;
}

static void frame_clear(const conv_direct *d, real *work)
{
    if (d->padded)
        memset(work, 0, frame_reals(d) * sizeof(real));
}

/* Forward. */

/* All channels of the pixels of A, whose window begins at its tap FIRST. */
static void forward_channels(const conv_direct *d, forward_args a, size_t first)
{
    const real *kernel = a.kernel;
    for (size_t done = 0; done < d->out_channels;) {
        const size_t vectors = next_vectors(d, d->out_channels - done);
        const size_t step = vectors * d->tiles->lanes;
        a.kernel = kernel + first * step;
        a.kernel_row = d->run * step;
        a.kernel_step = step;
        next_tile(d, vectors, a.pixels)->forward(&a);
        done += step;
        a.y += step;
        kernel += d->window.height * d->run * step;
        if (a.bias)
            a.bias += step;
    }
}

/* COUNT samples, position by position. */
static void forward_positions(const conv_direct *d, forward_args a, size_t count)
{
    const cohort_window *w = &d->window;
    const real *const x = a.x;
    a.offsets = d->position_offsets;
    a.pixels = count;
    a.y_step = d->pixels * d->out_channels;
    a.x_row = w->in_width * d->in_channels;
    for (size_t oy = 0; oy < w->out_height; oy++)
        for (size_t ox = 0; ox < w->out_width; ox++, a.y += d->out_channels) {
            size_t top, bottom, left, right;
            cohort_window_taps(&top, &bottom, oy, w->stride_y, w->pad_top, w->height, w->in_height);
            cohort_window_taps(&left, &right, ox, w->stride_x, w->pad_left, w->width, w->in_width);
            const size_t iy = oy * w->stride_y + top - w->pad_top;
            const size_t ix = ox * w->stride_x + left - w->pad_left;
            a.x = x + (iy * w->in_width + ix) * d->in_channels;
            a.rows = bottom - top;
            a.run = (right - left) * d->in_channels;
            forward_channels(d, a, top * d->run + left * d->in_channels);
        }
}

/* COUNT samples, framed. */
static void forward_framed(const conv_direct *d, forward_args a, size_t count, real *work)
{
    a.x = frame_group(d, work, a.x, count);
    a.offsets = d->offsets;
    a.pixels = count * d->pixels;
    a.y_step = d->out_channels;
    a.x_row = d->padded_width * d->in_channels;
    a.rows = d->window.height;
    a.run = d->run;
    forward_channels(d, a, 0);
}

void conv_direct_forward(const conv_direct *d, real *y, const real *x, const real *kernel,
                         const real *bias, bool relu, size_t samples, real *work)
{
    const bool positions = d->position_group >= POSITIONS_LEAST && samples >= POSITIONS_LEAST;
    const size_t step = positions ? d->position_group : d->group;
    if (!positions)
        frame_clear(d, work);
    for (size_t done = 0; done < samples; done += step) {
        const size_t count = least(samples - done, step);
        const forward_args a = {.y = y + done * d->pixels * d->out_channels,
                                .x = x + done * d->in_count,
                                .kernel = kernel,
                                .bias = bias,
                                .relu = relu};
        if (positions)
            forward_positions(d, a, count);
        else
            forward_framed(d, a, count, work);
    }
}

/* Weights. */

/* Counts tiles, to take those of one slice alone. */
typedef struct tile_range {
    size_t at, begin, end;
} tile_range;

/* The taps [0, run) of one row of the window. */
static void weights_row(const conv_direct *d, weights_args a, size_t vectors, tile_range *range)
{
    for (size_t run = d->run; run > 0; range->at++) {
        const tile_choice *tile = next_tile(d, vectors, run);
        if (range->at >= range->begin && range->at < range->end)
            tile->weights(&a);
        a.x += tile->count;
        a.dkernel += tile->count * a.channels;
        run -= tile->count;
    }
}

size_t conv_direct_weight_tiles(const conv_direct *d)
{
    size_t tiles = 0;
    for (size_t c = 0; c < d->out_channels;) {
        const size_t vectors = next_vectors(d, d->out_channels - c);
        for (size_t run = d->run; run > 0; tiles += d->window.height)
            run -= next_tile(d, vectors, run)->count;
        c += vectors * d->tiles->lanes;
    }
    return tiles;
}

void conv_direct_weights(const conv_direct *d, real *dkernel, const real *x, const real *dy,
                         size_t samples, bool add, real *work, size_t begin, size_t end)
{
    const size_t channels = d->out_channels, pitch = d->padded_width * d->in_channels;
    real *const block = work + cohort_size_align(frame_reals(d), COHORT_LINE_REALS);
    frame_clear(d, work);
    for (size_t done = 0; done < samples; done += d->group) {
        const size_t count = least(samples - done, d->group);
        const real *images = frame_group(d, work, x + done * d->in_count, count);
        weights_args a = {.offsets = d->offsets,
                          .pixels = count * d->pixels,
                          .channels = channels,
                          .add = add || done > 0};
        tile_range range = {.begin = begin, .end = end};
        for (size_t c = 0; c < channels;) {
            const size_t vectors = next_vectors(d, channels - c);
            a.dy = dy + done * d->pixels * channels + c;
            a.dy_step = channels;
            if (packs_gradients(d)) {
                a.dy_step = vectors * d->tiles->lanes;
                pack_block(block, a.dy, a.pixels, channels, a.dy_step);
                a.dy = block;
            }
            for (size_t ky = 0; ky < d->window.height; ky++) {
                a.x = images + ky * pitch;
                a.dkernel = dkernel + ky * d->run * channels + c;
                weights_row(d, a, vectors, &range);
            }
            c += vectors * d->tiles->lanes;
        }
    }
}
