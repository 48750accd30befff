/* Dense products for few rows: against sums in double precision; a row's bits do not depend on
 * other rows, a gradient's not on how many parts are computed at a time. */
#include "tests/unit/dense_products.h"

#include <omp.h>
#include <stdlib.h>

#ifdef COHORT_NO_WIDE /* the path of CPUs without AVX-512, compiled once more */
#define cohort_thin_fits narrow_fits
#define cohort_thin_forward_scratch narrow_forward_scratch
#define cohort_thin_backward_scratch narrow_backward_scratch
#define cohort_thin_forward narrow_forward
#define cohort_thin_data narrow_data
#define cohort_thin_weights narrow_weights
#define cohort_thin_backward_of_many narrow_backward_of_many
#define cohort_thin_bias narrow_bias
#include "kernel/thin.c"
#else
#include "kernel/thin.h"
#endif

static const size_t sizes[][2] = {{1, 1},    {7, 10},  {64, 16},   {33, 17},   {48, 32},
                                  {130, 33}, {17, 64}, {785, 128}, {100, 1000}};
/* More rows than the products with many take another way for. */
enum { SIZES = sizeof sizes / sizeof *sizes, ROWS = 133 };

/* Of the operands of which zeros may be left out. */
static size_t nonzero_percent;

typedef struct fixture {
    size_t k, n;
    real *x, *w, *dz, *z, *dx, *dw, *db, *scratch;
} fixture;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void set_up(fixture *f, size_t k, size_t n)
{
    *f = (fixture){.k = k, .n = n};
    f->x = noise(ROWS * k, 1);
    f->w = noise(k * n, 2);
    f->dz = noise(ROWS * n, 3);
    thin_out(f->x, ROWS * k, nonzero_percent, 1);
    thin_out(f->dz, ROWS * n, nonzero_percent, 2);
    f->z = noise(ROWS * n, 4);
    f->dx = noise(ROWS * k, 5);
    f->dw = noise(k * n, 6);
    f->db = noise(n, 7);
    f->scratch = noise(
        larger(cohort_thin_forward_scratch(ROWS, k, n), cohort_thin_backward_scratch(ROWS, k, n)) +
            1,
        8);
}

