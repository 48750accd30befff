/* Pooling against its definition. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <omp.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/pool.h"

typedef struct pool_case {
    size_t batch, height, width, channels;
    size_t size[2], strides[2];
    bool same;
} pool_case;

static const pool_case cases[] = {
    {1, 4, 4, 1, {2, 2}, {2, 2}, false},       {3, 26, 26, 32, {2, 2}, {2, 2}, false},
    {3, 11, 11, 7, {2, 2}, {2, 2}, false},     {1, 11, 9, 5, {2, 2}, {2, 2}, true},
    {3, 9, 8, 3, {3, 3}, {2, 2}, true},        {1, 9, 8, 3, {3, 2}, {1, 1}, false},
    {1, 7, 7, 4, {2, 2}, {1, 1}, false},       {1, 7, 7, 4, {2, 2}, {3, 3}, false},
    {1, 20, 20, 2, {20, 20}, {20, 20}, false}, {1, 3, 3, 2, {5, 5}, {1, 1}, true},
    {1, 5, 6, 3, {1, 1}, {1, 1}, false},       {2, 6, 6, 3, {3, 3}, {3, 3}, true},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

static real *noise(size_t count, uint32_t what)
{
    real *out;
    assert_ok(COHORT_ALLOCATE(&out, count));
    cohort_rng rng = cohort_rng_make(3, COHORT_RNG_TEST, what, count, 0);
    for (size_t i = 0; i < count; i++)
        out[i] = (real)cohort_rng_below(&rng, 41) / 10 - 2; /* with equals among them */
    return out;
}

static void expect_close(const char *what, const real *got, const real *want, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)(got[i] - want[i])) <= 1e-5))
            fail_msg("%s[%zu] is %g, expected %g", what, i, (double)got[i], (double)want[i]);
}

/* Y and DX (of DY) of the pool at output pixel P, channel C, by definition. */
static void reference(const cohort_pool *pool, bool maximum, real *y, real *dx, const real *x,
                      const real *dy, size_t p, size_t c)
{
    const cohort_window *w = &pool->window;
    const size_t n = p / (w->out_height * w->out_width), oy = p / w->out_width % w->out_height;
    const size_t ox = p % w->out_width, at = p * pool->channels + c;
    size_t where[400], count = 0, best = 0;
    for (size_t k = 0; k < w->height * w->width; k++) {
        const long iy = (long)(oy * w->stride_y + k / w->width) - (long)w->pad_top;
        const long ix = (long)(ox * w->stride_x + k % w->width) - (long)w->pad_left;
        if (iy < 0 || ix < 0 || iy >= (long)w->in_height || ix >= (long)w->in_width)
            continue;
        where[count++] =
            ((n * w->in_height + (size_t)iy) * w->in_width + (size_t)ix) * pool->channels + c;
    }
    real sum = 0;
    for (size_t k = 0; k < count; k++) {
        sum += x[where[k]];
        if (x[where[k]] > x[where[best]])
            best = k;
    }
    y[at] = maximum ? x[where[best]] : sum / (real)count;
    for (size_t k = 0; k < count; k++)
        dx[where[k]] += maximum ? (k == best ? dy[at] : 0) : dy[at] / (real)count;
}

static void check_case(const pool_case *c, bool maximum)
{
    cohort_pool pool = {.channels = c->channels};
    cohort_window *w = &pool.window;
    assert_true(cohort_window_plan(w, c->height, c->width, c->size, c->strides, c->same));
    const size_t pixels = c->batch * w->out_height * w->out_width;
    const size_t out = pixels * c->channels, in = c->batch * c->height * c->width * c->channels;
    real *x = noise(in, 1), *dy = noise(out, 2), *y = noise(out, 3), *dx = noise(in, 4);
    real *want_y = noise(out, 5), *want_dx = noise(in, 6);
    uint16_t *winners;
    assert_ok(COHORT_ALLOCATE(&winners, out));
    memset(want_dx, 0, in * sizeof *want_dx);
    for (size_t p = 0; p < pixels; p++)
        for (size_t channel = 0; channel < c->channels; channel++)
            reference(&pool, maximum, want_y, want_dx, x, dy, p, channel);
    if (maximum) {
        cohort_max_pool_forward(y, NULL, &pool, x, c->batch);
        expect_close("y without winners", y, want_y, out);
        cohort_max_pool_forward(y, winners, &pool, x, c->batch);
        cohort_max_pool_backward(dx, &pool, dy, winners, c->batch);
    } else {
        cohort_average_pool_forward(y, &pool, x, c->batch);
        cohort_average_pool_backward(dx, &pool, dy, c->batch);
    }
    expect_close("y", y, want_y, out);
    expect_close("dx", dx, want_dx, in);
    void *all[] = {x, dy, y, dx, want_y, want_dx, winners};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cohort_free(all[i]);
}

static void test_max(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASE_COUNT; i++)
        check_case(&cases[i], true);
}

static void test_average(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASE_COUNT; i++)
        check_case(&cases[i], false);
}

static void test_threads(void **state)
{
    (void)state;
    omp_set_num_threads(3);
    test_max(state);
    test_average(state);
    omp_set_num_threads(1);
}

static void test_nan_wins(void **state)
{
    (void)state;
    const size_t size[2] = {2, 2};
    cohort_pool pool = {.channels = 1};
    assert_true(cohort_window_plan(&pool.window, 2, 2, size, size, false));
    for (size_t at = 0; at < 4; at++) {
        real x[4] = {1, 2, 3, 4}, y = 0;
        x[at] = NAN;
        cohort_max_pool_forward(&y, NULL, &pool, x, 1);
        assert_true(isnan(y));
    }
}

static void test_mean(void **state)
{
    (void)state;
    const real x[] = {1, 10, 2, 20, 6, 60, /* */ 3, 30, 5, 50, 7, 70, /* */ 1, 1, 1, 1, 1, 1};
    const real mask[] = {1, 1, 0, 0, 0, 1, 0, 0, 0};
    const real all[] = {3, 30, 5, 50, 1, 1}, masked[] = {1.5, 15, 7, 70, 0, 0};
    real y[6], dx[18];
    cohort_mean_forward(y, x, NULL, 3, 3, 2);
    expect_close("mean", y, all, 6);
    cohort_mean_forward(y, x, mask, 3, 3, 2);
    expect_close("masked mean", y, masked, 6);
    const real dy[] = {6, 12, 3, 9, 5, 5};
    const real want[] = {3, 6, 3, 6, 0, 0, 0, 0, 0, 0, 3, 9, 0, 0, 0, 0, 0, 0};
    cohort_mean_backward(dx, dy, mask, 3, 3, 2);
    expect_close("masked dx", dx, want, 18);
    cohort_mean_backward(dx, dy, NULL, 3, 3, 2);
    assert_true(dx[0] == 2 && dx[5] == 4 && dx[6] == 1);
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max),     cmocka_unit_test(test_average),
        cmocka_unit_test(test_threads), cmocka_unit_test(test_nan_wins),
        cmocka_unit_test(test_mean),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
