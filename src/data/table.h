/* How the columns of a table became numbers: kept with the data set and the model, so that the
 * same kind of table can be predicted on.
 *
 * As text, one line an entry, entries separated by tabs (\t, \n, \r and \\ inside them):
 *   table    1, the delimiter, 1 if the first line holds names
 *   missing  a text that stands for a missing value, besides the empty one
 * then a line for each column, in the table's order, with its name (or nothing):
 *   number   what stands for a missing value (nothing: none may be), mean, deviation
 *   category 1 if a value may be missing (it is then none of them), the values in order
 *   label, ignored */
#ifndef COHORT_DATA_TABLE_H
#define COHORT_DATA_TABLE_H

#include "base/memory.h"
#include "base/text.h"

typedef enum cohort_table_role {
    COHORT_TABLE_NUMBER,   /* one feature: (value - mean) / deviation */
    COHORT_TABLE_CATEGORY, /* a feature for each value: 1 for the one that is there, else 0 */
    COHORT_TABLE_LABEL,
    COHORT_TABLE_IGNORED
} cohort_table_role;

typedef struct cohort_table_column {
    const char *name; /* "" without names */
    cohort_table_role role;
    bool may_miss;
    double fill;               /* number: for a missing value */
    double mean, deviation;    /* number */
    const char *const *values; /* category [value_count] */
    size_t value_count;
} cohort_table_column;

/* Start from {0}; clear in any case. Strings lie in the arena. */
typedef struct cohort_table_encoding {
    cohort_arena *arena;
    char delimiter;
    bool has_names;
    cohort_table_column *columns; /* owned */
    size_t column_count, column_capacity;
    const char **marks; /* texts of missing values; owned list */
    size_t mark_count, mark_capacity;
} cohort_table_encoding;

/* Appends a column, or a mark; strings are copied. */
COHORT_NODISCARD cohort_status cohort_table_add(cohort_table_encoding *table,
                                                const cohort_table_column *column);
COHORT_NODISCARD cohort_status cohort_table_add_mark(cohort_table_encoding *table,
                                                     const char *mark);
void cohort_table_clear(cohort_table_encoding *table);

/* Appends the text; and back. COHORT_DATA when it is none. */
void cohort_table_describe(cohort_text *text, const cohort_table_encoding *table);
COHORT_NODISCARD cohort_status cohort_table_parse(cohort_table_encoding *table, const char *text);

/* Features of a row. */
size_t cohort_table_width(const cohort_table_encoding *table);
bool cohort_table_is_missing(const cohort_table_encoding *table, const char *field);
/* Puts number VALUE (NaN: missing), or the value numbered INDEX (>= value_count: missing), of
 * COLUMN at OUT; returns the place behind. */
float *cohort_table_put_number(float *out, const cohort_table_column *column, float value);
float *cohort_table_put_category(float *out, const cohort_table_column *column, size_t index);
/* OUT [width] = the row of FIELDS [column_count] (labels and ignored ones may be NULL).
 * COHORT_DATA names the column: no number, missing, a value that training did not know. */
COHORT_NODISCARD cohort_status cohort_table_encode(float *out, const cohort_table_encoding *table,
                                                   const char *const *fields);

#endif
