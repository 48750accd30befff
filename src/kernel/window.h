/* How a window (a convolution's kernel, a pool) slides over an image. */
#ifndef COHORT_KERNEL_WINDOW_H
#define COHORT_KERNEL_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

/* All in pixels. The zeros below and to the right follow from the rest. */
typedef struct cohort_window {
    size_t in_height, in_width;
    size_t out_height, out_width;
    size_t height, width; /* of the window */
    size_t stride_y, stride_x;
    size_t pad_top, pad_left;
} cohort_window;

/* *window = a window of SIZE moved by STRIDES (both [height, width], positive) over
 * HEIGHT x WIDTH pixels, as in TensorFlow and Keras:
 *   valid  out = (in - size) / stride + 1, no padding;
 *   same   out = ceil(in / stride), max((out - 1) * stride + size - in, 0) zeros in
 *          all, the odd one at the bottom and at the right.
 * False when no window fits (valid, and the image is smaller than the window). */
bool cohort_window_plan(cohort_window *window, size_t height, size_t width, const size_t size[2],
                        const size_t strides[2], bool same);

/* The part of the window over output position OUT that lies on the image, along one
 * axis: taps [*begin, *end); tap t reads input out * stride + t - pad. */
static inline void cohort_window_taps(size_t *begin, size_t *end, size_t out, size_t stride,
                                      size_t pad, size_t size, size_t in)
{
    const size_t start = out * stride; /* input position + pad */
    *begin = start < pad ? pad - start : 0;
    *end = start + size > in + pad ? in + pad - start : size;
}

#endif
