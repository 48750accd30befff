/* Convolution against its definition in double precision. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/bf16.h"
#include "kernel/conv.h"
#include "kernel/panel.h"
#include "kernel/pool.h"

typedef struct conv_case {
    size_t height, width, in, filters;
    size_t size[2], strides[2];
    bool same, relu;
} conv_case;

static const conv_case cases[] = {
    {5, 5, 1, 1, {1, 1}, {1, 1}, false, false},    {6, 5, 3, 4, {3, 3}, {1, 1}, false, false},
    {6, 5, 3, 4, {3, 3}, {1, 1}, true, true},      {7, 9, 2, 5, {3, 2}, {2, 2}, true, false},
    {8, 8, 4, 3, {2, 3}, {2, 1}, true, true},      {9, 7, 3, 6, {3, 3}, {2, 3}, false, true},
    {4, 4, 7, 9, {1, 1}, {1, 1}, true, true},      {5, 6, 3, 2, {1, 1}, {2, 2}, true, false},
    {3, 3, 2, 3, {5, 5}, {1, 1}, true, false},     {6, 6, 2, 3, {1, 1}, {3, 3}, false, false},
    {1, 1, 3, 4, {3, 3}, {1, 1}, true, true},      {28, 28, 1, 32, {3, 3}, {1, 1}, false, true},
    {13, 13, 32, 64, {3, 3}, {1, 1}, false, true}, {5, 5, 64, 64, {3, 3}, {1, 1}, false, true},
    {9, 8, 16, 16, {3, 3}, {1, 1}, true, false},   {8, 9, 16, 32, {3, 3}, {2, 2}, true, true},
    {8, 8, 16, 32, {1, 1}, {2, 2}, true, false},   {7, 7, 48, 80, {3, 3}, {1, 1}, true, true},
    {10, 4, 3, 16, {5, 3}, {1, 1}, true, false},   {6, 6, 16, 24, {2, 2}, {1, 1}, true, true},
    {7, 6, 40, 24, {3, 2}, {1, 1}, true, true},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0], MOST_BATCH = 5 };

static real *reals(size_t count)
{
    real *out;
    assert_ok(COHORT_ALLOCATE(&out, count));
    return out;
}

static real *noise(size_t count, uint32_t what)
{
    real *out = reals(count);
    cohort_rng rng = cohort_rng_make(7, COHORT_RNG_TEST, what, count, 0);
    for (size_t i = 0; i < count; i++)
        out[i] = 2 * (real)cohort_rng_float(&rng) - 1;
    return out;
}

/* Everything of one convolution. */
typedef struct fixture {
    cohort_conv_shape shape;
    size_t batch, x_count, y_count, kernel_count;
    real *x, *y, *kernel, *bias, *dy, *dx, *dkernel, *dbias, *scratch;
    double *want_y, *want_dx, *want_dkernel, *want_dbias;
    cohort_conv *conv;
} fixture;

static void reference(fixture *f, const real *dy, double start)
{
    const cohort_window *w = &f->shape.window;
    const size_t in = f->shape.in_channels, out = f->shape.out_channels;
    for (size_t i = 0; i < f->x_count; i++)
        f->want_dx[i] = 0;
    for (size_t i = 0; i < f->kernel_count; i++)
        f->want_dkernel[i] = start;
    for (size_t i = 0; i < out; i++)
        f->want_dbias[i] = start;
    for (size_t p = 0; p < f->batch * w->out_height * w->out_width; p++) {
        const size_t n = p / (w->out_height * w->out_width);
        const size_t oy = p / w->out_width % w->out_height, ox = p % w->out_width;
        for (size_t o = 0; o < out; o++)
            f->want_y[p * out + o] = f->bias[o];
        for (int pass = 0; pass < 2; pass++) {
            for (size_t k = 0; k < w->height * w->width * in; k++) {
                const long iy = (long)(oy * w->stride_y + k / in / w->width) - (long)w->pad_top;
                const long ix = (long)(ox * w->stride_x + k / in % w->width) - (long)w->pad_left;
                if (iy < 0 || ix < 0 || iy >= (long)w->in_height || ix >= (long)w->in_width)
                    continue;
                const size_t at =
                    ((n * w->in_height + (size_t)iy) * w->in_width + (size_t)ix) * in + k % in;
                for (size_t o = 0; o < out; o++) {
                    const double weight = f->kernel[k * out + o];
                    const double d = f->want_y[p * out + o] > 0 || !f->shape.relu
                                         ? (double)dy[p * out + o]
                                         : 0.0;
                    if (pass == 0) {
                        f->want_y[p * out + o] += f->x[at] * weight;
                    } else {
                        f->want_dx[at] += d * weight;
                        f->want_dkernel[k * out + o] += d * f->x[at];
                    }
                }
            }
            for (size_t o = 0; o < out && pass == 0; o++) {
                double *y = &f->want_y[p * out + o];
                if (f->shape.relu && *y < 0)
                    *y = 0;
                if (!f->shape.relu || *y > 0)
                    f->want_dbias[o] += dy[p * out + o];
            }
        }
    }
}

