/* An ONNX graph under construction (onnx.ai/onnx/repo-docs/IR.html, Operators.html).
 *
 * The first failure is kept in `status` and everything after it does nothing, so that a layer
 * reads as its formula; strings returned are then "". Names live as long as the graph. */
#ifndef COHORT_STATE_FOREIGN_ONNX_GRAPH_H
#define COHORT_STATE_FOREIGN_ONNX_GRAPH_H

#include "state/foreign/formats.h"

enum { COHORT_ONNX_FLOAT = 1, COHORT_ONNX_INT32 = 6, COHORT_ONNX_INT64 = 7, COHORT_ONNX_BOOL = 9 };

typedef struct cohort_onnx {
    cohort_status status;
    cohort_model *model;
    const char *layer; /* whose nodes are being made: names begin with it */
    const char *mask;  /* float [batch][time], 1 = not padding; NULL without */
    size_t next;       /* layer of the model */
    size_t node_count, tensor_count;
    cohort_arena *arena;
    cohort_text nodes, tensors; /* fields of the GraphProto */
    cohort_text attributes;     /* of the next node */
} cohort_onnx;

/* Attributes of the next node. */
void cohort_onnx_integer(cohort_onnx *graph, const char *name, int64_t value);
void cohort_onnx_integers(cohort_onnx *graph, const char *name, const int64_t *values,
                          size_t count);
void cohort_onnx_float(cohort_onnx *graph, const char *name, double value);
void cohort_onnx_string(cohort_onnx *graph, const char *name, const char *value);

/* Appends node OP; its first OUTPUT_COUNT outputs get names. "" inputs are left out. */
void cohort_onnx_node(const char **outputs, size_t output_count, cohort_onnx *graph, const char *op,
                      const char *const *inputs, size_t input_count);
/* The same for one output: cohort_onnx_op(graph, "Add", a, b). */
const char *cohort_onnx_apply(cohort_onnx *graph, const char *op, const char *const *inputs,
                              size_t input_count);
#define cohort_onnx_op(graph, op, ...)                                                             \
    cohort_onnx_apply(graph, op, (const char *const[]){__VA_ARGS__},                               \
                      sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* OUTPUT = OP of one input, under that very name. */
void cohort_onnx_output(cohort_onnx *graph, const char *output, const char *op, const char *input);

/* A constant. */
const char *cohort_onnx_floats(cohort_onnx *graph, const float *values, const cohort_shape *shape);
const char *cohort_onnx_ints(cohort_onnx *graph, const int64_t *values, size_t count);
const char *cohort_onnx_scalar(cohort_onnx *graph, double value);
/* Whether the layer has tensor NAME; the tensor as it is ("" if it has none). */
bool cohort_onnx_has(const cohort_onnx *graph, const char *name);
const char *cohort_onnx_weight(cohort_onnx *graph, const char *name);
/* Its values, NULL if it has none. */
const float *cohort_onnx_values(const cohort_onnx *graph, const char *name);

/* INPUT [batch][…] with its axes in another order. */
const char *cohort_onnx_transpose(cohort_onnx *graph, const char *input, const int64_t *order,
                                  size_t count);
/* INPUT in shape DIMS, where 0 keeps an extent. */
const char *cohort_onnx_reshape(cohort_onnx *graph, const char *input, const int64_t *dims,
                                size_t count);
const char *cohort_onnx_cast(cohort_onnx *graph, const char *input, int type);
/* INPUT with new axes of extent 1 at AXES. */
const char *cohort_onnx_unsqueeze(cohort_onnx *graph, const char *input, const int64_t *axes,
                                  size_t count);

#endif
