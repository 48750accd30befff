#include "nn/planner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/bf16.h"
#include "kernel/vector.h"

/* Room for one more element of a list. */
#define GROW(list, count, capacity)                                                                \
    cohort_grow((void **)&(list), &(capacity), (count) + 1, sizeof *(list))

/* Moments: forward ticks 1, 2, … T, then backward -T, … -2, -1. */
static bool is_later(int a, int b)
{
    if ((a < 0) != (b < 0))
        return a < 0;
    return a > b;
}

void cohort_planner_clear(cohort_planner *planner)
{
    free(planner->bookings);
    free(planner->bindings);
    free(planner->params);
    free(planner->state);
    free(planner->param_starts);
    free(planner->state_starts);
    free(planner->param_bindings);
    free(planner->state_bindings);
    free(planner->notes);
}

cohort_status cohort_planner_book(int *booking, cohort_planner *planner, size_t bytes, int first,
                                  int last)
{
    COHORT_TRY(GROW(planner->bookings, planner->booking_count, planner->booking_capacity));
    *booking = (int)planner->booking_count;
    planner->bookings[planner->booking_count++] =
        (cohort_booking){.bytes = bytes, .first = first, .last = last};
    return COHORT_OK;
}

cohort_status cohort_planner_bind(cohort_planner *planner, void **where, int booking)
{
    *where = NULL;
    if (booking == BOOKING_NONE)
        return COHORT_OK;
    COHORT_TRY(GROW(planner->bindings, planner->binding_count, planner->binding_capacity));
    planner->bindings[planner->binding_count++] =
        (cohort_binding){.where = where, .booking = booking};
    return COHORT_OK;
}

void cohort_planner_use(cohort_planner *planner, int booking, int moment)
{
    if (booking < 0)
        return;
    cohort_booking *booked = &planner->bookings[booking];
    if (is_later(booked->first, moment))
        booked->first = moment;
    if (is_later(moment, booked->last))
        booked->last = moment;
}

size_t cohort_plan_batch(const cohort_planner *planner)
{
    return planner->batch;
}

size_t cohort_plan_part(const cohort_planner *planner)
{
    return planner->part;
}

bool cohort_plan_takes_bf16(cohort_planner *planner)
{
    planner->has_bf16 |= planner->wants_bf16;
    return planner->wants_bf16 && cohort_bf16_available();
}

bool cohort_plan_is_training(const cohort_planner *planner)
{
    return planner->training;
}

bool cohort_plan_needs_dx(const cohort_planner *planner)
{
    return planner->at.in.grad != BOOKING_NONE;
}

void cohort_plan_keep_input(cohort_planner *planner)
{
    planner->at.keeps_input = true;
}

void cohort_plan_keep_output(cohort_planner *planner)
{
    planner->at.keeps_output = true;
}

void cohort_plan_uses_sum(cohort_planner *planner, bool whole)
{
    if (planner->at.is_frozen || !planner->training)
        return;
    planner->uses_sum = true;
    planner->needs_whole_batch |= whole;
}

void cohort_plan_row_by_row(cohort_planner *planner)
{
    planner->at.is_row_by_row = true;
}

void cohort_plan_alias(cohort_planner *planner)
{
    planner->at.is_alias = true;
}

void cohort_plan_output(cohort_planner *planner, const cohort_shape *shape)
{
    planner->at.y = *shape;
}

bool cohort_plan_is_absorbed(const cohort_planner *planner)
{
    return planner->at.is_absorbed;
}

/* Appends a tensor of the layer under way to a list; *reals is the vector's size so far. */
static cohort_status add_tensor(cohort_planner *planner, cohort_tensor **tensors, size_t *count,
                                size_t *capacity, size_t *reals, const char *name,
                                const cohort_shape *shape)
{
    const cohort_layer *layer = planner->at.layer;
    size_t elements = cohort_shape_count(shape);
    COHORT_REQUIRE(elements > 0 && elements < SIZE_MAX / 64 - *reals, COHORT_USAGE,
                   "line %d: %s: the tensor '%s' is too large", layer->line, layer->path, name);
    COHORT_TRY(cohort_grow((void **)tensors, capacity, *count + 1, sizeof **tensors));
    char *copy = NULL;
    COHORT_TRY(cohort_arena_copy(&copy, planner->arena, name));
    (*tensors)[(*count)++] = (cohort_tensor){.layer = layer->path,
                                             .name = copy,
                                             .shape = *shape,
                                             .offset = *reals,
                                             .count = elements,
                                             .frozen = planner->at.is_frozen};
    *reals += cohort_size_align(elements, COHORT_LINE_REALS);
    return COHORT_OK;
}

