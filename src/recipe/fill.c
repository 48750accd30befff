#include "recipe/fill.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "recipe/space.h"

enum { MAX_WORDS = 64, MAX_VARIANTS = 4096 };

static cohort_status fill_value(const cohort_fill *fill, const cohort_place *place,
                                const cohort_key *key, cohort_node *node, void *value);

/* Names and messages. */

static void append_place(cohort_place_name *out, const cohort_place *place)
{
    if (!place)
        return;
    append_place(out, place->up);
    size_t used = strlen(out->text);
    const char *dot = used ? "." : "";
    if (place->name)
        snprintf(out->text + used, sizeof out->text - used, "%s%s", dot, place->name);
    else
        snprintf(out->text + used, sizeof out->text - used, "%s%zu", dot, place->index);
}

cohort_place_name cohort_place_text(const cohort_place *place)
{
    cohort_place_name out = {{0}};
    append_place(&out, place);
    return out;
}

/* Appends "; did you mean 'units'?" or "; LEAD a, b, c". */
static void append_hint(cohort_text *text, const char *wrong, const char *const *words,
                        size_t count, const char *lead)
{
    const char *near = cohort_nearest_word(wrong, words, count);
    if (near) {
        cohort_text_append(text, "; did you mean '%s'?", near);
        return;
    }
    for (size_t i = 0; i < count; i++)
        cohort_text_append(text, "%s%s", i ? ", " : lead, words[i]);
}

static cohort_status fail_with_text(const cohort_fill *fill, const cohort_node *node,
                                    cohort_text *text)
{
    cohort_status status = cohort_text_status(text);
    if (status == COHORT_OK)
        status = COHORT_FAIL_AT(fill->path, node, "%s", text->data);
    cohort_text_clear(text);
    return status;
}

cohort_status cohort_fill_refuse_key(const cohort_fill *fill, const cohort_place *place,
                                     const cohort_key_table *table, const cohort_node *node,
                                     const char *wrong)
{
    const char *words[MAX_WORDS];
    size_t count = 0;
    for (size_t i = 0; i < table->key_count && count < MAX_WORDS; i++)
        words[count++] = table->keys[i].name;
    cohort_text text = {0};
    cohort_text_append(&text, "unknown key '%s'", cohort_show(wrong).text);
    if (place && place->variant)
        cohort_text_append(&text, " in %s (%s)", cohort_place_text(place).text, place->variant);
    else if (place)
        cohort_text_append(&text, " in %s", cohort_place_text(place).text);
    if (count)
        append_hint(&text, wrong, words, count, "; its keys are ");
    else
        cohort_text_append(&text, "; it takes none");
    return fail_with_text(fill, node, &text);
}

/* "train.epochs must be WANTED, not 'five'". */
static cohort_status refuse_value(const cohort_fill *fill, const cohort_place *place,
                                  const cohort_node *node, const char *wanted)
{
    cohort_place_name name = cohort_place_text(place);
    if (node->kind == COHORT_NODE_SCALAR)
        return COHORT_FAIL_AT(fill->path, node, "%s must be %s, not %s'%s'", name.text, wanted,
                              node->quoted ? "the text " : "", cohort_show(node->text).text);
    return COHORT_FAIL_AT(fill->path, node, "%s must be %s, not a %s", name.text, wanted,
                          node->kind == COHORT_NODE_LIST ? "list" : "mapping");
}

static cohort_status refuse_bounds(const cohort_fill *fill, const cohort_place *place,
                                   const cohort_key *key, const cohort_node *node)
{
    cohort_text text = {0};
    cohort_key_bounds_text(&text, key);
    cohort_status status = cohort_text_status(&text);
    if (status == COHORT_OK)
        status = refuse_value(fill, place, node, text.data ? text.data : "smaller");
    cohort_text_clear(&text);
    return status;
}

/* Scalars. */

static bool is_plain(const cohort_node *node)
{
    return node->kind == COHORT_NODE_SCALAR && !node->quoted;
}

