#include "comm/tree.h"

#include <string.h>

#include "kernel/clones.h"

void cohort_tree_share(size_t *begin, size_t *end, size_t parts, size_t rank, size_t size)
{
    *begin = 0;
    *end = parts;
    while (size > 1) {
        const size_t left = size - size / 2, middle = *begin + (*end - *begin) / 2;
        if (rank < left) {
            *end = middle;
            size = left;
        } else {
            *begin = middle;
            rank -= left;
            size -= left;
        }
    }
}

COHORT_CLONES static void add(float *restrict sum, const float *restrict x, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sum[i] += x[i];
}

/* OUT must not be a range that is read. */
static void sum_apart(float *out, float *const *sources, size_t source_count, size_t at,
                      size_t count)
{
    if (source_count == 1) {
        memcpy(out, sources[0] + at, count * sizeof *out);
        return;
    }
    const size_t left = source_count - source_count / 2;
    sum_apart(out, sources, left, at, count);
    if (source_count - left == 1) {
        add(out, sources[left] + at, count);
        return;
    }
    float right[COHORT_TREE_BLOCK];
    sum_apart(right, sources + left, source_count - left, at, count);
    add(out, right, count);
}

void cohort_tree_sum(float *sum, float *const *sources, size_t source_count, size_t at,
                     size_t count)
{
    float out[COHORT_TREE_BLOCK];
    sum_apart(out, sources, source_count, at, count);
    memcpy(sum, out, count * sizeof *sum);
}
