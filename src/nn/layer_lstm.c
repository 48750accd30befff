/* lstm: long short-term memory over [time][features], as Keras's LSTM: sigmoid gates, tanh,
 * forget bias 1, `kernel` glorot_uniform (key `init`), `recurrent_kernel` orthogonal.
 *
 * y is the last state [units], or with `return_sequences` every state [time][units]; a
 * bidirectional one puts the states of the direction that reads from the end behind
 * them ([2 units]). Padding of a masked sequence is skipped: a masked step repeats the
 * state before it. `dropout` and `recurrent_dropout` draw one mask per sample and
 * direction for all steps (Gal and Ghahramani 2016). */
#include "base/rng.h"
#include "kernel/dropout.h"
#include "kernel/lstm.h"
#include "nn/layer_check.h"

enum { DIRECTIONS = 2 };

typedef struct lstm_config {
    cohort_layer_common common;
    size_t units;
    bool bidirectional, return_sequences;
    double dropout, recurrent_dropout;
} lstm_config;

typedef struct direction {
    cohort_param kernel, recurrent, bias;
    real *gates, *cells, *states; /* kept, see cohort_lstm */
    real *in_scale, *state_scale; /* kept dropout factors, or NULL */
} direction;

typedef struct lstm_layer {
    cohort_layer base;
    direction directions[DIRECTIONS];
    size_t direction_count, time, in, units;
    bool every_step;
    double in_rate, state_rate;
    bool dropped; /* by the latest forward */
    bool masked;
    real *forward_work, *backward_work;
    uint8_t *keep; /* scratch of forward [in + units] */
} lstm_layer;

static cohort_status plan_params(lstm_layer *layer, direction *d, cohort_planner *planner,
                                 const char *const names[3])
{
    const lstm_config *config = layer->base.config;
    const size_t in = layer->in, units = layer->units, all = 4 * units;
    const cohort_shape kernel = cohort_shape_of(in, all), recurrent = cohort_shape_of(units, all);
    const cohort_shape bias = cohort_shape_of(all);
    COHORT_TRY(cohort_plan_param(planner, &d->kernel, names[0], &kernel, &config->common.init, 0,
                                 in, all, COHORT_PARAM_DECAYS));
    COHORT_TRY(cohort_plan_param(planner, &d->recurrent, names[1], &recurrent,
                                 &cohort_init_orthogonal, 0, units, all, COHORT_PARAM_DECAYS));
    return cohort_plan_param(planner, &d->bias, names[2], &bias, &cohort_init_forget_bias, 0, 0,
                             all, 0);
}

static cohort_status plan_buffers(lstm_layer *layer, direction *d, cohort_planner *planner)
{
    const size_t batch = cohort_plan_batch(planner), units = layer->units;
    const size_t rows = batch * layer->time;
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&d->gates, rows, 4 * units * sizeof(real),
                                  COHORT_LIVE_KEPT));
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&d->cells, rows, units * sizeof(real),
                                  COHORT_LIVE_KEPT));
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&d->states, rows, units * sizeof(real),
                                  COHORT_LIVE_KEPT));
    if (!cohort_plan_is_training(planner))
        return COHORT_OK;
    if (layer->in_rate > 0)
        COHORT_TRY(cohort_plan_buffer(planner, (void **)&d->in_scale, batch * layer->in,
                                      sizeof(real), COHORT_LIVE_KEPT));
    if (layer->state_rate > 0)
        COHORT_TRY(cohort_plan_buffer(planner, (void **)&d->state_scale, batch * units,
                                      sizeof(real), COHORT_LIVE_KEPT));
    return COHORT_OK;
}

static cohort_status lstm_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    static const char *const names[] = {"kernel", "recurrent_kernel", "bias"};
    static const char *const both_names[DIRECTIONS][3] = {
        {"forward/kernel", "forward/recurrent_kernel", "forward/bias"},
        {"backward/kernel", "backward/recurrent_kernel", "backward/bias"}};
    lstm_layer *layer = (lstm_layer *)base;
    const lstm_config *config = base->config;
    COHORT_TRY(cohort_layer_require_sequence(base, flow));
    layer->time = flow->shape.dims[0];
    layer->in = flow->shape.dims[1];
    layer->units = config->units;
    layer->every_step = config->return_sequences;
    layer->in_rate = config->dropout;
    layer->state_rate = config->recurrent_dropout;
    layer->masked = flow->masked;
    layer->direction_count = config->bidirectional ? DIRECTIONS : 1;
    for (size_t i = 0; i < layer->direction_count; i++) {
        direction *d = &layer->directions[i];
        COHORT_TRY(plan_params(layer, d, planner, config->bidirectional ? both_names[i] : names));
        COHORT_TRY(plan_buffers(layer, d, planner));
    }
    const size_t work =
        cohort_lstm_work_count(cohort_plan_batch(planner), layer->time, layer->in, layer->units);
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->forward_work, work, sizeof(real),
                                  COHORT_LIVE_FORWARD));
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->backward_work, work, sizeof(real),
                                  COHORT_LIVE_BACKWARD));
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->keep, layer->in + layer->units, 1,
                                  COHORT_LIVE_FORWARD));
    if (cohort_plan_is_training(planner))
        cohort_plan_keep_input(planner);
    const size_t width = layer->direction_count * layer->units;
    *flow = (cohort_flow){.shape = layer->every_step ? cohort_shape_of(layer->time, width)
                                                     : cohort_shape_of(width),
                          .masked = layer->every_step && flow->masked};
    return COHORT_OK;
}

