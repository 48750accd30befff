/* Reading UTF-8 and telling letters, the same on every machine (the C library's answers
 * depend on the locales installed). */
#ifndef COHORT_DATA_UNICODE_H
#define COHORT_DATA_UNICODE_H

#include <stddef.h>
#include <stdint.h>

enum { COHORT_UNICODE_REPLACEMENT = 0xfffd, COHORT_UTF8_MAX = 4 };

/* The character at *at < END, which moves behind it. What is not well-formed UTF-8 (wrong
 * or missing bytes, overlong forms, surrogates) reads as U+FFFD, one per maximal part
 * (Unicode 15, section 3.9). */
uint32_t cohort_utf8_take(const char **at, const char *end);
/* Writes CODE to TEXT (COHORT_UTF8_MAX bytes); returns the number of bytes. */
size_t cohort_utf8_put(char *text, uint32_t code);

/* The lower-case form (UnicodeData's simple mapping), or CODE itself. */
uint32_t cohort_unicode_lower(uint32_t code);

typedef enum cohort_unicode_class {
    COHORT_UNICODE_SPACE,     /* blanks, controls, invisible characters */
    COHORT_UNICODE_MARK,      /* punctuation and symbols, emoji included */
    COHORT_UNICODE_LETTER,    /* letters, digits and their combining marks, of any script */
    COHORT_UNICODE_IDEOGRAPH, /* of scripts written without blanks: a word each */
} cohort_unicode_class;

cohort_unicode_class cohort_unicode_classify(uint32_t code);

#endif
