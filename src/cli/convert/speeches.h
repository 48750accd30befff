/* A play or a transcript taken apart by who speaks: paragraphs whose first line is a name and a
 * colon. */
#ifndef COHORT_CLI_CONVERT_SPEECHES_H
#define COHORT_CLI_CONVERT_SPEECHES_H

#include <stddef.h>

#include "base/status.h"

/* Points into the text it was found in. */
typedef struct cohort_speech {
    const char *name, *words;
    size_t name_length, words_length;
    size_t order; /* in the text, from 0 */
} cohort_speech;

typedef struct cohort_speeches {
    cohort_speech *items; /* by speaker, names byte by byte, then in the text's order */
    size_t count, capacity;
} cohort_speeches;

/* Takes TEXT [length] apart. A paragraph ends at an empty line; one that begins with no name goes
 * on with the speaker of the one before. What stands before the first name, and names without
 * words, are left out. Start from {0}; free with cohort_speeches_clear. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_speeches_find(cohort_speeches *speeches, const char *text,
                                                    size_t length);
void cohort_speeches_clear(cohort_speeches *speeches);

/* The end (one past the last) of the speeches that have the speaker of speech BEGIN. */
size_t cohort_speeches_end(const cohort_speeches *speeches, size_t begin);

#endif
