#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/activation.h"
#include "kernel/dropout.h"
#include "kernel/gemm.h"
#include "kernel/softmax.h"
#include "kernel/vector.h"

static float *random_vector(size_t count, uint64_t item)
{
    float *values = NULL;
    assert_ok(COHORT_ALLOCATE(&values, count ? count : 1));
    cohort_rng rng = cohort_rng_make(11, COHORT_RNG_TEST, 0, 0, item);
    for (size_t i = 0; i < count; i++)
        values[i] = 2 * cohort_rng_float(&rng) - 1;
    return values;
}

static void check_gemm(cohort_transpose ta, cohort_transpose tb, size_t m, size_t n, size_t k,
                       float beta)
{
    size_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 1, ldc = n + 2;
    float *a = random_vector(lda * (ta ? k : m), 1), *b = random_vector(ldb * (tb ? n : k), 2);
    float *c = random_vector(ldc * m, 3), *before = random_vector(ldc * m, 3);
    if (beta == 0)
        for (size_t i = 0; i < ldc * m; i++)
            c[i] = NAN; /* must not be read */
    cohort_gemm(ta, tb, m, n, k, 0.5f, a, lda, b, ldb, beta, c, ldc);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t p = 0; p < k; p++)
                sum += (double)a[ta ? p * lda + i : i * lda + p] *
                       (double)b[tb ? j * ldb + p : p * ldb + j];
            double wanted = 0.5 * sum + (double)beta * (double)before[i * ldc + j];
            assert_true(fabs((double)c[i * ldc + j] - wanted) < 1e-6 * (1 + (double)k));
        }
    cohort_free(a);
    cohort_free(b);
    cohort_free(c);
    cohort_free(before);
}

static void gemm_is_the_definition(void **state)
{
    (void)state;
    const size_t sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 1, 33},  {1, 19, 4},
                               {4, 4, 0}, {0, 3, 2}, {32, 10, 64}, {33, 65, 70}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int t = 0; t < 4; t++)
            for (int b = 0; b < 3; b++)
                check_gemm((t & 1) ? COHORT_TRANSPOSED : COHORT_PLAIN,
                           (t & 2) ? COHORT_TRANSPOSED : COHORT_PLAIN, sizes[s][0], sizes[s][1],
                           sizes[s][2], (float)b * 0.5f);
}

static double reference(cohort_activation activation, double x)
{
    switch (activation) {
    case COHORT_RELU:
        return x > 0 ? x : 0;
    case COHORT_LEAKY_RELU:
        return x > 0 ? x : 0.25 * x;
    case COHORT_GELU:
        return 0.5 * x * erfc(-x * sqrt(0.5));
    case COHORT_TANH:
        return tanh(x);
    case COHORT_SIGMOID:
        return 1 / (1 + exp(-x));
    default:
        return x;
    }
}

/* Float results within 2e-7 relative; gelu, whose tail is a difference from 1, within
 * 1e-7 of |x| as well. Slopes are compared with central differences in double. */
static void activations_are_accurate(void **state)
{
    (void)state;
    const size_t count = 40001;
    float *z = random_vector(count, 0), *y = random_vector(count, 0), *dz = random_vector(count, 0);
    float *ones = random_vector(count, 0);
    cohort_vector_fill(ones, 1, count);
    for (cohort_activation a = COHORT_LINEAR; a < COHORT_SOFTMAX; a++) {
        for (size_t i = 0; i < count; i++)
            z[i] = ((float)i - 20000) / 1000 + 1e-5f;
        cohort_activation_forward(a, 0.25f, y, z, 1, count);
        cohort_activation_backward(a, 0.25f, dz, ones, cohort_activation_needs_input(a) ? z : y, 1,
                                   count);
        for (size_t i = 0; i < count; i++) {
            double x = (double)z[i], wanted = reference(a, x), h = 1e-5;
            double slope = (reference(a, x + h) - reference(a, x - h)) / (2 * h);
            double allowed = 2.5e-7 * fabs(wanted) + (a == COHORT_GELU ? 1e-7 * fabs(x) : 1e-37);
            if (!(fabs((double)y[i] - wanted) <= allowed))
                fail_msg("%s(%g) = %.9g, expected %.9g", cohort_activation_names[a], x,
                         (double)y[i], wanted);
            if (!(fabs((double)dz[i] - slope) <= 5e-7))
                fail_msg("%s'(%g) = %.9g, expected %.9g", cohort_activation_names[a], x,
                         (double)dz[i], slope);
        }
    }
    cohort_free(z);
    cohort_free(y);
    cohort_free(dz);
    cohort_free(ones);
}

