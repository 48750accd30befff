/* The layers as calls of the functions in c_functions.c. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kernel/activation.h"
#include "kernel/embedding.h"
#include "kernel/window.h"
#include "state/foreign/c_source.h"

/* The layer that is being written, and its input. */
typedef struct c_layer {
    cohort_layer_view view;
    int x;
} c_layer;

typedef int layer_writer(cohort_c_source *source, const c_layer *layer);

static size_t count_of(const c_layer *layer, const char *key)
{
    return *(const size_t *)cohort_variant_value(&layer->view.spec, key);
}

static bool flag_of(const c_layer *layer, const char *key)
{
    return *(const bool *)cohort_variant_value(&layer->view.spec, key);
}

static size_t in_count(const c_layer *layer)
{
    return cohort_shape_count(&layer->view.in.shape);
}

static size_t out_count(const c_layer *layer)
{
    return cohort_shape_count(&layer->view.out.shape);
}

static size_t last_dim(const cohort_shape *shape)
{
    return shape->dims[shape->dim_count - 1];
}

/* Calls FUNCTION: marks it as used and appends a statement. */
static void call(cohort_c_source *source, cohort_c_function function, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void call(cohort_c_source *source, cohort_c_function function, const char *format, ...)
{
    char statement[512];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(statement, sizeof statement, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof statement)
        source->status = COHORT_FAIL(COHORT_INTERNAL, "a statement is too long");
    source->used[function] = true;
    cohort_text_append(&source->body, "    %s;\n", statement);
}

/* Tensor NAME of LAYER as a constant: "w3" into TEXT (COHORT_C_NAME bytes), or NULL's name. */
static const char *weights(char *text, cohort_c_source *source, const c_layer *layer,
                           const char *name)
{
    bool is_state = false;
    const cohort_tensor *tensor =
        cohort_foreign_ours(&is_state, source->model, layer->view.path, name);
    const real *vector =
        is_state ? cohort_model_state(source->model) : cohort_model_params(source->model);
    if (!tensor) {
        snprintf(text, COHORT_C_NAME, "NULL");
        return text;
    }
    snprintf(text, COHORT_C_NAME, "w%zu",
             cohort_c_weights(source, vector + tensor->offset, tensor->count));
    return text;
}

static const char *mask_name(char *text, cohort_c_source *source, const c_layer *layer)
{
    if (layer->view.in.masked)
        return cohort_c_name(text, source, source->mask);
    snprintf(text, COHORT_C_NAME, "NULL");
    return text;
}

/* ---- Activations ---- */

/* Y = ACTIVATION of X over ROWS of WIDTH; both are expressions. */
static void activate(cohort_c_source *source, cohort_activation activation, double slope,
                     const char *y, const char *x, size_t rows, size_t width)
{
    const size_t count = rows * width;
    switch (activation) {
    case COHORT_LINEAR:
        return;
    case COHORT_RELU:
        call(source, COHORT_C_RELU, "relu(%s, %s, %zu)", y, x, count);
        return;
    case COHORT_LEAKY_RELU:
        call(source, COHORT_C_LEAKY_RELU, "leaky_relu(%s, %s, %zu, (float)%.9g)", y, x, count,
             slope);
        return;
    case COHORT_GELU:
        call(source, COHORT_C_GELU, "gelu(%s, %s, %zu)", y, x, count);
        return;
    case COHORT_TANH:
        call(source, COHORT_C_TANH, "hyperbolic_tangent(%s, %s, %zu)", y, x, count);
        return;
    case COHORT_SIGMOID:
        call(source, COHORT_C_SIGMOID, "sigmoid(%s, %s, %zu)", y, x, count);
        return;
    case COHORT_SOFTMAX:
        call(source, COHORT_C_SOFTMAX, "softmax(%s, %s, %zu, %zu)", y, x, rows, width);
        return;
    }
}

/* The layer's own activation, in place. */
static int finish(cohort_c_source *source, const c_layer *layer, int y)
{
    char name[COHORT_C_NAME];
    const int activation = *(const int *)cohort_variant_value(&layer->view.spec, "activation");
    const size_t width = last_dim(&layer->view.out.shape);
    cohort_c_name(name, source, y);
    activate(source, (cohort_activation)activation, COHORT_LEAKY_SLOPE, name, name,
             out_count(layer) / width, width);
    return y;
}

static int write_activation(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME];
    const double *slope = cohort_variant_value(&layer->view.spec, "slope");
    const size_t width = last_dim(&layer->view.in.shape);
    const int out = cohort_c_value(source, in_count(layer));
    cohort_c_name(x, source, layer->x);
    cohort_c_name(y, source, out);
    for (int i = 0; cohort_activation_names[i]; i++)
        if (strcmp(cohort_activation_names[i], layer->view.spec.table->name) == 0)
            activate(source, (cohort_activation)i, slope ? *slope : 0, y, x,
                     in_count(layer) / width, width);
    return out;
}

