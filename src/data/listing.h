/* What an HDF5 file holds, for `cohort inspect`. */
#ifndef COHORT_DATA_LISTING_H
#define COHORT_DATA_LISTING_H

#include "base/text.h"

/* Appends a description of PATH to TEXT: its string attributes and, for each dataset, path,
 * shape, element type, chunks and filters. Rank-local. COHORT_DATA when it is no HDF5
 * file. */
COHORT_NODISCARD cohort_status cohort_data_list(cohort_text *text, const char *path);

/* Name and version of the HDF5 library. TEXT [BYTES]. */
void cohort_data_library(char *text, size_t bytes);

#endif
