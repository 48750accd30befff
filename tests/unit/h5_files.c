#include "tests/unit/h5_files.h"

#include "tests/cmocka_all.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

hid_t h5_create(const char *path, const char *group)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    if (group) {
        hid_t made = H5Gcreate2(file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(made >= 0);
        H5Gclose(made);
    }
    return file;
}

void h5_write(hid_t file, const char *name, hid_t file_type, hid_t memory_type, int dim_count,
              const hsize_t *dims, int layout, const hsize_t *chunk, const void *values)
{
    hid_t space = H5Screate_simple(dim_count, dims, NULL), plist = H5Pcreate(H5P_DATASET_CREATE);
    if (layout & H5_CHUNKED) {
        assert_true(H5Pset_chunk(plist, dim_count, chunk) >= 0);
        if (layout & H5_SHUFFLE)
            H5Pset_shuffle(plist);
        if (layout & H5_GZIP)
            H5Pset_deflate(plist, 4);
        if (layout & H5_CHECK)
            H5Pset_fletcher32(plist);
    } else if (layout & H5_COMPACT) {
        H5Pset_layout(plist, H5D_COMPACT);
    }
    hid_t dataset = H5Dcreate2(file, name, file_type, space, H5P_DEFAULT, plist, H5P_DEFAULT);
    assert_true(dataset >= 0);
    if (values)
        assert_true(H5Dwrite(dataset, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(dataset);
    H5Pclose(plist);
    H5Sclose(space);
}

void h5_strings(hid_t file, const char *name, const char *const *values, hsize_t count,
                size_t bytes)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &count, NULL);
    H5Tset_size(type, bytes ? bytes : H5T_VARIABLE);
    hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(attribute >= 0);
    if (bytes) {
        char *block = calloc(count, bytes);
        for (hsize_t i = 0; i < count; i++)
            strncpy(block + i * bytes, values[i], bytes - 1);
        assert_true(H5Awrite(attribute, type, block) >= 0);
        free(block);
    } else {
        assert_true(H5Awrite(attribute, type, values) >= 0);
    }
    H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
}

void h5_copy_over(const char *to, const char *from)
{
    char piece[4096];
    const int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0600);
    assert_true(in >= 0 && out >= 0);
    for (ssize_t count; (count = read(in, piece, sizeof piece)) > 0;)
        assert_int_equal(write(out, piece, (size_t)count), count);
    close(in);
    close(out);
}

const char *h5_path(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    const char *folder = getenv("TMPDIR");
    snprintf(path, 256, "%s/cohort-%d-%s", folder ? folder : "/tmp", (int)getpid(), name);
    return path;
}
