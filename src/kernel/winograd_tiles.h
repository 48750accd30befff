/* The transforms of the winograd way, for one width of registers. Included once for each, with
 *
 *   TILE(name)  the name that belongs to the width
 *   TILE_BYTES  of a register
 *
 * Each takes the tiles of A, a vector of channels at a time, between 4x4 (INPUT, SCATTER) or 2x2
 * (GRADIENT, OUTPUT) pixels and 16 planes. The fourth row of B' and of A' has the other sign than
 * in the literature, which changes no product and saves GRADIENT a negation. */

#include "kernel/tile_vectors.h"

/* OUT [4] = B' IN [4]: [1 0 -1 0], [0 1 1 0], [0 -1 1 0], [0 -1 0 1]. */
#define INPUT_TRANSFORM(out, in0, in1, in2, in3)                                                   \
    do {                                                                                           \
        out[0] = (in0) - (in2);                                                                    \
        out[1] = (in1) + (in2);                                                                    \
        out[2] = (in2) - (in1);                                                                    \
        out[3] = (in3) - (in1);                                                                    \
    } while (0)

/* OUT [4] = B IN [4], its transpose. */
#define SCATTER_TRANSFORM(out, in0, in1, in2, in3)                                                 \
    do {                                                                                           \
        out[0] = (in0);                                                                            \
        out[1] = (in1) - (in2) - (in3);                                                            \
        out[2] = (in1) + (in2) - (in0);                                                            \
        out[3] = (in3);                                                                            \
    } while (0)

/* COLUMN [4] = B' (the pixels of column X of the image, zeros outside of it). */
#define INPUT_COLUMN(column, x)                                                                    \
    do {                                                                                           \
        const size_t ix = (size_t)(x);                                                             \
        TILE(lanes) pixels[4] = {{0}, {0}, {0}, {0}};                                              \
        if (ix < a->width) {                                                                       \
            UNROLL                                                                                 \
            for (int i = 0; i < 4; i++)                                                            \
                pixels[i] = LOAD(rows[i] + ix * steps[i]);                                         \
        }                                                                                          \
        INPUT_TRANSFORM(column, pixels[0], pixels[1], pixels[2], pixels[3]);                       \
    } while (0)

/* V = B' x B of each tile. A tile shares two columns with the next one. */
static void TILE(input)(const winograd_run *a)
{
    static const real zeros[TILE(LANES)] __attribute__((aligned(TILE_BYTES)));
    const size_t pitch = a->width * a->channels;
    for (size_t c = 0; c < a->channels; c += TILE(LANES)) {
        const real *rows[4];
        size_t steps[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            const size_t iy = (size_t)(a->top + i);
            rows[i] = iy < a->height ? a->image + iy * pitch + c : zeros;
            steps[i] = iy < a->height ? a->channels : 0;
        }
        TILE(lanes) first[4], second[4], third[4], fourth[4];
        real *to = a->planes + c;
        INPUT_COLUMN(first, a->left);
        INPUT_COLUMN(second, a->left + 1);
        for (size_t t = 0; t < a->tiles; t++, to += a->channels) {
            const ptrdiff_t x = a->left + 2 * (ptrdiff_t)t;
            INPUT_COLUMN(third, x + 2);
            INPUT_COLUMN(fourth, x + 3);
            UNROLL
            for (int i = 0; i < 4; i++) {
                TILE(lanes) out[4];
                INPUT_TRANSFORM(out, first[i], second[i], third[i], fourth[i]);
                UNROLL
                for (int j = 0; j < 4; j++)
                    STORE(to + (size_t)(4 * i + j) * a->plane, out[j]);
                first[i] = third[i];
                second[i] = fourth[i];
            }
        }
    }
}

/* dM = A dy A' of each tile; A = [1 0], [1 1], [1 -1], [0 1]. */
static void TILE(gradient)(const winograd_run *a)
{
    const size_t pitch = a->width * a->channels;
    const bool is_below = (size_t)a->top + 1 < a->height;
    for (size_t t = 0; t < a->tiles; t++) {
        const size_t x = (size_t)a->left + 2 * t;
        const bool is_right = x + 1 < a->width;
        const real *from = a->image + (size_t)a->top * pitch + x * a->channels;
        real *to = a->planes + t * a->channels;
        for (size_t c = 0; c < a->channels; c += TILE(LANES), from += TILE(LANES)) {
            const TILE(lanes) none = {0};
            const TILE(lanes) d0 = LOAD(from), d1 = is_right ? LOAD(from + a->channels) : none;
            const TILE(lanes) d2 = is_below ? LOAD(from + pitch) : none;
            const TILE(lanes) d3 = is_below && is_right ? LOAD(from + pitch + a->channels) : none;
            const TILE(lanes) left[4] = {d0, d0 + d2, d0 - d2, d2};
            const TILE(lanes) right[4] = {d1, d1 + d3, d1 - d3, d3};
            UNROLL
            for (int i = 0; i < 4; i++) {
                real *row = to + c + (size_t)(4 * i) * a->plane;
                STORE(row, left[i]);
                STORE(row + a->plane, left[i] + right[i]);
                STORE(row + 2 * a->plane, left[i] - right[i]);
                STORE(row + 3 * a->plane, right[i]);
            }
        }
    }
}

