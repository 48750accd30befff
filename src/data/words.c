#include "data/words.h"

#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"

/* A tag longer than this is taken for a stray "<". */
enum { TAG_MOST = 4096, ENTITY_MOST = 12, NO_CHARACTER = UINT32_MAX };

/* The length of the tag or comment at TEXT ("<b>", "</b>", "<br />", "<!-- … -->"), or 0.
 * "<3" and "a < b" are none. */
static size_t tag_length(const char *text, const char *end)
{
    size_t room = (size_t)(end - text);
    if (room < 3)
        return 0;
    const char second = text[1], lower = (char)(second | 0x20);
    if (!(lower >= 'a' && lower <= 'z') && second != '/' && second != '!' && second != '?')
        return 0;
    if (room >= 4 && memcmp(text, "<!--", 4) == 0) {
        const char *close = memmem(text + 4, room - 4, "-->", 3);
        return close ? (size_t)(close - text) + 3 : 0;
    }
    const char *close = memchr(text, '>', room < TAG_MOST ? room : TAG_MOST);
    return close ? (size_t)(close - text) + 1 : 0;
}

typedef struct entity {
    char name[8];
    uint32_t code;
} entity;

/* The names met in running text; letters with accents follow by their parts. */
static const entity entities[] = {
    {"amp", '&'},      {"lt", '<'},        {"gt", '>'},       {"quot", '"'},     {"apos", '\''},
    {"nbsp", ' '},     {"hellip", 0x2026}, {"mdash", 0x2014}, {"ndash", 0x2013}, {"lsquo", 0x2018},
    {"rsquo", 0x2019}, {"ldquo", 0x201c},  {"rdquo", 0x201d}, {"pound", 0xa3},   {"euro", 0x20ac},
    {"copy", 0xa9},    {"reg", 0xae},      {"trade", 0x2122}, {"deg", 0xb0},     {"middot", 0xb7},
    {"laquo", 0xab},   {"raquo", 0xbb},    {"bull", 0x2022},  {"iexcl", 0xa1},   {"iquest", 0xbf},
    {"szlig", 0xdf},   {"AElig", 0xc6},    {"aelig", 0xe6},   {"OElig", 0x152},  {"oelig", 0x153},
    {"ETH", 0xd0},     {"eth", 0xf0},      {"THORN", 0xde},   {"thorn", 0xfe},   {"frac12", 0xbd},
};

/* "eacute" and the like: a letter and the name of an accent, over Latin-1. */
static uint32_t accented(const char *name, size_t length)
{
    static const struct {
        const char *accent, *letters, *latin1;
    } rows[] = {
        {"grave", "AEIOUaeiou", "\xc0\xc8\xcc\xd2\xd9\xe0\xe8\xec\xf2\xf9"},
        {"acute", "AEIOUYaeiouy", "\xc1\xc9\xcd\xd3\xda\xdd\xe1\xe9\xed\xf3\xfa\xfd"},
        {"circ", "AEIOUaeiou", "\xc2\xca\xce\xd4\xdb\xe2\xea\xee\xf4\xfb"},
        {"tilde", "ANOano", "\xc3\xd1\xd5\xe3\xf1\xf5"},
        {"uml", "AEIOUaeiouy", "\xc4\xcb\xcf\xd6\xdc\xe4\xeb\xef\xf6\xfc\xff"},
        {"ring", "Aa", "\xc5\xe5"},
        {"cedil", "Cc", "\xc7\xe7"},
        {"slash", "Oo", "\xd8\xf8"},
    };
    for (size_t i = 0; length > 1 && i < sizeof rows / sizeof *rows; i++) {
        const char *letter = strchr(rows[i].letters, name[0]);
        if (letter && strlen(rows[i].accent) == length - 1 &&
            memcmp(rows[i].accent, name + 1, length - 1) == 0)
            return (unsigned char)rows[i].latin1[letter - rows[i].letters];
    }
    return NO_CHARACTER;
}

/* "#39" or "#x27" (LENGTH characters). */
static uint32_t numbered(const char *name, size_t length)
{
    char digits[ENTITY_MOST + 1], *stop = NULL;
    const bool hexadecimal = length > 2 && (name[1] | 0x20) == 'x';
    const size_t skip = hexadecimal ? 2 : 1;
    memcpy(digits, name + skip, length - skip);
    digits[length - skip] = '\0';
    if (!strchr("0123456789abcdefABCDEF", digits[0]) || !digits[0])
        return NO_CHARACTER;
    const unsigned long code = strtoul(digits, &stop, hexadecimal ? 16 : 10);
    if (*stop)
        return NO_CHARACTER;
    return code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)
               ? COHORT_UNICODE_REPLACEMENT
               : (uint32_t)code;
}

/* The character named by the entity at TEXT, whose length is stored; else NO_CHARACTER. */
static uint32_t read_entity(size_t *length, const char *text, const char *end)
{
    size_t room = (size_t)(end - text);
    const char *close = memchr(text, ';', room < ENTITY_MOST ? room : ENTITY_MOST);
    if (!close || close < text + 3)
        return NO_CHARACTER;
    const char *name = text + 1;
    const size_t name_length = (size_t)(close - name);
    *length = name_length + 2;
    if (*name == '#')
        return numbered(name, name_length);
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
        if (strlen(entities[i].name) == name_length &&
            memcmp(entities[i].name, name, name_length) == 0)
            return entities[i].code;
    return accented(name, name_length);
}

/* The next character as it counts: a blank for a tag, lower case, a plain apostrophe. */
static uint32_t next_character(cohort_words *words)
{
    const char first = *words->at;
    if (first >= 'a' && first <= 'z') {
        words->at++;
        return (uint32_t)first;
    }
    if (first == '<') {
        size_t length = tag_length(words->at, words->end);
        if (length > 0) {
            words->at += length;
            return ' ';
        }
    }
    uint32_t code = NO_CHARACTER;
    if (first == '&') {
        size_t length = 0;
        code = read_entity(&length, words->at, words->end);
        if (code != NO_CHARACTER)
            words->at += length;
    }
    if (code == NO_CHARACTER)
        code = cohort_utf8_take(&words->at, words->end);
    if (code == 0x2019 || code == 0x2018)
        return '\'';
    return cohort_unicode_lower(code);
}

cohort_words cohort_words_of(const char *text, size_t length, bool marks)
{
    return (cohort_words){.at = text, .end = text + length, .marks = marks};
}

static cohort_unicode_class classify(uint32_t code)
{
    return code == '\'' ? COHORT_UNICODE_LETTER : cohort_unicode_classify(code);
}

size_t cohort_words_next(char *word, cohort_words *words)
{
    size_t length = 0;
    while (words->has_waiting || words->at < words->end) {
        const uint32_t code = words->has_waiting ? words->waiting : next_character(words);
        const cohort_unicode_class class = classify(code);
        const bool alone =
            class == COHORT_UNICODE_IDEOGRAPH || (words->marks && class == COHORT_UNICODE_MARK);
        words->has_waiting = false;
        if (class == COHORT_UNICODE_LETTER) {
            if (length + COHORT_UTF8_MAX < COHORT_WORD_BYTES)
                length += cohort_utf8_put(word + length, code);
            continue;
        }
        if (length > 0) {
            words->has_waiting = alone;
            words->waiting = code;
            break;
        }
        if (alone) {
            length = cohort_utf8_put(word, code);
            break;
        }
    }
    word[length] = '\0';
    return length;
}
