/* Layer normalisation (Ba, Kiros and Hinton 2016) over the last axis, as Keras's
 * LayerNormalization: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, with each
 * row's own mean and biased variance.
 *
 * x, y [batch][…][width]; gamma (starts 1), beta (0): [width]. */
#include "kernel/norm.h"
#include "kernel/vector.h"
#include "nn/layer_check.h"

typedef struct layer_norm_config {
    cohort_layer_common common;
    double epsilon;
} layer_norm_config;

typedef struct layer_norm_layer {
    cohort_layer base;
    cohort_param gamma, beta;
    size_t rows, width;   /* of a sample */
    real *mean, *inverse; /* kept [batch * rows] */
} layer_norm_layer;

static cohort_status layer_norm_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    layer_norm_layer *layer = (layer_norm_layer *)base;
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    layer->width = flow->shape.dims[flow->shape.dim_count - 1];
    layer->rows = cohort_shape_count(&flow->shape) / layer->width;
    const cohort_shape shape = cohort_shape_of(layer->width);
    const size_t rows = cohort_plan_batch(planner) * layer->rows;
    COHORT_TRY(cohort_plan_param(planner, &layer->gamma, "gamma", &shape, NULL, 1, 0, 0, 0));
    COHORT_TRY(cohort_plan_param(planner, &layer->beta, "beta", &shape, NULL, 0, 0, 0, 0));
    COHORT_TRY(
        cohort_plan_buffer(planner, (void **)&layer->mean, rows, sizeof(real), COHORT_LIVE_KEPT));
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->inverse, rows, sizeof(real),
                                  COHORT_LIVE_KEPT));
    cohort_plan_keep_input(planner);
    return COHORT_OK;
}

static void layer_norm_forward(cohort_layer *base, const cohort_pass *pass)
{
    const layer_norm_layer *layer = (const layer_norm_layer *)base;
    const layer_norm_config *config = base->config;
    cohort_norm_rows(base->y, layer->mean, layer->inverse, base->x, layer->gamma.value,
                     layer->beta.value, (real)config->epsilon, pass->batch * layer->rows,
                     layer->width);
}

static void layer_norm_backward(cohort_layer *base, const cohort_pass *pass)
{
    const layer_norm_layer *layer = (const layer_norm_layer *)base;
    if (layer->gamma.grad && !pass->accumulate) {
        cohort_vector_fill(layer->gamma.grad, 0, layer->width);
        cohort_vector_fill(layer->beta.grad, 0, layer->width);
    }
    cohort_norm_rows_backward(base->dx, base->side.grad, layer->gamma.grad, layer->beta.grad,
                              base->dy, base->x, layer->mean, layer->inverse, layer->gamma.value,
                              pass->batch * layer->rows, layer->width);
}

static const cohort_key layer_norm_keys[] = {
    {.name = "epsilon",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(layer_norm_config, epsilon),
     .min = 0,
     .max = 1,
     .open_min = true,
     .fallback = "0.001",
     .help = "added to the variance"},
    COHORT_KEY_NAME(layer_norm_config),
};

const cohort_layer_type cohort_layer_layer_norm = {
    .keys = {.name = "layer_norm",
             .help = "mean 0 and variance 1 over the last axis, then gamma and beta",
             .config_bytes = sizeof(layer_norm_config),
             .keys = layer_norm_keys,
             .key_count = sizeof layer_norm_keys / sizeof *layer_norm_keys},
    .layer_bytes = sizeof(layer_norm_layer),
    .plan = layer_norm_plan,
    .forward = layer_norm_forward,
    .backward = layer_norm_backward,
    .takes_back_side = true,
};