static cohort_status fill_integer(const cohort_fill *fill, const cohort_place *place,
                                  const cohort_key *key, const cohort_node *node, int64_t *value)
{
    if (!is_plain(node) || !cohort_parse_int64(value, node->text))
        return refuse_value(fill, place, node, "a whole number");
    if (!cohort_key_allows(key, (double)*value))
        return refuse_bounds(fill, place, key, node);
    return COHORT_OK;
}

static cohort_status fill_count(const cohort_fill *fill, const cohort_place *place,
                                const cohort_key *key, const cohort_node *node, size_t *value)
{
    int64_t number = 0;
    COHORT_TRY(fill_integer(fill, place, key, node, &number));
    if (number < 0)
        return refuse_value(fill, place, node, "at least 0");
    *value = (size_t)number;
    return COHORT_OK;
}

/* A decimal number: the C library also reads hexadecimal, inf and nan. */
static bool parse_decimal(double *value, const char *text)
{
    return text[strspn(text, "0123456789+-.eE")] == '\0' && cohort_parse_double(value, text);
}

static cohort_status fill_real(const cohort_fill *fill, const cohort_place *place,
                               const cohort_key *key, const cohort_node *node, double *value)
{
    if (!is_plain(node) || !parse_decimal(value, node->text) || !isfinite(*value))
        return refuse_value(fill, place, node, "a number");
    if (!cohort_key_allows(key, *value))
        return refuse_bounds(fill, place, key, node);
    return COHORT_OK;
}

static cohort_status fill_bool(const cohort_fill *fill, const cohort_place *place,
                               const cohort_node *node, bool *value)
{
    *value = is_plain(node) && strcmp(node->text, "true") == 0;
    if (!*value && !(is_plain(node) && strcmp(node->text, "false") == 0))
        return refuse_value(fill, place, node, "true or false");
    return COHORT_OK;
}

static cohort_status fill_string(const cohort_fill *fill, const cohort_place *place,
                                 const cohort_node *node, const char **value)
{
    if (node->kind != COHORT_NODE_SCALAR)
        return refuse_value(fill, place, node, "a text");
    if (!*node->text)
        return refuse_value(fill, place, node, "a text that is not empty");
    char *copy = NULL;
    COHORT_TRY(cohort_arena_copy(&copy, fill->arena, node->text));
    *value = copy;
    return COHORT_OK;
}

static cohort_status fill_choice(const cohort_fill *fill, const cohort_place *place,
                                 const cohort_key *key, const cohort_node *node, int *value)
{
    if (node->kind != COHORT_NODE_SCALAR)
        return refuse_value(fill, place, node, "a name");
    size_t count = 0;
    for (; key->choices[count]; count++) {
        if (strcmp(key->choices[count], node->text) == 0) {
            *value = (int)count;
            return COHORT_OK;
        }
    }
    cohort_text text = {0};
    cohort_place_name name = cohort_place_text(place);
    cohort_text_append(&text, "%s: unknown value '%s'", name.text, cohort_show(node->text).text);
    append_hint(&text, node->text, key->choices, count, "; choose one of ");
    return fail_with_text(fill, node, &text);
}

/* Lists of scalars. */

static cohort_status fill_pair(const cohort_fill *fill, const cohort_place *place,
                               const cohort_key *key, const cohort_node *node, size_t *pair)
{
    if (node->kind == COHORT_NODE_LIST && node->count == 2) {
        COHORT_TRY(fill_count(fill, place, key, node->first, &pair[0]));
        return fill_count(fill, place, key, node->last, &pair[1]);
    }
    if (node->kind != COHORT_NODE_SCALAR)
        return refuse_value(fill, place, node, "a whole number or [height, width]");
    COHORT_TRY(fill_count(fill, place, key, node, &pair[0]));
    pair[1] = pair[0];
    return COHORT_OK;
}

/* A lone scalar is a list of one. */
static const cohort_node *items_of(const cohort_node *node, size_t *count)
{
    *count = node->kind == COHORT_NODE_LIST ? node->count : 1;
    return node->kind == COHORT_NODE_LIST ? node->first : node;
}

