#include "nn/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernel/bf16.h"
#include "nn/planner.h"

#define COHORT_LAYER(name) extern const cohort_layer_type cohort_layer_##name;
#include "nn/layers.def"
#undef COHORT_LAYER

static const cohort_key_table *const catalog[] = {
#define COHORT_LAYER(name) &cohort_layer_##name.keys,
#include "nn/layers.def"
#undef COHORT_LAYER
    NULL};

struct cohort_model {
    cohort_planner planner;
    cohort_sequence *sequence;
    cohort_flow input;
    cohort_shape output_shape;
    cohort_edge output_edge;
    real *output, *output_grad;
    real *params, *grads, *state;
    real *mask; /* [batch][time], NULL without a masking layer */
    size_t work_bytes;
    void *work;
    cohort_table *tables; /* [table_count] */
    size_t table_count;
};

/* Below this many elements a table is zeroed and summed whole as fast as by rows; above the
 * other one a single MPI call would not take it. */
enum { TABLE_LEAST = 32768, TABLE_MOST = INT32_MAX };

cohort_layer_catalog cohort_model_catalog(void)
{
    return catalog;
}

bool cohort_model_reads_tokens(const cohort_recipe *recipe)
{
    const cohort_variant *first = recipe->model.count ? &recipe->model.items[0] : NULL;
    return first && ((const cohort_layer_type *)first->table)->reads_tokens;
}

/* Lays the bookings out in one block and fills in the pointers to them. */
static cohort_status place_work(cohort_model *model)
{
    cohort_planner *planner = &model->planner;
    const int ticks = planner->tick;
    cohort_slot *slots = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&slots, planner->booking_count));
    for (size_t i = 0; i < planner->booking_count; i++) {
        const cohort_booking *booking = &planner->bookings[i];
        const int first = booking->first, last = booking->last;
        slots[i] = (cohort_slot){.bytes = booking->bytes,
                                 .first = first > 0 ? first : 2 * ticks + 1 + first,
                                 .last = last > 0 ? last : 2 * ticks + 1 + last};
    }
    COHORT_TRY_DONE(status, cohort_place(&model->work_bytes, slots, planner->booking_count));
    COHORT_TRY_DONE(status, cohort_allocate(&model->work, model->work_bytes, 1));
    for (size_t i = 0; i < planner->binding_count; i++)
        if (planner->bindings[i].booking >= 0)
            *planner->bindings[i].where =
                (char *)model->work + slots[planner->bindings[i].booking].offset;
done:
    cohort_free(slots);
    return status;
}

/* Every name in `freeze` must be a layer. */
static cohort_status check_freeze(const cohort_planner *planner)
{
    for (size_t i = 0; i < planner->freeze->count; i++) {
        const char *name = planner->freeze->items[i];
        bool found = false;
        const char *paths[64];
        size_t path_count = 0;
        for (size_t k = 0; k < planner->note_count; k++) {
            found |= strcmp(planner->notes[k].layer->path, name) == 0;
            if (path_count < 64)
                paths[path_count++] = planner->notes[k].layer->path;
        }
        const char *nearest = cohort_nearest_word(name, paths, path_count);
        COHORT_REQUIRE(found, COHORT_USAGE, "freeze: there is no layer '%s'%s%s%s", name,
                       nearest ? "; did you mean '" : "", nearest ? nearest : "",
                       nearest ? "'?" : "");
    }
    return COHORT_OK;
}

/* The input is the caller's; its gradient is the last that backward writes. */
static cohort_status book_input(cohort_edge *in, cohort_model *model)
{
    cohort_planner *planner = &model->planner;
    size_t bytes = 0;
    *in = (cohort_edge){.value = BOOKING_INPUT, .grad = BOOKING_NONE};
    if (!planner->for_input || model->input.tokens)
        return COHORT_OK;
    COHORT_REQUIRE(cohort_size_multiply(&bytes, cohort_shape_count(&model->input.shape),
                                        planner->batch * sizeof(real)),
                   COHORT_MEMORY, "the input is too large");
    return cohort_planner_book(&in->grad, planner, bytes, -1, -1);
}

