#include "kernel/large.h"

#include <omp.h>
#include <string.h>

#include "kernel/gemm.h"
#include "kernel/panel.h"
#include "kernel/parallel.h"
#include "kernel/sparse.h"

/* A strip of a panel, DEPTH deep, fills half of the first cache; ROWS_NEAR rows as deep, or DEPTH
 * rows of WIDTH columns, fit the second. After each CHUNK rows some more of the next panel is asked
 * for: so little that what is multiplied does not wait for it. */
enum { DEPTH = 256, ROWS_NEAR = 512, WIDTH = 192, TILE = 24, CHUNK = 24, SIZE_LEAST = 128 };
/* Rows of what is near begin an odd number of lines apart, so that those of a tile fall on
 * different sets of the first cache. */
enum { NEAR_DEPTH = DEPTH + COHORT_LINE_REALS, NEAR_WIDTH = WIDTH + COHORT_LINE_REALS };
_Static_assert(NEAR_DEPTH / COHORT_LINE_REALS % 2 == 1, "an odd number of lines");
_Static_assert(NEAR_WIDTH / COHORT_LINE_REALS % 2 == 1, "an odd number of lines");
_Static_assert(WIDTH % TILE == 0, "whole tiles, of 6 or 8 rows");

bool cohort_large_fits(size_t k, size_t n)
{
    const size_t strip = COHORT_PANEL / 2;
    return cohort_panel_has_registers() && k >= SIZE_LEAST && n >= SIZE_LEAST && k % strip == 0 &&
           n % strip == 0;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t cohort_large_scratch(size_t rows)
{
    const size_t deep = least(rows, ROWS_NEAR) * NEAR_DEPTH, wide = least(rows, DEPTH) * NEAR_WIDTH;
    return deep > wide ? deep : wide;
}

static int use_threads(void)
{
    return omp_in_parallel() ? 1 : omp_get_max_threads();
}

/* c [m][n] (+)= op(near) [m][k] * op(b) [k][n], k at most DEPTH, rows LDC, STRIDE and LDB apart. */
typedef struct block {
    real *c;
    const real *near, *b;
    cohort_transpose trans_near, trans_b;
    size_t ldc, stride, ldb, m, n, k;
    bool add;
    const uint64_t *masks; /* [WORDS][m] of op(near), each of STEP of its k; NULL: zeros are not
                            * left out */
    size_t step;
    size_t columns; /* of c at a time */
} block;

/* Some columns of some rows of op(b). */
typedef struct piece {
    const real *b;
    size_t k, columns;
} piece;

/* Asks for one of PARTS of it. */
static void prefetch(const block *t, piece next, size_t part, size_t parts)
{
    const bool is_plain = t->trans_b == COHORT_PLAIN;
    const size_t rows = is_plain ? next.k : next.columns, width = is_plain ? next.columns : next.k;
    for (size_t row = rows * part / parts; row < rows * (part + 1) / parts; row++)
        for (size_t j = 0; j < width; j += COHORT_LINE_REALS)
            __builtin_prefetch(next.b + row * t->ldb + j, 0, 2);
}

/* A panel of c: its part of b is laid out, while the next is asked for. */
static void block_panel(void *context, size_t panel)
{
    const block *t = context;
    _Alignas(64) real packed[DEPTH * COHORT_PANEL];
    const size_t first = panel * COHORT_PANEL, left = t->n - first,
                 width = least(left, COHORT_PANEL),
                 strip = least(width, cohort_panel_strip_columns()),
                 chunks = (t->m - 1) / CHUNK + 1, step = t->trans_b == COHORT_PLAIN ? 1 : t->ldb;
    const real *b = t->b + first * step;
    const bool is_last = left < 2 * COHORT_PANEL;
    size_t part = 0;
    for (size_t side = 0; side < width; side += strip)
        cohort_panel_pack_strip(packed + side * t->k, t->trans_b, b + side * step, t->ldb, t->k,
                                strip);
    for (size_t side = 0; side < width; side += strip)
        for (size_t i = 0; i < t->m; i += CHUNK, part++) {
            if (!is_last)
                prefetch(t, (piece){b + COHORT_PANEL * step, t->k, COHORT_PANEL}, part,
                         chunks * (width / strip));
            cohort_panel_strip(t->c + i * t->ldc + first + side, t->ldc, t->trans_near,
                               t->near + i * (t->trans_near == COHORT_PLAIN ? t->stride : 1),
                               t->stride, packed + side * t->k, strip, strip,
                               least(t->m - i, CHUNK), t->k, t->add);
        }
}

/* What sparse_panel takes of op(b) for the columns of PANEL and the steps of WORD; beyond the last,
 * for the next columns. */
static piece sparse_piece(const block *t, size_t panel, size_t word)
{
    const size_t words = (t->k - 1) / t->step + 1, first = (panel + word / words) * t->columns,
                 p = word % words * t->step;
    if (first >= t->n)
        return (piece){0};
    return (piece){.b = t->b +
                        (t->trans_b == COHORT_PLAIN ? p * t->ldb + first : first * t->ldb + p),
                   .k = least(t->k - p, t->step),
                   .columns = least(t->n - first, t->columns)};
}

/* Columns of c, where zeros of what is near are left out. */
static void sparse_panel(void *context, size_t panel)
{
    const block *t = context;
    _Alignas(64) real packed[COHORT_SPARSE_DEPTH * COHORT_SPARSE_COLUMNS];
    const size_t chunks = (t->m - 1) / CHUNK + 1, words = (t->k - 1) / t->step + 1;
    for (size_t word = 0; word < words; word++) {
        const piece now = sparse_piece(t, panel, word), next = sparse_piece(t, panel, word + 1);
        const bool is_plain = t->trans_near == COHORT_PLAIN;
        const real *near = t->near + word * t->step * (is_plain ? 1 : t->stride);
        cohort_panel_pack_strip(packed, t->trans_b, now.b, t->ldb, now.k, now.columns);
        for (size_t part = 0, i = 0; part < chunks; part++, i += CHUNK) {
            real *c = t->c + i * t->ldc + panel * t->columns;
            prefetch(t, next, part, chunks);
            cohort_sparse_multiply(c, t->ldc, t->add || word > 0 ? c : NULL, t->ldc, t->trans_near,
                                   near + i * (is_plain ? t->stride : 1), t->stride,
                                   t->masks + word * t->m + i, packed, now.columns, now.columns,
                                   least(t->m - i, CHUNK));
        }
    }
}

enum { MASKS_MOST = ROWS_NEAR * (DEPTH / COHORT_SPARSE_DEPTH) };
_Static_assert(MASKS_MOST >= WIDTH * (DEPTH / COHORT_SPARSE_DEPTH), "masks of both shapes");

/* Finds the zeros of what is near, if they are many. Threads that would have no columns get some.
 */
static void find_zeros(block *t, uint64_t *masks, int threads)
{
    const bool is_plain = t->trans_near == COHORT_PLAIN;
    const size_t words = (t->k - 1) / COHORT_SPARSE_DEPTH + 1;
    const size_t rows = is_plain ? t->m : t->k, width = is_plain ? t->k : t->m;
    if (t->n % COHORT_PANEL != 0 ||
        !cohort_sparse_pays(t->near, t->stride, rows, width, t->k, t->n))
        return;
    const size_t panels = t->n / COHORT_PANEL / (size_t)threads * COHORT_PANEL;
    t->columns = panels ? least(panels, cohort_sparse_columns()) : COHORT_PANEL;
    t->masks = masks;
    t->step = (t->k - 1) / words + 1;
    for (size_t p = 0; p < t->k; p += t->step, masks += t->m)
        cohort_sparse_mask(masks, t->trans_near, t->near + p * (is_plain ? 1 : t->stride),
                           t->stride, t->m, least(t->k - p, t->step));
}

static void multiply(block *t, int threads)
{
    uint64_t masks[MASKS_MOST];
    t->columns = COHORT_PANEL;
    find_zeros(t, masks, threads);
    cohort_parallel_each((t->n + t->columns - 1) / t->columns, threads,
                         t->masks ? sparse_panel : block_panel, t);
}

/* Rows to be brought near. */
typedef struct copy {
    real *near;
    const real *from;
    size_t stride, ld, width;
} copy;

static void copy_row(void *context, size_t row)
{
    const copy *c = context;
    memcpy(c->near + row * c->stride, c->from + row * c->ld, c->width * sizeof *c->near);
}

static void bring(real *near, size_t stride, const real *from, size_t ld, size_t rows, size_t width,
                  int threads)
{
    copy c = {.near = near, .from = from, .stride = stride, .ld = ld, .width = width};
    cohort_parallel_each(rows, threads, copy_row, &c);
}

/* The even parts of COUNT of at most MOST. */
static size_t parts_of(size_t count, size_t most)
{
    return (count + most - 1) / most;
}

/* c [rows][n] = a [rows][k] * op(b). */
static void product(real *c, const real *a, const real *b, cohort_transpose trans_b, size_t ldb,
                    size_t rows, size_t k, size_t n, void (*progress)(const void *),
                    const void *progress_context, real *scratch)
{
    const int threads = use_threads();
    const size_t depths = parts_of(k, DEPTH);
    for (size_t row = 0; row < rows; row += ROWS_NEAR)
        for (size_t d = 0; d < depths; d++) {
            const size_t begin = k * d / depths, deep = k * (d + 1) / depths - begin;
            block t = {.c = c + row * n,
                       .near = scratch,
                       .b = b + begin * (trans_b == COHORT_PLAIN ? ldb : 1),
                       .trans_near = COHORT_PLAIN,
                       .trans_b = trans_b,
                       .ldc = n,
                       .stride = NEAR_DEPTH,
                       .ldb = ldb,
                       .m = least(rows - row, ROWS_NEAR),
                       .n = n,
                       .k = deep,
                       .add = d > 0};
            bring(scratch, NEAR_DEPTH, a + row * k + begin, k, t.m, deep, threads);
            multiply(&t, threads);
            if (progress)
                progress(progress_context);
        }
}

void cohort_large_forward(real *z, const real *x, const real *w, size_t rows, size_t k, size_t n,
                          real *scratch)
{
    product(z, x, w, COHORT_PLAIN, n, rows, k, n, NULL, NULL, scratch);
}

void cohort_large_data(real *dx, const real *dz, const real *w, size_t rows, size_t k, size_t n,
                       void (*progress)(const void *context), const void *context, real *scratch)
{
    product(dx, dz, w, COHORT_TRANSPOSED, n, rows, n, k, progress, context, scratch);
}

void cohort_large_weights(real *dw, const real *x, const real *dz, size_t rows, size_t k, size_t n,
                          size_t begin, size_t end, bool add, real *scratch)
{
    const int threads = use_threads();
    const size_t parts = parts_of(end - begin, WIDTH),
                 step = parts_of((end - begin + parts - 1) / parts, TILE) * TILE;
    if (rows == 0 && !add)
        memset(dw + begin * n, 0, (end - begin) * n * sizeof *dw);
    for (size_t first = begin; first < end; first += step)
        for (size_t row = 0; row < rows; row += DEPTH) {
            block t = {.c = dw + first * n,
                       .near = scratch,
                       .b = dz + row * n,
                       .trans_near = COHORT_TRANSPOSED,
                       .trans_b = COHORT_PLAIN,
                       .ldc = n,
                       .stride = NEAR_WIDTH,
                       .ldb = n,
                       .m = least(end - first, step),
                       .n = n,
                       .k = least(rows - row, DEPTH),
                       .add = add || row > 0};
            bring(scratch, NEAR_WIDTH, x + row * k + first, k, t.k, t.m, threads);
            multiply(&t, threads);
        }
}
