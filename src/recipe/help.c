#include <string.h>

#include "recipe/tables.h"

const char cohort_recipe_about[] =
    "A recipe is YAML: keys with their types, bounds, meaning and [default].\n"
    "Override any on the command line: --set train.epochs=3 --set model.0.units=64";
const char cohort_recipe_layers_about[] =
    "Layers: `- NAME`, `- NAME: {key: value}` or `- {type: NAME, key: value}`;\n"
    "each also takes `name`, what it is called in checkpoints and messages.";

enum { NAME_WIDTH = 24, TYPE_WIDTH = 26 };

static void append_choices(cohort_text *text, const cohort_key *key)
{
    for (size_t i = 0; key->choices[i]; i++)
        cohort_text_append(text, "%s%s", i ? " | " : "", key->choices[i]);
}

static void append_bounds(cohort_text *text, const cohort_key *key)
{
    cohort_text bounds = {0};
    cohort_key_bounds_text(&bounds, key);
    if (bounds.length)
        cohort_text_append(text, " %s", bounds.data);
    cohort_text_clear(&bounds);
}

/* "glorot_uniform | normal: VALUE": a value is named where it must be given. */
static void append_variant_names(cohort_text *text, const cohort_key_table *const *variants)
{
    for (size_t i = 0; variants[i]; i++) {
        const char *main_key = variants[i]->main_key;
        bool needs_value = main_key && cohort_table_find(variants[i], main_key)->required;
        cohort_text_append(text, "%s%s%s", i ? " | " : "", variants[i]->name,
                           needs_value ? ": VALUE" : "");
    }
}

static void append_type(cohort_text *text, const cohort_key *key)
{
    static const char *const names[] = {
        [COHORT_KEY_BOOL] = "true | false",
        [COHORT_KEY_INTEGER] = "whole number",
        [COHORT_KEY_COUNT] = "count",
        [COHORT_KEY_REAL] = "number",
        [COHORT_KEY_BYTES] = "bytes (KiB, MiB, GiB)",
        [COHORT_KEY_STRING] = "text",
        [COHORT_KEY_CHOICE] = "",
        [COHORT_KEY_PAIR] = "count or [height, width]",
        [COHORT_KEY_REALS] = "number or list",
        [COHORT_KEY_STRINGS] = "text or list",
        [COHORT_KEY_SECTION] = "",
        [COHORT_KEY_VARIANT] = "one of those below",
        [COHORT_KEY_VARIANTS] = "list of those below",
        [COHORT_KEY_SPACE] = "KEY: VALUES lines",
    };
    if (key->type == COHORT_KEY_CHOICE) {
        append_choices(text, key);
    } else if (key->variants && key->type == COHORT_KEY_VARIANT) {
        append_variant_names(text, key->variants);
    } else if (key->type == COHORT_KEY_VARIANTS && !key->variants) {
        cohort_text_append(text, "list of layers");
    } else {
        cohort_text_append(text, "%s", names[key->type]);
    }
    append_bounds(text, key);
}

/* What the key is when it is not given, in brackets. */
static void append_note(cohort_text *text, const cohort_key *key)
{
    if (key->required)
        cohort_text_append(text, "[required]");
    else if (key->fallback && strcmp(key->fallback, "[]") == 0)
        cohort_text_append(text, "[none]");
    else if (key->fallback && key->type != COHORT_KEY_SECTION)
        cohort_text_append(text, "[%s]", key->fallback);
}

/* The walk over the tables; `path` is that of the section under way. */
typedef struct walk {
    void (*visit)(void *context, const cohort_outline_line *line);
    void *context;
    bool in_layers; /* there initialisers and the like are named, not spelt out each time */
} walk;

enum { VALUES_MAX = 64 };

/* The words KEY may be, into VALUES[VALUES_MAX + 1], returned; NULL if there are others. */
static const char *const *list_values(const char **values, const cohort_key *key)
{
    static const char *const truths[] = {"true", "false", NULL};
    if (key->type == COHORT_KEY_BOOL)
        return truths;
    if (key->type == COHORT_KEY_CHOICE)
        return key->choices;
    if (key->type != COHORT_KEY_VARIANT || !key->variants)
        return NULL;
    size_t count = 0;
    while (count < VALUES_MAX && key->variants[count]) {
        values[count] = key->variants[count]->name;
        count++;
    }
    values[count] = NULL;
    return values;
}

