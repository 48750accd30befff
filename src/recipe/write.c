#include <inttypes.h>
#include <string.h>

#include "recipe/node.h"
#include "recipe/space.h"
#include "recipe/tables.h"

enum { INDENT = 2 };

/* Scalars. */

/* YAML 1.1 readers take 1e-07 for text but 1.0e-07 for a number. */
void cohort_write_real(cohort_text *text, double value)
{
    char number[32];
    cohort_number_text(number, value);
    const char *exponent = strchr(number, 'e');
    if (exponent && !strchr(number, '.'))
        cohort_text_append(text, "%.*s.0%s", (int)(exponent - number), number, exponent);
    else
        cohort_text_append(text, "%s", number);
}

/* Whether VALUE reads back as the same text without quotes: letters, digits and a few
 * signs, beginning with a letter or digit. */
static bool is_simple(const char *value)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_./-+";
    static const char *const nulls[] = {"null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        if (strcmp(value, nulls[i]) == 0)
            return false;
    return *value && !strchr("_./-+", *value) && value[strspn(value, plain)] == '\0';
}

/* The code point at *BYTES, which is advanced; text that came through the parser is
 * valid UTF-8, a stray byte stands for itself. */
static uint32_t next_character(const unsigned char **bytes)
{
    const unsigned char *at = *bytes;
    int more = at[0] >= 0xF0 ? 3 : at[0] >= 0xE0 ? 2 : at[0] >= 0xC0 ? 1 : 0;
    uint32_t character = more ? at[0] & (0x3Fu >> more) : at[0];
    int used = 1;
    for (; used <= more && (at[used] & 0xC0) == 0x80; used++)
        character = character << 6 | (at[used] & 0x3Fu);
    *bytes = at + used;
    return character;
}

/* Characters YAML does not take as they are, or takes for line breaks. */
static bool needs_escape(uint32_t character)
{
    return character < 0x20 || (character >= 0x7F && character < 0xA0) || character == 0x2028 ||
           character == 0x2029 || character == 0xFEFF || character == 0xFFFE || character == 0xFFFF;
}

void cohort_write_string(cohort_text *text, const char *value)
{
    if (is_simple(value)) {
        cohort_text_append(text, "%s", value);
        return;
    }
    cohort_text_append(text, "\"");
    for (const unsigned char *at = (const unsigned char *)value; *at;) {
        const unsigned char *from = at;
        uint32_t character = next_character(&at);
        if (character == '"' || character == '\\')
            cohort_text_append(text, "\\%c", (int)character);
        else if (needs_escape(character))
            cohort_text_append(text, "\\u%04" PRIX32, character);
        else
            cohort_text_append_bytes(text, (const char *)from, (size_t)(at - from));
    }
    cohort_text_append(text, "\"");
}

/* Flow style. */

/* How many keys of VARIANT have something to write. */
static size_t given_keys(const cohort_variant *variant)
{
    size_t count = 0;
    for (size_t i = 0; i < variant->table->key_count; i++) {
        const cohort_key *key = &variant->table->keys[i];
        count += !cohort_key_is_absent(key, (const unsigned char *)variant->config + key->offset);
    }
    return count;
}

static void write_table_flow(cohort_text *text, const cohort_key_table *table, const void *config)
{
    const char *between = "";
    cohort_text_append(text, "{");
    for (size_t i = 0; i < table->key_count; i++) {
        const cohort_key *key = &table->keys[i];
        const void *value = (const unsigned char *)config + key->offset;
        if (cohort_key_is_absent(key, value))
            continue;
        cohort_text_append(text, "%s%s: ", between, key->name);
        cohort_key_write(text, key, value);
        between = ", ";
    }
    cohort_text_append(text, "}");
}

/* "dense: {units: 10}", "normal: 0.05" or "flatten". */
static void write_variant(cohort_text *text, const cohort_variant *variant)
{
    const cohort_key_table *table = variant->table;
    cohort_text_append(text, "%s", table->name);
    if (given_keys(variant) == 0)
        return;
    cohort_text_append(text, ": ");
    if (table->key_count == 1 && table->main_key)
        cohort_key_write(text, table->keys,
                         (const unsigned char *)variant->config + table->keys->offset);
    else
        write_table_flow(text, table, variant->config);
}

static void write_variant_flow(cohort_text *text, const cohort_variant *variant)
{
    bool braces = given_keys(variant) > 0;
    cohort_text_append(text, braces ? "{" : "");
    write_variant(text, variant);
    cohort_text_append(text, braces ? "}" : "");
}

static void write_reals(cohort_text *text, const cohort_reals *reals)
{
    bool list = reals->count != 1;
    cohort_text_append(text, list ? "[" : "");
    for (size_t i = 0; i < reals->count; i++) {
        cohort_text_append(text, i ? ", " : "");
        cohort_write_real(text, reals->items[i]);
    }
    cohort_text_append(text, list ? "]" : "");
}

