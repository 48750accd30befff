/* A recipe as a list of keys with values, to compare two of them by. */
#ifndef COHORT_REPORT_FLAT_H
#define COHORT_REPORT_FLAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* "optimizer.lr" and "0.01"; "model.2" and "dense: {units: 10, …}". */
typedef struct cohort_flat_key {
    char *path, *value;
} cohort_flat_key;

typedef struct cohort_flat {
    cohort_flat_key *keys; /* [count], in the order of the text */
    size_t count;
} cohort_flat;

/* Reads TEXT, a recipe as run folders hold it: block style down to the layers, one key or list
 * item a line. Free with cohort_flat_clear. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_flat_read(cohort_flat *flat, const char *text);
void cohort_flat_clear(cohort_flat *flat);
/* The value under PATH, or NULL. */
const char *cohort_flat_get(const cohort_flat *flat, const char *path);

#endif
