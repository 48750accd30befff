/* Files whose tensors are put in on the way to disk. */
#include "tests/cmocka_all.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/hdf5.h"
#include "state/image.h"
#include "state/seal.h"

/* Tensors that share blocks, that fill some, and one of nothing. */
static const size_t counts[] = {10, 700001, 5, 262144, 0, 300001, 1};
enum { TENSORS = sizeof counts / sizeof *counts };

static char path[] = "/tmp/cohort-image-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    const int handle = mkstemp(path);
    return handle < 0 ? -1 : close(handle);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static float *values(size_t tensor)
{
    float *out;
    assert_ok(COHORT_ALLOCATE(&out, counts[tensor]));
    for (size_t i = 0; i < counts[tensor]; i++)
        out[i] = (float)(i % 9973) + (float)tensor / 8;
    return out;
}

static void name_of(char name[32], size_t tensor)
{
    snprintf(name, 32, "group%zu/tensor%zu", tensor % 2, tensor);
}

typedef struct fixture {
    cohort_image image;
    float *tensors[TENSORS];
} fixture;

static void set_up(fixture *f)
{
    size_t bytes = 0;
    for (size_t t = 0; t < TENSORS; t++)
        bytes += counts[t] * sizeof(float);
    cohort_hdf5_begin();
    assert_ok(cohort_image_open(&f->image, TENSORS, bytes, path));
    for (size_t t = 0; t < TENSORS; t++) {
        char name[32];
        name_of(name, t);
        f->tensors[t] = values(t);
        hid_t space = H5Screate_simple(1, (hsize_t[]){counts[t]}, NULL);
        hid_t set = H5Dcreate2(f->image.file, name, H5T_IEEE_F32LE, space, f->image.links,
                               f->image.datasets, H5P_DEFAULT);
        assert_true(set >= 0);
        assert_ok(cohort_image_place(&f->image, set, f->tensors[t], counts[t]));
        H5Dclose(set);
        H5Sclose(space);
    }
}

static void tear_down(fixture *f)
{
    cohort_image_close(&f->image);
    cohort_hdf5_end();
    for (size_t t = 0; t < TENSORS; t++)
        cohort_free(f->tensors[t]);
}

static void hdf5_reads_it(void **state)
{
    (void)state;
    fixture f;
    set_up(&f);
    int handle = open(path, O_WRONLY | O_TRUNC);
    assert_ok(cohort_image_write(&f.image, handle, path));
    close(handle);
    assert_ok(cohort_seal_check(path));
    bool sealed;
    assert_ok(cohort_seal_find(&sealed, path));
    assert_true(sealed);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    for (size_t t = 0; t < TENSORS; t++) {
        char name[32];
        float *read;
        name_of(name, t);
        assert_ok(COHORT_ALLOCATE(&read, counts[t]));
        hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
        assert_true(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, read) >= 0);
        assert_memory_equal(read, f.tensors[t], counts[t] * sizeof *read);
        H5Dclose(set);
        cohort_free(read);
    }
    H5Fclose(file);
    tear_down(&f);
}

/* The layout takes some pages, whatever the tensors take. */
static void takes_little_memory(void **state)
{
    (void)state;
    fixture f;
    struct stat info;
    set_up(&f);
    assert_true(H5Fflush(f.image.file, H5F_SCOPE_GLOBAL) >= 0);
    assert_int_equal(fstat(f.image.memory, &info), 0);
    assert_true(info.st_size > 4 * 1000 * 1000);
    assert_true(info.st_blocks * 512 < 200 * 1000);
    tear_down(&f);
}

static void full_disk_is_told(void **state)
{
    (void)state;
    fixture f;
    set_up(&f);
    int handle = open("/dev/full", O_WRONLY);
    assert_int_equal(cohort_image_write(&f.image, handle, "a.h5"), COHORT_DATA);
    assert_non_null(strstr(cohort_error_message(), "a.h5: No space left on device"));
    close(handle);
    tear_down(&f);
}

/* How many layouts of this process still have a name. */
static size_t names_left(void)
{
    char start[64];
    size_t count = 0;
    const int length = snprintf(start, sizeof start, "cohort-layout-%ld-", (long)getpid());
    DIR *shared = opendir("/dev/shm");
    for (struct dirent *entry; shared && (entry = readdir(shared));)
        count += strncmp(entry->d_name, start, (size_t)length) == 0;
    if (shared)
        closedir(shared);
    return count;
}

static void leaves_no_name(void **state)
{
    (void)state;
    fixture f;
    struct rlimit usual, small;
    set_up(&f);
    assert_int_equal(names_left(), 0);
    tear_down(&f);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    small.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const cohort_status status = cohort_image_open(&f.image, 1, 4000, path);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    assert_int_equal(status, COHORT_DATA);
    cohort_image_close(&f.image);
    assert_int_equal(names_left(), 0);
}

/* Wherever it is cut, also in the seal. */
static void file_limit_is_told(void **state)
{
    (void)state;
    fixture f;
    struct rlimit usual, small;
    set_up(&f);
    int handle = open(path, O_WRONLY | O_TRUNC);
    assert_ok(cohort_image_write(&f.image, handle, path));
    const off_t size = lseek(handle, 0, SEEK_CUR);
    close(handle);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    signal(SIGXFSZ, SIG_IGN);
    const rlim_t limits[] = {0, 1, 4096, 1 << 20, 3000000, (rlim_t)size - 10};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        handle = open(path, O_WRONLY | O_TRUNC);
        small.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        const cohort_status status = cohort_image_write(&f.image, handle, path);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
        assert_int_equal(status, COHORT_DATA);
        assert_non_null(strstr(cohort_error_message(), "File too large"));
        close(handle);
    }
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hdf5_reads_it),      cmocka_unit_test(takes_little_memory),
        cmocka_unit_test(leaves_no_name),     cmocka_unit_test(full_disk_is_told),
        cmocka_unit_test(file_limit_is_told),
    };
    return cmocka_run_group_tests_name("image", tests, make_file, remove_file);
}
