#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static bool reserve(cohort_text *text, size_t extra)
{
    if (text->failed)
        return false;
    if (cohort_grow((void **)&text->data, &text->capacity, text->length + extra + 1, 1) !=
        COHORT_OK)
        text->failed = true;
    return !text->failed;
}

void cohort_text_append(cohort_text *text, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need >= 0 && reserve(text, (size_t)need)) {
        vsnprintf(text->data + text->length, (size_t)need + 1, format, again);
        text->length += (size_t)need;
    }
    va_end(again);
}

void cohort_text_append_bytes(cohort_text *text, const char *bytes, size_t count)
{
    if (!reserve(text, count))
        return;
    memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

void cohort_text_clear(cohort_text *text)
{
    free(text->data);
    *text = (cohort_text){0};
}

cohort_status cohort_text_status(const cohort_text *text)
{
    COHORT_REQUIRE(!text->failed, COHORT_MEMORY, "out of memory while building text");
    return COHORT_OK;
}

enum { WORD_MAX = 48 };

/* Optimal string alignment distance; words longer than WORD_MAX count as far. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    size_t d[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *cohort_nearest_word(const char *word, const char *const *words, size_t count)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        size_t far = distance(word, words[i]);
        if (far < least) {
            least = far;
            best = words[i];
        }
    }
    return best;
}

bool cohort_parse_double(double *out, const char *text)
{
    if (!*text || isspace((unsigned char)*text))
        return false;
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    if (*end || (errno == ERANGE && fabs(value) > 1))
        return false;
    *out = value;
    return true;
}

bool cohort_parse_int64(int64_t *out, const char *text)
{
    if (!*text || isspace((unsigned char)*text))
        return false;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (*end || errno == ERANGE)
        return false;
    *out = value;
    return true;
}

bool cohort_parse_bytes(uint64_t *out, const char *text)
{
    if (!isdigit((unsigned char)*text))
        return false;
    char *end = NULL;
    double value = strtod(text, &end);
    while (*end == ' ')
        end++;
    static const char units[] = "KMGT";
    if (*end) {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (!unit || (end[1] && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0))
            return false;
        value *= ldexp(1.0, 10 * (int)(unit - units + 1));
    }
    if (!(value >= 0 && value < 0x1p63))
        return false;
    *out = (uint64_t)value;
    return true;
}

const char *cohort_bytes_text(char *text, double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        bytes /= 1024;
    snprintf(text, 24, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

const char *cohort_number_text(char *text, double value)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value || value != value)
            break;
    }
    return text;
}
