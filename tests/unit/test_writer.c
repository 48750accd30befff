#include "tests/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/writer.h"

static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/cohort-writer-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/out.h5", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static size_t files_in_folder(void)
{
    DIR *dir = opendir(folder);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* The rows of NAME as 32-bit integers or floats, or bytes, as TYPE says. */
static hsize_t read_all(void *values, const char *name, hid_t type, H5D_layout_t layout)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(dataset);
    hid_t creation = H5Dget_create_plist(dataset);
    hsize_t dims[H5S_MAX_RANK];
    assert_true(H5Sget_simple_extent_dims(space, dims, NULL) > 0);
    assert_int_equal(H5Pget_layout(creation), layout);
    assert_true(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Pclose(creation);
    H5Sclose(space);
    H5Dclose(dataset);
    H5Fclose(file);
    return dims[0];
}

static void write_sample(size_t rows, int deflate)
{
    cohort_writer *writer = NULL;
    size_t x, y;
    unlink(path);
    assert_ok(cohort_writer_create(&writer, path));
    assert_ok(
        cohort_writer_add(&x, writer, "train", "x", COHORT_F32, &cohort_shape_of(100), deflate));
    assert_ok(cohort_writer_add(&y, writer, "train", "y", COHORT_I32, &(cohort_shape){0}, 0));
    for (size_t row = 0; row < rows; row++) {
        float values[100];
        for (size_t i = 0; i < 100; i++)
            values[i] = (float)(row * 100 + i);
        assert_ok(cohort_writer_append(writer, x, values, 1));
        assert_ok(cohort_writer_append(writer, y, &(int32_t){(int32_t)row - 5}, 1));
    }
    assert_ok(cohort_writer_attribute(writer, "source", "a test — ä"));
    assert_false(cohort_file_exists(path));
    assert_ok(cohort_writer_finish(writer));
    cohort_writer_destroy(writer);
    assert_int_equal(files_in_folder(), 1);
}

static void rows_come_back(void **state)
{
    (void)state;
    /* 655 rows of 400 bytes make a chunk. */
    const struct {
        size_t rows;
        int deflate;
        H5D_layout_t layout;
    } cases[] = {{3, 0, H5D_CONTIGUOUS}, {3, 4, H5D_CHUNKED},    {655, 0, H5D_CHUNKED},
                 {2000, 1, H5D_CHUNKED}, {0, 0, H5D_CONTIGUOUS}, {0, 3, H5D_CONTIGUOUS}};
    static float x[200000];
    static int32_t y[2000];
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        write_sample(cases[c].rows, cases[c].deflate);
        assert_int_equal(read_all(x, "/train/x", H5T_NATIVE_FLOAT, cases[c].layout), cases[c].rows);
        assert_int_equal(read_all(y, "/train/y", H5T_NATIVE_INT32, H5D_CONTIGUOUS), cases[c].rows);
        for (size_t i = 0; i < cases[c].rows * 100; i++)
            assert_true(x[i] == (float)i);
        for (size_t i = 0; i < cases[c].rows; i++)
            assert_int_equal(y[i], (int)i - 5);
    }
}

static void same_input_same_bytes(void **state)
{
    (void)state;
    cohort_text first = {0}, second = {0};
    write_sample(700, 1);
    assert_ok(cohort_file_read(&first, path, 1 << 24));
    sleep(1); /* HDF5's times have a resolution of one second */
    write_sample(700, 1);
    assert_ok(cohort_file_read(&second, path, 1 << 24));
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
    cohort_text_clear(&first);
    cohort_text_clear(&second);
}

static void large_rows_and_vocabularies(void **state)
{
    (void)state;
    enum { WORDS = 50000, SIDE = 1500 };
    cohort_writer *writer = NULL;
    size_t x;
    static char text[WORDS][16];
    static const char *words[WORDS];
    for (size_t i = 0; i < WORDS; i++) {
        snprintf(text[i], sizeof text[i], "wörd%zu", i);
        words[i] = text[i];
    }
    unsigned char *image = malloc(SIDE * SIDE * 4), *again = malloc(SIDE * SIDE * 4);
    for (size_t i = 0; i < SIDE * SIDE * 4; i++)
        image[i] = (unsigned char)(i * 7 / 5);
    assert_ok(cohort_writer_create(&writer, path));
    assert_ok(
        cohort_writer_add(&x, writer, "", "x", COHORT_U8, &cohort_shape_of(SIDE, SIDE, 4), 0));
    assert_ok(cohort_writer_append(writer, x, image, 1));
    assert_ok(cohort_writer_attribute_list(writer, "vocabulary", words, WORDS));
    assert_ok(cohort_writer_finish(writer));
    cohort_writer_destroy(writer);
    assert_int_equal(read_all(again, "/x", H5T_NATIVE_UINT8, H5D_CHUNKED), 1);
    assert_memory_equal(image, again, SIDE * SIDE * 4);
    free(image);
    free(again);

    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t attribute = H5Aopen(file, "vocabulary", H5P_DEFAULT), type = H5Aget_type(attribute);
    static char *back[WORDS];
    assert_true(H5Aread(attribute, type, back) >= 0);
    for (size_t i = 0; i < WORDS; i++) {
        assert_string_equal(back[i], text[i]);
        H5free_memory(back[i]);
    }
    H5Tclose(type);
    H5Aclose(attribute);
    H5Fclose(file);
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    cohort_writer *writer = NULL;
    size_t id;
    unlink(path);
    assert_fails(cohort_writer_create(&writer, "/tmp/no/such/folder.h5"), COHORT_DATA,
                 "cannot write /tmp/no/such/folder.h5: No such file");
    assert_fails(cohort_writer_create(&writer, folder), COHORT_DATA, "is not a file");
    assert_ok(cohort_writer_create(&writer, path));
    assert_fails(cohort_writer_add(&id, writer, "a", "x", COHORT_U8, &cohort_shape_of(3, 0), 0),
                 COHORT_DATA, "/a/x");
    cohort_writer_destroy(writer);
    assert_int_equal(files_in_folder(), 0);
}

/* A limit on the size of files stands for a full disk. */
static void full_disk_is_reported(void **state)
{
    (void)state;
    cohort_writer *writer = NULL;
    size_t id;
    static unsigned char row[1 << 16];
    write_sample(10, 0);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    assert_ok(cohort_writer_create(&writer, path));
    assert_ok(cohort_writer_add(&id, writer, "a", "x", COHORT_U8, &cohort_shape_of(1 << 16), 0));
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < 64 && status == COHORT_OK; i++)
        status = cohort_writer_append(writer, id, row, 1);
    if (status == COHORT_OK)
        status = cohort_writer_finish(writer);
    assert_int_equal(status, COHORT_DATA);
    assert_non_null(strstr(cohort_error_message(), "File too large"));
    cohort_writer_destroy(writer);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(files_in_folder(), 1); /* the old one */
    static float x[1000];
    assert_int_equal(read_all(x, "/train/x", H5T_NATIVE_FLOAT, H5D_CONTIGUOUS), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back),
        cmocka_unit_test(same_input_same_bytes),
        cmocka_unit_test(large_rows_and_vocabularies),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(full_disk_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