static void tear_down(fixture *f)
{
    real *all[] = {f->x, f->w, f->dz, f->z, f->dx, f->dw, f->db, f->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void test_against_definition(void **state)
{
    (void)state;
    const size_t ends[] = {9, 9, 20, ROWS};
    const cohort_row_parts parts = {ends, 4, 1};
    for (size_t s = 0; s < SIZES; s++) {
        fixture f;
        set_up(&f, sizes[s][0], sizes[s][1]);
        const size_t k = f.k, n = f.n;
        assert_true(cohort_thin_fits(k, n));
        cohort_thin_forward(f.z, f.x, f.w, NULL, ROWS, k, n, NULL, f.scratch);
        cohort_thin_data(f.dx, f.dz, f.w, ROWS, k, n, f.scratch);
        for (int add = 0; add < 2; add++) {
            cohort_thin_weights(f.dw, f.x, f.dz, &parts, k, n, add, f.scratch);
            cohort_thin_bias(f.db, f.dz, &parts, n, add);
        }
        expect_rows(f.z, f.dx, f.x, f.dz, f.w, ROWS, 1, k, n);
        for (size_t j = 0; j < n; j++) {
            double bias = 0;
            for (size_t r = 0; r < ROWS; r++)
                bias += (double)f.dz[r * n + j];
            expect((double)f.db[j], 2 * bias, ROWS);
            for (size_t i = 0; i < k; i++) {
                double sum = 0;
                for (size_t r = 0; r < ROWS; r++)
                    sum += (double)f.x[r * k + i] * (double)f.dz[r * n + j];
                expect((double)f.dw[i * n + j], 2 * sum, ROWS);
            }
        }
        tear_down(&f);
    }
}

/* COUNT parts, some of them empty, each by itself and added pairwise as ranks would. */
static void check_parts(const fixture *f, size_t count)
{
    const size_t k = f->k, n = f->n, one = k * n + n;
    size_t ends[64];
    real *apart = noise(count * one, 9);
    for (size_t p = 0; p < count; p++) {
        const size_t begin = p * ROWS / count;
        ends[p] = (p + 1) * ROWS / count;
        const size_t rows = ends[p] - begin;
        const cohort_row_parts part = {&rows, 1, 1};
        cohort_thin_weights(apart + p * one, f->x + begin * k, f->dz + begin * n, &part, k, n,
                            false, f->scratch);
        cohort_thin_bias(apart + p * one + k * n, f->dz + begin * n, &part, n, false);
    }
    for (size_t apart_by = 1; apart_by < count; apart_by *= 2)
        for (size_t p = 0; p < count; p += 2 * apart_by)
            for (size_t i = 0; i < one; i++)
                apart[p * one + i] += apart[(p + apart_by) * one + i];
    const cohort_row_parts parts = {ends, count, 1};
    cohort_thin_weights(f->dw, f->x, f->dz, &parts, k, n, false, f->scratch);
    cohort_thin_bias(f->db, f->dz, &parts, n, false);
    assert_memory_equal(f->dw, apart, k * n * sizeof(real));
    assert_memory_equal(f->db, apart + k * n, n * sizeof(real));
    cohort_free(apart);
}

/* Each row of the visited matrix, once, doubled. */
typedef struct visited {
    real *rows;
    size_t width;
    int seen[ROWS];
} visited;

static void visit(void *context, size_t row, size_t rows)
{
    visited *v = context;
    for (size_t r = row; r < row + rows; r++) {
        v->seen[r]++;
        for (size_t j = 0; j < v->width; j++)
            v->rows[r * v->width + j] *= 2;
    }
}

static void expect_all_seen(const visited *v)
{
    for (size_t r = 0; r < ROWS; r++)
        assert_int_equal(v->seen[r], 1);
}

/* Whoever finishes rows of z finds them whole, on any number of threads. */
static void test_finishing(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++)
        for (int threads = 1; threads <= 3; threads += 2) {
            fixture f;
            set_up(&f, sizes[s][0], sizes[s][1]);
            real *plain = noise(ROWS * f.n, 10);
            visited v = {.rows = f.z, .width = f.n};
            omp_set_num_threads(threads);
            cohort_thin_forward(plain, f.x, f.w, NULL, ROWS, f.k, f.n, NULL, f.scratch);
            cohort_thin_forward(f.z, f.x, f.w, NULL, ROWS, f.k, f.n, &(cohort_thin_rows){visit, &v},
                                f.scratch);
            omp_set_num_threads(1);
            expect_all_seen(&v);
            for (size_t i = 0; i < ROWS * f.n; i++)
                assert_true(f.z[i] == 2 * plain[i]);
            cohort_free(plain);
            tear_down(&f);
        }
}

static void test_bias_of_forward(void **state)
{
    (void)state;
    const size_t rows[] = {5, ROWS}; /* few, and many */
    for (size_t s = 0; s < SIZES; s++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            fixture f;
            set_up(&f, sizes[s][0], sizes[s][1]);
            real *plain = noise(rows[r] * f.n, 10);
            cohort_thin_forward(plain, f.x, f.w, NULL, rows[r], f.k, f.n, NULL, f.scratch);
            cohort_thin_forward(f.z, f.x, f.w, f.db, rows[r], f.k, f.n, NULL, f.scratch);
            for (size_t i = 0; i < rows[r] * f.n; i++)
                expect((double)f.z[i], (double)plain[i] + (double)f.db[i % f.n], 1);
            cohort_free(plain);
            tear_down(&f);
        }
}

static void check_backward_of_many(fixture *f, bool wants_weights, bool wants_data)
{
    const size_t k = f->k, n = f->n;
    real *dz = noise(ROWS * n, 3), *dx = noise(ROWS * k, 11);
    visited v = {.rows = dz, .width = n};
    for (int add = 0; add < 2; add++) {
        v = (visited){.rows = dz, .width = n};
        memcpy(dz, f->dz, ROWS * n * sizeof *dz);
        cohort_thin_backward_of_many(&(cohort_thin_backward){.dw = wants_weights ? f->dw : NULL,
                                                             .db = wants_weights ? f->db : NULL,
                                                             .dx = wants_data ? f->dx : NULL,
                                                             .x = f->x,
                                                             .w = f->w,
                                                             .dz = dz,
                                                             .rows = ROWS,
                                                             .k = k,
                                                             .n = n,
                                                             .add = add,
                                                             .prepare = {visit, &v},
                                                             .scratch = f->scratch});
        expect_all_seen(&v);
    }
    cohort_thin_data(dx, dz, f->w, ROWS, k, n, f->scratch);
    if (wants_data)
        assert_memory_equal(dx, f->dx, ROWS * k * sizeof *dx);
    for (size_t j = 0; wants_weights && j < n; j++) {
        double bias = 0;
        for (size_t r = 0; r < ROWS; r++)
            bias += (double)dz[r * n + j];
        expect((double)f->db[j], 2 * bias, ROWS);
        for (size_t i = 0; i < k; i++) {
            double sum = 0;
            for (size_t r = 0; r < ROWS; r++)
                sum += (double)f->x[r * k + i] * (double)dz[r * n + j];
            expect((double)f->dw[i * n + j], 2 * sum, ROWS);
        }
    }
    cohort_free(dz);
    cohort_free(dx);
}

static void test_backward_of_many(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++)
        for (int threads = 1; threads <= 3; threads += 2)
            for (int wanted = 1; wanted < 4; wanted++) {
                fixture f;
                set_up(&f, sizes[s][0], sizes[s][1]);
                omp_set_num_threads(threads);
                check_backward_of_many(&f, wanted & 1, wanted & 2);
                omp_set_num_threads(1);
                tear_down(&f);
            }
}