cohort_status cohort_plan_param(cohort_planner *planner, cohort_param *param, const char *name,
                                const cohort_shape *shape, const cohort_variant *init,
                                double constant, size_t fan_in, size_t fan_out, unsigned flags)
{
    COHORT_TRY(GROW(planner->param_starts, planner->param_count, planner->param_start_capacity));
    COHORT_TRY(GROW(planner->param_bindings, planner->param_binding_count,
                    planner->param_binding_capacity));
    size_t index = planner->param_count;
    COHORT_TRY(add_tensor(planner, &planner->params, &planner->param_count,
                          &planner->param_capacity, &planner->params_reals, name, shape));
    planner->params[index].flags = flags;
    planner->param_starts[index] = (cohort_start){init, constant, fan_in, fan_out};
    planner->param_bindings[planner->param_binding_count++] =
        (cohort_param_binding){.where = param, .tensor = index};
    *param = (cohort_param){.count = planner->params[index].count};
    planner->has_trainable |= !planner->at.is_frozen;
    return COHORT_OK;
}

cohort_status cohort_plan_state(cohort_planner *planner, real **where, const char *name,
                                const cohort_shape *shape, double constant)
{
    COHORT_TRY(GROW(planner->state_starts, planner->state_count, planner->state_start_capacity));
    COHORT_TRY(GROW(planner->state_bindings, planner->state_binding_count,
                    planner->state_binding_capacity));
    size_t index = planner->state_count;
    COHORT_TRY(add_tensor(planner, &planner->state, &planner->state_count, &planner->state_capacity,
                          &planner->state_reals, name, shape));
    planner->state_starts[index] = (cohort_start){.constant = constant};
    planner->state_bindings[planner->state_binding_count].where = where;
    planner->state_bindings[planner->state_binding_count++].tensor = index;
    return COHORT_OK;
}

cohort_status cohort_plan_buffer(cohort_planner *planner, void **where, size_t count,
                                 size_t element_bytes, cohort_lifetime lifetime)
{
    *where = NULL;
    size_t bytes = 0;
    COHORT_REQUIRE(cohort_size_multiply(&bytes, count, element_bytes), COHORT_MEMORY,
                   "line %d: %s needs more memory than there are addresses",
                   planner->at.layer->line, planner->at.layer->path);
    if (lifetime == COHORT_LIVE_BACKWARD && !planner->training)
        return COHORT_OK;
    const int tick = planner->at.tick;
    int first = lifetime == COHORT_LIVE_BACKWARD ? -tick : tick;
    int last = lifetime == COHORT_LIVE_FORWARD || !planner->training ? tick : -tick;
    int booking = 0;
    COHORT_TRY(cohort_planner_book(&booking, planner, bytes, first, last));
    return cohort_planner_bind(planner, where, booking);
}

static bool is_frozen(const cohort_planner *planner, const char *path)
{
    for (size_t i = 0; i < planner->freeze->count; i++) {
        const char *name = planner->freeze->items[i];
        size_t length = strlen(name);
        if (strncmp(path, name, length) == 0 && (path[length] == '\0' || path[length] == '/'))
            return true;
    }
    return false;
}

