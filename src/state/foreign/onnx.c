/* Networks as ONNX graphs, opset 17: see onnx_layers.c for the layers.
 *
 * Input `x` [batch][…] is what the data set holds, as float32 (tokens: int32): scaling is in the
 * graph. Outputs are `logits` and `y`, which is what `cohort predict` writes. */
#include <string.h>

#include "base/json.h"
#include "data/convert.h"
#include "state/foreign/onnx_layers.h"
#include "state/foreign/protobuf.h"

enum {
    IR_VERSION = 8,
    OPSET = 17, /* the first with LayerNormalization */
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_METADATA = 14,
    OPSET_VERSION = 2,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
    GRAPH_NAME = 2,
    GRAPH_DOC = 10,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    VALUE_NAME = 1,
    VALUE_TYPE = 2,
    TYPE_TENSOR = 1,
    TENSOR_ELEMENT = 1,
    TENSOR_SHAPE = 2,
    SHAPE_DIM = 1,
    DIM_VALUE = 1,
    DIM_PARAM = 2
};

/* A ValueInfoProto: NAME of TYPE [batch][shape]. */
static void add_value(cohort_text *graph, unsigned field, const char *name, int type,
                      const cohort_shape *shape)
{
    cohort_text value = {0}, kind = {0}, tensor = {0}, dims = {0}, dim = {0};
    cohort_protobuf_string(&dim, DIM_PARAM, "batch");
    cohort_protobuf_message(&dims, SHAPE_DIM, &dim);
    for (size_t i = 0; i < shape->dim_count; i++) {
        cohort_protobuf_integer(&dim, DIM_VALUE, (int64_t)shape->dims[i]);
        cohort_protobuf_message(&dims, SHAPE_DIM, &dim);
    }
    cohort_protobuf_integer(&tensor, TENSOR_ELEMENT, type);
    cohort_protobuf_message(&tensor, TENSOR_SHAPE, &dims);
    cohort_protobuf_message(&kind, TYPE_TENSOR, &tensor);
    cohort_protobuf_string(&value, VALUE_NAME, name);
    cohort_protobuf_message(&value, VALUE_TYPE, &kind);
    cohort_protobuf_message(graph, field, &value);
}

/* x <- x factor + offset, by channel or the same for all. */
static const char *scale_input(cohort_onnx *graph, const cohort_recipe *recipe,
                               const cohort_shape *shape)
{
    const cohort_data_recipe *data = &recipe->data;
    const size_t channels = shape->dims[shape->dim_count - 1];
    cohort_scaling scaling = {0};
    const char *x = "x";
    cohort_status status =
        cohort_scaling_make(&scaling, data->scale, data->mean.items, data->mean.count,
                            data->std.items, data->std.count, shape->dims[shape->dim_count - 1]);
    if (status != COHORT_OK) {
        graph->status = status;
        return x;
    }
    const cohort_shape period = {.dim_count = scaling.period > 1, .dims = {channels}};
    bool is_scaled = false, is_moved = false;
    for (size_t i = 0; i < cohort_shape_count(&period); i++) {
        is_scaled |= scaling.factor[i] != 1;
        is_moved |= scaling.offset[i] != 0;
    }
    if (is_scaled)
        x = cohort_onnx_op(graph, "Mul", x, cohort_onnx_floats(graph, scaling.factor, &period));
    if (is_moved)
        x = cohort_onnx_op(graph, "Add", x, cohort_onnx_floats(graph, scaling.offset, &period));
    cohort_scaling_clear(&scaling);
    return x;
}

static void build_graph(cohort_onnx *graph, const cohort_foreign_network *network)
{
    const cohort_flow *input = cohort_model_input(network->model);
    graph->layer = "input";
    cohort_onnx_value x = {.name = "x", .channels = false};
    if (!input->tokens)
        x.name = scale_input(graph, network->recipe, &input->shape);
    x = cohort_onnx_layers(graph, x);
    x = cohort_onnx_channels_last(graph, x);
    cohort_onnx_output(graph, "logits", "Identity", x.name);
    const cohort_loss_type loss = network->loss->type;
    if (loss == COHORT_LOSS_CROSS_ENTROPY)
        cohort_onnx_integer(graph, "axis", -1);
    cohort_onnx_output(graph, "y",
                       loss == COHORT_LOSS_CROSS_ENTROPY          ? "Softmax"
                       : loss == COHORT_LOSS_BINARY_CROSS_ENTROPY ? "Sigmoid"
                                                                  : "Identity",
                       "logits");
}

