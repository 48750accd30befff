#include "state/foreign/onnx_layers.h"

#include <math.h>
#include <string.h>

#include "kernel/activation.h"
#include "kernel/embedding.h"
#include "kernel/window.h"

/* In single precision every step has a number of its own up to 2^24; x 2 in `compact`. */
enum { TIME_MAX = 1 << 22 };

typedef cohort_onnx_value layer_writer(cohort_onnx *graph, const cohort_layer_view *layer,
                                       cohort_onnx_value x);

#define INTS(...)                                                                                  \
    ((const int64_t[]){__VA_ARGS__}), sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

static size_t count_of(const cohort_layer_view *layer, const char *key)
{
    return *(const size_t *)cohort_variant_value(&layer->spec, key);
}

static bool flag_of(const cohort_layer_view *layer, const char *key)
{
    return *(const bool *)cohort_variant_value(&layer->spec, key);
}

static double number_of(const cohort_layer_view *layer, const char *key)
{
    return *(const double *)cohort_variant_value(&layer->spec, key);
}

/* COUNT floats to fill in, freed with cohort_free; NULL after a failure. */
static float *take_floats(cohort_onnx *graph, size_t count)
{
    float *values = NULL;
    if (graph->status == COHORT_OK)
        graph->status = COHORT_ALLOCATE(&values, count);
    return values;
}

static cohort_onnx_value natural(const char *name)
{
    return (cohort_onnx_value){.name = name};
}

cohort_onnx_value cohort_onnx_channels_last(cohort_onnx *graph, cohort_onnx_value x)
{
    return x.channels ? natural(cohort_onnx_transpose(graph, x.name, INTS(0, 2, 3, 1))) : x;
}

static cohort_onnx_value channels_first(cohort_onnx *graph, cohort_onnx_value x)
{
    if (!x.channels)
        x.name = cohort_onnx_transpose(graph, x.name, INTS(0, 3, 1, 2));
    return (cohort_onnx_value){x.name, true};
}

/* ---- Activations ---- */

static cohort_onnx_value activate(cohort_onnx *graph, cohort_activation activation, double slope,
                                  cohort_onnx_value x)
{
    switch (activation) {
    case COHORT_LINEAR:
        return x;
    case COHORT_RELU:
        x.name = cohort_onnx_op(graph, "Relu", x.name);
        return x;
    case COHORT_LEAKY_RELU:
        cohort_onnx_float(graph, "alpha", slope);
        x.name = cohort_onnx_op(graph, "LeakyRelu", x.name);
        return x;
    case COHORT_GELU: { /* x / 2 (1 + erf(x / sqrt 2)) */
        const char *y = cohort_onnx_op(graph, "Mul", x.name, cohort_onnx_scalar(graph, M_SQRT1_2));
        y = cohort_onnx_op(graph, "Erf", y);
        y = cohort_onnx_op(graph, "Add", y, cohort_onnx_scalar(graph, 1));
        y = cohort_onnx_op(graph, "Mul", y, x.name);
        x.name = cohort_onnx_op(graph, "Mul", y, cohort_onnx_scalar(graph, 0.5));
        return x;
    }
    case COHORT_TANH:
        x.name = cohort_onnx_op(graph, "Tanh", x.name);
        return x;
    case COHORT_SIGMOID:
        x.name = cohort_onnx_op(graph, "Sigmoid", x.name);
        return x;
    case COHORT_SOFTMAX:
        cohort_onnx_integer(graph, "axis", x.channels ? 1 : -1);
        x.name = cohort_onnx_op(graph, "Softmax", x.name);
        return x;
    }
    return x;
}

static cohort_onnx_value own_activation(cohort_onnx *graph, const cohort_layer_view *layer,
                                        cohort_onnx_value x)
{
    const int activation = *(const int *)cohort_variant_value(&layer->spec, "activation");
    return activate(graph, (cohort_activation)activation, COHORT_LEAKY_SLOPE, x);
}

