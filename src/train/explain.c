#include "train/explain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/convert.h"

enum { BATCH = 32 };

const char *const cohort_explain_method_names[] = {"saliency", "integrated_gradients", "occlusion"};

/* A sample somewhat changed: on the line from the baseline (0) to itself (1), or with the units
 * of a window at the baseline. */
typedef struct variant {
    double along;
    size_t window; /* SIZE_MAX: none */
} variant;

struct cohort_explainer {
    cohort_inference *inference;
    cohort_explain_config config;
    cohort_model *model; /* gives gradients; shares parameters with the inference's */
    bool tokens;
    size_t unit_count; /* of a sample: values or tokens */
    size_t width;      /* values of a unit: 1, or a token's vector */
    size_t window_count, side, stride, across, down;
    float *base;    /* [unit_count] the baseline, unless tokens */
    void *x;        /* [BATCH][unit_count] float or int32 */
    float *vectors; /* [unit_count][width] of the sample: what tokens became; NULL for others */
    float *weights; /* [unit_count] */
    double *sums;   /* [unit_count][width] of gradients; occlusion: [unit_count] of falls */
    double *counts; /* [unit_count] windows over each */
    /* The pass under way. */
    const variant *variants;
    size_t variant_count;
    double values[BATCH]; /* f of each variant */
    bool wants_gradient;
    cohort_explain_target target;
};

static const cohort_shape *input_shape(const cohort_explainer *e)
{
    return &cohort_model_input(e->model)->shape;
}

/* Whether window WINDOW covers unit UNIT. Windows of an image may reach over its edge. */
static bool covers(const cohort_explainer *e, size_t window, size_t unit)
{
    const cohort_shape *shape = input_shape(e);
    if (shape->dim_count == 3) {
        const size_t row = unit / (shape->dims[1] * shape->dims[2]);
        const size_t column = unit / shape->dims[2] % shape->dims[1];
        const size_t top = window / e->across * e->stride, left = window % e->across * e->stride;
        return row >= top && row < top + e->side && column >= left && column < left + e->side;
    }
    if (shape->dim_count == 1 && !e->tokens && e->config.feature_end)
        return unit < e->config.feature_end[window] &&
               (window == 0 || unit >= e->config.feature_end[window - 1]);
    const size_t features = shape->dim_count == 1 ? 1 : e->unit_count / shape->dims[0];
    const size_t step = unit / features, begin = window * e->stride;
    return step >= begin && step < begin + e->side;
}

/* Windows of SIDE a stride apart until the end of LENGTH is covered. */
static size_t windows_along(size_t length, size_t side, size_t stride)
{
    return length <= side ? 1 : (length - side + stride - 1) / stride + 1;
}

static void plan_windows(cohort_explainer *e)
{
    const cohort_shape *shape = input_shape(e);
    const bool is_image = shape->dim_count == 3;
    size_t side = 1;
    if (is_image)
        side = (shape->dims[0] < shape->dims[1] ? shape->dims[0] : shape->dims[1]) / 7;
    if (e->config.window)
        side = e->config.window;
    e->side = side ? side : 1;
    e->stride = is_image && e->side > 1 ? e->side / 2 : e->side;
    e->across = is_image ? windows_along(shape->dims[1], e->side, e->stride) : 1;
    e->down = windows_along(shape->dims[0], e->side, e->stride);
    e->window_count = e->across * e->down;
    if (shape->dim_count == 1 && !e->tokens && e->config.feature_end)
        e->window_count = e->config.feature_count;
}

/* Makes the vectors of tokens those of the variants, when the first layer has made them, and
 * gathers their gradients before its backward. */
