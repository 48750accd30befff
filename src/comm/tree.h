/* The fixed order in which gradients are summed: a balanced binary tree.
 *
 * A global batch is cut into PARTS (a power of two). A rank holds the parts of one
 * subtree and sums them pairwise; ranks are then summed pairwise in the same tree, so
 * that the bits of the sum do not depend on how many ranks there are. */
#ifndef COHORT_COMM_TREE_H
#define COHORT_COMM_TREE_H

#include <stddef.h>

enum { COHORT_TREE_BLOCK = 1024 }; /* floats summed at a time */

/* The parts [*begin, *end) of rank RANK of SIZE: a whole subtree, a power of two of them.
 * SIZE <= PARTS. Where SIZE is no power of two, some ranks have twice as many. */
void cohort_tree_share(size_t *begin, size_t *end, size_t parts, size_t rank, size_t size);

/* sum[0..count) = the sum of sources[s][at .. at + count) in tree order: the first half
 * (rounded up) of the sources, plus the rest. COUNT <= COHORT_TREE_BLOCK; SUM may be one
 * of the ranges read. */
void cohort_tree_sum(float *sum, float *const *sources, size_t source_count, size_t at,
                     size_t count);

#endif
