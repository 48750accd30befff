#include "report/flat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

enum { DEPTH_MAX = 64 };

/* The sections and list items that the line being read stands in. */
typedef struct reader {
    struct {
        size_t indent, path_length;
        long item; /* the latest item of a list, -1 before the first */
    } levels[DEPTH_MAX];
    size_t depth;
    cohort_text path;
    cohort_flat *flat;
    size_t capacity;
} reader;

static cohort_status add(reader *r, const char *value, size_t length)
{
    cohort_flat *flat = r->flat;
    COHORT_TRY(
        cohort_grow((void **)&flat->keys, &r->capacity, flat->count + 1, sizeof *flat->keys));
    cohort_flat_key *key = &flat->keys[flat->count];
    *key = (cohort_flat_key){.path = strdup(r->path.data), .value = strndup(value, length)};
    flat->count++;
    COHORT_REQUIRE(key->path && key->value, COHORT_MEMORY, "out of memory comparing recipes");
    return COHORT_OK;
}

/* Leaves the sections that end before a line with INDENT. */
static void leave(reader *r, size_t indent)
{
    while (r->depth > 0 && r->levels[r->depth - 1].indent > indent)
        r->depth--;
    if (r->depth == 0 || r->levels[r->depth - 1].indent < indent) {
        const size_t length = r->path.length;
        if (r->depth < DEPTH_MAX)
            r->levels[r->depth++].indent = indent;
        r->levels[r->depth - 1].path_length = length;
        r->levels[r->depth - 1].item = -1;
    }
    r->path.length = r->levels[r->depth - 1].path_length;
}

static void enter(reader *r, const char *name, size_t length)
{
    if (r->path.length > 0)
        cohort_text_append(&r->path, ".");
    cohort_text_append_bytes(&r->path, name, length);
}

static cohort_status read_line(reader *r, const char *line, size_t length)
{
    const size_t indent = strspn(line, " ");
    if (indent >= length || line[indent] == '#')
        return COHORT_OK;
    leave(r, indent);
    line += indent;
    length -= indent;
    if (length > 1 && line[0] == '-' && line[1] == ' ') {
        char number[24];
        const int digits = snprintf(number, sizeof number, "%ld", ++r->levels[r->depth - 1].item);
        enter(r, number, (size_t)digits);
        line += 2;
        length -= 2;
        if (line[length - 1] != ':')
            return add(r, line, length);
        return add(r, line, length - 1); /* what follows is deeper: its path begins with this */
    }
    const char *colon = memchr(line, ':', length);
    const size_t name = colon ? (size_t)(colon - line) : length;
    enter(r, line, name);
    COHORT_TRY(cohort_text_status(&r->path));
    const size_t skip = name + 1 < length ? name + 1 + strspn(line + name + 1, " ") : length;
    return skip < length ? add(r, line + skip, length - skip) : COHORT_OK;
}

cohort_status cohort_flat_read(cohort_flat *flat, const char *text)
{
    reader r = {.flat = flat};
    cohort_status status = COHORT_OK;
    *flat = (cohort_flat){0};
    cohort_text_append(&r.path, "%s", "");
    for (const char *line = text; *line && status == COHORT_OK;) {
        const size_t length = strcspn(line, "\n");
        status = read_line(&r, line, length);
        line += length + (line[length] == '\n');
    }
    cohort_text_clear(&r.path);
    if (status != COHORT_OK)
        cohort_flat_clear(flat);
    return status;
}

void cohort_flat_clear(cohort_flat *flat)
{
    for (size_t i = 0; i < flat->count; i++) {
        free(flat->keys[i].path);
        free(flat->keys[i].value);
    }
    free(flat->keys);
    *flat = (cohort_flat){0};
}

const char *cohort_flat_get(const cohort_flat *flat, const char *path)
{
    for (size_t i = 0; i < flat->count; i++)
        if (strcmp(flat->keys[i].path, path) == 0)
            return flat->keys[i].value;
    return NULL;
}