static cohort_status fill_reals(const cohort_fill *fill, const cohort_place *place,
                                const cohort_key *key, const cohort_node *node, cohort_reals *reals)
{
    size_t count = 0;
    const cohort_node *item = items_of(node, &count);
    if (node->kind == COHORT_NODE_MAP || (count == 0 && (key->fallback || key->required)))
        return refuse_value(fill, place, node, "a number or a list of numbers");
    if (count == 0)
        return COHORT_OK;
    COHORT_TRY(COHORT_TAKE(&reals->items, fill->arena, count));
    for (size_t i = 0; i < count; i++, item = item->next)
        COHORT_TRY(fill_real(fill, place, key, item, &reals->items[i]));
    reals->count = count;
    return COHORT_OK;
}

static cohort_status fill_strings(const cohort_fill *fill, const cohort_place *place,
                                  const cohort_node *node, cohort_strings *strings)
{
    size_t count = 0;
    const cohort_node *item = items_of(node, &count);
    if (node->kind == COHORT_NODE_MAP)
        return refuse_value(fill, place, node, "a text or a list of texts");
    if (count == 0)
        return COHORT_OK;
    COHORT_TRY(COHORT_TAKE(&strings->items, fill->arena, count));
    for (size_t i = 0; i < count; i++, item = item->next)
        COHORT_TRY(fill_string(fill, place, item, &strings->items[i]));
    strings->count = count;
    return COHORT_OK;
}

/* Sections and variants. */

cohort_status cohort_fill_as_map(cohort_node **out, const cohort_fill *fill,
                                 const cohort_key_table *table, cohort_node *node)
{
    *out = node->kind == COHORT_NODE_MAP ? node : NULL;
    if (*out || !table->main_key)
        return COHORT_OK;
    cohort_node *map = NULL, *only = NULL;
    COHORT_TRY(COHORT_TAKE(&map, fill->scratch, 1));
    COHORT_TRY(COHORT_TAKE(&only, fill->scratch, 1));
    *only = *node;
    only->key = table->main_key;
    *map = (cohort_node){.kind = COHORT_NODE_MAP, .line = node->line, .set = node->set};
    cohort_node_add(map, only);
    *out = map;
    return COHORT_OK;
}

static cohort_status fill_section(const cohort_fill *fill, const cohort_place *place,
                                  const cohort_key *key, cohort_node *node, void *config)
{
    cohort_node *map = NULL;
    COHORT_TRY(cohort_fill_as_map(&map, fill, key->table, node));
    if (!map)
        return refuse_value(fill, place, node, "a mapping of keys");
    return cohort_fill_keys(fill, place, key->table, map, node, false, config);
}

static cohort_status refuse_variant(const cohort_fill *fill, const cohort_place *place,
                                    const cohort_key *key, const cohort_node *node,
                                    const char *wrong)
{
    const cohort_key_table *const *variants = cohort_key_variants(key, fill->layers);
    const char *words[MAX_WORDS];
    size_t count = 0;
    for (; variants[count] && count < MAX_WORDS; count++)
        words[count] = variants[count]->name;
    cohort_text text = {0};
    cohort_place_name name = cohort_place_text(place);
    cohort_text_append(&text, "unknown %s '%s'", key->variants ? key->name : "layer",
                       cohort_show(wrong).text);
    if (strcmp(name.text, key->name) != 0)
        cohort_text_append(&text, " in %s", name.text);
    append_hint(&text, wrong, words, count, "; choose one of ");
    return fail_with_text(fill, node, &text);
}

static cohort_status refuse_variant_shape(const cohort_fill *fill, const cohort_place *place,
                                          const cohort_node *node)
{
    cohort_place_name name = cohort_place_text(place);
    if (node->kind == COHORT_NODE_MAP && node->first)
        return COHORT_FAIL_AT(fill->path, node,
                              "%s: '%s' and '%s' stand side by side; indent the keys of '%s' "
                              "below it, or write %s: {key: value}",
                              name.text, cohort_show(node->first->key).text,
                              cohort_show(node->last->key).text, cohort_show(node->first->key).text,
                              cohort_show(node->first->key).text);
    return refuse_value(fill, place, node, "NAME, NAME: {key: value} or {type: NAME, key: value}");
}