static cohort_status plan(cohort_model *model, const cohort_recipe *recipe)
{
    cohort_planner *planner = &model->planner;
    cohort_flow flow = model->input;
    cohort_edge in;
    COHORT_TRY(book_input(&in, model));
    COHORT_TRY(cohort_planner_sequence(planner, &model->sequence, &model->output_edge,
                                       &recipe->model, "", in, &flow));
    COHORT_REQUIRE(!flow.tokens, COHORT_USAGE,
                   "the network's output are its input tokens; add layers with weights");
    COHORT_REQUIRE(model->output_edge.value >= 0, COHORT_USAGE,
                   "the network has no layer that computes anything");
    COHORT_REQUIRE(!planner->training || planner->has_trainable || planner->for_input, COHORT_USAGE,
                   "nothing to train: the network has no weights, or all are frozen");
    COHORT_TRY(check_freeze(planner));
    /* The loss reads the output and writes its gradient between forward and backward. */
    const int loss = ++planner->tick;
    cohort_planner_use(planner, model->output_edge.value, planner->training ? -loss : loss);
    cohort_planner_use(planner, model->output_edge.grad, -loss);
    COHORT_TRY(cohort_planner_bind(planner, (void **)&model->output, model->output_edge.value));
    COHORT_TRY(cohort_planner_bind(planner, (void **)&model->output_grad, model->output_edge.grad));
    model->output_shape = flow.shape;
    if (planner->masked)
        COHORT_TRY(COHORT_ALLOCATE(&model->mask, planner->batch * model->input.shape.dims[0]));
    return COHORT_OK;
}

static bool wants_bf16(const cohort_recipe *recipe)
{
    return recipe->train.precision == COHORT_PRECISION_BF16;
}

cohort_status cohort_model_check_precision(const cohort_recipe *recipe)
{
    COHORT_REQUIRE(!wants_bf16(recipe) || cohort_bf16_available(), COHORT_USAGE,
                   "train.precision: bf16 needs a CPU with AVX512-BF16 or AMX and a build with "
                   "oneDNN, and this host lacks one; use float32");
    return COHORT_OK;
}

void cohort_model_note_precision(const cohort_model *model, const cohort_recipe *recipe)
{
    if (wants_bf16(recipe) && !model->planner.has_bf16)
        cohort_log(
            COHORT_LOG_WARNING,
            "train.precision: bf16 changes nothing: float32 is faster in every layer of this "
            "network, or the only way");
}

/* Lists the tables whose gradients are kept by rows. */
static cohort_status find_tables(cohort_model *model)
{
    const cohort_planner *planner = &model->planner;
    size_t words = 0;
    if (!planner->training)
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&model->tables, planner->param_count));
    for (size_t i = 0; i < planner->param_count; i++) {
        const cohort_tensor *tensor = &planner->params[i];
        if (!(tensor->flags & COHORT_PARAM_EMBEDDING) || tensor->frozen ||
            tensor->count < TABLE_LEAST || tensor->count > TABLE_MOST)
            continue;
        const size_t row_count = tensor->shape.dims[0];
        model->tables[model->table_count++] = (cohort_table){
            tensor->offset, row_count, tensor->count / row_count, .first_word = words};
        words += cohort_rows_words(row_count);
    }
    return COHORT_OK;
}

/* What a model is planned for. */
typedef enum purpose { TO_INFER, TO_TRAIN, TO_EXPLAIN } purpose;

static cohort_status create(cohort_model **out, const cohort_recipe *recipe,
                            const cohort_flow *input, size_t batch, size_t part, purpose for_what)
{
    *out = NULL;
    cohort_model *model = calloc(1, sizeof *model);
    COHORT_REQUIRE(model, COHORT_MEMORY, "out of memory");
    model->input = *input;
    model->planner.batch = batch;
    model->planner.part = part;
    model->planner.wants_bf16 = wants_bf16(recipe);
    model->planner.training = for_what != TO_INFER;
    model->planner.for_input = for_what == TO_EXPLAIN;
    model->planner.freeze = &recipe->freeze;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_arena_create(&model->planner.arena));
    COHORT_TRY_DONE(status, plan(model, recipe));
    COHORT_TRY_DONE(status, find_tables(model));
    COHORT_TRY_DONE(status, place_work(model));
done:
    if (status != COHORT_OK) {
        if (status == COHORT_USAGE && recipe->path)
            cohort_error_prefix(status, "%s", recipe->path);
        cohort_model_destroy(model);
        return status;
    }
    *out = model;
    return COHORT_OK;
}

cohort_status cohort_model_create(cohort_model **out, const cohort_recipe *recipe,
                                  const cohort_flow *input, size_t batch, bool training)
{
    return create(out, recipe, input, batch, batch, training ? TO_TRAIN : TO_INFER);
}

