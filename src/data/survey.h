/* A first look at a split, before any of it is held: how large it is, how it lies in the
 * file, and how fast it can be read. */
#ifndef COHORT_DATA_SURVEY_H
#define COHORT_DATA_SURVEY_H

#include "data/dataset.h"

typedef struct cohort_survey {
    size_t count;         /* samples */
    uint64_t bytes;       /* of x and y as they would be kept in memory */
    uint64_t row_bytes;   /* of a sample's x as kept */
    uint64_t chunk_bytes; /* of an HDF5 chunk of x as kept; 0: contiguous */
    uint64_t block_bytes; /* of what is read of x at once when streamed, as kept */
    bool filtered;        /* x is compressed */
    double bytes_per_s;   /* of x as kept, over some blocks read here and there */
} cohort_survey;

/* Opens the split that SPEC names, reads blocks of x for about SECONDS, closes it. Rank-local;
 * COHORT_DATA as cohort_dataset_open (of values only those read are looked at). */
COHORT_NODISCARD cohort_status cohort_data_survey(cohort_survey *survey,
                                                  const cohort_dataset_spec *spec, double seconds);

#endif
