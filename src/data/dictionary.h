/* Strings to small numbers and back: 0, 1, 2, … in the order they are first met. */
#ifndef COHORT_DATA_DICTIONARY_H
#define COHORT_DATA_DICTIONARY_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { COHORT_DICTIONARY_NONE = UINT32_MAX };

typedef struct cohort_dictionary cohort_dictionary;

COHORT_NODISCARD cohort_status cohort_dictionary_create(cohort_dictionary **out);
void cohort_dictionary_destroy(cohort_dictionary *dictionary);

/* *id = the number of TEXT[0..length), a new one if it is new; bytes may be anything but 0.
 * COHORT_DATA beyond 2^31 strings. */
COHORT_NODISCARD cohort_status cohort_dictionary_add(uint32_t *id, cohort_dictionary *dictionary,
                                                     const char *text, size_t length);
/* The number of TEXT, or COHORT_DICTIONARY_NONE. */
uint32_t cohort_dictionary_find(const cohort_dictionary *dictionary, const char *text,
                                size_t length);
uint32_t cohort_dictionary_count(const cohort_dictionary *dictionary);
/* String ID, 0-terminated, and its length. Valid until the next addition. */
const char *cohort_dictionary_text(const cohort_dictionary *dictionary, uint32_t id);
size_t cohort_dictionary_length(const cohort_dictionary *dictionary, uint32_t id);

#endif
