/* Products that leave zeros out, for one width of registers. Included once for each, with
 *
 *   TILE(name)       the name that belongs to the width
 *   TILE_BYTES       of a vector
 *   TILE_NONZERO(v)  a number whose bit l tells whether lane l of v is not zero
 *
 * A row of c passes through VECTORS registers at most: enough for their multiply-adds not to
 * wait for each other. */

#include "kernel/tile_vectors.h"

enum {
    TILE(VECTORS) = 8,
    TILE(WIDTH) = TILE(VECTORS) * TILE(LANES),
    /* Masks are made in lanes as wide as a real. */
    TILE(LANE_BITS) = 8 * sizeof(real)
};
_Static_assert(TILE(WIDTH) % COHORT_PANEL == 0 && TILE(WIDTH) <= COHORT_SPARSE_COLUMNS,
               "whole panels, no more than there is room for");

/* Of rows of a. */
static void TILE(mask_rows)(uint64_t *masks, const real *a, size_t lda, size_t m, size_t k)
{
    for (size_t i = 0; i < m; i++, a += lda) {
        uint64_t mask = 0;
        size_t p = 0;
        for (; p + TILE(LANES) <= k; p += TILE(LANES)) {
            const TILE(lanes) v = LOAD(a + p);
            mask |= (uint64_t)TILE_NONZERO(v) << p;
        }
        for (; p < k; p++)
            mask |= (uint64_t)(a[p] != 0) << p;
        masks[i] = mask;
    }
}

/* Of columns of a: all LANES of them row by row. */
static void TILE(mask_columns)(uint64_t *masks, const real *a, size_t lda, size_t m, size_t k)
{
    size_t i = 0;
    for (; i + TILE(LANES) <= m; i += TILE(LANES)) {
        const real *row = a + i;
        memset(masks + i, 0, TILE(LANES) * sizeof *masks);
        for (size_t first = 0; first < k; first += TILE(LANE_BITS)) {
            const size_t end = k < first + TILE(LANE_BITS) ? k : first + TILE(LANE_BITS);
            TILE(bits) mask = {0}, bit = (TILE(bits)){0} + 1;
            for (size_t p = first; p < end; p++, row += lda, bit <<= 1)
                mask |= (TILE(bits))(LOAD(row) != (TILE(lanes)){0}) & bit;
            for (size_t lane = 0; lane < TILE(LANES); lane++)
                masks[i + lane] |= (uint64_t)(lane_bits)mask[lane] << first;
        }
    }
    for (; i < m; i++) {
        masks[i] = 0;
        for (size_t p = 0; p < k; p++)
            masks[i] |= (uint64_t)(a[p * lda + i] != 0) << p;
    }
}

/* SUM [V] += NUMBER times the vectors at ROW, whose address GCC is kept from adding up V times. */
#define ADD_ROW(number, row)                                                                       \
    do {                                                                                           \
        const TILE(lanes) factor = (number) - (TILE(lanes)){0};                                    \
        const real *from = (row);                                                                  \
        __asm__("" : "+r"(from));                                                                  \
        UNROLL                                                                                     \
        for (size_t v = 0; v < V; v++)                                                             \
            sum[v] += LOAD(from + v * TILE(LANES)) * factor;                                       \
    } while (0)

/* M rows of c, V vectors wide; element (i, p) of a lies at a[i * row + p * column]. */
INLINE void TILE(rows)(real *c, size_t ldc, const real *first, size_t ld_first, const real *a,
                       size_t row, size_t column, const uint64_t *masks, const real *b, size_t ldb,
                       size_t m, const size_t V)
{
    for (size_t i = 0; i < m; i++, a += row, c += ldc) {
        TILE(lanes) sum[TILE(VECTORS)];
        UNROLL
        for (size_t v = 0; v < V; v++)
            sum[v] = first ? LOAD(first + i * ld_first + v * TILE(LANES)) : (TILE(lanes)){0};
        for (uint64_t left = masks[i]; left; left &= left - 1) {
            const size_t p = (size_t)__builtin_ctzll(left);
            ADD_ROW(a[p * column], b + p * ldb);
        }
        UNROLL
        for (size_t v = 0; v < V; v++)
            STORE(c + v * TILE(LANES), sum[v]);
    }
}

/* CALL for the vectors of COLUMNS, panels that are at most WIDTH. */
#define FOR_COLUMNS(call)                                                                          \
    do {                                                                                           \
        switch (columns / TILE(LANES)) {                                                           \
        case 8:                                                                                    \
            call(8);                                                                               \
            break;                                                                                 \
        case 6:                                                                                    \
            call(6);                                                                               \
            break;                                                                                 \
        case 4:                                                                                    \
            call(4);                                                                               \
            break;                                                                                 \
        default:                                                                                   \
            call(2);                                                                               \
        }                                                                                          \
    } while (0)

