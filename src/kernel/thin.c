#include "kernel/thin.h"

#include <omp.h>
#include <string.h>

#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/fma.h"
#include "kernel/gemm.h"
#include "kernel/math.h"
#include "kernel/panel.h"
#include "kernel/parallel.h"
#include "kernel/sparse.h"
#include "kernel/vector.h"

/* Weights beyond FITS_REALS no longer stay in cache from product to product, and rows further
 * apart than FITS_COLUMNS fall on the same sets of it. */
enum { FITS_REALS = 1 << 18, FITS_COLUMNS = 1024, GROUP = 4, BLOCK_ROWS = 96 };
/* A panel of MANY_ROWS rows of dz stays in the first cache while MANY_WEIGHTS columns of x, of as
 * many rows, pass by in the second. */
enum { MANY_ROWS = 128, MANY_WEIGHTS = 96, MANY_TILE = 24 };
_Static_assert(MANY_WEIGHTS % MANY_TILE == 0, "whole tiles, of 6 or 8 rows");
/* Those columns are copied to rows this far apart, an odd number of lines: a few columns of all
 * rows then spread over all sets of the first cache. */
enum { NEAR_STRIDE = MANY_WEIGHTS + COHORT_LINE_REALS };
_Static_assert(NEAR_STRIDE / COHORT_LINE_REALS % 2 == 1, "an odd number of lines");
static const double thread_operations = 1 << 21; /* multiply-adds worth more threads */

bool cohort_thin_fits(size_t k, size_t n)
{
    return n <= FITS_COLUMNS && k <= FITS_REALS / n;
}

static int use_threads(size_t rows, size_t k, size_t n)
{
    const bool worth = (double)rows * (double)k * (double)n >= thread_operations;
    return worth && !omp_in_parallel() ? omp_get_max_threads() : 1;
}

static size_t tail_columns(size_t n)
{
    return n % COHORT_PANEL;
}

static size_t panels(size_t n)
{
    return (n + COHORT_PANEL - 1) / COHORT_PANEL;
}

/* Whether so many rows pay for laying the weights out anew: columns of a panel far apart fall on
 * few sets of the first cache. */
static bool is_packed(size_t rows)
{
    return rows >= MANY_ROWS;
}

size_t cohort_thin_forward_scratch(size_t rows, size_t k, size_t n)
{
    const size_t tail = tail_columns(n) ? k * COHORT_PANEL : 0;
    return is_packed(rows) ? cohort_panel_count(k, n) : tail;
}

size_t cohort_thin_backward_scratch(size_t rows, size_t k, size_t n)
{
    const size_t turned = cohort_panel_count(n, k), padded = rows * COHORT_PANEL,
                 many = cohort_panel_count(rows < MANY_ROWS ? rows : MANY_ROWS, n);
    return turned + many > padded ? turned + many : padded;
}

/* A product z [rows][n] = x [rows][k] * w + bias (NULL: none), piece by piece. */
typedef struct product {
    real *z, *scratch;
    const real *x, *w, *bias;
    size_t rows, k, n;
    bool is_sparse; /* x is */
    bool is_packed; /* w, in scratch; otherwise only the columns beyond whole panels */
    size_t groups;  /* of columns, the last of them those beyond whole panels */
    size_t block;   /* rows taken at a time through all columns, so that they stay in cache */
    const cohort_thin_rows *finish;
} product;

typedef struct row_block {
    size_t row, rows, group;
} row_block;

static size_t block_count(const product *p)
{
    return (p->rows + p->block - 1) / p->block;
}

static row_block block_at(const product *p, size_t block, size_t group)
{
    const size_t row = block * p->block, left = p->rows - row;
    return (row_block){.row = row, .rows = left < p->block ? left : p->block, .group = group};
}

static row_block piece_at(const product *p, size_t piece)
{
    return block_at(p, piece / p->groups, piece % p->groups);
}

/* Whether zeros of x are left out, and what follows from it: wider groups of columns, and blocks of
 * so few rows that every thread has one. */