static cohort_onnx_value write_activation(cohort_onnx *graph, const cohort_layer_view *layer,
                                          cohort_onnx_value x)
{
    const double *slope = cohort_variant_value(&layer->spec, "slope");
    for (int i = 0; cohort_activation_names[i]; i++)
        if (strcmp(cohort_activation_names[i], layer->spec.table->name) == 0)
            return activate(graph, (cohort_activation)i, slope ? *slope : 0, x);
    return x;
}

/* ---- Weighted sums ---- */

/* x kernel + bias over the last axis, for tensors of the layer in GROUP ("query/"). */
static const char *project(cohort_onnx *graph, const char *kernel, const char *bias, const char *x)
{
    const char *y = cohort_onnx_op(graph, "MatMul", x, cohort_onnx_weight(graph, kernel));
    return cohort_onnx_has(graph, bias)
               ? cohort_onnx_op(graph, "Add", y, cohort_onnx_weight(graph, bias))
               : y;
}

static cohort_onnx_value write_dense(cohort_onnx *graph, const cohort_layer_view *layer,
                                     cohort_onnx_value x)
{
    const char *kernel, *y;
    if (layer->in.shape.dim_count > 1) {
        y = project(graph, "kernel", "bias", x.name);
    } else {
        kernel = cohort_onnx_weight(graph, "kernel");
        y = cohort_onnx_has(graph, "bias")
                ? cohort_onnx_op(graph, "Gemm", x.name, kernel, cohort_onnx_weight(graph, "bias"))
                : cohort_onnx_op(graph, "Gemm", x.name, kernel);
    }
    return own_activation(graph, layer, natural(y));
}

/* Attributes of a window over LAYER's input. */
static void set_window(cohort_onnx *graph, const cohort_layer_view *layer, const size_t *size,
                       const size_t *strides)
{
    const cohort_shape *in = &layer->in.shape;
    const size_t used[2] = {strides[0] ? strides[0] : size[0], strides[1] ? strides[1] : size[1]};
    const bool same = *(const int *)cohort_variant_value(&layer->spec, "padding") == 1;
    cohort_window window;
    if (!cohort_window_plan(&window, in->dims[0], in->dims[1], size, used, same) &&
        graph->status == COHORT_OK)
        graph->status = COHORT_FAIL(COHORT_INTERNAL, "%s: the window does not fit", layer->path);
    const size_t down = (window.out_height - 1) * used[0] + size[0];
    const size_t right = (window.out_width - 1) * used[1] + size[1];
    const size_t top = window.pad_top, left = window.pad_left;
    const size_t bottom = down > in->dims[0] + top ? down - in->dims[0] - top : 0;
    const size_t end = right > in->dims[1] + left ? right - in->dims[1] - left : 0;
    cohort_onnx_integers(graph, "kernel_shape", INTS((int64_t)size[0], (int64_t)size[1]));
    cohort_onnx_integers(graph, "strides", INTS((int64_t)used[0], (int64_t)used[1]));
    cohort_onnx_integers(graph, "pads",
                         INTS((int64_t)top, (int64_t)left, (int64_t)bottom, (int64_t)end));
}

/* Our kernel [kh][kw][in][out] as [out][in][kh][kw]. */
static const char *conv_kernel(cohort_onnx *graph, const size_t *size, size_t in, size_t out)
{
    const float *ours = cohort_onnx_values(graph, "kernel");
    const size_t taps = size[0] * size[1];
    float *theirs = take_floats(graph, taps * in * out);
    if (!theirs)
        return "";
    for (size_t tap = 0; tap < taps; tap++)
        for (size_t i = 0; i < in; i++)
            for (size_t o = 0; o < out; o++)
                theirs[(o * in + i) * taps + tap] = ours[(tap * in + i) * out + o];
    const char *name =
        cohort_onnx_floats(graph, theirs, &cohort_shape_of(out, in, size[0], size[1]));
    cohort_free(theirs);
    return name;
}

