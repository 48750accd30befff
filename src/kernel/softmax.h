/* Softmax over the rows of a matrix, and the cross-entropy of it. */
#ifndef COHORT_KERNEL_SOFTMAX_H
#define COHORT_KERNEL_SOFTMAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"

/* y = softmax of each row of x [rows][width], shifted by the row's maximum. Y may be X. */
void cohort_softmax_forward(real *y, const real *x, size_t rows, size_t width);
/* dx = y * (dy - sum(dy * y)) for each row. DX may be DY. */
void cohort_softmax_backward(real *dx, const real *dy, const real *y, size_t rows, size_t width);

/* What one row is compared with. */
typedef struct cohort_softmax_target {
    const real *values; /* [width] weights of the classes (one-hot or soft), or NULL: */
    size_t label;       /* the class, below width */
    double smoothing;   /* t <- t * (1 - smoothing) + smoothing / width */
    double weight;      /* of this row's loss */
} cohort_softmax_target;

/* Returns weight * -sum(t log softmax(x)) of one row x [width]; when DX is not NULL, sets
 * it to the gradient times SCALE (DX may be X). One visit while the row is in cache. */
double cohort_softmax_cross_entropy(real *dx, const real *x, const cohort_softmax_target *target,
                                    size_t width, double scale);

/* The index of the first largest element; 0 when none compares (NaN). */
size_t cohort_argmax(const real *x, size_t width);
/* Whether that is INDEX, below WIDTH; false when an element does not compare. */
bool cohort_is_argmax(const real *x, size_t width, size_t index);

#endif