/* y = act(bias + A' M A) of each tile, as far as it lies on the image. */
static void TILE(output)(const winograd_run *a)
{
    const size_t pitch = a->width * a->channels;
    const bool is_below = (size_t)a->top + 1 < a->height;
    for (size_t t = 0; t < a->tiles; t++) {
        const size_t x = (size_t)a->left + 2 * t;
        const bool is_right = x + 1 < a->width;
        const real *from = a->planes + t * a->channels;
        real *to = a->image + (size_t)a->top * pitch + x * a->channels;
        for (size_t c = 0; c < a->channels; c += TILE(LANES), from += TILE(LANES)) {
            TILE(lanes) upper[4], lower[4];
            UNROLL
            for (int j = 0; j < 4; j++) {
                const TILE(lanes) m0 = LOAD(from + (size_t)j * a->plane);
                const TILE(lanes) m1 = LOAD(from + (size_t)(4 + j) * a->plane);
                const TILE(lanes) m2 = LOAD(from + (size_t)(8 + j) * a->plane);
                const TILE(lanes) m3 = LOAD(from + (size_t)(12 + j) * a->plane);
                upper[j] = m0 + m1 + m2;
                lower[j] = m1 - m2 + m3;
            }
            const TILE(lanes) bias = a->bias ? LOAD(a->bias + c) : (TILE(lanes)){0};
            TILE(lanes)
            out[4] = {
                bias + (upper[0] + upper[1] + upper[2]), bias + (upper[1] - upper[2] + upper[3]),
                bias + (lower[0] + lower[1] + lower[2]), bias + (lower[1] - lower[2] + lower[3])};
            if (a->relu) {
                UNROLL
                for (int i = 0; i < 4; i++)
                    out[i] = POSITIVE(out[i]);
            }
            STORE(to + c, out[0]);
            if (is_right)
                STORE(to + c + a->channels, out[1]);
            if (is_below)
                STORE(to + c + pitch, out[2]);
            if (is_below && is_right)
                STORE(to + c + pitch + a->channels, out[3]);
        }
    }
}

/* dx += B dV B' of each tile, as far as it lies on the image. */
static void TILE(scatter)(const winograd_run *a)
{
    const size_t pitch = a->width * a->channels;
    for (size_t c = 0; c < a->channels; c += TILE(LANES)) {
        const real *from = a->planes + c;
        TILE(lanes) third[4] = {{0}, {0}, {0}, {0}}, fourth[4] = {{0}, {0}, {0}, {0}};
        /* One tile more, without products: the last two columns. */
        for (size_t t = 0; t <= a->tiles; t++, from += a->channels) {
            TILE(lanes) columns[4][4], out[4];
            UNROLL
            for (int j = 0; j < 4; j++) {
                if (t < a->tiles)
                    SCATTER_TRANSFORM(columns[j], LOAD(from + (size_t)j * a->plane),
                                      LOAD(from + (size_t)(4 + j) * a->plane),
                                      LOAD(from + (size_t)(8 + j) * a->plane),
                                      LOAD(from + (size_t)(12 + j) * a->plane));
                else
                    columns[j][0] = columns[j][1] = columns[j][2] = columns[j][3] =
                        (TILE(lanes)){0};
            }
            const size_t x = (size_t)(a->left + 2 * (ptrdiff_t)t);
            UNROLL
            for (int i = 0; i < 4; i++) {
                const size_t iy = (size_t)(a->top + i);
                SCATTER_TRANSFORM(out, columns[0][i], columns[1][i], columns[2][i], columns[3][i]);
                out[0] += third[i];
                out[1] += fourth[i];
                third[i] = out[2];
                fourth[i] = out[3];
                if (iy >= a->height)
                    continue;
                real *to = a->image + iy * pitch + c;
                if (x < a->width)
                    STORE(to + x * a->channels, LOAD(to + x * a->channels) + out[0]);
                if (x + 1 < a->width)
                    STORE(to + (x + 1) * a->channels, LOAD(to + (x + 1) * a->channels) + out[1]);
            }
        }
    }
}

#undef INPUT_COLUMN
#undef SCATTER_TRANSFORM
#undef INPUT_TRANSFORM
#undef POSITIVE
#undef STORE
#undef LOAD
#undef TILE
#undef TILE_BYTES
