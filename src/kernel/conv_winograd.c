/* The winograd way, for windows of 3x3 pixels moved by one: F(2x2, 3x3) of Lavin and Gray (2016),
 * "Fast algorithms for convolutional neural networks". The image is cut into tiles of 2x2 output
 * pixels, each made of 4x4 input pixels x that overlap by two, and
 *
 *   y = A' [(G g G') . (B' x B)] A,   what is in brackets summed over input channels,
 *
 * has 16 products for a tile and a pair of channels where the definition has 36. The transforms are
 * sums (and halves in G). Each of the 16 numbers of tiles belongs to a plane, and a plane's
 * products are those of matrices, tiles by channels:
 *
 *   forward  M = V U     V = B' x B, U = G g G', y = A' M A
 *   data     dV = dM U'  dM = A dy A', dx = B dV B', added where tiles overlap
 *   weights  dU = V' dM  dg = G' dU G
 *
 * The gradients are those of the forward sums as they are computed, so that dx has as few tiles as
 * y, whatever the padding. Results are about as exact as those of the other ways: sums have a ninth
 * of the terms, of numbers up to four times as large. */
#include "kernel/conv_ways.h"

#include <string.h>

#include "base/memory.h"
#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/panel.h"

enum {
    PIXELS = 9,
    PLANES = 16,
    BLOCK_BYTES = 384 * 1024,    /* of planes at a time: a part of L2 */
    BLOCK_STEP = 24,             /* tiles; whole tiles of registers */
    CHANNELS = COHORT_PANEL / 2, /* go through registers at a time, or twice as many */
    SKEW = 64 / sizeof(real)     /* between planes, which would else fall on the same sets of L1 */
};

#define UNROLL _Pragma("GCC unroll 32")

/* Tiles side by side, between an image and their planes. */
typedef struct winograd_run {
    real *planes; /* at the first tile of the first one, CHANNELS a tile */
    size_t plane; /* from one to the next */
    real *image;
    const real *bias;
    bool relu;
    size_t channels, height, width;
    ptrdiff_t top, left; /* of the first tile on the image; in the padding if negative */
    size_t tiles;
} winograd_run;

typedef void winograd_transform(const winograd_run *);

typedef struct winograd_tile_set {
    winograd_transform *input, *gradient, *output, *scatter;
} winograd_tile_set;

/* 32 registers of 64 bytes. */
#ifdef COHORT_HAVE_WIDE
#define TILE(name) wide_##name
#define TILE_BYTES 64
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#include "kernel/winograd_tiles.h"
#pragma GCC pop_options
#endif

/* 16 registers of 32 bytes. */
#ifdef COHORT_HAVE_TARGETS
#define TILE(name) narrow_##name
#define TILE_BYTES 32
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#include "kernel/winograd_tiles.h"
#pragma GCC pop_options
#endif

/* Any machine. */
#define TILE(name) plain_##name
#define TILE_BYTES 32
#include "kernel/winograd_tiles.h"

static const winograd_tile_set *tiles_here(void)
{
#ifdef COHORT_HAVE_WIDE
    static const winograd_tile_set wide = {wide_input, wide_gradient, wide_output, wide_scatter};
    if (conv_direct_registers() == CONV_WIDE)
        return &wide;
#endif
#ifdef COHORT_HAVE_TARGETS
    static const winograd_tile_set narrow = {narrow_input, narrow_gradient, narrow_output,
                                             narrow_scatter};
    if (conv_direct_registers() == CONV_NARROW)
        return &narrow;
#endif
    static const winograd_tile_set plain = {plain_input, plain_gradient, plain_output,
                                            plain_scatter};
    return &plain;
}

struct conv_winograd {
    const winograd_tile_set *set;
    cohort_window window;
    size_t in_channels, out_channels;
    size_t in_count, out_count;    /* of a sample */
    size_t tiles_high, tiles_wide; /* of a sample */
    size_t block;                  /* tiles at a time */
};

/* Planning. */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool winograd_fits(const cohort_window *w, size_t in_channels, size_t out_channels)
{
    return w->height == 3 && w->width == 3 && w->stride_y == 1 && w->stride_x == 1 &&
           in_channels % CHANNELS == 0 && out_channels % CHANNELS == 0 &&
           in_channels <= SIZE_MAX / 4 / PLANES / out_channels / sizeof(real);
}

