/* Dense layer: y = activation(x kernel + bias) on the last axis, as Keras's Dense.
 *
 * x [batch][in] or [batch][time][in]; kernel [in][units]; bias [units], starts at 0. */
#include "kernel/activation.h"
#include "kernel/bf16.h"
#include "kernel/gemm.h"
#include "kernel/large.h"
#include "kernel/thin.h"
#include "kernel/vector.h"
#include "nn/layer_check.h"

typedef struct dense_config {
    cohort_layer_common common;
    size_t units;
    int activation;
    bool bias;
} dense_config;

typedef struct dense_layer {
    cohort_layer base;
    cohort_param kernel, bias;
    size_t in_count, units, steps; /* steps: rows of x in a sample */
    cohort_activation activation;
    bool has_bias;
    real *derivative;  /* kept, where it is taken from x kernel + bias and not from y */
    bool is_thin;      /* a small kernel: not by BLAS */
    bool has_few_rows; /* … and few rows: all parts at once */
    bool is_large;     /* a large kernel of even sizes: not by BLAS either */
    cohort_bf16 *bf16; /* NULL: in float */
    real *forward_scratch, *backward_scratch;
} dense_layer;

/* Rows of a part beyond which its gradient of the kernel gains nothing from registers. */
enum { FEW_ROWS = 64 };
/* Rows of a sample from which on a small kernel gains from bfloat16: fewer do not make up for
 * rounding it, and zeros are left out in float alone. */
enum { BF16_ROWS = 32 };
/* Backward goes through a kernel of at least twice as many weights in pieces of about so many (a
 * millisecond or two of arithmetic): the gradient of one travels to other ranks while the next is
 * computed. By shape alone, whoever listens, so that the bits are the same. */
enum { PIECE_WEIGHTS = 1 << 19 };

static cohort_status dense_plan_thin(dense_layer *layer, cohort_planner *planner)
{
    const size_t in = layer->in_count, units = layer->units,
                 rows = cohort_plan_batch(planner) * layer->steps;
    layer->is_thin = !layer->bf16 && cohort_thin_fits(in, units);
    layer->has_few_rows = layer->is_thin && cohort_plan_part(planner) * layer->steps <= FEW_ROWS;
    if (!layer->is_thin)
        return COHORT_OK;
    if (layer->has_few_rows)
        cohort_plan_row_by_row(planner);
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->forward_scratch,
                                  cohort_thin_forward_scratch(rows, in, units), sizeof(real),
                                  COHORT_LIVE_FORWARD));
    return cohort_plan_buffer(planner, (void **)&layer->backward_scratch,
                              cohort_thin_backward_scratch(rows, in, units), sizeof(real),
                              COHORT_LIVE_BACKWARD);
}

static cohort_status dense_plan_large(dense_layer *layer, cohort_planner *planner)
{
    const size_t scratch = cohort_large_scratch(cohort_plan_batch(planner) * layer->steps);
    layer->is_large =
        !layer->bf16 && !layer->is_thin && cohort_large_fits(layer->in_count, layer->units);
    if (!layer->is_large)
        return COHORT_OK;
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->forward_scratch, scratch, sizeof(real),
                                  COHORT_LIVE_FORWARD));
    return cohort_plan_buffer(planner, (void **)&layer->backward_scratch, scratch, sizeof(real),
                              COHORT_LIVE_BACKWARD);
}

/* The three products have the same sizes in another order. */
static cohort_status dense_plan_bf16(dense_layer *layer, cohort_planner *planner)
{
    const size_t rows = cohort_plan_batch(planner) * layer->steps, in = layer->in_count,
                 units = layer->units;
    if ((layer->steps < BF16_ROWS && cohort_thin_fits(in, units)) ||
        !cohort_plan_takes_bf16(planner))
        return COHORT_OK;
    COHORT_TRY(cohort_bf16_create(&layer->bf16));
    COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->forward_scratch,
                                  cohort_bf16_scratch(rows, units, in), sizeof(real),
                                  COHORT_LIVE_FORWARD));
    const size_t weights = cohort_bf16_scratch(in, units, rows),
                 data = cohort_bf16_scratch(rows, in, units);
    return cohort_plan_buffer(planner, (void **)&layer->backward_scratch,
                              weights > data ? weights : data, sizeof(real), COHORT_LIVE_BACKWARD);
}

