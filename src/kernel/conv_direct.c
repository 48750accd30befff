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
#include "kernel/clones.h"

enum {
    LANES = 64 / sizeof(real),
    GROUP_BYTES = 128 * 1024, /* of images handled together: a part of L2 */
    GROUP_PIXELS = 512,       /* enough for full tiles */
    V_MAX = 4,
    POSITIONS_LEAST = 6, /* samples, to fill a tile */
    ACCUMULATORS = 24    /* of the 32 registers; the rest hold operands */
};

/* One AVX-512 register; less capable machines get several from the compiler. */
typedef real lanes __attribute__((vector_size(64)));
typedef real loose_lanes __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));

typedef int lane_bits __attribute__((vector_size(64)));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

/* Macros, since functions that pass such registers by value warn of their ABI. */
#define LOAD(from) ((lanes)(*(const loose_lanes *)(from)))
/* max(0, v), NaN kept: clears the bits of those below 0. */
#define POSITIVE(v) ((lanes)((lane_bits)(v) & ~(lane_bits)((v) < 0)))

/* Planning. */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool direct_fits(const conv_direct *d, size_t batch)
{
    return d->out_channels % LANES == 0 &&
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

/* Vectors of channels to take at a time when COUNT are left. */
static size_t next_vectors(size_t count)
{
    return count >= 4 ? 4 : count >= 2 ? 2 : 1;
}

static void direct_measure(conv_direct *d, size_t batch)
{
    const cohort_window *w = &d->window;
    const size_t high = (w->out_height - 1) * w->stride_y + w->height;
    const size_t wide = (w->out_width - 1) * w->stride_x + w->width;
    const size_t vectors = next_vectors(d->out_channels / LANES);
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
        d->position_group = group_of(d->in_count * sizeof(real), ACCUMULATORS / vectors, batch);
}

cohort_status conv_direct_create(conv_direct **out, const cohort_window *w, size_t in_channels,
                                 size_t out_channels, size_t batch)
{
    conv_direct *d;
    cohort_status status;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&d, 1));
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
               ? ACCUMULATORS / next_vectors(d->out_channels / LANES)
               : d->group;
}

size_t conv_direct_work(const conv_direct *d)
{
    return d->padded ? d->group * d->padded_height * d->padded_width * d->in_channels : 0;
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
        memset(work, 0, conv_direct_work(d) * sizeof(real));
}

/* Forward. */

/* What a tile needs. A pixel's window begins at x + offsets[pixel]. */
typedef struct forward_args {
    real *y; /* at the first channel of the block */
    const real *x, *kernel, *bias;
    const uint32_t *offsets;
    size_t pixels, y_step;    /* from pixel to pixel of y */
    size_t rows, run;         /* of the window */
    size_t x_row, kernel_row; /* from window row to window row */
    size_t channels;
    bool relu;
} forward_args;

INLINE void forward_tile(const forward_args *a, size_t pixel, const size_t P, const size_t V)
{
    lanes acc[ACCUMULATORS];
    const real *x[ACCUMULATORS];
    UNROLL
    for (size_t p = 0; p < P; p++) {
        x[p] = a->x + a->offsets[pixel + p];
        UNROLL
        for (size_t v = 0; v < V; v++)
            acc[p * V + v] = a->bias ? LOAD(a->bias + v * LANES) : (lanes){0};
    }
    for (size_t ky = 0; ky < a->rows; ky++) {
        const real *kernel = a->kernel + ky * a->kernel_row;
        for (size_t j = 0; j < a->run; j++, kernel += a->channels) {
            const size_t at = ky * a->x_row + j;
            lanes weights[V_MAX];
            UNROLL
            for (size_t v = 0; v < V; v++)
                weights[v] = LOAD(kernel + v * LANES);
            UNROLL
            for (size_t p = 0; p < P; p++) {
                UNROLL
                for (size_t v = 0; v < V; v++)
                    acc[p * V + v] += weights[v] * x[p][at];
            }
        }
    }
    UNROLL
    for (size_t p = 0; p < P; p++) {
        UNROLL
        for (size_t v = 0; v < V; v++) {
            lanes sum = acc[p * V + v];
            if (a->relu)
                sum = POSITIVE(sum);
            *(loose_lanes *)(a->y + (pixel + p) * a->y_step + v * LANES) = sum;
        }
    }
}

