/* Tensor shapes: a short list of extents, row-major, channels last. */
#ifndef COHORT_BASE_SHAPE_H
#define COHORT_BASE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>

enum { COHORT_SHAPE_MAX = 6, COHORT_SHAPE_TEXT = 96 };

/* Extents without the batch dimension unless said otherwise; a scalar has
 * dim_count 0 and one element. */
typedef struct cohort_shape {
    size_t dim_count;
    size_t dims[COHORT_SHAPE_MAX];
} cohort_shape;

/* cohort_shape_of(28, 28, 1): a shape literal. */
#define cohort_shape_of(...)                                                                       \
    ((cohort_shape){sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), {__VA_ARGS__}})

/* The number of elements; SIZE_MAX if it does not fit. */
size_t cohort_shape_count(const cohort_shape *shape);
bool cohort_shape_equal(const cohort_shape *a, const cohort_shape *b);
/* "28x28x1" into TEXT (COHORT_SHAPE_TEXT bytes), returned. */
const char *cohort_shape_text(char *text, const cohort_shape *shape);

/* *product = a * b; false on overflow. */
bool cohort_size_multiply(size_t *product, size_t a, size_t b);
/* The least multiple of `unit` (a power of two) not below `value`. */
size_t cohort_size_align(size_t value, size_t unit);
/* Where part INDEX of PARTS of TOTAL begins when TOTAL items are dealt in
 * contiguous runs as evenly as possible: floor(total * index / parts). Part i is
 * [cohort_part_begin(total, i, parts), cohort_part_begin(total, i + 1, parts)). */
size_t cohort_part_begin(size_t total, size_t index, size_t parts);

#endif