static void choose_way(product *p, int threads)
{
    const size_t tail = tail_columns(p->n), whole = p->n - tail;
    p->is_sparse = cohort_sparse_pays(p->x, p->k, p->rows, p->k, p->k, whole);
    p->is_packed = !p->is_sparse && is_packed(p->rows);
    const size_t columns = p->is_sparse ? cohort_sparse_columns() : COHORT_PANEL;
    p->groups = (whole + columns - 1) / columns + (tail > 0);
    p->block = BLOCK_ROWS;
    if (p->is_sparse && p->rows < p->block * (size_t)threads)
        p->block = (p->rows - 1) / (size_t)threads + 1;
}

typedef struct column_group {
    size_t first, width;
    bool is_whole; /* panels */
} column_group;

static column_group group_at(const product *p, size_t group)
{
    const size_t columns = p->is_sparse ? cohort_sparse_columns() : COHORT_PANEL,
                 tail = tail_columns(p->n), whole = p->n - tail, first = group * columns;
    if (first >= whole)
        return (column_group){whole, tail, false};
    return (column_group){first, whole - first < columns ? whole - first : columns, true};
}

static void forward_piece(void *context, size_t piece)
{
    const product *p = context;
    const size_t n = p->n, k = p->k;
    const row_block at = piece_at(p, piece);
    const column_group group = group_at(p, at.group);
    real *to = p->z + at.row * n + group.first;
    const real *from = p->x + at.row * k, *bias = p->bias ? p->bias + group.first : NULL,
               *w = p->w + group.first;
    if (p->is_packed || !group.is_whole)
        cohort_panel_multiply_bias(to, n, bias, from, k,
                                   p->scratch + (p->is_packed ? group.first * k : 0), k, at.rows,
                                   group.width, k);
    else if (p->is_sparse)
        cohort_sparse_product(to, n, bias, 0, COHORT_PLAIN, from, k, w, n, at.rows, group.width, k);
    else
        cohort_panel_product(to, n, bias, from, k, w, n, at.rows, k);
}

static void finish_block(void *context, size_t block)
{
    const product *p = context;
    const row_block at = block_at(p, block, 0);
    p->finish->visit(p->finish->context, at.row, at.rows);
}

static void pack_panel(void *context, size_t panel)
{
    const product *p = context;
    const size_t first = panel * COHORT_PANEL, left = p->n - first;
    cohort_panel_pack(p->scratch + first * p->k, COHORT_PLAIN, p->w + first, p->n, p->k,
                      left < COHORT_PANEL ? left : COHORT_PANEL);
}

/* The last, narrower panel of weights is laid out with zeros beside it in any case. */
void cohort_thin_forward(real *z, const real *x, const real *w, const real *bias, size_t rows,
                         size_t k, size_t n, const cohort_thin_rows *finish, real *scratch)
{
    const size_t tail = tail_columns(n);
    product p = {.z = z,
                 .scratch = scratch,
                 .x = x,
                 .w = w,
                 .bias = bias,
                 .rows = rows,
                 .k = k,
                 .n = n,
                 .finish = finish};
    const int threads = use_threads(rows, k, n);
    choose_way(&p, threads);
    const size_t blocks = block_count(&p), pieces = blocks * p.groups;
    if (p.is_packed)
        cohort_parallel_each(p.groups, threads, pack_panel, &p);
    else if (tail)
        cohort_panel_pack(scratch, COHORT_PLAIN, w + n - tail, n, k, tail);
    if (!finish || threads > 1) {
        cohort_parallel_each(pieces, threads, forward_piece, &p);
        if (finish)
            cohort_parallel_each(blocks, threads, finish_block, &p);
        return;
    }
    for (size_t piece = 0; piece < pieces; piece++) {
        forward_piece(&p, piece);
        if ((piece + 1) % p.groups == 0)
            finish_block(&p, piece / p.groups);
    }
}

/* The turned weights of some columns of the product: for a sparse one side by side, otherwise by
 * strips. */
static void turn_group(void *context, size_t group)
{
    const product *p = context;
    const column_group at = group_at(p, group);
    real *to = p->scratch + at.first * p->k;
    const real *from = p->w + at.first * p->k;
    if (p->is_sparse && at.is_whole)
        cohort_panel_pack_strip(to, COHORT_TRANSPOSED, from, p->k, p->k, at.width);
    else
        cohort_panel_pack(to, COHORT_TRANSPOSED, from, p->k, p->k, at.width);
}

