/* Samples for a trained network, from what a user names: an HDF5 file, lines of text, or a table in
 * delimited text. */
#ifndef COHORT_CLI_MODEL_INPUT_H
#define COHORT_CLI_MODEL_INPUT_H

#include "cli/table_input.h"
#include "cli/text_input.h"
#include "train/job.h"

/* Start from {0}; close in any case. */
typedef struct cohort_model_input_source {
    size_t count;            /* samples */
    cohort_dataset *dataset; /* of an HDF5 file */
    cohort_loader *loader;
    bool is_text, is_table;
    cohort_text_input text;
    cohort_table_input table;
    cohort_batch lines; /* the batch under way */
} cohort_model_input_source;

/* Opens PATH for the network of INFERENCE, which MODEL names in messages, in global batches of
 * inference->batch samples a rank. GROUP: of an HDF5 file; NULL: the recipe's test group.
 * Collective; COHORT_DATA; COHORT_USAGE for a group of a text. */
COHORT_NODISCARD cohort_status cohort_model_input_open(cohort_model_input_source *in,
                                                       cohort_comm *comm,
                                                       const cohort_inference *inference,
                                                       const char *model, const char *path,
                                                       const char *group);
void cohort_model_input_close(cohort_model_input_source *in);
/* *batch = this rank's part of the COUNT samples from BEGIN on, the next ones in order. Rank-local;
 * COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_model_input_next(const cohort_batch **batch,
                                                       cohort_model_input_source *in,
                                                       const cohort_comm *comm, size_t begin,
                                                       size_t count);
/* *batch = sample INDEX alone, of a source opened by one rank for batches of one. */
COHORT_NODISCARD cohort_status cohort_model_input_take(const cohort_batch **batch,
                                                       cohort_model_input_source *in,
                                                       const cohort_comm *comm, size_t index);

#endif