cohort_status cohort_fill_choose(cohort_choice *choice, const cohort_fill *fill,
                                 const cohort_place *place, const cohort_key *key,
                                 cohort_node *node)
{
    *choice = (cohort_choice){0};
    cohort_node *type = cohort_node_find(node, "type");
    const cohort_node *named = node; /* what to blame for the name */
    const char *name = NULL;
    if (node->kind == COHORT_NODE_SCALAR) {
        name = node->text;
    } else if (type && type->kind == COHORT_NODE_SCALAR) {
        name = type->text;
        named = type;
        choice->keys = node;
        choice->type_form = true;
    } else if (node->kind == COHORT_NODE_MAP && node->count == 1) {
        name = node->first->key;
        named = node->first;
        choice->keys = node->first;
    } else {
        return refuse_variant_shape(fill, place, node);
    }
    for (const cohort_key_table *const *v = cohort_key_variants(key, fill->layers); *v; v++)
        if (strcmp((*v)->name, name) == 0)
            choice->table = *v;
    return choice->table ? COHORT_OK : refuse_variant(fill, place, key, named, name);
}

static cohort_status fill_variant(const cohort_fill *fill, const cohort_place *place,
                                  const cohort_key *key, cohort_node *node, cohort_variant *variant)
{
    cohort_choice choice;
    COHORT_TRY(cohort_fill_choose(&choice, fill, place, key, node));
    const cohort_key_table *table = choice.table;
    cohort_place typed = *place;
    typed.variant = table->name;
    cohort_node *map = NULL;
    if (!cohort_node_is_null(choice.keys)) {
        COHORT_TRY(cohort_fill_as_map(&map, fill, table, choice.keys));
        if (!map)
            return refuse_value(fill, place, choice.keys, "NAME or NAME: {key: value}");
    }
    void *config = NULL;
    COHORT_TRY(cohort_arena_take(&config, fill->arena, table->config_bytes + 1));
    COHORT_TRY(cohort_fill_keys(fill, &typed, table, map, node, choice.type_form, config));
    *variant = (cohort_variant){.table = table, .config = config, .line = node->line};
    return COHORT_OK;
}

static cohort_status fill_variants(const cohort_fill *fill, const cohort_place *place,
                                   const cohort_key *key, cohort_node *node,
                                   cohort_variants *variants)
{
    /* A block of layers that changes nothing may be named as such. */
    bool identity =
        !key->variants && !key->required && is_plain(node) && strcmp(node->text, "identity") == 0;
    if (identity)
        return COHORT_OK;
    if (node->kind != COHORT_NODE_LIST)
        return refuse_value(fill, place, node, "a list (lines that begin with '- ')");
    if (key->required && node->count == 0)
        return COHORT_FAIL_AT(fill->path, node, "%s is empty; give at least one %s",
                              cohort_place_text(place).text, key->variants ? "entry" : "layer");
    if (node->count > MAX_VARIANTS)
        return COHORT_FAIL_AT(fill->path, node, "%s has more than %d entries",
                              cohort_place_text(place).text, MAX_VARIANTS);
    if (node->count == 0)
        return COHORT_OK;
    COHORT_TRY(COHORT_TAKE(&variants->items, fill->arena, node->count));
    variants->count = node->count;
    size_t index = 0;
    for (cohort_node *item = node->first; item; item = item->next, index++) {
        cohort_place at = {.up = place, .index = index};
        COHORT_TRY(fill_variant(fill, &at, key, item, &variants->items[index]));
    }
    return COHORT_OK;
}

