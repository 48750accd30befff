/* YAML text as a tree of nodes that know their lines. Private to this room. */
#ifndef COHORT_RECIPE_NODE_H
#define COHORT_RECIPE_NODE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "base/status.h"

typedef enum cohort_node_kind {
    COHORT_NODE_SCALAR,
    COHORT_NODE_LIST,
    COHORT_NODE_MAP
} cohort_node_kind;

typedef struct cohort_node cohort_node;
struct cohort_node {
    cohort_node_kind kind;
    bool quoted;               /* a scalar in quotes or as a block: text, whatever it looks like */
    int line;                  /* from 1; of its key if it has one */
    const char *set;           /* "--set KEY" if that brought it; NULL: it stands in the file */
    const char *key;           /* in a mapping: its key */
    const char *text;          /* of a scalar */
    cohort_node *first, *last; /* of a list or mapping */
    cohort_node *next;
    size_t count; /* children */
};

/* Where a text comes from, for messages and for what its nodes say of themselves. */
typedef struct cohort_node_origin {
    const char *path;
    const char *set; /* as in cohort_node */
    int line;        /* of all nodes, if not 0 */
} cohort_node_origin;

/* The longest text that is read, and so the longest that may be written. */
enum { COHORT_RECIPE_MAX_BYTES = 1 << 20 };

/* *out = the tree of TEXT in ARENA; NULL if it holds no document. Refused with
 * COHORT_USAGE: more than COHORT_RECIPE_MAX_BYTES, 100 levels or 100000 nodes, several
 * documents, keys that are not scalars, duplicate keys, anchors, aliases and tags. */
COHORT_NODISCARD cohort_status cohort_node_parse(cohort_node **out, cohort_arena *arena,
                                                 const char *text,
                                                 const cohort_node_origin *origin);

/* The child of MAP with that key, or NULL (also when MAP is NULL or no mapping). */
cohort_node *cohort_node_find(const cohort_node *map, const char *key);

/* Adds CHILD at the end of LIST. */
void cohort_node_add(cohort_node *list, cohort_node *child);

/* Whether nothing is written there: NODE is NULL, empty, ~ or null. */
bool cohort_node_is_null(const cohort_node *node);

/* TEXT fit for a one-line message: cut at 60 bytes, control characters replaced. */
typedef struct cohort_shown {
    char text[68];
} cohort_shown;
cohort_shown cohort_show(const char *text);

/* Fails with COHORT_USAGE and "PATH:LINE: …", or "--set KEY: …" where that brought it. */
#define COHORT_FAIL_AT(path, node, ...)                                                            \
    cohort_node_fail(__FILE__, __LINE__, (path), (node), __VA_ARGS__)
cohort_status cohort_node_fail(const char *file, int line, const char *path,
                               const cohort_node *node, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#endif
