#include "kernel/panel.h"

#include <stdint.h>
#include <string.h>

#include "kernel/clones.h"
#include "kernel/fma.h"
#include "kernel/math.h"

#define INLINE COHORT_INLINE
#define UNROLL _Pragma("GCC unroll 12")

enum { LEAD = 64 }; /* steps ahead that the next tile is asked for */

size_t cohort_panel_count(size_t k, size_t n)
{
    return (n + COHORT_PANEL - 1) / COHORT_PANEL * COHORT_PANEL * k;
}

/* What sums begin with: rows LD reals apart (0: the first for all); NULL: zero. */
typedef struct beginning {
    const real *first;
    size_t ld;
} beginning;

COHORT_INLINE beginning begin_at(beginning from, size_t row, size_t column)
{
    return (beginning){from.first ? from.first + row * from.ld + column : NULL, from.ld};
}

#ifdef COHORT_HAVE_WIDE
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#define TILE(name) wide_##name
#define TILE_BYTES 64
#define TILE_COUNT 2
#define TILE_ROWS 8
#define TILE_DEPTH 4
#define TILE_FMA COHORT_FMA
#include "kernel/panel_tiles.h"
/* Half a panel. */
#define TILE(name) half_##name
#define TILE_BYTES 64
#define TILE_COUNT 1
#define TILE_ROWS 12
#define TILE_DEPTH 4
#define TILE_FMA COHORT_FMA
#include "kernel/panel_tiles.h"
#pragma GCC pop_options
#endif

#ifdef COHORT_HAVE_TARGETS
#define TILE(name) narrow_##name
#define TILE_BYTES 32
#define TILE_COUNT 2
#define TILE_ROWS 6
#define TILE_DEPTH 4
#define TILE_FMA COHORT_FMA
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#include "kernel/panel_tiles.h"
#pragma GCC pop_options
#endif

/* Any machine. */
#define TILE(name) plain_##name
#define TILE_BYTES 32
#define TILE_COUNT 2
#define TILE_ROWS 6
#define TILE_DEPTH 1
#define TILE_FMA COHORT_MULTIPLY_ADD
#include "kernel/panel_tiles.h"

/* Step H of turning a block: exchanges the bit H of the number of a row with that of an
 * element in it, for all rows. */
#define TURN_STEP(vector, h)                                                                       \
    _Pragma("GCC unroll 16") for (int i = 0; (h) < LANES && i < LANES; i++)                        \
    {                                                                                              \
        const vector##_index beyond = ((lane & (h)) != 0) & (LANES - (h));                         \
        const vector##_lanes one = rows[i], other = rows[(i + (h)) % LANES];                       \
        if ((i & (h)) == 0) {                                                                      \
            rows[i] = __builtin_shuffle(one, other, lane + beyond);                                \
            rows[(i + (h)) % LANES] = __builtin_shuffle(one, other, lane + (h) + beyond);          \
        }                                                                                          \
    }

/* Packs the transpose of whole blocks of rows of COLUMNS (whole vectors) columns; returns how many
 * rows. */