static void activations_keep_extremes(void **state)
{
    (void)state;
    float z[8] = {INFINITY, -INFINITY, NAN, 1000, -1000, 88.5f, -100, 0}, y[8];
    cohort_activation_forward(COHORT_SIGMOID, 0, y, z, 1, 8);
    assert_true(y[0] == 1 && y[1] == 0 && isnan(y[2]) && y[3] == 1 && y[4] == 0 && y[7] == 0.5f);
    assert_true(y[6] >= 0 && y[6] < 1e-38f);
    cohort_activation_forward(COHORT_TANH, 0, y, z, 1, 8);
    assert_true(y[0] == 1 && y[1] == -1 && isnan(y[2]) && y[3] == 1 && y[4] == -1 && y[7] == 0);
    cohort_activation_forward(COHORT_RELU, 0, y, z, 1, 8);
    assert_true(isinf(y[0]) && y[1] == 0 && isnan(y[2]) && y[7] == 0);
    cohort_activation_forward(COHORT_GELU, 0, y, z, 1, 8);
    assert_true(isnan(y[2]) && y[3] == 1000 && y[4] == 0 && y[7] == 0);
}

static void bias_is_added_once(void **state)
{
    (void)state;
    const size_t rows = 700, width = 13;
    float *z = random_vector(rows * width, 1), *y = random_vector(rows * width, 2);
    float *same = random_vector(rows * width, 1), *bias = random_vector(width, 3);
    for (cohort_activation a = COHORT_LINEAR; a <= COHORT_SOFTMAX; a++) {
        memcpy(same, z, rows * width * sizeof *z);
        cohort_activation_forward_bias(a, 0.25f, same, same, bias, rows, width);
        float *copy = random_vector(rows * width, 1);
        memcpy(copy, z, rows * width * sizeof *z);
        cohort_activation_forward_bias(a, 0.25f, y, copy, bias, rows, width);
        for (size_t i = 0; i < rows * width; i++) {
            float sum = z[i] + bias[i % width];
            assert_true(copy[i] == sum);
            assert_true(y[i] == same[i]);
            if (a != COHORT_SOFTMAX)
                assert_true(fabs((double)y[i] - reference(a, (double)sum)) < 3e-7);
        }
        cohort_free(copy);
    }
    cohort_free(z);
    cohort_free(y);
    cohort_free(same);
    cohort_free(bias);
}

static void softmax_rows(void **state)
{
    (void)state;
    float x[6] = {1000, 1001, 999, -1, 0, 1}, y[6], dx[6];
    cohort_softmax_forward(y, x, 2, 3);
    double sum = exp(-1) + 1 + exp(-2);
    assert_true(fabs((double)y[0] - exp(-1) / sum) < 1e-7);
    assert_true(fabs((double)(y[3] + y[4] + y[5]) - 1) < 1e-6);
    const float dy[6] = {1, 1, 1, 0, 0, 1};
    cohort_softmax_backward(dx, dy, y, 2, 3);
    assert_true(fabs((double)dx[0]) < 1e-6); /* a constant gradient moves nothing */
    assert_true(fabs((double)(dx[5] - y[5] * (1 - y[5]))) < 1e-6);
    assert_true(fabs((double)(dx[3] + y[3] * y[5])) < 1e-6);
    assert_int_equal(cohort_argmax(x, 3), 1);
    assert_int_equal(cohort_argmax((float[]){2, 5, 5}, 3), 1);
    assert_int_equal(cohort_argmax((float[]){NAN, NAN}, 2), 0);
}

/* Values of few levels, so that many are equal. */
static void the_largest_is_known_by_its_index(void **state)
{
    (void)state;
    float x[40];
    cohort_rng rng = cohort_rng_make(11, COHORT_RNG_TEST, 0, 0, 0);
    for (size_t width = 1; width <= 40; width++)
        for (int trial = 0; trial < 20; trial++) {
            for (size_t j = 0; j < width; j++)
                x[j] = (float)(int)(3 * cohort_rng_normal(&rng));
            const size_t best = cohort_argmax(x, width);
            for (size_t j = 0; j < width; j++)
                assert_int_equal(cohort_is_argmax(x, width, j), j == best);
            x[(size_t)trial % width] = NAN;
            assert_false(cohort_is_argmax(x, width, best));
        }
}

/* A class number and its one-hot row are the same target. */
static void cross_entropy_labels_equal_rows(void **state)
{
    (void)state;
    float x[5] = {0.5f, -1, 30, 2, -80}, hot[5] = {0, 0, 0, 1, 0}, a[5], b[5];
    cohort_softmax_target label = {.label = 3, .smoothing = 0.2, .weight = 1.5};
    cohort_softmax_target row = {.values = hot, .smoothing = 0.2, .weight = 1.5};
    double from_label = cohort_softmax_cross_entropy(a, x, &label, 5, 0.25);
    double from_row = cohort_softmax_cross_entropy(b, x, &row, 5, 0.25);
    assert_true(fabs(from_label - from_row) < 1e-4);
    double total = 0, wanted = 0;
    for (int j = 0; j < 5; j++)
        total += exp((double)x[j]);
    for (int j = 0; j < 5; j++) {
        double t = 0.8 * (double)hot[j] + 0.04, p = exp((double)x[j]) / total;
        wanted -= 1.5 * t * ((double)x[j] - log(total));
        assert_true(fabs((double)a[j] - 1.5 * 0.25 * (p - t)) < 1e-7);
        assert_true(fabs((double)b[j] - (double)a[j]) < 1e-7);
    }
    assert_true(fabs(from_label - wanted) < 1e-4);
    assert_true(cohort_softmax_cross_entropy(NULL, x, &label, 5, 0.25) == from_label);
    cohort_softmax_cross_entropy(x, x, &label, 5, 0.25); /* in place */
    assert_memory_equal(x, a, sizeof a);
}

