#include "kernel/norm.h"

#include <math.h>
#include <string.h>

#include "kernel/clones.h"
#include "kernel/math.h"

/* Few channels make short inner loops. Vectors over the columns are therefore repeated until
 * they fill a tile, and several rows are treated as one of the tile's width. SMALL is wide enough
 * where the channels divide it: loops over so many columns need no remainder, and what is the same
 * for all rows stays in registers. */
enum { TILE = 512, SMALL = 64, GROUP = 8 };

/* Rows that make one tile row. */
static size_t tile_rows(size_t width)
{
    return width <= TILE / 2 ? TILE / width : 1;
}

static size_t small_tile_rows(size_t width)
{
    return width <= SMALL && SMALL % width == 0 ? SMALL / width : tile_rows(width);
}

/* VECTOR repeated over the tile in ROOM, or itself when it is wide enough. */
static const real *tiled(real room[TILE], const real *vector, size_t width, size_t repeats)
{
    if (repeats == 1)
        return vector;
    for (size_t r = 0; r < repeats; r++)
        memcpy(room + r * width, vector, width * sizeof *room);
    return room;
}

/* Eight rows are summed in `real` before the total goes on in double: as exact as the
 * input deserves, at the speed of `real`. */
COHORT_CLONES static void add_moments(double *restrict sum, double *restrict squares,
                                      const real *restrict x, const real *restrict shift,
                                      size_t rows, size_t width)
{
    size_t row = 0;
    for (; row + GROUP <= rows; row += GROUP) {
        const real *block = x + row * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            real first = 0, second = 0;
#pragma GCC unroll 8
            for (size_t r = 0; r < GROUP; r++) {
                real value = block[r * width + j] - shift[j];
                first += value;
                second += value * value;
            }
            sum[j] += (double)first;
            squares[j] += (double)second;
        }
    }
    for (; row < rows; row++)
        for (size_t j = 0; j < width; j++) {
            double value = (double)(x[row * width + j] - shift[j]);
            sum[j] += value;
            squares[j] += value * value;
        }
}

/* SUMS [2][width] = the totals over the repeats of a tile. */
static void fold(double *sums, const double first[TILE], const double second[TILE], size_t width,
                 size_t repeats)
{
    for (size_t r = 0; r < repeats; r++)
        for (size_t j = 0; j < width; j++) {
            sums[j] += first[r * width + j];
            sums[width + j] += second[r * width + j];
        }
}

void cohort_norm_moments(double *sums, const real *x, const real *shift, size_t rows, size_t width)
{
    const size_t repeats = small_tile_rows(width), tiles = rows / repeats;
    memset(sums, 0, 2 * width * sizeof *sums);
    if (repeats > 1) {
        real room[TILE];
        double first[TILE] = {0}, second[TILE] = {0};
        add_moments(first, second, x, tiled(room, shift, width, repeats), tiles, repeats * width);
        fold(sums, first, second, width, repeats);
    }
    const size_t done = repeats > 1 ? tiles * repeats : 0;
    add_moments(sums, sums + width, x + done * width, shift, rows - done, width);
}

COHORT_INLINE void apply_rows(real *y, const real *x, const real *side, const real *restrict mean,
                              const real *restrict scale, const real *restrict offset, size_t rows,
                              const size_t width, bool relu)
{
    for (size_t r = 0; r < rows; r++) {
        const real *in = x + r * width, *beside = side ? side + r * width : NULL;
        real *out = y + r * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++) {
            const real value = (in[j] - mean[j]) * scale[j] + offset[j] + (side ? beside[j] : 0);
            out[j] = relu && value < 0 ? 0 : value;
        }
    }
}

COHORT_INLINE void apply_by_side(real *y, const real *x, const real *side, const real *mean,
                                 const real *scale, const real *offset, size_t rows,
                                 const size_t width, bool relu)
{
    if (side)
        apply_rows(y, x, side, mean, scale, offset, rows, width, relu);
    else
        apply_rows(y, x, NULL, mean, scale, offset, rows, width, relu);
}

