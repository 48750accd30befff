/* metrics.jsonl: one JSON object a line, appended and flushed. Rank 0 only. */
#ifndef COHORT_TRAIN_RECORD_H
#define COHORT_TRAIN_RECORD_H

#include "base/json.h"
#include "nn/loss.h"
#include "train/evaluate.h"

typedef struct cohort_record {
    char *path; /* NULL: nothing is written (other ranks) */
    cohort_text line;
    /* Adds to every line what all of them say; NULL: nothing. */
    cohort_status (*add)(void *context, cohort_text *line);
    void *context;
} cohort_record;

/* Lines go to PATH from now on; NULL for none. Cut-off last lines (of a run that was
 * killed while writing) are ended first. */
COHORT_NODISCARD cohort_status cohort_record_open(cohort_record *record, const char *path);
void cohort_record_close(cohort_record *record);
/* Starts a line {"event":EVENT; the caller adds fields with cohort_json_* to the text
 * returned. */
cohort_text *cohort_record_begin(cohort_record *record, const char *event);
/* Adds PREFIXperplexity and PREFIXbits_per_character (or _token, by TOKENIZER) for VALUE, the
 * loss of a sequence model; nothing for another LOSS. */
void cohort_record_language(cohort_text *line, const cohort_loss *loss, const char *tokenizer,
                            const char *prefix, double value);
/* Where and when, for those who compare runs: this host, its processor and cores, UTC. */
void cohort_record_machine(cohort_text *line);
/* The record "test" of an evaluation RESULT by LOSS, written: of the test data as INFO says,
 * after UNIT ("epoch") AT. */
COHORT_NODISCARD cohort_status cohort_record_test(cohort_record *record,
                                                  const cohort_evaluation *result,
                                                  const cohort_loss *loss,
                                                  const cohort_dataset_info *info, const char *unit,
                                                  uint64_t at);
/* Ends and writes the line. COHORT_DATA when the file cannot be written. */
COHORT_NODISCARD cohort_status cohort_record_end(cohort_record *record);

#endif