static void fill_scales(real *scale, const uint8_t *keep, double rate, size_t count)
{
    const real factor = (real)(1 / (1 - rate));
    for (size_t i = 0; i < count; i++)
        scale[i] = keep[i] ? factor : 0;
}

/* Draws the masks of every sample; direction I takes the I-th item of its stream. */
static void draw_dropout(const lstm_layer *layer, const cohort_pass *pass)
{
    const size_t in = layer->in, units = layer->units;
    for (size_t i = 0; i < layer->direction_count; i++)
        for (size_t b = 0; b < pass->batch; b++) {
            const direction *d = &layer->directions[i];
            cohort_rng stream = cohort_rng_make(pass->seed, COHORT_RNG_DROPOUT, layer->base.index,
                                                pass->step, pass->samples[b]);
            stream.counter[0] = (uint32_t)(i << 31);
            if (d->in_scale) {
                cohort_dropout_draw(layer->keep, &stream, layer->in_rate, in);
                fill_scales(d->in_scale + b * in, layer->keep, layer->in_rate, in);
            }
            stream.counter[0] |= (uint32_t)1 << 30;
            if (d->state_scale) {
                cohort_dropout_draw(layer->keep, &stream, layer->state_rate, units);
                fill_scales(d->state_scale + b * units, layer->keep, layer->state_rate, units);
            }
        }
}

static cohort_lstm direction_lstm(const lstm_layer *layer, const cohort_pass *pass, size_t index,
                                  real *work)
{
    const direction *d = &layer->directions[index];
    return (cohort_lstm){
        .batch = pass->batch,
        .time = layer->time,
        .in = layer->in,
        .units = layer->units,
        .reverse = index == 1,
        .every_step = layer->every_step,
        .stride = layer->direction_count * layer->units,
        .kernel = d->kernel.value,
        .recurrent = d->recurrent.value,
        .bias = d->bias.value,
        .x = layer->base.x,
        .mask = layer->masked ? pass->mask : NULL,
        .in_scale = layer->dropped ? d->in_scale : NULL,
        .state_scale = layer->dropped ? d->state_scale : NULL,
        .gates = d->gates,
        .cells = d->cells,
        .states = d->states,
        .work = work,
    };
}

static void lstm_forward(cohort_layer *base, const cohort_pass *pass)
{
    lstm_layer *layer = (lstm_layer *)base;
    layer->dropped = pass->training;
    if (layer->dropped)
        draw_dropout(layer, pass);
    for (size_t i = 0; i < layer->direction_count; i++) {
        const cohort_lstm lstm = direction_lstm(layer, pass, i, layer->forward_work);
        cohort_lstm_forward(base->y + i * layer->units, &lstm);
    }
}

static void lstm_backward(cohort_layer *base, const cohort_pass *pass)
{
    const lstm_layer *layer = (const lstm_layer *)base;
    for (size_t i = 0; i < layer->direction_count; i++) {
        const direction *d = &layer->directions[i];
        const cohort_lstm lstm = direction_lstm(layer, pass, i, layer->backward_work);
        const cohort_lstm_grads grads = {
            .dy = base->dy + i * layer->units,
            .dx = base->dx,
            .add_dx = i > 0,
            .kernel = d->kernel.grad,
            .recurrent = d->recurrent.grad,
            .bias = d->bias.grad,
            .accumulate = pass->accumulate,
        };
        cohort_lstm_backward(&grads, &lstm);
    }
}

#define RATE_KEY(key, member, text)                                                                \
    {                                                                                              \
        .name = key, .type = COHORT_KEY_REAL, .offset = offsetof(lstm_config, member), .min = 0,   \
        .max = 1, .open_max = true, .fallback = "0", .help = text                                  \
    }

static const cohort_key lstm_keys[] = {
    {.name = "units",
     .type = COHORT_KEY_COUNT,
     .offset = offsetof(lstm_config, units),
     .min = 1,
     .max = 1e8,
     .required = true,
     .help = "width of the state"},
    {.name = "bidirectional",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(lstm_config, bidirectional),
     .fallback = "false",
     .help = "a second one reads from the end; outputs side by side"},
    {.name = "return_sequences",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(lstm_config, return_sequences),
     .fallback = "false",
     .help = "the state at every step, not the last one"},
    RATE_KEY("dropout", dropout, "of the inputs, the same ones at every step"),
    RATE_KEY("recurrent_dropout", recurrent_dropout,
             "of the state between steps, the same ones at every step"),
    COHORT_KEY_NAME(lstm_config),
    COHORT_KEY_INIT(lstm_config),
};

const cohort_layer_type cohort_layer_lstm = {
    .keys = {.name = "lstm",
             .help = "long short-term memory over a sequence",
             .config_bytes = sizeof(lstm_config),
             .main_key = "units",
             .keys = lstm_keys,
             .key_count = sizeof lstm_keys / sizeof *lstm_keys},
    .layer_bytes = sizeof(lstm_layer),
    .plan = lstm_plan,
    .forward = lstm_forward,
    .backward = lstm_backward,
};