static cohort_onnx_value write_conv2d(cohort_onnx *graph, const cohort_layer_view *layer,
                                      cohort_onnx_value x)
{
    const size_t *size = cohort_variant_value(&layer->spec, "kernel");
    const size_t *strides = cohort_variant_value(&layer->spec, "strides");
    x = channels_first(graph, x);
    const char *kernel =
        conv_kernel(graph, size, layer->in.shape.dims[2], layer->out.shape.dims[2]);
    const char *bias = cohort_onnx_has(graph, "bias") ? cohort_onnx_weight(graph, "bias") : NULL;
    if (graph->status != COHORT_OK)
        return x;
    set_window(graph, layer, size, strides);
    x.name = bias ? cohort_onnx_op(graph, "Conv", x.name, kernel, bias)
                  : cohort_onnx_op(graph, "Conv", x.name, kernel);
    return own_activation(graph, layer, x);
}

static cohort_onnx_value write_pool(cohort_onnx *graph, const cohort_layer_view *layer,
                                    cohort_onnx_value x)
{
    const bool is_max = strcmp(layer->spec.table->name, "max_pool2d") == 0;
    x = channels_first(graph, x);
    set_window(graph, layer, cohort_variant_value(&layer->spec, "size"),
               cohort_variant_value(&layer->spec, "strides"));
    x.name = cohort_onnx_op(graph, is_max ? "MaxPool" : "AveragePool", x.name);
    return x;
}

static cohort_onnx_value
write_global_average_pool(cohort_onnx *graph, const cohort_layer_view *layer, cohort_onnx_value x)
{
    if (layer->in.shape.dim_count == 3) {
        x = channels_first(graph, x);
        x.name = cohort_onnx_op(graph, "GlobalAveragePool", x.name);
        cohort_onnx_integer(graph, "axis", 1);
        return natural(cohort_onnx_op(graph, "Flatten", x.name));
    }
    if (!layer->in.masked) {
        cohort_onnx_integers(graph, "axes", INTS(1));
        cohort_onnx_integer(graph, "keepdims", 0);
        return natural(cohort_onnx_op(graph, "ReduceMean", x.name));
    }
    const char *mask = cohort_onnx_unsqueeze(graph, graph->mask, INTS(2));
    const char *axes = cohort_onnx_ints(graph, INTS(1));
    const char *kept = cohort_onnx_op(graph, "Mul", x.name, mask);
    cohort_onnx_integer(graph, "keepdims", 0);
    const char *sum = cohort_onnx_op(graph, "ReduceSum", kept, axes);
    const char *count = cohort_onnx_op(graph, "ReduceSum", graph->mask, axes);
    count = cohort_onnx_op(graph, "Max", count, cohort_onnx_scalar(graph, 1));
    return natural(cohort_onnx_op(graph, "Div", sum, count));
}

/* ---- Normalisation ---- */

static cohort_onnx_value write_batch_norm(cohort_onnx *graph, const cohort_layer_view *layer,
                                          cohort_onnx_value x)
{
    const size_t dims = layer->in.shape.dim_count;
    if (dims == 3)
        x = channels_first(graph, x);
    if (dims == 2)
        x.name = cohort_onnx_transpose(graph, x.name, INTS(0, 2, 1));
    const char *inputs[] = {
        x.name, cohort_onnx_weight(graph, "gamma"), cohort_onnx_weight(graph, "beta"),
        cohort_onnx_weight(graph, "moving_mean"), cohort_onnx_weight(graph, "moving_variance")};
    cohort_onnx_float(graph, "epsilon", number_of(layer, "epsilon"));
    x.name = cohort_onnx_apply(graph, "BatchNormalization", inputs, 5);
    if (dims == 2)
        x.name = cohort_onnx_transpose(graph, x.name, INTS(0, 2, 1));
    return x;
}

static cohort_onnx_value write_layer_norm(cohort_onnx *graph, const cohort_layer_view *layer,
                                          cohort_onnx_value x)
{
    x = cohort_onnx_channels_last(graph, x);
    const char *gamma = cohort_onnx_weight(graph, "gamma");
    const char *beta = cohort_onnx_weight(graph, "beta");
    cohort_onnx_integer(graph, "axis", -1);
    cohort_onnx_float(graph, "epsilon", number_of(layer, "epsilon"));
    return natural(cohort_onnx_op(graph, "LayerNormalization", x.name, gamma, beta));
}

