#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/convert.h"
#include "data/dataset.h"
#include "tests/unit/h5_files.h"

static cohort_comm *comm;

static int start(void **state)
{
    (void)state;
    return cohort_comm_start(&comm) != COHORT_OK;
}

static int stop(void **state)
{
    (void)state;
    cohort_comm_close(comm);
    return 0;
}

static cohort_status open_limited(cohort_dataset **out, const char *path, uint64_t limit)
{
    cohort_dataset_spec spec = {
        .path = path, .group = "train", .x = "x", .y = "y", .memory_limit = limit};
    return cohort_dataset_open(out, comm, &spec);
}

static cohort_status open_file(cohort_dataset **out, const char *path)
{
    return open_limited(out, path, 0);
}

/* A file with x as given (doubles stored as FILE_TYPE) and labels 0, 1, 2, 0 … */
static const char *make_file(const char *name, hid_t file_type, int dim_count, const hsize_t *dims,
                             int layout, const hsize_t *chunk, const double *values)
{
    const char *path = h5_path(name);
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", file_type, H5T_NATIVE_DOUBLE, dim_count, dims, layout, chunk, values);
    int *labels = calloc(dims[0] ? dims[0] : 1, sizeof *labels);
    for (hsize_t i = 0; i < dims[0]; i++)
        labels[i] = (int)(i % 3);
    h5_write(file, "train/y", H5T_STD_U8LE, H5T_NATIVE_INT, 1, dims, H5_CONTIGUOUS, NULL, labels);
    free(labels);
    H5Fclose(file);
    return path;
}

static double element_at(const void *x, cohort_element element, size_t index)
{
    return element == COHORT_U8    ? ((const uint8_t *)x)[index]
           : element == COHORT_I32 ? ((const int32_t *)x)[index]
                                   : (double)((const float *)x)[index];
}

enum { ROWS = 37, ROW = 6 };

/* Reads the file at every memory limit and compares with VALUES [ROWS][ROW]. */
static void check_rows(const char *path, cohort_element element, const double *values,
                       bool also_streamed)
{
    uint64_t limit = 0;
    for (int streamed = 0; streamed <= also_streamed; streamed++) {
        cohort_dataset *dataset = NULL;
        assert_ok(open_limited(&dataset, path, limit));
        const cohort_dataset_info *info = cohort_dataset_describe(dataset);
        assert_int_equal(info->streamed, streamed);
        limit = info->bytes - 1;
        assert_int_equal(info->count, ROWS);
        assert_int_equal(info->x_element, element);
        assert_int_equal(cohort_shape_count(&info->x_shape), ROW);
        assert_true(info->labels && info->targets);
        assert_int_equal(info->y_shape.dim_count, 0);
        assert_int_equal(info->label_min, 0);
        assert_int_equal(info->label_max, 2);
        assert_true((cohort_dataset_memory(dataset) == NULL) == info->streamed);
        assert_true((info->chunk_rows == 0) == !info->streamed);
        uint64_t rows[ROWS];
        for (size_t i = 0; i < ROWS; i++)
            rows[i] = i * 10 % ROWS; /* 10 and 37 have no common factor */
        union {
            uint8_t bytes[ROWS * ROW * 4];
            double align;
        } x;
        int32_t y[ROWS];
        assert_ok(cohort_dataset_gather(&x, y, dataset, rows, ROWS));
        for (size_t i = 0; i < ROWS; i++) {
            assert_int_equal(y[i], rows[i] % 3);
            for (size_t j = 0; j < ROW; j++)
                assert_true(element_at(&x, element, i * ROW + j) == values[rows[i] * ROW + j]);
        }
        cohort_dataset_close(dataset);
    }
}