static void data_piece(void *context, size_t piece)
{
    const product *p = context;
    const row_block at = piece_at(p, piece);
    const column_group group = group_at(p, at.group);
    real *to = p->z + at.row * p->n + group.first;
    const real *from = p->x + at.row * p->k, *turned = p->scratch + group.first * p->k;
    if (p->is_sparse && group.is_whole)
        cohort_sparse_product(to, p->n, NULL, 0, COHORT_PLAIN, from, p->k, turned, group.width,
                              at.rows, group.width, p->k);
    else
        cohort_panel_multiply(to, p->n, COHORT_PLAIN, from, p->k, turned, p->k, at.rows,
                              group.width, p->k, false);
}

static void turn_weights(product *p, int threads)
{
    cohort_parallel_each(p->groups, threads, turn_group, p);
}

static void multiply_turned(product *p, int threads)
{
    cohort_parallel_each(block_count(p) * p->groups, threads, data_piece, p);
}

void cohort_thin_data(real *dx, const real *dz, const real *w, size_t rows, size_t k, size_t n,
                      real *scratch)
{
    const int threads = use_threads(rows, k, n);
    product p = {.z = dx, .scratch = scratch, .x = dz, .w = w, .rows = rows, .k = n, .n = k};
    choose_way(&p, threads);
    turn_weights(&p, threads);
    multiply_turned(&p, threads);
}

/* Gradients of weights. */

/* A tile [rows][PANEL] of them: rows of x are LDX apart, of dz LDZ. */
typedef struct tile_source {
    const real *x, *dz;
    size_t ldx, ldz;
    size_t columns; /* of dz: half a panel, or whole ones */
    const cohort_row_parts *parts;
} tile_source;

#define INLINE COHORT_INLINE
#define UNROLL _Pragma("GCC unroll 8")

#ifdef COHORT_HAVE_WIDE
#define TILE(name) wide_##name
#define TILE_BYTES 64
#define TILE_ROWS 4
#define TILE_FMA COHORT_FMA
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#include "kernel/thin_tiles.h"
#pragma GCC pop_options
#endif

#ifdef COHORT_HAVE_TARGETS
#define TILE(name) narrow_##name
#define TILE_BYTES 32
#define TILE_ROWS 6
#define TILE_FMA COHORT_MULTIPLY_ADD /* with that GCC needs fewer of the few registers */
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#include "kernel/thin_tiles.h"
#pragma GCC pop_options
#endif

/* Any machine. */
#define TILE(name) plain_##name
#define TILE_BYTES 32
#define TILE_ROWS 6
#define TILE_FMA COHORT_MULTIPLY_ADD
#include "kernel/thin_tiles.h"

enum { MOST_ROWS = plain_ROWS };

static size_t tile_rows(void)
{
#ifdef COHORT_HAVE_WIDE
    if (__builtin_cpu_supports("x86-64-v4"))
        return wide_ROWS;
#endif
    return MOST_ROWS;
}

/* COUNT (1, 2 or 4) parts from FIRST on. */
static void tile_parts(real *to, size_t ldt, const tile_source *s, size_t first, size_t count,
                       size_t rows)
{
#ifdef COHORT_HAVE_WIDE
    if (s->columns % COHORT_PANEL == 0 && __builtin_cpu_supports("x86-64-v4")) {
        wide_tile(to, ldt, s, first, count, rows);
        return;
    }
#endif
#ifdef COHORT_HAVE_TARGETS
    if (__builtin_cpu_supports("x86-64-v3")) {
        narrow_tile(to, ldt, s, first, count, rows);
        return;
    }
#endif
    plain_tile(to, ldt, s, first, count, rows);
}

enum { SUMS = MOST_ROWS * COHORT_PANEL };

/* More parts than registers hold: with group g done, as many pairs are complete as g has
 * trailing ones in binary. */