/* ---- Sequences ---- */

static cohort_onnx_value write_embedding(cohort_onnx *graph, const cohort_layer_view *layer,
                                         cohort_onnx_value x)
{
    if (flag_of(layer, "mask")) {
        const char *zero =
            cohort_onnx_cast(graph, cohort_onnx_ints(graph, INTS(0)), COHORT_ONNX_INT32);
        const char *padding = cohort_onnx_op(graph, "Equal", x.name, zero);
        graph->mask =
            cohort_onnx_cast(graph, cohort_onnx_op(graph, "Not", padding), COHORT_ONNX_FLOAT);
    }
    return natural(
        cohort_onnx_op(graph, "Gather", cohort_onnx_weight(graph, "embeddings"), x.name));
}

static cohort_onnx_value write_position(cohort_onnx *graph, const cohort_layer_view *layer,
                                        cohort_onnx_value x)
{
    const cohort_shape *shape = &layer->in.shape;
    if (cohort_onnx_has(graph, "embeddings"))
        return natural(
            cohort_onnx_op(graph, "Add", x.name, cohort_onnx_weight(graph, "embeddings")));
    float *table = take_floats(graph, cohort_shape_count(shape));
    if (!table)
        return x;
    cohort_sinusoid_table(table, shape->dims[0], shape->dims[1]);
    x.name = cohort_onnx_op(graph, "Add", x.name, cohort_onnx_floats(graph, table, shape));
    cohort_free(table);
    return x;
}

/* The constant 0, 1, … TIME - 1. */
static const char *number_steps(cohort_onnx *graph, size_t time)
{
    float *steps = take_floats(graph, time);
    if (!steps)
        return "";
    for (size_t i = 0; i < time; i++)
        steps[i] = (float)i;
    const char *range = cohort_onnx_floats(graph, steps, &cohort_shape_of(time));
    cohort_free(steps);
    return range;
}

/* Which keys a query sees: bool, of a shape that broadcasts to [batch][heads][time][time]; NULL:
 * all. */
static const char *visible_keys(cohort_onnx *graph, const cohort_layer_view *layer)
{
    const size_t time = layer->in.shape.dims[0];
    const char *visible = NULL;
    if (flag_of(layer, "causal")) {
        const char *range = number_steps(graph, time);
        visible = cohort_onnx_op(graph, "GreaterOrEqual",
                                 cohort_onnx_unsqueeze(graph, range, INTS(1)), range);
    }
    if (layer->in.masked) {
        const char *mask = cohort_onnx_cast(graph, graph->mask, COHORT_ONNX_BOOL);
        mask = cohort_onnx_unsqueeze(graph, mask, INTS(1, 2));
        visible = visible ? cohort_onnx_op(graph, "And", visible, mask) : mask;
    }
    return visible;
}

/* [batch][time][width] of a projection as [batch][heads][time][each], or, for keys, with the
 * last two turned. */
static const char *split_heads(cohort_onnx *graph, const char *x, size_t heads, size_t each,
                               bool turned)
{
    x = cohort_onnx_reshape(graph, x, INTS(0, 0, (int64_t)heads, (int64_t)each));
    return turned ? cohort_onnx_transpose(graph, x, INTS(0, 2, 3, 1))
                  : cohort_onnx_transpose(graph, x, INTS(0, 2, 1, 3));
}