static void every_type_and_layout(void **state)
{
    (void)state;
    hid_t half = H5Tcopy(H5T_IEEE_F32BE); /* float16 as h5py writes it, big-endian */
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    const struct {
        hid_t type;
        cohort_element element;
        double low, step;
    } types[] = {
        {H5T_STD_U8LE, COHORT_U8, 0, 1},
        {H5T_STD_I8BE, COHORT_I32, -128, 1},
        {H5T_STD_U16BE, COHORT_I32, 0, 250},
        {H5T_STD_I16LE, COHORT_I32, -32768, 200},
        {H5T_STD_I32BE, COHORT_I32, -2147483648.0, 9000000},
        {H5T_STD_U32LE, COHORT_I32, 0, 9000001},
        {H5T_STD_I64BE, COHORT_I32, -2147483648.0, 9000007},
        {H5T_STD_U64LE, COHORT_I32, 0, 9000007},
        {half, COHORT_F32, -100, 0.5},
        {H5T_IEEE_F32LE, COHORT_F32, -3, 0.25},
        {H5T_IEEE_F32BE, COHORT_F32, -3, 0.25},
        {H5T_IEEE_F64LE, COHORT_F32, -1e6, 64},
        {H5T_IEEE_F64BE, COHORT_F32, -1e6, 64},
    };
    const struct {
        int layout;
        hsize_t chunk[3];
    } layouts[] = {
        {H5_CONTIGUOUS, {0}},
        {H5_COMPACT, {0}},
        {H5_CHUNKED, {5, 2, 3}},
        {H5_CHUNKED, {4, 1, 2}},
        {H5_CHUNKED | H5_GZIP | H5_SHUFFLE | H5_CHECK, {7, 2, 3}},
        {H5_CHUNKED | H5_GZIP, {37, 2, 3}},
    };
    const hsize_t dims[] = {ROWS, 2, 3};
    double values[ROWS * ROW];
    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
            for (size_t i = 0; i < ROWS * ROW; i++)
                values[i] = types[t].low + types[t].step * (double)(i % 230);
            const char *path = make_file("types.h5", types[t].type, 3, dims, layouts[l].layout,
                                         layouts[l].chunk, values);
            check_rows(path, types[t].element, values, layouts[l].chunk[0] < ROWS);
            unlink(path);
        }
    H5Tclose(half);
}

/* Blocks smaller than the data: rows come and go through the cache. */
static void streaming_equals_memory(void **state)
{
    (void)state;
    enum { MANY = 3000, WIDE = 512 };
    const hsize_t dims[] = {MANY, WIDE}, chunk[] = {100, 100};
    double *values = malloc(sizeof *values * MANY * WIDE);
    for (size_t i = 0; i < MANY * WIDE; i++)
        values[i] = (double)(i * 2654435761u % 251);
    const char *path = make_file("many.h5", H5T_STD_U8LE, 2, dims,
                                 H5_CHUNKED | H5_GZIP | H5_SHUFFLE, chunk, values);
    cohort_dataset *kept = NULL, *streamed = NULL;
    assert_ok(open_file(&kept, path));
    assert_ok(open_limited(&streamed, path, 900 << 10));
    const cohort_dataset_info *info = cohort_dataset_describe(streamed);
    assert_true(info->streamed);
    assert_int_equal(info->chunk_rows, 100); /* 14 KiB, a 64th of the limit, are one chunk */
    assert_int_equal(info->bytes, MANY * WIDE + MANY * 4);
    uint64_t rows[100];
    uint8_t *a = malloc(100 * WIDE), *b = malloc(100 * WIDE);
    int32_t la[100], lb[100];
    for (uint64_t round = 0; round < 40; round++) {
        for (uint64_t i = 0; i < 100; i++)
            rows[i] = (round * 100 + i) * 1237 % MANY;
        assert_ok(cohort_dataset_gather(a, la, kept, rows, 100));
        assert_ok(cohort_dataset_gather(b, lb, streamed, rows, 100));
        assert_memory_equal(a, b, 100 * WIDE);
        assert_memory_equal(la, lb, sizeof la);
    }
    assert_ok(cohort_dataset_gather(NULL, lb, streamed, rows, 100));
    assert_ok(cohort_dataset_gather(b, NULL, streamed, rows, 100));
    rows[99] = MANY;
    assert_fails(cohort_dataset_gather(b, lb, streamed, rows, 100), COHORT_INTERNAL, "row 3000");
    cohort_dataset_close(kept);
    cohort_dataset_close(streamed);
    cohort_dataset *none = NULL;
    assert_fails(open_limited(&none, path, 1000), COHORT_DATA, "raise data.memory_limit");
    free(a);
    free(b);
    free(values);
    unlink(path);
}

