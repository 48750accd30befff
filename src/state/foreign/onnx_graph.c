#include "state/foreign/onnx_graph.h"

#include <stdio.h>
#include <string.h>

#include "state/foreign/protobuf.h"

/* Fields of onnx.proto3 and kinds of attributes. */
enum {
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP = 4,
    NODE_ATTRIBUTE = 5,
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_FLOAT = 2,
    ATTRIBUTE_INTEGER = 3,
    ATTRIBUTE_STRING = 4,
    ATTRIBUTE_INTEGERS = 8,
    ATTRIBUTE_TYPE = 20,
    TENSOR_DIMS = 1,
    TENSOR_TYPE = 2,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    KIND_FLOAT = 1,
    KIND_INTEGER = 2,
    KIND_STRING = 3,
    KIND_INTEGERS = 7
};

static void keep_status(cohort_onnx *graph, cohort_status status)
{
    if (graph->status == COHORT_OK)
        graph->status = status;
}

/* A name of the graph's own: "0_conv2d/Conv_3". */
static const char *new_name(cohort_onnx *graph, const char *what, size_t number)
{
    char text[512], *copy = NULL;
    snprintf(text, sizeof text, "%s/%s_%zu", graph->layer, what, number);
    keep_status(graph, cohort_arena_copy(&copy, graph->arena, text));
    return copy ? copy : "";
}

/* ---- Attributes ---- */

static void end_attribute(cohort_onnx *graph, cohort_text *attribute, int kind)
{
    cohort_protobuf_integer(attribute, ATTRIBUTE_TYPE, kind);
    cohort_protobuf_message(&graph->attributes, NODE_ATTRIBUTE, attribute);
}

void cohort_onnx_integer(cohort_onnx *graph, const char *name, int64_t value)
{
    cohort_text attribute = {0};
    cohort_protobuf_string(&attribute, ATTRIBUTE_NAME, name);
    cohort_protobuf_integer(&attribute, ATTRIBUTE_INTEGER, value);
    end_attribute(graph, &attribute, KIND_INTEGER);
}

void cohort_onnx_integers(cohort_onnx *graph, const char *name, const int64_t *values, size_t count)
{
    cohort_text attribute = {0};
    cohort_protobuf_string(&attribute, ATTRIBUTE_NAME, name);
    for (size_t i = 0; i < count; i++)
        cohort_protobuf_integer(&attribute, ATTRIBUTE_INTEGERS, values[i]);
    end_attribute(graph, &attribute, KIND_INTEGERS);
}

void cohort_onnx_float(cohort_onnx *graph, const char *name, double value)
{
    cohort_text attribute = {0};
    cohort_protobuf_string(&attribute, ATTRIBUTE_NAME, name);
    cohort_protobuf_float(&attribute, ATTRIBUTE_FLOAT, (float)value);
    end_attribute(graph, &attribute, KIND_FLOAT);
}

void cohort_onnx_string(cohort_onnx *graph, const char *name, const char *value)
{
    cohort_text attribute = {0};
    cohort_protobuf_string(&attribute, ATTRIBUTE_NAME, name);
    cohort_protobuf_string(&attribute, ATTRIBUTE_STRING, value);
    end_attribute(graph, &attribute, KIND_STRING);
}

/* ---- Nodes ---- */

static void add_node(cohort_onnx *graph, const char *op, const char *const *inputs,
                     size_t input_count, const char *const *outputs, size_t output_count)
{
    cohort_text node = {0};
    for (size_t i = 0; i < input_count; i++)
        cohort_protobuf_string(&node, NODE_INPUT, inputs[i]);
    for (size_t i = 0; i < output_count; i++)
        cohort_protobuf_string(&node, NODE_OUTPUT, outputs[i]);
    cohort_protobuf_string(&node, NODE_NAME, outputs[0]);
    cohort_protobuf_string(&node, NODE_OP, op);
    if (graph->attributes.length)
        cohort_text_append_bytes(&node, graph->attributes.data, graph->attributes.length);
    node.failed |= graph->attributes.failed;
    cohort_text_clear(&graph->attributes);
    cohort_protobuf_message(&graph->nodes, GRAPH_NODE, &node);
}

void cohort_onnx_node(const char **outputs, size_t output_count, cohort_onnx *graph, const char *op,
                      const char *const *inputs, size_t input_count)
{
    for (size_t i = 0; i < output_count; i++)
        outputs[i] = new_name(graph, op, graph->node_count++);
    add_node(graph, op, inputs, input_count, outputs, output_count);
}

