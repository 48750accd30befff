#include "tests/cmocka_all.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kernel/update.h"
#include "optim/optimizer.h"

/* Four tensors with padding between: a decaying kernel, a bias, a frozen kernel, and
 * another decaying kernel that is not a multiple of anything. */
enum { COUNT = 160, STEPS = 50, FROZEN_BEGIN = 80, FROZEN_END = 96 };
static const cohort_tensor tensor_items[] = {
    {"a", "kernel", {2, {5, 7}}, 0, 35, COHORT_PARAM_DECAYS, false},
    {"a", "bias", {1, {21}}, 48, 21, 0, false},
    {"b", "kernel", {1, {16}}, FROZEN_BEGIN, 16, COHORT_PARAM_DECAYS, true},
    {"c", "kernel", {1, {53}}, 96, 53, COHORT_PARAM_DECAYS, false},
};
static const cohort_tensors tensors = {tensor_items, 4};

static const cohort_tensor *tensor_at(size_t index)
{
    for (size_t i = 0; i < tensors.count; i++)
        if (index >= tensor_items[i].offset &&
            index < tensor_items[i].offset + tensor_items[i].count)
            return &tensor_items[i];
    return NULL;
}

static bool is_trained(size_t index)
{
    const cohort_tensor *tensor = tensor_at(index);
    return tensor && !tensor->frozen;
}

static void fill(real *values, uint64_t seed)
{
    cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_TEST, 0, 0, 0);
    for (size_t i = 0; i < COUNT; i++) {
        real value = (real)(cohort_rng_normal(&rng) * 0.1);
        values[i] = tensor_at(i) ? value : 0;
    }
}

static cohort_optimizer_recipe recipe_of(int type)
{
    return (cohort_optimizer_recipe){
        .type = type, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .rho = 0.9, .epsilon = 1e-7};
}

/* The reference: one scalar at a time in double, written from the papers' and Keras's
 * sequences of assignments rather than from the kernels. */
typedef struct scalar {
    double p, first, second;
} scalar;

static double reference_gradient(const cohort_optimizer_recipe *recipe, double g, double p,
                                 double norm, bool decays)
{
    if (recipe->clip_norm > 0)
        g = g * recipe->clip_norm / fmax(norm, recipe->clip_norm);
    if (recipe->clip_value > 0)
        g = fmin(fmax(g, -recipe->clip_value), recipe->clip_value);
    if (decays && recipe->type != COHORT_ADAMW)
        g += recipe->weight_decay * p;
    if (decays && p != 0)
        g += copysign(recipe->l1, p);
    return g;
}

static void reference_adam(const cohort_optimizer_recipe *recipe, scalar *s, double g, double lr,
                           int t)
{
    s->first = recipe->beta1 * s->first + (1 - recipe->beta1) * g;
    s->second = recipe->beta2 * s->second + (1 - recipe->beta2) * g * g;
    double corrected1 = s->first / (1 - pow(recipe->beta1, t));
    double correction2 = sqrt(1 - pow(recipe->beta2, t));
    double corrected2 = sqrt(s->second) / correction2;
    s->p -= lr * corrected1 / (corrected2 + recipe->epsilon / correction2);
}

static void reference_step(const cohort_optimizer_recipe *recipe, scalar *s, double g, double lr,
                           int t, bool decays)
{
    switch (recipe->type) {
    case COHORT_SGD:
        s->first = recipe->momentum * s->first - lr * g;
        s->p += recipe->nesterov ? recipe->momentum * s->first - lr * g : s->first;
        break;
    case COHORT_ADAMW:
        s->p *= decays ? 1 - lr * recipe->weight_decay : 1;
        /* fallthrough */
    case COHORT_ADAM:
        reference_adam(recipe, s, g, lr, t);
        break;
    case COHORT_RMSPROP:
        s->second = recipe->rho * s->second + (1 - recipe->rho) * g * g;
        s->first = recipe->momentum * s->first + lr * g / sqrt(s->second + recipe->epsilon);
        s->p -= s->first;
        break;
    case COHORT_ADAGRAD:
        s->second += g * g;
        s->p -= lr * g / sqrt(s->second + recipe->epsilon);
        break;
    }
}

