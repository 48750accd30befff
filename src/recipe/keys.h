/* One typed table declares every key a recipe knows: its type, bounds, default,
 * help and where its value goes in a struct. The same table drives parsing,
 * --set, `cohort help recipe` and the resolved recipe.yaml. */
#ifndef COHORT_RECIPE_KEYS_H
#define COHORT_RECIPE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a key's value is and the C type at its offset. */
typedef enum cohort_key_type {
    COHORT_KEY_BOOL,     /* bool */
    COHORT_KEY_INTEGER,  /* int64_t, within [min, max] */
    COHORT_KEY_COUNT,    /* size_t, within [min, max] */
    COHORT_KEY_REAL,     /* double, within [min, max]; open bounds by `open_min`, `open_max` */
    COHORT_KEY_BYTES,    /* uint64_t: a number with an optional KiB, MiB, GiB */
    COHORT_KEY_STRING,   /* const char *, NULL if absent */
    COHORT_KEY_CHOICE,   /* int: index into `choices` (NULL-terminated) */
    COHORT_KEY_PAIR,     /* size_t[2]: a number, or [height, width] */
    COHORT_KEY_REALS,    /* cohort_reals: a number, or a list of numbers */
    COHORT_KEY_STRINGS,  /* cohort_strings: a string, or a list */
    COHORT_KEY_SECTION,  /* a struct in place, described by `table` */
    COHORT_KEY_VARIANT,  /* cohort_variant: one of `variants` */
    COHORT_KEY_VARIANTS, /* cohort_variants: a list of them */
    COHORT_KEY_SPACE     /* cohort_space: other keys and what they may be */
} cohort_key_type;

typedef struct cohort_reals {
    double *items; /* owned by the recipe */
    size_t count;
} cohort_reals;

typedef struct cohort_strings {
    const char **items; /* owned by the recipe */
    size_t count;
} cohort_strings;

/* How a key of a search is drawn. */
typedef enum cohort_dimension_type {
    COHORT_DIMENSION_CHOICES,
    COHORT_DIMENSION_UNIFORM,     /* in [low, high] */
    COHORT_DIMENSION_LOG_UNIFORM, /* its logarithm is */
    COHORT_DIMENSION_INTEGER,     /* whole numbers, both ends included */
    COHORT_DIMENSION_LOG_INTEGER
} cohort_dimension_type;

/* "optimizer.lr: {log_uniform: [1e-4, 0.1]}" or "model.0.units: [32, 64]". */
typedef struct cohort_dimension {
    const char *path;     /* as --set takes it */
    int type;             /* cohort_dimension_type */
    int line;             /* where it stands in the recipe, from 1 */
    const char **choices; /* YAML text; owned by the recipe, as `path` */
    size_t choice_count;
    double low, high; /* of the others */
} cohort_dimension;

typedef struct cohort_space {
    cohort_dimension *items; /* owned by the recipe */
    size_t count;
} cohort_space;

struct cohort_key_table;

/* A value that is one of several named things with keys of their own: a layer, a
 * schedule, an initialiser. In YAML `name`, `name: VALUE` (its `main_key`),
 * `name: {key: value, …}` or `{type: name, key: value, …}`. */
typedef struct cohort_variant {
    const struct cohort_key_table *table; /* which one; NULL if the key is absent */
    void *config;                         /* its struct, table->config_bytes, owned by the recipe */
    int line;                             /* where it stands in the recipe, from 1 */
} cohort_variant;

typedef struct cohort_variants {
    cohort_variant *items; /* owned by the recipe */
    size_t count;
} cohort_variants;

typedef struct cohort_key {
    const char *name;
    cohort_key_type type;
    size_t offset;           /* of the value in the struct */
    double min, max;         /* INTEGER, COUNT, REAL, PAIR, REALS; both 0 = unbounded */
    bool open_min, open_max; /* the bound itself is refused */
    bool required;
    const char *fallback;       /* the default, as YAML text; NULL = absent (zero bytes) */
    const char *help;           /* one line, with unit */
    const char *const *choices; /* CHOICE */
    const struct cohort_key_table *table;           /* SECTION */
    const struct cohort_key_table *const *variants; /* VARIANT(S): NULL-terminated list, or
                                                       NULL for the layer types of the catalog */
} cohort_key;

typedef struct cohort_key_table {
    const char *name; /* the variant's or section's name */
    const char *help;
    size_t config_bytes;  /* the size of the struct behind it */
    const char *main_key; /* what a lone scalar sets (`normal: 0.05`); NULL = none */
    const cohort_key *keys;
    size_t key_count;
} cohort_key_table;

/* Where VARIANT keeps the value of key NAME, of the C type its cohort_key_type says; NULL if it
 * has no such key. */
const void *cohort_variant_value(const cohort_variant *variant, const char *name);

#endif
