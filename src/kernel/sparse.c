#include "kernel/sparse.h"

#include <string.h>

#include "kernel/clones.h"

#ifdef COHORT_HAVE_TARGETS
#include <immintrin.h>
#endif

#define INLINE COHORT_INLINE
#define UNROLL _Pragma("GCC unroll 8")

#ifdef COHORT_DOUBLE
typedef uint64_t lane_bits;
#else
typedef uint32_t lane_bits;
#endif

/* What there is for one width of registers. */
typedef struct tile_set {
    size_t columns;
    void (*mask_rows)(uint64_t *masks, const real *a, size_t lda, size_t m, size_t k);
    void (*mask_columns)(uint64_t *masks, const real *a, size_t lda, size_t m, size_t k);
    void (*multiply)(real *c, size_t ldc, const real *first, size_t ld_first,
                     cohort_transpose trans, const real *a, size_t lda, const uint64_t *masks,
                     const real *b, size_t ldb, size_t columns, size_t m);
    void (*sum_parts)(real *c, size_t ldc, bool add, const real *x, size_t ldx,
                      const uint64_t *masks, size_t step, const real *dz, size_t ldz,
                      const cohort_row_parts *parts, size_t columns, size_t m);
} tile_set;

#ifdef COHORT_HAVE_WIDE
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#ifdef COHORT_DOUBLE
#define TILE_NONZERO(v) _mm512_cmp_pd_mask((__m512d)(v), _mm512_setzero_pd(), _CMP_NEQ_UQ)
#else
#define TILE_NONZERO(v) _mm512_cmp_ps_mask((__m512)(v), _mm512_setzero_ps(), _CMP_NEQ_UQ)
#endif
#define TILE(name) wide_##name
#define TILE_BYTES 64
#include "kernel/sparse_tiles.h"
#pragma GCC pop_options
#endif

#ifdef COHORT_HAVE_TARGETS
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#ifdef COHORT_DOUBLE
#define TILE_NONZERO(v) _mm256_movemask_pd((__m256d)((v) != (TILE(lanes)){0}))
#else
#define TILE_NONZERO(v) _mm256_movemask_ps((__m256)((v) != (TILE(lanes)){0}))
#endif
#define TILE(name) narrow_##name
#define TILE_BYTES 32
#include "kernel/sparse_tiles.h"
#pragma GCC pop_options
#endif

/* Any machine. */
typedef real plain_vector __attribute__((vector_size(32)));

COHORT_INLINE unsigned plain_nonzero(const plain_vector *v)
{
    unsigned mask = 0;
    for (size_t lane = 0; lane < sizeof *v / sizeof(real); lane++)
        mask |= (unsigned)((*v)[lane] != 0) << lane;
    return mask;
}

#define TILE_NONZERO(v) plain_nonzero(&(v))
#define TILE(name) plain_##name
#define TILE_BYTES 32
#include "kernel/sparse_tiles.h"

static const tile_set *use_tiles(void)
{
#ifdef COHORT_HAVE_WIDE
    if (__builtin_cpu_supports("x86-64-v4"))
        return &wide_tiles;
#endif
#ifdef COHORT_HAVE_TARGETS
    if (__builtin_cpu_supports("x86-64-v3"))
        return &narrow_tiles;
#endif
    return &plain_tiles;
}

size_t cohort_sparse_columns(void)
{
    return use_tiles()->columns;
}

/* What products cost, in multiply-adds of 64 bytes: a row of c with its masks takes LIST, an
 * element that is not zero as many as it fills, but at least ENTRY_LEAST, which wait for each
 * other, and some more for what a full product does not read. Measured on AMD's fourth generation,
 * in registers of 64 and of 32 bytes; where wide ones do twice as many a cycle, what is waited for
 * costs twice as many. */
static const double list_cost = 22, entry_least = 4, entry_more = 1.1, gain_least = 1.09,
                    share_most = 0.66;

static double multiply_adds_a_cycle(void)
{
#ifdef COHORT_HAVE_WIDE
    if (__builtin_cpu_supports("x86-64-v4") && !cohort_wide_in_halves())
        return 2;
#endif
    return 1;
}

/* So many elements are looked at, one of SPACING if they are few; FIRST, if none of them is zero.
 */
enum { SAMPLES = 128, SPACING = 16, FIRST = 24, ROWS_LEAST = 8 };

/* The share of elements other than zero, of some of them. */
static double nonzero_share(const real *a, size_t lda, size_t rows, size_t columns)
{
    /* An odd step comes by other columns in other rows. */
    const size_t all = rows * columns,
                 step = (all < SAMPLES * SPACING ? SPACING : all / SAMPLES) | 1,
                 down = step / columns, right = step % columns;
    size_t nonzero = 0, count = 0;
    for (size_t row = 0, column = 0; row < rows; row += down, count++) {
        if (count == FIRST && nonzero == count)
            return 1;
        nonzero += a[row * lda + column] != 0;
        column += right;
        if (column >= columns) {
            column -= columns;
            row++;
        }
    }
    return (double)nonzero / (double)count;
}

bool cohort_sparse_pays(const real *a, size_t lda, size_t rows, size_t columns, size_t depth,
                        size_t n)
{
    const size_t width = n < cohort_sparse_columns() ? n : cohort_sparse_columns();
    const double rate = multiply_adds_a_cycle(), filled = (double)width / COHORT_LINE_REALS,
                 steps = depth < COHORT_SPARSE_DEPTH ? (double)depth : COHORT_SPARSE_DEPTH,
                 least = rate * entry_least, entry = entry_more * (filled > least ? filled : least),
                 most = (steps * filled / gain_least - rate * list_cost) / (steps * entry);
    if (n < COHORT_PANEL || rows < ROWS_LEAST || most <= 0)
        return false;
    return nonzero_share(a, lda, rows, columns) <= (most < share_most ? most : share_most);
}