COHORT_CLONES static void apply(real *y, const real *x, const real *side, const real *mean,
                                const real *scale, const real *offset, bool relu, size_t rows,
                                size_t width)
{
    if (width == SMALL && relu)
        apply_by_side(y, x, side, mean, scale, offset, rows, SMALL, true);
    else if (width == SMALL)
        apply_by_side(y, x, side, mean, scale, offset, rows, SMALL, false);
    else if (relu)
        apply_by_side(y, x, side, mean, scale, offset, rows, width, true);
    else
        apply_by_side(y, x, side, mean, scale, offset, rows, width, false);
}

void cohort_norm_apply(real *y, const real *x, const real *mean, const real *scale,
                       const real *offset, const real *side, bool relu, size_t rows, size_t width)
{
    real rooms[3][TILE];
    const size_t repeats = small_tile_rows(width), tiles = rows / repeats, done = tiles * repeats,
                 left = rows - done;
    const real *m = tiled(rooms[0], mean, width, repeats);
    const real *s = tiled(rooms[1], scale, width, repeats);
    const real *o = tiled(rooms[2], offset, width, repeats);
    apply(y, x, side, m, s, o, relu, tiles, repeats * width);
    if (left)
        apply(y + done * width, x + done * width, side ? side + done * width : NULL, mean, scale,
              offset, relu, left, width);
}

COHORT_CLONES static void add_gradient_sums(double *restrict sum, double *restrict products,
                                            real *restrict dy, const real *restrict y,
                                            const real *restrict x, const real *restrict mean,
                                            size_t rows, size_t width)
{
    size_t row = 0;
    for (; row < rows; row += GROUP) {
        const size_t count = rows - row < GROUP ? rows - row : GROUP;
        real *gradient = dy + row * width;
        const real *in = x + row * width, *out = y + (y ? row * width : 0);
        if (y) {
#pragma omp simd
            for (size_t i = 0; i < count * width; i++)
                gradient[i] = out[i] > 0 ? gradient[i] : 0;
        }
        if (count == GROUP) {
#pragma omp simd
            for (size_t j = 0; j < width; j++) {
                real first = 0, second = 0;
#pragma GCC unroll 8
                for (size_t r = 0; r < GROUP; r++) {
                    real g = gradient[r * width + j];
                    first += g;
                    second += g * (in[r * width + j] - mean[j]);
                }
                sum[j] += (double)first;
                products[j] += (double)second;
            }
            continue;
        }
        for (size_t r = 0; r < count; r++)
            for (size_t j = 0; j < width; j++) {
                double g = (double)gradient[r * width + j];
                sum[j] += g;
                products[j] += g * (double)(in[r * width + j] - mean[j]);
            }
    }
}

void cohort_norm_gradient_sums(double *sums, real *dy, const real *y, const real *x,
                               const real *mean, size_t rows, size_t width)
{
    const size_t repeats = tile_rows(width), tiles = rows / repeats;
    memset(sums, 0, 2 * width * sizeof *sums);
    if (repeats > 1) {
        real room[TILE];
        double first[TILE] = {0}, second[TILE] = {0};
        add_gradient_sums(first, second, dy, y, x, tiled(room, mean, width, repeats), tiles,
                          repeats * width);
        fold(sums, first, second, width, repeats);
    }
    const size_t done = repeats > 1 ? tiles * repeats * width : 0;
    add_gradient_sums(sums, sums + width, dy + done, y ? y + done : NULL, x + done, mean,
                      rows - done / width, width);
}

COHORT_INLINE void gradient_rows(real *dx, const real *dy, const real *x, const real *restrict mean,
                                 const real *restrict a, const real *restrict b,
                                 const real *restrict c, size_t rows, const size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        const real *in = x + r * width, *slope = dy + r * width;
        real *out = dx + r * width;
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            out[j] = a[j] * slope[j] + (b[j] * (in[j] - mean[j]) + c[j]);
    }
}

COHORT_CLONES static void gradient(real *dx, const real *dy, const real *x, const real *mean,
                                   const real *a, const real *b, const real *c, size_t rows,
                                   size_t width)
{
    if (width == SMALL)
        gradient_rows(dx, dy, x, mean, a, b, c, rows, SMALL);
    else
        gradient_rows(dx, dy, x, mean, a, b, c, rows, width);
}