cohort_status cohort_model_create_in_parts(cohort_model **out, const cohort_recipe *recipe,
                                           const cohort_flow *input, size_t batch, size_t part)
{
    return create(out, recipe, input, batch, part, TO_TRAIN);
}

cohort_status cohort_model_create_for_input(cohort_model **out, const cohort_recipe *recipe,
                                            const cohort_flow *input, size_t batch)
{
    return create(out, recipe, input, batch, batch, TO_EXPLAIN);
}

void cohort_model_destroy(cohort_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->planner.note_count; i++) {
        cohort_layer *layer = (cohort_layer *)model->planner.notes[i].layer;
        if (layer->type->destroy)
            layer->type->destroy(layer);
    }
    cohort_planner_clear(&model->planner);
    cohort_arena_destroy(model->planner.arena);
    cohort_free(model->work);
    cohort_free(model->mask);
    cohort_free(model->tables);
    free(model);
}

/* The first layer from NOTE on that can be computed in several ways, NULL if none;
 * *note moves behind it. */
static cohort_layer *next_with_ways(const cohort_model *model, size_t *note)
{
    while (*note < model->planner.note_count) {
        cohort_layer *layer = (cohort_layer *)model->planner.notes[(*note)++].layer;
        if (layer->type->ways)
            return layer;
    }
    return NULL;
}

/* The first layer like LAYER; LAYER itself if there is none before it. */
static cohort_layer *first_alike(const cohort_model *model, cohort_layer *layer)
{
    size_t note = 0;
    cohort_layer *other = next_with_ways(model, &note);
    while (other != layer &&
           (other->type != layer->type || !layer->type->ways->is_alike(other, layer)))
        other = next_with_ways(model, &note);
    return other;
}

cohort_status cohort_model_tune(cohort_model *model, double seconds, double gain,
                                cohort_text *report)
{
    size_t note = 0, distinct = 0;
    for (cohort_layer *layer; (layer = next_with_ways(model, &note));)
        distinct += first_alike(model, layer) == layer;
    note = 0;
    for (cohort_layer *layer; (layer = next_with_ways(model, &note));) {
        const cohort_layer_ways *ways = layer->type->ways;
        const cohort_layer *like = first_alike(model, layer);
        cohort_text_append(report, "%s:", layer->path);
        if (like == layer) {
            COHORT_TRY(ways->tune(layer, seconds / (double)distinct, gain, report));
        } else {
            ways->choose(layer, ways->choice(like));
            cohort_text_append(report, " as %s", like->path);
        }
        cohort_text_append(report, "\n");
    }
    return cohort_text_status(report);
}

size_t cohort_model_choice_count(const cohort_model *model)
{
    size_t count = 0, note = 0;
    while (next_with_ways(model, &note))
        count++;
    return count;
}

void cohort_model_choices(uint32_t *choices, const cohort_model *model)
{
    size_t note = 0;
    for (cohort_layer *layer; (layer = next_with_ways(model, &note));)
        *choices++ = layer->type->ways->choice(layer);
}

void cohort_model_choose(cohort_model *model, const uint32_t *choices)
{
    size_t note = 0;
    for (cohort_layer *layer; (layer = next_with_ways(model, &note));)
        layer->type->ways->choose(layer, *choices++);
}

void cohort_model_write_choices(cohort_text *text, const cohort_model *model)
{
    size_t note = 0;
    for (cohort_layer *layer; (layer = next_with_ways(model, &note));) {
        cohort_text_append(text, "%s ", layer->path);
        layer->type->ways->write(text, layer->type->ways->choice(layer));
        cohort_text_append(text, "\n");
    }
}

/* The layer whose path is the first LENGTH bytes of PATH; NULL if none with ways. */
static cohort_layer *find_with_ways(const cohort_model *model, const char *path, size_t length)
{
    size_t note = 0;
    cohort_layer *layer;
    while ((layer = next_with_ways(model, &note)))
        if (strlen(layer->path) == length && memcmp(layer->path, path, length) == 0)
            break;
    return layer;
}

/* One line, "PATH WORDS"; a layer's name may hold spaces, words do not begin with its rest. */
static cohort_status read_choice(bool *whole, cohort_model *model, const char *line)
{
    for (const char *gap = strchr(line, ' '); gap; gap = strchr(gap + 1, ' ')) {
        cohort_layer *layer = find_with_ways(model, line, (size_t)(gap - line));
        unsigned choice;
        if (!layer || !layer->type->ways->read(&choice, gap + 1))
            continue;
        layer->type->ways->choose(layer, choice);
        *whole &= layer->type->ways->choice(layer) == choice;
        return COHORT_OK;
    }
    return COHORT_FAIL(COHORT_DATA, "'%s' is no way of computing a layer of this network", line);
}

