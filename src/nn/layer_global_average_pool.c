/* The mean over space or over time, as Keras's GlobalAveragePooling2D and 1D.
 *
 * x [batch][height][width][channels] or [batch][time][channels]; y [batch][channels].
 * Masked time steps do not count; a sample without any other gives 0. */
#include "kernel/pool.h"
#include "nn/layer_check.h"

typedef struct mean_config {
    cohort_layer_common common;
} mean_config;

typedef struct mean_layer {
    cohort_layer base;
    size_t positions, channels;
    bool masked;
} mean_layer;

static cohort_status mean_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    mean_layer *layer = (mean_layer *)base;
    char text[COHORT_SHAPE_TEXT];
    (void)planner;
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    const size_t dims = flow->shape.dim_count;
    COHORT_REQUIRE(dims == 2 || dims == 3, COHORT_USAGE,
                   "line %d: %s needs [height][width][channels] or [time][features], got %s; put "
                   "it before `flatten`",
                   base->line, base->path, cohort_shape_text(text, &flow->shape));
    layer->channels = flow->shape.dims[dims - 1];
    layer->positions = flow->shape.dims[0] * (dims == 3 ? flow->shape.dims[1] : 1);
    layer->masked = flow->masked;
    *flow = (cohort_flow){.shape = cohort_shape_of(layer->channels)};
    return COHORT_OK;
}

static void mean_forward(cohort_layer *base, const cohort_pass *pass)
{
    const mean_layer *layer = (const mean_layer *)base;
    cohort_mean_forward(base->y, base->x, layer->masked ? pass->mask : NULL, pass->batch,
                        layer->positions, layer->channels);
}

static void mean_backward(cohort_layer *base, const cohort_pass *pass)
{
    const mean_layer *layer = (const mean_layer *)base;
    if (base->dx)
        cohort_mean_backward(base->dx, base->dy, layer->masked ? pass->mask : NULL, pass->batch,
                             layer->positions, layer->channels);
}

static const cohort_key mean_keys[] = {COHORT_KEY_NAME(mean_config)};

const cohort_layer_type cohort_layer_global_average_pool = {
    .keys = {.name = "global_average_pool",
             .help = "the mean over space, or over time without masked steps",
             .config_bytes = sizeof(mean_config),
             .keys = mean_keys,
             .key_count = sizeof mean_keys / sizeof *mean_keys},
    .layer_bytes = sizeof(mean_layer),
    .plan = mean_plan,
    .forward = mean_forward,
    .backward = mean_backward,
};