/* "PREFIX" + the layer's name or "<index>_<type>", refused when taken. */
static cohort_status name_layer(char **path, const cohort_planner *planner, const char *prefix,
                                size_t index, const cohort_variant *spec)
{
    const cohort_layer_common *common = spec->config;
    char text[512];
    if (common->name)
        snprintf(text, sizeof text, "%s%s", prefix, common->name);
    else
        snprintf(text, sizeof text, "%s%zu_%s", prefix, index, spec->table->name);
    const char *own = text + strlen(prefix);
    COHORT_REQUIRE(strlen(text) < 256, COHORT_USAGE, "line %d: layer names are too long",
                   spec->line);
    COHORT_REQUIRE(*own && *own != '.' && !strchr(own, '/'), COHORT_USAGE,
                   "line %d: a layer cannot be named '%s'; use letters, digits and _", spec->line,
                   own);
    for (size_t i = 0; i < planner->note_count; i++)
        COHORT_REQUIRE(strcmp(planner->notes[i].layer->path, text) != 0, COHORT_USAGE,
                       "line %d: two layers are named '%s'; give one another name", spec->line,
                       text);
    return cohort_arena_copy(path, planner->arena, text);
}

/* Books y and dy of the layer under way, which lives from tick BEGIN to END. */
static cohort_status book_output(cohort_edge *out, cohort_planner *planner,
                                 const cohort_shape *shape, int begin, int end)
{
    size_t count = cohort_shape_count(shape), bytes = 0;
    COHORT_REQUIRE(cohort_size_multiply(&bytes, count, planner->batch) &&
                       cohort_size_multiply(&bytes, bytes, sizeof(real)),
                   COHORT_MEMORY, "line %d: the output of %s is too large", planner->at.layer->line,
                   planner->at.layer->path);
    COHORT_TRY(cohort_planner_book(&out->value, planner, bytes, begin, end));
    out->grad = BOOKING_NONE;
    if (planner->training && (planner->has_trainable || planner->for_input))
        COHORT_TRY(cohort_planner_book(&out->grad, planner, bytes, -end, -begin));
    return COHORT_OK;
}

static cohort_status bind_layer(cohort_planner *planner, cohort_layer *layer, cohort_edge in,
                                cohort_edge out, bool tokens)
{
    COHORT_TRY(cohort_planner_bind(planner, tokens ? (void **)&layer->tokens : (void **)&layer->x,
                                   in.value));
    COHORT_TRY(cohort_planner_bind(planner, (void **)&layer->y, out.value));
    COHORT_TRY(cohort_planner_bind(planner, (void **)&layer->dy, out.grad));
    return cohort_planner_bind(planner, (void **)&layer->dx, in.grad);
}

/* Runs the layer's own plan, then settles the lifetimes of its input and output. ABSORBED:
 * the layer before does its work. */
static cohort_status plan_layer(cohort_edge *edge, bool *called, cohort_planner *planner,
                                cohort_layer *layer, bool absorbed, cohort_flow *flow)
{
    const cohort_plan_context outer = planner->at;
    const int begin = ++planner->tick;
    const bool tokens = flow->tokens;
    const size_t note = planner->note_count;
    planner->at =
        (cohort_plan_context){.layer = layer,
                              .in = *edge,
                              .tick = begin,
                              .is_frozen = outer.is_frozen || is_frozen(planner, layer->path),
                              .is_absorbed = absorbed,
                              .depth = outer.depth + 1};
    layer->params_offset = planner->params_reals;
    COHORT_TRY(GROW(planner->notes, planner->note_count, planner->note_capacity));
    planner->notes[planner->note_count++] =
        (cohort_layer_note){.layer = layer, .in = *flow, .depth = outer.depth};
    size_t params_before = planner->param_count;
    COHORT_TRY(layer->type->plan(layer, planner, flow));
    planner->at.is_alias |= absorbed;
    planner->mixes_rows |= !planner->at.is_alias && !planner->at.is_row_by_row;
    for (size_t i = params_before; i < planner->param_count; i++)
        planner->notes[note].parameter_count += planner->params[i].count;
    planner->notes[note].out = *flow;
    planner->notes[note].y = planner->at.y.dim_count ? planner->at.y : flow->shape;
    planner->masked |= flow->masked;
    if (flow->vocabulary > planner->vocabulary)
        planner->vocabulary = flow->vocabulary;
    /* A layer with others inside lives from before the first to after the last of them. */
    const int end = planner->tick == begin ? begin : ++planner->tick;
    const cohort_plan_context own = planner->at;
    cohort_planner_use(planner, edge->value, begin);
    cohort_planner_use(planner, edge->value, own.keeps_input && planner->training ? -begin : end);
    cohort_planner_use(planner, edge->grad, -end);
    cohort_planner_use(planner, edge->grad, -begin);
    for (size_t i = 0; i < own.nested_count; i++) {
        cohort_planner_use(planner, own.nested[i].value, end);
        cohort_planner_use(planner, own.nested[i].grad, -end);
    }
    *called = !own.is_alias;
    cohort_edge out = *edge;
    if (own.is_nested_output) {
        out = own.nested[0];
        cohort_planner_use(planner, out.grad, -begin);
    } else if (!own.is_alias) {
        COHORT_TRY(book_output(&out, planner, &planner->notes[note].y, begin, end));
    }
    if (own.keeps_output && planner->training && !own.is_alias)
        cohort_planner_use(planner, out.value, -begin);
    COHORT_TRY(bind_layer(planner, layer, *edge, out, tokens));
    if (own.takes_dy)
        COHORT_TRY(cohort_planner_bind(planner, (void **)&own.takes_dy->side.grad, out.grad));
    *edge = out;
    planner->at = outer;
    return COHORT_OK;
}