static void visit(void *context, const cohort_layer *layer, const cohort_pass *pass,
                  bool is_backward)
{
    cohort_explainer *e = context;
    const size_t count = e->unit_count * e->width;
    if (!layer->tokens)
        return;
    for (size_t b = 0; b < pass->batch && is_backward; b++)
        for (size_t i = 0; i < count; i++)
            e->sums[i] += (double)layer->dy[b * count + i];
    if (is_backward)
        return;
    memcpy(e->vectors, layer->y, count * sizeof *e->vectors);
    for (size_t b = 0; b < pass->batch; b++)
        for (size_t i = 0; i < count; i++) {
            const variant *v = &e->variants[b];
            const bool hidden = v->window != SIZE_MAX && covers(e, v->window, i / e->width);
            layer->y[b * count + i] *= hidden ? 0 : (real)v->along;
        }
}

/* The variants of sample X as inputs. */
static void fill_inputs(cohort_explainer *e, const void *x)
{
    for (size_t b = 0; b < e->variant_count; b++) {
        const variant *v = &e->variants[b];
        if (e->tokens) {
            memcpy((int32_t *)e->x + b * e->unit_count, x, e->unit_count * sizeof(int32_t));
            continue;
        }
        float *to = (float *)e->x + b * e->unit_count;
        const float *from = x;
        for (size_t i = 0; i < e->unit_count; i++) {
            const double base = (double)e->base[i];
            const bool hidden = v->window != SIZE_MAX && covers(e, v->window, i);
            to[i] = hidden ? e->base[i] : (float)(base + v->along * ((double)from[i] - base));
        }
    }
}

/* The place of the output looked at among those of a sample, and the sign it counts with. */
static size_t place_of(const cohort_explainer *e, double *sign)
{
    const cohort_loss *loss = &e->inference->loss;
    const bool is_binary = loss->class_count == 2 && loss->width == 1;
    *sign = is_binary && e->target.output == 0 ? -1 : 1;
    return e->target.position * loss->width + (is_binary ? 0 : e->target.output);
}

/* f of COUNT variants of X into e->values; their gradients added to e->sums where wanted. */
static void run_variants(cohort_explainer *e, const void *x, const variant *variants, size_t count)
{
    static const uint64_t rows[BATCH];
    const cohort_loss *loss = &e->inference->loss;
    const size_t outputs = loss->positions * loss->width;
    const cohort_pass pass = {.batch = count, .samples = rows, .visit = visit, .visit_context = e};
    double sign;
    const size_t place = place_of(e, &sign);
    e->variants = variants;
    e->variant_count = count;
    fill_inputs(e, x);
    const float *y = cohort_model_forward(e->model, e->x, &pass);
    for (size_t b = 0; b < count; b++)
        e->values[b] = sign * (double)y[b * outputs + place];
    if (!e->wants_gradient)
        return;
    float *dy = cohort_model_output_grad(e->model);
    memset(dy, 0, count * outputs * sizeof *dy);
    for (size_t b = 0; b < count; b++)
        dy[b * outputs + place] = (float)sign;
    cohort_model_backward(e->model, &pass);
    const float *dx = cohort_model_input_grad(e->model);
    for (size_t i = 0; dx && i < count * e->unit_count; i++)
        e->sums[i % e->unit_count] += (double)dx[i];
}

cohort_status cohort_explainer_check(const cohort_explainer *e, const cohort_explain_target *target)
{
    const cohort_loss *loss = &e->inference->loss;
    const size_t choices = loss->class_count ? loss->class_count : loss->width;
    COHORT_REQUIRE(target->output == SIZE_MAX || target->output < choices, COHORT_USAGE,
                   "there is no output %zu: this network has %zu, from 0 on", target->output,
                   choices);
    COHORT_REQUIRE(target->position == SIZE_MAX || target->position < loss->positions, COHORT_USAGE,
                   "there is no position %zu: this network has outputs at %zu, from 0 on",
                   target->position, loss->positions);
    return COHORT_OK;
}

