/* Learning a vocabulary from the texts of a training split. */
#ifndef COHORT_DATA_VOCABULARY_H
#define COHORT_DATA_VOCABULARY_H

#include "data/tokenizer.h"

typedef struct cohort_vocabulary cohort_vocabulary;

/* For a SPEC of words or their parts. */
COHORT_NODISCARD cohort_status cohort_vocabulary_create(cohort_vocabulary **out,
                                                        const cohort_tokenizer_spec *spec);
void cohort_vocabulary_destroy(cohort_vocabulary *vocabulary);

/* Counts the words (and pairs) of a text. */
COHORT_NODISCARD cohort_status cohort_vocabulary_count(cohort_vocabulary *vocabulary,
                                                       const char *text, size_t length);

/* *out = a tokenizer with at most MOST tokens: the special ones, then the most frequent
 * words and pairs (equally frequent ones by their bytes; pairs from two occurrences on), or
 * parts of words as cohort_subwords_learn has it. Fewer if there are not as many.
 * PROGRESS as there. */
COHORT_NODISCARD cohort_status
cohort_vocabulary_finish(cohort_tokenizer **out, cohort_vocabulary *vocabulary, size_t most,
                         void (*progress)(void *context, size_t done), void *context);

/* *out = a tokenizer of the characters of TEXT in the order of their codes, or of the 256
 * bytes, as SPEC says. */
COHORT_NODISCARD cohort_status cohort_vocabulary_of_characters(cohort_tokenizer **out,
                                                               const cohort_tokenizer_spec *spec,
                                                               const char *text, size_t length);

#endif