static cohort_onnx_value write_attention(cohort_onnx *graph, const cohort_layer_view *layer,
                                         cohort_onnx_value x)
{
    const size_t width = layer->in.shape.dims[1], heads = count_of(layer, "heads");
    const size_t each = width / heads;
    const char *q = split_heads(graph, project(graph, "query/kernel", "query/bias", x.name), heads,
                                each, false);
    const char *k =
        split_heads(graph, project(graph, "key/kernel", "key/bias", x.name), heads, each, true);
    const char *v = split_heads(graph, project(graph, "value/kernel", "value/bias", x.name), heads,
                                each, false);
    const char *weights = cohort_onnx_op(graph, "Mul", cohort_onnx_op(graph, "MatMul", q, k),
                                         cohort_onnx_scalar(graph, 1 / sqrt((double)each)));
    const char *visible = visible_keys(graph, layer);
    if (visible)
        weights =
            cohort_onnx_op(graph, "Where", visible, weights, cohort_onnx_scalar(graph, -1e30));
    cohort_onnx_integer(graph, "axis", -1);
    weights = cohort_onnx_op(graph, "Softmax", weights);
    if (layer->in.masked) /* a query that sees no key gets zeros */
        weights = cohort_onnx_op(graph, "Mul", weights,
                                 cohort_onnx_cast(graph, visible, COHORT_ONNX_FLOAT));
    const char *mixed =
        cohort_onnx_transpose(graph, cohort_onnx_op(graph, "MatMul", weights, v), INTS(0, 2, 1, 3));
    mixed = cohort_onnx_reshape(graph, mixed, INTS(0, 0, (int64_t)width));
    return natural(project(graph, "output/kernel", "output/bias", mixed));
}

/* ---- LSTM ---- */

typedef struct lstm_shape {
    size_t time, in, units, directions;
} lstm_shape;

/* OUT [4 units][rows] = our FROM [rows][4 units], gates i, f, c, o in the order i, o, f, c. */
static void turn_gates(float *out, const float *from, size_t rows, size_t units)
{
    static const size_t order[4] = {0, 3, 1, 2};
    for (size_t gate = 0; gate < 4; gate++)
        for (size_t unit = 0; unit < units; unit++)
            for (size_t row = 0; row < rows; row++)
                out[(gate * units + unit) * rows + row] =
                    from[row * 4 * units + order[gate] * units + unit];
}

/* Tensor NAME of all directions behind one another: [directions][4 units][rows]; a bias is
 * followed by zeros, the second bias of ONNX. */
static const char *lstm_tensor(cohort_onnx *graph, const lstm_shape *shape, const char *name,
                               size_t rows)
{
    static const char *const groups[] = {"forward/", "backward/"};
    const bool is_bias = strcmp(name, "bias") == 0;
    const size_t each = 4 * shape->units * rows * (is_bias ? 2 : 1);
    float *values = take_floats(graph, shape->directions * each);
    cohort_text path = {0};
    if (!values)
        return "";
    for (size_t d = 0; d < shape->directions; d++) {
        path.length = 0;
        cohort_text_append(&path, "%s%s", shape->directions > 1 ? groups[d] : "", name);
        if (!path.failed)
            turn_gates(values + d * each, cohort_onnx_values(graph, path.data), rows, shape->units);
    }
    graph->status = cohort_text_status(&path);
    cohort_text_clear(&path);
    const cohort_shape dims = is_bias ? cohort_shape_of(shape->directions, each)
                                      : cohort_shape_of(shape->directions, 4 * shape->units, rows);
    const char *result = cohort_onnx_floats(graph, values, &dims);
    cohort_free(values);
    return result;
}

/* ROWS [batch][time][…] by INDICES [batch][time]. */
static const char *pick_rows(cohort_onnx *graph, const char *rows, const char *indices)
{
    const char *last = cohort_onnx_unsqueeze(graph, indices, INTS(2));
    cohort_onnx_integer(graph, "batch_dims", 1);
    return cohort_onnx_op(graph, "GatherND", rows, last);
}

/* X [batch][time][in] with the steps that are not masked first, in their order. */
static const char *compact(cohort_onnx *graph, const char *x, size_t time)
{
    const char *key =
        cohort_onnx_op(graph, "Mul", graph->mask, cohort_onnx_scalar(graph, 2 * (double)time));
    key = cohort_onnx_op(graph, "Sub", key, number_steps(graph, time));
    const char *inputs[] = {key, cohort_onnx_ints(graph, INTS((int64_t)time))}, *sorted[2];
    cohort_onnx_integer(graph, "axis", 1);
    cohort_onnx_node(sorted, 2, graph, "TopK", inputs, 2);
    return pick_rows(graph, x, sorted[1]);
}

