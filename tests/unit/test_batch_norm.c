/* Batch norm over a global batch dealt to ranks, which are threads here: the sum over ranks
 * is a shared array between barriers. In double. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/rng.h"
#include "nn/model.h"

enum { RANKS = 3, BATCH = 10, IN = 4, OUT = 2, VALUES = 256 };

/* How a batch of BATCH is dealt: the second rank has nothing. */
static const size_t shares[RANKS + 1] = {0, 7, 7, BATCH};

typedef struct meeting {
    pthread_barrier_t barrier;
    double values[RANKS][VALUES];
    size_t calls;
} meeting;

typedef struct rank {
    meeting *meeting;
    size_t index;
    cohort_recipe *recipe;
    cohort_model *model;
    real *params, *grads, *state;
    real outputs[BATCH * OUT];
    pthread_t thread;
} rank;

static real inputs[BATCH * IN], weights[BATCH * OUT];
static uint64_t samples[BATCH];

static void sum_over_ranks(void *context, double *values, size_t count)
{
    rank *self = context;
    meeting *m = self->meeting;
    memcpy(m->values[self->index], values, count * sizeof *values);
    pthread_barrier_wait(&m->barrier);
    for (size_t i = 0; i < count; i++) {
        values[i] = 0;
        for (size_t r = 0; r < RANKS; r++)
            values[i] += m->values[r][i];
    }
    if (self->index == 0)
        m->calls++;
    pthread_barrier_wait(&m->barrier);
}

static void open_rank(rank *self, meeting *m, size_t index, const char *layers)
{
    char text[1024];
    const cohort_flow flow = {.shape = cohort_shape_of(IN)};
    snprintf(text, sizeof text, "name: t\ndata: {file: t.h5}\nloss: mse\n%s", layers);
    *self = (rank){.meeting = m, .index = index};
    assert_ok(
        cohort_recipe_parse(&self->recipe, text, "case", ".", NULL, 0, cohort_model_catalog()));
    assert_ok(cohort_model_create(&self->model, self->recipe, &flow, BATCH, true));
    assert_ok(COHORT_ALLOCATE(&self->params, cohort_model_params_count(self->model)));
    assert_ok(COHORT_ALLOCATE(&self->grads, cohort_model_params_count(self->model)));
    assert_ok(COHORT_ALLOCATE(&self->state, cohort_model_state_count(self->model)));
    cohort_model_bind(self->model, self->params, self->grads, self->state);
    cohort_model_init(self->model, 4);
}

static void close_rank(rank *self)
{
    cohort_model_destroy(self->model);
    cohort_recipe_destroy(self->recipe);
    cohort_free(self->params);
    cohort_free(self->grads);
    cohort_free(self->state);
}

/* Two steps on samples [begin, end), so that the moving values matter. */
static void run(rank *self, size_t begin, size_t end, bool together)
{
    cohort_pass pass = {.batch = end - begin,
                        .training = true,
                        .samples = samples + begin,
                        .sum = together ? sum_over_ranks : NULL,
                        .sum_context = self};
    for (int step = 0; step < 2; step++) {
        const real *y = cohort_model_forward(self->model, inputs + begin * IN, &pass);
        memcpy(self->outputs, y, (end - begin) * OUT * sizeof *y);
        memcpy(cohort_model_output_grad(self->model), weights + begin * OUT,
               (end - begin) * OUT * sizeof *weights);
        cohort_model_backward(self->model, &pass);
    }
}

static void *run_rank(void *context)
{
    rank *self = context;
    run(self, shares[self->index], shares[self->index + 1], true);
    return NULL;
}

static void run_ranks(rank *ranks, meeting *m, const char *layers)
{
    m->calls = 0;
    pthread_barrier_init(&m->barrier, NULL, RANKS);
    for (size_t r = 0; r < RANKS; r++)
        open_rank(&ranks[r], m, r, layers);
    for (size_t r = 0; r < RANKS; r++)
        assert_int_equal(pthread_create(&ranks[r].thread, NULL, run_rank, &ranks[r]), 0);
    for (size_t r = 0; r < RANKS; r++)
        pthread_join(ranks[r].thread, NULL);
    pthread_barrier_destroy(&m->barrier);
}

static void assert_same_state(const rank *ranks)
{
    const size_t count = cohort_model_state_count(ranks[0].model);
    for (size_t r = 1; r < RANKS; r++)
        assert_memory_equal(ranks[r].state, ranks[0].state, count * sizeof *ranks[0].state);
    assert_true(ranks[0].state[0] != 0);
}

