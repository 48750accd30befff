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

#endif
