/* PyTorch's names and layouts. */
#include <stdio.h>
#include <string.h>

#include "state/foreign/map.h"

/* The image that a row of features was flattened from, in our order; channels 0: none. */
typedef struct image_order {
    size_t height, width, channels;
} image_order;

typedef struct torch_walk {
    cohort_foreign_map *map;
    size_t next;       /* layer of the model */
    image_order order; /* of what flows */
} torch_walk;

/* A new foreign tensor "<path>.<name>" of layer PATH. */
static cohort_status add(torch_walk *walk, const char *path, const char *name,
                         const cohort_shape *shape)
{
    char text[512];
    snprintf(text, sizeof text, "%s.%s", path, name);
    for (char *c = text; *c; c++)
        if (*c == '/')
            *c = '.';
    return cohort_foreign_add(walk->map, path, text, shape);
}

/* Block of the latest one: DIMS and STRIDES over our tensor OURS. */
static cohort_status add_block(torch_walk *walk, const char *path, const char *ours,
                               cohort_foreign_block block)
{
    block.tensor = cohort_foreign_ours(&block.is_state, walk->map->model, path, ours);
    COHORT_REQUIRE(block.tensor, COHORT_INTERNAL, "%s has no tensor %s", path, ours);
    return cohort_foreign_add_block(walk->map, &block);
}

/* WEIGHT [out][in] from our [in][out]; the blocks begins at OFFSET. */
static cohort_status add_transposed(torch_walk *walk, const char *path, const char *ours,
                                    size_t offset, size_t in, size_t out)
{
    return add_block(walk, path, ours,
                     (cohort_foreign_block){
                         .offset = offset, .dims = {out, in, 1, 1}, .strides = {1, out, 0, 0}});
}

static cohort_status add_vector(torch_walk *walk, const char *path, const char *ours, size_t offset,
                                size_t count)
{
    return add_block(
        walk, path, ours,
        (cohort_foreign_block){.offset = offset, .dims = {count, 1, 1, 1}, .strides = {1}});
}

static cohort_status map_vector(torch_walk *walk, const char *path, const char *theirs,
                                const char *ours, size_t count)
{
    COHORT_TRY(add(walk, path, theirs, &cohort_shape_of(count)));
    return add_vector(walk, path, ours, 0, count);
}

static bool has(const torch_walk *walk, const char *path, const char *ours)
{
    bool is_state;
    return cohort_foreign_ours(&is_state, walk->map->model, path, ours) != NULL;
}

static size_t last_dim(const cohort_shape *shape)
{
    return shape->dims[shape->dim_count - 1];
}

static cohort_status map_dense(torch_walk *walk, const cohort_layer_view *layer)
{
    const size_t in = last_dim(&layer->in.shape), out = last_dim(&layer->out.shape);
    const image_order image = walk->order;
    COHORT_TRY(add(walk, layer->path, "weight", &cohort_shape_of(out, in)));
    if (image.channels)
        COHORT_TRY(add_block(
            walk, layer->path, "kernel",
            (cohort_foreign_block){
                .dims = {out, image.channels, image.height, image.width},
                .strides = {1, out, image.width * image.channels * out, image.channels * out}}));
    else
        COHORT_TRY(add_transposed(walk, layer->path, "kernel", 0, in, out));
    walk->order = (image_order){0};
    return has(walk, layer->path, "bias") ? map_vector(walk, layer->path, "bias", "bias", out)
                                          : COHORT_OK;
}

static cohort_status map_conv2d(torch_walk *walk, const cohort_layer_view *layer)
{
    const size_t *size = cohort_variant_value(&layer->spec, "kernel");
    const size_t in = last_dim(&layer->in.shape), out = last_dim(&layer->out.shape);
    COHORT_TRY(add(walk, layer->path, "weight", &cohort_shape_of(out, in, size[0], size[1])));
    COHORT_TRY(
        add_block(walk, layer->path, "kernel",
                  (cohort_foreign_block){.dims = {out, in, size[0], size[1]},
                                         .strides = {1, out, size[1] * in * out, in * out}}));
    return has(walk, layer->path, "bias") ? map_vector(walk, layer->path, "bias", "bias", out)
                                          : COHORT_OK;
}

/* batch_norm and layer_norm: of the last axis, which may be a flattened image. */
static cohort_status map_norm(torch_walk *walk, const cohort_layer_view *layer)
{
    static const char *const names[][2] = {{"weight", "gamma"},
                                           {"bias", "beta"},
                                           {"running_mean", "moving_mean"},
                                           {"running_var", "moving_variance"}};
    const size_t width = last_dim(&layer->in.shape);
    const image_order image = walk->order;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!has(walk, layer->path, names[i][1]))
            continue;
        COHORT_TRY(add(walk, layer->path, names[i][0], &cohort_shape_of(width)));
        if (!image.channels)
            COHORT_TRY(add_vector(walk, layer->path, names[i][1], 0, width));
        else
            COHORT_TRY(
                add_block(walk, layer->path, names[i][1],
                          (cohort_foreign_block){
                              .dims = {image.channels, image.height, image.width, 1},
                              .strides = {1, image.width * image.channels, image.channels, 0}}));
    }
    return COHORT_OK;
}

static cohort_status map_table(torch_walk *walk, const cohort_layer_view *layer)
{
    bool is_state;
    const cohort_tensor *table =
        cohort_foreign_ours(&is_state, walk->map->model, layer->path, "embeddings");
    if (!table) /* sinusoidal positions */
        return COHORT_OK;
    COHORT_TRY(add(walk, layer->path, "weight", &table->shape));
    return add_vector(walk, layer->path, "embeddings", 0, table->count);
}

