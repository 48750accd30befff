/* Pooling of images, as Keras's MaxPooling2D and AveragePooling2D (padding counts for
 * neither the maximum nor the mean).
 *
 * x [batch][height][width][channels]; strides are the window's size unless given. */
#include "kernel/pool.h"
#include "nn/layer_image.h"

typedef struct pool2d_config {
    cohort_layer_common common;
    size_t size[2], strides[2]; /* strides 0: as size */
    int padding;
} pool2d_config;

typedef struct pool2d_layer {
    cohort_layer base;
    cohort_pool pool;
    uint16_t *winners; /* of max_pool2d, kept; NULL in a model that is not trained */
} pool2d_layer;

static void pool2d_strides(size_t strides[2], const pool2d_config *config)
{
    for (int i = 0; i < 2; i++)
        strides[i] = config->strides[i] ? config->strides[i] : config->size[i];
}

static cohort_status pool2d_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    pool2d_layer *layer = (pool2d_layer *)base;
    const pool2d_config *config = base->config;
    size_t strides[2];
    (void)planner;
    pool2d_strides(strides, config);
    COHORT_TRY(cohort_layer_plan_window(&layer->pool.window, base, flow, config->size, strides,
                                        config->padding));
    layer->pool.channels = flow->shape.dims[2];
    return COHORT_OK;
}

static cohort_status max_pool2d_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    pool2d_layer *layer = (pool2d_layer *)base;
    COHORT_TRY(pool2d_plan(base, planner, flow));
    const cohort_window *window = &layer->pool.window;
    COHORT_REQUIRE(window->height * window->width <= COHORT_POOL_TAPS, COHORT_USAGE,
                   "line %d: %s: a window of %zux%zu is more than %d pixels; make it smaller",
                   base->line, base->path, window->height, window->width, COHORT_POOL_TAPS);
    if (!cohort_plan_is_training(planner) || cohort_plan_is_absorbed(planner))
        return COHORT_OK;
    return cohort_plan_buffer(planner, (void **)&layer->winners,
                              cohort_plan_batch(planner) * cohort_shape_count(&flow->shape),
                              sizeof *layer->winners, COHORT_LIVE_KEPT);
}

static void max_pool2d_forward(cohort_layer *base, const cohort_pass *pass)
{
    const pool2d_layer *layer = (const pool2d_layer *)base;
    cohort_max_pool_forward(base->y, layer->winners, &layer->pool, base->x, pass->batch);
}

static void max_pool2d_backward(cohort_layer *base, const cohort_pass *pass)
{
    const pool2d_layer *layer = (const pool2d_layer *)base;
    if (base->dx)
        cohort_max_pool_backward(base->dx, &layer->pool, base->dy, layer->winners, pass->batch);
}

static void average_pool2d_forward(cohort_layer *base, const cohort_pass *pass)
{
    const pool2d_layer *layer = (const pool2d_layer *)base;
    cohort_average_pool_forward(base->y, &layer->pool, base->x, pass->batch);
}

static void average_pool2d_backward(cohort_layer *base, const cohort_pass *pass)
{
    const pool2d_layer *layer = (const pool2d_layer *)base;
    if (base->dx)
        cohort_average_pool_backward(base->dx, &layer->pool, base->dy, pass->batch);
}

static const cohort_key pool2d_keys[] = {
    {.name = "size",
     .type = COHORT_KEY_PAIR,
     .offset = offsetof(pool2d_config, size),
     .min = 1,
     .max = 1e4,
     .fallback = "2",
     .help = "pixels of the window: a number or [height, width]"},
    {.name = "strides",
     .type = COHORT_KEY_PAIR,
     .offset = offsetof(pool2d_config, strides),
     .min = 1,
     .max = 1e4,
     .help = "pixels from window to window; the size unless given"},
    {.name = "padding",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(pool2d_config, padding),
     .fallback = "valid",
     .choices = cohort_padding_names,
     .help = "same: windows at the edges reach over them"},
    COHORT_KEY_NAME(pool2d_config),
};

#define POOL_LAYER(type_name, text, plan_function)                                                 \
    const cohort_layer_type cohort_layer_##type_name = {                                           \
        .keys = {.name = #type_name,                                                               \
                 .help = text,                                                                     \
                 .config_bytes = sizeof(pool2d_config),                                            \
                 .main_key = "size",                                                               \
                 .keys = pool2d_keys,                                                              \
                 .key_count = sizeof pool2d_keys / sizeof *pool2d_keys},                           \
        .layer_bytes = sizeof(pool2d_layer),                                                       \
        .plan = plan_function,                                                                     \
        .forward = type_name##_forward,                                                            \
        .backward = type_name##_backward,                                                          \
    }

POOL_LAYER(max_pool2d, "the largest value of each window of an image", max_pool2d_plan);
POOL_LAYER(average_pool2d, "the mean of each window of an image", pool2d_plan);

bool cohort_layer_max_pool_window(cohort_window *window, const cohort_variant *pool, size_t height,
                                  size_t width)
{
    size_t strides[2];
    if (pool->table != &cohort_layer_max_pool2d.keys)
        return false;
    const pool2d_config *config = pool->config;
    pool2d_strides(strides, config);
    return cohort_window_plan(window, height, width, config->size, strides,
                              config->padding == COHORT_PADDING_SAME) &&
           window->height * window->width <= COHORT_POOL_TAPS;
}
