/* attention: multi-head self-attention, [time][width] to [time][width]:
 *
 *   y = concat over heads of softmax(q k' / sqrt(width / heads)) v, then `output`
 *
 * with q, k, v = x `kernel` + `bias` of query, key and value: kernels [width][width], heads
 * contiguous, as Keras's MultiHeadAttention with key_dim = width / heads. `causal`: no
 * step sees a later one. Padding of a masked sequence is not seen. `dropout` is of the
 * attention weights. */
#include <omp.h>
#include <string.h>

#include "kernel/attention.h"
#include "kernel/bf16.h"
#include "kernel/thin.h"
#include "kernel/vector.h"
#include "nn/layer_check.h"

enum { QUERY, KEY, VALUE, INPUTS, OUTPUT = INPUTS, PROJECTIONS };

typedef struct attention_config {
    cohort_layer_common common;
    size_t heads;
    bool causal;
    double dropout;
} attention_config;

typedef struct attention_layer {
    cohort_layer base;
    cohort_param kernels[PROJECTIONS], biases[PROJECTIONS];
    size_t time, width, heads, threads;
    bool masked;
    bool dropped;        /* by the latest forward */
    real *qkv;           /* kept [batch][time][3 width] */
    real *mixed;         /* kept [batch][time][width]: the heads' outputs */
    real *denominators;  /* kept, see cohort_attention */
    cohort_rng *streams; /* kept [batch], with dropout */
    /* Scratch: the three kernels side by side [width][3 width], their biases. */
    real *kernel, *bias, *forward_work;
    /* … and on the way back, with gradients. */
    real *back_kernel, *dkernel, *dbias, *dqkv, *dmixed, *backward_work;
    cohort_bf16 *bf16; /* NULL: in float */
    bool is_thin;      /* kernels small enough for kernel/thin.h */
    real *scratch[2];  /* of the products with kernels: forward, backward */
} attention_layer;

static cohort_status book(cohort_planner *planner, real **where, size_t count,
                          cohort_lifetime lifetime)
{
    return cohort_plan_buffer(planner, (void **)where, count, sizeof(real), lifetime);
}

static cohort_status plan_params(attention_layer *layer, cohort_planner *planner)
{
    static const char *const names[PROJECTIONS][2] = {{"query/kernel", "query/bias"},
                                                      {"key/kernel", "key/bias"},
                                                      {"value/kernel", "value/bias"},
                                                      {"output/kernel", "output/bias"}};
    const attention_config *config = layer->base.config;
    const size_t width = layer->width;
    const cohort_shape kernel = cohort_shape_of(width, width), bias = cohort_shape_of(width);
    for (size_t i = 0; i < PROJECTIONS; i++) {
        COHORT_TRY(cohort_plan_param(planner, &layer->kernels[i], names[i][0], &kernel,
                                     &config->common.init, 0, width, width, COHORT_PARAM_DECAYS));
        COHORT_TRY(
            cohort_plan_param(planner, &layer->biases[i], names[i][1], &bias, NULL, 0, 0, 0, 0));
    }
    return COHORT_OK;
}

static cohort_status plan_buffers(attention_layer *layer, cohort_planner *planner, double dropout)
{
    const size_t batch = cohort_plan_batch(planner), width = layer->width, heads = layer->heads;
    const size_t rows = batch * layer->time, inputs = INPUTS * width;
    const size_t work = cohort_attention_work_count(layer->time, heads, width, layer->threads);
    COHORT_TRY(book(planner, &layer->qkv, rows * inputs, COHORT_LIVE_KEPT));
    COHORT_TRY(book(planner, &layer->mixed, rows * width, COHORT_LIVE_KEPT));
    COHORT_TRY(book(planner, &layer->denominators, rows * heads, COHORT_LIVE_KEPT));
    COHORT_TRY(book(planner, &layer->kernel, width * inputs, COHORT_LIVE_FORWARD));
    COHORT_TRY(book(planner, &layer->bias, inputs, COHORT_LIVE_FORWARD));
    COHORT_TRY(book(planner, &layer->forward_work, work, COHORT_LIVE_FORWARD));
    COHORT_TRY(book(planner, &layer->back_kernel, width * inputs, COHORT_LIVE_BACKWARD));
    COHORT_TRY(book(planner, &layer->dkernel, width * inputs, COHORT_LIVE_BACKWARD));
    COHORT_TRY(book(planner, &layer->dbias, inputs, COHORT_LIVE_BACKWARD));
    COHORT_TRY(book(planner, &layer->dqkv, rows * inputs, COHORT_LIVE_BACKWARD));
    COHORT_TRY(book(planner, &layer->dmixed, rows * width, COHORT_LIVE_BACKWARD));
    COHORT_TRY(book(planner, &layer->backward_work, work, COHORT_LIVE_BACKWARD));
    if (dropout > 0 && cohort_plan_is_training(planner))
        return cohort_plan_buffer(planner, (void **)&layer->streams, batch, sizeof(cohort_rng),
                                  COHORT_LIVE_KEPT);
    return COHORT_OK;
}

