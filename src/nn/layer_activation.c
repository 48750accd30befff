/* Activation functions as layers of their own: elementwise on any shape; softmax over the
 * last axis. Keras's defaults (leaky_relu: negative slope 0.3; gelu: exact). */
#include "kernel/activation.h"

#include <string.h>

#include "nn/layer_check.h"

typedef struct activation_config {
    cohort_layer_common common;
    double slope; /* leaky_relu */
} activation_config;

typedef struct activation_layer {
    cohort_layer base;
    cohort_activation activation;
    size_t rows, width; /* of a sample */
    real slope;
} activation_layer;

static cohort_status activation_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    activation_layer *layer = (activation_layer *)base;
    const activation_config *config = base->config;
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    for (int i = 0; cohort_activation_names[i]; i++)
        if (strcmp(cohort_activation_names[i], base->type->keys.name) == 0)
            layer->activation = (cohort_activation)i;
    const size_t dims = flow->shape.dim_count;
    layer->width = dims ? flow->shape.dims[dims - 1] : 1;
    layer->rows = cohort_shape_count(&flow->shape) / layer->width;
    layer->slope = (real)config->slope;
    cohort_plan_row_by_row(planner);
    if (cohort_activation_needs_input(layer->activation))
        cohort_plan_keep_input(planner);
    else
        cohort_plan_keep_output(planner);
    return COHORT_OK;
}

static void activation_forward(cohort_layer *base, const cohort_pass *pass)
{
    const activation_layer *layer = (const activation_layer *)base;
    cohort_activation_forward(layer->activation, layer->slope, base->y, base->x,
                              pass->batch * layer->rows, layer->width);
}

static void activation_backward(cohort_layer *base, const cohort_pass *pass)
{
    const activation_layer *layer = (const activation_layer *)base;
    if (base->dx)
        cohort_activation_backward(layer->activation, layer->slope, base->dx, base->dy,
                                   cohort_activation_needs_input(layer->activation) ? base->x
                                                                                    : base->y,
                                   pass->batch * layer->rows, layer->width);
}

static const cohort_key name_keys[] = {COHORT_KEY_NAME(activation_config)};

static const cohort_key leaky_keys[] = {
    {.name = "slope",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(activation_config, slope),
     .min = 0,
     .max = 1e6,
     .fallback = "0.3",
     .help = "the slope below 0"},
    COHORT_KEY_NAME(activation_config),
};

#define ACTIVATION_LAYER(type_name, text, main, key_list)                                          \
    const cohort_layer_type cohort_layer_##type_name = {                                           \
        .keys = {.name = #type_name,                                                               \
                 .help = text,                                                                     \
                 .config_bytes = sizeof(activation_config),                                        \
                 .main_key = main,                                                                 \
                 .keys = key_list,                                                                 \
                 .key_count = sizeof key_list / sizeof *key_list},                                 \
        .layer_bytes = sizeof(activation_layer),                                                   \
        .plan = activation_plan,                                                                   \
        .forward = activation_forward,                                                             \
        .backward = activation_backward,                                                           \
    }

ACTIVATION_LAYER(relu, "max(x, 0)", NULL, name_keys);
ACTIVATION_LAYER(leaky_relu, "x above 0, slope * x below", "slope", leaky_keys);
ACTIVATION_LAYER(gelu, "x times the normal distribution's value at x, exact", NULL, name_keys);
ACTIVATION_LAYER(tanh, "hyperbolic tangent", NULL, name_keys);
ACTIVATION_LAYER(sigmoid,
                 "1 / (1 + e^-x); not before loss binary_cross_entropy, which takes logits", NULL,
                 name_keys);
ACTIVATION_LAYER(softmax, "over the last axis; not before loss cross_entropy, which takes logits",
                 NULL, name_keys);
