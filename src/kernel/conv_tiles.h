/* The register tiles of the direct way, for one width of registers. Included once for each, with
 *
 *   TILE(name)    the name that belongs to the width
 *   TILE_BYTES    of a register
 *   TILE_DEPTH    taps (forward) or pixels (weights) at a time
 *   TILE_FMA      COHORT_FMA or COHORT_MULTIPLY_ADD
 *   TILE_SHAPES   X(vectors, many, fewer, few): at most 4 vectors of channels, with most first
 *
 * A tile has MANY, FEWER, FEW or one pixel (forward) or tap (weights), each with the VECTORS. */

#include "kernel/tile_vectors.h"

/* One tap of P windows. */
#define FORWARD_TAP(at)                                                                            \
    do {                                                                                           \
        TILE(lanes) weights[V_MAX];                                                                \
        UNROLL                                                                                     \
        for (size_t v = 0; v < V; v++)                                                             \
            weights[v] = LOAD(kernel + v * TILE(LANES));                                           \
        UNROLL                                                                                     \
        for (size_t p = 0; p < P; p++) {                                                           \
            const TILE(lanes) factor = x[p][at] - (TILE(lanes)){0};                                \
            UNROLL                                                                                 \
            for (size_t v = 0; v < V; v++)                                                         \
                TILE_FMA(acc[p * V + v], weights[v], factor);                                      \
        }                                                                                          \
    } while (0)

INLINE void TILE(forward)(const forward_args *a, size_t pixel, const size_t P, const size_t V)
{
    TILE(lanes) acc[ACCUMULATORS];
    const real *x[ACCUMULATORS];
    UNROLL
    for (size_t p = 0; p < P; p++) {
        x[p] = a->x + a->offsets[pixel + p];
        UNROLL
        for (size_t v = 0; v < V; v++)
            acc[p * V + v] = a->bias ? LOAD(a->bias + v * TILE(LANES)) : (TILE(lanes)){0};
    }
    for (size_t ky = 0; ky < a->rows; ky++) {
        const real *kernel = a->kernel + ky * a->kernel_row;
        const size_t step = a->kernel_step, end = ky * a->x_row + a->run;
        size_t at = ky * a->x_row;
        for (; at + TILE_DEPTH <= end; at += TILE_DEPTH) {
            UNROLL
            for (size_t d = 0; d < TILE_DEPTH; d++, kernel += step)
                FORWARD_TAP(at + d);
        }
        for (; at < end; at++, kernel += step)
            FORWARD_TAP(at);
    }
    UNROLL
    for (size_t p = 0; p < P; p++) {
        UNROLL
        for (size_t v = 0; v < V; v++) {
            TILE(lanes) sum = acc[p * V + v];
            if (a->relu)
                sum = POSITIVE(sum);
            STORE(a->y + (pixel + p) * a->y_step + v * TILE(LANES), sum);
        }
    }
}

/* One pixel for T taps. */
#define WEIGHTS_PIXEL(pixel)                                                                       \
    do {                                                                                           \
        const real *x = a->x + a->offsets[pixel];                                                  \
        TILE(lanes) gradients[V_MAX];                                                              \
        UNROLL                                                                                     \
        for (size_t v = 0; v < V; v++)                                                             \
            gradients[v] = LOAD(dy + v * TILE(LANES));                                             \
        UNROLL                                                                                     \
        for (size_t t = 0; t < T; t++) {                                                           \
            const TILE(lanes) factor = x[t] - (TILE(lanes)){0};                                    \
            UNROLL                                                                                 \
            for (size_t v = 0; v < V; v++)                                                         \
                TILE_FMA(acc[t * V + v], gradients[v], factor);                                    \
        }                                                                                          \
    } while (0)

INLINE void TILE(weights)(const weights_args *a, const size_t T, const size_t V)
{
    TILE(lanes) acc[ACCUMULATORS];
    UNROLL
    for (size_t t = 0; t < T; t++) {
        UNROLL
        for (size_t v = 0; v < V; v++)
            acc[t * V + v] = (TILE(lanes)){0};
    }
    const real *dy = a->dy;
    const size_t step = a->dy_step;
    size_t pixel = 0;
    for (; pixel + TILE_DEPTH <= a->pixels; pixel += TILE_DEPTH) {
        UNROLL
        for (size_t d = 0; d < TILE_DEPTH; d++, dy += step)
            WEIGHTS_PIXEL(pixel + d);
    }
    for (; pixel < a->pixels; pixel++, dy += step)
        WEIGHTS_PIXEL(pixel);
    UNROLL
    for (size_t t = 0; t < T; t++) {
        UNROLL
        for (size_t v = 0; v < V; v++) {
            TILE(loose) *to = (TILE(loose) *)(a->dkernel + t * a->channels + v * TILE(LANES));
            if (a->add)
                *to += acc[t * V + v];
            else
                *to = acc[t * V + v];
        }
    }
}

/* All tiles of P pixels; the last one is moved back to end with the group. */
#define DEFINE_FORWARD(P, V)                                                                       \
    static void TILE(forward_##P##_##V)(const forward_args *a)                                     \
    {                                                                                              \
        size_t pixel = 0;                                                                          \
        for (; pixel + (P) <= a->pixels; pixel += (P))                                             \
            TILE(forward)(a, pixel, P, V);                                                         \
        if (pixel < a->pixels)                                                                     \
            TILE(forward)(a, a->pixels - (P), P, V);                                               \
    }
#define DEFINE_WEIGHTS(T, V)                                                                       \
    static void TILE(weights_##T##_##V)(const weights_args *a)                                     \
    {                                                                                              \
        TILE(weights)(a, T, V);                                                                    \
    }
#define DEFINE_SHAPE(V, MANY, FEWER, FEW)                                                          \
    DEFINE_FORWARD(MANY, V)                                                                        \
    DEFINE_FORWARD(FEWER, V)                                                                       \
    DEFINE_FORWARD(FEW, V)                                                                         \
    DEFINE_FORWARD(1, V)                                                                           \
    DEFINE_WEIGHTS(MANY, V)                                                                        \
    DEFINE_WEIGHTS(FEWER, V)                                                                       \
    DEFINE_WEIGHTS(FEW, V)                                                                         \
    DEFINE_WEIGHTS(1, V)
TILE_SHAPES(DEFINE_SHAPE)

#define LIST_SHAPE(V, MANY, FEWER, FEW)                                                            \
    {V, MANY, TILE(forward_##MANY##_##V), TILE(weights_##MANY##_##V)},                             \
        {V, FEWER, TILE(forward_##FEWER##_##V), TILE(weights_##FEWER##_##V)},                      \
        {V, FEW, TILE(forward_##FEW##_##V), TILE(weights_##FEW##_##V)},                            \
        {V, 1, TILE(forward_1_##V), TILE(weights_1_##V)},
static const tile_choice TILE(choices)[] = {TILE_SHAPES(LIST_SHAPE)};

#undef LIST_SHAPE
#undef DEFINE_SHAPE
#undef DEFINE_WEIGHTS
#undef DEFINE_FORWARD
#undef WEIGHTS_PIXEL
#undef FORWARD_TAP
#undef POSITIVE
#undef STORE
#undef LOAD
#undef TILE
#undef TILE_BYTES
#undef TILE_DEPTH
#undef TILE_FMA
#undef TILE_SHAPES