void cohort_onnx_output(cohort_onnx *graph, const char *output, const char *op, const char *input)
{
    add_node(graph, op, &input, 1, &output, 1);
}

const char *cohort_onnx_apply(cohort_onnx *graph, const char *op, const char *const *inputs,
                              size_t input_count)
{
    const char *output = "";
    cohort_onnx_node(&output, 1, graph, op, inputs, input_count);
    return output;
}

/* ---- Constants ---- */

/* Appends tensor NAME of COUNT elements of WIDTH bytes, which are in this machine's order. */
static void add_tensor(cohort_onnx *graph, const char *name, int type, const cohort_shape *shape,
                       const void *values, size_t count, size_t width)
{
    cohort_text tensor = {0};
    for (size_t i = 0; i < shape->dim_count; i++)
        cohort_protobuf_integer(&tensor, TENSOR_DIMS, (int64_t)shape->dims[i]);
    cohort_protobuf_integer(&tensor, TENSOR_TYPE, type);
    cohort_protobuf_string(&tensor, TENSOR_NAME, name);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    cohort_protobuf_bytes(&tensor, TENSOR_RAW, values, count * width);
#else
    cohort_text swapped = {0};
    for (size_t i = 0; i < count; i++)
        for (size_t k = width; k-- > 0;)
            cohort_text_append_bytes(&swapped, (const char *)values + i * width + k, 1);
    cohort_protobuf_message(&tensor, TENSOR_RAW, &swapped);
#endif
    cohort_protobuf_message(&graph->tensors, GRAPH_INITIALIZER, &tensor);
    graph->tensor_count++;
}

const char *cohort_onnx_floats(cohort_onnx *graph, const float *values, const cohort_shape *shape)
{
    const char *name = new_name(graph, "constant", graph->tensor_count);
    add_tensor(graph, name, COHORT_ONNX_FLOAT, shape, values, cohort_shape_count(shape),
               sizeof *values);
    return name;
}

const char *cohort_onnx_ints(cohort_onnx *graph, const int64_t *values, size_t count)
{
    const char *name = new_name(graph, "constant", graph->tensor_count);
    add_tensor(graph, name, COHORT_ONNX_INT64, &cohort_shape_of(count), values, count,
               sizeof *values);
    return name;
}

const char *cohort_onnx_scalar(cohort_onnx *graph, double value)
{
    return cohort_onnx_floats(graph, &(float){(float)value}, &(cohort_shape){0});
}

bool cohort_onnx_has(const cohort_onnx *graph, const char *name)
{
    return cohort_onnx_values(graph, name) != NULL;
}

const float *cohort_onnx_values(const cohort_onnx *graph, const char *name)
{
    bool is_state = false;
    const cohort_tensor *tensor = cohort_foreign_ours(&is_state, graph->model, graph->layer, name);
    const real *vector =
        is_state ? cohort_model_state(graph->model) : cohort_model_params(graph->model);
    return tensor ? vector + tensor->offset : NULL;
}

const char *cohort_onnx_weight(cohort_onnx *graph, const char *name)
{
    bool is_state = false;
    char text[512], *copy = NULL;
    const cohort_tensor *tensor = cohort_foreign_ours(&is_state, graph->model, graph->layer, name);
    if (!tensor)
        return "";
    snprintf(text, sizeof text, "%s/%s", graph->layer, name);
    keep_status(graph, cohort_arena_copy(&copy, graph->arena, text));
    if (!copy)
        return "";
    add_tensor(graph, copy, COHORT_ONNX_FLOAT, &tensor->shape, cohort_onnx_values(graph, name),
               tensor->count, sizeof(float));
    return copy;
}

/* ---- Shapes ---- */

const char *cohort_onnx_transpose(cohort_onnx *graph, const char *input, const int64_t *order,
                                  size_t count)
{
    cohort_onnx_integers(graph, "perm", order, count);
    return cohort_onnx_op(graph, "Transpose", input);
}

const char *cohort_onnx_reshape(cohort_onnx *graph, const char *input, const int64_t *dims,
                                size_t count)
{
    return cohort_onnx_op(graph, "Reshape", input, cohort_onnx_ints(graph, dims, count));
}

const char *cohort_onnx_cast(cohort_onnx *graph, const char *input, int type)
{
    cohort_onnx_integer(graph, "to", type);
    return cohort_onnx_op(graph, "Cast", input);
}

const char *cohort_onnx_unsqueeze(cohort_onnx *graph, const char *input, const int64_t *axes,
                                  size_t count)
{
    return cohort_onnx_op(graph, "Unsqueeze", input, cohort_onnx_ints(graph, axes, count));
}
