/* One dataset of a split, x or y, as rows: what it holds, and reading runs of rows in
 * the element type they are kept in. */
#ifndef COHORT_DATA_COLUMN_H
#define COHORT_DATA_COLUMN_H

#include "data/chunks.h"
#include "data/dataset.h"
#include "data/hdf5.h"

typedef struct cohort_column {
    const char *path, *group, *name; /* for messages; borrowed */
    hid_t dataset;
    hid_t read_type;   /* a predefined H5T_NATIVE_ type */
    size_t read_bytes; /* of one element of it */
    bool integer;      /* in the file */
    cohort_element element;
    unsigned dim_count;
    hsize_t dims[COHORT_SHAPE_MAX + 1];
    size_t row_count;
    cohort_shape shape; /* of a row: the dimensions but the first; {1} if there is none */
    size_t row_elements, row_bytes; /* as kept */
    size_t chunk_rows;              /* of an HDF5 chunk; 1 if it has none */
    size_t block_target;            /* bytes a block should have at least */
    size_t block_rows; /* rows read in one piece: whole HDF5 chunks, at most row_count */
    cohort_chunks chunks;
    uint64_t file_bytes; /* when it was opened; 0 = unknown */
    void *wide;          /* staging for 64-bit integers, [wide_bytes] */
    size_t wide_bytes;
} cohort_column;

/* Opens GROUP_ID/NAME (owned until close). COHORT_DATA: missing, not numbers, no rows,
 * too many dimensions, never
 * written. Between cohort_hdf5_begin and end, as all below. */
COHORT_NODISCARD cohort_status cohort_column_open(cohort_column *column, hid_t group_id,
                                                  const char *path, const char *group,
                                                  const char *name, size_t block_target);
void cohort_column_close(cohort_column *column);
/* Keeps the values as ELEMENT (int32 or float) instead of the type's own choice. */
void cohort_column_keep_as(cohort_column *column, cohort_element element);

/* Reads rows [begin, begin + count) to OUT [count][row_elements]. COHORT_DATA: damaged
 * data, NaN or infinity, an integer that does not fit 32 bits (the row is named); a file that has
 * become shorter. */
COHORT_NODISCARD cohort_status cohort_column_read(void *out, cohort_column *column, size_t begin,
                                                  size_t count);

#endif