/* No rows: gradients of 0, or left as they are. */
static void test_backward_of_none(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, 48, 32);
    cohort_thin_backward none = {.dw = f.dw,
                                 .db = f.db,
                                 .dx = f.dx,
                                 .x = f.x,
                                 .w = f.w,
                                 .dz = f.dz,
                                 .k = 48,
                                 .n = 32,
                                 .add = true,
                                 .scratch = f.scratch};
    const real before = f.dw[7];
    cohort_thin_backward_of_many(&none);
    assert_true(f.dw[7] == before);
    none.add = false;
    cohort_thin_backward_of_many(&none);
    for (size_t i = 0; i < f.k * f.n; i++)
        assert_true(f.dw[i] == 0);
    for (size_t j = 0; j < f.n; j++)
        assert_true(f.db[j] == 0);
    tear_down(&f);
}

static void test_parts_in_order(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++)
        for (size_t count = 1; count <= 64; count *= 2) {
            fixture f;
            set_up(&f, sizes[s][0], sizes[s][1]);
            check_parts(&f, count);
            tear_down(&f);
        }
}

static void forward(const void *operands, real *z, size_t row, size_t rows)
{
    const fixture *f = operands;
    cohort_thin_forward(z + row * f->n, f->x + row * f->k, f->w, f->db, rows, f->k, f->n, NULL,
                        f->scratch);
}

static void data(const void *operands, real *dx, size_t row, size_t rows)
{
    const fixture *f = operands;
    cohort_thin_data(dx + row * f->k, f->dz + row * f->n, f->w, rows, f->k, f->n, f->scratch);
}

static void test_rows_alone(void **state)
{
    (void)state;
    for (size_t s = 0; s < SIZES; s++) {
        fixture f;
        set_up(&f, sizes[s][0], sizes[s][1]);
        expect_rows_alone(forward, &f, ROWS, f.n, 5);
        expect_rows_alone(data, &f, ROWS, f.k, 5);
        tear_down(&f);
    }
}

/* Nothing else tells whether zeros are left out: the bits are the same. All rows, and their halves
 * as parts of few rows. */
static void test_zeros_are_left_out(void **state)
{
    (void)state;
    enum { K = 768, N = 128, FEW = 48 };
    const bool finite = nonzero_percent < 100;
    const size_t ends[] = {FEW / 2, FEW};
    const cohort_row_parts parts = {ends, 2, 1};
    fixture f;
    set_up(&f, K, N);
    clear_column(f.x, ROWS, K, 300);
    set_nan(f.w + 300 * N, N, 1);
    cohort_thin_forward(f.z, f.x, f.w, NULL, ROWS, K, N, NULL, f.scratch);
    expect_finite(f.z, ROWS * N, finite);
    tear_down(&f);
    set_up(&f, K, N);
    clear_column(f.dz, ROWS, N, 70);
    set_nan(f.w + 70, K, N);
    cohort_thin_data(f.dx, f.dz, f.w, ROWS, K, N, f.scratch);
    expect_finite(f.dx, ROWS * K, finite);
    tear_down(&f);
    set_up(&f, K, N);
    clear_column(f.x + 30 * K, K, 1, 0);
    set_nan(f.dz + 30 * N, N, 1);
    cohort_thin_weights(f.dw, f.x, f.dz, &parts, K, N, false, f.scratch);
    expect_finite(f.dw, K * N, finite);
    cohort_thin_backward_of_many(&(cohort_thin_backward){.dw = f.dw,
                                                         .x = f.x,
                                                         .w = f.w,
                                                         .dz = f.dz,
                                                         .rows = ROWS,
                                                         .k = K,
                                                         .n = N,
                                                         .scratch = f.scratch});
    expect_finite(f.dw, K * N, finite);
    tear_down(&f);
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_definition), cmocka_unit_test(test_bias_of_forward),
        cmocka_unit_test(test_finishing),          cmocka_unit_test(test_backward_of_many),
        cmocka_unit_test(test_backward_of_none),   cmocka_unit_test(test_parts_in_order),
        cmocka_unit_test(test_rows_alone),         cmocka_unit_test(test_zeros_are_left_out),
    };
    return run_with_zeros("thin", tests, sizeof tests / sizeof *tests, &nonzero_percent);
}
