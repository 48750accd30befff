/* Refusals that several layers share. */
#ifndef COHORT_NN_LAYER_CHECK_H
#define COHORT_NN_LAYER_CHECK_H

#include "nn/layer.h"

/* COHORT_USAGE when token ids come in. */
COHORT_NODISCARD static inline cohort_status cohort_layer_require_reals(const cohort_layer *layer,
                                                                        const cohort_flow *flow)
{
    COHORT_REQUIRE(!flow->tokens, COHORT_USAGE,
                   "line %d: %s: %s needs numbers, got token ids; put `embedding` before it",
                   layer->line, layer->path, layer->type->keys.name);
    return COHORT_OK;
}

/* COHORT_USAGE unless reals [time][features] come in. */
COHORT_NODISCARD static inline cohort_status
cohort_layer_require_sequence(const cohort_layer *layer, const cohort_flow *flow)
{
    char text[COHORT_SHAPE_TEXT];
    COHORT_TRY(cohort_layer_require_reals(layer, flow));
    COHORT_REQUIRE(flow->shape.dim_count == 2, COHORT_USAGE,
                   "line %d: %s: %s needs a sequence [time][features], got %s", layer->line,
                   layer->path, layer->type->keys.name, cohort_shape_text(text, &flow->shape));
    return COHORT_OK;
}

#endif
