/* Datasets of other HDF5 files, whatever they are called and however they are laid out. */
#include <string.h>

#include "base/memory.h"
#include "cli/convert/split.h"
#include "data/convert.h"
#include "data/reader.h"

/* x and y of the same rows. */
typedef struct pair {
    cohort_reader *x, *y;
} pair;

static void close_pair(pair *rows)
{
    cohort_reader_close(rows->x);
    cohort_reader_close(rows->y);
}

/* Class numbers are one integer a row; other targets are floats. */
static bool are_labels(const cohort_reader *y)
{
    const cohort_shape shape = cohort_reader_shape(y);
    return cohort_reader_element(y) != COHORT_F32 && cohort_shape_count(&shape) == 1;
}

static cohort_status open_pair(pair *rows, const char *path, const char *x, const char *y)
{
    COHORT_TRY(cohort_reader_open(&rows->x, path, x));
    COHORT_TRY(cohort_reader_open(&rows->y, path, y));
    COHORT_REQUIRE(cohort_reader_count(rows->x) == cohort_reader_count(rows->y), COHORT_DATA,
                   "%s: %s has %zu rows, %s %zu; they must be of the same samples", path, x,
                   cohort_reader_count(rows->x), y, cohort_reader_count(rows->y));
    cohort_reader_read_as(rows->y, are_labels(rows->y) ? COHORT_I32 : COHORT_F32);
    return COHORT_OK;
}

static cohort_split_shape shape_of(const pair *rows)
{
    cohort_split_shape shape = {.x = cohort_reader_element(rows->x),
                                .y = cohort_reader_element(rows->y),
                                .x_shape = cohort_reader_shape(rows->x),
                                .y_shape = cohort_reader_shape(rows->y)};
    if (shape.y == COHORT_I32)
        shape.y_shape = (cohort_shape){0};
    return shape;
}

/* Rows in runs that go to the same side. */
static cohort_status append_block(cohort_split *split, const unsigned char *x,
                                  const unsigned char *y, const size_t bytes[2], size_t begin,
                                  size_t count, bool is_test)
{
    for (size_t i = 0; i < count; i++)
        COHORT_TRY(cohort_split_append(split, is_test || cohort_split_is_test(split, begin + i),
                                       x + i * bytes[0], y + i * bytes[1], 1));
    return COHORT_OK;
}

static cohort_status copy_rows(cohort_split *split, pair *rows, bool is_test)
{
    const cohort_split_shape shape = shape_of(rows);
    const size_t bytes[2] = {cohort_shape_count(&shape.x_shape) * cohort_element_bytes(shape.x),
                             cohort_shape_count(&shape.y_shape) * cohort_element_bytes(shape.y)};
    const size_t total = cohort_reader_count(rows->x), block = cohort_reader_block(rows->x);
    cohort_progress progress = cohort_progress_begin("copying rows", total);
    unsigned char *x = NULL, *y = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_allocate((void **)&x, block, bytes[0]));
    COHORT_TRY_DONE(status, cohort_allocate((void **)&y, block, bytes[1]));
    for (size_t at = 0; at < total; at += block) {
        const size_t count = total - at < block ? total - at : block;
        COHORT_TRY_DONE(status, cohort_reader_read(x, rows->x, at, count));
        COHORT_TRY_DONE(status, cohort_reader_read(y, rows->y, at, count));
        COHORT_TRY_DONE(status, append_block(split, x, y, bytes, at, count, is_test));
        cohort_progress_at(&progress, at + count);
    }
done:
    cohort_progress_end(&progress);
    cohort_free(x);
    cohort_free(y);
    return status;
}

/* The test rows must be like the others. */
static cohort_status check_test(const pair *train, pair *test, const char *path)
{
    cohort_split_shape a = shape_of(train);
    if (a.x != COHORT_U8)
        cohort_reader_read_as(test->x, a.x);
    cohort_reader_read_as(test->y, a.y);
    const cohort_split_shape b = shape_of(test);
    char text[COHORT_SHAPE_TEXT], other[COHORT_SHAPE_TEXT];
    COHORT_REQUIRE(a.x == b.x && cohort_shape_equal(&a.x_shape, &b.x_shape), COHORT_DATA,
                   "%s: rows of --test-x are of shape %s or another type, those of --x %s", path,
                   cohort_shape_text(text, &b.x_shape), cohort_shape_text(other, &a.x_shape));
    COHORT_REQUIRE(cohort_shape_equal(&a.y_shape, &b.y_shape), COHORT_DATA,
                   "%s: rows of --test-y are of shape %s, those of --y %s", path,
                   cohort_shape_text(text, &b.y_shape), cohort_shape_text(other, &a.y_shape));
    return COHORT_OK;
}

static cohort_status convert(cohort_writer *writer, const cohort_options *options, pair *train,
                             pair *test)
{
    const char *path = options->positional[0];
    const char *x = cohort_options_get(options, "x"), *y = cohort_options_get(options, "y");
    const char *test_x = cohort_options_get(options, "test-x");
    const char *test_y = cohort_options_get(options, "test-y");
    cohort_split split = {0};
    COHORT_REQUIRE(!test_x == !test_y, COHORT_USAGE,
                   "convert hdf5: --test-x and --test-y go together");
    COHORT_TRY(open_pair(train, path, x ? x : "x", y ? y : "y"));
    const cohort_split_shape shape = shape_of(train);
    if (test_x) {
        COHORT_TRY(open_pair(test, path, test_x, test_y));
        COHORT_TRY(check_test(train, test, path));
    }
    COHORT_TRY(cohort_split_draw(&split, options, cohort_reader_count(train->x), 0.2, test_x));
    COHORT_TRY(cohort_split_open(&split, writer, options, &shape, test_x));
    COHORT_TRY(copy_rows(&split, train, false));
    return test_x ? copy_rows(&split, test, true) : COHORT_OK;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    pair train = {0}, test = {0};
    cohort_status status = convert(writer, options, &train, &test);
    close_pair(&train);
    close_pair(&test);
    return status;
}

static const cohort_option options[] = {
    {"x", "DATASET", "the samples, \"group/name\" (default: x)", false},
    {"y", "DATASET", "class numbers or targets of the same rows (default: y)", false},
    {"test-x", "DATASET", "samples that become /test", false},
    {"test-y", "DATASET", "and their targets", false},
    COHORT_SPLIT_OPTIONS,
};

const cohort_format cohort_format_hdf5 = {
    .name = "hdf5",
    .usage = "FILE",
    .summary = "two datasets of another HDF5 file",
    .help =
        "Copies the datasets --x and --y, whose first dimension is the samples, in any layout\n"
        "and byte order. One integer a row in --y is a class number, other targets are floats.\n"
        "Writes /train and /test: x as bytes, int32 or float32, y int32 [n] or float32 [n][k].\n"
        "A file that has groups with x and y in them can be trained from as it is.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .run = run,
};