#define DEFINE_TURN(vector)                                                                        \
    static size_t vector##_turn(real *packed, const real *b, size_t ldb, size_t k, size_t columns) \
    {                                                                                              \
        enum { LANES = vector##_LANES };                                                           \
        size_t p = 0;                                                                              \
        vector##_index lane;                                                                       \
        for (int l = 0; l < LANES; l++)                                                            \
            lane[l] = l;                                                                           \
        for (; p + LANES <= k; p += LANES)                                                         \
            for (size_t side = 0; side < columns; side += LANES) {                                 \
                vector##_lanes rows[LANES];                                                        \
                _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) rows[i] =                 \
                    *(const vector##_lanes *)(b + (side + (size_t)i) * ldb + p);                   \
                TURN_STEP(vector, 1)                                                               \
                TURN_STEP(vector, 2)                                                               \
                TURN_STEP(vector, 4)                                                               \
                TURN_STEP(vector, 8)                                                               \
                _Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) *                         \
                    (vector##_lanes *)(packed + (p + (size_t)i) * columns + side) = rows[i];       \
            }                                                                                      \
        return p;                                                                                  \
    }

#ifdef COHORT_HAVE_TARGETS
#ifdef COHORT_DOUBLE
typedef int64_t lane_index;
#else
typedef int32_t lane_index;
#endif
typedef lane_index narrow_index __attribute__((vector_size(32)));
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
DEFINE_TURN(narrow)
#pragma GCC pop_options
#endif

#ifdef COHORT_HAVE_WIDE
typedef lane_index wide_index __attribute__((vector_size(64)));
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
DEFINE_TURN(wide)
#pragma GCC pop_options
#endif

#ifdef COHORT_HAVE_WIDE
/* Whether a tile of one wide vector is faster than one of two narrow ones: not where wide registers
 * go through the units in halves, since a factor for all of its lanes takes as long to load as its
 * multiply-add. */
static bool halves_are_wide(void)
{
    return __builtin_cpu_supports("x86-64-v4") && !cohort_wide_in_halves();
}
#endif

/* COLUMNS: half a panel or whole ones. */
static void panel(real *c, size_t ldc, beginning from, cohort_transpose trans, const real *a,
                  size_t lda, const real *b, size_t step, size_t next, size_t columns, size_t m,
                  size_t k)
{
#ifdef COHORT_HAVE_WIDE
    if (columns % COHORT_PANEL == 0 && __builtin_cpu_supports("x86-64-v4")) {
        wide_panel(c, ldc, from, trans, a, lda, b, step, next, columns, m, k);
        return;
    }
    if (columns == COHORT_PANEL / 2 && halves_are_wide()) {
        half_panel(c, ldc, from, trans, a, lda, b, step, next, columns, m, k);
        return;
    }
#endif
#ifdef COHORT_HAVE_TARGETS
    if (__builtin_cpu_supports("x86-64-v3")) {
        narrow_panel(c, ldc, from, trans, a, lda, b, step, next, columns, m, k);
        return;
    }
#endif
    plain_panel(c, ldc, from, trans, a, lda, b, step, next, columns, m, k);
}

/* Packs what it can of the transpose of COLUMNS whole columns; returns how many rows. */
static size_t turn(real *packed, const real *b, size_t ldb, size_t k, size_t columns)
{
    size_t done = 0;
#ifdef COHORT_HAVE_WIDE
    if (columns % COHORT_PANEL == 0 && __builtin_cpu_supports("x86-64-v4"))
        done = wide_turn(packed, b, ldb, k, columns);
#endif
#ifdef COHORT_HAVE_TARGETS
    if (done == 0 && __builtin_cpu_supports("x86-64-v3"))
        done = narrow_turn(packed, b, ldb, k, columns);
#endif
    return done;
}

bool cohort_panel_has_registers(void)
{
#ifdef COHORT_HAVE_TARGETS
    return __builtin_cpu_supports("x86-64-v3");
#else
    return false;
#endif
}

size_t cohort_panel_strip_columns(void)
{
#ifdef COHORT_HAVE_WIDE
    if (__builtin_cpu_supports("x86-64-v4"))
        return COHORT_PANEL;
#endif
    return COHORT_PANEL / 2;
}

/* STRIPS side by side, of COLUMNS whole columns each, in one pass over the rows of b. */
COHORT_INLINE void pack_rows(real *packed, const real *b, size_t ldb, size_t k, size_t columns,
                             size_t strips)
{
    for (size_t p = 0; p < k; p++)
        for (size_t i = 0; i < strips; i++)
            memcpy(packed + (i * k + p) * columns, b + p * ldb + i * columns,
                   columns * sizeof *packed);
}

/* PACKED [k][COLUMNS] = op(b) [k][WIDTH], and zeros beside. */
static void pack_part(real *packed, cohort_transpose trans, const real *b, size_t ldb, size_t k,
                      size_t columns, size_t width)
{
    memset(packed, 0, k * columns * sizeof *packed);
    for (size_t p = 0; p < k; p++)
        for (size_t j = 0; j < width; j++)
            packed[p * columns + j] = trans == COHORT_PLAIN ? b[p * ldb + j] : b[j * ldb + p];
}

void cohort_panel_pack_strip(real *packed, cohort_transpose trans, const real *b, size_t ldb,
                             size_t k, size_t columns)
{
    if (trans == COHORT_PLAIN && columns == COHORT_PANEL)
        pack_rows(packed, b, ldb, k, COHORT_PANEL, 1);
    else if (trans == COHORT_PLAIN && columns == COHORT_PANEL / 2)
        pack_rows(packed, b, ldb, k, COHORT_PANEL / 2, 1);
    else if (trans == COHORT_PLAIN)
        for (size_t p = 0; p < k; p++)
            memcpy(packed + p * columns, b + p * ldb, columns * sizeof *packed);
    else {
        const size_t done = turn(packed, b, ldb, k, columns);
        for (size_t p = done; p < k; p++)
            for (size_t j = 0; j < columns; j++)
                packed[p * columns + j] = b[j * ldb + p];
    }
}

void cohort_panel_pack(real *packed, cohort_transpose trans, const real *b, size_t ldb, size_t k,
                       size_t n)
{
    const size_t strip = cohort_panel_strip_columns(), all = cohort_panel_count(1, n);
    const size_t step = trans == COHORT_PLAIN ? 1 : ldb;
    size_t j = 0;
    for (; trans == COHORT_PLAIN && strip < COHORT_PANEL && j + COHORT_PANEL <= n;
         j += COHORT_PANEL)
        pack_rows(packed + j * k, b + j, ldb, k, COHORT_PANEL / 2, 2);
    for (; j + strip <= n; j += strip)
        cohort_panel_pack_strip(packed + j * k, trans, b + j * step, ldb, k, strip);
    for (; j < all; j += strip)
        pack_part(packed + j * k, trans, j < n ? b + j * step : b, ldb, k, strip,
                  j < n ? n - j : 0);
}

void cohort_panel_strip(real *c, size_t ldc, cohort_transpose trans_a, const real *a, size_t lda,
                        const real *b, size_t ldb, size_t columns, size_t m, size_t k, bool add)
{
    panel(c, ldc, (beginning){add ? c : NULL, ldc}, trans_a, a, lda, b, ldb, COHORT_PANEL / 2,
          columns, m, k);
}

static void multiply_from(real *c, size_t ldc, beginning from, cohort_transpose trans_a,
                          const real *a, size_t lda, const real *packed, size_t depth, size_t m,
                          size_t n, size_t k)
{
    const size_t strip = cohort_panel_strip_columns(), whole = n / strip * strip;
    panel(c, ldc, from, trans_a, a, lda, packed, strip, depth * strip, whole, m, k);
    packed += depth * whole;
    c += whole;
    from = begin_at(from, 0, whole);
    n -= whole;
    /* The last, narrower strip goes through a full-width tile. */
    enum { TILE_ROWS = 8 };
    const size_t columns = n > COHORT_PANEL / 2 ? COHORT_PANEL : COHORT_PANEL / 2;
    real tile[TILE_ROWS * COHORT_PANEL];
    for (size_t i = 0; n && i < m; i += TILE_ROWS) {
        const size_t rows = m - i < TILE_ROWS ? m - i : TILE_ROWS;
        panel(tile, COHORT_PANEL, (beginning){NULL, 0}, trans_a,
              a + i * (trans_a == COHORT_PLAIN ? lda : 1), lda, packed, strip, COHORT_PANEL / 2,
              columns, rows, k);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < n; j++)
                c[(i + r) * ldc + j] = tile[r * COHORT_PANEL + j] +
                                       (from.first ? from.first[(i + r) * from.ld + j] : 0);
    }
}

