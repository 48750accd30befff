#include "kernel/embedding.h"

#include <math.h>
#include <string.h>

#include "base/rows.h"
#include "kernel/clones.h"
#include "kernel/vector.h"

void cohort_embedding_forward(real *y, const real *table, const int32_t *tokens, size_t count,
                              size_t units)
{
    for (size_t i = 0; i < count; i++)
        memcpy(y + i * units, table + (size_t)tokens[i] * units, units * sizeof(real));
}

COHORT_CLONES void cohort_embedding_backward(real *dtable, const real *dy, const int32_t *tokens,
                                             size_t count, size_t units)
{
    for (size_t i = 0; i < count; i++) {
        real *restrict row = dtable + (size_t)tokens[i] * units;
        const real *restrict from = dy + i * units;
#pragma omp simd
        for (size_t j = 0; j < units; j++)
            row[j] += from[j];
    }
}

void cohort_embedding_zero_rows(real *table, const uint64_t *bits, size_t row_count, size_t width)
{
    for (size_t begin, end = 0; cohort_rows_next_near(&begin, &end, bits, row_count);)
        memset(table + begin * width, 0, (end - begin) * width * sizeof *table);
}

void cohort_embedding_add_rows(real *table, const real *from, const uint64_t *bits,
                               size_t row_count, size_t width)
{
    for (size_t begin, end = 0; cohort_rows_next_near(&begin, &end, bits, row_count);)
        cohort_vector_add(table + begin * width, from + begin * width, (end - begin) * width);
}

void cohort_sinusoid_table(real *table, size_t time, size_t width)
{
    for (size_t t = 0; t < time; t++)
        for (size_t j = 0; j < width; j++) {
            const double rate = pow(10000, -(double)(j - j % 2) / (double)width);
            const double angle = (double)t * rate;
            table[t * width + j] = (real)(j % 2 ? cos(angle) : sin(angle));
        }
}
