/* Rows of a column read one by one from where they lie in the file: for data of which a row is
 * wanted seldom, against what is then computed with it. The host keeps such a file in its page
 * cache anyway; there it lies once a node, and gives way where memory is short. */
#ifndef COHORT_DATA_ROW_FILE_H
#define COHORT_DATA_ROW_FILE_H

#include "data/column.h"

typedef struct cohort_row_file {
    const cohort_column *column; /* borrowed; may be closed */
    int descriptor;
    size_t chunk_rows;   /* all where it has no chunks */
    uint64_t *offsets;   /* [chunks] where each begins in the file */
    uint32_t *checksums; /* [rows] of what was read of them first; 0 = not yet */
} cohort_row_file;

/* *out = COLUMN's rows, or NULL where they must go through HDF5 or had better be read once:
 * filters, chunks of part of a row or of more than 2,048 in number, another type than is kept, a
 * file system that may not be of this host. Between cohort_hdf5_begin and end; HDF5 may close the
 * file then. Rank-local. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_row_file_open(cohort_row_file **out,
                                                    const cohort_column *column);
/* NULL is fine. */
void cohort_row_file_close(cohort_row_file *file);
/* Takes the checksums of ROWS [count][row_bytes], which begin at row BEGIN. */
void cohort_row_file_note(cohort_row_file *file, const void *rows, size_t begin, size_t count);
/* OUT [row_bytes] = row ROW. Any thread. COHORT_DATA: it cannot be read; it is not what it was when
 * it was noted. */
COHORT_NODISCARD cohort_status cohort_row_file_read(void *out, const cohort_row_file *file,
                                                    uint64_t row);

#endif