static void expect_near(const char *what, size_t index, const real *got, const double *want,
                        size_t count, double tolerance)
{
    double scale = 1;
    for (size_t i = 0; i < count; i++)
        scale = fmax(scale, fabs(want[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * scale))
            fail_msg("case %zu: %s[%zu] is %g, expected %g", index, what, i, (double)got[i],
                     want[i]);
}

static void expect_close(const char *what, size_t index, const real *got, const double *want,
                         size_t count)
{
    expect_near(what, index, got, want, count, 4e-6);
}

static void fixture_make(fixture *f, const conv_case *c, size_t batch)
{
    *f = (fixture){.batch = batch};
    f->shape.in_channels = c->in;
    f->shape.out_channels = c->filters;
    f->shape.relu = c->relu;
    cohort_window *w = &f->shape.window;
    assert_true(cohort_window_plan(w, c->height, c->width, c->size, c->strides, c->same));
    f->x_count = batch * c->height * c->width * c->in;
    f->y_count = batch * w->out_height * w->out_width * c->filters;
    f->kernel_count = c->size[0] * c->size[1] * c->in * c->filters;
    f->x = noise(f->x_count, 1);
    f->kernel = noise(f->kernel_count, 2);
    f->bias = noise(c->filters, 3);
    f->dy = noise(f->y_count, 4);
    f->y = reals(f->y_count);
    f->dx = noise(f->x_count, 5); /* must be overwritten */
    f->dkernel = reals(f->kernel_count);
    f->dbias = reals(c->filters);
    f->want_y = calloc(f->y_count, sizeof(double));
    f->want_dx = calloc(f->x_count, sizeof(double));
    f->want_dkernel = calloc(f->kernel_count, sizeof(double));
    f->want_dbias = calloc(c->filters, sizeof(double));
    assert_ok(cohort_conv_create(&f->conv, &f->shape, batch, true, true));
    size_t scratch = cohort_conv_forward_scratch(f->conv);
    if (scratch < cohort_conv_backward_scratch(f->conv))
        scratch = cohort_conv_backward_scratch(f->conv);
    f->scratch = noise(scratch, 6);
}

static void fixture_free(fixture *f)
{
    real *all[] = {f->x, f->y, f->kernel, f->bias, f->dy, f->dx, f->dkernel, f->dbias, f->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cohort_free(all[i]);
    free(f->want_y);
    free(f->want_dx);
    free(f->want_dkernel);
    free(f->want_dbias);
    cohort_conv_destroy(f->conv);
}

/* Forward, backward that sets, backward that adds. */
static void check_case(const conv_case *c, size_t index, size_t batch, cohort_conv_way way)
{
    fixture f;
    fixture_make(&f, c, batch);
    unsigned choice = 0;
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++)
        choice = cohort_conv_choice_with(choice, (cohort_conv_direction)d, way);
    cohort_conv_choose(f.conv, choice);
    cohort_conv_forward(f.conv, f.y, NULL, f.x, f.kernel, f.bias, batch, f.scratch);
    real *dy = reals(f.y_count);
    memcpy(dy, f.dy, f.y_count * sizeof *dy);
    cohort_conv_grads grads = {.kernel = f.dkernel, .bias = f.dbias, .x = f.dx};
    for (size_t i = 0; i < f.kernel_count; i++)
        f.dkernel[i] = NAN; /* set, not added to */
    cohort_conv_backward(f.conv, &grads, dy, f.x, f.y, NULL, f.kernel, batch, f.scratch);
    reference(&f, f.dy, 0);
    expect_close("y", index, f.y, f.want_y, f.y_count);
    expect_close("dx", index, f.dx, f.want_dx, f.x_count);
    expect_close("dkernel", index, f.dkernel, f.want_dkernel, f.kernel_count);
    expect_close("dbias", index, f.dbias, f.want_dbias, c->filters);

    memcpy(dy, f.dy, f.y_count * sizeof *dy);
    for (size_t i = 0; i < f.kernel_count; i++)
        f.dkernel[i] = REAL(0.5);
    for (size_t i = 0; i < c->filters; i++)
        f.dbias[i] = REAL(0.5);
    grads.add = true;
    grads.x = NULL;
    cohort_conv_backward(f.conv, &grads, dy, f.x, f.y, NULL, f.kernel, batch, f.scratch);
    reference(&f, f.dy, 0.5);
    expect_close("dkernel added", index, f.dkernel, f.want_dkernel, f.kernel_count);
    expect_close("dbias added", index, f.dbias, f.want_dbias, c->filters);
    cohort_free(dy);
    fixture_free(&f);
}

static void check_all(cohort_conv_way way)
{
    for (size_t i = 0; i < CASE_COUNT; i++) {
        check_case(&cases[i], i, 1, way);
        check_case(&cases[i], i, 3, way);
    }
}

static void test_gemm(void **state)
{
    (void)state;
    check_all(COHORT_CONV_GEMM);
}

static void test_direct(void **state)
{
    (void)state;
    check_all(COHORT_CONV_DIRECT);
}

static void test_dnnl(void **state)
{
    (void)state;
    check_all(COHORT_CONV_DNNL);
}

static void test_winograd(void **state)
{
    (void)state;
    check_all(COHORT_CONV_WINOGRAD);
}

static double mean_square(const real *got, const double *want, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (got[i] - want[i]) * (got[i] - want[i]);
    return sum / (double)count;
}

/* Winograd's tiles are off by no more than three times what products of matrices are. */
static void test_winograd_is_exact(void **state)
{
    static const cohort_conv_way ways[] = {COHORT_CONV_WINOGRAD, COHORT_CONV_GEMM};
    double errors[2][3];
    (void)state;
    for (int w = 0; w < 2; w++) {
        fixture f;
        unsigned choice = 0;
        fixture_make(&f, &cases[12], MOST_BATCH);
        for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
            const cohort_conv_direction direction = (cohort_conv_direction)d;
            assert_true(cohort_conv_can(f.conv, direction, ways[w]));
            if (cohort_panel_has_registers()) /* the rule takes it for such a shape */
                assert_int_equal(cohort_conv_choice_way(cohort_conv_choice(f.conv), direction),
                                 COHORT_CONV_WINOGRAD);
            choice = cohort_conv_choice_with(choice, direction, ways[w]);
        }
        cohort_conv_choose(f.conv, choice);
        reference(&f, f.dy, 0);
        const cohort_conv_grads grads = {.kernel = f.dkernel, .x = f.dx};
        cohort_conv_forward(f.conv, f.y, NULL, f.x, f.kernel, f.bias, f.batch, f.scratch);
        cohort_conv_backward(f.conv, &grads, f.dy, f.x, f.y, NULL, f.kernel, f.batch, f.scratch);
        errors[w][0] = mean_square(f.y, f.want_y, f.y_count);
        errors[w][1] = mean_square(f.dx, f.want_dx, f.x_count);
        errors[w][2] = mean_square(f.dkernel, f.want_dkernel, f.kernel_count);
        fixture_free(&f);
    }
    for (int d = 0; d < 3; d++)
        if (!(errors[0][d] > 0 && errors[0][d] <= 9 * errors[1][d]))
            fail_msg("direction %d: mean square error %g, of gemm %g", d, errors[0][d],
                     errors[1][d]);
}