/* Adjoining rows of b are known to be. */
#define MULTIPLY(V)                                                                                \
    do {                                                                                           \
        const bool adjoin = ldb == (V)*TILE(LANES);                                                \
        if (trans == COHORT_TRANSPOSED && adjoin)                                                  \
            TILE(rows)(c, ldc, first, ld_first, a, 1, lda, masks, b, (V)*TILE(LANES), m, V);       \
        else if (trans == COHORT_TRANSPOSED)                                                       \
            TILE(rows)(c, ldc, first, ld_first, a, 1, lda, masks, b, ldb, m, V);                   \
        else if (adjoin)                                                                           \
            TILE(rows)(c, ldc, first, ld_first, a, lda, 1, masks, b, (V)*TILE(LANES), m, V);       \
        else                                                                                       \
            TILE(rows)(c, ldc, first, ld_first, a, lda, 1, masks, b, ldb, m, V);                   \
    } while (0)

static void TILE(multiply)(real *c, size_t ldc, const real *first, size_t ld_first,
                           cohort_transpose trans, const real *a, size_t lda, const uint64_t *masks,
                           const real *b, size_t ldb, size_t columns, size_t m)
{
    FOR_COLUMNS(MULTIPLY);
}

/* The same for sums of parts of x' * dz, whose masks are STEP apart from part to part. Where x' is
 * zero in all parts nothing is summed. */
INLINE void TILE(sums)(real *c, size_t ldc, bool add, const real *x, size_t ldx,
                       const uint64_t *masks, size_t step, const real *dz, size_t ldz,
                       const cohort_row_parts *parts, size_t m, const size_t V)
{
    TILE(lanes) waiting[COHORT_PART_LEVELS][TILE(VECTORS)];
    const real *x_parts[COHORT_SPARSE_PARTS], *dz_parts[COHORT_SPARSE_PARTS];
    for (size_t part = 0; part < parts->count; part++) {
        x_parts[part] = x + cohort_row_part_begin(parts, part) * ldx;
        dz_parts[part] = dz + cohort_row_part_begin(parts, part) * ldz;
    }
    for (size_t i = 0; i < m; i++, c += ldc) {
        TILE(lanes) sum[TILE(VECTORS)] = {{0}};
        uint64_t any = 0;
        for (size_t part = 0; part < parts->count; part++)
            any |= masks[part * step + i];
        for (size_t part = 0, depth = 0; any && part < parts->count; part++) {
            const real *x_part = x_parts[part] + i, *dz_part = dz_parts[part];
            uint64_t left = masks[part * step + i];
            UNROLL
            for (size_t v = 0; v < V; v++)
                sum[v] = (TILE(lanes)){0};
            for (; left; left &= left - 1) {
                const size_t p = (size_t)__builtin_ctzll(left);
                ADD_ROW(x_part[p * ldx], dz_part + p * ldz);
            }
            for (size_t pairs = part; pairs & 1; pairs >>= 1) {
                depth--;
                UNROLL
                for (size_t v = 0; v < V; v++)
                    sum[v] += waiting[depth][v];
            }
            if (part + 1 < parts->count) {
                UNROLL
                for (size_t v = 0; v < V; v++)
                    waiting[depth][v] = sum[v];
            }
            depth++;
        }
        UNROLL
        for (size_t v = 0; v < V; v++)
            STORE(c + v * TILE(LANES), add ? LOAD(c + v * TILE(LANES)) + sum[v] : sum[v]);
    }
}

#define SUM(V)                                                                                     \
    do {                                                                                           \
        if (ldz == (V)*TILE(LANES))                                                                \
            TILE(sums)(c, ldc, add, x, ldx, masks, step, dz, (V)*TILE(LANES), parts, m, V);        \
        else                                                                                       \
            TILE(sums)(c, ldc, add, x, ldx, masks, step, dz, ldz, parts, m, V);                    \
    } while (0)

static void TILE(sum_parts)(real *c, size_t ldc, bool add, const real *x, size_t ldx,
                            const uint64_t *masks, size_t step, const real *dz, size_t ldz,
                            const cohort_row_parts *parts, size_t columns, size_t m)
{
    FOR_COLUMNS(SUM);
}

static const tile_set TILE(tiles) = {TILE(WIDTH), TILE(mask_rows), TILE(mask_columns),
                                     TILE(multiply), TILE(sum_parts)};

#undef SUM
#undef MULTIPLY
#undef FOR_COLUMNS
#undef ADD_ROW
#undef LOAD
#undef STORE
#undef POSITIVE
#undef TILE
#undef TILE_BYTES
#undef TILE_NONZERO