cohort_status conv_winograd_create(conv_winograd **out, const cohort_window *w, size_t in_channels,
                                   size_t out_channels)
{
    conv_winograd *g;
    *out = NULL;
    if (!winograd_fits(w, in_channels, out_channels))
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&g, 1));
    const size_t tile_bytes = PLANES * (in_channels + out_channels) * sizeof(real);
    *g = (conv_winograd){.set = tiles_here(),
                         .window = *w,
                         .in_channels = in_channels,
                         .out_channels = out_channels,
                         .in_count = w->in_height * w->in_width * in_channels,
                         .out_count = w->out_height * w->out_width * out_channels,
                         .tiles_high = (w->out_height + 1) / 2,
                         .tiles_wide = (w->out_width + 1) / 2,
                         .block = larger(BLOCK_BYTES / tile_bytes / BLOCK_STEP, 1) * BLOCK_STEP};
    *out = g;
    return COHORT_OK;
}

void conv_winograd_destroy(conv_winograd *g)
{
    cohort_free(g);
}

size_t conv_winograd_tiles(const conv_winograd *g)
{
    return g->tiles_high * g->tiles_wide;
}

/* The transformed kernel, and the kernel, packed. */
size_t conv_winograd_shared(const conv_winograd *g)
{
    return (PLANES + PIXELS) * g->in_channels * g->out_channels;
}

static size_t plane_reals(const conv_winograd *g, size_t channels)
{
    return cohort_size_align(g->block * channels, COHORT_LINE_REALS) + SKEW;
}

/* Planes of both sides. */
size_t conv_winograd_work(const conv_winograd *g)
{
    return PLANES * (plane_reals(g, g->in_channels) + plane_reals(g, g->out_channels));
}

size_t conv_winograd_sums(const conv_winograd *g)
{
    return PLANES * g->in_channels * g->out_channels;
}

/* Kernels. */

/* OUT [4] = G IN [3]. */
#define KERNEL_TRANSFORM(out, g0, g1, g2)                                                          \
    do {                                                                                           \
        out[0] = (g0);                                                                             \
        out[1] = ((g0) + (g1) + (g2)) / 2;                                                         \
        out[2] = ((g0) - (g1) + (g2)) / 2;                                                         \
        out[3] = (g2);                                                                             \
    } while (0)

/* U [16][COUNT] = G g G' of KERNEL [9][COUNT]. */
COHORT_CLONES
static void transform_kernel(real *restrict u, const real *restrict kernel, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        real columns[3][4], rows[4];
        UNROLL
        for (int j = 0; j < 3; j++)
            KERNEL_TRANSFORM(columns[j], kernel[(size_t)j * count + i],
                             kernel[(size_t)(3 + j) * count + i],
                             kernel[(size_t)(6 + j) * count + i]);
        UNROLL
        for (int r = 0; r < 4; r++) {
            KERNEL_TRANSFORM(rows, columns[0][r], columns[1][r], columns[2][r]);
            UNROLL
            for (int j = 0; j < 4; j++)
                u[(size_t)(4 * r + j) * count + i] = rows[j];
        }
    }
}

/* OUT [3] = G' IN [4]. */
#define KERNEL_GRADIENT(out, u0, u1, u2, u3)                                                       \
    do {                                                                                           \
        const real half_sum = ((u1) + (u2)) / 2;                                                   \
        out[0] = (u0) + half_sum;                                                                  \
        out[1] = ((u1) - (u2)) / 2;                                                                \
        out[2] = half_sum + (u3);                                                                  \
    } while (0)

/* DKERNEL [9][COUNT] (+)= G' dU G of DU [16][COUNT]. */
COHORT_INLINE void gradient_of(real *restrict dkernel, const real *restrict du, size_t count,
                               const bool add)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        real columns[4][3], rows[3];
        UNROLL
        for (int j = 0; j < 4; j++)
            KERNEL_GRADIENT(columns[j], du[(size_t)j * count + i], du[(size_t)(4 + j) * count + i],
                            du[(size_t)(8 + j) * count + i], du[(size_t)(12 + j) * count + i]);
        UNROLL
        for (int r = 0; r < 3; r++) {
            KERNEL_GRADIENT(rows, columns[0][r], columns[1][r], columns[2][r], columns[3][r]);
            UNROLL
            for (int j = 0; j < 3; j++) {
                real *to = &dkernel[(size_t)(3 * r + j) * count + i];
                *to = add ? *to + rows[j] : rows[j];
            }
        }
    }
}

COHORT_CLONES
static void transform_gradient(real *dkernel, const real *du, size_t count, bool add)
{
    if (add)
        gradient_of(dkernel, du, count, true);
    else
        gradient_of(dkernel, du, count, false);
}

/* The columns of a strip, of those that are LEFT. */
static size_t strip_columns(size_t left)
{
    const size_t strip = cohort_panel_strip_columns();
    return left < strip ? CHANNELS : strip;
}