static void test_threads(void **state)
{
    (void)state;
    omp_set_num_threads(3);
    for (size_t i = 0; i < CASE_COUNT; i++)
        for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++)
            check_case(&cases[i], i, MOST_BATCH, (cohort_conv_way)way);
    omp_set_num_threads(1);
}

/* F's convolution again, with a pool of SIZE moved by STRIDE: what it gives must be what
 * convolution and pool give one after the other. */
static void check_pooled(fixture *f, size_t index, size_t size, size_t stride, bool same)
{
    const cohort_window *w = &f->shape.window;
    const size_t sizes[2] = {size, size}, strides[2] = {stride, stride};
    const size_t filters = f->shape.out_channels;
    const unsigned choice = cohort_conv_choice(f->conv);
    cohort_conv_shape shape = f->shape;
    cohort_conv *conv;
    assert_true(cohort_window_plan(&shape.pool, w->out_height, w->out_width, sizes, strides, same));
    const cohort_pool pool = {shape.pool, filters};
    const size_t count = f->batch * shape.pool.out_height * shape.pool.out_width * filters;
    real *y = reals(count), *want_y = reals(count), *dy = noise(count, 8), *own = noise(count, 8);
    real *dx = noise(f->x_count, 5), *dkernel = reals(f->kernel_count), *dbias = reals(filters);
    uint16_t *winners, *want_winners;
    assert_ok(COHORT_ALLOCATE(&winners, count));
    assert_ok(COHORT_ALLOCATE(&want_winners, count));

    cohort_conv_grads grads = {.kernel = f->dkernel, .bias = f->dbias, .x = f->dx};
    cohort_conv_forward(f->conv, f->y, NULL, f->x, f->kernel, f->bias, f->batch, f->scratch);
    cohort_max_pool_forward(want_y, want_winners, &pool, f->y, f->batch);
    cohort_max_pool_backward(f->dy, &pool, dy, want_winners, f->batch);
    cohort_conv_backward(f->conv, &grads, f->dy, f->x, f->y, NULL, f->kernel, f->batch, f->scratch);

    assert_ok(cohort_conv_create(&conv, &shape, f->batch, true, true));
    cohort_conv_choose(conv, choice);
    real *forward = noise(cohort_conv_forward_scratch(conv), 6);
    real *backward = noise(cohort_conv_backward_scratch(conv), 6);
    grads = (cohort_conv_grads){.kernel = dkernel, .bias = dbias, .x = dx};
    cohort_conv_forward(conv, y, winners, f->x, f->kernel, f->bias, f->batch, forward);
    assert_memory_equal(y, want_y, count * sizeof *y);
    assert_memory_equal(winners, want_winners, count * sizeof *winners);
    cohort_conv_backward(conv, &grads, own, f->x, y, winners, f->kernel, f->batch, backward);
    assert_memory_equal(dx, f->dx, f->x_count * sizeof *dx);
    assert_memory_equal(dkernel, f->dkernel, f->kernel_count * sizeof *dkernel);
    for (size_t i = 0; i < filters; i++)
        f->want_dbias[i] = (double)f->dbias[i];
    expect_close("dbias", index, dbias, f->want_dbias, filters);

    memset(want_y, 0, count * sizeof *y);
    cohort_conv_forward(conv, want_y, NULL, f->x, f->kernel, f->bias, f->batch, forward);
    assert_memory_equal(y, want_y, count * sizeof *y); /* as where nothing is trained */
    real *all[] = {y, want_y, dy, own, dx, dkernel, dbias, forward, backward};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cohort_free(all[i]);
    cohort_free(winners);
    cohort_free(want_winners);
    cohort_conv_destroy(conv);
}

