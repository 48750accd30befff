/* Losses, metrics and initialisation, in double. */
#include "tests/cmocka_all.h"

#include <math.h>

#include "base/rng.h"
#include "nn/init.h"
#include "nn/loss.h"
#include "nn/metrics.h"

enum { BATCH = 3, WIDTH_MAX = 4 };

/* A loss as the recipe would give it. */
typedef struct setting {
    const char *name;
    size_t width, target_width; /* target_width 0: class numbers */
    cohort_loss_recipe config;
} setting;

static cohort_status make(cohort_loss *loss, const setting *s)
{
    const cohort_key_table table = {.name = s->name};
    cohort_loss_recipe config = s->config;
    const cohort_variant variant = {.table = &table, .config = &config, .line = 7};
    return cohort_loss_create(loss, &variant, &cohort_shape_of(s->width), s->target_width);
}

static const real logits[BATCH * WIDTH_MAX] = {0.3, -1.2, 2.0, 0.1, -0.4, 0.9,
                                               1.1, -2.2, 0.6, 3.0, -0.7, 0.2};
static const int32_t labels[BATCH] = {1, 0, 0};
static const real one_hot[BATCH * 3] = {0, 1, 0, 1, 0, 0, 1, 0, 0};
static const real rows[BATCH * WIDTH_MAX] = {0.1, 0.9, 0, 1, 1, 0, 0.5, 0.25, 0, 0, 1, 1};

/* Gradients against central differences, to 1e-8. */
static void check_gradient(const setting *s)
{
    cohort_loss loss;
    assert_ok(make(&loss, s));
    const cohort_targets targets = {.labels = s->target_width ? NULL : labels,
                                    .values = s->target_width ? rows : NULL};
    real x[BATCH * WIDTH_MAX], dx[BATCH * WIDTH_MAX];
    const size_t count = BATCH * s->width;
    memcpy(x, logits, sizeof x);
    cohort_loss_sums sums = {0};
    cohort_loss_run(&sums, dx, &loss, x, &targets, BATCH, 1.0 / BATCH);
    assert_true(sums.count == BATCH);
    for (size_t i = 0; i < count; i++) {
        const double h = 1e-5;
        cohort_loss_sums up = {0}, down = {0};
        x[i] = logits[i] + h;
        cohort_loss_run(&up, NULL, &loss, x, &targets, BATCH, 0);
        x[i] = logits[i] - h;
        cohort_loss_run(&down, NULL, &loss, x, &targets, BATCH, 0);
        x[i] = logits[i];
        const double wanted = (up.loss - down.loss) / (2 * h * BATCH);
        if (!(fabs(dx[i] - wanted) < 1e-8))
            fail_msg("%s %zu: %.12g, expected %.12g", s->name, i, dx[i], wanted);
    }
    /* In place, and with the same sums. */
    cohort_loss_sums again = {0};
    cohort_loss_run(&again, x, &loss, x, &targets, BATCH, 1.0 / BATCH);
    assert_memory_equal(x, dx, count * sizeof *x);
    assert_true(again.loss == sums.loss);
}

static double three_weights[] = {0.5, 2, 1}, two_weights[] = {0.25, 3};

