/* Consecutive rows in parts, whose gradients are summed in the order of a balanced binary tree. */
#ifndef COHORT_KERNEL_PARTS_H
#define COHORT_KERNEL_PARTS_H

#include <stddef.h>

/* Part p ends before row ends[p] * unit. */
typedef struct cohort_row_parts {
    const size_t *ends; /* [count], not falling */
    size_t count;       /* a power of two, at most 2^COHORT_PART_LEVELS */
    size_t unit;
} cohort_row_parts;

enum { COHORT_PART_LEVELS = 10 };

/* The row before which part PART - 1 ends, where PART begins. */
static inline size_t cohort_row_part_begin(const cohort_row_parts *parts, size_t part)
{
    return part ? parts->ends[part - 1] * parts->unit : 0;
}

#endif