static double reference_norm(const real *grads)
{
    double sum = 0;
    for (size_t i = 0; i < COUNT; i++)
        sum += is_trained(i) ? (double)grads[i] * (double)grads[i] : 0;
    return sqrt(sum);
}

/* Runs STEPS steps beside the reference; the learning rate changes on the way. */
static void against_reference(const cohort_optimizer_recipe *recipe)
{
    real params[COUNT] = {0}, start[COUNT], grads[COUNT] = {0};
    scalar reference[COUNT];
    fill(params, 1);
    params[3] = 0; /* sign(0) */
    memcpy(start, params, sizeof start);
    for (size_t i = 0; i < COUNT; i++)
        reference[i] = (scalar){params[i], 0, recipe->type == COHORT_ADAGRAD ? 0.1 : 0};
    cohort_optimizer *optimizer;
    assert_ok(cohort_optimizer_create(&optimizer, recipe, &tensors, COUNT));
    for (int t = 1; t <= STEPS; t++) {
        fill(grads, (uint64_t)(100 + t));
        double norm = reference_norm(grads), lr = recipe->lr * (1 + 0.1 * (t % 3));
        for (size_t i = 0; i < COUNT; i++) {
            if (!is_trained(i))
                continue;
            bool decays = (tensor_at(i)->flags & COHORT_PARAM_DECAYS) != 0;
            double used = reference_gradient(recipe, grads[i], reference[i].p, norm, decays);
            reference_step(recipe, &reference[i], used, lr, t, decays);
        }
        double said = cohort_optimizer_step(optimizer, params, grads, lr, (uint64_t)t);
        assert_true(recipe->clip_norm > 0 ? fabs(said - norm) <= 1e-12 * norm : said == 0);
    }
    double moved = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (!is_trained(i)) {
            assert_true(params[i] == start[i]);
            continue;
        }
        moved = fmax(moved, fabs(reference[i].p - (double)start[i]));
        if (fabs((double)params[i] - reference[i].p) > 3e-6)
            fail_msg("element %zu: %.9g, expected %.9g", i, (double)params[i], reference[i].p);
    }
    assert_true(moved > 1e-3); /* or the comparison says nothing */
    for (size_t slot = 0; slot < cohort_optimizer_slot_count(optimizer); slot++)
        for (size_t i = 0; i < COUNT; i++)
            if (!tensor_at(i))
                assert_true(cohort_optimizer_slot(optimizer, slot)[i] == 0);
    cohort_optimizer_destroy(optimizer);
}

static void with_decay_and_clipping(cohort_optimizer_recipe recipe)
{
    against_reference(&recipe);
    recipe.weight_decay = 0.05;
    against_reference(&recipe);
    recipe.l1 = 0.003;
    against_reference(&recipe);
    recipe.clip_norm = 0.4;
    against_reference(&recipe);
    recipe.clip_value = 0.02;
    against_reference(&recipe);
    recipe.clip_norm = 0;
    against_reference(&recipe);
}

static void sgd_follows_its_reference(void **state)
{
    (void)state;
    cohort_optimizer_recipe recipe = recipe_of(COHORT_SGD);
    with_decay_and_clipping(recipe);
    recipe.momentum = 0.9;
    with_decay_and_clipping(recipe);
    recipe.nesterov = true;
    with_decay_and_clipping(recipe);
}

static void adam_follows_its_reference(void **state)
{
    (void)state;
    with_decay_and_clipping(recipe_of(COHORT_ADAM));
    with_decay_and_clipping(recipe_of(COHORT_ADAMW));
}

static void rmsprop_follows_its_reference(void **state)
{
    (void)state;
    cohort_optimizer_recipe recipe = recipe_of(COHORT_RMSPROP);
    recipe.lr = 0.002;
    with_decay_and_clipping(recipe);
    recipe.momentum = 0.5;
    with_decay_and_clipping(recipe);
}

static void adagrad_follows_its_reference(void **state)
{
    (void)state;
    with_decay_and_clipping(recipe_of(COHORT_ADAGRAD));
}

