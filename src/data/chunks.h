/* Whether a dataset's values are all there, seen before HDF5 reads them.
 *
 * HDF5 1.10 takes what its filters return for a whole chunk, whatever its size, and a compact or
 * contiguous dataset for as large as its shape says: it then reads behind the end of its memory.
 * Here a chunk's length is told by its filters run backwards (DEFLATE, shuffle, Fletcher 32).
 * Others (szip, plugins, …) are believed. */
#ifndef COHORT_DATA_CHUNKS_H
#define COHORT_DATA_CHUNKS_H

#include <stdbool.h>

#include "data/hdf5.h"

typedef struct cohort_chunks {
    hid_t dataset; /* borrowed */
    unsigned dim_count;
    hsize_t dims[H5S_MAX_RANK], chunk[H5S_MAX_RANK];
    uint64_t bytes;      /* of a whole chunk, as its filters should return it */
    bool is_whole;       /* not chunked, and there in full; true if it is chunked */
    bool is_filtered;    /* chunked, with filters that are understood: else there is no need */
    int deflate;         /* which filter is DEFLATE; -1: none */
    unsigned checksums;  /* bits of those that are Fletcher 32 */
    unsigned char *seen; /* bits of the chunks that were looked at; NULL: too many to note */
} cohort_chunks;

/* Looks at the layout of DATASET, open as long as this is used; close it in any case. Between
 * cohort_hdf5_begin and end, as all here. */
void cohort_chunks_open(cohort_chunks *chunks, hid_t dataset);
void cohort_chunks_close(cohort_chunks *chunks);
/* Whether the rows [begin, begin + count) of the first dimension are there in full, as far as it
 * can be told. What was seen once is not looked at again. */
bool cohort_chunks_are_there(cohort_chunks *chunks, hsize_t begin, hsize_t count);
/* The same of all of DATASET. */
bool cohort_hdf5_is_whole(hid_t dataset);

#endif
