#include "recipe/set.h"

#include <stdint.h>
#include <string.h>

/* How far the path has led. */
typedef struct spot {
    cohort_place place;            /* place.up is another spot's */
    const cohort_key *key;         /* what may stand here */
    const cohort_key_table *table; /* the keys it takes, once it is a mapping */
    cohort_node *node;             /* what stands here */
    bool is_item;                  /* an entry of the list that `key` allows */
} spot;

static void make_map(cohort_node *node)
{
    node->kind = COHORT_NODE_MAP;
    node->quoted = false;
    node->text = NULL;
    node->first = node->last = NULL;
    node->count = 0;
}

/* Replaces what stands in NODE, which keeps its key, line and place in the list. */
static void replace(cohort_node *node, const cohort_node *value)
{
    cohort_node kept = *node;
    *node = *value;
    node->key = kept.key;
    node->line = kept.line;
    node->next = kept.next;
}

static cohort_status add_child(cohort_node **out, const cohort_fill *fill, cohort_node *map,
                               const char *key)
{
    COHORT_TRY(COHORT_TAKE(out, fill->scratch, 1));
    **out = (cohort_node){.kind = COHORT_NODE_SCALAR, .text = "", .line = map->line, .key = key};
    cohort_node_add(map, *out);
    return COHORT_OK;
}

static cohort_status refuse(const cohort_fill *fill, const cohort_node *blame, const spot *at,
                            const char *why)
{
    return COHORT_FAIL_AT(fill->path, blame, "%s %s", cohort_place_text(&at->place).text, why);
}

static cohort_status enter_section(const cohort_fill *fill, const cohort_node *blame, spot *at)
{
    if (cohort_node_is_null(at->node))
        make_map(at->node);
    cohort_node *map = NULL;
    COHORT_TRY(cohort_fill_as_map(&map, fill, at->key->table, at->node));
    if (!map)
        return refuse(fill, blame, at, "is not a mapping in the recipe");
    replace(at->node, map);
    at->table = at->key->table;
    return COHORT_OK;
}

/* Rewrites a variant as {NAME: {key: value}} and goes on in the inner mapping. */
static cohort_status enter_variant(const cohort_fill *fill, const cohort_node *blame, spot *at)
{
    if (cohort_node_is_null(at->node)) {
        if (!at->key->fallback)
            return refuse(fill, blame, at, "is not given in the recipe");
        cohort_node *fallback = NULL;
        COHORT_TRY(cohort_fill_fallback(&fallback, fill, at->key, at->node));
        replace(at->node, fallback);
    }
    cohort_choice choice;
    COHORT_TRY(cohort_fill_choose(&choice, fill, &at->place, at->key, at->node));
    cohort_node *inner = NULL, *map = NULL;
    COHORT_TRY(COHORT_TAKE(&inner, fill->scratch, 1));
    *inner = (cohort_node){.line = at->node->line};
    make_map(inner);
    if (!cohort_node_is_null(choice.keys)) {
        COHORT_TRY(cohort_fill_as_map(&map, fill, choice.table, choice.keys));
        if (!map)
            return refuse(fill, blame, at, "takes no keys");
        for (cohort_node *child = map->first, *next = NULL; child; child = next) {
            next = child->next;
            if (!(choice.type_form && strcmp(child->key, "type") == 0))
                cohort_node_add(inner, child);
        }
    }
    inner->key = choice.table->name;
    make_map(at->node);
    cohort_node_add(at->node, inner);
    at->node = inner;
    at->table = choice.table;
    at->place.variant = choice.table->name;
    return COHORT_OK;
}

static cohort_status enter_item(const cohort_fill *fill, const cohort_node *blame, spot *next,
                                const spot *at, const char *word)
{
    int64_t index = 0;
    cohort_place_name name = cohort_place_text(&at->place);
    if (at->node->kind != COHORT_NODE_LIST || at->node->count == 0)
        return COHORT_FAIL_AT(fill->path, blame, "%s has no entries", name.text);
    if (!cohort_parse_int64(&index, word) || index < 0 || (uint64_t)index >= at->node->count)
        return COHORT_FAIL_AT(fill->path, blame, "%s has no entry '%s'; it has 0 to %zu", name.text,
                              cohort_show(word).text, at->node->count - 1);
    cohort_node *item = at->node->first;
    for (int64_t i = 0; i < index; i++)
        item = item->next;
    *next = (spot){.place = {.up = &at->place, .index = (size_t)index},
                   .key = at->key,
                   .node = item,
                   .is_item = true};
    return COHORT_OK;
}

