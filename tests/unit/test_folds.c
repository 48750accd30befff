#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "data/folds.h"

enum { COUNT = 103, CLASSES = 4 };

/* Parts COUNT members (7, 10, 13, …) into FOLDS, checks what every partition must be. */
static void check_parts(const int32_t *keys, size_t folds, uint64_t seed)
{
    uint64_t members[COUNT], rows[COUNT];
    size_t times[COUNT] = {0}, least = COUNT, most = 0, held;
    for (size_t i = 0; i < COUNT; i++)
        members[i] = 7 + 3 * i;
    for (size_t fold = 0; fold < folds; fold++) {
        size_t of_class[CLASSES] = {0}, all[CLASSES] = {0}, seen[COUNT] = {0};
        assert_int_equal(cohort_folds_part(rows, &held, members, keys, COUNT, folds, fold, seed),
                         COHORT_OK);
        least = held < least ? held : least;
        most = held > most ? held : most;
        for (size_t i = 0; i < COUNT; i++) {
            const size_t member = (size_t)(rows[i] - 7) / 3;
            assert_true(member < COUNT && seen[member]++ == 0);
            assert_true(i == 0 || i == held || rows[i] > rows[i - 1]);
            times[member] += i < held;
            if (keys && i < held)
                of_class[keys[member]]++;
        }
        for (size_t i = 0; keys && i < COUNT; i++)
            all[keys[i]]++;
        for (size_t c = 0; keys && c < CLASSES; c++)
            assert_true(of_class[c] == all[c] / folds || of_class[c] == all[c] / folds + 1);
    }
    assert_true(most - least <= 1);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(times[i], 1);
}

static void every_row_is_held_out_once(void **state)
{
    (void)state;
    int32_t keys[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        keys[i] = i < 3 ? 0 : i < 40 ? 1 : i % 5 == 0 ? 2 : 3;
    for (size_t folds = 2; folds <= COUNT; folds += folds < 12 ? 1 : 13) {
        check_parts(NULL, folds, 1);
        check_parts(keys, folds, 2);
    }
}

static void the_seed_decides(void **state)
{
    (void)state;
    uint64_t members[COUNT], one[COUNT], same[COUNT], other[COUNT];
    size_t held;
    for (size_t i = 0; i < COUNT; i++)
        members[i] = i;
    assert_int_equal(cohort_folds_part(one, &held, members, NULL, COUNT, 5, 2, 9), COHORT_OK);
    assert_int_equal(cohort_folds_part(same, &held, members, NULL, COUNT, 5, 2, 9), COHORT_OK);
    assert_int_equal(cohort_folds_part(other, &held, members, NULL, COUNT, 5, 2, 10), COHORT_OK);
    assert_memory_equal(one, same, sizeof one);
    assert_memory_not_equal(one, other, sizeof one);
}

static void too_few_rows_are_refused(void **state)
{
    (void)state;
    uint64_t members[3] = {0, 1, 2}, rows[3];
    size_t held;
    assert_int_equal(cohort_folds_part(rows, &held, members, NULL, 3, 4, 0, 1), COHORT_DATA);
    assert_non_null(strstr(cohort_error_message(), "train.folds"));
    cohort_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_held_out_once),
        cmocka_unit_test(the_seed_decides),
        cmocka_unit_test(too_few_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