/* A split for one pass in order is not held, but looked through when it is opened. */
static void read_once_is_not_held(void **state)
{
    (void)state;
    enum { MANY = 1300, WIDE = 1024, AT_ONCE = 100 }; /* 5 MiB of floats */
    const hsize_t dims[] = {MANY, WIDE}, few[] = {AT_ONCE, WIDE};
    double *values = malloc(sizeof *values * MANY * WIDE);
    for (size_t i = 0; i < MANY * WIDE; i++)
        values[i] = (double)(i * 2654435761u % 251);
    const char *path = make_file("once.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values);
    const cohort_dataset_spec spec = {
        .path = path, .group = "train", .x = "x", .y = "y", .is_read_once = true};
    cohort_dataset *once = NULL;
    assert_ok(cohort_dataset_open(&once, comm, &spec));
    assert_null(cohort_dataset_memory(once));
    assert_true(cohort_dataset_describe(once)->streamed);
    assert_int_equal(cohort_dataset_describe(once)->label_max, 2);
    float *x = malloc(sizeof *x * AT_ONCE * WIDE);
    for (size_t begin = 0; begin < MANY; begin += AT_ONCE) {
        uint64_t rows[AT_ONCE];
        int32_t y[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            rows[i] = begin + i;
        assert_ok(cohort_dataset_gather(x, y, once, rows, AT_ONCE));
        for (size_t i = 0; i < AT_ONCE; i++)
            assert_int_equal(y[i], rows[i] % 3);
        for (size_t i = 0; i < AT_ONCE * WIDE; i++)
            assert_true((double)x[i] == values[begin * WIDE + i]);
    }
    cohort_dataset_close(once);
    make_file("once.h5", H5T_IEEE_F32LE, 2, dims, H5_CHUNKED, dims, values);
    assert_ok(cohort_dataset_open(&once, comm, &spec));
    assert_non_null(cohort_dataset_memory(once)); /* a block would be all of it */
    cohort_dataset_close(once);
    values[1234 * WIDE + 5] = NAN;
    make_file("once.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values);
    assert_fails(cohort_dataset_open(&once, comm, &spec), COHORT_DATA,
                 "train/x row 1234 holds a NaN");
    make_file("once.h5", H5T_IEEE_F32LE, 2, few, 0, NULL, values);
    assert_ok(cohort_dataset_open(&once, comm, &spec));
    assert_non_null(cohort_dataset_memory(once)); /* small: held all the same */
    cohort_dataset_close(once);
    free(x);
    free(values);
    unlink(path);
}

/* A file that is written to while it is streamed is refused, not read half and half. */
static void changes_under_way(void **state)
{
    (void)state;
    enum { MANY = 1300, WIDE = 1024 };
    const hsize_t dims[] = {MANY, WIDE};
    double *values = malloc(sizeof *values * MANY * WIDE);
    for (size_t i = 0; i < MANY * WIDE; i++)
        values[i] = (double)(i * 2654435761u % 251);
    char before[300];
    snprintf(before, sizeof before, "%s",
             make_file("before.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values));
    values[1290 * WIDE] += 1;
    const char *after = make_file("after.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values);
    char used[300];
    snprintf(used, sizeof used, "%s.used", before);
    const uint64_t last = 1295, others[] = {0, 300, 600, 900};
    float x[WIDE], y[4 * WIDE];
    for (int once = 0; once <= 1; once++) {
        const cohort_dataset_spec spec = {.path = used,
                                          .group = "train",
                                          .x = "x",
                                          .y = "y",
                                          .memory_limit = 2 << 20,
                                          .is_read_once = once};
        cohort_dataset *dataset = NULL;
        h5_copy_over(used, before);
        assert_ok(cohort_dataset_open(&dataset, comm, &spec));
        if (!once) /* what was never read can only be believed */
            assert_ok(cohort_dataset_gather(x, NULL, dataset, &last, 1));
        h5_copy_over(used, after);
        for (uint64_t shift = 0; shift < 300; shift += 20) { /* so that its block gives way */
            uint64_t rows[4];
            for (size_t i = 0; i < 4; i++)
                rows[i] = others[i] + shift;
            assert_ok(cohort_dataset_gather(y, NULL, dataset, rows, 4));
        }
        assert_fails(cohort_dataset_gather(x, NULL, dataset, &last, 1), COHORT_DATA,
                     "changed while it was in use (rows 12");
        assert_int_equal(truncate(used, 2 << 20), 0);
        assert_fails(cohort_dataset_gather(y, NULL, dataset, others, 4), COHORT_DATA,
                     "became shorter while it was in use");
        cohort_dataset_close(dataset);
    }
    free(values);
    unlink(used);
    unlink(before);
    unlink(after);
}

/* Work as CONTEXT says. */
static double work_of(const void *context, const cohort_dataset_info *info)
{
    assert_true(info->count > 0 && info->x_shape.dim_count == 1);
    return *(const double *)context;
}

enum { LEFT = 4300, WIDE = 1024 }; /* 17 MiB of floats, of which 16 are left in the file */

/* How x of LEFT rows is opened: 0 in memory, 1 left in the file, 2 streamed. */
static int way_of(const char *path, double work, uint64_t limit)
{
    const cohort_dataset_spec spec = {.path = path,
                                      .group = "train",
                                      .x = "x",
                                      .y = "y",
                                      .memory_limit = limit,
                                      .work = work_of,
                                      .work_context = &work};
    cohort_dataset *dataset = NULL;
    assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const int way = cohort_dataset_memory(dataset) ? 0 : info->streamed ? 2 : 1;
    assert_true((info->chunk_rows == 0) == (way < 2)); /* the order of samples is that of memory */
    assert_int_equal(info->label_max, 2);
    uint64_t rows[LEFT];
    int32_t y[LEFT];
    float *x = malloc(sizeof *x * LEFT * WIDE);
    for (size_t i = 0; i < LEFT; i++)
        rows[i] = i * 1001 % LEFT;
    assert_ok(cohort_dataset_gather(x, y, dataset, rows, LEFT));
    for (size_t i = 0; i < LEFT; i++) {
        assert_int_equal(y[i], rows[i] % 3);
        for (size_t j = 0; j < WIDE; j++)
            assert_true(x[i * WIDE + j] == (float)((rows[i] * WIDE + j) * 2654435761u % 251));
    }
    free(x);
    cohort_dataset_close(dataset);
    return way;
}

/* What a sample costs decides, where the file lets its rows be found. */
static void much_work_leaves_rows(void **state)
{
    (void)state;
    const hsize_t dims[] = {LEFT, WIDE}, chunk[] = {700, WIDE}, cut[] = {700, WIDE / 2};
    double *values = malloc(sizeof *values * LEFT * WIDE);
    for (size_t i = 0; i < LEFT * WIDE; i++)
        values[i] = (double)(i * 2654435761u % 251);
    const struct {
        hid_t type;
        int layout;
        const hsize_t *chunk;
        double work;
        uint64_t limit;
        int way;
    } cases[] = {
        {H5T_IEEE_F32LE, H5_CONTIGUOUS, NULL, 1e9, 0, 1},
        {H5T_IEEE_F32LE, H5_CHUNKED, chunk, 1e9, 0, 1},
        {H5T_IEEE_F32LE, H5_CONTIGUOUS, NULL, 1e6, 0, 0},
        {H5T_IEEE_F32LE, H5_CONTIGUOUS, NULL, 1e9, 8 << 20, 2},
        {H5T_IEEE_F32LE, H5_CHUNKED, cut, 1e9, 0, 0},
        {H5T_IEEE_F32LE, H5_CHUNKED | H5_GZIP, chunk, 1e9, 0, 0},
        {H5T_IEEE_F32BE, H5_CONTIGUOUS, NULL, 1e9, 0, 0},
        {H5T_IEEE_F64LE, H5_CONTIGUOUS, NULL, 1e9, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path =
            make_file("left.h5", cases[i].type, 2, dims, cases[i].layout, cases[i].chunk, values);
        assert_int_equal(way_of(path, cases[i].work, cases[i].limit), cases[i].way);
    }
    free(values);
    unlink(h5_path("left.h5"));
}

/* Refused at opening as in memory; and what changes later, row by row. */
static void left_rows_are_checked(void **state)
{
    (void)state;
    const double work = 1e9;
    const hsize_t dims[] = {LEFT, WIDE};
    double *values = malloc(sizeof *values * LEFT * WIDE);
    for (size_t i = 0; i < LEFT * WIDE; i++)
        values[i] = (double)(i % 251);
    char before[300];
    snprintf(before, sizeof before, "%s",
             make_file("left.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values));
    values[1234 * WIDE + 5] = 1000;
    const char *after = make_file("after.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values);
    const cohort_dataset_spec spec = {.path = before,
                                      .group = "train",
                                      .x = "x",
                                      .y = "y",
                                      .work = work_of,
                                      .work_context = &work};
    cohort_dataset *dataset = NULL;
    float x[2 * WIDE];
    const uint64_t same[] = {1233, 1235}, changed[] = {1235, 1234}, last = LEFT - 1;
    assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    h5_copy_over(before, after);
    assert_ok(cohort_dataset_gather(x, NULL, dataset, same, 2));
    assert_fails(cohort_dataset_gather(x, NULL, dataset, changed, 2), COHORT_DATA,
                 "changed while it was in use (row 1234 of train/x");
    assert_int_equal(truncate(before, 2 << 20), 0);
    assert_fails(cohort_dataset_gather(x, NULL, dataset, &last, 1), COHORT_DATA,
                 "changed while it was in use (row 4299 of train/x");
    cohort_dataset_close(dataset);
    values[1234 * WIDE + 5] = NAN;
    make_file("left.h5", H5T_IEEE_F32LE, 2, dims, 0, NULL, values);
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA,
                 "train/x row 1234 holds a NaN");
    free(values);
    unlink(before);
    unlink(after);
}

/* How y of TYPE and shape is understood beside x [4][5] of X_TYPE. */
static void check_targets(hid_t x_type, hid_t y_type, int y_dims, const hsize_t *dims, bool labels,
                          size_t y_dim_count, size_t y_count)
{
    const char *path = h5_path("targets.h5");
    double values[64];
    for (int i = 0; i < 64; i++)
        values[i] = i % 5 - 1;
    const hsize_t x_dims[] = {4, 5};
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", x_type, H5T_NATIVE_DOUBLE, 2, x_dims, 0, NULL, values);
    h5_write(file, "train/y", y_type, H5T_NATIVE_DOUBLE, y_dims, dims, 0, NULL, values);
    H5Fclose(file);
    uint64_t bytes = 0;
    for (int limit = 0; limit < 2; limit++) {
        cohort_dataset *dataset = NULL;
        assert_ok(open_limited(&dataset, path, bytes ? bytes - 1 : 0));
        const cohort_dataset_info *info = cohort_dataset_describe(dataset);
        assert_int_equal(info->streamed, limit);
        bytes = info->bytes;
        assert_int_equal(info->labels, labels);
        assert_int_equal(info->y_shape.dim_count, y_dim_count);
        assert_int_equal(cohort_shape_count(&info->y_shape), y_count);
        uint64_t rows[] = {3, 0};
        float x[10], y[64];
        assert_ok(cohort_dataset_gather(x, y, dataset, rows, 2));
        int32_t numbers[64];
        memcpy(numbers, y, sizeof numbers);
        for (size_t i = 0; i < y_count; i++) {
            assert_true((labels ? (double)numbers[i] : (double)y[i]) == values[3 * y_count + i]);
            assert_true((labels ? (double)numbers[y_count + i] : (double)y[y_count + i]) ==
                        values[i]);
        }
        if (labels) {
            assert_int_equal(info->label_min, -1);
            assert_int_equal(info->label_max, y_count > 1 ? 3 : 2);
        }
        cohort_dataset_close(dataset);
    }
    unlink(path);
}

static void targets_are_labels_or_values(void **state)
{
    (void)state;
    const hsize_t n[] = {4}, n1[] = {4, 1}, nk[] = {4, 3}, nt[] = {4, 5}, cube[] = {4, 2, 2};
    const hid_t ints = H5T_STD_I64LE, floats = H5T_IEEE_F64BE;
    check_targets(floats, ints, 1, n, true, 0, 1);
    check_targets(floats, ints, 2, n1, true, 0, 1);
    check_targets(floats, H5T_STD_I8LE, 2, nk, false, 1, 3);
    check_targets(ints, H5T_STD_I16BE, 2, nk, false, 1, 3);
    check_targets(ints, ints, 2, nt, true, 1, 5);
    check_targets(floats, ints, 2, nt, false, 1, 5);
    check_targets(floats, floats, 1, n, false, 1, 1);
    check_targets(floats, floats, 2, n1, false, 1, 1);
    check_targets(floats, floats, 3, cube, false, 1, 4);
}

static void attributes_and_groups(void **state)
{
    (void)state;
    const char *path = h5_path("attributes.h5");
    const hsize_t dims[] = {3};
    const double values[] = {1, 2, 3};
    const char *const classes[] = {"cat", "dog", "a long name \xc3\xa9"};
    const char *const words[] = {"", "the", "of"};
    const char *const source[] = {"somewhere"};
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, dims, 0, NULL, values);
    h5_strings(file, "classes", classes, 3, 0);
    h5_strings(file, "vocabulary", words, 3, 4);
    h5_strings(file, "source", source, 1, 16);
    H5Fclose(file);
    cohort_dataset *dataset = NULL;
    cohort_dataset_spec spec = {.path = path, .group = "/train/", .x = "x"};
    assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    assert_false(info->targets);
    assert_false(info->labels);
    assert_int_equal(info->class_count, 3);
    assert_string_equal(info->classes[2], "a long name \xc3\xa9");
    assert_int_equal(info->vocabulary_count, 3);
    assert_string_equal(info->vocabulary[0], "");
    assert_string_equal(info->vocabulary[1], "the");
    assert_string_equal(info->source, "somewhere");
    cohort_dataset_close(dataset);
    bool has = false;
    assert_ok(cohort_dataset_has_group(&has, path, "train"));
    assert_true(has);
    assert_ok(cohort_dataset_has_group(&has, path, "test/deep"));
    assert_false(has);
    unlink(path);
}

/* h5py stores bool as an enumeration. */
static void enumerations_are_integers(void **state)
{
    (void)state;
    const char *path = h5_path("enum.h5");
    const hsize_t dims[] = {4};
    const double x[] = {1, 2, 3, 4};
    const signed char y[] = {0, 1, 1, 0};
    hid_t type = H5Tenum_create(H5T_STD_I8LE), file = h5_create(path, "train");
    H5Tenum_insert(type, "FALSE", &(signed char){0});
    H5Tenum_insert(type, "TRUE", &(signed char){1});
    h5_write(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, dims, 0, NULL, x);
    h5_write(file, "train/y", type, type, 1, dims, 0, NULL, y);
    H5Tclose(type);
    H5Fclose(file);
    cohort_dataset *dataset = NULL;
    assert_ok(open_file(&dataset, path));
    int32_t labels[4];
    assert_ok(cohort_dataset_gather(NULL, labels, dataset, (uint64_t[]){0, 1, 2, 3}, 4));
    assert_true(labels[0] == 0 && labels[1] == 1 && labels[2] == 1 && labels[3] == 0);
    cohort_dataset_close(dataset);
    unlink(path);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void broken_files(void **state)
{
    (void)state;
    cohort_dataset *dataset = NULL;
    const char *path = h5_path("broken.h5");
    assert_fails(open_file(&dataset, "/nowhere/x.h5"), COHORT_DATA,
                 "/nowhere/x.h5: No such file or directory");
    assert_null(dataset);
    assert_fails(open_file(&dataset, "/tmp"), COHORT_DATA, "not a regular file");
    write_text(path, "");
    assert_fails(open_file(&dataset, path), COHORT_DATA, "empty");
    write_text(path, "x,y\n1,2\n");
    assert_fails(open_file(&dataset, path), COHORT_DATA, "not an HDF5 file");
    unlink(path);
    const hsize_t dims[] = {100, 100};
    double *values = calloc(10000, sizeof *values);
    path = make_file("truncated.h5", H5T_IEEE_F64LE, 2, dims, 0, NULL, values);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size / 2), 0);
    assert_fails(open_file(&dataset, path), COHORT_DATA, "truncated");
    bool has = true;
    assert_fails(cohort_dataset_has_group(&has, path, "train"), COHORT_DATA, "truncated");
    unlink(path);
    free(values);
}

static void flip_byte(const char *path, long from_end)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    fputc(byte ^ 0x55, file);
    fclose(file);
}

/* A damaged chunk is found by its checksum: at opening, or when streamed at reading. */
static void damaged_chunk(void **state)
{
    (void)state;
    const char *path = h5_path("damaged.h5");
    const hsize_t dims[] = {400, 1000}, chunk[] = {400, 1000}, n[] = {400};
    double *values = malloc(sizeof *values * 400000);
    for (size_t i = 0; i < 400000; i++)
        values[i] = (double)(i * 2654435761u % 256);
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/y", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 1, n, 0, NULL, values);
    h5_write(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_DOUBLE, 2, dims, H5_CHUNKED | H5_CHECK,
             chunk, values);
    H5Fclose(file);
    flip_byte(path, 200000);
    cohort_dataset *dataset = NULL;
    assert_fails(open_file(&dataset, path), COHORT_DATA, "cannot read rows 0 to 399 of train/x");
    /* Streamed, its only chunk does not fit a cache either. */
    assert_fails(open_limited(&dataset, path, 401500), COHORT_DATA, "smaller chunks");
    free(values);
    unlink(path);
}

static void missing_parts(void **state)
{
    (void)state;
    cohort_dataset *dataset = NULL;
    const hsize_t dims[] = {3};
    const double values[] = {1, 2, 3};
    const char *path = make_file("parts.h5", H5T_IEEE_F32LE, 1, dims, 0, NULL, values);
    cohort_dataset_spec spec = {.path = path, .group = "valid", .x = "x", .y = "y"};
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA,
                 "has no group valid (it has train)");
    spec.group = "train";
    spec.x = "images";
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA,
                 "has no dataset train/images (it has x, y)");
    spec.x = "x";
    spec.group = "";
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "(it has none)");
    spec.x = "train";
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "not a readable dataset");
    spec.group = "train/x";
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "not a readable group");
    unlink(path);
}

static void refuse(const char *part, hid_t x_type, hid_t memory_type, int dim_count,
                   const hsize_t *dims, const void *values, hsize_t y_count)
{
    const char *path = h5_path("refused.h5");
    const double labels[16] = {0};
    cohort_dataset *dataset = NULL;
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", x_type, memory_type, dim_count, dims, 0, NULL, values);
    h5_write(file, "train/y", H5T_STD_I32LE, H5T_NATIVE_DOUBLE, 1, &y_count, 0, NULL, labels);
    H5Fclose(file);
    assert_fails(open_file(&dataset, path), COHORT_DATA, part);
    assert_non_null(strstr(cohort_error_message(), path));
    assert_null(dataset);
    unlink(path);
}

static void refused_contents(void **state)
{
    (void)state;
    const hsize_t four[] = {4}, pairs[] = {4, 2}, none[] = {0}, empty[] = {4, 0};
    const hsize_t deep[] = {4, 1, 1, 1, 1, 1, 1, 1};
    const double numbers[8] = {0}, bad[8] = {0, 0, 0, 0, 0, NAN, 0, 0},
                 infinite[8] = {[7] = -INFINITY}, large[8] = {[3] = 1e300};
    const int64_t wide[] = {1, 2, 4294967296, 3}, low[] = {1, -2147483649, 2, 3};
    const uint64_t huge[] = {1, 2, 3, UINT64_MAX};
    const hid_t d = H5T_NATIVE_DOUBLE, f = H5T_IEEE_F32LE;
    refuse("train/x has 4 samples but train/y has 3", f, d, 1, four, numbers, 3);
    refuse("has no samples", f, d, 1, none, NULL, 0);
    refuse("a dimension of 0", f, d, 2, empty, NULL, 4);
    refuse("at most 7", f, d, 8, deep, numbers, 4);
    refuse("train/x row 2 holds a NaN", f, d, 2, pairs, bad, 4);
    refuse("train/x row 3 holds a NaN or infinity", H5T_IEEE_F64LE, d, 2, pairs, infinite, 4);
    refuse("row 1 holds a NaN or infinity (or a value too large", H5T_IEEE_F64LE, d, 2, pairs,
           large, 4);
    refuse("row 2 holds 4294967296", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, four, wide, 4);
    refuse("row 1 holds -2147483649", H5T_STD_I64BE, H5T_NATIVE_INT64, 1, four, low, 4);
    refuse("row 3 holds 18446744073709551615", H5T_STD_U64LE, H5T_NATIVE_UINT64, 1, four, huge, 4);
    hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, 8);
    refuse("train/x holds strings", text, text, 1, four, "abcdefgabcdefgabcdefgabcdefghij", 4);
    H5Tclose(text);
}

