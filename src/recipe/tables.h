/* The sections of a recipe as key tables, and what a key says of itself. Private to
 * this room. */
#ifndef COHORT_RECIPE_TABLES_H
#define COHORT_RECIPE_TABLES_H

#include "base/text.h"
#include "recipe/recipe.h"

/* Shorthands of the tables' files. */
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define TABLE(label, about, type, keys_array, ...)                                                 \
    {                                                                                              \
        .name = label, .help = about, .config_bytes = sizeof(type), .keys = keys_array,            \
        .key_count = COUNT_OF(keys_array), __VA_ARGS__                                             \
    }
#define AT(type, member) .offset = offsetof(type, member)
#define TEXT_OF(number) TEXT_OF_TOKEN(number) /* a constant as a fallback */
#define TEXT_OF_TOKEN(token) #token

/* Sections that stand in files of their own or in several places. */
extern const cohort_key_table cohort_schedule_table;
extern const cohort_key_table cohort_federated_table;
extern const cohort_key_table cohort_search_table;

/* The whole recipe; its struct is cohort_recipe. */
extern const cohort_key_table cohort_recipe_table;

/* The key of TABLE with that name, or NULL. */
const cohort_key *cohort_table_find(const cohort_key_table *table, const char *name);

/* The variants KEY offers, NULL-terminated: its own, or LAYERS (may be NULL). */
const cohort_key_table *const *cohort_key_variants(const cohort_key *key,
                                                   cohort_layer_catalog layers);

/* Lower and upper bound of KEY. A maximum below the minimum is none. */
bool cohort_key_has_min(const cohort_key *key);
bool cohort_key_has_max(const cohort_key *key);
bool cohort_key_allows(const cohort_key *key, double value);
/* Appends "at least 1", "above 0", "in [0, 1)" or nothing. */
void cohort_key_bounds_text(cohort_text *text, const cohort_key *key);

/* Bytes of the value behind KEY. */
size_t cohort_key_bytes(const cohort_key *key);
/* Whether VALUE is one the key leaves out: no default, nothing given. */
bool cohort_key_is_absent(const cohort_key *key, const void *value);

/* A number, and a text with quotes where they are needed, as YAML. */
void cohort_write_real(cohort_text *text, double value);
void cohort_write_string(cohort_text *text, const char *value);
/* Appends VALUE as YAML flow text ("null" if absent). */
void cohort_key_write(cohort_text *text, const cohort_key *key, const void *value);

#endif
