/* position_embedding: y [batch][time][features] = x + table [time][features].
 *
 * `learned` (default) has the parameter `embeddings` [time][features], glorot_uniform;
 * `sinusoidal` has none ("Attention Is All You Need", Vaswani et al. 2017). */
#include <string.h>

#include "base/memory.h"
#include "kernel/embedding.h"
#include "kernel/vector.h"
#include "nn/layer_check.h"

enum { LEARNED, SINUSOIDAL };

typedef struct position_config {
    cohort_layer_common common;
    int type;
} position_config;

typedef struct position {
    cohort_layer layer;
    cohort_param embeddings;
    real *sinusoid; /* NULL when learned */
    size_t count;   /* time * features */
} position;

static const char *const position_types[] = {"learned", "sinusoidal", NULL};

static const cohort_key position_keys[] = {
    COHORT_KEY_NAME(position_config),
    COHORT_KEY_INIT(position_config),
    {.name = "type",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(position_config, type),
     .choices = position_types,
     .fallback = "learned",
     .help = "a learned table, or sines and cosines"},
};

static cohort_status position_plan(cohort_layer *layer, cohort_planner *planner, cohort_flow *flow)
{
    position *self = (position *)layer;
    const position_config *config = layer->config;
    COHORT_TRY(cohort_layer_require_sequence(layer, flow));
    const size_t time = flow->shape.dims[0], width = flow->shape.dims[1];
    self->count = time * width;
    if (config->type == LEARNED)
        return cohort_plan_param(planner, &self->embeddings, "embeddings", &flow->shape,
                                 &config->common.init, 0, time, width, COHORT_PARAM_DECAYS);
    COHORT_TRY(COHORT_ALLOCATE(&self->sinusoid, self->count));
    cohort_sinusoid_table(self->sinusoid, time, width);
    return COHORT_OK;
}

static void position_forward(cohort_layer *layer, const cohort_pass *pass)
{
    const position *self = (const position *)layer;
    const real *table = self->sinusoid ? self->sinusoid : self->embeddings.value;
    for (size_t b = 0; b < pass->batch; b++)
        cohort_vector_sum_of(layer->y + b * self->count, layer->x + b * self->count, table,
                             self->count);
}

static void position_backward(cohort_layer *layer, const cohort_pass *pass)
{
    const position *self = (const position *)layer;
    if (self->embeddings.grad)
        cohort_vector_column_sums(self->embeddings.grad, layer->dy, pass->batch, self->count,
                                  pass->accumulate);
    if (layer->dx)
        memcpy(layer->dx, layer->dy, pass->batch * self->count * sizeof(real));
}

static void position_destroy(cohort_layer *layer)
{
    cohort_free(((position *)layer)->sinusoid);
}

const cohort_layer_type cohort_layer_position_embedding = {
    .keys = {.name = "position_embedding",
             .help = "adds a vector for each place in the sequence",
             .config_bytes = sizeof(position_config),
             .main_key = "type",
             .keys = position_keys,
             .key_count = sizeof position_keys / sizeof *position_keys},
    .layer_bytes = sizeof(position),
    .plan = position_plan,
    .forward = position_forward,
    .backward = position_backward,
    .destroy = position_destroy,
};