void cohort_norm_gradient(real *dx, const real *dy, const real *x, const real *mean, const real *a,
                          const real *b, const real *c, size_t rows, size_t width)
{
    real rooms[4][TILE];
    const size_t repeats = small_tile_rows(width), tiles = rows / repeats;
    const size_t done = tiles * repeats * width;
    gradient(dx, dy, x, tiled(rooms[0], mean, width, repeats), tiled(rooms[1], a, width, repeats),
             tiled(rooms[2], b, width, repeats), tiled(rooms[3], c, width, repeats), tiles,
             repeats * width);
    gradient(dx + done, dy + done, x + done, mean, a, b, c, rows - tiles * repeats, width);
}

COHORT_CLONES void cohort_norm_rows(real *y, real *mean, real *inverse, const real *x,
                                    const real *gamma, const real *beta, real epsilon, size_t rows,
                                    size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        const real *in = x + r * width;
        real *out = y + r * width;
        real sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < width; j++)
            sum += in[j];
        const real centre = sum / (real)width;
#pragma omp simd reduction(+ : squares)
        for (size_t j = 0; j < width; j++)
            squares += (in[j] - centre) * (in[j] - centre);
        const real factor = 1 / REAL_FN(sqrt)(squares / (real)width + epsilon);
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            out[j] = (in[j] - centre) * factor * gamma[j] + beta[j];
        mean[r] = centre;
        inverse[r] = factor;
    }
}

/* With n = (x - mean) inverse and g = dy gamma:
 * dx = inverse (g - mean(g) - n mean(g n)), plus SIDE. */
COHORT_CLONES static void row_gradient(real *dx, const real *side, const real *dy, const real *x,
                                       const real *gamma, real mean, real inverse, size_t width)
{
    real sum = 0, products = 0;
#pragma omp simd reduction(+ : sum, products)
    for (size_t j = 0; j < width; j++) {
        real g = dy[j] * gamma[j];
        sum += g;
        products += g * (x[j] - mean);
    }
    const real level = sum / (real)width, tilt = products * inverse * inverse / (real)width;
    if (side) {
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            dx[j] = inverse * (dy[j] * gamma[j] - level - (x[j] - mean) * tilt) + side[j];
    } else {
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            dx[j] = inverse * (dy[j] * gamma[j] - level - (x[j] - mean) * tilt);
    }
}

/* Columns outermost: the sums stay in registers over the rows. */
COHORT_INLINE void add_columns(real *restrict dgamma, real *restrict dbeta, const real *restrict dy,
                               const real *restrict x, const real *restrict mean,
                               const real *restrict inverse, size_t rows, size_t width)
{
#pragma omp simd
    for (size_t j = 0; j < width; j++) {
        real first = 0, second = 0;
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            real g = dy[r * width + j];
            first += g * ((x[r * width + j] - mean[r]) * inverse[r]);
            second += g;
        }
        dgamma[j] += first;
        dbeta[j] += second;
    }
}

/* A fixed number of rows lets the compiler unroll them; what is left goes one by one. */
COHORT_CLONES static void add_row_weights(real *restrict dgamma, real *restrict dbeta,
                                          const real *restrict dy, const real *restrict x,
                                          const real *restrict mean, const real *restrict inverse,
                                          size_t rows, size_t width)
{
    if (rows == GROUP) {
        add_columns(dgamma, dbeta, dy, x, mean, inverse, GROUP, width);
        return;
    }
    for (size_t r = 0; r < rows; r++)
        add_columns(dgamma, dbeta, dy + r * width, x + r * width, mean + r, inverse + r, 1, width);
}

void cohort_norm_rows_backward(real *dx, const real *side, real *dgamma, real *dbeta,
                               const real *dy, const real *x, const real *mean, const real *inverse,
                               const real *gamma, size_t rows, size_t width)
{
    for (size_t row = 0; row < rows; row += GROUP) {
        const size_t count = rows - row < GROUP ? rows - row : GROUP, at = row * width;
        if (dgamma && dbeta)
            add_row_weights(dgamma, dbeta, dy + at, x + at, mean + row, inverse + row, count,
                            width);
        for (size_t r = 0; dx && r < count; r++) {
            const size_t offset = at + r * width;
            row_gradient(dx + offset, side ? side + offset : NULL, dy + offset, x + offset, gamma,
                         mean[row + r], inverse[row + r], width);
        }
    }
}