cohort_status cohort_planner_sequence(cohort_planner *planner, cohort_sequence **out,
                                      cohort_edge *out_edge, const cohort_variants *layers,
                                      const char *prefix, cohort_edge in, cohort_flow *flow)
{
    cohort_sequence *sequence = NULL;
    COHORT_TRY(COHORT_TAKE(&sequence, planner->arena, 1));
    COHORT_TRY(COHORT_TAKE(&sequence->layers, planner->arena, layers->count));
    COHORT_TRY(COHORT_TAKE(&sequence->called, planner->arena, layers->count));
    cohort_edge edge = in;
    bool absorbed = false;
    for (size_t i = 0; i < layers->count; i++) {
        const cohort_variant *spec = &layers->items[i];
        const cohort_layer_type *type = (const cohort_layer_type *)spec->table;
        cohort_layer *layer = NULL;
        char *path = NULL;
        COHORT_TRY(name_layer(&path, planner, prefix, i, spec));
        COHORT_TRY(cohort_arena_take((void **)&layer, planner->arena, type->layer_bytes));
        layer->type = type;
        layer->config = spec->config;
        layer->line = spec->line;
        layer->index = planner->layer_count++;
        layer->path = path;
        sequence->layers[sequence->count] = layer;
        const cohort_variant *next = i + 1 < layers->count ? &layers->items[i + 1] : NULL;
        const bool absorbs = next && type->absorb && type->absorb(layer, next);
        COHORT_TRY(
            plan_layer(&edge, &sequence->called[sequence->count], planner, layer, absorbed, flow));
        sequence->count++;
        absorbed = absorbs;
    }
    COHORT_TRY(cohort_planner_bind(planner, (void **)&sequence->output, edge.value));
    COHORT_TRY(cohort_planner_bind(planner, (void **)&sequence->output_grad, edge.grad));
    COHORT_TRY(cohort_planner_bind(planner, (void **)&sequence->input_grad, in.grad));
    *out_edge = edge;
    *out = sequence;
    return COHORT_OK;
}

/* The gradient of the input that a list writes, apart from that of the layer under way. */
static cohort_status book_input_grad(int *booking, cohort_planner *planner, const cohort_flow *flow)
{
    const cohort_plan_context *own = &planner->at;
    size_t bytes = 0;
    *booking = BOOKING_NONE;
    if (own->in.grad == BOOKING_NONE)
        return COHORT_OK;
    COHORT_REQUIRE(cohort_size_multiply(&bytes, cohort_shape_count(&flow->shape),
                                        planner->batch * sizeof(real)),
                   COHORT_MEMORY, "line %d: the input of %s is too large", own->layer->line,
                   own->layer->path);
    return cohort_planner_book(booking, planner, bytes, -own->tick, -own->tick);
}

