/* Batch normalisation (Ioffe and Szegedy 2015) over all axes but the last, as Keras's
 * BatchNormalization: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta.
 *
 * In training mean and variance (biased, divided by the count) are the batch's: with `sync`
 * those of the whole global batch, through pass->sum in forward and in backward, else of
 * the microbatch at hand. moving <- moving * momentum + batch * (1 - momentum), with the
 * biased variance, as in Keras 3; without `sync` the batch values that enter are the means
 * over the ranks, so that all keep the same state. Otherwise, and when the layer is frozen,
 * the moving values are used.
 *
 * A `relu` right after it, or the sum of a residual that it ends, is done in the same pass.
 *
 * x, y [batch][…][channels]; gamma (starts 1), beta (0), moving_mean (0), moving_variance
 * (1): [channels]. */
#include <math.h>

#include "kernel/norm.h"
#include "nn/layer_check.h"

extern const cohort_layer_type cohort_layer_relu;

typedef struct batch_norm_config {
    cohort_layer_common common;
    double momentum, epsilon;
    bool sync;
} batch_norm_config;

typedef struct batch_norm_layer {
    cohort_layer base;
    cohort_param gamma, beta;
    real *moving_mean, *moving_variance;
    size_t rows, width;           /* of a sample */
    double *sums, *gradient_sums; /* [2 * width + 1] */
    real *mean, *inverse;         /* kept [width] of the latest forward */
    real *scale, *a, *b, *c;      /* [width] */
    double count;                 /* rows that mean and variance are of */
    bool used_batch;              /* the latest forward took them from the batch */
    bool relu;                    /* follows, and is done here */
} batch_norm_layer;

static cohort_status book_buffers(batch_norm_layer *layer, cohort_planner *planner)
{
    const size_t width = layer->width;
    const struct {
        void **where;
        size_t count, bytes;
        cohort_lifetime lifetime;
    } buffers[] = {
        {(void **)&layer->sums, 2 * width + 1, sizeof(double), COHORT_LIVE_FORWARD},
        {(void **)&layer->scale, width, sizeof(real), COHORT_LIVE_FORWARD},
        {(void **)&layer->mean, width, sizeof(real), COHORT_LIVE_KEPT},
        {(void **)&layer->inverse, width, sizeof(real), COHORT_LIVE_KEPT},
        {(void **)&layer->gradient_sums, 2 * width + 1, sizeof(double), COHORT_LIVE_BACKWARD},
        {(void **)&layer->a, width, sizeof(real), COHORT_LIVE_BACKWARD},
        {(void **)&layer->b, width, sizeof(real), COHORT_LIVE_BACKWARD},
        {(void **)&layer->c, width, sizeof(real), COHORT_LIVE_BACKWARD},
    };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        COHORT_TRY(cohort_plan_buffer(planner, buffers[i].where, buffers[i].count, buffers[i].bytes,
                                      buffers[i].lifetime));
    return COHORT_OK;
}

static bool batch_norm_absorb(cohort_layer *base, const cohort_variant *next)
{
    batch_norm_layer *layer = (batch_norm_layer *)base;
    layer->relu = next->table == &cohort_layer_relu.keys;
    return layer->relu;
}

static cohort_status batch_norm_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    batch_norm_layer *layer = (batch_norm_layer *)base;
    const batch_norm_config *config = base->config;
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    layer->width = flow->shape.dims[flow->shape.dim_count - 1];
    layer->rows = cohort_shape_count(&flow->shape) / layer->width;
    const cohort_shape shape = cohort_shape_of(layer->width);
    COHORT_TRY(cohort_plan_param(planner, &layer->gamma, "gamma", &shape, NULL, 1, 0, 0, 0));
    COHORT_TRY(cohort_plan_param(planner, &layer->beta, "beta", &shape, NULL, 0, 0, 0, 0));
    COHORT_TRY(cohort_plan_state(planner, &layer->moving_mean, "moving_mean", &shape, 0));
    COHORT_TRY(cohort_plan_state(planner, &layer->moving_variance, "moving_variance", &shape, 1));
    COHORT_TRY(book_buffers(layer, planner));
    cohort_plan_keep_input(planner);
    if (layer->relu)
        cohort_plan_keep_output(planner);
    cohort_plan_uses_sum(planner, config->sync);
    return COHORT_OK;
}