cohort_status cohort_model_read_choices(bool *whole, cohort_model *model, const char *text)
{
    cohort_text line = {0};
    cohort_status status = COHORT_OK;
    *whole = true;
    while (*text && status == COHORT_OK) {
        const size_t length = strcspn(text, "\n");
        line.length = 0;
        cohort_text_append_bytes(&line, text, length);
        status = cohort_text_status(&line);
        if (status == COHORT_OK && length)
            status = read_choice(whole, model, line.data);
        text += length + (text[length] == '\n');
    }
    cohort_text_clear(&line);
    return status;
}

size_t cohort_model_params_count(const cohort_model *model)
{
    return model->planner.params_reals;
}

size_t cohort_model_state_count(const cohort_model *model)
{
    return model->planner.state_reals;
}

size_t cohort_model_parameter_count(const cohort_model *model)
{
    size_t total = 0;
    for (size_t i = 0; i < model->planner.param_count; i++)
        total += model->planner.params[i].count;
    return total;
}

/* Places of an image or steps of a sequence. */
static size_t positions(const cohort_shape *shape)
{
    const size_t last = shape->dim_count ? shape->dims[shape->dim_count - 1] : 1;
    return cohort_shape_count(shape) / last;
}

double cohort_model_work(const cohort_model *model)
{
    const cohort_planner *planner = &model->planner;
    double work = 0;
    for (size_t i = 0; i < planner->note_count; i++) {
        const cohort_layer_note *note = &planner->notes[i];
        const bool has_list = i + 1 < planner->note_count && note[1].depth > note->depth;
        const size_t in = positions(&note->in.shape), out = positions(&note->out.shape);
        if (!has_list && !note->in.tokens)
            work += (double)note->parameter_count * (double)(in > out ? in : out);
    }
    return work;
}

size_t cohort_model_work_bytes(const cohort_model *model)
{
    return model->work_bytes;
}

void cohort_model_set_grads(cohort_model *model, real *grads)
{
    const cohort_planner *planner = &model->planner;
    model->grads = grads;
    for (size_t i = 0; i < planner->param_binding_count; i++) {
        const cohort_tensor *tensor = &planner->params[planner->param_bindings[i].tensor];
        planner->param_bindings[i].where->grad =
            grads && !tensor->frozen ? grads + tensor->offset : NULL;
    }
    cohort_model_set_rows(model, NULL);
}

cohort_tables cohort_model_tables(const cohort_model *model)
{
    return (cohort_tables){model->tables, model->table_count};
}

void cohort_model_set_rows(cohort_model *model, uint64_t *rows)
{
    const cohort_planner *planner = &model->planner;
    for (size_t i = 0; i < planner->param_binding_count; i++) {
        const cohort_param_binding *binding = &planner->param_bindings[i];
        for (size_t t = 0; t < model->table_count; t++)
            if (model->tables[t].offset == planner->params[binding->tensor].offset)
                binding->where->rows = rows ? rows + model->tables[t].first_word : NULL;
    }
}

void cohort_model_bind(cohort_model *model, real *params, real *grads, real *state)
{
    const cohort_planner *planner = &model->planner;
    model->params = params;
    model->state = state;
    for (size_t i = 0; i < planner->param_binding_count; i++) {
        const cohort_tensor *tensor = &planner->params[planner->param_bindings[i].tensor];
        planner->param_bindings[i].where->value = params + tensor->offset;
    }
    for (size_t i = 0; i < planner->state_binding_count; i++)
        *planner->state_bindings[i].where =
            state + planner->state[planner->state_bindings[i].tensor].offset;
    cohort_model_set_grads(model, grads);
}

void cohort_model_init(cohort_model *model, uint64_t seed)
{
    const cohort_planner *planner = &model->planner;
    for (size_t i = 0; i < planner->param_count; i++) {
        const cohort_tensor *tensor = &planner->params[i];
        const cohort_start *start = &planner->param_starts[i];
        real *values = model->params + tensor->offset;
        if (start->init)
            cohort_init_fill(values, tensor->count, start->init, start->fan_in, start->fan_out,
                             seed, (uint32_t)i);
        else
            for (size_t k = 0; k < tensor->count; k++)
                values[k] = (real)start->constant;
    }
    for (size_t i = 0; i < planner->state_count; i++)
        for (size_t k = 0; k < planner->state[i].count; k++)
            model->state[planner->state[i].offset + k] = (real)planner->state_starts[i].constant;
}