static void vectors_and_columns(void **state)
{
    (void)state;
    const size_t rows = 53, width = 21;
    float *x = random_vector(rows * width, 1), *y = random_vector(rows * width, 2);
    float sums[21];
    for (int pass = 0; pass < 2; pass++) /* set, then add */
        cohort_vector_column_sums(sums, x, rows, width, pass == 1);
    double total = 0, dot = 0;
    for (size_t j = 0; j < width; j++) {
        double wanted = 0;
        for (size_t r = 0; r < rows; r++) {
            wanted += (double)x[r * width + j];
            dot += (double)x[r * width + j] * (double)y[r * width + j];
        }
        total += wanted;
        assert_true(fabs((double)sums[j] - 2 * wanted) < 1e-5);
    }
    assert_true(fabs(cohort_vector_sum(x, rows * width) - total) < 1e-4);
    assert_true(fabs(cohort_vector_dot(x, y, rows * width) - dot) < 1e-4);
    cohort_vector_column_sums(sums, x, 0, width, true);
    assert_true(sums[0] != 0);
    cohort_vector_column_sums(sums, x, 0, width, false);
    assert_true(sums[0] == 0);
    float before = y[7];
    cohort_vector_axpy(y, -2, x, rows * width);
    assert_true(fabsf(y[7] - (before - 2 * x[7])) < 1e-6f);
    cohort_vector_sum_of(y, x, x, rows * width);
    cohort_vector_scale(y, 0.5f, rows * width);
    assert_memory_equal(x, y, rows * width * sizeof *x);
    cohort_free(x);
    cohort_free(y);
}

/* A sum and its relu in one pass, and the gradient twice: the bits of one after the other. */
static void relu_of_a_sum(void **state)
{
    (void)state;
    enum { COUNT = 1003 };
    float *a = random_vector(COUNT, 1), *b = random_vector(COUNT, 2), *dy = random_vector(COUNT, 3);
    float y[COUNT], wanted[COUNT], dz[COUNT];
    a[5] = -b[5];
    a[7] = NAN;
    cohort_vector_sum_of(wanted, a, b, COUNT);
    cohort_activation_forward(COHORT_RELU, 0, wanted, wanted, 1, COUNT);
    cohort_vector_relu_of_sum(y, a, b, COUNT);
    assert_memory_equal(y, wanted, sizeof y);
    cohort_activation_backward(COHORT_RELU, 0, wanted, dy, y, 1, COUNT);
    cohort_vector_relu_gradients(dz, dy, y, COUNT);
    assert_memory_equal(dz, wanted, sizeof dz);
    assert_memory_equal(dy, wanted, sizeof dz);
    cohort_free(a);
    cohort_free(b);
    cohort_free(dy);
}

/* The vectorised draw gives the stream's own numbers. */
static void dropout_draws_the_stream(void **state)
{
    (void)state;
    uint8_t keep[1003];
    cohort_rng stream = cohort_rng_make(5, COHORT_RNG_DROPOUT, 2, 9, 1234567890123);
    cohort_dropout_draw(keep, &stream, 0.3, 1003);
    size_t kept = 0;
    for (size_t i = 0; i < 1003; i++) {
        assert_int_equal(keep[i], cohort_rng_u32(&stream) >= (uint32_t)(0.3 * 4294967295.0));
        kept += keep[i];
    }
    assert_true(kept > 640 && kept < 760);
    float x[3] = {1, NAN, 3};
    cohort_dropout_apply(x, x, (const uint8_t[]){1, 0, 1}, 2, 3);
    assert_true(x[0] == 2 && x[1] == 0 && x[2] == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm_is_the_definition),
        cmocka_unit_test(activations_are_accurate),
        cmocka_unit_test(activations_keep_extremes),
        cmocka_unit_test(bias_is_added_once),
        cmocka_unit_test(softmax_rows),
        cmocka_unit_test(the_largest_is_known_by_its_index),
        cmocka_unit_test(cross_entropy_labels_equal_rows),
        cmocka_unit_test(vectors_and_columns),
        cmocka_unit_test(relu_of_a_sum),
        cmocka_unit_test(dropout_draws_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