static void synchronised_ranks_equal_one(void **state)
{
    (void)state;
    const char *layers = "model: [dense: 5, batch_norm, tanh, batch_norm: {momentum: 0.5}, "
                         "dense: 2]\n";
    static rank ranks[RANKS], alone;
    static meeting m;
    run_ranks(ranks, &m, layers);
    open_rank(&alone, NULL, 0, layers);
    assert_true(cohort_model_uses_sum(alone.model));
    assert_true(cohort_model_needs_whole_batch(alone.model));
    run(&alone, 0, BATCH, false);
    assert_int_equal(m.calls, 8); /* two steps, two layers, forward and backward */
    for (size_t i = 0; i < BATCH; i++) {
        const size_t r = i < shares[1] ? 0 : 2;
        for (size_t k = 0; k < OUT; k++)
            assert_true(fabs(ranks[r].outputs[(i - shares[r]) * OUT + k] -
                             alone.outputs[i * OUT + k]) < 1e-12);
    }
    for (size_t i = 0; i < cohort_model_params_count(alone.model); i++) {
        double sum = 0;
        for (size_t r = 0; r < RANKS; r++)
            sum += ranks[r].grads[i];
        assert_true(fabs(sum - alone.grads[i]) < 1e-12);
    }
    for (size_t i = 0; i < cohort_model_state_count(alone.model); i++)
        assert_true(fabs(ranks[0].state[i] - alone.state[i]) < 1e-12);
    assert_same_state(ranks);
    for (size_t r = 0; r < RANKS; r++)
        close_rank(&ranks[r]);
    close_rank(&alone);
}

static void separate_statistics_keep_one_state(void **state)
{
    (void)state;
    const char *layers = "model: [batch_norm: {sync: false}, dense: 2]\n";
    static rank ranks[RANKS];
    static meeting m;
    run_ranks(ranks, &m, layers);
    assert_true(cohort_model_uses_sum(ranks[0].model));
    assert_false(cohort_model_needs_whole_batch(ranks[0].model));
    assert_same_state(ranks);
    /* The mean over all rows comes out the same; it entered twice with share 0.01. */
    double mean = 0;
    for (size_t i = 0; i < BATCH; i++)
        mean += inputs[i * IN] / BATCH;
    assert_true(fabs(ranks[0].state[0] - mean * (1 - 0.99 * 0.99)) < 1e-12);
    for (size_t r = 0; r < RANKS; r++)
        close_rank(&ranks[r]);
}

/* Keras: a frozen batch norm uses its moving values, and leaves them. */
static void frozen_layers_use_moving_values(void **state)
{
    (void)state;
    static rank alone;
    open_rank(&alone, NULL, 0, "model: [batch_norm: {name: n}, dense: 2]\nfreeze: [n]\n");
    assert_false(cohort_model_uses_sum(alone.model));
    run(&alone, 0, BATCH, false);
    for (size_t k = 0; k < IN; k++) /* tensors start at multiples of a line of 8 */
        assert_true(alone.state[k] == 0 && alone.state[8 + k] == 1 && alone.grads[k] == 0);
    const real *kernel = NULL;
    const cohort_tensors tensors = cohort_model_param_tensors(alone.model);
    for (size_t t = 0; t < tensors.count; t++)
        if (strcmp(tensors.items[t].name, "kernel") == 0)
            kernel = alone.params + tensors.items[t].offset;
    assert_non_null(kernel);
    double wanted = 0;
    for (size_t k = 0; k < IN; k++)
        wanted += inputs[k] / sqrt(1.001) * kernel[k * OUT];
    assert_true(fabs(alone.outputs[0] - wanted) < 1e-12);
    close_rank(&alone);
}

/* Moving values by hand: biased variance, momentum 0.99. */
static void moving_values_follow_keras(void **state)
{
    (void)state;
    static rank alone;
    open_rank(&alone, NULL, 0, "model: [batch_norm, dense: 2]\n");
    run(&alone, 0, BATCH, false);
    double mean = 0, variance = 0;
    for (size_t i = 0; i < BATCH; i++)
        mean += inputs[i * IN + 1] / BATCH;
    for (size_t i = 0; i < BATCH; i++)
        variance += (inputs[i * IN + 1] - mean) * (inputs[i * IN + 1] - mean) / BATCH;
    assert_true(fabs(alone.state[1] - mean * (0.01 + 0.99 * 0.01)) < 1e-14);
    assert_true(fabs(alone.state[8 + 1] - ((0.99 + 0.01 * variance) * 0.99 + 0.01 * variance)) <
                1e-14);
    close_rank(&alone);
}

int main(void)
{
    cohort_rng rng = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, 0);
    for (size_t i = 0; i < BATCH * IN; i++)
        inputs[i] = 3 * cohort_rng_double(&rng) + (double)(i % IN);
    for (size_t i = 0; i < BATCH * OUT; i++)
        weights[i] = cohort_rng_double(&rng);
    for (size_t i = 0; i < BATCH; i++)
        samples[i] = i;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synchronised_ranks_equal_one),
        cmocka_unit_test(separate_statistics_keep_one_state),
        cmocka_unit_test(frozen_layers_use_moving_values),
        cmocka_unit_test(moving_values_follow_keras),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
