/* Dropout (Srivastava et al. 2014), inverted: in training each value is set to 0 with
 * probability `rate`, else divided by 1 - rate; otherwise the output is the input.
 *
 * Which values go is a function of (seed, layer, step, sample, element), not of the rank
 * or the microbatch. */
#include <string.h>

#include "base/rng.h"
#include "kernel/dropout.h"
#include "nn/layer_check.h"

typedef struct dropout_config {
    cohort_layer_common common;
    double rate;
} dropout_config;

typedef struct dropout_layer {
    cohort_layer base;
    uint8_t *keep; /* [batch][count] */
    size_t count;  /* elements of a sample */
    double rate;
    bool dropped; /* by the latest forward */
} dropout_layer;

static cohort_status dropout_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    dropout_layer *layer = (dropout_layer *)base;
    const dropout_config *config = base->config;
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    layer->rate = config->rate;
    layer->count = cohort_shape_count(&flow->shape);
    if (layer->rate == 0 || !cohort_plan_is_training(planner)) {
        cohort_plan_alias(planner);
        return COHORT_OK;
    }
    cohort_plan_row_by_row(planner);
    return cohort_plan_buffer(planner, (void **)&layer->keep,
                              cohort_plan_batch(planner) * layer->count, 1, COHORT_LIVE_KEPT);
}

static real factor(const dropout_layer *layer)
{
    return (real)(1 / (1 - layer->rate));
}

static void dropout_forward(cohort_layer *base, const cohort_pass *pass)
{
    dropout_layer *layer = (dropout_layer *)base;
    layer->dropped = pass->training;
    if (!pass->training) {
        memcpy(base->y, base->x, pass->batch * layer->count * sizeof *base->y);
        cohort_layer_add_side(base, 0, pass->batch * layer->count);
        return;
    }
    for (size_t sample = 0; sample < pass->batch; sample++) {
        const size_t offset = sample * layer->count;
        cohort_rng stream = cohort_rng_make(pass->seed, COHORT_RNG_DROPOUT, base->index, pass->step,
                                            pass->samples[sample]);
        cohort_dropout_draw(layer->keep + offset, &stream, layer->rate, layer->count);
        cohort_dropout_apply(base->y + offset, base->x + offset, layer->keep + offset,
                             factor(layer), layer->count);
        cohort_layer_add_side(base, offset, layer->count);
    }
}

static void dropout_backward(cohort_layer *base, const cohort_pass *pass)
{
    const dropout_layer *layer = (const dropout_layer *)base;
    const size_t count = pass->batch * layer->count;
    if (!base->dx)
        return;
    if (layer->dropped)
        cohort_dropout_apply(base->dx, base->dy, layer->keep, factor(layer), count);
    else
        memcpy(base->dx, base->dy, count * sizeof *base->dx);
}

static bool dropout_takes_side(const cohort_layer *base, bool relu)
{
    (void)base;
    return !relu;
}

static const cohort_key dropout_keys[] = {
    {.name = "rate",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(dropout_config, rate),
     .min = 0,
     .max = 1,
     .open_max = true,
     .required = true,
     .help = "the share of values set to 0 in training"},
    COHORT_KEY_NAME(dropout_config),
};

const cohort_layer_type cohort_layer_dropout = {
    .keys = {.name = "dropout",
             .help = "sets random values to 0 in training, scales the others by 1 / (1 - rate)",
             .config_bytes = sizeof(dropout_config),
             .main_key = "rate",
             .keys = dropout_keys,
             .key_count = sizeof dropout_keys / sizeof *dropout_keys},
    .layer_bytes = sizeof(dropout_layer),
    .plan = dropout_plan,
    .forward = dropout_forward,
    .backward = dropout_backward,
    .takes_side = dropout_takes_side,
};