static cohort_status enter_key(const cohort_fill *fill, const cohort_node *blame, spot *next,
                               const spot *at, const char *word)
{
    const cohort_key *key = cohort_table_find(at->table, word);
    bool is_root = !at->key;
    if (!key)
        return cohort_fill_refuse_key(fill, is_root ? NULL : &at->place, at->table, blame, word);
    cohort_node *child = cohort_node_find(at->node, key->name);
    if (!child)
        COHORT_TRY(add_child(&child, fill, at->node, key->name));
    *next = (spot){
        .place = {.up = is_root ? NULL : &at->place, .name = key->name}, .key = key, .node = child};
    return COHORT_OK;
}

/* `type` of a variant that has no such key: its name. */
static cohort_status rename_variant(const cohort_fill *fill, const cohort_node *blame,
                                    const spot *at, const cohort_node *value)
{
    if (value->kind != COHORT_NODE_SCALAR)
        return refuse(fill, blame, at, "needs a name as its type");
    at->node->key = value->text;
    at->node->set = value->set;
    return COHORT_OK;
}

static cohort_status walk(const cohort_fill *fill, const cohort_node *blame, const spot *from,
                          char *path, const cohort_node *value)
{
    if (!path) {
        replace(from->node, value);
        return COHORT_OK;
    }
    char *rest = strchr(path, '.');
    if (rest)
        *rest++ = '\0';
    spot at = *from, next;
    const cohort_key_type type = at.key ? at.key->type : COHORT_KEY_SECTION;
    if (type == COHORT_KEY_VARIANTS && !at.is_item) {
        COHORT_TRY(enter_item(fill, blame, &next, &at, path));
        return walk(fill, blame, &next, rest, value);
    }
    if (type == COHORT_KEY_VARIANT || at.is_item) {
        COHORT_TRY(enter_variant(fill, blame, &at));
        if (!rest && strcmp(path, "type") == 0 && !cohort_table_find(at.table, "type"))
            return rename_variant(fill, blame, &at, value);
    } else if (type != COHORT_KEY_SECTION) {
        return refuse(fill, blame, &at, "is a value and has no keys below it");
    } else if (at.key) {
        COHORT_TRY(enter_section(fill, blame, &at));
    }
    COHORT_TRY(enter_key(fill, blame, &next, &at, path));
    return walk(fill, blame, &next, rest, value);
}

cohort_status cohort_set_apply(const cohort_fill *fill, cohort_node *root, const char *set)
{
    const char *equals = strchr(set, '=');
    if (!equals || equals == set)
        return COHORT_FAIL(COHORT_USAGE, "--set %s: write --set KEY=VALUE, e.g. train.epochs=3",
                           cohort_show(set).text);
    cohort_text name = {0};
    cohort_text_append(&name, "--set ");
    cohort_text_append_bytes(&name, set, (size_t)(equals - set));
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_text_status(&name));
    char *label = NULL, *path = NULL;
    COHORT_TRY_DONE(status, cohort_arena_copy(&label, fill->scratch, cohort_show(name.data).text));
    COHORT_TRY_DONE(status, cohort_arena_copy(&path, fill->scratch, name.data + strlen("--set ")));

    cohort_node_origin origin = {.path = fill->path, .set = label, .line = root->line};
    cohort_node blame = {.set = label, .line = root->line}, *value = NULL;
    COHORT_TRY_DONE(status, cohort_node_parse(&value, fill->scratch, equals + 1, &origin));
    cohort_node nothing = {
        .kind = COHORT_NODE_SCALAR, .set = label, .line = root->line, .text = ""};
    spot at = {.table = &cohort_recipe_table, .node = root};
    COHORT_TRY_DONE(status, walk(fill, &blame, &at, path, value ? value : &nothing));
done:
    cohort_text_clear(&name);
    return status;
}

cohort_status cohort_set_value(const cohort_fill *fill, cohort_node *root, const char *path,
                               const char *value, int line)
{
    char *words = NULL, *label = NULL;
    cohort_text at_line = {0};
    cohort_text_append(&at_line, "%s:%d", fill->path, line);
    cohort_status status = cohort_text_status(&at_line);
    if (status == COHORT_OK) /* what stands at PATH has a line of its own, which is not to blame */
        status = cohort_arena_copy(&label, fill->scratch, at_line.data);
    cohort_text_clear(&at_line);
    COHORT_TRY(status);
    cohort_node_origin origin = {.path = fill->path, .set = label, .line = line};
    cohort_node blame = {.set = label, .line = line}, *node = NULL;
    COHORT_TRY(cohort_arena_copy(&words, fill->scratch, path));
    COHORT_TRY(cohort_node_parse(&node, fill->scratch, value, &origin));
    spot at = {.table = &cohort_recipe_table, .node = root};
    return walk(fill, &blame, &at, words, node);
}