/* Closed forms under a constant gradient g from p = 0, one parameter. */
static double after_constant(const cohort_optimizer_recipe *recipe, double g, int steps)
{
    const cohort_tensor one = {"a", "kernel", {1, {1}}, 0, 1, COHORT_PARAM_DECAYS, false};
    const cohort_tensors list = {&one, 1};
    cohort_optimizer *optimizer;
    assert_ok(cohort_optimizer_create(&optimizer, recipe, &list, 16));
    real params[16] = {0}, grads[16] = {(real)g};
    for (int t = 1; t <= steps; t++)
        cohort_optimizer_step(optimizer, params, grads, recipe->lr, (uint64_t)t);
    cohort_optimizer_destroy(optimizer);
    return (double)params[0];
}

static void closed_forms(void **state)
{
    (void)state;
    cohort_optimizer_recipe recipe = recipe_of(COHORT_SGD);
    assert_true(fabs(after_constant(&recipe, 0.5, 50) + 50 * 0.01 * 0.5) < 1e-5);
    /* v_t = -lr g (1 - mu^t) / (1 - mu); p = sum of v. */
    recipe.momentum = 0.9;
    double sum = 0;
    for (int t = 1; t <= 50; t++)
        sum -= 0.01 * 0.5 * (1 - pow(0.9, t)) / 0.1;
    assert_true(fabs(after_constant(&recipe, 0.5, 50) - sum) < 1e-5);
    /* Corrected moments are g and g^2: every step is lr. */
    recipe = recipe_of(COHORT_ADAM);
    assert_true(fabs(after_constant(&recipe, -3, 50) - 50 * 0.01) < 1e-5);
    /* v_t = g^2 (1 - rho^t). */
    recipe = recipe_of(COHORT_RMSPROP);
    sum = 0;
    for (int t = 1; t <= 50; t++)
        sum += 0.01 / sqrt(1 - pow(0.9, t));
    assert_true(fabs(after_constant(&recipe, -3, 50) - sum) < 1e-5);
    recipe = recipe_of(COHORT_ADAGRAD);
    sum = 0;
    for (int t = 1; t <= 50; t++)
        sum += 0.01 * 3 / sqrt(0.1 + 9 * t + 1e-7);
    assert_true(fabs(after_constant(&recipe, -3, 50) - sum) < 1e-5);
}

static void non_finite_changes_nothing(void **state)
{
    (void)state;
    cohort_optimizer_recipe recipe = recipe_of(COHORT_ADAM);
    cohort_optimizer *optimizer;
    assert_ok(cohort_optimizer_create(&optimizer, &recipe, &tensors, COUNT));
    real params[COUNT], before[COUNT], grads[COUNT], slots[2][COUNT];
    fill(params, 1);
    fill(grads, 2);
    cohort_optimizer_step(optimizer, params, grads, 0.01, 1);
    memcpy(before, params, sizeof before);
    for (size_t i = 0; i < 2; i++)
        memcpy(slots[i], cohort_optimizer_slot(optimizer, i), sizeof slots[i]);
    const real bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        grads[60] = bad[i];
        assert_true(!isfinite(cohort_optimizer_step(optimizer, params, grads, 0.01, 2)));
        assert_memory_equal(params, before, sizeof before);
        for (size_t j = 0; j < 2; j++)
            assert_memory_equal(slots[j], cohort_optimizer_slot(optimizer, j), sizeof slots[j]);
    }
    /* What is not trained does not count. */
    grads[60] = 0;
    grads[FROZEN_BEGIN] = NAN;
    assert_true(isfinite(cohort_optimizer_step(optimizer, params, grads, 0.01, 2)) != 0);
    assert_memory_equal(params + FROZEN_BEGIN, before + FROZEN_BEGIN,
                        sizeof(real[FROZEN_END - FROZEN_BEGIN]));
    cohort_optimizer_destroy(optimizer);
}

/* A longer vector: several blocks, several threads. */
enum { LONG = 120000 };
static real long_params[3][LONG], long_grads[LONG];

static void make_long(void)
{
    cohort_rng rng = cohort_rng_make(9, COHORT_RNG_TEST, 0, 0, 0);
    for (size_t i = 0; i < LONG; i++) {
        long_grads[i] = (real)cohort_rng_normal(&rng);
        for (size_t j = 0; j < 3; j++)
            long_params[j][i] = (real)i * REAL(1e-5) - REAL(0.5);
    }
}

