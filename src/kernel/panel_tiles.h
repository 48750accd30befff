/* Products of panels in register tiles, for one width of registers. Included once for each, with
 *
 *   TILE(name)  the name that belongs to the width
 *   TILE_BYTES  of a vector
 *   TILE_COUNT  1 or 2: vectors of a tile, side by side
 *   TILE_ROWS   6, 8 or 12: rows of a tile, so many that their sums fit the registers and hide the
 *               latency of the multiply-add
 *   TILE_DEPTH  steps at a time
 *   TILE_FMA    COHORT_FMA or COHORT_MULTIPLY_ADD */

typedef real TILE(lanes) __attribute__((vector_size(TILE_BYTES), aligned(sizeof(real)), may_alias));
enum { TILE(LANES) = TILE_BYTES / sizeof(real) };

/* SUM [R][vectors] += what one element of R rows of a, ROW apart, adds times one row of b. */
#define TILE_STEP(b)                                                                               \
    do {                                                                                           \
        TILE(lanes) beside[TILE_COUNT];                                                            \
        UNROLL                                                                                     \
        for (size_t v = 0; v < TILE_COUNT; v++)                                                    \
            beside[v] = *(const TILE(lanes) *)((b) + v * TILE(LANES));                             \
        UNROLL                                                                                     \
        for (size_t i = 0; i < R; i++) {                                                           \
            const TILE(lanes) factor = at[i / 3][i % 3 * row] - (TILE(lanes)){0};                  \
            UNROLL                                                                                 \
            for (size_t v = 0; v < TILE_COUNT; v++)                                                \
                TILE_FMA(sum[i][v], beside[v], factor);                                            \
        }                                                                                          \
        UNROLL                                                                                     \
        for (size_t i = 0; i < R; i += 3)                                                          \
            at[i / 3] += column;                                                                   \
    } while (0)

/* Down to LEFT steps, a multiple of TILE_DEPTH, or a few more. */
#define TILE_STEPS(left)                                                                           \
    for (; k >= (left) + TILE_DEPTH; k -= TILE_DEPTH) {                                            \
        UNROLL                                                                                     \
        for (size_t p = 0; p < TILE_DEPTH; p++, b += step)                                         \
            TILE_STEP(b);                                                                          \
    }

/* c [R][vectors] = FROM + a [R][k] * b [k][vectors], rows of b STEP apart. Element (i, p) of a
 * lies at a[i * row + p * column]. Several steps at a time: counting and moving pointers takes
 * slots of the core, which its other thread may want, too. The tile below, which mostly comes next,
 * is asked for while the last LEAD steps are taken, if that is not at once: sooner it might have
 * left the first cache again. */
INLINE void TILE(tile)(real *c, size_t ldc, beginning from, const real *a, size_t row,
                       size_t column, const real *b, size_t step, size_t k, const size_t R)
{
    TILE(lanes) sum[TILE_ROWS][TILE_COUNT];
    const real *at[(TILE_ROWS + 2) / 3];
    UNROLL
    for (size_t i = 0; i < R; i += 3)
        at[i / 3] = a + i * row;
    if (from.first) {
        UNROLL
        for (size_t i = 0; i < R; i++) {
            UNROLL
            for (size_t v = 0; v < TILE_COUNT; v++)
                sum[i][v] = *(const TILE(lanes) *)(from.first + i * from.ld + v * TILE(LANES));
        }
    } else {
        UNROLL
        for (size_t i = 0; i < R; i++) {
            UNROLL
            for (size_t v = 0; v < TILE_COUNT; v++)
                sum[i][v] = (TILE(lanes)){0};
        }
    }
    if (k >= 2 * LEAD) {
        TILE_STEPS(LEAD);
        UNROLL
        for (size_t i = 0; i < R; i++) {
            UNROLL
            for (size_t v = 0; v < TILE_COUNT; v++)
                __builtin_prefetch(c + (R + i) * ldc + v * TILE(LANES), 1);
        }
    }
    TILE_STEPS(0);
    for (; k > 0; k--, b += step)
        TILE_STEP(b);
    UNROLL
    for (size_t i = 0; i < R; i++) {
        UNROLL
        for (size_t v = 0; v < TILE_COUNT; v++)
            *(TILE(lanes) *)(c + i * ldc + v * TILE(LANES)) = sum[i][v];
    }
}

#define TILE_CASE(R)                                                                               \
    case R:                                                                                        \
        TILE(tile)(c, ldc, from, a, row, column, b, step, k, R);                                   \
        break

/* A tile's columns for M rows: in full tiles, unless one of few rows would remain, whose
 * multiply-adds wait for one another; then in two of about half as many. */
INLINE void TILE(rows)(real *c, size_t ldc, beginning from, const real *a, size_t row,
                       size_t column, const real *b, size_t step, size_t m, size_t k)
{
    for (; m >= TILE_ROWS + TILE_ROWS / 2 || m == TILE_ROWS; m -= TILE_ROWS) {
        TILE(tile)(c, ldc, from, a, row, column, b, step, k, TILE_ROWS);
        c += TILE_ROWS * ldc;
        a += TILE_ROWS * row;
        from = begin_at(from, TILE_ROWS, 0);
    }
    while (m > 0) {
        const size_t rows = m > TILE_ROWS ? (m + 1) / 2 : m;
        switch (rows) {
#if TILE_ROWS == 12
            TILE_CASE(11);
            TILE_CASE(10);
            TILE_CASE(9);
            TILE_CASE(8);
#endif
#if TILE_ROWS >= 8
            TILE_CASE(7);
            TILE_CASE(6);
#endif
            TILE_CASE(5);
            TILE_CASE(4);
            TILE_CASE(3);
            TILE_CASE(2);
        default:
            TILE(tile)(c, ldc, from, a, row, column, b, step, k, 1);
        }
        m -= rows;
        c += rows * ldc;
        a += rows * row;
        from = begin_at(from, rows, 0);
    }
}

/* COLUMNS (those of whole tiles) for M rows. What a tile takes of b begins NEXT after that of the
 * one before. */
static void TILE(panel)(real *c, size_t ldc, beginning from, cohort_transpose trans, const real *a,
                        size_t lda, const real *b, size_t step, size_t next, size_t columns,
                        size_t m, size_t k)
{
    enum { SIDE = TILE_COUNT * TILE(LANES) };
    for (; columns > 0; columns -= SIDE) {
        if (trans == COHORT_PLAIN && step == SIDE && TILE_DEPTH > 1)
            TILE(rows)(c, ldc, from, a, lda, 1, b, SIDE, m, k);
        else if (trans == COHORT_PLAIN)
            TILE(rows)(c, ldc, from, a, lda, 1, b, step, m, k);
        else if (step == SIDE && TILE_DEPTH > 1)
            TILE(rows)(c, ldc, from, a, 1, lda, b, SIDE, m, k);
        else
            TILE(rows)(c, ldc, from, a, 1, lda, b, step, m, k);
        b += next;
        c += SIDE;
        from = begin_at(from, 0, SIDE);
    }
}

#undef TILE_CASE
#undef TILE_STEP
#undef TILE_STEPS
#undef TILE
#undef TILE_BYTES
#undef TILE_COUNT
#undef TILE_ROWS
#undef TILE_DEPTH
#undef TILE_FMA