static cohort_status fill_value(const cohort_fill *fill, const cohort_place *place,
                                const cohort_key *key, cohort_node *node, void *value)
{
    switch (key->type) {
    case COHORT_KEY_BOOL:
        return fill_bool(fill, place, node, value);
    case COHORT_KEY_INTEGER:
        return fill_integer(fill, place, key, node, value);
    case COHORT_KEY_COUNT:
        return fill_count(fill, place, key, node, value);
    case COHORT_KEY_REAL:
        return fill_real(fill, place, key, node, value);
    case COHORT_KEY_BYTES:
        if (!is_plain(node) || !cohort_parse_bytes(value, node->text))
            return refuse_value(fill, place, node, "a number of bytes such as 512MiB");
        return COHORT_OK;
    case COHORT_KEY_STRING:
        return fill_string(fill, place, node, value);
    case COHORT_KEY_CHOICE:
        return fill_choice(fill, place, key, node, value);
    case COHORT_KEY_PAIR:
        return fill_pair(fill, place, key, node, value);
    case COHORT_KEY_REALS:
        return fill_reals(fill, place, key, node, value);
    case COHORT_KEY_STRINGS:
        return fill_strings(fill, place, node, value);
    case COHORT_KEY_SECTION:
        return fill_section(fill, place, key, node, value);
    case COHORT_KEY_VARIANT:
        return fill_variant(fill, place, key, node, value);
    case COHORT_KEY_VARIANTS:
        return fill_variants(fill, place, key, node, value);
    case COHORT_KEY_SPACE:
        return cohort_space_fill(fill, node, value);
    }
    return COHORT_FAIL(COHORT_INTERNAL, "key %s has no type", key->name);
}

/* Keys. */

cohort_status cohort_fill_fallback(cohort_node **out, const cohort_fill *fill,
                                   const cohort_key *key, const cohort_node *about)
{
    int line = about ? about->line : 1;
    if (key->type != COHORT_KEY_STRING && strpbrk(key->fallback, "[{:")) {
        cohort_node_origin origin = {.path = key->name, .line = line};
        return cohort_node_parse(out, fill->scratch, key->fallback, &origin);
    }
    COHORT_TRY(COHORT_TAKE(out, fill->scratch, 1));
    **out = (cohort_node){.kind = COHORT_NODE_SCALAR, .line = line, .text = key->fallback};
    return COHORT_OK;
}

static cohort_status fill_key(const cohort_fill *fill, const cohort_place *place,
                              const cohort_key *key, cohort_node *child, const cohort_node *about,
                              void *value)
{
    if (cohort_node_is_null(child)) {
        if (key->required && place)
            return COHORT_FAIL_AT(fill->path, child ? child : about, "missing key '%s' in %s%s%s%s",
                                  key->name, cohort_place_text(place).text,
                                  place->variant ? " (" : "", place->variant ? place->variant : "",
                                  place->variant ? ")" : "");
        if (key->required)
            return COHORT_FAIL_AT(fill->path, child ? child : about, "missing key '%s'", key->name);
        if (!key->fallback)
            return COHORT_OK;
        COHORT_TRY(cohort_fill_fallback(&child, fill, key, about));
    }
    cohort_place at = {.up = place, .name = key->name};
    return fill_value(fill, &at, key, child, value);
}

cohort_status cohort_fill_keys(const cohort_fill *fill, const cohort_place *place,
                               const cohort_key_table *table, const cohort_node *map,
                               const cohort_node *about, bool variant_form, void *config)
{
    for (const cohort_node *child = map ? map->first : NULL; child; child = child->next)
        if (!cohort_table_find(table, child->key) &&
            !(variant_form && strcmp(child->key, "type") == 0))
            return cohort_fill_refuse_key(fill, place, table, child, child->key);
    for (size_t i = 0; i < table->key_count; i++) {
        const cohort_key *key = &table->keys[i];
        bool names_variant = variant_form && strcmp(key->name, "type") == 0;
        cohort_node *child = names_variant ? NULL : cohort_node_find(map, key->name);
        COHORT_TRY(fill_key(fill, place, key, child, about, (unsigned char *)config + key->offset));
    }
    return COHORT_OK;
}
