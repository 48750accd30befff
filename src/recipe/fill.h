/* From a tree of nodes to structs, by key tables. Private to this room. */
#ifndef COHORT_RECIPE_FILL_H
#define COHORT_RECIPE_FILL_H

#include "recipe/node.h"
#include "recipe/tables.h"

typedef struct cohort_fill {
    cohort_arena *arena;   /* of what the structs point to */
    cohort_arena *scratch; /* of nodes made on the way */
    const char *path;      /* of the recipe, for messages */
    cohort_layer_catalog layers;
} cohort_fill;

/* A place in the recipe, for messages: "model.3.units". */
typedef struct cohort_place {
    const struct cohort_place *up; /* NULL: the recipe itself */
    const char *name;              /* NULL: an item of a list */
    size_t index;
    const char *variant; /* its type, once known */
} cohort_place;
typedef struct cohort_place_name {
    char text[160]; /* longer ones are cut */
} cohort_place_name;
cohort_place_name cohort_place_text(const cohort_place *place);

/* Fills CONFIG (zeroed, of table->config_bytes) from MAP (NULL: all defaults). ABOUT is
 * the node to blame for missing keys. VARIANT_FORM: a key `type` is not for TABLE. */
COHORT_NODISCARD cohort_status cohort_fill_keys(const cohort_fill *fill, const cohort_place *place,
                                                const cohort_key_table *table,
                                                const cohort_node *map, const cohort_node *about,
                                                bool variant_form, void *config);

/* Which variant NODE names and where its keys stand. */
typedef struct cohort_choice {
    const cohort_key_table *table;
    cohort_node *keys; /* its keys' mapping, or what stands for main_key; may be NULL */
    bool type_form;    /* `keys` is {type: NAME, …} */
} cohort_choice;
COHORT_NODISCARD cohort_status cohort_fill_choose(cohort_choice *choice, const cohort_fill *fill,
                                                  const cohort_place *place, const cohort_key *key,
                                                  cohort_node *node);

/* *out = the node of KEY's default, blamed on the line of ABOUT. */
COHORT_NODISCARD cohort_status cohort_fill_fallback(cohort_node **out, const cohort_fill *fill,
                                                    const cohort_key *key,
                                                    const cohort_node *about);

/* *out = the mapping NODE stands for: itself, or {MAIN_KEY: NODE}. NULL when it is
 * neither a mapping nor is there a main key. */
COHORT_NODISCARD cohort_status cohort_fill_as_map(cohort_node **out, const cohort_fill *fill,
                                                  const cohort_key_table *table, cohort_node *node);

/* Fails for key WRONG of TABLE, with the nearest right one or all of them. */
cohort_status cohort_fill_refuse_key(const cohort_fill *fill, const cohort_place *place,
                                     const cohort_key_table *table, const cohort_node *node,
                                     const char *wrong);

#endif
