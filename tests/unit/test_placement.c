#include "tests/cmocka_all.h"

#include "base/rng.h"
#include "nn/placement.h"

static void alive_together_never_overlap(void **state)
{
    (void)state;
    cohort_rng rng = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, 0);
    for (int round = 0; round < 200; round++) {
        cohort_slot slots[40];
        size_t count = 1 + cohort_rng_below(&rng, 40), total = 0, sum = 0;
        for (size_t i = 0; i < count; i++) {
            int first = (int)cohort_rng_below(&rng, 20);
            slots[i] = (cohort_slot){.bytes = cohort_rng_below(&rng, 1000),
                                     .first = first,
                                     .last = first + (int)cohort_rng_below(&rng, 8)};
            sum += slots[i].bytes + 64;
        }
        assert_ok(cohort_place(&total, slots, count));
        assert_true(total <= sum);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(slots[i].offset % 64, 0);
            assert_true(slots[i].offset + slots[i].bytes <= total);
            for (size_t k = 0; k < i; k++)
                if (slots[i].first <= slots[k].last && slots[k].first <= slots[i].last)
                    assert_true(slots[i].offset >= slots[k].offset + slots[k].bytes ||
                                slots[k].offset >= slots[i].offset + slots[i].bytes);
        }
    }
}

static void dead_space_is_reused(void **state)
{
    (void)state;
    cohort_slot slots[] = {{.bytes = 640, .first = 1, .last = 2},
                           {.bytes = 640, .first = 2, .last = 3},
                           {.bytes = 640, .first = 3, .last = 4}};
    size_t total = 0;
    assert_ok(cohort_place(&total, slots, 3));
    assert_int_equal(total, 1280);
    assert_int_equal(slots[0].offset, slots[2].offset);
    cohort_slot huge[] = {{.bytes = SIZE_MAX / 2, .first = 0, .last = 0}};
    assert_fails(cohort_place(&total, huge, 1), COHORT_MEMORY, "do not fit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alive_together_never_overlap),
        cmocka_unit_test(dead_space_is_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
