/* Layers that can be computed in several ways: choices can be made once and taken over,
 * and whatever was chosen computes the same up to rounding. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <omp.h>

#include "base/memory.h"
#include "nn/model.h"

enum { BATCH = 7, CONVOLUTIONS = 3, IN = 12 * 12 * 1, OUT = 5 };

static const char recipe_text[] =
    "name: t\ndata: {file: t.h5}\nloss: cross_entropy\nmodel:\n"
    "- conv2d: {filters: 16, kernel: 3, activation: relu}\n"
    "- residual: {layers: [{conv2d: {filters: 16, kernel: 3, padding: same}}]}\n"
    "- max_pool2d\n"
    "- conv2d: {filters: 32, kernel: 3, activation: tanh}\n"
    "- flatten\n- dense: 5\n";

typedef struct fixture {
    cohort_recipe *recipe;
    cohort_model *model;
    size_t count;
    real *params, *grads, *state, *x;
} fixture;

static void set_up(fixture *f)
{
    const cohort_flow flow = {.shape = cohort_shape_of(12, 12, 1)};
    assert_ok(
        cohort_recipe_parse(&f->recipe, recipe_text, "t", ".", NULL, 0, cohort_model_catalog()));
    assert_ok(cohort_model_create(&f->model, f->recipe, &flow, BATCH, true));
    f->count = cohort_model_params_count(f->model);
    assert_ok(COHORT_ALLOCATE(&f->params, f->count));
    assert_ok(COHORT_ALLOCATE(&f->grads, f->count));
    assert_ok(COHORT_ALLOCATE(&f->state, cohort_model_state_count(f->model) + 1));
    assert_ok(COHORT_ALLOCATE(&f->x, BATCH * IN));
    for (size_t i = 0; i < BATCH * IN; i++)
        f->x[i] = (real)(i * 7919 % 255) / 255;
    cohort_model_bind(f->model, f->params, f->grads, f->state);
    cohort_model_init(f->model, 1);
}

static void tear_down(fixture *f)
{
    cohort_model_destroy(f->model);
    cohort_recipe_destroy(f->recipe);
    cohort_free(f->params);
    cohort_free(f->grads);
    cohort_free(f->state);
    cohort_free(f->x);
}

/* Gradients of the sum of the outputs. */
static void run(fixture *f)
{
    const cohort_pass pass = {.batch = BATCH, .training = true};
    cohort_model_forward(f->model, f->x, &pass);
    real *dy = cohort_model_output_grad(f->model);
    for (size_t i = 0; i < BATCH * OUT; i++)
        dy[i] = 1;
    cohort_model_backward(f->model, &pass);
}

static void test_choices_are_taken_over(void **state)
{
    (void)state;
    fixture a = {0}, b = {0};
    uint32_t choices[CONVOLUTIONS], taken[CONVOLUTIONS];
    set_up(&a);
    set_up(&b);
    assert_int_equal(cohort_model_choice_count(a.model), CONVOLUTIONS);
    cohort_text report = {0};
    assert_ok(cohort_model_tune(a.model, 0.02, 1, &report));
    assert_non_null(strstr(report.data, "0_conv2d: forward "));
    assert_non_null(strstr(report.data, "1_residual/0_conv2d: forward "));
    cohort_text_clear(&report);
    cohort_model_choices(choices, a.model);
    cohort_model_choose(b.model, choices);
    cohort_model_choices(taken, b.model);
    assert_memory_equal(choices, taken, sizeof choices);
    run(&a);
    run(&b);
    assert_memory_equal(a.grads, b.grads, a.count * sizeof *a.grads);
    tear_down(&a);
    tear_down(&b);
}

/* What the second of the convolutions is told in words, it takes; the others stay. */
static void test_choices_in_words(void **state)
{
    (void)state;
    fixture a = {0}, b = {0};
    uint32_t before[CONVOLUTIONS], after[CONVOLUTIONS];
    bool whole = false;
    cohort_text text = {0}, again = {0};
    set_up(&a);
    set_up(&b);
    cohort_model_choices(before, b.model);
    assert_ok(cohort_model_read_choices(&whole, b.model, "1_residual/0_conv2d gemm gemm direct\n"));
    assert_true(whole);
    cohort_model_choices(after, b.model);
    assert_int_equal(after[0], before[0]);
    assert_int_not_equal(after[1], before[1]);
    assert_int_equal(after[2], before[2]);
    cohort_model_write_choices(&text, b.model);
    assert_ok(cohort_model_read_choices(&whole, a.model, text.data));
    cohort_model_write_choices(&again, a.model);
    assert_string_equal(text.data, again.data);
    static const char *const wrong[] = {"4_flatten gemm gemm gemm\n", "0_conv2d gemm gemm\n", "x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(cohort_model_read_choices(&whole, a.model, wrong[i]), COHORT_DATA);
    cohort_text_clear(&text);
    cohort_text_clear(&again);
    tear_down(&a);
    tear_down(&b);
}

static void test_every_choice_computes_the_same(void **state)
{
    (void)state;
    fixture a = {0}, b = {0};
    set_up(&a);
    set_up(&b);
    run(&a);
    double scale = 0;
    for (size_t i = 0; i < a.count; i++)
        scale = fmax(scale, fabs((double)a.grads[i]));
    assert_true(scale > 0);
    for (uint32_t choice = 0; choice < 64; choice += 7) {
        const uint32_t choices[CONVOLUTIONS] = {choice, choice ^ 21, 63 - choice};
        cohort_model_choose(b.model, choices);
        run(&b);
        for (size_t i = 0; i < a.count; i++)
            assert_true(fabs((double)(a.grads[i] - b.grads[i])) <= 1e-5 * scale);
    }
    tear_down(&a);
    tear_down(&b);
}

int main(void)
{
    omp_set_num_threads(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choices_are_taken_over),
        cmocka_unit_test(test_choices_in_words),
        cmocka_unit_test(test_every_choice_computes_the_same),
    };
    return cmocka_run_group_tests_name("choices", tests, NULL, NULL);
}
