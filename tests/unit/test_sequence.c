/* The kernels of sequence layers against their definitions, in plain loops. */
#include "tests/cmocka_all.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/embedding.h"
#include "kernel/lstm.h"
#include "kernel/panel.h"

/* The path of CPUs without AVX-512, compiled once more under other names. */
#define COHORT_NO_WIDE
#define cohort_panel_count narrow_count
#define cohort_panel_pack narrow_pack
#define cohort_panel_multiply narrow_multiply
#undef COHORT_KERNEL_PANEL_H
#include "kernel/panel.c"
#undef cohort_panel_count
#undef cohort_panel_pack
#undef cohort_panel_multiply

static cohort_rng stream;

/* COUNT numbers in ±1; freed by cohort_free. */
static real *numbers(size_t count)
{
    real *out = NULL;
    assert_ok(COHORT_ALLOCATE(&out, count));
    for (size_t i = 0; i < count; i++)
        out[i] = (real)(2 * cohort_rng_double(&stream) - 1);
    return out;
}

static void assert_close(const real *a, const double *b, size_t count, double tolerance)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance * (1 + fabs(b[i]))))
            fail_msg("element %zu of %zu: %.9g, expected %.9g", i, count, (double)a[i], b[i]);
}

typedef void multiply(real *c, size_t ldc, cohort_transpose trans_a, const real *a, size_t lda,
                      const real *packed, size_t m, size_t n, size_t k, bool add);

static void check_product(multiply *run, size_t m, size_t n, size_t k, cohort_transpose trans_a,
                          cohort_transpose trans_b, bool add)
{
    const size_t lda = (trans_a == COHORT_PLAIN ? k : m) + 3;
    const size_t ldb = (trans_b == COHORT_PLAIN ? n : k) + 1, ldc = n + 2;
    real *a = numbers(m * lda + k * lda), *b = numbers(k * ldb + n * ldb), *c = numbers(m * ldc);
    real *packed = numbers(cohort_panel_count(k, n) + 1);
    double *expected = NULL;
    assert_ok(COHORT_ALLOCATE(&expected, m * ldc));
    for (size_t i = 0; i < m * ldc; i++)
        expected[i] = c[i];
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = add ? expected[i * ldc + j] : 0;
            for (size_t p = 0; p < k; p++)
                sum += (double)(trans_a == COHORT_PLAIN ? a[i * lda + p] : a[p * lda + i]) *
                       (double)(trans_b == COHORT_PLAIN ? b[p * ldb + j] : b[j * ldb + p]);
            expected[i * ldc + j] = sum;
        }
    cohort_panel_pack(packed, trans_b, b, ldb, k, n);
    run(c, ldc, trans_a, a, lda, packed, m, n, k, add);
    assert_close(c, expected, m * ldc, 1e-5);
    cohort_free(a);
    cohort_free(b);
    cohort_free(c);
    cohort_free(packed);
    cohort_free(expected);
}

static void panels_multiply(void **state)
{
    (void)state;
    const size_t sizes[][3] = {{1, 1, 1},   {8, 32, 4},   {15, 33, 7}, {32, 128, 32},
                               {13, 70, 0}, {3, 31, 100}, {7, 96, 5},  {9, 20, 33}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned variant = 0; variant < 16; variant++)
            check_product(variant & 8 ? narrow_multiply : cohort_panel_multiply, sizes[s][0],
                          sizes[s][1], sizes[s][2], variant & 1 ? COHORT_TRANSPOSED : COHORT_PLAIN,
                          variant & 2 ? COHORT_TRANSPOSED : COHORT_PLAIN, variant & 4);
}

