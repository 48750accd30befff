/* The layers in ONNX's operators. */
#ifndef COHORT_STATE_FOREIGN_ONNX_LAYERS_H
#define COHORT_STATE_FOREIGN_ONNX_LAYERS_H

#include "state/foreign/onnx_graph.h"

/* What flows from layer to layer. Images are [batch][channels][height][width] between ONNX's
 * operators and ours in the order of the recipe's shapes elsewhere. */
typedef struct cohort_onnx_value {
    const char *name;
    bool channels; /* channels come first */
} cohort_onnx_value;

/* All layers of the graph's model on X. A layer that has no form sets graph->status to
 * COHORT_USAGE. */
cohort_onnx_value cohort_onnx_layers(cohort_onnx *graph, cohort_onnx_value x);
/* X with channels last. */
cohort_onnx_value cohort_onnx_channels_last(cohort_onnx *graph, cohort_onnx_value x);

#endif