static void slices_equal_the_whole(void **state)
{
    (void)state;
    const cohort_tensor items[] = {
        {"a", "kernel", {1, {50001}}, 0, 50001, COHORT_PARAM_DECAYS, false},
        {"a", "bias", {1, {17}}, 50016, 17, 0, false},
        {"b", "kernel", {1, {60000}}, 50048, 60000, COHORT_PARAM_DECAYS, false}};
    const cohort_tensors list = {items, 3};
    const size_t cuts[] = {0, 16, 48, 4096, 50000, 50016, 50032, 99984, LONG};
    for (int type = COHORT_SGD; type <= COHORT_ADAGRAD; type++) {
        make_long();
        cohort_optimizer_recipe recipe = recipe_of(type);
        recipe.weight_decay = 0.01;
        recipe.momentum = 0.9;
        recipe.clip_norm = 5;
        cohort_optimizer *one, *threaded, *sliced;
        assert_ok(cohort_optimizer_create(&one, &recipe, &list, LONG));
        assert_ok(cohort_optimizer_create(&threaded, &recipe, &list, LONG));
        assert_ok(cohort_optimizer_create(&sliced, &recipe, &list, LONG));
        for (uint64_t step = 1; step <= 3; step++) {
            omp_set_num_threads(1);
            double norm = cohort_optimizer_step(one, long_params[0], long_grads, 0.01, step);
            omp_set_num_threads(3);
            assert_true(cohort_optimizer_step(threaded, long_params[1], long_grads, 0.01, step) ==
                        norm);
            for (size_t i = sizeof cuts / sizeof *cuts - 1; i > 0; i--)
                cohort_optimizer_update_range(sliced, long_params[2], long_grads, norm, 0.01, step,
                                              cuts[i - 1], cuts[i]);
        }
        assert_memory_equal(long_params[0], long_params[1], sizeof long_params[0]);
        assert_memory_equal(long_params[0], long_params[2], sizeof long_params[0]);
        cohort_optimizer_destroy(one);
        cohort_optimizer_destroy(threaded);
        cohort_optimizer_destroy(sliced);
    }
}

static void square_sum_is_in_double(void **state)
{
    (void)state;
    make_long();
    for (size_t count = 0; count < 100; count++) {
        double sum = 0;
        for (size_t i = 0; i < count; i++)
            sum += (double)long_grads[i] * (double)long_grads[i];
        assert_true(fabs(cohort_update_square_sum(long_grads, count) - sum) <= 1e-13 * sum);
    }
    const real huge[2] = {FLT_MAX, FLT_MAX};
    assert_true(isfinite(cohort_update_square_sum(huge, 2)) != 0);
}

/* Wherever in whole vectors or beside them. */
static void what_is_not_finite_is_seen(void **state)
{
    (void)state;
    const real odd[] = {(real)INFINITY, -(real)INFINITY, (real)NAN, -(real)NAN};
    make_long();
    long_grads[0] = FLT_MAX;
    long_grads[1] = -FLT_MAX;
    for (size_t count = 0; count < 150; count++) {
        assert_true(cohort_update_is_finite(long_grads, count));
        for (size_t at = 0; at < count; at++) {
            const real kept = long_grads[at];
            long_grads[at] = odd[at % 4];
            assert_false(cohort_update_is_finite(long_grads, count));
            long_grads[at] = kept;
        }
    }
}

static void misplaced_tensors_are_refused(void **state)
{
    (void)state;
    cohort_optimizer_recipe recipe = recipe_of(COHORT_SGD);
    cohort_optimizer *optimizer;
    assert_fails(cohort_optimizer_create(&optimizer, &recipe, &tensors, 100), COHORT_INTERNAL,
                 "c/kernel");
    assert_null(optimizer);
}

static void near(double value, double expected)
{
    if (fabs(value - expected) > 1e-12)
        fail_msg("%.15g, expected %.15g", value, expected);
}