static void embeddings_gather_and_scatter(void **state)
{
    (void)state;
    enum { VOCABULARY = 7, UNITS = 5, COUNT = 6 };
    const int32_t tokens[COUNT] = {3, 0, 3, 6, 3, 1};
    real *table = numbers(VOCABULARY * UNITS), *dy = numbers(COUNT * UNITS);
    real y[COUNT * UNITS], dtable[VOCABULARY * UNITS];
    double expected[VOCABULARY * UNITS];
    cohort_embedding_forward(y, table, tokens, COUNT, UNITS);
    for (size_t i = 0; i < VOCABULARY * UNITS; i++)
        expected[i] = dtable[i] = REAL(0.5);
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < UNITS; j++) {
            assert_true(y[i * UNITS + j] == table[(size_t)tokens[i] * UNITS + j]);
            expected[(size_t)tokens[i] * UNITS + j] += dy[i * UNITS + j];
        }
    cohort_embedding_backward(dtable, dy, tokens, COUNT, UNITS);
    assert_close(dtable, expected, VOCABULARY * UNITS, 1e-6);
    cohort_free(table);
    cohort_free(dy);
}

static void sinusoids(void **state)
{
    (void)state;
    real table[11 * 5];
    cohort_sinusoid_table(table, 11, 5);
    const double expected[] = {0, 1, 0, 1, 0};
    assert_close(table, expected, 5, 1e-7);
    const double rate = pow(10000, -2.0 / 5);
    const double tenth[] = {sin(10), cos(10), sin(10 * rate), cos(10 * rate),
                            sin(10 * rate * rate)};
    assert_close(table + 50, tenth, 5, 1e-6);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* One sample of the definition, in double. WEIGHTS is W, U, b in a row; y [time][units]
 * gets h at every time. */
static void lstm_by_definition(double *y, const cohort_lstm *lstm, const double *weights,
                               const double *x, size_t sample)
{
    const size_t in = lstm->in, units = lstm->units;
    const double *w = weights, *u = w + in * 4 * units, *bias = u + units * 4 * units;
    double h[16] = {0}, c[16] = {0}, z[64];
    for (size_t s = 0; s < lstm->time; s++) {
        const size_t t = lstm->reverse ? lstm->time - 1 - s : s;
        for (size_t j = 0; j < 4 * units; j++) {
            z[j] = bias[j];
            for (size_t k = 0; k < in; k++)
                z[j] += x[t * in + k] * w[k * 4 * units + j] *
                        (lstm->in_scale ? (double)lstm->in_scale[sample * in + k] : 1);
            for (size_t k = 0; k < units; k++)
                z[j] += h[k] * u[k * 4 * units + j] *
                        (lstm->state_scale ? (double)lstm->state_scale[sample * units + k] : 1);
        }
        for (size_t j = 0; j < units; j++) {
            if (!lstm->mask || lstm->mask[sample * lstm->time + t] != 0) {
                c[j] = sigmoid(z[units + j]) * c[j] + sigmoid(z[j]) * tanh(z[2 * units + j]);
                h[j] = sigmoid(z[3 * units + j]) * tanh(c[j]);
            }
            y[t * units + j] = h[j];
        }
    }
}

/* sum(y * dy) of the definition, filling *y when it is not NULL. */
static double lstm_loss(double *y, const cohort_lstm *lstm, const real *dy, const double *weights,
                        const double *x)
{
    const size_t time = lstm->time, units = lstm->units;
    double all[16 * 64], loss = 0;
    for (size_t b = 0; b < lstm->batch; b++) {
        lstm_by_definition(all, lstm, weights, x + b * time * lstm->in, b);
        const size_t last = lstm->reverse ? 0 : time - 1;
        const size_t begin = lstm->every_step ? 0 : last, end = lstm->every_step ? time : last + 1;
        for (size_t t = begin; t < end; t++)
            for (size_t j = 0; j < units; j++) {
                const size_t row = lstm->every_step ? b * time + t : b;
                loss += all[t * units + j] * (double)dy[row * lstm->stride + j];
                if (y)
                    y[row * lstm->stride + j] = all[t * units + j];
            }
    }
    return loss;
}

static void check_lstm(cohort_lstm lstm, unsigned options)
{
    const size_t batch = lstm.batch, time = lstm.time, in = lstm.in, units = lstm.units;
    lstm.reverse = options & 1;
    lstm.every_step = options & 2;
    lstm.stride = units + 2;
    const size_t weight_count = (in + units + 1) * 4 * units, x_count = batch * time * in;
    const size_t y_count = batch * time * lstm.stride, total = weight_count + x_count;
    /* Parameters, then x, so that one loop perturbs all. */
    real *start = numbers(total), *grads = numbers(total), *dy = numbers(y_count);
    real *y = numbers(y_count), *mask = numbers(batch * time),
         *scales = numbers(batch * (in + units));
    double *points = NULL, *expected_y = NULL, *before = NULL;
    assert_ok(COHORT_ALLOCATE(&points, total));
    assert_ok(COHORT_ALLOCATE(&before, total));
    assert_ok(COHORT_ALLOCATE(&expected_y, y_count));
    for (size_t i = 0; i < total; i++)
        points[i] = start[i], before[i] = grads[i];
    for (size_t i = 0; i < y_count; i++)
        expected_y[i] = y[i];
    for (size_t i = 0; i < batch * time; i++)
        mask[i] = mask[i] > REAL(-0.3) ? REAL(1) : REAL(0);
    lstm.mask = options & 4 ? mask : NULL;
    lstm.in_scale = options & 8 ? scales : NULL;
    lstm.state_scale = options & 8 ? scales + batch * in : NULL;
    lstm.kernel = start;
    lstm.recurrent = start + in * 4 * units;
    lstm.bias = lstm.recurrent + units * 4 * units;
    lstm.x = start + weight_count;
    lstm.gates = numbers(time * batch * 4 * units);
    lstm.cells = numbers(time * batch * units);
    lstm.states = numbers(time * batch * units);
    lstm.work = numbers(cohort_lstm_work_count(batch, time, in, units));

    cohort_lstm_forward(y, &lstm);
    lstm_loss(expected_y, &lstm, dy, points, points + weight_count);
    assert_close(y, expected_y, y_count, 2e-6);

    const bool add = options & 16;
    const cohort_lstm_grads out = {.dy = dy,
                                   .dx = grads + weight_count,
                                   .add_dx = add,
                                   .kernel = grads,
                                   .recurrent = grads + in * 4 * units,
                                   .bias = grads + (in + units) * 4 * units,
                                   .accumulate = add};
    cohort_lstm_backward(&out, &lstm);
    /* Central differences; of a large case a sample. */
    for (size_t i = 0; i < total; i += 1 + total / 200) {
        const double at = points[i], step = 1e-5;
        points[i] = at + step;
        double slope = lstm_loss(NULL, &lstm, dy, points, points + weight_count);
        points[i] = at - step;
        slope -= lstm_loss(NULL, &lstm, dy, points, points + weight_count);
        points[i] = at;
        slope = slope / (2 * step) + (add ? (double)before[i] : 0);
        assert_close(grads + i, &slope, 1, 1e-5);
    }
    void *const all[] = {start,  grads,      dy,         y,          mask,        scales,   points,
                         before, expected_y, lstm.gates, lstm.cells, lstm.states, lstm.work};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void lstm_matches_its_definition(void **state)
{
    (void)state;
    const cohort_lstm sizes[] = {{.batch = 3, .time = 5, .in = 4, .units = 3},
                                 {.batch = 9, .time = 2, .in = 3, .units = 8},
                                 {.batch = 1, .time = 1, .in = 1, .units = 1},
                                 {.batch = 2, .time = 1, .in = 2, .units = 4}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned options = 0; options < 32; options++)
            check_lstm(sizes[s], options);
    /* Several chunks of steps. */
    for (unsigned options = 0; options < 32; options += 3)
        check_lstm((cohort_lstm){.batch = 40, .time = 30, .in = 1, .units = 2}, options);
}

static int setup(void **state)
{
    (void)state;
    stream = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panels_multiply),
        cmocka_unit_test(embeddings_gather_and_scatter),
        cmocka_unit_test(sinusoids),
        cmocka_unit_test(lstm_matches_its_definition),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
