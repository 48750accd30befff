/* Arrays that NumPy saved. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/convert/split.h"
#include "state/foreign/source.h"

/* What compressed arrays may grow to; a ZIP of this kind holds 4 GiB an array. */
static const size_t bytes_max = (size_t)64 << 30;

/* Names that programs give to samples and targets. */
static const char *const usual[][4] = {
    {"x_train", "y_train", "x_test", "y_test"},
    {"X_train", "y_train", "X_test", "y_test"},
    {"train_images", "train_labels", "test_images", "test_labels"},
    {"x", "y", NULL, NULL},
    {"X", "y", NULL, NULL},
};

typedef struct arrays {
    const cohort_source_array *x, *y, *test_x, *test_y;
} arrays;

static cohort_status find_array(const cohort_source_array **out, const cohort_source *source,
                                const cohort_options *options, const char *option)
{
    const char *name = cohort_options_get(options, option);
    *out = name ? cohort_source_find(source, name) : NULL;
    if (!name || *out)
        return COHORT_OK;
    cohort_text names = {0};
    for (size_t i = 0; i < source->count && i < 12; i++)
        cohort_text_append(&names, "%s%s", i ? ", " : "", source->items[i].name);
    cohort_status status =
        COHORT_FAIL(COHORT_DATA, "%s has no array %s (--%s); it has %s%s", source->path, name,
                    option, names.data ? names.data : "none", source->count > 12 ? ", …" : "");
    cohort_text_clear(&names);
    return status;
}

static cohort_status find_arrays(arrays *found, const cohort_source *source,
                                 const cohort_options *options)
{
    COHORT_TRY(find_array(&found->x, source, options, "x"));
    COHORT_TRY(find_array(&found->y, source, options, "y"));
    COHORT_TRY(find_array(&found->test_x, source, options, "test-x"));
    COHORT_TRY(find_array(&found->test_y, source, options, "test-y"));
    COHORT_REQUIRE(!found->x == !found->y && !found->test_x == !found->test_y, COHORT_USAGE,
                   "convert npz: --x and --y, --test-x and --test-y go together");
    for (size_t i = 0; !found->x && i < sizeof usual / sizeof *usual; i++) {
        const cohort_source_array *x = cohort_source_find(source, usual[i][0]);
        const cohort_source_array *y = cohort_source_find(source, usual[i][1]);
        if (!x || !y)
            continue;
        *found = (arrays){.x = x, .y = y};
        if (usual[i][2]) {
            found->test_x = cohort_source_find(source, usual[i][2]);
            found->test_y = cohort_source_find(source, usual[i][3]);
        }
    }
    COHORT_REQUIRE(found->x, COHORT_USAGE,
                   "%s: which arrays? Give --x and --y; `python3 -m zipfile -l` lists them",
                   source->path);
    if (!found->test_y)
        found->test_x = NULL;
    return COHORT_OK;
}

static size_t row_count(const cohort_source_array *array)
{
    return array->shape.dim_count ? array->shape.dims[0] : 0;
}

static cohort_shape row_shape(const cohort_source_array *array)
{
    cohort_shape shape = {.dim_count = array->shape.dim_count - 1};
    for (size_t i = 0; i < shape.dim_count; i++)
        shape.dims[i] = array->shape.dims[i + 1];
    return shape.dim_count ? shape : cohort_shape_of(1);
}

static cohort_element element_of(const cohort_source_array *array)
{
    return cohort_source_is_float(array->type)                                    ? COHORT_F32
           : array->type == COHORT_SOURCE_U8 || array->type == COHORT_SOURCE_BOOL ? COHORT_U8
                                                                                  : COHORT_I32;
}

/* x and y of the same samples, at least one. */
static cohort_status check_pair(const cohort_source *source, const cohort_source_array *x,
                                const cohort_source_array *y)
{
    COHORT_REQUIRE(row_count(x) > 0 && cohort_shape_count(&x->shape) > 0, COHORT_DATA,
                   "%s: array %s has no rows", source->path, x->name);
    COHORT_REQUIRE(row_count(x) == row_count(y) && cohort_shape_count(&y->shape) > 0, COHORT_DATA,
                   "%s: %s has %zu rows, %s %zu; they must be of the same samples", source->path,
                   x->name, row_count(x), y->name, row_count(y));
    return COHORT_OK;
}

static cohort_split_shape shape_of(const cohort_source_array *x, const cohort_source_array *y)
{
    cohort_split_shape shape = {.x = element_of(x),
                                .y = element_of(y) == COHORT_F32 ? COHORT_F32 : COHORT_I32,
                                .x_shape = row_shape(x),
                                .y_shape = row_shape(y)};
    if (shape.y == COHORT_I32 && cohort_shape_count(&shape.y_shape) == 1)
        shape.y_shape = (cohort_shape){0};
    else
        shape.y = COHORT_F32;
    return shape;
}