/* ---- Weighted sums ---- */

/* OUT = X kernel + bias in ROWS rows. */
static void project(cohort_c_source *source, const c_layer *layer, int out, int x,
                    const char *kernel, const char *bias, const size_t sizes[3])
{
    char y[COHORT_C_NAME], from[COHORT_C_NAME], k[COHORT_C_NAME], b[COHORT_C_NAME];
    call(source, COHORT_C_DENSE, "dense(%s, %s, %s, %s, %zu, %zu, %zu)",
         cohort_c_name(y, source, out), cohort_c_name(from, source, x),
         weights(k, source, layer, kernel), weights(b, source, layer, bias), sizes[0], sizes[1],
         sizes[2]);
}

static int write_dense(cohort_c_source *source, const c_layer *layer)
{
    const size_t in = last_dim(&layer->view.in.shape), out = last_dim(&layer->view.out.shape);
    const int y = cohort_c_value(source, out_count(layer));
    project(source, layer, y, layer->x, "kernel", "bias",
            (size_t[3]){in_count(layer) / in, in, out});
    return finish(source, layer, y);
}

/* A constant `struct window` of the layer; its name into TEXT. */
static const char *window_name(char *text, cohort_c_source *source, const c_layer *layer,
                               const size_t *size, const size_t *strides)
{
    const cohort_shape *in = &layer->view.in.shape;
    const size_t used[2] = {strides[0] ? strides[0] : size[0], strides[1] ? strides[1] : size[1]};
    const bool same = *(const int *)cohort_variant_value(&layer->view.spec, "padding") == 1;
    cohort_window w;
    if (!cohort_window_plan(&w, in->dims[0], in->dims[1], size, used, same))
        source->status =
            COHORT_FAIL(COHORT_INTERNAL, "%s: the window does not fit", layer->view.path);
    snprintf(text, COHORT_C_NAME, "window%zu", source->weight_count++);
    source->used[COHORT_C_WINDOW] = true;
    cohort_text_append(&source->weights,
                       "static const struct window %s = {%zu, %zu, %zu, %zu, %zu, %zu,\n"
                       "    %zu, %zu, %zu, %zu, %zu, %zu};\n",
                       text, w.in_height, w.in_width, in->dims[2], w.out_height, w.out_width,
                       layer->view.out.shape.dims[2], w.height, w.width, w.stride_y, w.stride_x,
                       w.pad_top, w.pad_left);
    return text;
}

static int write_conv2d(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME], k[COHORT_C_NAME], b[COHORT_C_NAME], w[COHORT_C_NAME];
    const int out = cohort_c_value(source, out_count(layer));
    window_name(w, source, layer, cohort_variant_value(&layer->view.spec, "kernel"),
                cohort_variant_value(&layer->view.spec, "strides"));
    call(source, COHORT_C_CONV2D, "conv2d(%s, %s, %s, %s, &%s)", cohort_c_name(y, source, out),
         cohort_c_name(x, source, layer->x), weights(k, source, layer, "kernel"),
         weights(b, source, layer, "bias"), w);
    return finish(source, layer, out);
}

static int write_pool(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME], w[COHORT_C_NAME];
    const bool is_max = strcmp(layer->view.spec.table->name, "max_pool2d") == 0;
    const int out = cohort_c_value(source, out_count(layer));
    window_name(w, source, layer, cohort_variant_value(&layer->view.spec, "size"),
                cohort_variant_value(&layer->view.spec, "strides"));
    call(source, is_max ? COHORT_C_MAX_POOL : COHORT_C_AVERAGE_POOL, "%s(%s, %s, &%s)",
         is_max ? "max_pool" : "average_pool", cohort_c_name(y, source, out),
         cohort_c_name(x, source, layer->x), w);
    return out;
}

static int write_mean(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME], mask[COHORT_C_NAME];
    const size_t channels = last_dim(&layer->view.in.shape);
    const int out = cohort_c_value(source, channels);
    call(source, COHORT_C_MEAN, "mean(%s, %s, %s, %zu, %zu)", cohort_c_name(y, source, out),
         cohort_c_name(x, source, layer->x), mask_name(mask, source, layer),
         in_count(layer) / channels, channels);
    return out;
}

/* ---- Normalisation ---- */

