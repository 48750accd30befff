#include "nn/placement.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/shape.h"

enum { ALIGNMENT = 64 };

static int larger_first(const void *left, const void *right)
{
    const cohort_slot *a = *(cohort_slot *const *)left, *b = *(cohort_slot *const *)right;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return a < b ? -1 : a > b; /* ties in the order of booking: no platform's qsort matters */
}

/* The lowest offset where SLOT fits between the PLACED slots it lives together with,
 * which are sorted by offset. */
static size_t lowest_free(cohort_slot *const *placed, size_t count, const cohort_slot *slot)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const cohort_slot *other = placed[i];
        if (other->last < slot->first || other->first > slot->last)
            continue;
        if (other->offset >= at && other->offset - at >= slot->bytes)
            break;
        size_t end = cohort_size_align(other->offset + other->bytes, ALIGNMENT);
        if (end > at)
            at = end;
    }
    return at;
}

static void insert_by_offset(cohort_slot **placed, size_t count, cohort_slot *slot)
{
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > slot->offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = slot;
}

cohort_status cohort_place(size_t *total_bytes, cohort_slot *slots, size_t count)
{
    *total_bytes = 0;
    if (count == 0)
        return COHORT_OK;
    cohort_slot **order = malloc(2 * count * sizeof *order);
    COHORT_REQUIRE(order, COHORT_MEMORY, "out of memory");
    cohort_slot **placed = order + count;
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < count; i++)
        order[i] = &slots[i];
    qsort(order, count, sizeof *order, larger_first);
    for (size_t i = 0; i < count; i++) {
        cohort_slot *slot = order[i];
        slot->offset = lowest_free(placed, i, slot);
        COHORT_REQUIRE_DONE(status, slot->bytes < SIZE_MAX / 4 - slot->offset, COHORT_MEMORY,
                            "the network's activations do not fit the address space");
        insert_by_offset(placed, i, slot);
        if (slot->offset + slot->bytes > *total_bytes)
            *total_bytes = slot->offset + slot->bytes;
    }
done:
    free(order);
    return status;
}