/* Sizes in the file are not to be believed: nothing is allocated by them. */
static void absurd_sizes(void **state)
{
    (void)state;
    const hsize_t dims[] = {(hsize_t)1 << 40, 1 << 20}, chunk[] = {1, 1 << 20};
    const hsize_t n[] = {(hsize_t)1 << 62, 1 << 20};
    const char *path = h5_path("absurd.h5");
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, H5_CHUNKED, chunk, NULL);
    h5_write(file, "train/z", H5T_STD_U8LE, H5T_NATIVE_FLOAT, 1, n, H5_CHUNKED, (hsize_t[]){1},
             NULL);
    H5Fclose(file);
    cohort_dataset *dataset = NULL;
    cohort_dataset_spec spec = {.path = path, .group = "train", .x = "x", .memory_limit = 1 << 20};
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "never written");
    spec.x = "z";
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "claims more");
    unlink(path);
}

/* One row is there, the file claims 2^40; values in another file; a heap of strings without an
 * end, which HDF5 would read for ever. */
static void hostile_files(void **state)
{
    (void)state;
    const hsize_t most[] = {H5S_UNLIMITED}, one[] = {1}, claimed[] = {(hsize_t)1 << 40};
    const char *path = h5_path("hostile.h5");
    const unsigned char byte = 1;
    hid_t file = h5_create(path, "train"), space = H5Screate_simple(1, one, most),
          plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(plist, 1, one);
    hid_t set = H5Dcreate2(file, "train/x", H5T_STD_U8LE, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    assert_true(H5Dwrite(set, H5T_NATIVE_UINT8, H5S_ALL, H5S_ALL, H5P_DEFAULT, &byte) >= 0);
    assert_true(H5Dset_extent(set, claimed) >= 0);
    H5Dclose(set);
    H5Pclose(plist);
    H5Sclose(space);
    plist = H5Pcreate(H5P_DATASET_CREATE);
    space = H5Screate_simple(1, one, NULL);
    H5Pset_external(plist, "/dev/zero", 0, 1);
    H5Dclose(H5Dcreate2(file, "train/z", H5T_STD_U8LE, space, H5P_DEFAULT, plist, H5P_DEFAULT));
    h5_write(file, "train/s", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, one, H5_CONTIGUOUS, NULL, &byte);
    h5_strings(file, "classes", (const char *const[]){"cat", "dog"}, 2, 0);
    H5Pclose(plist);
    H5Sclose(space);
    H5Fclose(file);
    cohort_dataset *dataset = NULL;
    cohort_dataset_spec spec = {.path = path, .group = "train", .x = "x"};
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "claims 1099511627776");
    spec.x = "z";
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "in other files");
    spec.x = "s";
    assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    cohort_dataset_close(dataset);
    static char bytes[1 << 16];
    FILE *stream = fopen(path, "r+b");
    const size_t count = fread(bytes, 1, sizeof bytes, stream);
    char *heap = memmem(bytes, count, "GCOL", 4);
    assert_non_null(heap);
    memset(heap + 16, 0, 16); /* the first object: free space of no size */
    rewind(stream);
    assert_int_equal(fwrite(bytes, 1, count, stream), count);
    fclose(stream);
    assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, "heap without end");
    unlink(path);
}