/* A list of the layer under way, whose layers are named behind GROUP. */
static cohort_status plan_nested(cohort_planner *planner, cohort_sequence **out,
                                 const cohort_variants *layers, const char *group, int input_grad,
                                 cohort_flow *flow)
{
    cohort_plan_context *own = &planner->at;
    COHORT_REQUIRE(own->nested_count < NESTED_MAX, COHORT_INTERNAL, "%s: too many lists",
                   own->layer->path);
    const cohort_edge in = {.value = own->in.value, .grad = input_grad};
    char prefix[512];
    cohort_edge out_edge;
    snprintf(prefix, sizeof prefix, "%s/%s%s", own->layer->path, group, *group ? "/" : "");
    COHORT_TRY(cohort_planner_sequence(planner, out, &out_edge, layers, prefix, in, flow));
    /* The outer layer reads what comes out after everything inside it, and writes its
     * gradient before. */
    own->nested[own->nested_count++] = out_edge;
    return COHORT_OK;
}

cohort_status cohort_plan_sequence(cohort_planner *planner, cohort_sequence **out,
                                   const cohort_variants *layers, const char *group,
                                   cohort_flow *flow)
{
    int input_grad = BOOKING_NONE;
    COHORT_TRY(book_input_grad(&input_grad, planner, flow));
    return plan_nested(planner, out, layers, group, input_grad, flow);
}

static cohort_layer *last_called(const cohort_sequence *sequence)
{
    const size_t last = sequence->count - 1;
    return sequence->count && sequence->called[last] ? sequence->layers[last] : NULL;
}

cohort_status cohort_plan_sum(cohort_sum_plan *sum, cohort_planner *planner, cohort_sequence **out,
                              const cohort_variants *layers, bool relu, cohort_flow *flow)
{
    cohort_plan_context *own = &planner->at;
    const cohort_layer_type *first =
        layers->count ? (const cohort_layer_type *)layers->items[0].table : NULL;
    int input_grad = own->in.grad;
    sum->is_back_summed = input_grad != BOOKING_NONE && first && first->takes_back_side;
    if (!sum->is_back_summed)
        COHORT_TRY(book_input_grad(&input_grad, planner, flow));
    COHORT_TRY(plan_nested(planner, out, layers, "", input_grad, flow));
    if (sum->is_back_summed)
        own->takes_dy = (*out)->layers[0];
    cohort_layer *last = last_called(*out);
    sum->is_summed = last && last->type->takes_side && last->type->takes_side(last, relu);
    if (!sum->is_summed)
        return COHORT_OK;
    own->is_nested_output = true;
    last->side.relu = relu;
    return cohort_planner_bind(planner, (void **)&last->side.value, own->in.value);
}

void cohort_layer_add_side(const cohort_layer *layer, size_t first, size_t count)
{
    real *y = layer->y + first;
    if (layer->side.value && layer->side.relu)
        cohort_vector_relu_of_sum(y, y, layer->side.value + first, count);
    else if (layer->side.value)
        cohort_vector_add(y, layer->side.value + first, count);
}

void cohort_sequence_forward(cohort_sequence *sequence, const cohort_pass *pass)
{
    for (size_t i = 0; i < sequence->count; i++) {
        cohort_layer *layer = sequence->layers[i];
        if (!sequence->called[i])
            continue;
        layer->type->forward(layer, pass);
        if (pass->visit)
            pass->visit(pass->visit_context, layer, pass, false);
    }
}

void cohort_sequence_backward(cohort_sequence *sequence, const cohort_pass *pass)
{
    for (size_t i = sequence->count; i-- > 0;) {
        cohort_layer *layer = sequence->layers[i];
        if (!sequence->called[i] || !layer->dy)
            continue;
        if (pass->visit)
            pass->visit(pass->visit_context, layer, pass, true);
        layer->type->backward(layer, pass);
        if (pass->ready)
            pass->ready(pass->ready_context, layer->params_offset);
    }
}

const real *cohort_sequence_output(const cohort_sequence *sequence)
{
    return sequence->output;
}

real *cohort_sequence_output_grad(cohort_sequence *sequence)
{
    return sequence->output_grad;
}

real *cohort_sequence_input_grad(cohort_sequence *sequence)
{
    return sequence->input_grad;
}
