/* Gradients of weights from few rows in register tiles, for one width of registers. Included once
 * for each, with
 *
 *   TILE(name)  the name that belongs to the width
 *   TILE_BYTES  of a vector
 *   TILE_ROWS   of a tile of two vectors, at most 7: as many as leave registers for the sums of two
 *               parts, or of one where there are few registers, whose loads then have more to do
 *   TILE_FMA    COHORT_FMA or COHORT_MULTIPLY_ADD */

typedef real TILE(lanes) __attribute__((vector_size(TILE_BYTES), aligned(sizeof(real)), may_alias));
enum { TILE(LANES) = TILE_BYTES / sizeof(real), TILE(ROWS) = TILE_ROWS };

/* SUM [R][2 vectors] = what the rows of one part give, by themselves. */
INLINE void TILE(one)(TILE(lanes) sum[TILE_ROWS][2], const tile_source *s, size_t part,
                      const size_t R)
{
    const size_t begin = cohort_row_part_begin(s->parts, part),
                 end = cohort_row_part_begin(s->parts, part + 1);
    const real *x = s->x + begin * s->ldx, *dz = s->dz + begin * s->ldz;
    UNROLL
    for (size_t i = 0; i < R; i++)
        sum[i][0] = sum[i][1] = (TILE(lanes)){0};
    for (size_t r = begin; r < end; r++, x += s->ldx, dz += s->ldz) {
        const TILE(lanes) left = *(const TILE(lanes) *)dz,
                          right = *(const TILE(lanes) *)(dz + TILE(LANES));
        UNROLL
        for (size_t i = 0; i < R; i++) {
            const TILE(lanes) factor = x[i] - (TILE(lanes)){0};
            TILE_FMA(sum[i][0], left, factor);
            TILE_FMA(sum[i][1], right, factor);
        }
    }
}

INLINE void TILE(join)(TILE(lanes) sum[TILE_ROWS][2], TILE(lanes) other[TILE_ROWS][2],
                       const size_t R)
{
    UNROLL
    for (size_t i = 0; i < R; i++) {
        sum[i][0] += other[i][0];
        sum[i][1] += other[i][1];
    }
}

INLINE void TILE(two)(TILE(lanes) sum[TILE_ROWS][2], const tile_source *s, size_t part,
                      const size_t R)
{
    TILE(lanes) other[TILE_ROWS][2];
    TILE(one)(sum, s, part, R);
    TILE(one)(other, s, part + 1, R);
    TILE(join)(sum, other, R);
}

INLINE void TILE(four)(TILE(lanes) sum[TILE_ROWS][2], const tile_source *s, size_t part,
                       const size_t R)
{
    TILE(lanes) other[TILE_ROWS][2];
    TILE(two)(sum, s, part, R);
    TILE(two)(other, s, part + 2, R);
    TILE(join)(sum, other, R);
}

/* TO [R][2 vectors], rows LDT apart = the sum over COUNT (1, 2 or 4) parts from FIRST on, which
 * stays in registers. */
INLINE void TILE(parts)(real *to, size_t ldt, const tile_source *s, size_t first, size_t count,
                        const size_t R)
{
    TILE(lanes) sum[TILE_ROWS][2];
    if (count == 1)
        TILE(one)(sum, s, first, R);
    else if (count == 2)
        TILE(two)(sum, s, first, R);
    else
        TILE(four)(sum, s, first, R);
    UNROLL
    for (size_t i = 0; i < R; i++) {
        *(TILE(lanes) *)(to + i * ldt) = sum[i][0];
        *(TILE(lanes) *)(to + i * ldt + TILE(LANES)) = sum[i][1];
    }
}

/* All columns of the source, whole pairs of vectors. */
static void TILE(tile)(real *to, size_t ldt, const tile_source *s, size_t first, size_t count,
                       size_t rows)
{
    enum { PAIR = 2 * TILE(LANES) };
    for (size_t column = 0; column < s->columns; column += PAIR) {
        tile_source part = *s;
        real *at = to + column;
        part.dz += column;
        if (rows == TILE_ROWS) {
            TILE(parts)(at, ldt, &part, first, count, TILE_ROWS);
            continue;
        }
#if TILE_ROWS > 4
        if (rows & 4) {
            TILE(parts)(at, ldt, &part, first, count, 4);
            part.x += 4;
            at += 4 * ldt;
        }
#endif
        if (rows & 2) {
            TILE(parts)(at, ldt, &part, first, count, 2);
            part.x += 2;
            at += 2 * ldt;
        }
        if (rows & 1)
            TILE(parts)(at, ldt, &part, first, count, 1);
    }
}

#undef TILE
#undef TILE_BYTES
#undef TILE_ROWS
#undef TILE_FMA