/* PACKED [9][strips][ROWS][strip] = op(KERNEL). */
static void pack_pixels(real *packed, cohort_transpose trans, const real *kernel, size_t rows,
                        size_t columns)
{
    for (size_t p = 0; p < PIXELS; p++, kernel += rows * columns)
        for (size_t j = 0, step; j < columns; j += step, packed += rows * step) {
            step = strip_columns(columns - j);
            cohort_panel_pack_strip(packed, trans, kernel + j * (trans == COHORT_PLAIN ? 1 : rows),
                                    trans == COHORT_PLAIN ? columns : rows, rows, step);
        }
}

/* U in PACKED, strips of a plane one after the other. The nine pixels are packed, not the sixteen
 * planes: the transform is the same for every pair of channels. */
static const real *pack_kernel(real *packed, cohort_transpose trans, const real *kernel,
                               size_t rows, size_t columns)
{
    const size_t count = rows * columns;
    const bool is_packed = trans == COHORT_PLAIN && columns == strip_columns(columns);
    real *const pixels = packed + PLANES * count;
    if (!is_packed)
        pack_pixels(pixels, trans, kernel, rows, columns);
    transform_kernel(packed, is_packed ? kernel : pixels, count);
    return packed;
}

const real *conv_winograd_pack(const conv_winograd *g, real *packed, const real *kernel)
{
    return pack_kernel(packed, COHORT_PLAIN, kernel, g->in_channels, g->out_channels);
}

const real *conv_winograd_pack_turned(const conv_winograd *g, real *packed, const real *kernel)
{
    return pack_kernel(packed, COHORT_TRANSPOSED, kernel, g->out_channels, g->in_channels);
}

/* Passes. */

/* A block of tiles, counted through the samples. */
typedef struct winograd_block {
    size_t first, count;
} winograd_block;

/* TRANSFORM for the rows of tiles in BLOCK. OUTPUT: the image is that of y or dy, else of x. */
static void transform_block(const conv_winograd *g, winograd_transform *transform,
                            const winograd_block *block, bool output, winograd_run run)
{
    const cohort_window *w = &g->window;
    run.channels = output ? g->out_channels : g->in_channels;
    run.height = output ? w->out_height : w->in_height;
    run.width = output ? w->out_width : w->in_width;
    run.plane = plane_reals(g, run.channels);
    real *const image = run.image, *const planes = run.planes;
    for (size_t done = 0; done < block->count; done += run.tiles) {
        const size_t tile = block->first + done, column = tile % g->tiles_wide;
        const size_t row = tile / g->tiles_wide % g->tiles_high;
        const size_t sample = tile / g->tiles_wide / g->tiles_high;
        run.tiles = least(g->tiles_wide - column, block->count - done);
        run.image = image + sample * (output ? g->out_count : g->in_count);
        run.planes = planes + done * run.channels;
        run.top = 2 * (ptrdiff_t)row - (output ? 0 : (ptrdiff_t)w->pad_top);
        run.left = 2 * (ptrdiff_t)column - (output ? 0 : (ptrdiff_t)w->pad_left);
        transform(&run);
    }
}

static bool next_block(const conv_winograd *g, winograd_block *block, size_t samples)
{
    block->first += block->count;
    block->count = least(g->block, samples * conv_winograd_tiles(g) - block->first);
    return block->count > 0;
}

/* In WORK, behind the planes of x or dx: those of y or dy. */
static real *output_planes(const conv_winograd *g, real *work)
{
    return work + PLANES * plane_reals(g, g->in_channels);
}

/* Part of an image that the next block takes, asked for while products are computed. */
typedef struct winograd_ahead {
    const real *from;
    size_t count;
} winograd_ahead;

/* What the block behind BLOCK takes of IMAGES, SAMPLES of HEIGHT rows of ROW reals, or a bit more.
 */
static winograd_ahead image_ahead(const conv_winograd *g, const winograd_block *block,
                                  size_t samples, const real *images, size_t height, size_t row)
{
    const size_t rows = block->count / g->tiles_wide + 1; /* of tiles */
    const size_t tile_row = (block->first + block->count) / g->tiles_wide;
    const size_t sample = tile_row / g->tiles_high;
    const size_t first = sample * height + least(2 * (tile_row % g->tiles_high), height);
    const size_t end = least(first + 2 * rows + 2, samples * height);
    if (end <= first)
        return (winograd_ahead){0};
    return (winograd_ahead){images + first * row, (end - first) * row};
}

static void ask_ahead(const winograd_ahead *ahead, size_t part)
{
    const size_t lines = ahead->count / COHORT_LINE_REALS;
    for (size_t i = lines * part / PLANES; i < lines * (part + 1) / PLANES; i++)
        __builtin_prefetch(ahead->from + i * COHORT_LINE_REALS, 0, 2);
}

