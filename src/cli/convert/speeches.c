#include "cli/convert/speeches.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A line without its end, and where the next one begins. */
typedef struct line {
    const char *begin, *end, *next;
} line;

static line line_at(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    line made = {.begin = at, .end = newline ? newline : end, .next = newline ? newline + 1 : end};
    if (made.end > made.begin && made.end[-1] == '\r')
        made.end--;
    return made;
}

/* "FIRST CITIZEN:" */
static bool is_name(const line *at)
{
    return at->end - at->begin > 1 && at->end[-1] == ':';
}

static cohort_status add(cohort_speeches *speeches, const line *name, const char *words,
                         const char *end)
{
    if (!name->begin || words == end)
        return COHORT_OK;
    COHORT_TRY(cohort_grow((void **)&speeches->items, &speeches->capacity, speeches->count + 1,
                           sizeof *speeches->items));
    speeches->items[speeches->count] = (cohort_speech){
        .name = name->begin,
        .name_length = (size_t)(name->end - name->begin) - 1,
        .words = words,
        .words_length = (size_t)(end - words),
        .order = speeches->count,
    };
    speeches->count++;
    return COHORT_OK;
}

static int compare_names(const cohort_speech *a, const cohort_speech *b)
{
    const size_t least = a->name_length < b->name_length ? a->name_length : b->name_length;
    const int order = memcmp(a->name, b->name, least);
    return order ? order : (a->name_length > b->name_length) - (a->name_length < b->name_length);
}

static int compare(const void *a, const void *b)
{
    const cohort_speech *left = a, *right = b;
    const int order = compare_names(left, right);
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

cohort_status cohort_speeches_find(cohort_speeches *speeches, const char *text, size_t length)
{
    const char *end = text + length, *words = text;
    line name = {0};
    bool is_first = true; /* of a paragraph */
    for (line at = line_at(text, end); at.begin < end; at = line_at(at.next, end)) {
        const bool is_empty = at.begin == at.end;
        if (is_first && is_name(&at)) {
            name = at;
            words = at.next;
        } else if (is_first) {
            words = at.begin;
        }
        if (is_empty || at.next == end)
            COHORT_TRY(add(speeches, &name, words, is_empty ? at.begin : at.next));
        is_first = is_empty;
    }
    if (speeches->count > 0)
        qsort(speeches->items, speeches->count, sizeof *speeches->items, compare);
    return COHORT_OK;
}

void cohort_speeches_clear(cohort_speeches *speeches)
{
    free(speeches->items);
    *speeches = (cohort_speeches){0};
}

size_t cohort_speeches_end(const cohort_speeches *speeches, size_t begin)
{
    size_t end = begin + 1;
    while (end < speeches->count &&
           compare_names(&speeches->items[begin], &speeches->items[end]) == 0)
        end++;
    return end;
}
