/* What `cohort explain` writes into its folder. */
#ifndef COHORT_CLI_EXPLAIN_OUTPUT_H
#define COHORT_CLI_EXPLAIN_OUTPUT_H

#include "data/table.h"
#include "data/writer.h"
#include "train/explain.h"

/* Start from {0}; close in any case. */
typedef struct cohort_explain_output {
    const char *folder;
    const cohort_inference *inference;
    cohort_explain_method method;
    bool is_image;                      /* pictures are drawn; else words or a table */
    bool stored_bytes;                  /* images lie as 0 to 255 in the file */
    const cohort_table_encoding *table; /* NULL: features have no names */
    cohort_writer *writer;
    size_t ids[6];
    cohort_text json, html, csv;
    size_t sample_count;
    double gap; /* largest |sum - (f(x) - f(x'))| so far */
} cohort_explain_output;

/* Begins the files in FOLDER, which is made. TABLE is borrowed; NULL if there is none. */
COHORT_NODISCARD cohort_status cohort_explain_output_open(
    cohort_explain_output *out, const char *folder, const cohort_inference *inference,
    cohort_explain_method method, bool stored_bytes, const cohort_table_encoding *table);
/* Adds sample ROW, X as the network takes it. */
COHORT_NODISCARD cohort_status cohort_explain_output_add(cohort_explain_output *out, size_t row,
                                                         const void *x,
                                                         const cohort_explanation *found);
/* Writes what is left to write. */
COHORT_NODISCARD cohort_status cohort_explain_output_finish(cohort_explain_output *out);
void cohort_explain_output_close(cohort_explain_output *out);

#endif