/* TO [tiles][TO_CHANNELS] = FROM [tiles][FROM_CHANNELS] * KERNEL of each plane. */
static void multiply_planes(const conv_winograd *g, real *to, size_t to_channels, const real *from,
                            size_t from_channels, const real *kernel, size_t tiles,
                            winograd_ahead ahead)
{
    for (size_t p = 0; p < PLANES; p++) {
        ask_ahead(&ahead, p);
        for (size_t j = 0, step; j < to_channels; j += step, kernel += from_channels * step) {
            step = strip_columns(to_channels - j);
            cohort_panel_strip(to + j, to_channels, COHORT_PLAIN, from, from_channels, kernel, step,
                               step, tiles, from_channels, false);
        }
        to += plane_reals(g, to_channels);
        from += plane_reals(g, from_channels);
    }
}

/* DU [16][in][out] (+)= V' dM of each plane. */
static void multiply_weights(const conv_winograd *g, real *du, const real *v, const real *dm,
                             size_t tiles, bool add, winograd_ahead ahead)
{
    const size_t in = g->in_channels, out = g->out_channels;
    for (size_t p = 0; p < PLANES; p++, du += in * out) {
        ask_ahead(&ahead, p);
        for (size_t j = 0, step; j < out; j += step) {
            step = strip_columns(out - j);
            cohort_panel_strip(du + j, out, COHORT_TRANSPOSED, v, in, dm + j, out, step, in, tiles,
                               add);
        }
        v += plane_reals(g, in);
        dm += plane_reals(g, out);
    }
}

void conv_winograd_forward(const conv_winograd *g, real *y, const real *x, const real *kernel,
                           const real *bias, bool relu, size_t samples, real *work)
{
    const cohort_window *w = &g->window;
    real *const v = work, *const m = output_planes(g, work);
    for (winograd_block block = {0}; next_block(g, &block, samples);) {
        transform_block(g, g->set->input, &block, false,
                        (winograd_run){.planes = v, .image = (real *)x});
        multiply_planes(
            g, m, g->out_channels, v, g->in_channels, kernel, block.count,
            image_ahead(g, &block, samples, x, w->in_height, w->in_width * g->in_channels));
        transform_block(g, g->set->output, &block, true,
                        (winograd_run){.planes = m, .image = y, .bias = bias, .relu = relu});
    }
}

/* Zeros in the rows of DX that the tiles of BLOCK are the first to touch. */
static void clear_rows(const conv_winograd *g, real *dx, const winograd_block *block)
{
    const cohort_window *w = &g->window;
    const size_t first = (block->first + g->tiles_wide - 1) / g->tiles_wide; /* rows of tiles … */
    const size_t end = (block->first + block->count + g->tiles_wide - 1) / g->tiles_wide;
    const size_t row = w->in_width * g->in_channels; /* … that begin in it */
    for (size_t r = first; r < end; r++) {
        const size_t high = r % g->tiles_high;
        const size_t top = high ? least(2 * high + 2 - w->pad_top, w->in_height) : 0;
        const size_t bottom = high + 1 == g->tiles_high
                                  ? w->in_height
                                  : least(2 * high + 4 - w->pad_top, w->in_height);
        memset(dx + r / g->tiles_high * g->in_count + top * row, 0,
               (bottom - top) * row * sizeof(real));
    }
}

void conv_winograd_backward(const conv_winograd *g, real *dx, real *du, bool add, const real *x,
                            const real *dy, const real *kernel, size_t samples, real *work)
{
    const cohort_window *w = &g->window;
    real *const v = work, *const dm = output_planes(g, work);
    for (winograd_block block = {0}; next_block(g, &block, samples);) {
        const winograd_ahead dy_ahead =
            image_ahead(g, &block, samples, dy, w->out_height, w->out_width * g->out_channels);
        transform_block(g, g->set->gradient, &block, true,
                        (winograd_run){.planes = dm, .image = (real *)dy});
        if (du) {
            transform_block(g, g->set->input, &block, false,
                            (winograd_run){.planes = v, .image = (real *)x});
            multiply_weights(
                g, du, v, dm, block.count, add || block.first > 0,
                image_ahead(g, &block, samples, x, w->in_height, w->in_width * g->in_channels));
        }
        if (dx) {
            multiply_planes(g, v, g->in_channels, dm, g->out_channels, kernel, block.count,
                            dy_ahead);
            clear_rows(g, dx, &block);
            transform_block(g, g->set->scatter, &block, false,
                            (winograd_run){.planes = v, .image = dx});
        }
    }
}

void conv_winograd_finish(const conv_winograd *g, real *dkernel, const real *du, bool add)
{
    transform_gradient(dkernel, du, g->in_channels * g->out_channels, add);
}
