/* Convolution of images, as Keras's Conv2D: y = activation(x * kernel + bias).
 *
 * x [batch][height][width][in], kernel [kh][kw][in][filters], bias [filters], starts
 * at 0. Padding as in TensorFlow (an odd zero goes to the bottom and the right). A max_pool2d
 * behind it is computed here, from images in cache that are not kept. */
#include "kernel/activation.h"
#include "kernel/conv.h"
#include "nn/layer_image.h"

extern const cohort_layer_type cohort_layer_max_pool2d;

typedef struct conv2d_config {
    cohort_layer_common common;
    size_t filters;
    size_t kernel[2], strides[2];
    int padding, activation;
    bool bias;
} conv2d_config;

typedef struct conv2d_layer {
    cohort_layer base;
    cohort_param kernel, bias;
    cohort_conv *conv;
    cohort_activation activation; /* applied here; linear when the kernel applies it */
    size_t pixels, filters;       /* of an output sample */
    const cohort_variant *pool;   /* absorbed; NULL if none */
    uint16_t *winners;            /* of the pool, kept */
    real *preactivation;          /* kept, where the derivative is taken from it */
    real *forward_scratch, *backward_scratch;
} conv2d_layer;

static cohort_status conv2d_plan_params(conv2d_layer *layer, cohort_planner *planner,
                                        const cohort_conv_shape *shape)
{
    const conv2d_config *config = layer->base.config;
    const size_t taps = shape->window.height * shape->window.width;
    const cohort_shape kernel = cohort_shape_of(shape->window.height, shape->window.width,
                                                shape->in_channels, shape->out_channels);
    const cohort_shape bias = cohort_shape_of(shape->out_channels);
    COHORT_TRY(cohort_plan_param(planner, &layer->kernel, "kernel", &kernel, &config->common.init,
                                 0, taps * shape->in_channels, taps * shape->out_channels,
                                 COHORT_PARAM_DECAYS));
    if (config->bias)
        COHORT_TRY(cohort_plan_param(planner, &layer->bias, "bias", &bias, NULL, 0, 0, 0, 0));
    return COHORT_OK;
}

static cohort_status conv2d_plan_memory(conv2d_layer *layer, cohort_planner *planner)
{
    const bool training = cohort_plan_is_training(planner);
    if (training) {
        cohort_plan_keep_input(planner);
        if (cohort_activation_needs_input(layer->activation))
            COHORT_TRY(
                cohort_plan_buffer(planner, (void **)&layer->preactivation,
                                   cohort_plan_batch(planner) * layer->pixels * layer->filters,
                                   sizeof(real), COHORT_LIVE_KEPT));
        else if (((const conv2d_config *)layer->base.config)->activation != COHORT_LINEAR)
            cohort_plan_keep_output(planner);
        COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->backward_scratch,
                                      cohort_conv_backward_scratch(layer->conv), sizeof(real),
                                      COHORT_LIVE_BACKWARD));
    }
    return cohort_plan_buffer(planner, (void **)&layer->forward_scratch,
                              cohort_conv_forward_scratch(layer->conv), sizeof(real),
                              COHORT_LIVE_FORWARD);
}

static bool conv2d_absorb(cohort_layer *base, const cohort_variant *next)
{
    const conv2d_config *config = base->config;
    const bool in_kernel = config->activation == COHORT_RELU || config->activation == COHORT_LINEAR;
    ((conv2d_layer *)base)->pool =
        in_kernel && next->table == &cohort_layer_max_pool2d.keys ? next : NULL;
    return ((conv2d_layer *)base)->pool != NULL;
}

/* A pool that does not fit is refused by its own plan. */
static cohort_status conv2d_plan_pool(conv2d_layer *layer, cohort_planner *planner,
                                      cohort_conv_shape *shape)
{
    const cohort_window *w = &shape->window;
    if (!layer->pool ||
        !cohort_layer_max_pool_window(&shape->pool, layer->pool, w->out_height, w->out_width)) {
        shape->pool = (cohort_window){0};
        return COHORT_OK;
    }
    const cohort_shape kept =
        cohort_shape_of(shape->pool.out_height, shape->pool.out_width, shape->out_channels);
    cohort_plan_output(planner, &kept);
    if (!cohort_plan_is_training(planner))
        return COHORT_OK;
    return cohort_plan_buffer(planner, (void **)&layer->winners,
                              cohort_plan_batch(planner) * cohort_shape_count(&kept),
                              sizeof *layer->winners, COHORT_LIVE_KEPT);
}

static cohort_status conv2d_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    conv2d_layer *layer = (conv2d_layer *)base;
    const conv2d_config *config = base->config;
    cohort_conv_shape shape = {.out_channels = config->filters,
                               .relu = config->activation == COHORT_RELU,
                               .bf16 = cohort_plan_takes_bf16(planner)};
    COHORT_TRY(cohort_layer_plan_window(&shape.window, base, flow, config->kernel, config->strides,
                                        config->padding));
    shape.in_channels = flow->shape.dims[2];
    flow->shape.dims[2] = config->filters;
    layer->activation = shape.relu ? COHORT_LINEAR : (cohort_activation)config->activation;
    layer->pixels = shape.window.out_height * shape.window.out_width;
    layer->filters = config->filters;
    COHORT_TRY(conv2d_plan_pool(layer, planner, &shape));
    COHORT_TRY(conv2d_plan_params(layer, planner, &shape));
    COHORT_TRY(cohort_conv_create(&layer->conv, &shape, cohort_plan_batch(planner),
                                  cohort_plan_is_training(planner), cohort_plan_needs_dx(planner)));
    return conv2d_plan_memory(layer, planner);
}

