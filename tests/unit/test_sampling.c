/* Drawing from logits, and hiding tokens. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "data/masking.h"
#include "data/sampler.h"
#include "nn/sampling.h"

static size_t draw(const float *logits, size_t width, double temperature, size_t top_k, double at)
{
    const cohort_sampling sampling = {.temperature = temperature, .top_k = top_k};
    size_t index = width;
    assert_ok(cohort_sample(&index, logits, width, &sampling, at));
    return index;
}

/* p = 1/2, 1/8, 3/8 with temperature 1. */
static const float logits[3] = {1.3862944F, 0, 1.0986123F};

static void test_draws_follow_probabilities(void **state)
{
    (void)state;
    assert_int_equal(draw(logits, 3, 1, 0, 0), 0);
    assert_int_equal(draw(logits, 3, 1, 0, 0.499), 0);
    assert_int_equal(draw(logits, 3, 1, 0, 0.501), 1);
    assert_int_equal(draw(logits, 3, 1, 0, 0.624), 1);
    assert_int_equal(draw(logits, 3, 1, 0, 0.626), 2);
    assert_int_equal(draw(logits, 3, 1, 0, 0.9999999999), 2);
}

static void test_temperature_and_top_k(void **state)
{
    (void)state;
    assert_int_equal(draw(logits, 3, 0, 0, 0.99), 0);
    assert_int_equal(draw(logits, 3, 1, 1, 0.99), 0);
    /* Of two: 4/7 and 3/7. */
    assert_int_equal(draw(logits, 3, 1, 2, 0.571), 0);
    assert_int_equal(draw(logits, 3, 1, 2, 0.572), 2);
    /* Half the temperature squares: 16/26, 1/26, 9/26. */
    assert_int_equal(draw(logits, 3, 0.5, 0, 0.614), 0);
    assert_int_equal(draw(logits, 3, 0.5, 0, 0.617), 1);
    /* Huge and tiny logits do not overflow. */
    assert_int_equal(draw((float[]){-3e38F, 3e38F}, 2, 1e-3, 0, 0.5), 1);
}

static void test_refuses_what_is_not_finite(void **state)
{
    (void)state;
    const cohort_sampling sampling = {.temperature = 1};
    const float bad[2] = {0, NAN};
    size_t index = 0;
    assert_fails(cohort_sample(&index, bad, 2, &sampling, 0.5), COHORT_DIVERGED, "not finite");
}

enum { TIME = 64, ROWS = 2000, VOCABULARY = 500, FILLED = 48 };

static void fill_row(int32_t *tokens, uint64_t row)
{
    for (size_t i = 0; i < TIME; i++)
        tokens[i] = i < FILLED ? 3 + (int32_t)((row * 31 + i * 17) % (VOCABULARY - 3)) : 0;
}

static void test_masking_follows_bert(void **state)
{
    (void)state;
    const cohort_masking masking = {.rate = 0.15, .vocabulary = VOCABULARY};
    double chosen = 0, masked = 0, kept = 0;
    for (uint64_t row = 0; row < ROWS; row++) {
        int32_t before[TIME], tokens[TIME], labels[TIME];
        fill_row(before, row);
        fill_row(tokens, row);
        cohort_mask_tokens(labels, tokens, TIME, &masking, 7, 0, row);
        for (size_t i = 0; i < TIME; i++) {
            if (labels[i] < 0) {
                assert_int_equal(labels[i], -1);
                assert_int_equal(tokens[i], before[i]);
                continue;
            }
            assert_true(i < FILLED);
            assert_int_equal(labels[i], before[i]);
            assert_in_range(tokens[i], 2, VOCABULARY - 1);
            chosen++;
            masked += tokens[i] == 2;
            kept += tokens[i] == before[i];
        }
    }
    /* Five standard deviations of some 14400 draws. */
    assert_true(fabs(chosen / (ROWS * FILLED) - 0.15) < 0.006);
    assert_true(fabs(masked / chosen - 0.8) < 0.02);
    assert_true(fabs(kept / chosen - 0.1) < 0.015);
}

static void test_masking_is_keyed(void **state)
{
    (void)state;
    const cohort_masking masking = {.rate = 0.15, .vocabulary = VOCABULARY};
    int32_t tokens[TIME], first[TIME], again[TIME];
    fill_row(tokens, 1);
    cohort_mask_tokens(first, tokens, TIME, &masking, 7, 3, 1);
    fill_row(tokens, 1);
    cohort_mask_tokens(again, tokens, TIME, &masking, 7, 3, 1);
    assert_memory_equal(first, again, sizeof first);
    for (int other = 0; other < 3; other++) {
        fill_row(tokens, 1);
        cohort_mask_tokens(again, tokens, TIME, &masking, other == 0 ? 8 : 7, other == 1 ? 4 : 3,
                           other == 2 ? 2 : 1);
        assert_int_not_equal(memcmp(first, again, sizeof first), 0);
    }
}

static void test_masking_of_short_rows(void **state)
{
    (void)state;
    const cohort_masking masking = {.rate = 0.01, .vocabulary = VOCABULARY};
    for (uint64_t row = 0; row < 50; row++) {
        int32_t one[4] = {0, 9, 0, 0}, none[4] = {0}, labels[4];
        cohort_mask_tokens(labels, one, 4, &masking, 1, 0, row);
        assert_int_equal(labels[1], 9);
        assert_int_equal(labels[0] + labels[2] + labels[3], -3);
        cohort_mask_tokens(labels, none, 4, &masking, 1, 0, row);
        for (size_t i = 0; i < 4; i++)
            assert_true(labels[i] == -1 && none[i] == 0);
    }
}

static void test_limit_draws_distinct_rows(void **state)
{
    (void)state;
    const cohort_subset all = cohort_subset_all(100);
    const cohort_subset held = cohort_subset_validation(100, 0.5, 0, 3);
    const cohort_subset train = cohort_subset_training(100, 0.5, 0, 3);
    const cohort_subset part = cohort_subset_limit(&train, 20, 3);
    const cohort_subset drawn = cohort_subset_limit(&all, 20, 3);
    bool seen[100] = {false}, drawn_seen[100] = {false};
    assert_int_equal(cohort_subset_count(&part), 20);
    assert_int_equal(cohort_subset_count(&drawn), 20);
    for (uint64_t i = 0; i < cohort_subset_count(&held); i++)
        seen[cohort_subset_row(&held, i)] = true;
    for (uint64_t i = 0; i < 20; i++) {
        assert_false(seen[cohort_subset_row(&part, i)]);
        seen[cohort_subset_row(&part, i)] = true;
        assert_false(drawn_seen[cohort_subset_row(&drawn, i)]);
        drawn_seen[cohort_subset_row(&drawn, i)] = true;
    }
    const cohort_subset whole = cohort_subset_limit(&all, 100, 3);
    assert_int_equal(cohort_subset_count(&whole), 100);
    assert_false(whole.split);
    /* Of chunks as many as reach it. */
    const cohort_subset chunks = cohort_subset_training(105, 0.2, 10, 3);
    const cohort_subset some = cohort_subset_limit(&chunks, 15, 3);
    assert_int_equal(cohort_subset_count(&some), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draws_follow_probabilities),
        cmocka_unit_test(test_temperature_and_top_k),
        cmocka_unit_test(test_refuses_what_is_not_finite),
        cmocka_unit_test(test_masking_follows_bert),
        cmocka_unit_test(test_masking_is_keyed),
        cmocka_unit_test(test_masking_of_short_rows),
        cmocka_unit_test(test_limit_draws_distinct_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