/* With its moving values a batch_norm is a factor and an offset for each channel. */
static int write_batch_norm(cohort_c_source *source, const c_layer *layer)
{
    static const char *const names[] = {"gamma", "beta", "moving_mean", "moving_variance"};
    char x[COHORT_C_NAME], y[COHORT_C_NAME];
    const double epsilon = *(const double *)cohort_variant_value(&layer->view.spec, "epsilon");
    const size_t width = last_dim(&layer->view.in.shape);
    const real *values[4];
    float *scales = NULL;
    for (size_t i = 0; i < 4; i++) {
        bool is_state = false;
        const cohort_tensor *tensor =
            cohort_foreign_ours(&is_state, source->model, layer->view.path, names[i]);
        values[i] =
            (is_state ? cohort_model_state(source->model) : cohort_model_params(source->model)) +
            tensor->offset;
    }
    const int out = cohort_c_value(source, in_count(layer));
    if (source->status == COHORT_OK)
        source->status = COHORT_ALLOCATE(&scales, 2 * width);
    if (!scales)
        return out;
    for (size_t i = 0; i < width; i++) {
        const double factor = (double)values[0][i] / sqrt((double)values[3][i] + epsilon);
        scales[i] = (float)factor;
        scales[width + i] = (float)((double)values[1][i] - (double)values[2][i] * factor);
    }
    const size_t factor = cohort_c_weights(source, scales, width);
    const size_t offset = cohort_c_weights(source, scales + width, width);
    call(source, COHORT_C_SCALE, "scale(%s, %s, w%zu, w%zu, %zu, %zu)",
         cohort_c_name(y, source, out), cohort_c_name(x, source, layer->x), factor, offset,
         in_count(layer) / width, width);
    cohort_free(scales);
    return out;
}

static int write_layer_norm(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME], gamma[COHORT_C_NAME], beta[COHORT_C_NAME];
    const double epsilon = *(const double *)cohort_variant_value(&layer->view.spec, "epsilon");
    const size_t width = last_dim(&layer->view.in.shape);
    const int out = cohort_c_value(source, in_count(layer));
    call(source, COHORT_C_NORM, "norm(%s, %s, %s, %s, (float)%.9g, %zu, %zu)",
         cohort_c_name(y, source, out), cohort_c_name(x, source, layer->x),
         weights(gamma, source, layer, "gamma"), weights(beta, source, layer, "beta"), epsilon,
         in_count(layer) / width, width);
    return out;
}

/* ---- Sequences ---- */

static int write_embedding(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME], table[COHORT_C_NAME];
    const size_t time = layer->view.in.shape.dims[0], units = count_of(layer, "units");
    const int out = cohort_c_value(source, out_count(layer));
    cohort_c_name(x, source, layer->x);
    if (flag_of(layer, "mask")) {
        source->mask = cohort_c_value(source, time);
        call(source, COHORT_C_FIND_PADDING, "find_padding(%s, %s, %zu)",
             cohort_c_name(y, source, source->mask), x, time);
    }
    call(source, COHORT_C_EMBED, "embed(%s, %s, %s, %zu, %zu, %zu)", cohort_c_name(y, source, out),
         x, weights(table, source, layer, "embeddings"), time, layer->view.out.vocabulary, units);
    return out;
}

static int write_position(cohort_c_source *source, const c_layer *layer)
{
    char x[COHORT_C_NAME], y[COHORT_C_NAME], table[COHORT_C_NAME];
    const cohort_shape *shape = &layer->view.in.shape;
    const int out = cohort_c_value(source, in_count(layer));
    weights(table, source, layer, "embeddings");
    if (strcmp(table, "NULL") == 0) {
        real *sinusoid = NULL;
        if (source->status == COHORT_OK)
            source->status = COHORT_ALLOCATE(&sinusoid, in_count(layer));
        if (!sinusoid)
            return out;
        cohort_sinusoid_table(sinusoid, shape->dims[0], shape->dims[1]);
        snprintf(table, sizeof table, "w%zu", cohort_c_weights(source, sinusoid, in_count(layer)));
        cohort_free(sinusoid);
    }
    call(source, COHORT_C_ADD, "add(%s, %s, %s, %zu)", cohort_c_name(y, source, out),
         cohort_c_name(x, source, layer->x), table, in_count(layer));
    return out;
}

