/* Rows of a table by token, and the table of sines for positions. */
#ifndef COHORT_KERNEL_EMBEDDING_H
#define COHORT_KERNEL_EMBEDDING_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

/* y [count][units] = the rows of TABLE [vocabulary][units] that TOKENS [count] name;
 * 0 <= token < vocabulary. */
void cohort_embedding_forward(real *y, const real *table, const int32_t *tokens, size_t count,
                              size_t units);
/* Adds the rows of dy [count][units] to the rows of DTABLE that TOKENS name, in order. */
void cohort_embedding_backward(real *dtable, const real *dy, const int32_t *tokens, size_t count,
                               size_t units);

/* Zeros the rows of TABLE [row_count][width] that are marked in BITS (base/rows.h). */
void cohort_embedding_zero_rows(real *table, const uint64_t *bits, size_t row_count, size_t width);
/* Adds the rows of FROM that are marked in BITS to those of TABLE. */
void cohort_embedding_add_rows(real *table, const real *from, const uint64_t *bits,
                               size_t row_count, size_t width);

/* TABLE [time][width]: sin(t / 10000^(2i / width)) in column 2i, the cosine of the same in
 * 2i + 1 ("Attention Is All You Need", Vaswani et al. 2017, section 3.5). */
void cohort_sinusoid_table(real *table, size_t time, size_t width);

#endif