/* For the products with kernels; queries with keys and weights with values stay in float. No
 * product wants more than those of the joined kernels. */
static cohort_status plan_products(attention_layer *layer, cohort_planner *planner)
{
    const size_t rows = cohort_plan_batch(planner) * layer->time, width = layer->width,
                 inputs = INPUTS * width;
    size_t forward = 0, backward = 0;
    const bool is_bf16 = cohort_plan_takes_bf16(planner);
    layer->is_thin = !is_bf16 && cohort_thin_fits(width, inputs);
    if (is_bf16) {
        COHORT_TRY(cohort_bf16_create(&layer->bf16));
        const size_t weights = cohort_bf16_scratch(width, inputs, rows),
                     data = cohort_bf16_scratch(rows, width, inputs);
        forward = cohort_bf16_scratch(rows, inputs, width);
        backward = weights > data ? weights : data;
    } else if (layer->is_thin) {
        const size_t joined = cohort_thin_forward_scratch(rows, width, inputs),
                     single = cohort_thin_forward_scratch(rows, width, width);
        forward = joined > single ? joined : single;
        backward = cohort_thin_backward_scratch(rows, width, inputs);
    }
    COHORT_TRY(book(planner, &layer->scratch[0], forward, COHORT_LIVE_FORWARD));
    return book(planner, &layer->scratch[1], backward, COHORT_LIVE_BACKWARD);
}

static cohort_status attention_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    attention_layer *layer = (attention_layer *)base;
    const attention_config *config = base->config;
    COHORT_TRY(cohort_layer_require_sequence(base, flow));
    layer->time = flow->shape.dims[0];
    layer->width = flow->shape.dims[1];
    layer->heads = config->heads;
    layer->masked = flow->masked;
    layer->threads = (size_t)omp_get_max_threads();
    COHORT_REQUIRE(layer->width % layer->heads == 0, COHORT_USAGE,
                   "line %d: %s: attention's %zu heads do not divide the width, %zu; choose a "
                   "divisor of it",
                   base->line, base->path, layer->heads, layer->width);
    COHORT_TRY(plan_params(layer, planner));
    COHORT_TRY(plan_buffers(layer, planner, config->dropout));
    COHORT_TRY(plan_products(layer, planner));
    if (cohort_plan_is_training(planner))
        cohort_plan_keep_input(planner);
    return COHORT_OK;
}

static cohort_attention attention_of(const attention_layer *layer, const cohort_pass *pass,
                                     real *work)
{
    const attention_config *config = layer->base.config;
    return (cohort_attention){
        .batch = pass->batch,
        .time = layer->time,
        .heads = layer->heads,
        .width = layer->width,
        .stride = INPUTS * layer->width,
        .causal = config->causal,
        .q = layer->qkv,
        .k = layer->qkv + layer->width,
        .v = layer->qkv + 2 * layer->width,
        .mask = layer->masked ? pass->mask : NULL,
        .dropout = config->dropout,
        .streams = layer->dropped ? layer->streams : NULL,
        .denominators = layer->denominators,
        .work = work,
        .threads = layer->threads,
    };
}

