/* Text to words: HTML tags removed, entities resolved, lower case, split where no letter,
 * digit or apostrophe is. On plain ASCII these are the matches of [a-z0-9']+. */
#ifndef COHORT_DATA_WORDS_H
#define COHORT_DATA_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COHORT_WORD_BYTES = 256 };

/* Walks a text without copying it. */
typedef struct cohort_words {
    const char *at, *end;
    bool marks;       /* punctuation and symbols are words of one character each */
    bool has_waiting; /* `waiting` was read but belongs to the next word */
    uint32_t waiting;
} cohort_words;

/* The words of TEXT[0..length), UTF-8 (what is not counts as U+FFFD, a mark); borrowed. */
cohort_words cohort_words_of(const char *text, size_t length, bool marks);
/* Writes the next word to WORD (COHORT_WORD_BYTES bytes, UTF-8, 0-terminated) and returns
 * its length; 0 at the end. Of a longer word the first COHORT_WORD_BYTES - 1 bytes are
 * kept, cut between characters. */
size_t cohort_words_next(char *word, cohort_words *words);

#endif