void cohort_panel_multiply(real *c, size_t ldc, cohort_transpose trans_a, const real *a, size_t lda,
                           const real *packed, size_t depth, size_t m, size_t n, size_t k, bool add)
{
    multiply_from(c, ldc, (beginning){add ? c : NULL, ldc}, trans_a, a, lda, packed, depth, m, n,
                  k);
}

void cohort_panel_multiply_bias(real *c, size_t ldc, const real *bias, const real *a, size_t lda,
                                const real *packed, size_t depth, size_t m, size_t n, size_t k)
{
    multiply_from(c, ldc, (beginning){bias, 0}, COHORT_PLAIN, a, lda, packed, depth, m, n, k);
}

/* Rows of b far apart fall on few sets of the first cache: a part of them at a time stays there
 * while the rows of a pass by. */
enum { ROWS_CACHED = 400 };

void cohort_panel_product(real *c, size_t ldc, const real *bias, const real *a, size_t lda,
                          const real *b, size_t ldb, size_t m, size_t k)
{
    const size_t parts = k > ROWS_CACHED ? (k - 1) / ROWS_CACHED + 1 : 1;
    for (size_t part = 0; part < parts; part++) {
        const size_t p = k * part / parts;
        panel(c, ldc, part ? (beginning){c, ldc} : (beginning){bias, 0}, COHORT_PLAIN, a + p, lda,
              b + p * ldb, ldb, COHORT_PANEL / 2, COHORT_PANEL, m, k * (part + 1) / parts - p);
    }
}