/* Mean and variance from SUMS of x - moving_mean, of its squares, and the count. */
static void set_moments(batch_norm_layer *layer, double epsilon)
{
    const size_t width = layer->width;
    layer->count = layer->sums[2 * width];
    const double inverse_count = layer->count > 0 ? 1 / layer->count : 0;
    for (size_t j = 0; j < width; j++) {
        const double shift = layer->sums[j] * inverse_count;
        double variance = layer->sums[width + j] * inverse_count - shift * shift;
        if (variance < 0) /* by rounding; a NaN stays one */
            variance = 0;
        layer->mean[j] = (real)((double)layer->moving_mean[j] + shift);
        layer->inverse[j] = (real)(1 / sqrt(variance + epsilon));
        layer->sums[j] = shift;
        layer->sums[width + j] = variance;
    }
}

/* SUMS hold mean - moving_mean and variance. Without `sync` each rank's enter with the
 * weight of its rows. */
static void update_moving(batch_norm_layer *layer, const cohort_pass *pass)
{
    const batch_norm_config *config = layer->base.config;
    const size_t width = layer->width;
    double *sums = layer->sums;
    if (!config->sync && pass->sum) {
        for (size_t j = 0; j < 2 * width; j++)
            sums[j] *= layer->count;
        pass->sum(pass->sum_context, sums, 2 * width + 1);
        for (size_t j = 0; j < 2 * width && sums[2 * width] > 0; j++)
            sums[j] /= sums[2 * width];
    }
    if (sums[2 * width] == 0)
        return;
    const double share = 1 - config->momentum;
    for (size_t j = 0; j < width; j++) {
        const double variance = (double)layer->moving_variance[j];
        layer->moving_mean[j] = (real)((double)layer->moving_mean[j] + share * sums[j]);
        layer->moving_variance[j] = (real)(variance + share * (sums[width + j] - variance));
    }
}

static void take_batch_moments(batch_norm_layer *layer, const cohort_pass *pass)
{
    const batch_norm_config *config = layer->base.config;
    const size_t width = layer->width, rows = pass->batch * layer->rows;
    cohort_norm_moments(layer->sums, layer->base.x, layer->moving_mean, rows, width);
    layer->sums[2 * width] = (double)rows;
    if (config->sync && pass->sum)
        pass->sum(pass->sum_context, layer->sums, 2 * width + 1);
    set_moments(layer, config->epsilon);
    update_moving(layer, pass);
}

static void take_moving_moments(batch_norm_layer *layer)
{
    const batch_norm_config *config = layer->base.config;
    for (size_t j = 0; j < layer->width; j++) {
        layer->mean[j] = layer->moving_mean[j];
        layer->inverse[j] = (real)(1 / sqrt((double)layer->moving_variance[j] + config->epsilon));
    }
}

/* Whether y is the positive part. */
static bool has_relu(const batch_norm_layer *layer)
{
    return layer->relu || layer->base.side.relu;
}

static void batch_norm_forward(cohort_layer *base, const cohort_pass *pass)
{
    batch_norm_layer *layer = (batch_norm_layer *)base;
    layer->used_batch = pass->training && layer->gamma.grad;
    if (layer->used_batch)
        take_batch_moments(layer, pass);
    else
        take_moving_moments(layer);
    for (size_t j = 0; j < layer->width; j++)
        layer->scale[j] = layer->inverse[j] * layer->gamma.value[j];
    cohort_norm_apply(base->y, base->x, layer->mean, layer->scale, layer->beta.value,
                      base->side.value, has_relu(layer), pass->batch * layer->rows, layer->width);
}