/* All tiles of P pixels; the last one is moved back to end with the group. */
#define FORWARD_TILES(P, V)                                                                        \
    COHORT_CLONES                                                                                  \
    static void forward_tiles_##P##_##V(const forward_args *a)                                     \
    {                                                                                              \
        size_t pixel = 0;                                                                          \
        for (; pixel + (P) <= a->pixels; pixel += (P))                                             \
            forward_tile(a, pixel, P, V);                                                          \
        if (pixel < a->pixels)                                                                     \
            forward_tile(a, a->pixels - (P), P, V);                                                \
    }
FORWARD_TILES(6, 4)
FORWARD_TILES(1, 4)
FORWARD_TILES(12, 2)
FORWARD_TILES(6, 2)
FORWARD_TILES(1, 2)
FORWARD_TILES(24, 1)
FORWARD_TILES(6, 1)
FORWARD_TILES(1, 1)

typedef struct forward_choice {
    size_t vectors, pixels;
    void (*tiles)(const forward_args *);
} forward_choice;

/* Largest first. */
static const forward_choice forward_choices[] = {
    {4, 6, forward_tiles_6_4}, {4, 1, forward_tiles_1_4}, {2, 12, forward_tiles_12_2},
    {2, 6, forward_tiles_6_2}, {2, 1, forward_tiles_1_2}, {1, 24, forward_tiles_24_1},
    {1, 6, forward_tiles_6_1}, {1, 1, forward_tiles_1_1},
};

/* All channels of the pixels of A. */
static void forward_channels(forward_args a)
{
    for (size_t done = 0; done < a.channels;) {
        const size_t vectors = next_vectors((a.channels - done) / LANES);
        const forward_choice *choice = forward_choices;
        while (choice->vectors != vectors || choice->pixels > a.pixels)
            choice++;
        choice->tiles(&a);
        const size_t step = vectors * LANES;
        done += step;
        a.y += step;
        a.kernel += step;
        if (a.bias)
            a.bias += step;
    }
}

/* COUNT samples, position by position. */
static void forward_positions(const conv_direct *d, forward_args a, size_t count)
{
    const cohort_window *w = &d->window;
    const real *const x = a.x, *const kernel = a.kernel;
    a.offsets = d->position_offsets;
    a.pixels = count;
    a.y_step = d->pixels * a.channels;
    a.x_row = w->in_width * d->in_channels;
    for (size_t oy = 0; oy < w->out_height; oy++)
        for (size_t ox = 0; ox < w->out_width; ox++, a.y += a.channels) {
            size_t top, bottom, left, right;
            cohort_window_taps(&top, &bottom, oy, w->stride_y, w->pad_top, w->height, w->in_height);
            cohort_window_taps(&left, &right, ox, w->stride_x, w->pad_left, w->width, w->in_width);
            const size_t iy = oy * w->stride_y + top - w->pad_top;
            const size_t ix = ox * w->stride_x + left - w->pad_left;
            a.x = x + (iy * w->in_width + ix) * d->in_channels;
            a.kernel = kernel + top * a.kernel_row + left * d->in_channels * a.channels;
            a.rows = bottom - top;
            a.run = (right - left) * d->in_channels;
            forward_channels(a);
        }
}

/* COUNT samples, framed. */
static void forward_framed(const conv_direct *d, forward_args a, size_t count, real *work)
{
    a.x = frame_group(d, work, a.x, count);
    a.offsets = d->offsets;
    a.pixels = count * d->pixels;
    a.y_step = a.channels;
    a.x_row = d->padded_width * d->in_channels;
    a.rows = d->window.height;
    a.run = d->run;
    forward_channels(a);
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
                                .kernel_row = d->run * d->out_channels,
                                .channels = d->out_channels,
                                .relu = relu};
        if (positions)
            forward_positions(d, a, count);
        else
            forward_framed(d, a, count, work);
    }
}

/* Data. */

/* turned[ky][kx][out][in] = kernel[height - 1 - ky][width - 1 - kx][in][out]. */
void conv_direct_turn(real *turned, const real *kernel, size_t window_pixels, size_t in_channels,
                      size_t out_channels)
{
    for (size_t pixel = 0; pixel < window_pixels; pixel++) {
        const real *from = kernel + (window_pixels - 1 - pixel) * in_channels * out_channels;
        for (size_t o = 0; o < out_channels; o++)
            for (size_t i = 0; i < in_channels; i++)
                *turned++ = from[i * out_channels + o];
    }
}

/* Weights. */

typedef struct weights_args {
    real *dkernel; /* at the first tap and channel of the tile */
    const real *x, *dy;
    const uint32_t *offsets;
    size_t pixels, channels;
    bool add;
} weights_args;