/* Row INDEX of ARRAY as COUNT elements; COHORT_DATA when one does not fit. */
static cohort_status take_row(void *out, double *values, const cohort_source *source,
                              const cohort_source_array *array, cohort_element element,
                              size_t index, size_t count)
{
    cohort_source_read(values, array, index * count, count);
    for (size_t i = 0; i < count; i++) {
        const double value = values[i];
        const bool fits = element == COHORT_F32 ? isfinite((float)value)
                                                : value >= INT32_MIN && value <= INT32_MAX;
        COHORT_REQUIRE(fits, COHORT_DATA, "%s: row %zu of array %s holds %.9g, which %s",
                       source->path, index, array->name, value,
                       element == COHORT_F32 ? "is not finite in single precision"
                                             : "does not fit 32 bits");
        if (element == COHORT_U8)
            ((unsigned char *)out)[i] = (unsigned char)value;
        else if (element == COHORT_I32)
            ((int32_t *)out)[i] = (int32_t)value;
        else
            ((float *)out)[i] = (float)value;
    }
    return COHORT_OK;
}

static cohort_status copy_rows(cohort_split *split, const cohort_source *source,
                               const cohort_source_array *x, const cohort_source_array *y,
                               const cohort_split_shape *shape, bool is_test)
{
    const size_t x_count = cohort_shape_count(&shape->x_shape);
    const size_t y_count = cohort_shape_count(&shape->y_shape);
    double *values = NULL;
    float *x_row = NULL, *y_row = NULL; /* rows of any of the types */
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&values, x_count > y_count ? x_count : y_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&x_row, x_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&y_row, y_count));
    for (size_t i = 0; i < row_count(x); i++) {
        COHORT_TRY_DONE(status, take_row(x_row, values, source, x, shape->x, i, x_count));
        COHORT_TRY_DONE(status, take_row(y_row, values, source, y, shape->y, i, y_count));
        COHORT_TRY_DONE(
            status,
            cohort_split_append(split, is_test || cohort_split_is_test(split, i), x_row, y_row, 1));
    }
done:
    cohort_free(values);
    cohort_free(x_row);
    cohort_free(y_row);
    return status;
}

static cohort_status convert(cohort_writer *writer, const cohort_options *options,
                             const cohort_source *source)
{
    arrays found = {0};
    cohort_split split = {0};
    COHORT_TRY(find_arrays(&found, source, options));
    COHORT_TRY(check_pair(source, found.x, found.y));
    const cohort_split_shape shape = shape_of(found.x, found.y);
    if (found.test_x) {
        COHORT_TRY(check_pair(source, found.test_x, found.test_y));
        const cohort_split_shape other = shape_of(found.test_x, found.test_y);
        COHORT_REQUIRE(
            shape.x == other.x && shape.y == other.y &&
                cohort_shape_equal(&shape.x_shape, &other.x_shape) &&
                cohort_shape_equal(&shape.y_shape, &other.y_shape),
            COHORT_DATA, "%s: rows of %s and %s are of another shape or type than %s and %s",
            source->path, found.test_x->name, found.test_y->name, found.x->name, found.y->name);
    }
    COHORT_TRY(cohort_split_draw(&split, options, row_count(found.x), 0.2, found.test_x));
    COHORT_TRY(cohort_split_open(&split, writer, options, &shape, found.test_x));
    COHORT_TRY(copy_rows(&split, source, found.x, found.y, &shape, false));
    return found.test_x ? copy_rows(&split, source, found.test_x, found.test_y, &shape, true)
                        : COHORT_OK;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    cohort_source source = {.path = options->positional[0]};
    unsigned char *bytes = NULL;
    size_t count = 0;
    COHORT_TRY(cohort_source_load(&bytes, &count, source.path, bytes_max));
    cohort_status status = cohort_source_npz(&source, bytes, count, bytes_max);
    if (status == COHORT_OK)
        status = convert(writer, options, &source);
    cohort_source_clear(&source);
    cohort_free(bytes);
    return status;
}

static const cohort_option options[] = {
    {"x", "ARRAY", "the samples (default: x_train, X_train, train_images, x or X)", false},
    {"y", "ARRAY", "class numbers or targets of the same rows (default: y_train … as x)", false},
    {"test-x", "ARRAY", "samples that become /test (default: x_test … as x)", false},
    {"test-y", "ARRAY", "and their targets", false},
    COHORT_SPLIT_OPTIONS,
};

const cohort_format cohort_format_npz = {
    .name = "npz",
    .usage = "FILE.npz",
    .summary = "arrays saved by numpy.savez",
    .help = "Reads arrays whose first dimension is the samples. Bytes stay bytes, other integers\n"
            "become int32, floats float32. One integer a row in --y is a class number, other\n"
            "targets are floats. Writes /train and /test: x, y int32 [n] or float32 [n][k].",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .run = run,
};
