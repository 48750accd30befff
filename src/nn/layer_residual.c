/* Residual block (He et al. 2016): y = layers(x) + shortcut(x), and the relu that follows, if one
 * does. The shortcut is x itself unless layers are given for it. */
#include <string.h>

#include "kernel/activation.h"
#include "kernel/vector.h"
#include "nn/layer_check.h"

extern const cohort_layer_type cohort_layer_relu;

typedef struct residual_config {
    cohort_layer_common common;
    cohort_variants layers, shortcut;
} residual_config;

typedef struct residual_layer {
    cohort_layer base;
    cohort_sequence *layers, *shortcut; /* shortcut NULL: identity */
    cohort_sum_plan sum;                /* without a shortcut */
    size_t in_count, out_count;         /* of a sample */
    bool relu;                          /* absorbed */
} residual_layer;

static bool residual_absorb(cohort_layer *base, const cohort_variant *next)
{
    residual_layer *layer = (residual_layer *)base;
    layer->relu = next->table == &cohort_layer_relu.keys;
    return layer->relu;
}

static cohort_status residual_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    residual_layer *layer = (residual_layer *)base;
    const residual_config *config = base->config;
    char text[COHORT_SHAPE_TEXT], other[COHORT_SHAPE_TEXT];
    cohort_flow side = *flow;
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    layer->in_count = cohort_shape_count(&flow->shape);
    if (config->shortcut.count) {
        COHORT_TRY(cohort_plan_sequence(planner, &layer->layers, &config->layers, "", flow));
        COHORT_TRY(
            cohort_plan_sequence(planner, &layer->shortcut, &config->shortcut, "shortcut", &side));
    } else {
        COHORT_TRY(cohort_plan_sum(&layer->sum, planner, &layer->layers, &config->layers,
                                   layer->relu, flow));
    }
    COHORT_REQUIRE(cohort_shape_equal(&flow->shape, &side.shape), COHORT_USAGE,
                   "line %d: %s: residual adds the layers' output %s to the shortcut's %s; %s",
                   base->line, base->path, cohort_shape_text(text, &flow->shape),
                   cohort_shape_text(other, &side.shape),
                   config->shortcut.count
                       ? "make both end in the same shape"
                       : "give it a `shortcut` that ends in the same shape, such as a conv2d "
                         "with kernel 1 or a dense");
    flow->masked = flow->masked && side.masked;
    layer->out_count = cohort_shape_count(&flow->shape);
    if (layer->relu)
        cohort_plan_keep_output(planner);
    return COHORT_OK;
}

static void residual_forward(cohort_layer *base, const cohort_pass *pass)
{
    const residual_layer *layer = (const residual_layer *)base;
    const size_t count = pass->batch * layer->out_count;
    const real *side = base->x;
    cohort_sequence_forward(layer->layers, pass);
    if (layer->sum.is_summed)
        return;
    if (layer->shortcut) {
        cohort_sequence_forward(layer->shortcut, pass);
        side = cohort_sequence_output(layer->shortcut);
    }
    if (layer->relu)
        cohort_vector_relu_of_sum(base->y, cohort_sequence_output(layer->layers), side, count);
    else
        cohort_vector_sum_of(base->y, cohort_sequence_output(layer->layers), side, count);
}

/* Layers may use their dy as scratch, so each list that is not summed gets a copy. */
static void copy_gradient(cohort_sequence *sequence, const real *dy, size_t count)
{
    real *gradient = cohort_sequence_output_grad(sequence);
    if (gradient && count)
        memcpy(gradient, dy, count * sizeof *gradient);
}

/* What the layers get, and dy becomes, before relu. */
static void take_gradient(const residual_layer *layer, size_t count)
{
    const cohort_layer *base = &layer->base;
    real *gradient = cohort_sequence_output_grad(layer->layers);
    if (!layer->relu)
        copy_gradient(layer->layers, base->dy, count);
    else if (gradient)
        cohort_vector_relu_gradients(gradient, base->dy, base->y, count);
    else
        cohort_activation_backward(COHORT_RELU, 0, base->dy, base->dy, base->y, 1, count);
}

static void residual_backward(cohort_layer *base, const cohort_pass *pass)
{
    const residual_layer *layer = (const residual_layer *)base;
    const size_t out_count = pass->batch * layer->out_count;
    const real *side = base->dy;
    if (!layer->sum.is_summed)
        take_gradient(layer, out_count);
    if (layer->shortcut) {
        copy_gradient(layer->shortcut, base->dy, out_count);
        cohort_sequence_backward(layer->shortcut, pass);
        side = cohort_sequence_input_grad(layer->shortcut);
    }
    cohort_sequence_backward(layer->layers, pass);
    if (base->dx && !layer->sum.is_back_summed)
        cohort_vector_sum_of(base->dx, cohort_sequence_input_grad(layer->layers), side,
                             pass->batch * layer->in_count);
}

static const cohort_key residual_keys[] = {
    {.name = "layers",
     .type = COHORT_KEY_VARIANTS,
     .offset = offsetof(residual_config, layers),
     .required = true,
     .help = "what is added to the shortcut, a list as `model`"},
    {.name = "shortcut",
     .type = COHORT_KEY_VARIANTS,
     .offset = offsetof(residual_config, shortcut),
     .help = "layers on the other way round; absent or `identity`: the input itself"},
    COHORT_KEY_NAME(residual_config),
};

const cohort_layer_type cohort_layer_residual = {
    .keys = {.name = "residual",
             .help = "layers(x) + shortcut(x)",
             .config_bytes = sizeof(residual_config),
             .keys = residual_keys,
             .key_count = sizeof residual_keys / sizeof *residual_keys},
    .layer_bytes = sizeof(residual_layer),
    .plan = residual_plan,
    .absorb = residual_absorb,
    .forward = residual_forward,
    .backward = residual_backward,
};
