/* Products that leave zeros out: the bits of the sums that take them all, one after another. */
#include "tests/unit/dense_products.h"

#include "kernel/panel.h"

#ifdef COHORT_NO_WIDE /* the path of CPUs without AVX-512, compiled once more */
#define cohort_sparse_pays narrow_sparse_pays
#define cohort_sparse_mask narrow_sparse_mask
#define cohort_sparse_columns narrow_sparse_columns
#define cohort_sparse_multiply narrow_sparse_multiply
#define cohort_sparse_product narrow_sparse_product
#define cohort_sparse_parts narrow_sparse_parts
#include "kernel/sparse.c"
#else
#include "kernel/sparse.h"
#endif

static const size_t shares[] = {0, 10, 60, 100};
enum { SHARES = sizeof shares / sizeof *shares };

/* As the kernels do on this CPU: with one rounding, or with two. */
static real add_product(real sum, real a, real b)
{
    return cohort_panel_has_registers() ? REAL_FN(fma)(a, b, sum) : sum + a * b;
}

static void test_masks(void **state)
{
    (void)state;
    enum { M = 37, K = 64, LD = 70 };
    real *a = noise(LD * LD, 1);
    uint64_t masks[M];
    thin_out(a, LD * LD, 40, 2);
    a[3] = -(real)0;
    a[5] = (real)NAN;
    for (int trans = 0; trans < 2; trans++)
        for (size_t k = 0; k <= K; k++) {
            memset(masks, 1, sizeof masks);
            cohort_sparse_mask(masks, trans ? COHORT_TRANSPOSED : COHORT_PLAIN, a, LD, M, k);
            for (size_t i = 0; i < M; i++)
                for (size_t p = 0; p < COHORT_SPARSE_DEPTH; p++)
                    assert_true((masks[i] >> p & 1) ==
                                (p < k && a[trans ? p * LD + i : i * LD + p] != 0));
        }
    cohort_free(a);
}

/* FIRST: 0 nothing, 1 a row for all, 2 what is there. */
static void check_product(bool trans, size_t m, size_t n, size_t k, size_t share, int first)
{
    const size_t lda = (trans ? m : k) + 3, ldb = n + 5, ldc = n + 2;
    real *a = noise((trans ? k : m) * lda + 1, 1), *b = noise((k + 1) * ldb, 2),
         *c = noise(m * ldc, 3), *wanted = noise(m * ldc, 3), *row = noise(n, 4);
    thin_out(a, (trans ? k : m) * lda, share, 5);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            real sum = first == 0 ? 0 : first == 1 ? row[j] : wanted[i * ldc + j];
            for (size_t p = 0; p < k; p++)
                sum = add_product(sum, a[trans ? p * lda + i : i * lda + p], b[p * ldb + j]);
            wanted[i * ldc + j] = sum;
        }
    cohort_sparse_product(c, ldc,
                          first == 0   ? NULL
                          : first == 1 ? row
                                       : c,
                          first == 1 ? 0 : ldc, trans ? COHORT_TRANSPOSED : COHORT_PLAIN, a, lda, b,
                          ldb, m, n, k);
    assert_memory_equal(c, wanted, m * ldc * sizeof *c);
    real *all[] = {a, b, c, wanted, row};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void test_products(void **state)
{
    (void)state;
    const size_t panels[] = {1, 2, 3, 4, 5, 13}, rows[] = {1, 7, 16, 130},
                 depths[] = {0, 1, 31, 64, 65, 200};
    for (size_t s = 0; s < SHARES; s++)
        for (size_t p = 0; p < sizeof panels / sizeof *panels; p++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
                for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
                    for (int way = 0; way < 6; way++)
                        check_product(way % 2, rows[r], panels[p] * COHORT_PANEL, depths[d],
                                      shares[s], way / 2);
}

/* COUNT parts of some of ROWS rows, some of them empty, summed apart and added pairwise. */
static void check_parts(size_t rows, size_t count, size_t m, size_t n, size_t share)
{
    size_t ends[COHORT_SPARSE_PARTS];
    const size_t one = m * n;
    real *x = noise(rows * m, 1), *dz = noise(rows * n, 2), *c = noise(one, 3),
         *before = noise(one, 3), *apart = noise(count * one, 4);
    thin_out(x, rows * m, share, 5);
    for (size_t p = 0; p < count; p++) {
        const size_t begin = p * rows / count;
        ends[p] = (p + 1) * rows / count;
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) {
                real sum = 0;
                for (size_t r = begin; r < ends[p]; r++)
                    sum = add_product(sum, x[r * m + i], dz[r * n + j]);
                apart[p * one + i * n + j] = sum;
            }
    }
    for (size_t by = 1; by < count; by *= 2)
        for (size_t p = 0; p < count; p += 2 * by)
            for (size_t i = 0; i < one; i++)
                apart[p * one + i] += apart[(p + by) * one + i];
    const cohort_row_parts parts = {ends, count, 1};
    cohort_sparse_parts(c, n, true, x, m, dz, n, &parts, m, n);
    for (size_t i = 0; i < one; i++)
        before[i] += apart[i];
    assert_memory_equal(c, before, one * sizeof *c);
    cohort_sparse_parts(c, n, false, x, m, dz, n, &parts, m, n);
    assert_memory_equal(c, apart, one * sizeof *c);
    real *all[] = {x, dz, c, before, apart};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void test_parts(void **state)
{
    (void)state;
    const size_t rows[] = {1, 16, 64, 150};
    for (size_t s = 0; s < SHARES; s++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t count = 1; count <= COHORT_SPARSE_PARTS; count *= 2)
                if (rows[r] <= count * COHORT_SPARSE_DEPTH) {
                    check_parts(rows[r], count, 45, 5 * COHORT_PANEL, shares[s]);
                    check_parts(rows[r], count, 16, COHORT_PANEL, shares[s]);
                }
}

/* A choice of speed alone; but one that is made. */
static void test_choice(void **state)
{
    (void)state;
    enum { ROWS = 64, COLUMNS = 256, N = 128 };
    real *a = noise(ROWS * COLUMNS, 1);
    assert_false(cohort_sparse_pays(a, COLUMNS, ROWS, COLUMNS, COLUMNS, N));
    thin_out(a, ROWS * COLUMNS, 20, 2);
    assert_true(cohort_sparse_pays(a, COLUMNS, ROWS, COLUMNS, COLUMNS, N));
    assert_false(cohort_sparse_pays(a, COLUMNS, 2, COLUMNS, COLUMNS, N));
    assert_false(cohort_sparse_pays(a, COLUMNS, ROWS, COLUMNS, 1, N));
    assert_false(cohort_sparse_pays(a, COLUMNS, ROWS, COLUMNS, COLUMNS, COHORT_PANEL - 1));
    cohort_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests_name("sparse", tests, NULL, NULL);
}
