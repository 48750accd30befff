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
    ACCUMULATORS = 24 /* of the 32 registers; the rest hold operands */
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

static bool direct_fits(const conv_direct *d, size_t batch)
{
    return d->out_channels % LANES == 0 &&
           d->padded_height * d->padded_width * d->in_channels <= UINT32_MAX / (batch + 1);
}

static void direct_fill_offsets(conv_direct *d, const cohort_window *w)
{
    for (size_t i = 0; i < d->group * d->pixels; i++) {
        const size_t n = i / d->pixels, oy = i % d->pixels / w->out_width, ox = i % w->out_width;
        const size_t row = n * d->padded_height + oy * w->stride_y;
        d->offsets[i] = (uint32_t)((row * d->padded_width + ox * w->stride_x) * d->in_channels);
    }
}

cohort_status conv_direct_create(conv_direct **out, const cohort_window *w, size_t in_channels,
                                 size_t out_channels, size_t batch)
{
    const size_t high = (w->out_height - 1) * w->stride_y + w->height;
    const size_t wide = (w->out_width - 1) * w->stride_x + w->width;
    conv_direct d = {.in_height = w->in_height,
                     .in_width = w->in_width,
                     .in_channels = in_channels,
                     .pad_top = w->pad_top,
                     .pad_left = w->pad_left,
                     .out_channels = out_channels,
                     .window_height = w->height,
                     .run = w->width * in_channels,
                     .pixels = w->out_height * w->out_width};
    d.padded = w->pad_top || w->pad_left || high > w->in_height || wide > w->in_width;
    const size_t framed_height = w->pad_top + w->in_height,
                 framed_width = w->pad_left + w->in_width;
    d.padded_height = high > framed_height ? high : framed_height;
    d.padded_width = wide > framed_width ? wide : framed_width;
    *out = NULL;
    if (!direct_fits(&d, batch))
        return COHORT_OK;
    const size_t image_bytes = d.padded_height * d.padded_width * in_channels * sizeof(real);
    d.group = GROUP_BYTES / image_bytes;
    if (d.group > GROUP_PIXELS / d.pixels)
        d.group = GROUP_PIXELS / d.pixels;
    d.group = d.group == 0 ? 1 : d.group > batch ? batch : d.group;
    COHORT_TRY(COHORT_ALLOCATE(out, 1));
    **out = d;
    const cohort_status status = COHORT_ALLOCATE(&(*out)->offsets, d.group * d.pixels);
    if (status == COHORT_OK) {
        direct_fill_offsets(*out, w);
    } else {
        conv_direct_destroy(*out);
        *out = NULL;
    }
    return status;
}

void conv_direct_destroy(conv_direct *d)
{
    if (d)
        cohort_free(d->offsets);
    cohort_free(d);
}

size_t conv_direct_work(const conv_direct *d)
{
    return d->padded ? d->group * d->padded_height * d->padded_width * d->in_channels : 0;
}

/* COUNT samples of X into a frame of zeros that WORK holds already. */
static const real *frame_group(const conv_direct *d, real *work, const real *x, size_t count)
{
    if (!d->padded)
        return x;
    const size_t row = d->in_width * d->in_channels, pitch = d->padded_width * d->in_channels;
    for (size_t n = 0; n < count; n++) {
        real *to =
            work + (n * d->padded_height + d->pad_top) * pitch + d->pad_left * d->in_channels;
        for (size_t iy = 0; iy < d->in_height; iy++, to += pitch, x += row)
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

/* What a tile needs; pixels are counted within the group. */
typedef struct forward_args {
    real *y; /* at the first channel of the block */
    const real *x, *kernel, *bias;
    const uint32_t *offsets;
    size_t pixels, channels, window_height, run, pitch;
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
    const real *kernel = a->kernel;
    for (size_t ky = 0; ky < a->window_height; ky++) {
        for (size_t j = 0; j < a->run; j++, kernel += a->channels) {
            const size_t at = ky * a->pitch + j;
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
            *(loose_lanes *)(a->y + (pixel + p) * a->channels + v * LANES) = sum;
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
FORWARD_TILES(1, 2)
FORWARD_TILES(24, 1)
FORWARD_TILES(1, 1)

/* Vectors of channels to take at a time when COUNT are left. */
static size_t next_vectors(size_t count)
{
    return count >= 4 ? 4 : count >= 2 ? 2 : 1;
}

static void forward_block(const forward_args *a, size_t vectors)
{
    if (vectors == 4)
        (a->pixels >= 6 ? forward_tiles_6_4 : forward_tiles_1_4)(a);
    else if (vectors == 2)
        (a->pixels >= 12 ? forward_tiles_12_2 : forward_tiles_1_2)(a);
    else
        (a->pixels >= 24 ? forward_tiles_24_1 : forward_tiles_1_1)(a);
}

void conv_direct_forward(const conv_direct *d, real *y, const real *x, const real *kernel,
                         const real *bias, bool relu, size_t samples, real *work)
{
    const size_t in_count = d->in_height * d->in_width * d->in_channels;
    frame_clear(d, work);
    for (size_t done = 0; done < samples; done += d->group) {
        const size_t count = samples - done < d->group ? samples - done : d->group;
        forward_args a = {.x = frame_group(d, work, x + done * in_count, count),
                          .offsets = d->offsets,
                          .pixels = count * d->pixels,
                          .channels = d->out_channels,
                          .window_height = d->window_height,
                          .run = d->run,
                          .pitch = d->padded_width * d->in_channels,
                          .relu = relu};
        for (size_t c = 0; c < d->out_channels;) {
            const size_t vectors = next_vectors((d->out_channels - c) / LANES);
            a.y = y + done * d->pixels * d->out_channels + c;
            a.kernel = kernel + c;
            a.bias = bias ? bias + c : NULL;
            forward_block(&a, vectors);
            c += vectors * LANES;
        }
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

/* The taps [0, run) of one row of the window. */
static void weights_row(weights_args a, size_t run, size_t vectors)
{
    const weights_choice *choice = weights_choices;
    while (run > 0) {
        while (choice->vectors != vectors || choice->taps > run)
            choice++;
        choice->tile(&a);
        a.x += choice->taps;
        a.dkernel += choice->taps * a.channels;
        run -= choice->taps;
    }
}

void conv_direct_weights(const conv_direct *d, real *dkernel, const real *x, const real *dy,
                         size_t samples, bool add, real *work)
{
    const size_t in_count = d->in_height * d->in_width * d->in_channels;
    const size_t channels = d->out_channels, pitch = d->padded_width * d->in_channels;
    frame_clear(d, work);
    for (size_t done = 0; done < samples; done += d->group) {
        const size_t count = samples - done < d->group ? samples - done : d->group;
        const real *images = frame_group(d, work, x + done * in_count, count);
        weights_args a = {.offsets = d->offsets,
                          .pixels = count * d->pixels,
                          .channels = channels,
                          .add = add || done > 0};
        for (size_t c = 0; c < channels;) {
            const size_t vectors = next_vectors((channels - c) / LANES);
            a.dy = dy + done * d->pixels * channels + c;
            for (size_t ky = 0; ky < d->window_height; ky++) {
                a.x = images + ky * pitch;
                a.dkernel = dkernel + ky * d->run * channels + c;
                weights_row(a, d->run, vectors);
            }
            c += vectors * LANES;
        }
    }
}