static cohort_status map_lstm_direction(torch_walk *walk, const cohort_layer_view *layer,
                                        const char *group, const char *end)
{
    const size_t in = last_dim(&layer->in.shape);
    const size_t units = *(const size_t *)cohort_variant_value(&layer->spec, "units");
    const size_t gates = 4 * units;
    char theirs[32], ours[32];
    snprintf(theirs, sizeof theirs, "weight_ih_l0%s", end);
    snprintf(ours, sizeof ours, "%skernel", group);
    COHORT_TRY(add(walk, layer->path, theirs, &cohort_shape_of(gates, in)));
    COHORT_TRY(add_transposed(walk, layer->path, ours, 0, in, gates));
    snprintf(theirs, sizeof theirs, "weight_hh_l0%s", end);
    snprintf(ours, sizeof ours, "%srecurrent_kernel", group);
    COHORT_TRY(add(walk, layer->path, theirs, &cohort_shape_of(gates, units)));
    COHORT_TRY(add_transposed(walk, layer->path, ours, 0, units, gates));
    snprintf(theirs, sizeof theirs, "bias_ih_l0%s", end);
    snprintf(ours, sizeof ours, "%sbias", group);
    COHORT_TRY(map_vector(walk, layer->path, theirs, ours, gates));
    snprintf(theirs, sizeof theirs, "bias_hh_l0%s", end);
    COHORT_TRY(add(walk, layer->path, theirs, &cohort_shape_of(gates)));
    return add_block(
        walk, layer->path, ours,
        (cohort_foreign_block){.dims = {gates, 1, 1, 1}, .strides = {1}, .is_added = true});
}

static cohort_status map_lstm(torch_walk *walk, const cohort_layer_view *layer)
{
    if (!*(const bool *)cohort_variant_value(&layer->spec, "bidirectional"))
        return map_lstm_direction(walk, layer, "", "");
    COHORT_TRY(map_lstm_direction(walk, layer, "forward/", ""));
    return map_lstm_direction(walk, layer, "backward/", "_reverse");
}

static cohort_status map_attention(torch_walk *walk, const cohort_layer_view *layer)
{
    static const char *const kernels[] = {"query/kernel", "key/kernel", "value/kernel"};
    static const char *const biases[] = {"query/bias", "key/bias", "value/bias"};
    const size_t width = last_dim(&layer->in.shape);
    COHORT_TRY(add(walk, layer->path, "in_proj_weight", &cohort_shape_of(3 * width, width)));
    for (size_t i = 0; i < 3; i++)
        COHORT_TRY(add_transposed(walk, layer->path, kernels[i], i * width * width, width, width));
    COHORT_TRY(add(walk, layer->path, "in_proj_bias", &cohort_shape_of(3 * width)));
    for (size_t i = 0; i < 3; i++)
        COHORT_TRY(add_vector(walk, layer->path, biases[i], i * width, width));
    COHORT_TRY(add(walk, layer->path, "out_proj.weight", &cohort_shape_of(width, width)));
    COHORT_TRY(add_transposed(walk, layer->path, "output/kernel", 0, width, width));
    return map_vector(walk, layer->path, "out_proj.bias", "output/bias", width);
}

static cohort_status map_flatten(torch_walk *walk, const cohort_layer_view *layer)
{
    const cohort_shape *in = &layer->in.shape;
    if (in->dim_count == 3 && in->dims[0] * in->dims[1] > 1 && in->dims[2] > 1)
        walk->order = (image_order){in->dims[0], in->dims[1], in->dims[2]};
    return COHORT_OK;
}

static cohort_status map_list(torch_walk *walk, const cohort_variants *layers);

static cohort_status map_residual(torch_walk *walk, const cohort_layer_view *layer)
{
    const image_order before = walk->order;
    COHORT_TRY(map_list(walk, cohort_variant_value(&layer->spec, "layers")));
    const image_order inside = walk->order;
    walk->order = before;
    COHORT_TRY(map_list(walk, cohort_variant_value(&layer->spec, "shortcut")));
    COHORT_REQUIRE(memcmp(&inside, &walk->order, sizeof inside) == 0, COHORT_USAGE,
                   "%s: this residual adds a flattened image to something else, whose order "
                   "differs in PyTorch; safetensors cannot express it",
                   layer->path);
    return COHORT_OK;
}

static const struct {
    const char *type;
    cohort_status (*map)(torch_walk *walk, const cohort_layer_view *layer);
} mappers[] = {
    {"dense", map_dense},       {"conv2d", map_conv2d},       {"batch_norm", map_norm},
    {"layer_norm", map_norm},   {"embedding", map_table},     {"position_embedding", map_table},
    {"lstm", map_lstm},         {"attention", map_attention}, {"flatten", map_flatten},
    {"residual", map_residual},
};

static cohort_status map_list(torch_walk *walk, const cohort_variants *layers)
{
    for (size_t i = 0; i < layers->count; i++) {
        const cohort_layer_view layer = cohort_model_layer(walk->map->model, walk->next++);
        for (size_t k = 0; k < sizeof mappers / sizeof *mappers; k++)
            if (strcmp(mappers[k].type, layer.spec.table->name) == 0)
                COHORT_TRY(mappers[k].map(walk, &layer));
    }
    return COHORT_OK;
}

/* The top list has as many layers as stand outside any residual. */
cohort_status cohort_foreign_map_torch(cohort_foreign_map *map, const cohort_model *model)
{
    torch_walk walk = {.map = map};
    map->model = model;
    while (walk.next < cohort_model_layer_count(model)) {
        const cohort_layer_view layer = cohort_model_layer(model, walk.next);
        COHORT_TRY(map_list(&walk, &(cohort_variants){(cohort_variant *)&layer.spec, 1}));
    }
    return cohort_foreign_check(map, "safetensors");
}