static void walk_table(const walk *w, const cohort_key_table *table, const char *path,
                       size_t depth);

/* PATH is that of the variant's keys, NULL where they cannot be set by name alone. */
static void walk_variant(const walk *w, const cohort_key_table *table, const char *path,
                         size_t depth)
{
    const cohort_outline_line line = {.name = table->name,
                                      .path = "",
                                      .type = "",
                                      .help = table->help ? table->help : "",
                                      .note = "",
                                      .depth = depth,
                                      .is_variant = true,
                                      .is_layer = w->in_layers};
    w->visit(w->context, &line);
    walk_table(w, table, path, depth + 1);
}

static void walk_key(const walk *w, const cohort_key *key, const char *path, size_t depth)
{
    cohort_text type = {0}, note = {0}, own = {0};
    const char *values[VALUES_MAX + 1];
    append_type(&type, key);
    append_note(&note, key);
    if (path)
        cohort_text_append(&own, "%s%s%s", path, *path ? "." : "", key->name);
    const cohort_outline_line line = {.name = key->name,
                                      .path = own.data ? own.data : "",
                                      .type = type.data ? type.data : "",
                                      .help = key->help ? key->help : "",
                                      .note = note.data ? note.data : "",
                                      .values = list_values(values, key),
                                      .depth = depth,
                                      .is_layer = w->in_layers};
    w->visit(w->context, &line);
    if (key->type == COHORT_KEY_SECTION)
        walk_table(w, key->table, own.data, depth + 1);
    const bool is_list = key->type == COHORT_KEY_VARIANTS;
    const bool spelt_out = key->variants && (is_list || !w->in_layers);
    for (size_t v = 0; spelt_out && key->variants[v]; v++)
        walk_variant(w, key->variants[v], is_list ? NULL : own.data, depth + 1);
    cohort_text_clear(&type);
    cohort_text_clear(&note);
    cohort_text_clear(&own);
}

static void walk_table(const walk *w, const cohort_key_table *table, const char *path, size_t depth)
{
    for (size_t i = 0; i < table->key_count; i++) {
        /* Every layer has a name: said once. */
        if (!w->in_layers || strcmp(table->keys[i].name, "name") != 0)
            walk_key(w, &table->keys[i], path, depth);
    }
}

void cohort_recipe_outline(void (*visit)(void *context, const cohort_outline_line *line),
                           void *context, cohort_layer_catalog layers)
{
    walk w = {.visit = visit, .context = context};
    walk_table(&w, &cohort_recipe_table, "", 0);
    w.in_layers = true;
    for (size_t i = 0; layers && layers[i]; i++)
        walk_variant(&w, layers[i], NULL, 0);
}

/* "  units             count at least 1           width of the output [required]"; the
 * meaning stands below when the type is too long for its column. */
static void append_line(void *context, const cohort_outline_line *line)
{
    cohort_text *text = context;
    const int indent = (int)(line->depth + line->is_layer) * 2;
    if (line->is_layer && !strstr(text->data, cohort_recipe_layers_about))
        cohort_text_append(text, "\n%s\n", cohort_recipe_layers_about);
    cohort_text_append(text, "%*s%-*s", indent, "", NAME_WIDTH - indent, line->name);
    if (line->is_variant)
        cohort_text_append(text, " ");
    else if (strlen(line->type) > TYPE_WIDTH)
        cohort_text_append(text, " %s\n%*s", line->type, NAME_WIDTH + 1 + TYPE_WIDTH + 2, "");
    else
        cohort_text_append(text, " %-*s  ", TYPE_WIDTH, line->type);
    cohort_text_append(text, "%s%s%s\n", line->help, *line->note ? " " : "", line->note);
}

void cohort_recipe_help(cohort_text *text, cohort_layer_catalog layers)
{
    cohort_text_append(text, "%s\n\n", cohort_recipe_about);
    cohort_recipe_outline(append_line, text, layers);
}
