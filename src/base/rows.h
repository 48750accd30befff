/* Sets of rows: which rows of a table in a flat vector may hold anything but zeros.
 *
 * The gradient of a table of embeddings is zero outside the rows that a batch uses. A vector
 * of gradients therefore has a bit for every row of such a table: where the bit is 0 the row
 * holds zeros, so that zeroing, adding and sending can leave it out and the result is the
 * same to the bit. */
#ifndef COHORT_BASE_ROWS_H
#define COHORT_BASE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A table [row_count][width] in a flat vector. */
typedef struct cohort_table {
    size_t offset; /* of its first element in the vector */
    size_t row_count, width;
    size_t first_word; /* where the bits of its rows begin among those of all tables */
} cohort_table;

typedef struct cohort_tables {
    const cohort_table *items; /* ascending by offset */
    size_t count;
} cohort_tables;

/* Words of 64 bits for a table of ROW_COUNT rows; for all TABLES. */
size_t cohort_rows_words(size_t row_count);
size_t cohort_tables_words(const cohort_tables *tables);

/* Marks the rows ROWS [count] in BITS. */
void cohort_rows_mark(uint64_t *bits, const int32_t *rows, size_t count);
/* Marks in BITS [words] what OTHER has marked. */
void cohort_rows_unite(uint64_t *bits, const uint64_t *other, size_t words);
/* How many rows are marked in BITS [words]. */
size_t cohort_rows_count(const uint64_t *bits, size_t words);
/* The marked row that INDEX marked ones precede; 64 * words when there are no more. */
size_t cohort_rows_select(const uint64_t *bits, size_t words, size_t index);
/* The next run of marked rows [*begin, *end) at or after *end and below LIMIT; false when
 * there is none. To walk over all: begin with *end = 0 (or the first row of interest). */
bool cohort_rows_next(size_t *begin, size_t *end, const uint64_t *bits, size_t limit);
/* The same, where zeros do no harm: runs with few rows between them come as one. */
bool cohort_rows_next_near(size_t *begin, size_t *end, const uint64_t *bits, size_t limit);

#endif