static void add_metadata(cohort_text *model, const char *key, const char *value)
{
    cohort_text entry = {0};
    cohort_protobuf_string(&entry, ENTRY_KEY, key);
    cohort_protobuf_string(&entry, ENTRY_VALUE, value);
    cohort_protobuf_message(model, MODEL_METADATA, &entry);
}

static void add_classes(cohort_text *model, const cohort_foreign_network *network)
{
    cohort_text list = {0};
    if (network->class_count == 0)
        return;
    cohort_json_begin_array(&list, NULL);
    for (size_t i = 0; i < network->class_count; i++)
        cohort_json_string(&list, NULL, network->classes[i]);
    cohort_json_end_array(&list);
    model->failed |= list.failed;
    if (!list.failed)
        add_metadata(model, "classes", list.data);
    cohort_text_clear(&list);
}

/* The ModelProto of GRAPH, whose texts are cleared. */
static void write_model(cohort_text *model, cohort_onnx *graph,
                        const cohort_foreign_network *network)
{
    const cohort_flow *input = cohort_model_input(network->model);
    const cohort_shape *output = cohort_model_output_shape(network->model);
    cohort_text body = {0}, opset = {0};
    if (graph->nodes.length)
        cohort_text_append_bytes(&body, graph->nodes.data, graph->nodes.length);
    body.failed |= graph->nodes.failed | graph->tensors.failed;
    cohort_text_clear(&graph->nodes);
    cohort_protobuf_string(&body, GRAPH_NAME, network->recipe->name);
    if (graph->tensors.length)
        cohort_text_append_bytes(&body, graph->tensors.data, graph->tensors.length);
    cohort_text_clear(&graph->tensors);
    cohort_protobuf_string(&body, GRAPH_DOC,
                           "x: samples as in the data set (scaled inside); logits; y: what `cohort "
                           "predict` writes");
    add_value(&body, GRAPH_INPUT, "x", input->tokens ? COHORT_ONNX_INT32 : COHORT_ONNX_FLOAT,
              &input->shape);
    add_value(&body, GRAPH_OUTPUT, "logits", COHORT_ONNX_FLOAT, output);
    add_value(&body, GRAPH_OUTPUT, "y", COHORT_ONNX_FLOAT, output);
    cohort_protobuf_integer(model, MODEL_IR_VERSION, IR_VERSION);
    cohort_protobuf_string(model, MODEL_PRODUCER, "cohort");
    cohort_protobuf_string(model, MODEL_PRODUCER_VERSION, COHORT_VERSION);
    cohort_protobuf_message(model, MODEL_GRAPH, &body);
    cohort_protobuf_integer(&opset, OPSET_VERSION, OPSET);
    cohort_protobuf_message(model, MODEL_OPSET, &opset);
    add_classes(model, network);
}

cohort_status cohort_foreign_write_onnx(cohort_output *output,
                                        const cohort_foreign_network *network)
{
    cohort_onnx graph = {.model = network->model};
    cohort_text model = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_arena_create(&graph.arena));
    build_graph(&graph, network);
    COHORT_TRY_DONE(status, graph.status);
    write_model(&model, &graph, network);
    COHORT_TRY_DONE(status, cohort_text_status(&model));
    COHORT_REQUIRE_DONE(status, model.length <= INT32_MAX, COHORT_USAGE,
                        "an ONNX file holds at most 2 GiB, this network has %zu bytes; export it "
                        "as safetensors",
                        model.length);
    COHORT_TRY_DONE(status, cohort_output_bytes(output, model.data, model.length));
done:
    cohort_text_clear(&graph.nodes);
    cohort_text_clear(&graph.tensors);
    cohort_text_clear(&graph.attributes);
    cohort_text_clear(&model);
    cohort_arena_destroy(graph.arena);
    return status;
}