static void tile_many(real *sum, const tile_source *s, size_t rows)
{
    real waiting[COHORT_PART_LEVELS][SUMS];
    size_t depth = 0;
    for (size_t group = 0; group < s->parts->count / GROUP; group++, depth++) {
        tile_parts(waiting[depth], COHORT_PANEL, s, group * GROUP, GROUP, rows);
        for (size_t pairs = group; pairs & 1; pairs >>= 1, depth--)
            for (size_t i = 0; i < rows * COHORT_PANEL; i++)
                waiting[depth - 1][i] += waiting[depth][i];
    }
    memcpy(sum, waiting[0], rows * COHORT_PANEL * sizeof *sum);
}

/* ROWS by WIDTH, at most a panel, of the gradient at TO. */
static void tile(real *to, size_t ldt, const tile_source *s, size_t rows, size_t width, bool add)
{
    real sum[SUMS];
    if (s->parts->count <= GROUP)
        tile_parts(sum, COHORT_PANEL, s, 0, s->parts->count, rows);
    else
        tile_many(sum, s, rows);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < width; j++)
            to[i * ldt + j] = sum[i * COHORT_PANEL + j] + (add ? to[i * ldt + j] : 0);
}

/* The gradient dw [k][n] of the weights, a tile's rows after a tile's rows. */
typedef struct weights {
    real *dw, *scratch;
    const real *x, *dz;
    const cohort_row_parts *parts;
    size_t k, n;
    size_t step;    /* columns of x at a time, if it is sparse */
    bool is_sparse; /* x is: only columns of dz beyond whole panels by tiles */
    bool add;
} weights;

static void weights_block(void *context, size_t block)
{
    const weights *w = context;
    const size_t k = w->k, n = w->n, tail = tail_columns(n), most = tile_rows(), i = block * most,
                 rows = k - i < most ? k - i : most;
    const bool is_direct = !w->add && w->parts->count <= GROUP, by_tiles = !w->is_sparse;
    real *to = w->dw + i * n;
    tile_source source = {.x = w->x + i, .ldx = k, .dz = w->dz, .ldz = n, .parts = w->parts};
    source.columns = is_direct ? n - tail : COHORT_PANEL;
    if (is_direct && by_tiles)
        tile_parts(to, n, &source, 0, w->parts->count, rows);
    for (size_t first = 0; first < n - tail && !is_direct && by_tiles; first += COHORT_PANEL) {
        source.dz = w->dz + first;
        tile(to + first, n, &source, rows, COHORT_PANEL, w->add);
    }
    if (tail) {
        source.dz = w->scratch;
        source.ldz = COHORT_PANEL;
        source.columns = tail > COHORT_PANEL / 2 ? COHORT_PANEL : COHORT_PANEL / 2;
        tile(to + n - tail, n, &source, rows, tail, w->add);
    }
}

/* PADDED [rows][PANEL] = the last WIDTH columns of dz [rows][n], and zeros beside. */
static void pad_tail(real *padded, const real *dz, size_t rows, size_t n, size_t width)
{
    memset(padded, 0, rows * COHORT_PANEL * sizeof *padded);
    for (size_t row = 0; row < rows; row++)
        for (size_t j = 0; j < width; j++)
            padded[row * COHORT_PANEL + j] = dz[row * n + n - width + j];
}

/* Columns of x that a thread takes at a time where zeros are left out: few, if there are others. */
enum { SPARSE_BLOCK = 128, SPARSE_BLOCK_SHARED = 32 };

static size_t sparse_block_columns(int threads)
{
    return threads > 1 ? SPARSE_BLOCK_SHARED : SPARSE_BLOCK;
}

static void sparse_block(void *context, size_t block)
{
    const weights *w = context;
    const size_t k = w->k, n = w->n, first = block * w->step, left = k - first;
    cohort_sparse_parts(w->dw + first * n, n, w->add, w->x + first, k, w->dz, n, w->parts,
                        left < w->step ? left : w->step, n - tail_columns(n));
}