static bool at_the_third_question(void *context)
{
    return ++*(int *)context == 3;
}

/* Reading, of which data may have much, is given up when the rank is told to stop; in pieces, so
 * that it asks more than once. */
static void reading_stops_when_told(void **state)
{
    (void)state;
    const hsize_t dims[] = {5, 3}, chunk[] = {2, 3};
    const double values[15] = {0};
    const char *path = make_file("stop.h5", H5T_STD_U8LE, 2, dims, H5_CHUNKED, chunk, values);
    cohort_dataset *dataset = NULL;
    int questions = 0;
    cohort_comm_set_stop(comm, at_the_third_question, &questions);
    assert_ok(open_file(&dataset, path));
    cohort_dataset_close(dataset);
    assert_int_equal(questions, 2); /* x, y */
    assert_fails(open_file(&dataset, path), COHORT_STOPPED, "stopped by a signal while reading");
    cohort_comm_set_stop(comm, NULL, NULL);
    assert_ok(open_file(&dataset, path));
    cohort_dataset_close(dataset);
}

static void finds_the_first_nonfinite(void **state)
{
    (void)state;
    static float values[10001];
    assert_int_equal(cohort_find_nonfinite(values, 10001), 10001);
    for (size_t at = 10001; at-- > 0; at = at > 3000 ? at - 2999 : at) {
        values[at] = at % 2 ? NAN : -INFINITY;
        assert_int_equal(cohort_find_nonfinite(values, 10001), at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_layout),
        cmocka_unit_test(streaming_equals_memory),
        cmocka_unit_test(read_once_is_not_held),
        cmocka_unit_test(changes_under_way),
        cmocka_unit_test(much_work_leaves_rows),
        cmocka_unit_test(left_rows_are_checked),
        cmocka_unit_test(targets_are_labels_or_values),
        cmocka_unit_test(attributes_and_groups),
        cmocka_unit_test(enumerations_are_integers),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(damaged_chunk),
        cmocka_unit_test(missing_parts),
        cmocka_unit_test(refused_contents),
        cmocka_unit_test(absurd_sizes),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(reading_stops_when_told),
        cmocka_unit_test(finds_the_first_nonfinite),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
