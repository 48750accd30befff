/* HDF5 files for tests, written straight through HDF5 in every type and layout. */
#ifndef COHORT_TESTS_H5_FILES_H
#define COHORT_TESTS_H5_FILES_H

#include <hdf5.h>

enum {
    H5_CONTIGUOUS = 0,
    H5_CHUNKED = 1,
    H5_COMPACT = 2,
    H5_GZIP = 4,
    H5_SHUFFLE = 8,
    H5_CHECK = 16
};

/* A new file with the group GROUP (NULL: none); fails the test on errors. */
hid_t h5_create(const char *path, const char *group);
/* NAME with values of MEMORY_TYPE stored as FILE_TYPE; LAYOUT is one of the first three,
 * plus filters for H5_CHUNKED; CHUNK [dim_count] or NULL. */
void h5_write(hid_t file, const char *name, hid_t file_type, hid_t memory_type, int dim_count,
              const hsize_t *dims, int layout, const hsize_t *chunk, const void *values);
/* An attribute of strings: variable (BYTES 0) or fixed of BYTES. */
void h5_strings(hid_t file, const char *name, const char *const *values, hsize_t count,
                size_t bytes);
/* The bytes of the file FROM over those of TO, which stays the same file if it is there. */
void h5_copy_over(const char *to, const char *from);
/* A path in the folder of temporary files, unique to this process; static storage, four
 * at a time. */
const char *h5_path(const char *name);

#endif
