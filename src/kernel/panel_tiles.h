/* Products of panels in register tiles, for one width of registers. Included once for each, with
 *
 *   TILE(name)  the name that belongs to the width
 *   TILE_BYTES  of a vector
 *   TILE_ROWS   6 or 8: rows of a tile of two vectors, so many that their sums fit the registers
 *               and hide the latency of the multiply-add
 *   TILE_DEPTH  steps at a time
 *   TILE_FMA    COHORT_FMA or COHORT_MULTIPLY_ADD */

typedef real TILE(lanes) __attribute__((vector_size(TILE_BYTES), aligned(sizeof(real)), may_alias));
enum { TILE(LANES) = TILE_BYTES / sizeof(real) };

/* SUM [R][2 vectors] += what one element of R rows of a, ROW apart, adds times one row of b. */
#define TILE_STEP(b)                                                                               \
    do {                                                                                           \
        const TILE(lanes) left = *(const TILE(lanes) *)(b),                                        \
                          right = *(const TILE(lanes) *)((b) + TILE(LANES));                       \
        UNROLL                                                                                     \
        for (size_t i = 0; i < R; i++) {                                                           \
            const TILE(lanes) factor = at[i / 3][i % 3 * row] - (TILE(lanes)){0};                  \
            TILE_FMA(sum[i][0], left, factor);                                                     \
            TILE_FMA(sum[i][1], right, factor);                                                    \
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

/* c [R][2 vectors] = FROM + a [R][k] * b [k][2 vectors], rows of b STEP apart. Element (i, p) of a
 * lies at a[i * row + p * column]. Several steps at a time: counting and moving pointers takes
 * slots of the core, which its other thread may want, too. The tile below, which mostly comes next,
 * is asked for while the last LEAD steps are taken, if that is not at once: sooner it might have
 * left the first cache again. */
INLINE void TILE(tile)(real *c, size_t ldc, beginning from, const real *a, size_t row,
                       size_t column, const real *b, size_t step, size_t k, const size_t R)
{
    TILE(lanes) sum[TILE_ROWS][2];
    const real *at[3];
    UNROLL
    for (size_t i = 0; i < R; i += 3)
        at[i / 3] = a + i * row;
    if (from.first) {
        UNROLL
        for (size_t i = 0; i < R; i++) {
            sum[i][0] = *(const TILE(lanes) *)(from.first + i * from.ld);
            sum[i][1] = *(const TILE(lanes) *)(from.first + i * from.ld + TILE(LANES));
        }
    } else {
        UNROLL
        for (size_t i = 0; i < R; i++)
            sum[i][0] = sum[i][1] = (TILE(lanes)){0};
    }
    if (k >= 2 * LEAD) {
        TILE_STEPS(LEAD);
        UNROLL
        for (size_t i = 0; i < R; i++) {
            __builtin_prefetch(c + (R + i) * ldc, 1);
            __builtin_prefetch(c + (R + i) * ldc + TILE(LANES), 1);
        }
    }
    TILE_STEPS(0);
    for (; k > 0; k--, b += step)
        TILE_STEP(b);
    UNROLL
    for (size_t i = 0; i < R; i++) {
        *(TILE(lanes) *)(c + i * ldc) = sum[i][0];
        *(TILE(lanes) *)(c + i * ldc + TILE(LANES)) = sum[i][1];
    }
}

#define TILE_CASE(R)                                                                               \
    case R:                                                                                        \
        TILE(tile)(c, ldc, from, a, row, column, b, step, k, R);                                   \
        break

/* Two vectors of columns for M rows: in full tiles, unless one of few rows would remain, whose
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
#if TILE_ROWS == 8
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

/* COLUMNS (pairs of vectors) for M rows. What a pair takes of b begins NEXT after that of the one
 * before. */
static void TILE(panel)(real *c, size_t ldc, beginning from, cohort_transpose trans, const real *a,
                        size_t lda, const real *b, size_t step, size_t next, size_t columns,
                        size_t m, size_t k)
{
    enum { PAIR = 2 * TILE(LANES) };
    for (; columns > 0; columns -= PAIR) {
        if (trans == COHORT_PLAIN && step == PAIR && TILE_DEPTH > 1)
            TILE(rows)(c, ldc, from, a, lda, 1, b, PAIR, m, k);
        else if (trans == COHORT_PLAIN)
            TILE(rows)(c, ldc, from, a, lda, 1, b, step, m, k);
        else if (step == PAIR && TILE_DEPTH > 1)
            TILE(rows)(c, ldc, from, a, 1, lda, b, PAIR, m, k);
        else
            TILE(rows)(c, ldc, from, a, 1, lda, b, step, m, k);
        b += next;
        c += PAIR;
        from = begin_at(from, 0, PAIR);
    }
}

#undef TILE_CASE
#undef TILE_STEP
#undef TILE_STEPS
#undef TILE
#undef TILE_BYTES
#undef TILE_ROWS
#undef TILE_DEPTH
#undef TILE_FMA