static void gradients_match_differences(void **state)
{
    (void)state;
    const cohort_reals three = {three_weights, 3}, two = {two_weights, 2};
    const setting settings[] = {
        {"cross_entropy", 3, 0, {.delta = 0}},
        {"cross_entropy", 3, 0, {.label_smoothing = 0.1, .class_weights = three}},
        {"cross_entropy", 3, 3, {.delta = 0}},
        {"cross_entropy", 3, 3, {.label_smoothing = 0.3, .class_weights = three}},
        {"binary_cross_entropy", 1, 0, {.delta = 0}},
        {"binary_cross_entropy", 1, 0, {.label_smoothing = 0.2, .class_weights = two}},
        {"binary_cross_entropy", 1, 1, {.class_weights = two}},
        {"binary_cross_entropy", 4, 4, {.label_smoothing = 0.2}},
        {"mse", 1, 0, {.delta = 0}},
        {"mse", 4, 4, {.delta = 0}},
        {"huber", 1, 0, {.delta = 0.9}},
        {"huber", 4, 4, {.delta = 0.4}},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        check_gradient(&settings[i]);
}

/* By hand from Keras's definitions. */
static void values_follow_the_definitions(void **state)
{
    (void)state;
    cohort_loss loss;
    cohort_loss_sums sums = {0};
    const cohort_targets by_label = {.labels = labels}, by_row = {.values = one_hot};
    const cohort_reals three = {three_weights, 3};
    double wanted = 0;
    for (int i = 0; i < BATCH; i++) {
        const real *x = logits + 3 * i;
        double total = exp(x[0]) + exp(x[1]) + exp(x[2]);
        for (int c = 0; c < 3; c++) {
            double target = 0.9 * (labels[i] == c) + 0.1 / 3;
            wanted -= three_weights[labels[i]] * target * log(exp(x[c]) / total);
        }
    }
    assert_ok(
        make(&loss,
             &(setting){"cross_entropy", 3, 0, {.label_smoothing = 0.1, .class_weights = three}}));
    assert_int_equal(loss.class_count, 3);
    cohort_loss_run(&sums, NULL, &loss, logits, &by_label, BATCH, 0);
    assert_true(fabs(sums.loss - wanted) < 1e-12);
    assert_true(sums.correct == 1); /* rows' largest: 2, 2, 0 against 1, 0, 0 */
    assert_ok(
        make(&loss,
             &(setting){"cross_entropy", 3, 3, {.label_smoothing = 0.1, .class_weights = three}}));
    sums = (cohort_loss_sums){0};
    cohort_loss_run(&sums, NULL, &loss, logits, &by_row, BATCH, 0);
    assert_true(fabs(sums.loss - wanted) < 1e-12 && sums.correct == 1);

    assert_ok(make(&loss, &(setting){"binary_cross_entropy", 1, 0, {.delta = 0}}));
    assert_int_equal(loss.class_count, 2);
    sums = (cohort_loss_sums){0};
    const real extreme[] = {1000, -1000, 0};
    cohort_loss_run(&sums, NULL, &loss, extreme, &by_label, BATCH, 0);
    assert_true(fabs(sums.loss - log(2)) < 1e-12 && sums.correct == 3);

    assert_ok(make(&loss, &(setting){"huber", 2, 2, {.delta = 1}}));
    sums = (cohort_loss_sums){0};
    cohort_loss_run(&sums, NULL, &loss, (real[]){3, 0.5},
                    &(cohort_targets){.values = (real[]){0, 0}}, 1, 0);
    assert_true(fabs(sums.loss - (2.5 + 0.125) / 2) < 1e-15);
    assert_false(loss.counts_correct);
}

/* xor: outputs of a sigmoid against class numbers 0 and 1. */
static void mse_counts_sides_of_a_half(void **state)
{
    (void)state;
    cohort_loss loss;
    assert_ok(make(&loss, &(setting){"mse", 1, 0, {.delta = 0}}));
    assert_true(loss.counts_correct && loss.class_count == 0);
    cohort_loss_sums sums = {0};
    cohort_loss_run(&sums, NULL, &loss, (real[]){0.1, 0.9, 0.6, 0.7, -2.6},
                    &(cohort_targets){.labels = (int32_t[]){0, 1, 0, 1, -3}}, 5, 0);
    assert_true(sums.correct == 4 && sums.count == 5);
    assert_true(fabs(sums.loss - (0.01 + 0.01 + 0.36 + 0.09 + 0.16)) < 1e-12);
}

static void ignored_and_impossible_labels(void **state)
{
    (void)state;
    cohort_loss loss;
    assert_ok(make(&loss, &(setting){"cross_entropy", 3, 0, {.delta = 0}}));
    cohort_loss_sums sums = {0};
    real dx[9];
    cohort_loss_run(&sums, dx, &loss, logits, &(cohort_targets){.labels = (int32_t[]){1, -1, 2}}, 3,
                    1);
    assert_true(sums.count == 2 && isfinite(sums.loss));
    assert_true(dx[3] == 0 && dx[4] == 0 && dx[5] == 0 && dx[6] != 0);
    cohort_loss_run(&sums, dx, &loss, logits, &(cohort_targets){.labels = (int32_t[]){1, 3, 2}}, 3,
                    1);
    assert_true(isnan(sums.loss));
}

static void misfits_are_refused(void **state)
{
    (void)state;
    cohort_loss loss;
    const cohort_reals two = {two_weights, 2};
    assert_fails(make(&loss, &(setting){"cross_entropy", 1, 0, {.delta = 0}}), COHORT_USAGE,
                 "line 7: loss cross_entropy needs one output per class");
    assert_fails(make(&loss, &(setting){"binary_cross_entropy", 3, 0, {.delta = 0}}), COHORT_USAGE,
                 "needs 1 output, but the network has 3");
    assert_fails(make(&loss, &(setting){"mse", 3, 0, {.delta = 0}}), COHORT_USAGE,
                 "needs 1 output");
    assert_fails(make(&loss, &(setting){"mse", 3, 5, {.delta = 0}}), COHORT_USAGE,
                 "5 values a sample, but the network has 3");
    assert_fails(make(&loss, &(setting){"cross_entropy", 3, 0, {.class_weights = two}}),
                 COHORT_USAGE, "has 2 numbers, but there are 3 classes");
    assert_fails(make(&loss, &(setting){"binary_cross_entropy", 3, 3, {.class_weights = two}}),
                 COHORT_USAGE, "targets that are classes");
    const cohort_variant none = {0};
    assert_fails(cohort_loss_create(&loss, &none, &cohort_shape_of(2), 0), COHORT_USAGE, "loss");
}

static void outputs_and_classes(void **state)
{
    (void)state;
    cohort_loss loss;
    int32_t classes[6];
    const cohort_key_table table = {.name = "cross_entropy"};
    cohort_loss_recipe config = {.delta = 0};
    const cohort_variant variant = {.table = &table, .config = &config};
    assert_ok(cohort_loss_create(&loss, &variant, &cohort_shape_of(2, 3), 0)); /* a sequence */
    assert_true(loss.positions == 2 && loss.width == 3);
    real x[12];
    memcpy(x, logits, sizeof x);
    cohort_loss_classes(classes, &loss, x, 2);
    assert_memory_equal(classes, ((int32_t[]){2, 2, 0, 0}), 4 * sizeof *classes);
    cohort_loss_activate(x, &loss, 2);
    assert_true(fabs(x[0] + x[1] + x[2] - 1) < 1e-12);
    assert_ok(make(&loss, &(setting){"binary_cross_entropy", 1, 1, {.delta = 0}}));
    cohort_loss_classes(classes, &loss, logits, 3);
    assert_memory_equal(classes, ((int32_t[]){1, 0, 1}), 3 * sizeof *classes);
    cohort_loss_target_classes(classes, &loss, &(cohort_targets){.values = (real[]){0, 1, 0.2}}, 3);
    assert_memory_equal(classes, ((int32_t[]){0, 1, 0}), 3 * sizeof *classes);
    memcpy(x, logits, sizeof x);
    cohort_loss_activate(x, &loss, 3);
    assert_true(fabs(x[1] - 1 / (1 + exp(1.2))) < 1e-12);
}

/* scikit-learn's classification_report of the same pairs. */
static void figures_of_a_confusion_matrix(void **state)
{
    (void)state;
    const int32_t truth[] = {0, 0, 0, 1, 1, 2, 2, 2, 2, -1};
    const int32_t predicted[] = {0, 0, 1, 1, 1, 2, 0, 2, 1, 0};
    double matrix[16] = {0}, accuracy;
    cohort_confusion_add(matrix, 4, truth, predicted, 10);
    assert_true(matrix[0] == 2 && matrix[1] == 1 && matrix[5] == 2 && matrix[8] == 1);
    cohort_class_figures figures[4], macro;
    cohort_confusion_figures(figures, &macro, &accuracy, matrix, 4);
    assert_true(fabs(accuracy - 6.0 / 9) < 1e-15);
    assert_true(fabs(figures[0].precision - 2.0 / 3) < 1e-15);
    assert_true(fabs(figures[1].precision - 0.5) < 1e-15 && figures[1].recall == 1);
    assert_true(fabs(figures[1].f1 - 2.0 / 3) < 1e-15);
    assert_true(figures[2].recall == 0.5 && figures[2].precision == 1 && figures[2].support == 4);
    assert_true(figures[3].precision == 0 && figures[3].recall == 0 && figures[3].f1 == 0);
    assert_true(fabs(macro.recall - (2.0 / 3 + 1 + 0.5 + 0) / 4) < 1e-15);
    assert_int_equal(macro.support, 9);
}

static void check_init(const char *name, double value, double deviation, double limit)
{
    enum { COUNT = 40000 };
    static real values[COUNT], again[COUNT];
    cohort_init_value config = {value};
    cohort_variant init = {.config = &config};
    for (size_t i = 0; cohort_init_variants[i]; i++)
        if (strcmp(cohort_init_variants[i]->name, name) == 0)
            init.table = cohort_init_variants[i];
    assert_non_null(init.table);
    cohort_init_fill(values, COUNT, &init, 50, 30, 3, 1);
    cohort_init_fill(again, COUNT, &init, 50, 30, 3, 1);
    assert_memory_equal(values, again, sizeof values);
    double sum = 0, squares = 0, largest = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += values[i];
        squares += values[i] * values[i];
        largest = fmax(largest, fabs(values[i]));
    }
    assert_true(fabs(sum / COUNT) < 0.02 * deviation + 1e-300);
    assert_true(fabs(sqrt(squares / COUNT) - deviation) <= 0.02 * deviation);
    assert_true(largest <= limit);
}

static void weights_start_with_keras_spread(void **state)
{
    (void)state;
    const double cut = 2 / 0.87962566103423978;
    check_init("glorot_uniform", 0, sqrt(6.0 / 80 / 3), sqrt(6.0 / 80));
    check_init("glorot_normal", 0, sqrt(2.0 / 80), cut * sqrt(2.0 / 80));
    check_init("he_uniform", 0, sqrt(6.0 / 50 / 3), sqrt(6.0 / 50));
    check_init("he_normal", 0, sqrt(2.0 / 50), cut * sqrt(2.0 / 50));
    check_init("normal", 0.02, 0.02, 1);
    check_init("uniform", 0.3, 0.3 / sqrt(3), 0.3);
    check_init("zeros", 0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_differences),
        cmocka_unit_test(values_follow_the_definitions),
        cmocka_unit_test(mse_counts_sides_of_a_half),
        cmocka_unit_test(ignored_and_impossible_labels),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(outputs_and_classes),
        cmocka_unit_test(figures_of_a_confusion_matrix),
        cmocka_unit_test(weights_start_with_keras_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
