/* Growing text, nearest words, numbers from text. */
#ifndef COHORT_BASE_TEXT_H
#define COHORT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A growing, always 0-terminated string. Start from {0}; free with cohort_text_clear.
 * An append that finds no memory marks the text as failed; cohort_text_status tells. */
typedef struct cohort_text {
    char *data; /* NULL while empty */
    size_t length, capacity;
    bool failed;
} cohort_text;

void cohort_text_append(cohort_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void cohort_text_append_bytes(cohort_text *text, const char *bytes, size_t count);
void cohort_text_clear(cohort_text *text);
COHORT_NODISCARD cohort_status cohort_text_status(const cohort_text *text);

/* The word among WORDS[0..count) nearest to WORD by edit distance (Damerau), or
 * NULL if none is near enough to be meant (more than a third of its letters off). */
const char *cohort_nearest_word(const char *word, const char *const *words, size_t count);

/* Whole-string parsers: false unless all of TEXT is one number that fits. */
bool cohort_parse_double(double *out, const char *text);
bool cohort_parse_int64(int64_t *out, const char *text);
/* A byte count: a number with an optional K, M, G, T or KiB, MiB, GiB, TiB. */
bool cohort_parse_bytes(uint64_t *out, const char *text);

/* A byte count for people, such as 1.5 MiB, into TEXT (24 bytes), returned. */
const char *cohort_bytes_text(char *text, double bytes);

/* The shortest decimal text that reads back as the same float or double, into
 * TEXT (32 bytes), returned. Independent of the locale. */
const char *cohort_number_text(char *text, double value);

#endif