/* Whether zeros of x are left out. */
static bool is_sparse(const real *x, const cohort_row_parts *parts, size_t k, size_t n)
{
    const size_t rows = cohort_row_part_begin(parts, parts->count);
    for (size_t part = 0; part < parts->count; part++)
        if (cohort_row_part_begin(parts, part + 1) - cohort_row_part_begin(parts, part) >
            COHORT_SPARSE_DEPTH)
            return false;
    return parts->count <= COHORT_SPARSE_PARTS &&
           cohort_sparse_pays(x, k, rows, k, rows / parts->count, n - tail_columns(n));
}

void cohort_thin_weights(real *dw, const real *x, const real *dz, const cohort_row_parts *parts,
                         size_t k, size_t n, bool add, real *scratch)
{
    const size_t rows = cohort_row_part_begin(parts, parts->count), tail = tail_columns(n);
    const int threads = use_threads(rows, k, n);
    weights w = {.dw = dw,
                 .scratch = scratch,
                 .x = x,
                 .dz = dz,
                 .parts = parts,
                 .k = k,
                 .n = n,
                 .step = sparse_block_columns(threads),
                 .is_sparse = is_sparse(x, parts, k, n),
                 .add = add};
    if (tail)
        pad_tail(scratch, dz, rows, n, tail);
    if (w.is_sparse)
        cohort_parallel_each((k + w.step - 1) / w.step, threads, sparse_block, &w);
    if (!w.is_sparse || tail)
        cohort_parallel_each((k + tile_rows() - 1) / tile_rows(), threads, weights_block, &w);
}

/* MANY_ROWS of the rows of x and dz, or what is left of them, and their share of dw. */
typedef struct many {
    real *dw, *packed;
    const real *x, *dz;
    size_t rows, k, n;
    size_t step; /* columns of x at a time */
    bool add;
} many;

static void pack_gradients(void *context, size_t panel)
{
    const many *m = context;
    const size_t first = panel * COHORT_PANEL, left = m->n - first;
    cohort_panel_pack(m->packed + first * m->rows, COHORT_PLAIN, m->dz + first, m->n, m->rows,
                      left < COHORT_PANEL ? left : COHORT_PANEL);
}

static void add_weights(void *context, size_t block)
{
    const many *m = context;
    const size_t first = block * m->step, left = m->k - first,
                 width = left < m->step ? left : m->step;
    real near[MANY_ROWS * NEAR_STRIDE];
    for (size_t row = 0; row < m->rows; row++)
        memcpy(near + row * NEAR_STRIDE, m->x + row * m->k + first, width * sizeof *near);
    cohort_panel_multiply(m->dw + first * m->n, m->n, COHORT_TRANSPOSED, near, NEAR_STRIDE,
                          m->packed, m->rows, width, m->n, m->rows, m->add);
}

/* A narrow last panel costs as much as a whole one. */
static bool has_narrow_panel(size_t n)
{
    return tail_columns(n) * 8 > n;
}

static void add_sparse_weights(void *context, size_t block)
{
    const many *m = context;
    const size_t first = block * m->step, left = m->k - first;
    real *to = m->dw + first * m->n;
    cohort_sparse_product(to, m->n, m->add ? to : NULL, m->n, COHORT_TRANSPOSED, m->x + first, m->k,
                          m->dz, m->n, left < m->step ? left : m->step, m->n, m->rows);
}

static void put_weights(many *m, int threads)
{
    if (tail_columns(m->n) == 0 && cohort_sparse_pays(m->x, m->k, m->rows, m->k, m->rows, m->n)) {
        many sparse = *m;
        sparse.step = sparse_block_columns(threads);
        cohort_parallel_each((m->k + sparse.step - 1) / sparse.step, threads, add_sparse_weights,
                             &sparse);
        return;
    }
    if (has_narrow_panel(m->n)) {
        cohort_gemm_dense(COHORT_TRANSPOSED, COHORT_PLAIN, m->k, m->n, m->rows, m->x, m->dz, m->add,
                          m->dw);
        return;
    }
    cohort_parallel_each(panels(m->n), threads, pack_gradients, m);
    cohort_parallel_each((m->k + m->step - 1) / m->step, threads, add_weights, m);
}

