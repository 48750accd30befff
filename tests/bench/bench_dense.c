/* The products of a dense layer with large weights, GFLOP/s by OpenBLAS and by kernel/large.h, the
 * best of several with the operands out of the caches before each.
 *
 *   bench_dense [ROWS [K N [PERCENT]]]: x [ROWS][K] * w [K][N]; 128 rows, 2048 by 2048; so many of
 *   the elements of x and dz, anywhere, are not zero (100) */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "kernel/gemm.h"
#include "kernel/large.h"

enum { REPETITIONS = 12, PRODUCTS = 6, FLUSH_BYTES = 64 << 20 };

typedef struct operands {
    size_t rows, k, n;
    float *x, *w, *z, *dz, *dx, *dw, *scratch;
} operands;

static void run(const operands *o, int product)
{
    const size_t rows = o->rows, k = o->k, n = o->n;
    switch (product) {
    case 0:
        cohort_gemm_dense(COHORT_PLAIN, COHORT_PLAIN, rows, n, k, o->x, o->w, false, o->z);
        break;
    case 1:
        cohort_large_forward(o->z, o->x, o->w, rows, k, n, o->scratch);
        break;
    case 2:
        cohort_gemm_dense(COHORT_PLAIN, COHORT_TRANSPOSED, rows, k, n, o->dz, o->w, false, o->dx);
        break;
    case 3:
        cohort_large_data(o->dx, o->dz, o->w, rows, k, n, NULL, NULL, o->scratch);
        break;
    case 4:
        cohort_gemm_dense(COHORT_TRANSPOSED, COHORT_PLAIN, k, n, rows, o->x, o->dz, false, o->dw);
        break;
    default:
        cohort_large_weights(o->dw, o->x, o->dz, rows, k, n, 0, k, false, o->scratch);
    }
}

/* PERCENT of the numbers are not zero. */
static bool allocate(float **out, size_t count, size_t percent)
{
    uint64_t state = 1;
    if (COHORT_ALLOCATE(out, count) != COHORT_OK)
        return false;
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        (*out)[i] = (state >> 33) % 100 < percent ? (float)(i % 7) + 1 : 0;
    }
    return true;
}

static size_t number(int argc, char **argv, int index, size_t otherwise)
{
    return argc > index ? (size_t)strtoul(argv[index], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    operands o = {.rows = number(argc, argv, 1, 128),
                  .k = number(argc, argv, 2, 2048),
                  .n = number(argc, argv, 3, 2048)};
    const size_t percent = number(argc, argv, 4, 100);
    double best[PRODUCTS] = {0};
    char *flush = malloc(FLUSH_BYTES);
    if (!o.rows || !cohort_large_fits(o.k, o.n)) {
        fprintf(stderr, "bench_dense: give rows, and sizes of at least 128 that divide by 16\n");
        return 2;
    }
    if (!flush || !allocate(&o.x, o.rows * o.k, percent) || !allocate(&o.dx, o.rows * o.k, 100) ||
        !allocate(&o.z, o.rows * o.n, 100) || !allocate(&o.dz, o.rows * o.n, percent) ||
        !allocate(&o.w, o.k * o.n, 100) || !allocate(&o.dw, o.k * o.n, 100) ||
        !allocate(&o.scratch, cohort_large_scratch(o.rows), 100))
        return 1;
    omp_set_num_threads(1);
    for (int i = 0; i < REPETITIONS * PRODUCTS; i++) {
        memset(flush, i, FLUSH_BYTES);
        const double start = cohort_clock_seconds();
        run(&o, i % PRODUCTS);
        const double rate =
            2e-9 * (double)o.rows * (double)o.k * (double)o.n / (cohort_clock_seconds() - start);
        best[i % PRODUCTS] = rate > best[i % PRODUCTS] ? rate : best[i % PRODUCTS];
    }
    printf("%zu rows, %zu x %zu, %zu %% not zero: forward / gradient of the input / of the kernel: "
           "OpenBLAS "
           "%.1f / %.1f / %.1f, here %.1f / %.1f / %.1f GFLOP/s\n",
           o.rows, o.k, o.n, percent, best[0], best[2], best[4], best[1], best[3], best[5]);
    float *all[] = {o.x, o.dx, o.z, o.dz, o.w, o.dw, o.scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
    free(flush);
    return 0;
}
