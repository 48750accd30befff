/* What a search tries and who goes on: draws, grid, rungs, promotion. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "nn/model.h"
#include "recipe/search.h"

#define BASE                                                                                       \
    "name: s\ndata: {file: d.h5, validation: 0.1}\nmodel: [{dense: {units: 4}}]\n"                 \
    "loss: cross_entropy\ntrain: {epochs: 20}\n"

static cohort_recipe *parse(const char *search)
{
    cohort_text text = {0};
    cohort_recipe *recipe = NULL;
    cohort_text_append(&text, BASE "search:\n%s", search);
    assert_ok(
        cohort_recipe_parse(&recipe, text.data, "s.yaml", ".", NULL, 0, cohort_model_catalog()));
    cohort_text_clear(&text);
    return recipe;
}

static double number(const char *text)
{
    double value = NAN;
    assert_true(cohort_parse_double(&value, text));
    return value;
}

static void draws_lie_in_their_ranges(void **state)
{
    (void)state;
    cohort_recipe *recipe = parse("  trials: 400\n  space:\n"
                                  "    optimizer.lr: {log_uniform: [0.001, 0.1]}\n"
                                  "    optimizer.beta1: {uniform: [0.5, 0.9]}\n"
                                  "    model.0.units: {integer: [1, 4]}\n"
                                  "    model.0.activation: [relu, tanh]\n");
    cohort_search_plan plan, again;
    assert_ok(cohort_search_plan_make(&plan, recipe));
    assert_ok(cohort_search_plan_make(&again, recipe));
    assert_int_equal(plan.trial_count, 401);
    assert_null(plan.values[0]);
    size_t units[5] = {0}, below = 0, relu = 0;
    for (size_t trial = 1; trial <= 400; trial++) {
        char **values = plan.values[trial];
        const double lr = number(values[0]), beta1 = number(values[1]);
        assert_true(lr >= 0.001 && lr <= 0.1 && beta1 >= 0.5 && beta1 <= 0.9);
        below += lr < 0.01; /* the middle, by logarithm */
        const double count = number(values[2]);
        assert_true(count >= 1 && count <= 4 && count == floor(count));
        units[(size_t)count]++;
        relu += strcmp(values[3], "relu") == 0;
        for (size_t i = 0; i < 4; i++)
            assert_string_equal(values[i], again.values[trial][i]);
    }
    /* Within five standard deviations of what is expected. */
    assert_true(fabs((double)below - 200) < 50 && fabs((double)relu - 200) < 50);
    for (size_t i = 1; i <= 4; i++)
        assert_true(fabs((double)units[i] - 100) < 5 * sqrt(75));
    cohort_search_plan_clear(&plan);
    cohort_search_plan_clear(&again);
    cohort_recipe_destroy(recipe);
}

/* The first trials are the same however many follow: nothing but trial and key counts. */
static void draws_do_not_depend_on_their_number(void **state)
{
    (void)state;
    const char *space = "  space: {optimizer.lr: {uniform: [0, 1]}, model.0.units: [1, 2, 3]}\n";
    char text[200];
    cohort_search_plan plans[2];
    cohort_recipe *recipes[2];
    for (size_t i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "  trials: %d\n%s", i ? 50 : 5, space);
        recipes[i] = parse(text);
        assert_ok(cohort_search_plan_make(&plans[i], recipes[i]));
    }
    for (size_t trial = 1; trial <= 5; trial++)
        for (size_t i = 0; i < 2; i++)
            assert_string_equal(plans[0].values[trial][i], plans[1].values[trial][i]);
    for (size_t i = 0; i < 2; i++) {
        cohort_search_plan_clear(&plans[i]);
        cohort_recipe_destroy(recipes[i]);
    }
}

static void small_spaces_are_tried_once_each(void **state)
{
    (void)state;
    static const char *const searches[] = {
        "  type: grid\n  space: {model.0.units: [1, 2, 3], optimizer.type: [sgd, \"adam\"]}\n",
        "  trials: 6\n  space: {model.0.units: [1, 2, 3], optimizer.type: [sgd, \"adam\"]}\n",
        "  trials: 5\n  space: {model.0.units: [1, 2, 3], optimizer.type: [sgd, \"adam\"]}\n"};
    for (size_t i = 0; i < 3; i++) {
        cohort_recipe *recipe = parse(searches[i]);
        cohort_search_plan plan;
        assert_ok(cohort_search_plan_make(&plan, recipe));
        assert_int_equal(plan.trial_count, i < 2 ? 7 : 6);
        for (size_t a = 1; a < plan.trial_count; a++)
            for (size_t b = 1; b < a; b++)
                assert_true(strcmp(plan.values[a][0], plan.values[b][0]) != 0 ||
                            strcmp(plan.values[a][1], plan.values[b][1]) != 0);
        if (i < 2) { /* the last key varies fastest */
            assert_string_equal(plan.values[1][0], "1");
            assert_string_equal(plan.values[2][1], "\"adam\"");
            assert_string_equal(plan.values[6][0], "3");
        }
        cohort_search_plan_clear(&plan);
        cohort_recipe_destroy(recipe);
    }
}

