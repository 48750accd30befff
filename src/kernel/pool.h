/* Pooling of images [batch][height][width][channels] and means over positions.
 *
 * Samples are dealt to OpenMP's threads. Channels are the vector dimension. */
#ifndef COHORT_KERNEL_POOL_H
#define COHORT_KERNEL_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "kernel/window.h"

typedef struct cohort_pool {
    cohort_window window; /* at most COHORT_POOL_TAPS pixels of window */
    size_t channels;
} cohort_pool;

enum { COHORT_POOL_TAPS = 65536 };

/* Y [batch][out_height][out_width][channels] = the largest of each window; padding never
 * wins; NaN does. WINNERS (as Y, or NULL) receives which pixel of the window, row-major,
 * it was, the first of equals. */
void cohort_max_pool_forward(real *y, uint16_t *winners, const cohort_pool *pool, const real *x,
                             size_t batch);
/* DX (set): DY goes to the winners. */
void cohort_max_pool_backward(real *dx, const cohort_pool *pool, const real *dy,
                              const uint16_t *winners, size_t batch);

/* Y = the mean of those pixels of each window that lie on the image (as in Keras,
 * padding does not count). */
void cohort_average_pool_forward(real *y, const cohort_pool *pool, const real *x, size_t batch);
void cohort_average_pool_backward(real *dx, const cohort_pool *pool, const real *dy, size_t batch);

/* Y [batch][channels] = the mean of X [batch][positions][channels] over the positions,
 * of those alone where MASK [batch][positions] (or NULL: all) is not 0; 0 when there is
 * none. */
void cohort_mean_forward(real *y, const real *x, const real *mask, size_t batch, size_t positions,
                         size_t channels);
void cohort_mean_backward(real *dx, const real *dy, const real *mask, size_t batch,
                          size_t positions, size_t channels);

#endif
