/* What the layers on images share: the shape they take, and the padding key. */
#ifndef COHORT_NN_LAYER_IMAGE_H
#define COHORT_NN_LAYER_IMAGE_H

#include "kernel/window.h"
#include "nn/layer_check.h"

/* The `choices` of the key `padding`, and what they are in a config. */
enum { COHORT_PADDING_VALID, COHORT_PADDING_SAME };
extern const char *const cohort_padding_names[];

/* *window = SIZE moved by STRIDES over the image that *flow brings; refuses what is not
 * an image and an image smaller than the window (COHORT_USAGE). Replaces height and
 * width in *flow by those that come out. */
COHORT_NODISCARD cohort_status cohort_layer_plan_window(cohort_window *window,
                                                        const cohort_layer *layer,
                                                        cohort_flow *flow, const size_t size[2],
                                                        const size_t strides[2], int padding);

/* *window = that of POOL, a layer of a recipe, over an image of HEIGHT x WIDTH; false if it is no
 * max_pool2d or does not fit. */
bool cohort_layer_max_pool_window(cohort_window *window, const cohort_variant *pool, size_t height,
                                  size_t width);

#endif
