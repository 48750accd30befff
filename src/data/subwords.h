/* Parts of words: learning them from counted words, and splitting words into them. */
#ifndef COHORT_DATA_SUBWORDS_H
#define COHORT_DATA_SUBWORDS_H

#include "data/dictionary.h"
#include "data/tokenizer.h"

#define COHORT_WORDPIECE_INSIDE "##"    /* before a part that does not begin its word */
#define COHORT_BPE_START "\xe2\x96\x81" /* U+2581, before a part that does */

/* Appends the tokens of WORD. WordPiece: the longest known part from the left on; a word
 * with an unknown remainder is one unknown token. BPE: of all neighbours the pair whose
 * union has the lowest number is merged first; unknown characters are unknown tokens. */
COHORT_NODISCARD cohort_status cohort_subwords_split(cohort_tokens *tokens,
                                                     const cohort_dictionary *vocabulary,
                                                     cohort_token_type type, const char *word,
                                                     size_t length);

/* Adds parts to VOCABULARY, which holds the special tokens, until it has MOST entries or no
 * pair is met twice: the characters (the most frequent ones, at most half of the room),
 * then the pair of neighbouring parts that is met most often, again and again (Gage 1994).
 * WORDS with COUNTS [count of WORDS] are the training text's. PROGRESS (or NULL) is called
 * with CONTEXT now and then. */
COHORT_NODISCARD cohort_status cohort_subwords_learn(cohort_dictionary *vocabulary,
                                                     cohort_token_type type,
                                                     const cohort_dictionary *words,
                                                     const uint64_t *counts, size_t most,
                                                     void (*progress)(void *context, size_t done),
                                                     void *context);

#endif