INLINE void weights_tile(const weights_args *a, const size_t T, const size_t V)
{
    lanes acc[ACCUMULATORS];
    UNROLL
    for (size_t t = 0; t < T; t++) {
        UNROLL
        for (size_t v = 0; v < V; v++)
            acc[t * V + v] = (lanes){0};
    }
    const real *dy = a->dy;
    for (size_t pixel = 0; pixel < a->pixels; pixel++, dy += a->channels) {
        const real *x = a->x + a->offsets[pixel];
        lanes gradients[V_MAX];
        UNROLL
        for (size_t v = 0; v < V; v++)
            gradients[v] = LOAD(dy + v * LANES);
        UNROLL
        for (size_t t = 0; t < T; t++) {
            UNROLL
            for (size_t v = 0; v < V; v++)
                acc[t * V + v] += gradients[v] * x[t];
        }
    }
    UNROLL
    for (size_t t = 0; t < T; t++) {
        UNROLL
        for (size_t v = 0; v < V; v++) {
            loose_lanes *to = (loose_lanes *)(a->dkernel + t * a->channels + v * LANES);
            if (a->add)
                *to += acc[t * V + v];
            else
                *to = acc[t * V + v];
        }
    }
}

#define WEIGHTS_TILE(T, V)                                                                         \
    COHORT_CLONES                                                                                  \
    static void weights_tile_##T##_##V(const weights_args *a)                                      \
    {                                                                                              \
        weights_tile(a, T, V);                                                                     \
    }
WEIGHTS_TILE(6, 4)
WEIGHTS_TILE(3, 4)
WEIGHTS_TILE(1, 4)
WEIGHTS_TILE(12, 2)
WEIGHTS_TILE(6, 2)
WEIGHTS_TILE(3, 2)
WEIGHTS_TILE(1, 2)
WEIGHTS_TILE(24, 1)
WEIGHTS_TILE(12, 1)
WEIGHTS_TILE(6, 1)
WEIGHTS_TILE(3, 1)
WEIGHTS_TILE(1, 1)

typedef struct weights_choice {
    size_t vectors, taps;
    void (*tile)(const weights_args *);
} weights_choice;

/* Largest first. */
static const weights_choice weights_choices[] = {
    {4, 6, weights_tile_6_4},   {4, 3, weights_tile_3_4},   {4, 1, weights_tile_1_4},
    {2, 12, weights_tile_12_2}, {2, 6, weights_tile_6_2},   {2, 3, weights_tile_3_2},
    {2, 1, weights_tile_1_2},   {1, 24, weights_tile_24_1}, {1, 12, weights_tile_12_1},
    {1, 6, weights_tile_6_1},   {1, 3, weights_tile_3_1},   {1, 1, weights_tile_1_1},
};

/* Counts tiles, to take those of one slice alone. */
typedef struct tile_range {
    size_t at, begin, end;
} tile_range;

/* The taps [0, run) of one row of the window. */
static void weights_row(weights_args a, size_t run, size_t vectors, tile_range *range)
{
    const weights_choice *choice = weights_choices;
    for (; run > 0; range->at++) {
        while (choice->vectors != vectors || choice->taps > run)
            choice++;
        if (range->at >= range->begin && range->at < range->end)
            choice->tile(&a);
        a.x += choice->taps;
        a.dkernel += choice->taps * a.channels;
        run -= choice->taps;
    }
}

size_t conv_direct_weight_tiles(const conv_direct *d)
{
    size_t tiles = 0;
    for (size_t c = 0; c < d->out_channels;) {
        const size_t vectors = next_vectors((d->out_channels - c) / LANES);
        const weights_choice *choice = weights_choices;
        for (size_t run = d->run; run > 0; run -= choice->taps, tiles += d->window.height)
            while (choice->vectors != vectors || choice->taps > run)
                choice++;
        c += vectors * LANES;
    }
    return tiles;
}

void conv_direct_weights(const conv_direct *d, real *dkernel, const real *x, const real *dy,
                         size_t samples, bool add, real *work, size_t begin, size_t end)
{
    const size_t channels = d->out_channels, pitch = d->padded_width * d->in_channels;
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
            const size_t vectors = next_vectors((channels - c) / LANES);
            a.dy = dy + done * d->pixels * channels + c;
            for (size_t ky = 0; ky < d->window.height; ky++) {
                a.x = images + ky * pitch;
                a.dkernel = dkernel + ky * d->run * channels + c;
                weights_row(a, d->run, vectors, &range);
            }
            c += vectors * LANES;
        }
    }
}