static void constant_and_step_schedules(void **state)
{
    (void)state;
    cohort_schedule_recipe schedule = {.type = COHORT_SCHEDULE_CONSTANT};
    near(cohort_schedule_lr(&schedule, 0.5, 0, 10, 100), 0.5);
    near(cohort_schedule_lr(&schedule, 0.5, 99, 10, 100), 0.5);
    schedule.warmup_steps = 4;
    const double warm[] = {0.125, 0.25, 0.375, 0.5, 0.5};
    for (uint64_t i = 0; i < 5; i++)
        near(cohort_schedule_lr(&schedule, 0.5, i, 10, 100), warm[i]);
    double milestones[] = {2, 5};
    schedule = (cohort_schedule_recipe){
        .type = COHORT_SCHEDULE_STEP, .milestones = {milestones, 2}, .factor = 0.1};
    near(cohort_schedule_lr(&schedule, 1, 19, 10, 100), 1);
    near(cohort_schedule_lr(&schedule, 1, 20, 10, 100), 0.1);
    near(cohort_schedule_lr(&schedule, 1, 49, 10, 100), 0.1);
    near(cohort_schedule_lr(&schedule, 1, 50, 10, 100), 0.01);
}

static void falling_schedules(void **state)
{
    (void)state;
    cohort_schedule_recipe schedule = {.type = COHORT_SCHEDULE_COSINE, .final = 0.1};
    near(cohort_schedule_lr(&schedule, 2, 0, 10, 100), 2);
    near(cohort_schedule_lr(&schedule, 2, 50, 10, 100), 1.1);
    near(cohort_schedule_lr(&schedule, 2, 25, 10, 100), 2 * (0.1 + 0.45 * (1 + sqrt(0.5))));
    near(cohort_schedule_lr(&schedule, 2, 100, 10, 100), 0.2);
    near(cohort_schedule_lr(&schedule, 2, 150, 10, 100), 0.2);
    schedule.warmup_steps = 20;
    near(cohort_schedule_lr(&schedule, 2, 9, 10, 100), 1);
    near(cohort_schedule_lr(&schedule, 2, 19, 10, 100), 2);
    near(cohort_schedule_lr(&schedule, 2, 60, 10, 100), 1.1);
    schedule = (cohort_schedule_recipe){.type = COHORT_SCHEDULE_LINEAR, .final = 0.5};
    near(cohort_schedule_lr(&schedule, 2, 0, 10, 100), 2);
    near(cohort_schedule_lr(&schedule, 2, 50, 10, 100), 1.5);
    near(cohort_schedule_lr(&schedule, 2, 99, 10, 100), 1.01);
    near(cohort_schedule_lr(&schedule, 2, 100, 10, 100), 1);
}

static void one_cycle_schedule(void **state)
{
    (void)state;
    cohort_schedule_recipe schedule = {
        .type = COHORT_SCHEDULE_ONE_CYCLE, .peak_epoch = 2, .final = 0};
    near(cohort_schedule_lr(&schedule, 1, 0, 10, 100), 0.05);
    near(cohort_schedule_lr(&schedule, 1, 9, 10, 100), 0.5);
    near(cohort_schedule_lr(&schedule, 1, 19, 10, 100), 1);
    near(cohort_schedule_lr(&schedule, 1, 20, 10, 100), 1);
    near(cohort_schedule_lr(&schedule, 1, 60, 10, 100), 0.5);
    near(cohort_schedule_lr(&schedule, 1, 99, 10, 100), 1.0 / 80);
    /* A run that ends before the peak, and one of no steps. */
    near(cohort_schedule_lr(&schedule, 1, 4, 10, 5), 0.25);
    near(cohort_schedule_lr(&schedule, 1, 0, 10, 0), 0.05);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows_its_reference),
        cmocka_unit_test(adam_follows_its_reference),
        cmocka_unit_test(rmsprop_follows_its_reference),
        cmocka_unit_test(adagrad_follows_its_reference),
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(non_finite_changes_nothing),
        cmocka_unit_test(slices_equal_the_whole),
        cmocka_unit_test(square_sum_is_in_double),
        cmocka_unit_test(what_is_not_finite_is_seen),
        cmocka_unit_test(misplaced_tensors_are_refused),
        cmocka_unit_test(constant_and_step_schedules),
        cmocka_unit_test(falling_schedules),
        cmocka_unit_test(one_cycle_schedule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