static int write_attention(cohort_c_source *source, const c_layer *layer)
{
    static const char *const names[4][2] = {{"query/kernel", "query/bias"},
                                            {"key/kernel", "key/bias"},
                                            {"value/kernel", "value/bias"},
                                            {"output/kernel", "output/bias"}};
    char text[6][COHORT_C_NAME];
    const size_t time = layer->view.in.shape.dims[0], width = layer->view.in.shape.dims[1];
    const size_t sizes[3] = {time, width, width};
    int inputs[3];
    for (size_t i = 0; i < 3; i++) {
        inputs[i] = cohort_c_value(source, time * width);
        project(source, layer, inputs[i], layer->x, names[i][0], names[i][1], sizes);
    }
    const int mixed = cohort_c_value(source, time * width), work = cohort_c_value(source, time);
    call(source, COHORT_C_ATTEND, "attend(%s, %s, %s, %s, %s, %s, %zu, %zu, %zu, %d)",
         cohort_c_name(text[0], source, mixed), cohort_c_name(text[1], source, inputs[0]),
         cohort_c_name(text[2], source, inputs[1]), cohort_c_name(text[3], source, inputs[2]),
         mask_name(text[4], source, layer), cohort_c_name(text[5], source, work), time, width,
         count_of(layer, "heads"), flag_of(layer, "causal"));
    const int out = cohort_c_value(source, time * width);
    project(source, layer, out, mixed, names[3][0], names[3][1], sizes);
    return out;
}

static int write_lstm(cohort_c_source *source, const c_layer *layer)
{
    static const char *const names[2][3] = {
        {"forward/kernel", "forward/recurrent_kernel", "forward/bias"},
        {"backward/kernel", "backward/recurrent_kernel", "backward/bias"}};
    static const char *const single[3] = {"kernel", "recurrent_kernel", "bias"};
    char x[COHORT_C_NAME], y[COHORT_C_NAME], mask[COHORT_C_NAME], work[COHORT_C_NAME];
    char tensors[3][COHORT_C_NAME];
    const bool both = flag_of(layer, "bidirectional");
    const size_t units = count_of(layer, "units");
    const int out = cohort_c_value(source, out_count(layer));
    const int scratch = cohort_c_value(source, 6 * units);
    for (size_t d = 0; d < (both ? 2u : 1u); d++) {
        for (size_t i = 0; i < 3; i++)
            weights(tensors[i], source, layer, both ? names[d][i] : single[i]);
        call(source, COHORT_C_LSTM,
             "lstm(%s + %zu, %s, %s, %s, %s, %s, %s, %zu, %zu, %zu, %zu, %d, %zu)",
             cohort_c_name(y, source, out), d * units, cohort_c_name(x, source, layer->x),
             tensors[0], tensors[1], tensors[2], mask_name(mask, source, layer),
             cohort_c_name(work, source, scratch), layer->view.in.shape.dims[0],
             layer->view.in.shape.dims[1], units, d, flag_of(layer, "return_sequences"),
             units * (both ? 2 : 1));
    }
    return out;
}

/* ---- Structure ---- */

static int write_nothing(cohort_c_source *source, const c_layer *layer)
{
    (void)source;
    return layer->x;
}

static int write_list(cohort_c_source *source, const cohort_variants *layers, int x);

static int write_residual(cohort_c_source *source, const c_layer *layer)
{
    char y[COHORT_C_NAME], a[COHORT_C_NAME], b[COHORT_C_NAME];
    const int inside =
        write_list(source, cohort_variant_value(&layer->view.spec, "layers"), layer->x);
    const int side =
        write_list(source, cohort_variant_value(&layer->view.spec, "shortcut"), layer->x);
    const int out = cohort_c_value(source, out_count(layer));
    call(source, COHORT_C_ADD, "add(%s, %s, %s, %zu)", cohort_c_name(y, source, out),
         cohort_c_name(a, source, inside), cohort_c_name(b, source, side), out_count(layer));
    return out;
}

static const struct {
    const char *type;
    layer_writer *write;
} writers[] = {
    {"dense", write_dense},
    {"conv2d", write_conv2d},
    {"max_pool2d", write_pool},
    {"average_pool2d", write_pool},
    {"global_average_pool", write_mean},
    {"flatten", write_nothing},
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

/* The next layer of the model on X. */
static int write_next(cohort_c_source *source, int x)
{
    const c_layer layer = {cohort_model_layer(source->model, source->next++), x};
    source->tick++;
    for (size_t i = 0; i < sizeof writers / sizeof *writers; i++)
        if (strcmp(writers[i].type, layer.view.spec.table->name) == 0)
            return writers[i].write(source, &layer);
    source->status = COHORT_FAIL(COHORT_USAGE, "%s: the layer %s cannot be written as C",
                                 layer.view.path, layer.view.spec.table->name);
    return x;
}

static int write_list(cohort_c_source *source, const cohort_variants *layers, int x)
{
    for (size_t i = 0; i < layers->count && source->status == COHORT_OK; i++)
        x = write_next(source, x);
    source->tick++;
    return x;
}

int cohort_c_layers(cohort_c_source *source, int x)
{
    while (source->next < cohort_model_layer_count(source->model) && source->status == COHORT_OK)
        x = write_next(source, x);
    return x;
}