void cohort_sparse_mask(uint64_t *masks, cohort_transpose trans, const real *a, size_t lda,
                        size_t m, size_t k)
{
    const tile_set *use = use_tiles();
    (trans == COHORT_PLAIN ? use->mask_rows : use->mask_columns)(masks, a, lda, m, k);
}

void cohort_sparse_multiply(real *c, size_t ldc, const real *first, size_t ld_first,
                            cohort_transpose trans, const real *a, size_t lda,
                            const uint64_t *masks, const real *b, size_t ldb, size_t columns,
                            size_t m)
{
    use_tiles()->multiply(c, ldc, first, ld_first, trans, a, lda, masks, b, ldb, columns, m);
}

enum {
    ROWS_AT_ONCE = 128,
    ROWS_PACKED = 16 /* so many pay for columns of b laid side by side */
};

/* Some of the columns of b, laid side by side where that pays. */
typedef struct column_tile {
    size_t at, width, ldb;
    const real *b;
} column_tile;

static size_t tile_count(size_t n)
{
    return (n + cohort_sparse_columns() - 1) / cohort_sparse_columns();
}

/* Number TILE of all for b [k][n], of about equal width. PACKED has room for COHORT_SPARSE_DEPTH
 * steps; those of a product for ROWS. */
static column_tile tile_at(real *packed, size_t tile, const real *b, size_t ldb, size_t rows,
                           size_t n, size_t k)
{
    const size_t panels = n / COHORT_PANEL, tiles = tile_count(n),
                 at = panels * tile / tiles * COHORT_PANEL,
                 width = panels * (tile + 1) / tiles * COHORT_PANEL - at;
    if (width == ldb || rows < ROWS_PACKED || k > COHORT_SPARSE_DEPTH)
        return (column_tile){at, width, ldb, b + at};
    cohort_panel_pack_strip(packed, COHORT_PLAIN, b + at, ldb, k, width);
    return (column_tile){at, width, width, packed};
}

/* c [rows][n] = FIRST + what K steps of a and b add, at most COHORT_SPARSE_DEPTH. */
static void add_steps(real *c, size_t ldc, const real *first, size_t ld_first,
                      cohort_transpose trans, const real *a, size_t lda, const real *b, size_t ldb,
                      size_t rows, size_t n, size_t k)
{
    uint64_t masks[ROWS_AT_ONCE];
    _Alignas(64) real packed[COHORT_SPARSE_DEPTH * COHORT_SPARSE_COLUMNS];
    cohort_sparse_mask(masks, trans, a, lda, rows, k);
    for (size_t tile = 0; tile < tile_count(n); tile++) {
        const column_tile t = tile_at(packed, tile, b, ldb, rows, n, k);
        cohort_sparse_multiply(c + t.at, ldc, first ? first + t.at : NULL, ld_first, trans, a, lda,
                               masks, t.b, t.ldb, t.width, rows);
    }
}

void cohort_sparse_product(real *c, size_t ldc, const real *first, size_t ld_first,
                           cohort_transpose trans, const real *a, size_t lda, const real *b,
                           size_t ldb, size_t m, size_t n, size_t k)
{
    const size_t row_step = trans == COHORT_PLAIN ? lda : 1, step = trans == COHORT_PLAIN ? 1 : lda;
    for (size_t i = 0; i < m; i += ROWS_AT_ONCE) {
        const size_t rows = m - i < ROWS_AT_ONCE ? m - i : ROWS_AT_ONCE;
        real *to = c + i * ldc;
        const real *from = first ? first + i * ld_first : NULL;
        for (size_t p = 0; p < k || p == 0; p += COHORT_SPARSE_DEPTH) {
            const size_t deep = k - p < COHORT_SPARSE_DEPTH ? k - p : COHORT_SPARSE_DEPTH;
            add_steps(to, ldc, from, p ? ldc : ld_first, trans, a + i * row_step + p * step, lda,
                      b + p * ldb, ldb, rows, n, deep);
            from = to;
        }
    }
}

/* Rows of c for which the masks of all parts are kept, in all and whole vectors of them. */
enum { MASKS = 16 * COHORT_SPARSE_PARTS, MASKS_STEP = 16 };

void cohort_sparse_parts(real *c, size_t ldc, bool add, const real *x, size_t ldx, const real *dz,
                         size_t ldz, const cohort_row_parts *parts, size_t m, size_t n)
{
    const size_t step = MASKS / parts->count / MASKS_STEP * MASKS_STEP,
                 all = cohort_row_part_begin(parts, parts->count);
    uint64_t masks[MASKS];
    _Alignas(64) real packed[COHORT_SPARSE_DEPTH * COHORT_SPARSE_COLUMNS];
    for (size_t i = 0; i < m; i += step) {
        const size_t rows = m - i < step ? m - i : step;
        for (size_t part = 0; part < parts->count; part++) {
            const size_t begin = cohort_row_part_begin(parts, part),
                         end = cohort_row_part_begin(parts, part + 1);
            cohort_sparse_mask(masks + part * step, COHORT_TRANSPOSED, x + begin * ldx + i, ldx,
                               rows, end - begin);
        }
        for (size_t tile = 0; tile < tile_count(n); tile++) {
            const column_tile t = tile_at(packed, tile, dz, ldz, rows, n, all);
            use_tiles()->sum_parts(c + i * ldc + t.at, ldc, add, x + i, ldx, masks, step, t.b,
                                   t.ldb, parts, t.width, rows);
        }
    }
}
