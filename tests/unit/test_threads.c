/* The number of OpenMP threads changes no bit of outputs, gradients and updates. */
#include "tests/cmocka_all.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernel/conv.h"
#include "kernel/gemm.h"
#include "nn/model.h"
#include "optim/optimizer.h"

enum { THREADS_MOST = 4, STEPS = 2, CHOICES_MOST = 16 };

/* A network on samples of some shape; DIMS of tokens: time, vocabulary. */
typedef struct network {
    const char *name;
    cohort_flow input;
    size_t batch;
    const char *layers;
} network;

#define REALS(...)                                                                                 \
    {                                                                                              \
        .shape = {                                                                                 \
            .dims = {__VA_ARGS__},                                                                 \
            .dim_count = sizeof(size_t[]){__VA_ARGS__} / sizeof(size_t)                            \
        }                                                                                          \
    }

static const network networks[] = {
    /* k = 784: the size that OpenBLAS cuts differently when it has threads. */
    {"mlp", REALS(784), 61,
     "- dense: {units: 512, activation: relu}\n- dense: {units: 300, activation: tanh}\n"
     "- layer_norm\n- dense: 10\n"},
    {"images", REALS(28, 28, 1), 29,
     "- conv2d: {filters: 32, kernel: 3, activation: relu}\n- max_pool2d\n"
     "- conv2d: {filters: 64, kernel: 3, activation: relu}\n- max_pool2d\n"
     "- conv2d: {filters: 64, kernel: 3, activation: relu}\n"
     "- flatten\n- dense: {units: 64, activation: relu}\n- dense: 10\n"},
    {"residual", REALS(12, 12, 3), 37,
     "- conv2d: {filters: 16, kernel: 3, padding: same, bias: false}\n- batch_norm\n"
     "- residual: {layers: [{conv2d: {filters: 16, kernel: 3, padding: same, bias: false}}, "
     "batch_norm, relu, {conv2d: {filters: 16, kernel: 3, padding: same}}]}\n"
     "- conv2d: {filters: 48, kernel: 3, strides: 2, padding: same, activation: relu}\n"
     "- conv2d: {filters: 24, kernel: 1}\n- conv2d: {filters: 128, kernel: 3, padding: same}\n"
     "- global_average_pool\n- dense: 10\n"},
    {"frozen", REALS(16, 16, 2), 20,
     "- conv2d: {filters: 16, kernel: 5}\n- conv2d: {filters: 16, kernel: 3, name: fixed}\n"
     "- flatten\n- dense: 10\nfreeze: [fixed]\n"},
    {"lstm", REALS(9, 33), 70,
     "- lstm: {units: 48, bidirectional: true, return_sequences: true, dropout: 0.2}\n"
     "- lstm: 40\n- dense: 10\n"},
    {"attention", REALS(40, 48), 11,
     "- residual: {layers: [layer_norm, {attention: {heads: 6, causal: true, dropout: 0.1}}]}\n"
     "- dense: {units: 96, activation: gelu}\n- dropout: 0.1\n- flatten\n- dense: 10\n"},
    {"tokens",
     {.shape = {.dims = {50}, .dim_count = 1}, .tokens = true, .vocabulary = 60},
     33,
     "- embedding: {units: 40, mask: true}\n- position_embedding\n- attention: 4\n"
     "- global_average_pool\n- dense: 10\n"},
};
enum { NETWORK_COUNT = sizeof networks / sizeof *networks };

/* What a run leaves. */
typedef struct outcome {
    size_t output_count, count;
    real *outputs, *grads, *params;
    double norm;
} outcome;

static void outcome_free(outcome *o)
{
    cohort_free(o->outputs);
    cohort_free(o->grads);
    cohort_free(o->params);
}

static void *make_input(const network *n)
{
    const size_t count = n->batch * cohort_shape_count(&n->input.shape);
    cohort_rng rng = cohort_rng_make(1, COHORT_RNG_TEST, 1, count, 0);
    real *x;
    assert_ok(COHORT_ALLOCATE(&x, count));
    int32_t *tokens = (int32_t *)x;
    for (size_t i = 0; i < count; i++) {
        const float value = cohort_rng_float(&rng);
        if (n->input.tokens)
            tokens[i] = i % 50 < 20 + i / 50 ? (int32_t)(value * 60) : 0;
        else
            x[i] = 2 * (real)value - 1;
    }
    return x;
}

/* Two passes, the second accumulated, and a step of the optimizer. */
static void passes(outcome *o, cohort_model *model, const network *n, const void *x)
{
    uint64_t samples[128];
    for (size_t i = 0; i < n->batch; i++)
        samples[i] = i * 3;
    for (uint64_t step = 0; step < STEPS; step++) {
        const cohort_pass pass = {.batch = n->batch - step,
                                  .training = true,
                                  .accumulate = step > 0,
                                  .seed = 3,
                                  .step = step,
                                  .samples = samples};
        const size_t count = pass.batch * cohort_shape_count(cohort_model_output_shape(model));
        const real *y = cohort_model_forward(model, x, &pass);
        memcpy(o->outputs + step * o->output_count, y, count * sizeof *y);
        real *dy = cohort_model_output_grad(model);
        for (size_t i = 0; i < count; i++)
            dy[i] = y[i] - (real)(i % 7 == 0);
        cohort_model_backward(model, &pass);
    }
}

/* The network planned on PLANNED threads, by the choices of WAY (< 0: the rule's), run on
 * THREADS. */