/* A product z [rows][n] = x [rows][k] * kernel + bias and its gradients. */
typedef struct projection {
    const attention_layer *layer;
    const real *x, *kernel, *bias;
    real *z, *dz, *dx;
    real *dkernel, *dbias; /* NULL: not trained */
    size_t rows, k, n;
    const cohort_thin_rows *finish; /* of z; NULL: nothing */
} projection;

static void project(const projection *p)
{
    const attention_layer *layer = p->layer;
    if (layer->is_thin) {
        cohort_thin_forward(p->z, p->x, p->kernel, p->bias, p->rows, p->k, p->n, p->finish,
                            layer->scratch[0]);
        return;
    }
    cohort_bf16_product(layer->bf16, COHORT_PLAIN, COHORT_PLAIN, p->rows, p->n, p->k, p->x,
                        p->kernel, false, p->z, layer->scratch[0]);
    cohort_vector_add_bias(p->z, p->bias, p->rows, p->n);
    if (p->finish)
        p->finish->visit(p->finish->context, 0, p->rows);
}

/* dkernel and dbias (ADD: +=), dx. */
static void project_back(const projection *p, bool add)
{
    const attention_layer *layer = p->layer;
    if (layer->is_thin) {
        cohort_thin_backward_of_many(&(cohort_thin_backward){.dw = p->dkernel,
                                                             .db = p->dbias,
                                                             .dx = p->dx,
                                                             .x = p->x,
                                                             .w = p->kernel,
                                                             .dz = p->dz,
                                                             .rows = p->rows,
                                                             .k = p->k,
                                                             .n = p->n,
                                                             .add = add,
                                                             .scratch = layer->scratch[1]});
        return;
    }
    if (p->dbias)
        cohort_vector_column_sums(p->dbias, p->dz, p->rows, p->n, add);
    if (p->dkernel)
        cohort_bf16_product(layer->bf16, COHORT_TRANSPOSED, COHORT_PLAIN, p->k, p->n, p->rows, p->x,
                            p->dz, add, p->dkernel, layer->scratch[1]);
    if (p->dx)
        cohort_bf16_product(layer->bf16, COHORT_PLAIN, COHORT_TRANSPOSED, p->rows, p->k, p->n,
                            p->dz, p->kernel, false, p->dx, layer->scratch[1]);
}

/* Queries, keys and values side by side. */
static projection inputs_of(const attention_layer *layer, const cohort_pass *pass)
{
    return (projection){.layer = layer,
                        .x = layer->base.x,
                        .z = layer->qkv,
                        .rows = pass->batch * layer->time,
                        .k = layer->width,
                        .n = INPUTS * layer->width};
}

static projection output_of(const attention_layer *layer, const cohort_pass *pass)
{
    return (projection){.layer = layer,
                        .x = layer->mixed,
                        .kernel = layer->kernels[OUTPUT].value,
                        .bias = layer->biases[OUTPUT].value,
                        .z = layer->base.y,
                        .rows = pass->batch * layer->time,
                        .k = layer->width,
                        .n = layer->width};
}

/* KERNEL [width][3 width] = the kernels of query, key and value side by side. */
static void join_kernels(real *kernel, const attention_layer *layer)
{
    const size_t width = layer->width;
    for (size_t row = 0; row < width; row++)
        for (size_t i = 0; i < INPUTS; i++)
            memcpy(kernel + (row * INPUTS + i) * width, layer->kernels[i].value + row * width,
                   width * sizeof(real));
}

static void add_side_rows(void *context, size_t row, size_t rows)
{
    const attention_layer *layer = context;
    cohort_layer_add_side(&layer->base, row * layer->width, rows * layer->width);
}

