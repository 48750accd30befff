#include <string.h>

#include "recipe/tables.h"

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

/* "  units             count at least 1           width of the output [required]"; the
 * meaning stands below when the type is too long for its column. */
static void append_key(cohort_text *text, const cohort_key *key, int indent)
{
    cohort_text type = {0};
    append_type(&type, key);
    cohort_text_append(text, "%*s%-*s %-*s", indent, "", NAME_WIDTH - indent, key->name, TYPE_WIDTH,
                       type.data ? type.data : "");
    if (type.length > TYPE_WIDTH)
        cohort_text_append(text, "\n%*s", NAME_WIDTH + 1 + TYPE_WIDTH, "");
    cohort_text_append(text, "  %s", key->help ? key->help : "");
    if (key->required)
        cohort_text_append(text, " [required]");
    else if (key->fallback && strcmp(key->fallback, "[]") == 0)
        cohort_text_append(text, " [none]");
    else if (key->fallback && key->type != COHORT_KEY_SECTION)
        cohort_text_append(text, " [%s]", key->fallback);
    cohort_text_append(text, "\n");
    cohort_text_clear(&type);
}

static void append_table(cohort_text *text, const cohort_key_table *table, int indent);

static void append_variant(cohort_text *text, const cohort_key_table *table, int indent)
{
    cohort_text_append(text, "%*s%-*s %s\n", indent, "", NAME_WIDTH - indent, table->name,
                       table->help ? table->help : "");
    append_table(text, table, indent + 2);
}

static void append_table(cohort_text *text, const cohort_key_table *table, int indent)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const cohort_key *key = &table->keys[i];
        /* Every layer has a name: said once. */
        if (indent > 0 && strcmp(key->name, "name") == 0)
            continue;
        append_key(text, key, indent);
        if (key->type == COHORT_KEY_SECTION)
            append_table(text, key->table, indent + 2);
        /* Initialisers and the like are the same in every layer: named, not spelt out. */
        bool own = key->variants && (key->type == COHORT_KEY_VARIANTS || indent == 0);
        for (size_t v = 0; own && key->variants[v]; v++)
            append_variant(text, key->variants[v], indent + 2);
    }
}

void cohort_recipe_help(cohort_text *text, cohort_layer_catalog layers)
{
    cohort_text_append(text,
                       "A recipe is YAML: keys with their types, bounds, meaning and [default].\n"
                       "Override any on the command line: --set train.epochs=3 "
                       "--set model.0.units=64\n\n");
    append_table(text, &cohort_recipe_table, 0);
    cohort_text_append(text, "\nLayers: '- NAME', '- NAME: {key: value}' or "
                             "'- {type: NAME, key: value}';\n"
                             "each also takes 'name', what it is called in checkpoints and "
                             "messages.\n");
    for (size_t i = 0; layers && layers[i]; i++)
        append_variant(text, layers[i], 2);
}