/* Runs the sample as it is: what the network says of it, and the output to explain. */
static cohort_status look(cohort_explanation *explanation, cohort_explainer *e, const void *x,
                          const cohort_explain_target *target)
{
    static const uint64_t row;
    const cohort_loss *loss = &e->inference->loss;
    const size_t position = target->position == SIZE_MAX ? loss->positions - 1 : target->position;
    int32_t *classes = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&classes, loss->positions));
    const cohort_pass pass = {.batch = 1, .samples = &row};
    float *y = cohort_model_forward(e->model, x, &pass);
    *explanation = (cohort_explanation){.predicted = SIZE_MAX, .probability = NAN};
    cohort_loss_classes(classes, loss, y, 1);
    if (loss->class_count)
        explanation->predicted = (size_t)classes[position];
    cohort_free(classes);
    e->target = (cohort_explain_target){target->output, position};
    if (target->output == SIZE_MAX)
        e->target.output = explanation->predicted == SIZE_MAX ? 0 : explanation->predicted;
    explanation->output = e->target.output;
    explanation->position = position;
    double sign;
    const size_t place = place_of(e, &sign);
    cohort_loss_activate(y, loss, 1);
    if (loss->class_count || loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY)
        explanation->probability = sign < 0 ? 1 - (double)y[place] : (double)y[place];
    return COHORT_OK;
}

/* f at the two ends of the line, and for saliency the gradient at x. */
static void run_ends(cohort_explanation *explanation, cohort_explainer *e, const void *x)
{
    const variant base = {0, SIZE_MAX}, self = {1, SIZE_MAX};
    e->wants_gradient = false;
    run_variants(e, x, &base, 1);
    explanation->baseline = e->values[0];
    e->wants_gradient = e->config.method == COHORT_EXPLAIN_SALIENCY;
    run_variants(e, x, &self, 1);
    explanation->value = e->values[0];
}

static void take_saliency(cohort_explainer *e)
{
    for (size_t i = 0; i < e->unit_count; i++) {
        double square = 0;
        for (size_t k = 0; k < e->width; k++)
            square += e->sums[i * e->width + k] * e->sums[i * e->width + k];
        e->weights[i] = (float)sqrt(square);
    }
}

static void integrate(cohort_explainer *e, const void *x)
{
    variant line[BATCH];
    const size_t steps = e->config.steps;
    e->wants_gradient = true;
    for (size_t done = 0; done < steps;) {
        size_t here = 0;
        for (; here < BATCH && done < steps; here++, done++)
            line[here] = (variant){((double)done + 0.5) / (double)steps, SIZE_MAX};
        run_variants(e, x, line, here);
    }
    for (size_t i = 0; i < e->unit_count; i++) {
        double sum = 0;
        for (size_t k = 0; k < e->width; k++) {
            const size_t at = i * e->width + k;
            const double way = e->tokens ? (double)e->vectors[at]
                                         : (double)((const float *)x)[i] - (double)e->base[i];
            sum += way * e->sums[at];
        }
        e->weights[i] = (float)(sum / (double)steps);
    }
}

static void occlude(cohort_explainer *e, const void *x, double value)
{
    variant hidden[BATCH];
    e->wants_gradient = false;
    for (size_t done = 0; done < e->window_count;) {
        const size_t first = done;
        size_t here = 0;
        for (; here < BATCH && done < e->window_count; here++, done++)
            hidden[here] = (variant){1, done};
        run_variants(e, x, hidden, here);
        for (size_t w = 0; w < here; w++)
            for (size_t i = 0; i < e->unit_count; i++)
                if (covers(e, first + w, i)) {
                    e->sums[i] += value - e->values[w];
                    e->counts[i] += 1;
                }
    }
    for (size_t i = 0; i < e->unit_count; i++)
        e->weights[i] = (float)(e->counts[i] > 0 ? e->sums[i] / e->counts[i] : 0);
}

