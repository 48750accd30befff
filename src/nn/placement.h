/* Where buffers with known lifetimes go in one block of memory. */
#ifndef COHORT_NN_PLACEMENT_H
#define COHORT_NN_PLACEMENT_H

#include <stddef.h>

#include "base/status.h"

/* A buffer that must keep its content from FIRST to LAST (both inclusive, any clock). */
typedef struct cohort_slot {
    size_t bytes;
    int first, last;
    size_t offset; /* result: a multiple of 64 */
} cohort_slot;

/* Sets the offset of every slot such that no two that live at the same time overlap;
 * *total_bytes is the block needed. A pure function of its input: largest first, each
 * at the lowest place free for its lifetime (greedy by size, Pisarchyk and Lee 2020).
 * COHORT_MEMORY when sizes overflow. */
COHORT_NODISCARD cohort_status cohort_place(size_t *total_bytes, cohort_slot *slots, size_t count);

#endif