static cohort_status dense_plan(cohort_layer *base, cohort_planner *planner, cohort_flow *flow)
{
    dense_layer *layer = (dense_layer *)base;
    const dense_config *config = base->config;
    char text[COHORT_SHAPE_TEXT];
    COHORT_TRY(cohort_layer_require_reals(base, flow));
    const size_t dims = flow->shape.dim_count;
    COHORT_REQUIRE(dims == 1 || dims == 2, COHORT_USAGE,
                   "line %d: %s: dense needs a flat input, got %s; put `flatten` or "
                   "`global_average_pool` before it",
                   base->line, base->path, cohort_shape_text(text, &flow->shape));
    layer->in_count = flow->shape.dims[dims - 1];
    layer->steps = dims == 2 ? flow->shape.dims[0] : 1;
    layer->units = config->units;
    layer->activation = (cohort_activation)config->activation;
    layer->has_bias = config->bias;
    const cohort_shape kernel = cohort_shape_of(layer->in_count, layer->units);
    const cohort_shape bias = cohort_shape_of(layer->units);
    COHORT_TRY(cohort_plan_param(planner, &layer->kernel, "kernel", &kernel, &config->common.init,
                                 0, layer->in_count, layer->units, COHORT_PARAM_DECAYS));
    if (layer->has_bias)
        COHORT_TRY(cohort_plan_param(planner, &layer->bias, "bias", &bias, NULL, 0, 0, 0, 0));
    COHORT_TRY(dense_plan_bf16(layer, planner));
    COHORT_TRY(dense_plan_thin(layer, planner));
    COHORT_TRY(dense_plan_large(layer, planner));
    if (cohort_plan_is_training(planner)) {
        cohort_plan_keep_input(planner);
        if (cohort_activation_needs_input(layer->activation))
            COHORT_TRY(cohort_plan_buffer(planner, (void **)&layer->derivative,
                                          cohort_plan_batch(planner) * layer->steps * layer->units,
                                          sizeof(real), COHORT_LIVE_KEPT));
        else if (layer->activation != COHORT_LINEAR)
            cohort_plan_keep_output(planner);
    }
    flow->shape.dims[dims - 1] = layer->units;
    return COHORT_OK;
}

/* Activation, BIAS unless it is NULL and what is added to y, on some rows of x kernel. */
static void activate(const dense_layer *layer, const real *bias, size_t row, size_t rows)
{
    const size_t units = layer->units, at = row * units;
    real *y = layer->base.y + at;
    if (layer->derivative)
        cohort_gelu_forward_keeping(y, layer->derivative + at, bias, rows, units);
    else if (bias)
        cohort_activation_forward_bias(layer->activation, REAL(COHORT_LEAKY_SLOPE), y, y, bias,
                                       rows, units);
    else
        cohort_activation_forward(layer->activation, REAL(COHORT_LEAKY_SLOPE), y, y, rows, units);
    cohort_layer_add_side(&layer->base, at, rows * units);
}

static void activate_rows(void *context, size_t row, size_t rows)
{
    activate(context, NULL, row, rows);
}

static void dense_forward(cohort_layer *base, const cohort_pass *pass)
{
    dense_layer *layer = (dense_layer *)base;
    const size_t rows = pass->batch * layer->steps;
    const real *bias = layer->has_bias ? layer->bias.value : NULL;
    const cohort_thin_rows finish = {activate_rows, layer};
    const bool is_finished = layer->activation == COHORT_LINEAR && !base->side.value;
    real *z = layer->derivative ? layer->derivative : base->y;
    if (layer->is_thin) {
        cohort_thin_forward(z, base->x, layer->kernel.value, bias, rows, layer->in_count,
                            layer->units, is_finished ? NULL : &finish, layer->forward_scratch);
        return;
    }
    if (layer->is_large)
        cohort_large_forward(z, base->x, layer->kernel.value, rows, layer->in_count, layer->units,
                             layer->forward_scratch);
    else
        cohort_bf16_product(layer->bf16, COHORT_PLAIN, COHORT_PLAIN, rows, layer->units,
                            layer->in_count, base->x, layer->kernel.value, false, z,
                            layer->forward_scratch);
    activate(layer, bias, 0, rows);
}

