/* The kernels of sequence layers against their definitions, in plain loops. */
#include "tests/cmocka_all.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/attention.h"
#include "kernel/embedding.h"
#include "kernel/lstm.h"
#include "kernel/panel.h"
#include "nn/init.h"

/* The path of CPUs without AVX-512, compiled once more under other names. */
#define COHORT_NO_WIDE
#define cohort_panel_count narrow_count
#define cohort_panel_pack narrow_pack
#define cohort_panel_multiply narrow_multiply
#define cohort_panel_multiply_bias narrow_multiply_bias
#define cohort_panel_product narrow_product
#define cohort_panel_pack_strip narrow_pack_strip
#define cohort_panel_strip narrow_strip
#define cohort_panel_strip_columns narrow_strip_columns
#define cohort_panel_has_registers narrow_has_registers
#undef COHORT_KERNEL_PANEL_H
#include "kernel/panel.c"
#undef cohort_panel_count
#undef cohort_panel_pack
#undef cohort_panel_multiply
#undef cohort_panel_multiply_bias
#undef cohort_panel_product
#undef cohort_panel_pack_strip
#undef cohort_panel_strip
#undef cohort_panel_strip_columns
#undef cohort_panel_has_registers

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

static void check_product(bool is_narrow, size_t m, size_t n, size_t k, cohort_transpose trans_a,
                          cohort_transpose trans_b, bool add)
{
    const size_t lda = (trans_a == COHORT_PLAIN ? k : m) + 3;
    const size_t ldb = (trans_b == COHORT_PLAIN ? n : k) + 3, ldc = n + 2;
    real *a = numbers(m * lda + k * lda), *b = numbers((k + 2) * ldb + n * ldb),
         *c = numbers(m * ldc);
    real *packed = numbers(cohort_panel_count(k + 2, n));
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
    /* Two more rows than are used. */
    (is_narrow ? narrow_pack : cohort_panel_pack)(packed, trans_b, b, ldb, k + 2, n);
    (is_narrow ? narrow_multiply : cohort_panel_multiply)(c, ldc, trans_a, a, lda, packed, k + 2, m,
                                                          n, k, add);
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
            check_product(variant & 8, sizes[s][0], sizes[s][1], sizes[s][2],
                          variant & 1 ? COHORT_TRANSPOSED : COHORT_PLAIN,
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

/* y [batch][time][width] of the definition, in double, from QKV [batch][time][3 width]. */
static void attention_by_definition(double *y, const cohort_attention *attention, const double *qkv)
{
    const size_t time = attention->time, width = attention->width, stride = attention->stride;
    const size_t depth = width / attention->heads;
    for (size_t b = 0; b < attention->batch; b++)
        for (size_t h = 0; h < attention->heads; h++)
            for (size_t i = 0; i < time; i++) {
                const double *q = qkv + (b * time + i) * stride + h * depth;
                double *out = y + (b * time + i) * width + h * depth;
                double weights[100], sum = 0;
                for (size_t j = 0; j < time; j++) {
                    const double *k = qkv + (b * time + j) * stride + width + h * depth;
                    double score = 0;
                    for (size_t d = 0; d < depth; d++)
                        score += q[d] * k[d];
                    const bool seen = (!attention->causal || j <= i) &&
                                      (!attention->mask || attention->mask[b * time + j] != 0);
                    weights[j] = seen ? exp(score / sqrt((double)depth)) : 0;
                    sum += weights[j];
                }
                for (size_t d = 0; d < depth; d++)
                    out[d] = 0;
                for (size_t j = 0; j < time; j++) {
                    const double *v = qkv + (b * time + j) * stride + 2 * width + h * depth;
                    double weight = sum > 0 ? weights[j] / sum : 0;
                    if (attention->streams) {
                        cohort_rng number = attention->streams[b];
                        cohort_rng_seek(&number, (h * time + i) * ((time + 3) / 4 * 4) + j);
                        const double fraction = (double)cohort_rng_u32(&number) * 0x1p-32;
                        weight *= fraction < attention->dropout ? 0 : 1 / (1 - attention->dropout);
                    }
                    for (size_t d = 0; d < depth; d++)
                        out[d] += weight * v[d];
                }
            }
}

static double attention_loss(double *y, const cohort_attention *attention, const real *dy,
                             const double *qkv)
{
    double loss = 0;
    attention_by_definition(y, attention, qkv);
    for (size_t i = 0; i < attention->batch * attention->time * attention->width; i++)
        loss += y[i] * (double)dy[i];
    return loss;
}

static void check_attention(cohort_attention attention, unsigned options)
{
    const size_t batch = attention.batch, time = attention.time, width = attention.width;
    const size_t rows = batch * time, total = rows * 3 * width, y_count = rows * width;
    real *qkv = numbers(total), *grads = numbers(total), *mask = numbers(rows);
    real *y = numbers(y_count), *dy = numbers(y_count);
    double *points = NULL, *expected = NULL;
    cohort_rng streams[4];
    assert_ok(COHORT_ALLOCATE(&points, total));
    assert_ok(COHORT_ALLOCATE(&expected, y_count));
    for (size_t i = 0; i < total; i++)
        points[i] = qkv[i] *= 2;
    for (size_t i = 0; i < rows; i++) /* the last sample is all padding */
        mask[i] = mask[i] > REAL(-0.3) && (batch == 1 || i < rows - time) ? REAL(1) : REAL(0);
    for (size_t b = 0; b < batch; b++)
        streams[b] = cohort_rng_make(5, COHORT_RNG_DROPOUT, 2, 8, b);
    attention.causal = options & 1;
    attention.mask = options & 2 ? mask : NULL;
    attention.dropout = options & 4 ? 0.3 : 0;
    attention.streams = options & 4 ? streams : NULL;
    attention.threads = options & 1 ? 2 : 1;
    attention.stride = 3 * width;
    attention.q = qkv;
    attention.k = qkv + width;
    attention.v = qkv + 2 * width;
    attention.denominators = numbers(rows * attention.heads);
    attention.work = numbers(cohort_attention_work_count(time, attention.heads, width, 2));

    cohort_attention_forward(y, &attention);
    attention_by_definition(expected, &attention, points);
    assert_close(y, expected, y_count, 5e-6);

    cohort_attention_backward(
        &(cohort_attention_grads){y, dy, grads, grads + width, grads + 2 * width}, &attention);
    for (size_t i = 0; i < total; i += 1 + total / 100) {
        const double at = points[i], step = 1e-5;
        points[i] = at + step;
        double slope = attention_loss(expected, &attention, dy, points);
        points[i] = at - step;
        slope -= attention_loss(expected, &attention, dy, points);
        points[i] = at;
        slope /= 2 * step;
        assert_close(grads + i, &slope, 1, 2e-5);
    }
    void *const all[] = {
        qkv, grads, mask, y, dy, points, expected, attention.denominators, attention.work};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
}

static void attention_matches_its_definition(void **state)
{
    (void)state;
    const cohort_attention sizes[] = {{.batch = 2, .time = 5, .heads = 2, .width = 6},
                                      {.batch = 3, .time = 1, .heads = 1, .width = 1},
                                      {.batch = 1, .time = 33, .heads = 3, .width = 9},
                                      {.batch = 2, .time = 70, .heads = 1, .width = 35}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (unsigned options = 0; options < 8; options++)
            check_attention(sizes[s], options);
}

/* Scratch for twice the length is twice as large, not four times. */
static void attention_memory_is_linear(void **state)
{
    (void)state;
    const size_t some = cohort_attention_work_count(4096, 4, 128, 1);
    const size_t more = cohort_attention_work_count(8192, 4, 128, 1);
    assert_true(more < 2 * some + 4096);
    assert_true(some < (size_t)4096 * 4096 / 8);
}

static void lstm_weights_start_as_in_keras(void **state)
{
    (void)state;
    enum { UNITS = 6, ALL = 4 * UNITS };
    real wide[UNITS * ALL], tall[ALL * UNITS], bias[ALL];
    cohort_init_fill(wide, UNITS * ALL, &cohort_init_orthogonal, UNITS, ALL, 3, 1);
    cohort_init_fill(tall, ALL * UNITS, &cohort_init_orthogonal, ALL, UNITS, 3, 1);
    for (size_t a = 0; a < UNITS; a++)
        for (size_t b = 0; b < UNITS; b++) {
            double rows = 0, columns = 0;
            for (size_t i = 0; i < ALL; i++) {
                rows += (double)wide[a * ALL + i] * (double)wide[b * ALL + i];
                columns += (double)tall[i * UNITS + a] * (double)tall[i * UNITS + b];
            }
            assert_true(fabs(rows - (a == b)) < 1e-6 && fabs(columns - (a == b)) < 1e-6);
        }
    cohort_init_fill(bias, ALL, &cohort_init_forget_bias, 0, ALL, 3, 2);
    for (size_t i = 0; i < ALL; i++)
        assert_true(bias[i] == (i / UNITS == 1 ? 1 : 0));
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
        cmocka_unit_test(attention_matches_its_definition),
        cmocka_unit_test(attention_memory_is_linear),
        cmocka_unit_test(lstm_weights_start_as_in_keras),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