static void attention_forward(cohort_layer *base, const cohort_pass *pass)
{
    attention_layer *layer = (attention_layer *)base;
    const size_t width = layer->width;
    const cohort_thin_rows add_side = {add_side_rows, layer};
    projection inputs = inputs_of(layer, pass), output = output_of(layer, pass);
    layer->dropped = pass->training && layer->streams;
    for (size_t b = 0; layer->dropped && b < pass->batch; b++)
        layer->streams[b] = cohort_rng_make(pass->seed, COHORT_RNG_DROPOUT, base->index, pass->step,
                                            pass->samples[b]);
    join_kernels(layer->kernel, layer);
    for (size_t i = 0; i < INPUTS; i++)
        memcpy(layer->bias + i * width, layer->biases[i].value, width * sizeof(real));
    inputs.kernel = layer->kernel;
    inputs.bias = layer->bias;
    project(&inputs);
    const cohort_attention attention = attention_of(layer, pass, layer->forward_work);
    cohort_attention_forward(layer->mixed, &attention);
    output.finish = base->side.value ? &add_side : NULL;
    project(&output);
}

/* to (+)= COUNT values. */
static void put(real *to, const real *from, size_t count, bool add)
{
    if (add)
        cohort_vector_add(to, from, count);
    else
        memcpy(to, from, count * sizeof(real));
}

/* Gradients of the three input projections, from those of the joined one. */
static void put_input_grads(const attention_layer *layer, bool add)
{
    const size_t width = layer->width;
    for (size_t i = 0; i < INPUTS; i++) {
        put(layer->biases[i].grad, layer->dbias + i * width, width, add);
        for (size_t row = 0; row < width; row++)
            put(layer->kernels[i].grad + row * width, layer->dkernel + (row * INPUTS + i) * width,
                width, add);
    }
}

static void attention_backward(cohort_layer *base, const cohort_pass *pass)
{
    const attention_layer *layer = (const attention_layer *)base;
    const size_t width = layer->width;
    const bool trained = layer->kernels[OUTPUT].grad != NULL;
    projection inputs = inputs_of(layer, pass), output = output_of(layer, pass);
    output.dkernel = layer->kernels[OUTPUT].grad;
    output.dbias = layer->biases[OUTPUT].grad;
    output.dz = base->dy;
    output.dx = layer->dmixed;
    project_back(&output, pass->accumulate);
    const cohort_attention attention = attention_of(layer, pass, layer->backward_work);
    const cohort_attention_grads grads = {.y = layer->mixed,
                                          .dy = layer->dmixed,
                                          .dq = layer->dqkv,
                                          .dk = layer->dqkv + width,
                                          .dv = layer->dqkv + 2 * width};
    cohort_attention_backward(&grads, &attention);
    if (base->dx)
        join_kernels(layer->back_kernel, layer);
    inputs.kernel = layer->back_kernel;
    inputs.dkernel = trained ? layer->dkernel : NULL;
    inputs.dbias = trained ? layer->dbias : NULL;
    inputs.dz = layer->dqkv;
    inputs.dx = base->dx;
    project_back(&inputs, false);
    if (trained)
        put_input_grads(layer, pass->accumulate);
}

static bool attention_takes_side(const cohort_layer *base, bool relu)
{
    (void)base;
    return !relu;
}

static void attention_destroy(cohort_layer *base)
{
    cohort_bf16_destroy(((attention_layer *)base)->bf16);
}

static const cohort_key attention_keys[] = {
    {.name = "heads",
     .type = COHORT_KEY_COUNT,
     .offset = offsetof(attention_config, heads),
     .min = 1,
     .max = 1e6,
     .required = true,
     .help = "a divisor of the width"},
    {.name = "causal",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(attention_config, causal),
     .fallback = "false",
     .help = "no step sees a later one"},
    {.name = "dropout",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(attention_config, dropout),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0",
     .help = "the share of attention weights set to 0 in training"},
    COHORT_KEY_NAME(attention_config),
    COHORT_KEY_INIT(attention_config),
};

const cohort_layer_type cohort_layer_attention = {
    .keys = {.name = "attention",
             .help = "multi-head self-attention over a sequence",
             .config_bytes = sizeof(attention_config),
             .main_key = "heads",
             .keys = attention_keys,
             .key_count = sizeof attention_keys / sizeof *attention_keys},
    .layer_bytes = sizeof(attention_layer),
    .plan = attention_plan,
    .forward = attention_forward,
    .backward = attention_backward,
    .takes_side = attention_takes_side,
    .destroy = attention_destroy,
};