static void test_pooled(void **state)
{
    static const size_t which[] = {1, 2, 9, 11, 12, 14};
    (void)state;
    for (int threads = 1; threads <= 3; threads++)
        for (size_t i = 0; i < sizeof which / sizeof *which; i++)
            for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++)
                for (int overlap = 0; overlap < 2; overlap++) {
                    fixture f;
                    unsigned choice = 0;
                    omp_set_num_threads(threads);
                    /* Of many small images: more lanes than threads. */
                    fixture_make(&f, &cases[which[i]], which[i] == 14 ? 40 : MOST_BATCH);
                    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++)
                        choice = cohort_conv_choice_with(choice, (cohort_conv_direction)d,
                                                         (cohort_conv_way)way);
                    cohort_conv_choose(f.conv, choice);
                    check_pooled(&f, which[i], overlap ? 3 : 2, overlap ? 1 : 2, overlap);
                    fixture_free(&f);
                }
    omp_set_num_threads(1);
}

/* A short last batch and an empty one through a larger plan. */
static void test_smaller_batches(void **state)
{
    (void)state;
    for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++) {
        fixture f;
        fixture_make(&f, &cases[14], MOST_BATCH);
        unsigned choice = 0;
        for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++)
            choice =
                cohort_conv_choice_with(choice, (cohort_conv_direction)d, (cohort_conv_way)way);
        cohort_conv_choose(f.conv, choice);
        cohort_conv_grads grads = {.kernel = f.dkernel, .bias = f.dbias, .x = f.dx};
        const size_t sample = f.y_count / f.batch, filters = f.shape.out_channels;
        f.y_count = 2 * sample;
        f.x_count = f.x_count / f.batch * 2;
        f.batch = 2;
        for (int again = 0; again < 2; again++) {
            cohort_conv_forward(f.conv, f.y, NULL, f.x, f.kernel, f.bias, 2, f.scratch);
            cohort_conv_backward(f.conv, &grads, f.dy, f.x, f.y, NULL, f.kernel, 2, f.scratch);
        }
        assert_true(f.y[2 * sample] == 0);
        reference(&f, f.dy, 0);
        expect_close("y", 14, f.y, f.want_y, f.y_count);
        expect_close("dx", 14, f.dx, f.want_dx, f.x_count);
        expect_close("dkernel", 14, f.dkernel, f.want_dkernel, f.kernel_count);
        grads.add = true;
        cohort_conv_forward(f.conv, f.y, NULL, f.x, f.kernel, f.bias, 0, f.scratch);
        cohort_conv_backward(f.conv, &grads, f.dy, f.x, f.y, NULL, f.kernel, 0, f.scratch);
        expect_close("dkernel", 14, f.dkernel, f.want_dkernel, f.kernel_count);
        grads.add = false;
        cohort_conv_backward(f.conv, &grads, f.dy, f.x, f.y, NULL, f.kernel, 0, f.scratch);
        for (size_t i = 0; i < f.kernel_count; i++)
            assert_true(f.dkernel[i] == 0);
        for (size_t i = 0; i < filters; i++)
            assert_true(f.dbias[i] == 0);
        fixture_free(&f);
    }
}