real *cohort_model_params(cohort_model *model)
{
    return model->params;
}

real *cohort_model_grads(cohort_model *model)
{
    return model->grads;
}

real *cohort_model_state(cohort_model *model)
{
    return model->state;
}

cohort_tensors cohort_model_param_tensors(const cohort_model *model)
{
    return (cohort_tensors){model->planner.params, model->planner.param_count};
}

cohort_tensors cohort_model_state_tensors(const cohort_model *model)
{
    return (cohort_tensors){model->planner.state, model->planner.state_count};
}

const cohort_shape *cohort_model_shape_behind(const cohort_model *model, const cohort_layer *layer)
{
    for (size_t i = 0; i < model->planner.note_count; i++)
        if (model->planner.notes[i].layer == layer)
            return &model->planner.notes[i].y;
    return &model->output_shape;
}

const cohort_shape *cohort_model_output_shape(const cohort_model *model)
{
    return &model->output_shape;
}

const cohort_flow *cohort_model_input(const cohort_model *model)
{
    return &model->input;
}

size_t cohort_model_vocabulary(const cohort_model *model)
{
    return model->planner.vocabulary;
}

bool cohort_model_is_masked(const cohort_model *model)
{
    return model->planner.masked;
}

bool cohort_model_uses_sum(const cohort_model *model)
{
    return model->planner.uses_sum;
}

bool cohort_model_needs_whole_batch(const cohort_model *model)
{
    return model->planner.needs_whole_batch;
}

bool cohort_model_is_row_by_row(const cohort_model *model)
{
    return !model->planner.mixes_rows;
}

/* The pass with the mask of the tokens: 1 for a token, 0 for padding (token 0). */
static cohort_pass with_mask(cohort_model *model, const cohort_pass *pass)
{
    cohort_pass own = *pass;
    if (model->mask)
        own.mask = model->mask;
    return own;
}

real *cohort_model_forward(cohort_model *model, const void *x, const cohort_pass *pass)
{
    const cohort_planner *planner = &model->planner;
    for (size_t i = 0; i < planner->binding_count; i++)
        if (planner->bindings[i].booking == BOOKING_INPUT)
            *planner->bindings[i].where = (void *)x;
    if (model->mask) {
        const int32_t *tokens = x;
        const size_t count = pass->batch * model->input.shape.dims[0];
        for (size_t i = 0; i < count; i++)
            model->mask[i] = tokens[i] != 0 ? REAL(1) : REAL(0);
    }
    const cohort_pass own = with_mask(model, pass);
    cohort_sequence_forward(model->sequence, &own);
    return model->output;
}

real *cohort_model_output_grad(cohort_model *model)
{
    return model->output_grad;
}

void cohort_model_backward(cohort_model *model, const cohort_pass *pass)
{
    const cohort_pass own = with_mask(model, pass);
    cohort_sequence_backward(model->sequence, &own);
    if (own.ready)
        own.ready(own.ready_context, 0);
}

const real *cohort_model_input_grad(const cohort_model *model)
{
    return cohort_sequence_input_grad(model->sequence);
}

size_t cohort_model_layer_count(const cohort_model *model)
{
    return model->planner.note_count;
}

cohort_layer_view cohort_model_layer(const cohort_model *model, size_t index)
{
    const cohort_layer_note *note = &model->planner.notes[index];
    const cohort_layer *layer = note->layer;
    return (cohort_layer_view){.spec = {&layer->type->keys, (void *)layer->config, layer->line},
                               .path = layer->path,
                               .in = note->in,
                               .out = note->out};
}

void cohort_model_describe(cohort_text *text, const cohort_model *model)
{
    char shape[COHORT_SHAPE_TEXT];
    cohort_text_append(text, "%-36s %-16s %12s\n", "layer", "output", "parameters");
    for (size_t i = 0; i < model->planner.note_count; i++) {
        const cohort_layer_note *note = &model->planner.notes[i];
        cohort_text_append(text, "%-36s %-16s %12zu\n", note->layer->path,
                           cohort_shape_text(shape, &note->out.shape), note->parameter_count);
    }
}