static void conv2d_forward(cohort_layer *base, const cohort_pass *pass)
{
    const conv2d_layer *layer = (const conv2d_layer *)base;
    real *z = layer->preactivation ? layer->preactivation : base->y;
    cohort_conv_forward(layer->conv, z, layer->winners, base->x, layer->kernel.value,
                        layer->bias.value, pass->batch, layer->forward_scratch);
    if (layer->activation != COHORT_LINEAR)
        cohort_activation_forward(layer->activation, REAL(COHORT_LEAKY_SLOPE), base->y, z,
                                  pass->batch * layer->pixels, layer->filters);
}

static void conv2d_backward(cohort_layer *base, const cohort_pass *pass)
{
    const conv2d_layer *layer = (const conv2d_layer *)base;
    if (layer->activation != COHORT_LINEAR)
        cohort_activation_backward(layer->activation, REAL(COHORT_LEAKY_SLOPE), base->dy, base->dy,
                                   layer->preactivation ? layer->preactivation : base->y,
                                   pass->batch * layer->pixels, layer->filters);
    const cohort_conv_grads grads = {.kernel = layer->kernel.grad,
                                     .bias = layer->bias.grad,
                                     .x = base->dx,
                                     .add = pass->accumulate};
    cohort_conv_backward(layer->conv, &grads, base->dy, base->x, base->y, layer->winners,
                         layer->kernel.value, pass->batch, layer->backward_scratch);
}

static void conv2d_destroy(cohort_layer *base)
{
    cohort_conv_destroy(((conv2d_layer *)base)->conv);
}

/* " forward direct 12.1 us (gemm 25.0, dnnl 13.9)" for one direction, per sample. */
static void report_direction(cohort_text *report, const char *name, const double *seconds,
                             cohort_conv_way taken)
{
    const char *before = " (";
    cohort_text_append(report, "%s %s %.1f us", name, cohort_conv_way_name(taken),
                       1e6 * seconds[taken]);
    for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++) {
        if (way == (int)taken || seconds[way] == 0)
            continue;
        cohort_text_append(report, "%s%s %.1f", before, cohort_conv_way_name((cohort_conv_way)way),
                           1e6 * seconds[way]);
        before = ", ";
    }
    cohort_text_append(report, "%s", *before == ',' ? ")" : "");
}

static cohort_status conv2d_tune(cohort_layer *base, double seconds, double gain,
                                 cohort_text *report)
{
    static const char *const names[] = {[COHORT_CONV_FORWARD] = " forward",
                                        [COHORT_CONV_DATA] = ", dx",
                                        [COHORT_CONV_WEIGHTS] = ", weights"};
    cohort_conv *conv = ((conv2d_layer *)base)->conv;
    cohort_conv_times times;
    COHORT_TRY(cohort_conv_tune(conv, seconds, gain, &times));
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_way taken =
            cohort_conv_choice_way(cohort_conv_choice(conv), (cohort_conv_direction)d);
        if (times.seconds[d][taken] > 0)
            report_direction(report, names[d], times.seconds[d], taken);
    }
    return COHORT_OK;
}

static bool conv2d_is_alike(const cohort_layer *a, const cohort_layer *b)
{
    return cohort_conv_is_alike(((const conv2d_layer *)a)->conv, ((const conv2d_layer *)b)->conv);
}

static unsigned conv2d_choice(const cohort_layer *base)
{
    return cohort_conv_choice(((const conv2d_layer *)base)->conv);
}

static void conv2d_choose(cohort_layer *base, unsigned choice)
{
    cohort_conv_choose(((conv2d_layer *)base)->conv, choice);
}

static const cohort_layer_ways conv2d_ways = {
    .tune = conv2d_tune,
    .is_alike = conv2d_is_alike,
    .choice = conv2d_choice,
    .choose = conv2d_choose,
    .write = cohort_conv_write_choice,
    .read = cohort_conv_read_choice,
};

static const cohort_key conv2d_keys[] = {
    {.name = "filters",
     .type = COHORT_KEY_COUNT,
     .offset = offsetof(conv2d_config, filters),
     .min = 1,
     .max = 1e6,
     .required = true,
     .help = "output channels"},
    {.name = "kernel",
     .type = COHORT_KEY_PAIR,
     .offset = offsetof(conv2d_config, kernel),
     .min = 1,
     .max = 1e4,
     .required = true,
     .help = "pixels of the window: a number or [height, width]"},
    {.name = "strides",
     .type = COHORT_KEY_PAIR,
     .offset = offsetof(conv2d_config, strides),
     .min = 1,
     .max = 1e4,
     .fallback = "1",
     .help = "pixels from window to window"},
    {.name = "padding",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(conv2d_config, padding),
     .fallback = "valid",
     .choices = cohort_padding_names,
     .help = "same: zeros around the image, so that strides 1 keep its size"},
    {.name = "activation",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(conv2d_config, activation),
     .fallback = "linear",
     .choices = cohort_activation_names,
     .help = "applied to the sum; leaky_relu with slope 0.3"},
    {.name = "bias",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(conv2d_config, bias),
     .fallback = "true",
     .help = "whether a bias is added"},
    COHORT_KEY_NAME(conv2d_config),
    COHORT_KEY_INIT(conv2d_config),
};

const cohort_layer_type cohort_layer_conv2d = {
    .keys = {.name = "conv2d",
             .help = "convolution of images [height][width][channels]",
             .config_bytes = sizeof(conv2d_config),
             .keys = conv2d_keys,
             .key_count = sizeof conv2d_keys / sizeof *conv2d_keys},
    .layer_bytes = sizeof(conv2d_layer),
    .plan = conv2d_plan,
    .absorb = conv2d_absorb,
    .forward = conv2d_forward,
    .backward = conv2d_backward,
    .destroy = conv2d_destroy,
    .ways = &conv2d_ways,
};