/* No bias; weights frozen. */
static void test_parts_left_out(void **state)
{
    (void)state;
    fixture f;
    fixture_make(&f, &cases[2], 2);
    cohort_conv_forward(f.conv, f.y, NULL, f.x, f.kernel, NULL, 2, f.scratch);
    memset(f.bias, 0, f.shape.out_channels * sizeof *f.bias);
    const cohort_conv_grads grads = {.x = f.dx};
    real *dy = noise(f.y_count, 4);
    cohort_conv_backward(f.conv, &grads, dy, f.x, f.y, NULL, f.kernel, 2, f.scratch);
    reference(&f, f.dy, 0);
    expect_close("y", 2, f.y, f.want_y, f.y_count);
    expect_close("dx", 2, f.dx, f.want_dx, f.x_count);
    cohort_free(dy);
    fixture_free(&f);
}

/* In bfloat16 the same up to its rounding, and not the same bits. */
static void test_bf16(void **state)
{
    (void)state;
    bool differs = false;
    for (size_t i = 0; i < CASE_COUNT && cohort_bf16_available(); i++) {
        fixture f;
        fixture_make(&f, &cases[i], 3);
        cohort_conv_destroy(f.conv);
        f.shape.bf16 = true;
        assert_ok(cohort_conv_create(&f.conv, &f.shape, 3, true, true));
        real *scratch = reals(cohort_conv_backward_scratch(f.conv));
        const cohort_conv_grads grads = {.kernel = f.dkernel, .bias = f.dbias, .x = f.dx};
        cohort_conv_forward(f.conv, f.y, NULL, f.x, f.kernel, f.bias, 3, scratch);
        reference(&f, f.dy, 0);
        expect_near("y", i, f.y, f.want_y, f.y_count, 0.01);
        for (size_t j = 0; j < f.y_count; j++)
            differs |= fabs(f.y[j] - f.want_y[j]) > 1e-4;
        /* Which outputs are positive must not depend on rounding. */
        for (size_t j = 0; j < f.y_count; j++)
            f.y[j] = (real)f.want_y[j];
        cohort_conv_backward(f.conv, &grads, f.dy, f.x, f.y, NULL, f.kernel, 3, scratch);
        expect_near("dx", i, f.dx, f.want_dx, f.x_count, 0.01);
        expect_near("dkernel", i, f.dkernel, f.want_dkernel, f.kernel_count, 0.01);
        expect_near("dbias", i, f.dbias, f.want_dbias, f.shape.out_channels, 1e-5);
        cohort_free(scratch);
        fixture_free(&f);
    }
    assert_true(differs || !cohort_bf16_available());
}

