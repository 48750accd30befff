/* HDF5 files that HDF5 1.10 crashes on or never gets through: each is refused with one line. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/dataset.h"
#include "data/groups.h"
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

static char bytes[1 << 16];
static size_t byte_count;

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    byte_count = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    unlink(path);
}

/* A file of what is in `bytes` is refused with MESSAGE, or read if that is NULL. */
static void judge(const char *message)
{
    static unsigned number;
    char name[32];
    snprintf(name, sizeof name, "judged-%u.h5", number++);
    const char *path = h5_path(name);
    cohort_dataset *dataset = NULL;
    const cohort_dataset_spec spec = {.path = path, .group = "train", .x = "x"};
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, byte_count, file), byte_count);
    fclose(file);
    if (message)
        assert_fails(cohort_dataset_open(&dataset, comm, &spec), COHORT_DATA, message);
    else
        assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    cohort_dataset_close(dataset);
    unlink(path);
}

static void make_strings(hsize_t base)
{
    const unsigned char byte = 1;
    const char *path = h5_path("strings.h5");
    hid_t plist = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_userblock(plist, base);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, plist, H5P_DEFAULT);
    H5Pclose(plist);
    H5Gclose(H5Gcreate2(file, "train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    h5_write(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, (const hsize_t[]){1},
             H5_CONTIGUOUS, NULL, &byte);
    h5_strings(file, "classes", (const char *const[]){"tiger", "", "dog"}, 3, 0);
    H5Fclose(file);
    load(path);
}

/* The reference to the first string: [5 0 0 0][heap 8][object 4]. */
static char *first_reference(void)
{
    char wanted[16] = {5};
    char *heap = memmem(bytes, byte_count, "GCOL", 4);
    assert_non_null(heap);
    for (char *at = bytes; (at = memmem(at, (size_t)(bytes + byte_count - at), wanted, 4)); at++)
        if (at[12] == 3 && memcmp(at + 13, wanted + 1, 3) == 0)
            return at;
    fail_msg("no reference");
    return NULL;
}

/* What the tests below damage is read when it is whole, behind a user block as well. */
static void strings_that_are_good(void **state)
{
    (void)state;
    for (hsize_t base = 0; base <= 512; base += 512) {
        make_strings(base);
        judge(NULL);
    }
}

static void references_that_lead_nowhere(void **state)
{
    (void)state;
    make_strings(0);
    char *reference = first_reference(), kept[16];
    memcpy(kept, reference, sizeof kept);
    reference[12] = 9; /* no such object: HDF5 would read beyond its table */
    reference[14] = 1;
    judge("not all there");
    memcpy(reference, kept, sizeof kept);
    reference[0] = 4; /* shorter than the object: HDF5 would write beyond its memory */
    judge(NULL);
    reference[0] = 50; /* longer */
    judge("not all there");
    memcpy(reference, kept, sizeof kept);
    reference[3] = 127; /* 2 GiB long */
    judge("bytes of strings");
    memcpy(reference, kept, sizeof kept);
    reference[4] ^= 8; /* another place */
    judge("not where it says");
    reference[10] = 1; /* beyond the end */
    judge("not where it says");
}

static void heaps_that_lie(void **state)
{
    (void)state;
    make_strings(0);
    char *heap = memmem(bytes, byte_count, "GCOL", 4), kept[64];
    memcpy(kept, heap, sizeof kept);
    memset(heap + 16, 0, 16); /* free space of no size, read for ever */
    judge("heap without end");
    memcpy(heap, kept, sizeof kept);
    memset(heap + 24, 0x7f, 8); /* an object of any size */
    judge("heap without end");
    memcpy(heap, kept, sizeof kept);
    memset(heap + 8, 0x7f, 8); /* a heap of any size */
    judge("impossible size");
}

/* A chunk whose DEFLATE yields less than a chunk: HDF5 would read what is behind it. */
static void chunks_too_short(void **state)
{
    (void)state;
    static const unsigned char short_stream[] = {0x78, 0x9c, 0x4b, 0x4c, 0x4a, 0x06,
                                                 0x00, 0x02, 0x4d, 0x01, 0x27}; /* "abc" */
    static unsigned char values[4096];
    const char *path = h5_path("chunks.h5");
    const hsize_t count[] = {sizeof values}, at[] = {0};
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, count,
             H5_CHUNKED | H5_GZIP | H5_SHUFFLE, count, values);
    hid_t set = H5Dopen2(file, "train/x", H5P_DEFAULT);
    assert_true(H5Dwrite_chunk(set, H5P_DEFAULT, 0, at, sizeof short_stream, short_stream) >= 0);
    H5Dclose(set);
    H5Fclose(file);
    load(path);
    judge("not all of it is there");
}

/* Chunks without dimensions: HDF5 divides by zero. */
static void chunks_without_dimensions(void **state)
{
    (void)state;
    static unsigned char values[0x1234];
    const hsize_t count[] = {sizeof values};
    const char *path = h5_path("rows.h5");
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, count, H5_CHUNKED, count, values);
    H5Fclose(file);
    load(path);
    judge(NULL);
    /* [version 3][chunked 2][dimensions 2][index 8][chunk 4][element 4] */
    char *layout = memmem(bytes, byte_count, "\x34\x12\0\0\1\0\0\0", 8);
    assert_non_null(layout);
    memset(layout - 9, 0, 17);
    judge("HDF5 crashes when it reads it");
    judge("HDF5 crashes when it reads it"); /* it is not taken for known */
}

/* Clients told apart by strings of variable length: read by the same reader. */
static void groups_of_strings(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a", "b", ""};
    const char *path = h5_path("groups.h5");
    const hsize_t count[] = {4};
    hid_t file = h5_create(path, "train"), type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    h5_write(file, "train/who", type, type, 1, count, H5_CHUNKED | H5_GZIP, count, names);
    H5Tclose(type);
    H5Fclose(file);
    int32_t *ids = NULL;
    size_t groups = 0;
    assert_ok(cohort_groups_read(&ids, &groups, path, "train", "who", 4));
    assert_int_equal(groups, 3);
    assert_memory_equal(ids, ((const int32_t[]){2, 1, 2, 0}), 4 * sizeof *ids);
    cohort_free(ids);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_that_are_good),
        cmocka_unit_test(references_that_lead_nowhere),
        cmocka_unit_test(heaps_that_lie),
        cmocka_unit_test(chunks_too_short),
        cmocka_unit_test(chunks_without_dimensions),
        cmocka_unit_test(groups_of_strings),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
