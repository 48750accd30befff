/* A folder to work in, files in it, and what the converters wrote. */
#ifndef COHORT_TESTS_CONVERT_FIXTURE_H
#define COHORT_TESTS_CONVERT_FIXTURE_H

#include "tests/cmocka_all.h"

#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/convert/convert.h"

static char folder[64], output[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/cohort-convert-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(output, sizeof output, "%s/out.h5", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* "FOLDER/NAME"; a few are valid at a time. */
static char *in_folder(const char *name)
{
    static char paths[64][160];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static inline void put_file(const char *name, const void *bytes, size_t count)
{
    assert_ok(cohort_file_write(in_folder(name), bytes, count));
}

static inline void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

/* cohort convert ARGUMENTS --output out.h5 */
#define CONVERT(...)                                                                               \
    convert(                                                                                       \
        (char *[]){"convert", __VA_ARGS__, "--output", output},                                    \
        (int)(sizeof((char *[]){"convert", __VA_ARGS__, "--output", output}) / sizeof(char *)))

static inline cohort_status convert(char **argv, int argc)
{
    unlink(output);
    cohort_status status = cohort_cli_convert(argc, argv);
    assert_int_equal(cohort_file_exists(output), status == COHORT_OK);
    return status;
}

/* All of dataset NAME as doubles; *dims its extents, 0-terminated. */
static double *read_values(const char *name, hsize_t dims[8])
{
    hid_t file = H5Fopen(output, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    assert_true(dataset >= 0);
    hid_t space = H5Dget_space(dataset);
    memset(dims, 0, 8 * sizeof *dims);
    H5Sget_simple_extent_dims(space, dims, NULL);
    double *values = calloc((size_t)H5Sget_simple_extent_npoints(space) + 1, sizeof *values);
    assert_true(H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Sclose(space);
    H5Dclose(dataset);
    H5Fclose(file);
    return values;
}

static inline void expect_values(const char *name, const double *wanted, size_t count)
{
    hsize_t dims[8], total = 1;
    double *values = read_values(name, dims);
    for (int i = 0; i < 8 && dims[i]; i++)
        total *= dims[i];
    assert_int_equal(total, count);
    for (size_t i = 0; i < count; i++)
        assert_true(values[i] == wanted[i]);
    free(values);
}
#define EXPECT_VALUES(name, ...)                                                                   \
    expect_values(name, (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double))

static inline bool has_dataset(const char *group)
{
    hid_t file = H5Fopen(output, H5F_ACC_RDONLY, H5P_DEFAULT);
    htri_t there = H5Lexists(file, group, H5P_DEFAULT);
    H5Fclose(file);
    return there > 0;
}

/* The strings of the file attribute NAME, joined by "|". */
static inline void expect_strings(const char *name, const char *wanted)
{
    hid_t file = H5Fopen(output, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    assert_true(attribute >= 0);
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    size_t count = (size_t)H5Sget_simple_extent_npoints(space);
    char **strings = calloc(count, sizeof *strings);
    assert_true(H5Aread(attribute, type, strings) >= 0);
    cohort_text joined = {0};
    for (size_t i = 0; i < count; i++)
        cohort_text_append(&joined, "%s%s", i ? "|" : "", strings[i]);
    assert_string_equal(joined.data, wanted);
    cohort_text_clear(&joined);
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, strings);
    free(strings);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    H5Fclose(file);
}

#endif