/* The states of direction D at every step of the uncompacted sequence: Y [batch][time]
 * [directions][units] by how many steps not masked came before; none: zeros. */
static const char *spread(cohort_onnx *graph, const char *y, size_t d)
{
    const char *axis = cohort_onnx_reshape(graph, cohort_onnx_ints(graph, INTS(1)), NULL, 0);
    const char *which =
        cohort_onnx_reshape(graph, cohort_onnx_ints(graph, INTS((int64_t)d)), NULL, 0);
    cohort_onnx_integer(graph, "axis", 2);
    y = cohort_onnx_op(graph, "Gather", y, which);
    const char *index, *known;
    cohort_onnx_integer(graph, "exclusive", (int64_t)d);
    index = cohort_onnx_op(graph, "CumSum", graph->mask, axis);
    if (d == 0) { /* the step itself or the last one before it */
        index = cohort_onnx_op(graph, "Sub", index, cohort_onnx_scalar(graph, 1));
        known = cohort_onnx_op(graph, "GreaterOrEqual", index, cohort_onnx_scalar(graph, 0));
        index = cohort_onnx_op(graph, "Max", index, cohort_onnx_scalar(graph, 0));
    } else { /* the step itself or the first one after it */
        const char *count =
            cohort_onnx_op(graph, "ReduceSum", graph->mask, cohort_onnx_ints(graph, INTS(1)));
        known = cohort_onnx_op(graph, "Less", index, count);
        index =
            cohort_onnx_op(graph, "Mul", index, cohort_onnx_cast(graph, known, COHORT_ONNX_FLOAT));
    }
    y = pick_rows(graph, y, cohort_onnx_cast(graph, index, COHORT_ONNX_INT64));
    known =
        cohort_onnx_unsqueeze(graph, cohort_onnx_cast(graph, known, COHORT_ONNX_FLOAT), INTS(2));
    return cohort_onnx_op(graph, "Mul", y, known);
}

/* Y [time][directions][batch][units] as [batch][time][directions units]. */
static const char *all_states(cohort_onnx *graph, const char *y, const lstm_shape *shape,
                              bool masked)
{
    y = cohort_onnx_transpose(graph, y, INTS(2, 0, 1, 3));
    if (!masked)
        return cohort_onnx_reshape(graph, y,
                                   INTS(0, 0, (int64_t)(shape->directions * shape->units)));
    const char *forward = spread(graph, y, 0);
    if (shape->directions == 1)
        return forward;
    const char *backward = spread(graph, y, 1);
    cohort_onnx_integer(graph, "axis", 2);
    return cohort_onnx_op(graph, "Concat", forward, backward);
}

static cohort_onnx_value write_lstm(cohort_onnx *graph, const cohort_layer_view *layer,
                                    cohort_onnx_value x)
{
    const lstm_shape shape = {.time = layer->in.shape.dims[0],
                              .in = layer->in.shape.dims[1],
                              .units = count_of(layer, "units"),
                              .directions = flag_of(layer, "bidirectional") ? 2 : 1};
    const bool masked = layer->in.masked;
    const char *lengths = "";
    if (shape.time > TIME_MAX && graph->status == COHORT_OK)
        graph->status =
            COHORT_FAIL(COHORT_USAGE, "%s: sequences of %zu steps are too long for ONNX",
                        layer->path, shape.time);
    if (masked) {
        cohort_onnx_integer(graph, "keepdims", 0);
        lengths = cohort_onnx_op(graph, "ReduceSum", graph->mask, cohort_onnx_ints(graph, INTS(1)));
        lengths = cohort_onnx_cast(graph, lengths, COHORT_ONNX_INT32);
        x.name = compact(graph, x.name, shape.time);
    }
    const char *inputs[] = {cohort_onnx_transpose(graph, x.name, INTS(1, 0, 2)),
                            lstm_tensor(graph, &shape, "kernel", shape.in),
                            lstm_tensor(graph, &shape, "recurrent_kernel", shape.units),
                            lstm_tensor(graph, &shape, "bias", 1), lengths};
    const char *outputs[2];
    cohort_onnx_integer(graph, "hidden_size", (int64_t)shape.units);
    cohort_onnx_string(graph, "direction", shape.directions > 1 ? "bidirectional" : "forward");
    cohort_onnx_node(outputs, 2, graph, "LSTM", inputs, masked ? 5 : 4);
    if (flag_of(layer, "return_sequences"))
        return natural(all_states(graph, outputs[0], &shape, masked));
    const char *last = cohort_onnx_transpose(graph, outputs[1], INTS(1, 0, 2));
    return natural(
        cohort_onnx_reshape(graph, last, INTS(0, (int64_t)(shape.directions * shape.units))));
}

