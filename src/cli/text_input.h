/* Plain text as the input of a model: one document a line. */
#ifndef COHORT_CLI_TEXT_INPUT_H
#define COHORT_CLI_TEXT_INPUT_H

#include "data/tokenizer.h"
#include "train/job.h"

/* *out = the tokeniser of an open model: rows are as long as its input. MODEL names it in
 * messages. COHORT_USAGE when it is no text model. */
COHORT_NODISCARD cohort_status cohort_text_tokenizer(cohort_tokenizer **out,
                                                     const cohort_inference *inference,
                                                     const char *model);

typedef struct cohort_text_input {
    const char *path;
    cohort_text text; /* all of it; lines end in \n or \r\n */
    size_t *starts;   /* [count + 1] where each begins */
    size_t count, capacity;
    cohort_tokenizer *tokenizer;
    int32_t *rows; /* [batch][time] */
    uint64_t *numbers;
    size_t batch, time;
} cohort_text_input;

/* Whether PATH, as rank 0 sees it, is a file of something else than HDF5. Collective. */
COHORT_NODISCARD cohort_status cohort_text_input_is(bool *is, cohort_comm *comm, const char *path);
/* Reads PATH on rank 0 for all, for batches of at most BATCH documents. Collective;
 * COHORT_DATA. Clear *input in any case. */
COHORT_NODISCARD cohort_status cohort_text_input_open(cohort_text_input *input, cohort_comm *comm,
                                                      const cohort_inference *inference,
                                                      const char *model, const char *path,
                                                      size_t batch);
void cohort_text_input_clear(cohort_text_input *input);
/* *batch = documents [begin, begin + count), tokens in x, valid until the next call.
 * Rank-local; COHORT_DATA names the line of a character that the model does not know. */
COHORT_NODISCARD cohort_status cohort_text_input_take(cohort_batch *batch, cohort_text_input *input,
                                                      size_t begin, size_t count);

#endif
