/* A table in delimited text as the input of a model that was trained on one of its kind. */
#ifndef COHORT_CLI_TABLE_INPUT_H
#define COHORT_CLI_TABLE_INPUT_H

#include "data/convert.h"
#include "data/table.h"
#include "train/job.h"

typedef struct cohort_table_input {
    cohort_text bytes; /* float [count][width], encoded */
    size_t count, width;
    cohort_scaling scaling; /* the recipe's */
    float *rows;            /* [batch][width] */
    uint64_t *numbers;
} cohort_table_input;

/* Reads PATH on rank 0 for all, for batches of at most BATCH rows: columns are found by their
 * names when the training table had names, else by their places (labels may be absent).
 * Collective; COHORT_DATA names the line and the column. Clear *input in any case. */
COHORT_NODISCARD cohort_status cohort_table_input_open(cohort_table_input *input, cohort_comm *comm,
                                                       const cohort_inference *inference,
                                                       const char *path, size_t batch);
void cohort_table_input_clear(cohort_table_input *input);
/* *batch = rows [begin, begin + count), valid until the next call. Rank-local. */
void cohort_table_input_take(cohort_batch *batch, cohort_table_input *input, size_t begin,
                             size_t count);

#endif