static void run(outcome *o, const network *n, int way, int planned, int threads)
{
    char text[2048];
    cohort_recipe *recipe;
    cohort_model *model;
    cohort_optimizer *optimizer;
    real *state;
    snprintf(text, sizeof text,
             "name: t\ndata: {file: t.h5}\nloss: cross_entropy\n"
             "optimizer: {type: adamw, lr: 0.01, clip_norm: 0.5, weight_decay: 0.1}\nmodel:\n%s",
             n->layers);
    omp_set_num_threads(planned);
    assert_ok(cohort_recipe_parse(&recipe, text, "t", ".", NULL, 0, cohort_model_catalog()));
    assert_ok(cohort_model_create(&model, recipe, &n->input, n->batch, true));
    if (way >= 0) {
        uint32_t choices[CHOICES_MOST];
        assert_true(cohort_model_choice_count(model) <= CHOICES_MOST);
        for (size_t i = 0; i < CHOICES_MOST; i++)
            choices[i] = (uint32_t)(way | way << 2 | way << 4);
        cohort_model_choose(model, choices);
    }
    o->count = cohort_model_params_count(model);
    o->output_count = n->batch * cohort_shape_count(cohort_model_output_shape(model));
    assert_ok(COHORT_ALLOCATE(&o->outputs, STEPS * o->output_count));
    assert_ok(COHORT_ALLOCATE(&o->params, o->count));
    assert_ok(COHORT_ALLOCATE(&o->grads, o->count));
    assert_ok(COHORT_ALLOCATE(&state, cohort_model_state_count(model) + 1));
    cohort_model_bind(model, o->params, o->grads, state);
    cohort_model_init(model, 1);
    void *x = make_input(n);
    omp_set_num_threads(threads);
    passes(o, model, n, x);
    const cohort_tensors tensors = cohort_model_param_tensors(model);
    assert_ok(cohort_optimizer_create(&optimizer, &recipe->optimizer, &tensors, o->count));
    o->norm = cohort_optimizer_step(optimizer, o->params, o->grads, 0.01, 1);
    cohort_optimizer_destroy(optimizer);
    cohort_model_destroy(model);
    cohort_recipe_destroy(recipe);
    cohort_free(state);
    cohort_free(x);
}

static void expect_same(const network *n, const char *what, int way, int threads, const real *a,
                        const real *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s, way %d: %s[%zu] is %a on 1 thread, %a on %d", n->name, way, what, i,
                     (double)a[i], (double)b[i], threads);
}

static void test_networks(void **state)
{
    (void)state;
    for (int i = 0; i < NETWORK_COUNT; i++) {
        const network *n = &networks[i];
        const int ways = strstr(n->layers, "conv2d") ? COHORT_CONV_WAY_COUNT : 0;
        for (int way = -1; way < ways; way++) {
            outcome one = {0};
            run(&one, n, way, 1, 1);
            assert_true(one.norm > 0.5); /* so that clipping was tested */
            for (int threads = 2; threads <= THREADS_MOST; threads++) {
                outcome many = {0};
                run(&many, n, way, threads == 3 ? 2 : threads, threads);
                expect_same(n, "outputs", way, threads, one.outputs, many.outputs,
                            STEPS * one.output_count);
                expect_same(n, "gradients", way, threads, one.grads, many.grads, one.count);
                expect_same(n, "parameters", way, threads, one.params, many.params, one.count);
                assert_memory_equal(&one.norm, &many.norm, sizeof one.norm);
                outcome_free(&many);
            }
            outcome_free(&one);
        }
    }
}

/* Sizes around those at which OpenBLAS or the panels change their ways. */
static void test_products(void **state)
{
    static const size_t sizes[][3] = {
        {1, 1, 1},       {5, 3, 2},       {64, 64, 576},  {576, 64, 64},   {3, 512, 784},
        {100, 100, 100}, {101, 100, 100}, {9, 400, 1000}, {784, 512, 128}, {128, 512, 784},
        {700, 33, 301},  {33, 700, 785},  {0, 3, 4},      {30, 40, 0},     {1600, 10, 577}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t m = sizes[i][0], n = sizes[i][1], k = sizes[i][2];
        real *a, *b, *c[THREADS_MOST];
        assert_ok(COHORT_ALLOCATE(&a, m * k + 1));
        assert_ok(COHORT_ALLOCATE(&b, k * n + 1));
        for (size_t j = 0; j < m * k; j++)
            a[j] = (real)(j * 7919 % 1009) / 1009 - REAL(0.4);
        for (size_t j = 0; j < k * n; j++)
            b[j] = (real)(j * 6287 % 1013) / 1013 - REAL(0.6);
        for (int way = 0; way < 4; way++) {
            const cohort_transpose ta = way & 1 ? COHORT_TRANSPOSED : COHORT_PLAIN;
            const cohort_transpose tb = way & 2 ? COHORT_TRANSPOSED : COHORT_PLAIN;
            for (int t = 0; t < THREADS_MOST; t++) {
                omp_set_num_threads(t + 1);
                assert_ok(COHORT_ALLOCATE(&c[t], m * n + 1));
                cohort_gemm_dense(ta, tb, m, n, k, a, b, true, c[t]);
                assert_int_equal(omp_get_max_threads(), t + 1);
                assert_memory_equal(c[t], c[0], m * n * sizeof(real));
                if (m && n) { /* and the last element is right */
                    double want = 0;
                    for (size_t p = 0; p < k; p++)
                        want += (double)a[ta == COHORT_PLAIN ? (m - 1) * k + p : p * m + m - 1] *
                                (double)b[tb == COHORT_PLAIN ? p * n + n - 1 : (n - 1) * k + p];
                    assert_float_equal((double)c[t][m * n - 1], want, 1e-3);
                }
            }
            for (int t = 0; t < THREADS_MOST; t++)
                cohort_free(c[t]);
        }
        cohort_free(a);
        cohort_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_networks),
    };
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