/* dgamma = sum(dy n), dbeta = sum(dy), n = (x - mean) inverse: this rank's part. */
static void set_weight_gradients(batch_norm_layer *layer, bool accumulate)
{
    const size_t width = layer->width;
    for (size_t j = 0; j < width; j++) {
        const double products = layer->gradient_sums[width + j] * (double)layer->inverse[j];
        const double gamma = accumulate ? (double)layer->gamma.grad[j] : 0;
        const double beta = accumulate ? (double)layer->beta.grad[j] : 0;
        layer->gamma.grad[j] = (real)(gamma + products);
        layer->beta.grad[j] = (real)(beta + layer->gradient_sums[j]);
    }
}

/* dx = gamma inverse (dy - mean(dy) - n mean(dy n)) = a dy + b (x - mean) + c, the means
 * over the rows that gave mean and variance; b = c = 0 where these are constants. */
static void set_factors(batch_norm_layer *layer)
{
    const size_t width = layer->width;
    for (size_t j = 0; j < width; j++) {
        layer->a[j] = layer->gamma.value[j] * layer->inverse[j];
        layer->b[j] = layer->c[j] = 0;
        if (!layer->used_batch || layer->count == 0)
            continue;
        const double inverse = (double)layer->inverse[j];
        const double scale = (double)layer->gamma.value[j] * inverse / layer->count;
        layer->b[j] = (real)(-scale * inverse * inverse * layer->gradient_sums[width + j]);
        layer->c[j] = (real)(-scale * layer->gradient_sums[j]);
    }
}

static void batch_norm_backward(cohort_layer *base, const cohort_pass *pass)
{
    batch_norm_layer *layer = (batch_norm_layer *)base;
    const batch_norm_config *config = base->config;
    const size_t width = layer->width, rows = pass->batch * layer->rows;
    if (layer->gamma.grad || has_relu(layer))
        cohort_norm_gradient_sums(layer->gradient_sums, base->dy, has_relu(layer) ? base->y : NULL,
                                  base->x, layer->mean, rows, width);
    if (layer->gamma.grad) {
        set_weight_gradients(layer, pass->accumulate);
        if (layer->used_batch && config->sync && pass->sum)
            pass->sum(pass->sum_context, layer->gradient_sums, 2 * width);
    }
    if (!base->dx)
        return;
    set_factors(layer);
    cohort_norm_gradient(base->dx, base->dy, base->x, layer->mean, layer->a, layer->b, layer->c,
                         rows, width);
}

static bool batch_norm_takes_side(const cohort_layer *base, bool relu)
{
    (void)relu;
    return !((const batch_norm_layer *)base)->relu;
}

static const cohort_key batch_norm_keys[] = {
    {.name = "momentum",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(batch_norm_config, momentum),
     .min = 0,
     .max = 1,
     .fallback = "0.99",
     .help = "share of the moving mean and variance that stays at each step"},
    {.name = "epsilon",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(batch_norm_config, epsilon),
     .min = 0,
     .max = 1,
     .open_min = true,
     .fallback = "0.001",
     .help = "added to the variance"},
    {.name = "sync",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(batch_norm_config, sync),
     .fallback = "true",
     .help = "statistics over the whole global batch; false: over each microbatch"},
    COHORT_KEY_NAME(batch_norm_config),
};

const cohort_layer_type cohort_layer_batch_norm = {
    .keys = {.name = "batch_norm",
             .help = "mean 0 and variance 1 for each channel over the batch, then gamma and beta",
             .config_bytes = sizeof(batch_norm_config),
             .keys = batch_norm_keys,
             .key_count = sizeof batch_norm_keys / sizeof *batch_norm_keys},
    .layer_bytes = sizeof(batch_norm_layer),
    .plan = batch_norm_plan,
    .absorb = batch_norm_absorb,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .takes_side = batch_norm_takes_side,
};