cohort_status cohort_explainer_run(cohort_explanation *explanation, cohort_explainer *e,
                                   const void *x, const cohort_explain_target *target)
{
    memset(e->sums, 0, e->unit_count * e->width * sizeof *e->sums);
    memset(e->counts, 0, e->unit_count * sizeof *e->counts);
    COHORT_TRY(look(explanation, e, x, target));
    run_ends(explanation, e, x);
    if (e->config.method == COHORT_EXPLAIN_SALIENCY)
        take_saliency(e);
    else if (e->config.method == COHORT_EXPLAIN_INTEGRATED)
        integrate(e, x);
    else
        occlude(e, x, explanation->value);
    explanation->weights = e->weights;
    return COHORT_OK;
}

size_t cohort_explainer_unit_count(const cohort_explainer *e)
{
    return e->unit_count;
}

/* The baseline as the network sees it. */
static cohort_status make_baseline(cohort_explainer *e)
{
    const cohort_data_recipe *data = &e->inference->recipe->data;
    const cohort_shape *shape = input_shape(e);
    cohort_scaling scaling = {0};
    if (e->tokens)
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&e->base, e->unit_count));
    COHORT_TRY(cohort_scaling_make(&scaling, data->scale, data->mean.items, data->mean.count,
                                   data->std.items, data->std.count,
                                   shape->dims[shape->dim_count - 1]));
    for (size_t i = 0; i < e->unit_count; i++)
        e->base[i] = (float)e->config.baseline;
    cohort_scale(e->base, e->base, COHORT_F32, e->unit_count, &scaling);
    cohort_scaling_clear(&scaling);
    return COHORT_OK;
}

/* The network once more, with gradients down to its input. bfloat16 would blur small ones. */
static cohort_status open_model(cohort_explainer *e)
{
    cohort_inference *inference = e->inference;
    const cohort_flow input = *cohort_model_input(inference->model);
    bool whole;
    inference->recipe->train.precision = COHORT_PRECISION_FLOAT32;
    COHORT_TRY(cohort_model_create_for_input(&e->model, inference->recipe, &input, BATCH));
    cohort_model_bind(e->model, inference->params, NULL, inference->state);
    if (inference->about->ways)
        COHORT_TRY(cohort_model_read_choices(&whole, e->model, inference->about->ways));
    e->tokens = input.tokens;
    e->unit_count = cohort_shape_count(&input.shape);
    e->width = 1;
    if (e->tokens) {
        const cohort_shape vectors = cohort_model_layer(e->model, 0).out.shape;
        e->width = vectors.dims[vectors.dim_count - 1];
    }
    return COHORT_OK;
}

static cohort_status open_explainer(cohort_explainer *e)
{
    COHORT_TRY(open_model(e));
    plan_windows(e);
    COHORT_TRY(make_baseline(e));
    COHORT_TRY(cohort_allocate(&e->x, BATCH * e->unit_count, sizeof(float)));
    if (e->tokens)
        COHORT_TRY(COHORT_ALLOCATE(&e->vectors, e->unit_count * e->width));
    COHORT_TRY(COHORT_ALLOCATE(&e->sums, e->unit_count * e->width));
    COHORT_TRY(COHORT_ALLOCATE(&e->counts, e->unit_count));
    return COHORT_ALLOCATE(&e->weights, e->unit_count);
}

cohort_status cohort_explainer_create(cohort_explainer **out, cohort_inference *inference,
                                      const cohort_explain_config *config)
{
    *out = NULL;
    cohort_explainer *e = calloc(1, sizeof *e);
    COHORT_REQUIRE(e, COHORT_MEMORY, "out of memory");
    e->inference = inference;
    e->config = *config;
    cohort_status status = open_explainer(e);
    if (status != COHORT_OK) {
        cohort_explainer_destroy(e);
        return status;
    }
    *out = e;
    return COHORT_OK;
}

void cohort_explainer_destroy(cohort_explainer *e)
{
    if (!e)
        return;
    cohort_model_destroy(e->model);
    cohort_free(e->base);
    cohort_free(e->x);
    cohort_free(e->vectors);
    cohort_free(e->weights);
    cohort_free(e->sums);
    cohort_free(e->counts);
    free(e);
}