/* At most MANY_WEIGHTS, in whole tiles, and as even as can be. */
static size_t weights_step(size_t k, int threads)
{
    const size_t round = MANY_WEIGHTS * (size_t)threads,
                 pieces = (k + round - 1) / round * (size_t)threads;
    return ((k + pieces - 1) / pieces + MANY_TILE - 1) / MANY_TILE * MANY_TILE;
}

/* Rows are prepared in pieces of PREPARED. */
enum { PREPARED = 32 };
_Static_assert(MANY_ROWS % PREPARED == 0, "whole pieces");

typedef struct preparing {
    const cohort_thin_backward *backward;
    size_t row, rows;
} preparing;

static void prepare_piece(void *context, size_t piece)
{
    const preparing *p = context;
    const size_t at = piece * PREPARED, left = p->rows - at;
    const cohort_thin_rows *prepare = &p->backward->prepare;
    prepare->visit(prepare->context, p->row + at, left < PREPARED ? left : PREPARED);
}

static void prepare_rows(const cohort_thin_backward *b, size_t row, size_t rows, int threads)
{
    preparing p = {.backward = b, .row = row, .rows = rows};
    if (b->prepare.visit)
        cohort_parallel_each((rows + PREPARED - 1) / PREPARED, threads, prepare_piece, &p);
}

void cohort_thin_backward_of_many(const cohort_thin_backward *b)
{
    const size_t k = b->k, n = b->n, step = b->dw && has_narrow_panel(n) ? b->rows : MANY_ROWS;
    const int threads = use_threads(b->rows, k, n);
    product data = {.scratch = b->scratch, .w = b->w, .k = n, .n = k};
    many m = {.dw = b->dw,
              .packed = b->scratch + cohort_panel_count(n, k),
              .k = k,
              .n = n,
              .step = weights_step(k, threads)};
    if (b->rows == 0 && !b->add && b->dw)
        memset(b->dw, 0, k * n * sizeof *b->dw);
    if (b->rows == 0 && !b->add && b->db)
        memset(b->db, 0, n * sizeof *b->db);
    for (size_t row = 0; row < b->rows; row += m.rows) {
        const real *dz = b->dz + row * n;
        m.rows = b->rows - row < step ? b->rows - row : step;
        m.x = b->x + row * k;
        m.dz = dz;
        m.add = b->add || row > 0;
        prepare_rows(b, row, m.rows, threads);
        if (b->db)
            cohort_vector_column_sums(b->db, dz, m.rows, n, m.add);
        if (b->dw)
            put_weights(&m, threads);
        if (!b->dx)
            continue;
        data.z = b->dx + row * k;
        data.x = dz;
        data.rows = m.rows;
        if (row == 0) {
            choose_way(&data, threads);
            turn_weights(&data, threads);
        }
        multiply_turned(&data, threads);
    }
}

enum { BIAS_COLUMNS = 128 };

/* sums [width] = the sum of the rows [BEGIN, END), by themselves. */
COHORT_CLONES static void part_sums(real *restrict sums, const real *restrict dz, size_t ldz,
                                    size_t begin, size_t end, size_t width)
{
    memset(sums, 0, width * sizeof *sums);
    for (size_t row = begin; row < end; row++)
#pragma omp simd
        for (size_t j = 0; j < width; j++)
            sums[j] += dz[row * ldz + j];
}

void cohort_thin_bias(real *db, const real *dz, const cohort_row_parts *parts, size_t n, bool add)
{
    real waiting[COHORT_PART_LEVELS + 1][BIAS_COLUMNS];
    for (size_t first = 0; first < n; first += BIAS_COLUMNS) {
        const size_t width = n - first < BIAS_COLUMNS ? n - first : BIAS_COLUMNS;
        size_t depth = 0;
        for (size_t part = 0; part < parts->count; part++, depth++) {
            part_sums(waiting[depth], dz + first, n, cohort_row_part_begin(parts, part),
                      cohort_row_part_begin(parts, part + 1), width);
            for (size_t pairs = part; pairs & 1; pairs >>= 1, depth--)
                for (size_t j = 0; j < width; j++)
                    waiting[depth - 1][j] += waiting[depth][j];
        }
        for (size_t j = 0; j < width; j++)
            db[first + j] = waiting[0][j] + (add ? db[first + j] : 0);
    }
}