/* Gradients of kernel and bias, part by part. */
static void put_grads_by_part(const dense_layer *layer, const real *dz, const cohort_pass *pass)
{
    const cohort_row_parts parts = {.ends = pass->part_ends ? pass->part_ends : &pass->batch,
                                    .count = pass->part_ends ? pass->part_count : 1,
                                    .unit = layer->steps};
    if (layer->bias.grad)
        cohort_thin_bias(layer->bias.grad, dz, &parts, layer->units, pass->accumulate);
    if (layer->kernel.grad)
        cohort_thin_weights(layer->kernel.grad, layer->base.x, dz, &parts, layer->in_count,
                            layer->units, pass->accumulate, layer->backward_scratch);
}

static void put_grads(const dense_layer *layer, const real *dz, const cohort_pass *pass)
{
    const size_t rows = pass->batch * layer->steps;
    if (layer->bias.grad)
        cohort_vector_column_sums(layer->bias.grad, dz, rows, layer->units, pass->accumulate);
    if (layer->kernel.grad)
        cohort_bf16_product(layer->bf16, COHORT_TRANSPOSED, COHORT_PLAIN, layer->in_count,
                            layer->units, rows, layer->base.x, dz, pass->accumulate,
                            layer->kernel.grad, layer->backward_scratch);
}

/* The rows of the kernel, from ROW on, have their gradient. Told again, it lets what is under way
 * go on. */
static void tell_ready(const dense_layer *layer, const cohort_pass *pass, size_t row)
{
    if (pass->ready && layer->kernel.grad)
        pass->ready(pass->ready_context, layer->base.params_offset + row * layer->units);
}

/* Rows of the kernel in a piece; 0: backward takes it whole. */
static size_t piece_rows(const dense_layer *layer)
{
    const size_t rows = PIECE_WEIGHTS / layer->units;
    const bool is_cut = layer->in_count / 2 >= (rows ? rows : 1);
    return is_cut && !layer->bf16 && !layer->is_thin ? (rows ? rows : 1) : 0;
}

/* The gradient of the rows [begin, end) of the kernel. */
static void put_piece(const dense_layer *layer, const real *dz, const cohort_pass *pass,
                      size_t begin, size_t end)
{
    const size_t rows = pass->batch * layer->steps, in = layer->in_count, units = layer->units;
    if (layer->is_large)
        cohort_large_weights(layer->kernel.grad, layer->base.x, dz, rows, in, units, begin, end,
                             pass->accumulate, layer->backward_scratch);
    else
        cohort_gemm(COHORT_TRANSPOSED, COHORT_PLAIN, end - begin, units, rows, 1,
                    layer->base.x + begin, in, dz, units, pass->accumulate ? 1 : 0,
                    layer->kernel.grad + begin * units, units);
}

typedef struct telling {
    const dense_layer *layer;
    const cohort_pass *pass;
} telling;

static void tell_again(const void *context)
{
    const telling *t = context;
    tell_ready(t->layer, t->pass, 0);
}

/* Backward in pieces of PIECE rows of the kernel, the last ones first: as the reducer takes them.
 */
static void backward_in_pieces(const dense_layer *layer, const real *dz, const cohort_pass *pass,
                               size_t piece)
{
    const size_t rows = pass->batch * layer->steps, in = layer->in_count, units = layer->units;
    const cohort_layer *base = &layer->base;
    const telling again = {layer, pass};
    if (layer->bias.grad)
        cohort_vector_column_sums(layer->bias.grad, dz, rows, units, pass->accumulate);
    for (size_t end = in, begin; layer->kernel.grad && end > 0; end = begin) {
        begin = end > piece ? end - piece : 0;
        put_piece(layer, dz, pass, begin, end);
        tell_ready(layer, pass, begin);
    }
    if (base->dx && layer->is_large)
        cohort_large_data(base->dx, dz, layer->kernel.value, rows, in, units, tell_again, &again,
                          layer->backward_scratch);
    for (size_t begin = 0, end; base->dx && !layer->is_large && begin < in; begin = end) {
        end = in - begin > piece ? begin + piece : in;
        cohort_gemm(COHORT_PLAIN, COHORT_TRANSPOSED, rows, end - begin, units, 1, dz, units,
                    layer->kernel.value + begin * units, units, 0, base->dx + begin, in);
        tell_ready(layer, pass, 0);
    }
}

