#include "nn/layer_image.h"

const char *const cohort_padding_names[] = {"valid", "same", NULL};

cohort_status cohort_layer_plan_window(cohort_window *window, const cohort_layer *layer,
                                       cohort_flow *flow, const size_t size[2],
                                       const size_t strides[2], int padding)
{
    char text[COHORT_SHAPE_TEXT];
    COHORT_TRY(cohort_layer_require_reals(layer, flow));
    COHORT_REQUIRE(flow->shape.dim_count == 3, COHORT_USAGE,
                   "line %d: %s needs [height][width][channels], got %s; put it before `flatten` "
                   "and give it images",
                   layer->line, layer->path, cohort_shape_text(text, &flow->shape));
    const size_t height = flow->shape.dims[0], width = flow->shape.dims[1];
    COHORT_REQUIRE(
        cohort_window_plan(window, height, width, size, strides, padding == COHORT_PADDING_SAME),
        COHORT_USAGE,
        "line %d: %s: a window of %zux%zu does not fit into %s; make it smaller, pool less "
        "before it, or set padding: same",
        layer->line, layer->path, size[0], size[1], cohort_shape_text(text, &flow->shape));
    flow->shape.dims[0] = window->out_height;
    flow->shape.dims[1] = window->out_width;
    flow->masked = false;
    return COHORT_OK;
}
