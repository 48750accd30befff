/* Rows that go to /train and /test: as the source says, or drawn by a seed. */
#ifndef COHORT_CLI_CONVERT_SPLIT_H
#define COHORT_CLI_CONVERT_SPLIT_H

#include "base/rng.h"
#include "cli/convert/format.h"

/* What a row is. */
typedef struct cohort_split_shape {
    cohort_element x, y;
    cohort_shape x_shape, y_shape; /* of a row */
} cohort_split_shape;

typedef struct cohort_split {
    cohort_writer *writer;
    size_t x[2], y[2]; /* the writer's ids of /train and /test */
    size_t drawn;      /* how many rows become /test */
    cohort_permutation order;
} cohort_split;

/* Decides how many of ROW_COUNT rows become /test: --test of them, drawn by --seed, or none
 * when the source HAS_TEST rows of its own (then --test is refused). OTHERWISE is --test's
 * default. */
COHORT_NODISCARD cohort_status cohort_split_draw(cohort_split *split, const cohort_options *options,
                                                 size_t row_count, double otherwise, bool has_test);
/* Whether row INDEX was drawn. */
bool cohort_split_is_test(const cohort_split *split, size_t index);
/* Adds the datasets x and y of both groups; /test only when something goes there. */
COHORT_NODISCARD cohort_status cohort_split_open(cohort_split *split, cohort_writer *writer,
                                                 const cohort_options *options,
                                                 const cohort_split_shape *shape, bool has_test);
/* Appends COUNT rows to /train or to /test. */
COHORT_NODISCARD cohort_status cohort_split_append(cohort_split *split, bool test, const void *x,
                                                   const void *y, size_t count);

/* --test and --seed, for the tables of options. */
#define COHORT_SPLIT_OPTIONS                                                                       \
    {"test", "FRACTION", "of the rows, drawn by seed, that become /test (default: 0.2)", false},   \
    {                                                                                              \
        "seed", "N", "of that draw (default: 1)", false                                            \
    }

#endif