static void check_rungs(const char *search, const uint64_t *epochs, size_t count)
{
    cohort_recipe *recipe = parse(search);
    cohort_search_plan plan;
    assert_ok(cohort_search_plan_make(&plan, recipe));
    assert_int_equal(plan.rung_count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(plan.rung_epochs[i], epochs[i]);
    cohort_search_plan_clear(&plan);
    cohort_recipe_destroy(recipe);
}

static void rungs_end_with_all_epochs(void **state)
{
    (void)state;
    const char *space = "  space: {optimizer.lr: [0.1, 0.2]}\n";
    char text[200];
    snprintf(text, sizeof text, "  type: halving\n%s", space);
    check_rungs(text, (const uint64_t[]){1, 3, 9, 20}, 4);
    snprintf(text, sizeof text, "  type: halving\n  eta: 2\n  min_epochs: 5\n%s", space);
    check_rungs(text, (const uint64_t[]){5, 10, 20}, 3);
    snprintf(text, sizeof text, "  type: halving\n  min_epochs: 20\n%s", space);
    check_rungs(text, (const uint64_t[]){20}, 1);
    check_rungs(space, (const uint64_t[]){20}, 1);
}

static void the_best_go_on(void **state)
{
    (void)state;
    /*                              trial: 0    1    2    3    4    5    6    7 */
    static const double figures[] = {9.0, 3.0, 1.0, 2.0, 1.0, NAN, 0.5, 4.0};
    cohort_search_score scores[8];
    bool goes_on[8];
    for (size_t i = 0; i < 8; i++)
        scores[i] =
            (cohort_search_score){.took_part = i != 6, .failed = i == 5, .figure = figures[i]};
    cohort_search_promote(goes_on, scores, 8, 3, false); /* 6 drawn took part: two places */
    static const bool least[] = {true, false, true, false, true, false, false, false};
    assert_memory_equal(goes_on, least, sizeof least);
    cohort_search_promote(goes_on, scores, 8, 3, true);
    static const bool most[] = {true, true, false, false, false, false, false, true};
    assert_memory_equal(goes_on, most, sizeof most);
    cohort_search_promote(goes_on, scores, 8, 100, false); /* one at least; of equals the first */
    static const bool one[] = {true, false, true, false, false, false, false, false};
    assert_memory_equal(goes_on, one, sizeof one);
    assert_int_equal(cohort_search_best(scores, 8, false), 2);
    assert_int_equal(cohort_search_best(scores, 8, true), 0);
    for (size_t i = 0; i < 8; i++)
        scores[i].failed = true;
    assert_int_equal(cohort_search_best(scores, 8, false), 8);
    cohort_search_promote(goes_on, scores, 8, 3, false);
    for (size_t i = 0; i < 8; i++)
        assert_false(goes_on[i]);
}

static void the_resolved_search_parses_back(void **state)
{
    (void)state;
    cohort_recipe *recipe = parse("  type: halving\n  space:\n"
                                  "    optimizer.lr: {log_uniform: [1.0e-7, 0.1]}\n"
                                  "    loss.type: [cross_entropy, \"binary_cross_entropy\"]\n"
                                  "    model.0.bias: [true, false]\n"
                                  "    optimizer.nesterov: [false]\n"
                                  "    optimizer.momentum: [0, +0.5, .9]\n");
    cohort_recipe *back = NULL;
    cohort_text text = {0}, key = {0};
    bool same = false;
    assert_ok(cohort_recipe_write(&text, recipe));
    assert_ok(
        cohort_recipe_parse(&back, text.data, "s.yaml", ".", NULL, 0, cohort_model_catalog()));
    assert_ok(cohort_recipe_is_same_run(&same, &key, recipe, back));
    assert_true(same);
    assert_string_equal(cohort_search_metric(back), "validation_loss");
    cohort_recipe_destroy(recipe);
    cohort_recipe_destroy(back);
    cohort_text_clear(&text);
    cohort_text_clear(&key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_lie_in_their_ranges),
        cmocka_unit_test(draws_do_not_depend_on_their_number),
        cmocka_unit_test(small_spaces_are_tried_once_each),
        cmocka_unit_test(rungs_end_with_all_epochs),
        cmocka_unit_test(the_best_go_on),
        cmocka_unit_test(the_resolved_search_parses_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
