/* A data set made of arrays in memory (cohort/arrays.h), in place of a file. */
#ifndef COHORT_DATA_ARRAYS_H
#define COHORT_DATA_ARRAYS_H

#include "cohort/arrays.h"
#include "data/dataset.h"

/* How values of TYPE are kept as x. */
cohort_element cohort_array_element(cohort_type type);
/* OUT [count] = values [begin, begin + count) of ARRAY as ELEMENT, which is as wide as its type
 * or a wider kind of it (float for everything, int32 for uint8). */
void cohort_array_take(void *out, cohort_element element, const cohort_array *array, size_t begin,
                       size_t count);

typedef struct cohort_arrays_data cohort_arrays_data;

/* *out = the data set of ARRAYS, which messages call NAME ("train"). COMM is borrowed until
 * destroy. Collective over COMM. COHORT_USAGE: dimensions that make no samples; COHORT_DATA: NaN
 * or infinity, a row named; COHORT_PEER: ranks that pass different shapes or, but for
 * COHORT_ROWS_GATHERED, different values. */
COHORT_NODISCARD cohort_status cohort_arrays_data_create(cohort_arrays_data **out,
                                                         cohort_comm *comm,
                                                         const cohort_arrays *arrays,
                                                         const char *name);
/* Collective. NULL is fine. */
void cohort_arrays_data_destroy(cohort_arrays_data *data);
/* Other values of the same shapes, held in the same way. Nobody may be reading the data set.
 * Collective; errors as at creation. */
COHORT_NODISCARD cohort_status cohort_arrays_data_replace(cohort_arrays_data *data,
                                                          const cohort_arrays *arrays);
/* The data set; NULL of NULL. Owned by DATA, valid until destroy. */
cohort_dataset *cohort_arrays_data_set(const cohort_arrays_data *data);

#endif
