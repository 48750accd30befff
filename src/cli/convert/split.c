#include "cli/convert/split.h"

#include <math.h>

cohort_status cohort_split_draw(cohort_split *split, const cohort_options *options,
                                size_t row_count, double otherwise, bool has_test)
{
    double fraction = 0;
    uint64_t seed = 0;
    COHORT_TRY(cohort_options_number(&fraction, options, "test", otherwise, 0, 1));
    COHORT_TRY(cohort_format_seed(&seed, options));
    COHORT_REQUIRE(!has_test || !cohort_options_given(options, "test"), COHORT_USAGE,
                   "%s: --test does not go with test rows of their own", options->command);
    split->drawn = has_test ? 0 : (size_t)llround((double)row_count * fraction);
    COHORT_REQUIRE(split->drawn < row_count, COHORT_USAGE,
                   "%s: --test %g of %zu rows leaves none to train on", options->command, fraction,
                   row_count);
    split->order = cohort_permutation_make(row_count, seed, COHORT_RNG_CONVERT, 0, 0);
    return COHORT_OK;
}

bool cohort_split_is_test(const cohort_split *split, size_t index)
{
    return split->drawn > 0 && cohort_permutation_at(&split->order, index) < split->drawn;
}

cohort_status cohort_split_open(cohort_split *split, cohort_writer *writer,
                                const cohort_options *options, const cohort_split_shape *shape,
                                bool has_test)
{
    static const char *const groups[] = {"train", "test"};
    int deflate = 0;
    split->writer = writer;
    COHORT_TRY(cohort_format_compression(&deflate, options));
    for (size_t i = 0; i < (split->drawn > 0 || has_test ? 2u : 1u); i++) {
        COHORT_TRY(cohort_writer_add(&split->x[i], writer, groups[i], "x", shape->x,
                                     &shape->x_shape, deflate));
        COHORT_TRY(
            cohort_writer_add(&split->y[i], writer, groups[i], "y", shape->y, &shape->y_shape, 0));
    }
    return COHORT_OK;
}

cohort_status cohort_split_append(cohort_split *split, bool test, const void *x, const void *y,
                                  size_t count)
{
    COHORT_TRY(cohort_writer_append(split->writer, split->x[test], x, count));
    return cohort_writer_append(split->writer, split->y[test], y, count);
}