/* dz = dy f'(z) in place, of some rows. */
static void prepare_rows(void *context, size_t row, size_t rows)
{
    const dense_layer *layer = context;
    const size_t at = row * layer->units;
    real *dz = layer->base.dy + at;
    if (layer->derivative)
        cohort_vector_multiply(dz, layer->derivative + at, rows * layer->units);
    else if (layer->activation != COHORT_LINEAR)
        cohort_activation_backward(layer->activation, REAL(COHORT_LEAKY_SLOPE), dz, dz,
                                   layer->base.y + at, rows, layer->units);
}

static void backward_of_many(dense_layer *layer, const cohort_pass *pass)
{
    const cohort_layer *base = &layer->base;
    cohort_thin_backward_of_many(&(cohort_thin_backward){.dw = layer->kernel.grad,
                                                         .db = layer->bias.grad,
                                                         .dx = base->dx,
                                                         .x = base->x,
                                                         .w = layer->kernel.value,
                                                         .dz = base->dy,
                                                         .rows = pass->batch * layer->steps,
                                                         .k = layer->in_count,
                                                         .n = layer->units,
                                                         .add = pass->accumulate,
                                                         .prepare = {prepare_rows, layer},
                                                         .scratch = layer->backward_scratch});
}

/* dz = dy f'(z), dkernel = x' dz, dbias = column sums of dz, dx = dz kernel'. */
static void dense_backward(cohort_layer *base, const cohort_pass *pass)
{
    dense_layer *layer = (dense_layer *)base;
    const size_t rows = pass->batch * layer->steps;
    const real *dz = base->dy;
    if (layer->is_thin && !layer->has_few_rows) {
        backward_of_many(layer, pass);
        return;
    }
    prepare_rows(layer, 0, rows);
    if (layer->is_large || piece_rows(layer) > 0) {
        backward_in_pieces(layer, dz, pass,
                           piece_rows(layer) ? piece_rows(layer) : layer->in_count);
        return;
    }
    if (layer->has_few_rows)
        put_grads_by_part(layer, dz, pass);
    else
        put_grads(layer, dz, pass);
    if (base->dx)
        tell_ready(layer, pass, 0);
    if (base->dx && layer->is_thin)
        cohort_thin_data(base->dx, dz, layer->kernel.value, rows, layer->in_count, layer->units,
                         layer->backward_scratch);
    else if (base->dx)
        cohort_bf16_product(layer->bf16, COHORT_PLAIN, COHORT_TRANSPOSED, rows, layer->in_count,
                            layer->units, dz, layer->kernel.value, false, base->dx,
                            layer->backward_scratch);
}

static bool dense_takes_side(const cohort_layer *base, bool relu)
{
    return !relu && ((const dense_layer *)base)->activation == COHORT_LINEAR;
}

static void dense_destroy(cohort_layer *base)
{
    cohort_bf16_destroy(((dense_layer *)base)->bf16);
}

static const cohort_key dense_keys[] = {
    {.name = "units",
     .type = COHORT_KEY_COUNT,
     .offset = offsetof(dense_config, units),
     .min = 1,
     .max = 1e9,
     .required = true,
     .help = "outputs"},
    {.name = "activation",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(dense_config, activation),
     .fallback = "linear",
     .choices = cohort_activation_names,
     .help = "applied to the sum; leaky_relu with slope 0.3"},
    {.name = "bias",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(dense_config, bias),
     .fallback = "true",
     .help = "whether a bias is added"},
    COHORT_KEY_NAME(dense_config),
    COHORT_KEY_INIT(dense_config),
};

const cohort_layer_type cohort_layer_dense = {
    .keys = {.name = "dense",
             .help = "every output a weighted sum of all inputs; over sequences, step by step",
             .config_bytes = sizeof(dense_config),
             .main_key = "units",
             .keys = dense_keys,
             .key_count = sizeof dense_keys / sizeof *dense_keys},
    .layer_bytes = sizeof(dense_layer),
    .plan = dense_plan,
    .forward = dense_forward,
    .backward = dense_backward,
    .takes_side = dense_takes_side,
    .destroy = dense_destroy,
};