/* ---- Structure ---- */

static cohort_onnx_value write_flatten(cohort_onnx *graph, const cohort_layer_view *layer,
                                       cohort_onnx_value x)
{
    (void)layer;
    x = cohort_onnx_channels_last(graph, x);
    cohort_onnx_integer(graph, "axis", 1);
    return natural(cohort_onnx_op(graph, "Flatten", x.name));
}

static cohort_onnx_value write_nothing(cohort_onnx *graph, const cohort_layer_view *layer,
                                       cohort_onnx_value x)
{
    (void)graph;
    (void)layer;
    return x;
}

static cohort_onnx_value write_list(cohort_onnx *graph, const cohort_variants *layers,
                                    cohort_onnx_value x);

static cohort_onnx_value write_residual(cohort_onnx *graph, const cohort_layer_view *layer,
                                        cohort_onnx_value x)
{
    const cohort_onnx_value y = write_list(graph, cohort_variant_value(&layer->spec, "layers"), x);
    cohort_onnx_value side = write_list(graph, cohort_variant_value(&layer->spec, "shortcut"), x);
    graph->layer = layer->path;
    side = y.channels ? channels_first(graph, side) : cohort_onnx_channels_last(graph, side);
    return (cohort_onnx_value){cohort_onnx_op(graph, "Add", y.name, side.name), y.channels};
}

static const struct {
    const char *type;
    layer_writer *write;
} writers[] = {
    {"dense", write_dense},
    {"conv2d", write_conv2d},
    {"max_pool2d", write_pool},
    {"average_pool2d", write_pool},
    {"global_average_pool", write_global_average_pool},
    {"flatten", write_flatten},
    {"dropout", write_nothing},
    {"relu", write_activation},
    {"leaky_relu", write_activation},
    {"gelu", write_activation},
    {"tanh", write_activation},
    {"sigmoid", write_activation},
    {"softmax", write_activation},
    {"embedding", write_embedding},
    {"position_embedding", write_position},
    {"lstm", write_lstm},
    {"batch_norm", write_batch_norm},
    {"layer_norm", write_layer_norm},
    {"residual", write_residual},
    {"attention", write_attention},
};

/* The next layer of the model. */
static cohort_onnx_value write_next(cohort_onnx *graph, cohort_onnx_value x)
{
    const cohort_layer_view layer = cohort_model_layer(graph->model, graph->next++);
    graph->layer = layer.path;
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (strcmp(writers[i].type, layer.spec.table->name) == 0)
            return writers[i].write(graph, &layer, x);
    graph->status = COHORT_FAIL(COHORT_USAGE, "%s: the layer %s cannot be written as ONNX",
                                layer.path, layer.spec.table->name);
    return x;
}

static cohort_onnx_value write_list(cohort_onnx *graph, const cohort_variants *layers,
                                    cohort_onnx_value x)
{
    for (size_t i = 0; i < layers->count && graph->status == COHORT_OK; i++)
        x = write_next(graph, x);
    return x;
}

cohort_onnx_value cohort_onnx_layers(cohort_onnx *graph, cohort_onnx_value x)
{
    while (graph->next < cohort_model_layer_count(graph->model) && graph->status == COHORT_OK)
        x = write_next(graph, x);
    return x;
}