static void test_choice(void **state)
{
    (void)state;
    fixture f;
    cohort_conv_times times;
    fixture_make(&f, &cases[14], 2);
    const unsigned rule = cohort_conv_choice(f.conv);
    assert_ok(cohort_conv_tune(f.conv, 0.01, 1e9, &times)); /* nothing is so much faster */
    assert_int_equal(cohort_conv_choice(f.conv), rule);
    assert_ok(cohort_conv_tune(f.conv, 0.01, 1, &times));
    const unsigned choice = cohort_conv_choice(f.conv);
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_way way = cohort_conv_choice_way(choice, (cohort_conv_direction)d);
        assert_true(times.seconds[d][COHORT_CONV_GEMM] > 0);
        assert_true(times.seconds[d][way] > 0);
        for (int other = 0; other < COHORT_CONV_WAY_COUNT; other++)
            assert_true(times.seconds[d][other] == 0 ||
                        times.seconds[d][way] <= times.seconds[d][other]);
    }
    cohort_conv_choose(f.conv, 0);
    assert_int_equal(cohort_conv_choice(f.conv), 0);
    cohort_conv_choose(f.conv, choice);
    assert_int_equal(cohort_conv_choice(f.conv), choice);
    fixture_free(&f);
    fixture_make(&f, &cases[1], MOST_BATCH);
    cohort_conv_choose(f.conv, ~0u); /* winograd, of channels that it cannot take: gemm */
    assert_int_equal(cohort_conv_choice(f.conv), 0);
    fixture_free(&f);
}

static void test_choice_in_words(void **state)
{
    (void)state;
    for (unsigned choice = 0; choice < 64; choice++) {
        cohort_text text = {0};
        unsigned again = ~0u;
        bool known = true;
        for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++)
            known &=
                cohort_conv_choice_way(choice, (cohort_conv_direction)d) < COHORT_CONV_WAY_COUNT;
        cohort_conv_write_choice(&text, choice);
        assert_int_equal(cohort_conv_read_choice(&again, text.data), known);
        if (known)
            assert_int_equal(again, choice);
        cohort_text_clear(&text);
    }
    static const char *const wrong[] = {
        "", "gemm", "gemm gemm", "gemm gemm direct x", "gemm gemm dire", "gemm  gemm gemm"};
    unsigned choice;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(cohort_conv_read_choice(&choice, wrong[i]));
}

static void test_window(void **state)
{
    (void)state;
    cohort_window w;
    const size_t three[2] = {3, 3}, two[2] = {2, 2}, one[2] = {1, 1};
    assert_true(cohort_window_plan(&w, 28, 27, three, two, true));
    assert_int_equal(w.out_height, 14); /* 1 zero in all: at the bottom */
    assert_int_equal(w.pad_top, 0);
    assert_int_equal(w.out_width, 14); /* 2 zeros in all */
    assert_int_equal(w.pad_left, 1);
    assert_true(cohort_window_plan(&w, 27, 3, two, two, false));
    assert_int_equal(w.out_height, 13);
    assert_int_equal(w.out_width, 1);
    assert_false(cohort_window_plan(&w, 2, 5, three, one, false));
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window),          cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_direct),          cmocka_unit_test(test_dnnl),
        cmocka_unit_test(test_winograd),        cmocka_unit_test(test_winograd_is_exact),
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_smaller_batches),
        cmocka_unit_test(test_parts_left_out),  cmocka_unit_test(test_choice),
        cmocka_unit_test(test_choice_in_words), cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_pooled),
    };
    return cmocka_run_group_tests_name("conv", tests, NULL, NULL);
}
