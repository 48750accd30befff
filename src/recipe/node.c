#include "recipe/node.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "recipe/recipe.h"

/* Bounds on hostile text; a recipe of a thousand layers stays far below them. */
enum {
    MAX_BYTES = COHORT_RECIPE_MAX_BYTES,
    MAX_DEPTH = 100,
    MAX_NODES = 100000,
    MAX_MAP_KEYS = 256
};

typedef struct builder {
    yaml_parser_t parser;
    cohort_arena *arena;
    const char *text;
    const cohort_node_origin *origin;
    size_t node_count;
} builder;

/* What is needed of a libyaml event. */
typedef struct token {
    yaml_event_type_t type;
    int line;
    const char *text;
    bool quoted;
} token;

cohort_node *cohort_node_find(const cohort_node *map, const char *key)
{
    if (!map || map->kind != COHORT_NODE_MAP)
        return NULL;
    for (cohort_node *child = map->first; child; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

void cohort_node_add(cohort_node *list, cohort_node *child)
{
    child->next = NULL;
    if (list->last)
        list->last->next = child;
    else
        list->first = child;
    list->last = child;
    list->count++;
}

bool cohort_node_is_null(const cohort_node *node)
{
    if (!node)
        return true;
    if (node->kind != COHORT_NODE_SCALAR || node->quoted)
        return false;
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(node->text, words[i]) == 0)
            return true;
    return false;
}

cohort_shown cohort_show(const char *text)
{
    enum { SHOWN = 60 };
    cohort_shown shown = {{0}};
    size_t length = strlen(text), keep = length;
    if (length > SHOWN) {
        keep = SHOWN;
        while (keep > 0 && ((unsigned char)text[keep] & 0xC0) == 0x80) /* whole characters */
            keep--;
    }
    for (size_t i = 0; i < keep; i++)
        shown.text[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7F ? '?' : text[i];
    if (keep < length)
        strcpy(shown.text + keep, "...");
    return shown;
}

cohort_status cohort_node_fail(const char *file, int line, const char *path,
                               const cohort_node *node, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!node)
        return cohort_error_set(COHORT_USAGE, file, line, "%s: %s", path, text);
    if (node->set)
        return cohort_error_set(COHORT_USAGE, file, line, "%s: %s", node->set, text);
    return cohort_error_set(COHORT_USAGE, file, line, "%s:%d: %s", path, node->line, text);
}

/* A node to complain about at LINE of the text being read. */
static cohort_node here(const builder *b, int line)
{
    return (cohort_node){.set = b->origin->set, .line = b->origin->line ? b->origin->line : line};
}

static int line_of(const char *text, size_t offset)
{
    int line = 1;
    for (size_t i = 0; i < offset && text[i]; i++)
        line += text[i] == '\n';
    return line;
}

static bool is_tab_at(const char *text, const yaml_mark_t *mark)
{
    for (size_t line = 0; line < mark->line; line++) {
        text = strchr(text, '\n');
        if (!text)
            return false;
        text++;
    }
    return strlen(text) > mark->column && text[mark->column] == '\t';
}

static cohort_status refuse_syntax(const builder *b)
{
    const yaml_parser_t *p = &b->parser;
    COHORT_REQUIRE(p->error != YAML_MEMORY_ERROR, COHORT_MEMORY, "%s: out of memory",
                   b->origin->path);
    const char *problem = p->problem ? p->problem : "syntax error";
    if (p->error == YAML_READER_ERROR) {
        cohort_node at = here(b, line_of(b->text, p->problem_offset));
        return COHORT_FAIL_AT(b->origin->path, &at, "not valid YAML: %s", problem);
    }
    cohort_node at = here(b, (int)p->problem_mark.line + 1);
    if (is_tab_at(b->text, &p->problem_mark))
        return COHORT_FAIL_AT(b->origin->path, &at,
                              "not valid YAML: a tab; indent with spaces instead");
    return COHORT_FAIL_AT(b->origin->path, &at, "not valid YAML: %s%s%s", problem,
                          p->context ? " " : "", p->context ? p->context : "");
}

static cohort_status take_scalar(builder *b, token *out, const yaml_event_t *event,
                                 const cohort_node *at)
{
    const char *value = (const char *)event->data.scalar.value;
    if (strlen(value) != event->data.scalar.length)
        return COHORT_FAIL_AT(b->origin->path, at, "a text with a zero byte in it; remove it");
    char *copy = NULL;
    COHORT_TRY(cohort_arena_copy(&copy, b->arena, value));
    out->text = copy;
    out->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return COHORT_OK;
}

static cohort_status take_event(builder *b, token *out, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    *out = (token){.type = event->type, .line = (int)event->start_mark.line + 1};
    cohort_node at = here(b, out->line);
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return COHORT_FAIL_AT(b->origin->path, &at,
                              "aliases (*name) are not accepted; write the value out");
    case YAML_SCALAR_EVENT:
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return COHORT_FAIL_AT(b->origin->path, &at, "anchors (&name) are not accepted; remove it");
    if (tag)
        return COHORT_FAIL_AT(b->origin->path, &at,
                              "tags (!name) are not accepted; quote text instead");
    return event->type == YAML_SCALAR_EVENT ? take_scalar(b, out, event, &at) : COHORT_OK;
}

static cohort_status next_token(builder *b, token *out)
{
    yaml_event_t event;
    if (!yaml_parser_parse(&b->parser, &event))
        return refuse_syntax(b);
    cohort_status status = take_event(b, out, &event);
    yaml_event_delete(&event);
    return status;
}

static cohort_status build(builder *b, cohort_node **out, const token *start, int depth);

static cohort_status build_list(builder *b, cohort_node *list, int depth)
{
    for (;;) {
        token item;
        cohort_node *child = NULL;
        COHORT_TRY(next_token(b, &item));
        if (item.type == YAML_SEQUENCE_END_EVENT)
            return COHORT_OK;
        COHORT_TRY(build(b, &child, &item, depth + 1));
        cohort_node_add(list, child);
    }
}

static cohort_status build_map(builder *b, cohort_node *map, int depth)
{
    for (;;) {
        token key, value;
        cohort_node *child = NULL;
        COHORT_TRY(next_token(b, &key));
        if (key.type == YAML_MAPPING_END_EVENT)
            return COHORT_OK;
        cohort_node at = here(b, key.line);
        if (key.type != YAML_SCALAR_EVENT)
            return COHORT_FAIL_AT(b->origin->path, &at, "a key must be a word, not a list or map");
        const cohort_node *other = cohort_node_find(map, key.text);
        if (other)
            return COHORT_FAIL_AT(b->origin->path, &at,
                                  "duplicate key '%s', first given on line %d; remove one",
                                  cohort_show(key.text).text, other->line);
        if (map->count == MAX_MAP_KEYS)
            return COHORT_FAIL_AT(b->origin->path, &at, "more than %d keys in one mapping",
                                  MAX_MAP_KEYS);
        COHORT_TRY(next_token(b, &value));
        COHORT_TRY(build(b, &child, &value, depth + 1));
        child->key = key.text;
        child->line = at.line;
        cohort_node_add(map, child);
    }
}

static cohort_status build(builder *b, cohort_node **out, const token *start, int depth)
{
    cohort_node at = here(b, start->line);
    if (depth > MAX_DEPTH)
        return COHORT_FAIL_AT(b->origin->path, &at, "nested more than %d levels deep", MAX_DEPTH);
    if (++b->node_count > MAX_NODES)
        return COHORT_FAIL_AT(b->origin->path, &at, "more than %d values", MAX_NODES);
    cohort_node *node = NULL;
    COHORT_TRY(COHORT_TAKE(&node, b->arena, 1));
    *node = at;
    *out = node;
    switch (start->type) {
    case YAML_SEQUENCE_START_EVENT:
        node->kind = COHORT_NODE_LIST;
        return build_list(b, node, depth);
    case YAML_MAPPING_START_EVENT:
        node->kind = COHORT_NODE_MAP;
        return build_map(b, node, depth);
    case YAML_SCALAR_EVENT:
        node->kind = COHORT_NODE_SCALAR;
        node->text = start->text;
        node->quoted = start->quoted;
        return COHORT_OK;
    default:
        return COHORT_FAIL(COHORT_INTERNAL, "unexpected YAML event %d", (int)start->type);
    }
}

static cohort_status build_document(builder *b, cohort_node **out)
{
    token t;
    COHORT_TRY(next_token(b, &t)); /* stream start */
    COHORT_TRY(next_token(b, &t));
    if (t.type == YAML_STREAM_END_EVENT)
        return COHORT_OK;
    COHORT_TRY(next_token(b, &t)); /* after the document's start */
    COHORT_TRY(build(b, out, &t, 1));
    COHORT_TRY(next_token(b, &t)); /* the document's end */
    COHORT_TRY(next_token(b, &t));
    cohort_node at = here(b, t.line);
    if (t.type != YAML_STREAM_END_EVENT)
        return COHORT_FAIL_AT(b->origin->path, &at,
                              "a second document (---); a recipe is one document");
    return COHORT_OK;
}

cohort_status cohort_node_parse(cohort_node **out, cohort_arena *arena, const char *text,
                                const cohort_node_origin *origin)
{
    *out = NULL;
    size_t length = strnlen(text, MAX_BYTES + 1);
    builder b = {.arena = arena, .text = text, .origin = origin};
    cohort_node at = here(&b, 1);
    if (length > MAX_BYTES)
        return COHORT_FAIL_AT(origin->path, &at, "longer than %d bytes: not a recipe", MAX_BYTES);
    COHORT_REQUIRE(yaml_parser_initialize(&b.parser), COHORT_MEMORY, "%s: out of memory",
                   origin->path);
    yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, length);
    cohort_status status = build_document(&b, out);
    yaml_parser_delete(&b.parser);
    if (status != COHORT_OK)
        *out = NULL;
    return status;
}

const char *cohort_recipe_library(void)
{
    return yaml_get_version_string();
}
