/* Reading one dataset of any HDF5 file, run by run of rows: for `cohort convert`. */
#ifndef COHORT_DATA_READER_H
#define COHORT_DATA_READER_H

#include "data/dataset.h"

typedef struct cohort_reader cohort_reader;

/* Opens dataset NAME ("group/images") of PATH. COHORT_DATA: missing, not numbers, no rows, too
 * many dimensions, damaged. */
COHORT_NODISCARD cohort_status cohort_reader_open(cohort_reader **out, const char *path,
                                                  const char *name);
/* NULL is fine. */
void cohort_reader_close(cohort_reader *reader);

/* Rows: the first dimension. */
size_t cohort_reader_count(const cohort_reader *reader);
/* Of a row; {1} when the dataset has one dimension. */
cohort_shape cohort_reader_shape(const cohort_reader *reader);
/* What rows are read as: bytes and other integers as they are (int32), floats as float. */
cohort_element cohort_reader_element(const cohort_reader *reader);
/* Reads them as ELEMENT (int32 or float) from now on. */
void cohort_reader_read_as(cohort_reader *reader, cohort_element element);
/* Rows that are read at once at the least cost. */
size_t cohort_reader_block(const cohort_reader *reader);
/* OUT [count][shape] = rows [begin, begin + count). COHORT_DATA names the row: damaged, NaN, an
 * integer beyond 32 bits. */
COHORT_NODISCARD cohort_status cohort_reader_read(void *out, cohort_reader *reader, size_t begin,
                                                  size_t count);

#endif