static void write_strings(cohort_text *text, const cohort_strings *strings)
{
    cohort_text_append(text, "[");
    for (size_t i = 0; i < strings->count; i++) {
        cohort_text_append(text, i ? ", " : "");
        cohort_write_string(text, strings->items[i]);
    }
    cohort_text_append(text, "]");
}

static void write_variants_flow(cohort_text *text, const cohort_variants *variants)
{
    cohort_text_append(text, "[");
    for (size_t i = 0; i < variants->count; i++) {
        cohort_text_append(text, i ? ", " : "");
        write_variant_flow(text, &variants->items[i]);
    }
    cohort_text_append(text, "]");
}

static void write_pair(cohort_text *text, const size_t *pair)
{
    if (pair[0] == pair[1])
        cohort_text_append(text, "%zu", pair[0]);
    else
        cohort_text_append(text, "[%zu, %zu]", pair[0], pair[1]);
}

void cohort_key_write(cohort_text *text, const cohort_key *key, const void *value)
{
    if (cohort_key_is_absent(key, value)) {
        cohort_text_append(text, "null");
        return;
    }
    switch (key->type) {
    case COHORT_KEY_BOOL:
        cohort_text_append(text, *(const bool *)value ? "true" : "false");
        break;
    case COHORT_KEY_INTEGER:
        cohort_text_append(text, "%" PRId64, *(const int64_t *)value);
        break;
    case COHORT_KEY_COUNT:
        cohort_text_append(text, "%zu", *(const size_t *)value);
        break;
    case COHORT_KEY_REAL:
        cohort_write_real(text, *(const double *)value);
        break;
    case COHORT_KEY_BYTES:
        cohort_text_append(text, "%" PRIu64, *(const uint64_t *)value);
        break;
    case COHORT_KEY_STRING:
        cohort_write_string(text, *(const char *const *)value);
        break;
    case COHORT_KEY_CHOICE:
        cohort_text_append(text, "%s", key->choices[*(const int *)value]);
        break;
    case COHORT_KEY_PAIR:
        write_pair(text, value);
        break;
    case COHORT_KEY_REALS:
        write_reals(text, value);
        break;
    case COHORT_KEY_STRINGS:
        write_strings(text, value);
        break;
    case COHORT_KEY_SECTION:
        write_table_flow(text, key->table, value);
        break;
    case COHORT_KEY_VARIANT:
        write_variant_flow(text, value);
        break;
    case COHORT_KEY_VARIANTS:
        write_variants_flow(text, value);
        break;
    case COHORT_KEY_SPACE:
        cohort_space_write(text, value);
        break;
    }
}

/* Block style. */

static void write_table(cohort_text *text, const cohort_key_table *table, const void *config,
                        int indent, bool skip_absent);

/* Whether a list of variants stands inside: too much for one line. */
static bool is_nested(const cohort_variant *variant)
{
    for (size_t i = 0; i < variant->table->key_count; i++)
        if (variant->table->keys[i].type == COHORT_KEY_VARIANTS)
            return true;
    return false;
}

static void write_item(cohort_text *text, const cohort_variant *variant, int indent)
{
    cohort_text_append(text, "%*s- ", indent, "");
    if (is_nested(variant)) {
        cohort_text_append(text, "%s:\n", variant->table->name);
        write_table(text, variant->table, variant->config, indent + 2 * INDENT, true);
        return;
    }
    write_variant(text, variant);
    cohort_text_append(text, "\n");
}

static void write_table(cohort_text *text, const cohort_key_table *table, const void *config,
                        int indent, bool skip_absent)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const cohort_key *key = &table->keys[i];
        const void *value = (const unsigned char *)config + key->offset;
        bool absent = cohort_key_is_absent(key, value);
        if (absent && skip_absent)
            continue;
        cohort_text_append(text, "%*s%s:", indent, "", key->name);
        const cohort_variants *variants = key->type == COHORT_KEY_VARIANTS ? value : NULL;
        if (key->type == COHORT_KEY_SECTION && !absent) {
            cohort_text_append(text, "\n");
            write_table(text, key->table, value, indent + INDENT, skip_absent);
        } else if (variants && variants->count > 0) {
            cohort_text_append(text, "\n");
            for (size_t k = 0; k < variants->count; k++)
                write_item(text, &variants->items[k], indent + INDENT);
        } else {
            cohort_text_append(text, " ");
            cohort_key_write(text, key, value);
            cohort_text_append(text, "\n");
        }
    }
}

cohort_status cohort_recipe_write(cohort_text *text, const cohort_recipe *recipe)
{
    size_t before = text->length;
    write_table(text, &cohort_recipe_table, recipe, 0, false);
    COHORT_TRY(cohort_text_status(text));
    COHORT_REQUIRE(text->length - before <= COHORT_RECIPE_MAX_BYTES, COHORT_USAGE,
                   "%s: longer than %d bytes once every default is written out; use fewer layers",
                   recipe->path, COHORT_RECIPE_MAX_BYTES);
    return COHORT_OK;
}
