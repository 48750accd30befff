/* What every layer must do, run over the networks of conformance.def, in double:
 *
 *   gradients      of a random linear function of the outputs, against central
 *                  differences: each tensor by single elements and, over the whole
 *                  network, along a random direction; to 1e-7
 *   accumulation   two microbatches, the second one added, equal one batch; so do the
 *                  outputs (smaller batches than planned)
 *   setting        without `accumulate` whatever was in the gradients is replaced
 *   repeatability  the same pass from the same state gives the same bits
 *   empty batch    sets gradients to 0, or adds nothing
 *   inference      a model planned for it gives what the trained one does
 *   input          gradients of the input, or of embedded tokens, against central differences
 *   padding        of the flat vectors stays 0
 *
 * Besides, who computes the sums of a residual. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "base/rng.h"
#include "nn/model.h"

enum { BATCH_STATISTICS = 1 };

typedef struct network_case {
    cohort_flow flow;
    size_t batch;
    unsigned flags;
    const char *layers;
    const char *refusal; /* NULL: conforms */
} network_case;

#define REALS(...)                                                                                 \
    {                                                                                              \
        .shape = { sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t), {__VA_ARGS__} }               \
    }
#define TOKENS(time, words)                                                                        \
    {                                                                                              \
        .shape = {1, {time}}, .tokens = true, .vocabulary = words                                  \
    }
#define CONFORM(flow, batch, flags, layers) {flow, batch, flags, layers, NULL},
#define REFUSE(flow, message, layers) {flow, 1, 0, layers, message},

static const network_case cases[] = {
#include "tests/unit/conformance.def"
};
enum { CASE_COUNT = sizeof cases / sizeof *cases };

/* A network with its vectors and a batch. */
typedef struct fixture {
    const network_case *spec;
    cohort_recipe *recipe;
    cohort_model *model;
    size_t params_count, in_count, out_count; /* in, out: of a sample */
    real *params, *grads, *state;
    void *x;
    real *weights; /* [batch][out]: the function is their sum with the outputs */
    uint64_t *samples;
} fixture;

static double uniform(cohort_rng *rng)
{
    return 2 * cohort_rng_double(rng) - 1;
}

static cohort_status parse(cohort_recipe **recipe, const char *layers)
{
    char text[4096];
    int length =
        snprintf(text, sizeof text, "name: t\ndata: {file: t.h5}\nloss: mse\nmodel:\n%s", layers);
    assert_true(length > 0 && (size_t)length < sizeof text);
    return cohort_recipe_parse(recipe, text, "case", ".", NULL, 0, cohort_model_catalog());
}

/* Random input; tokens end in some padding, one sample is nothing else. */
static void fill_input(fixture *f, cohort_rng *rng)
{
    const size_t batch = f->spec->batch, count = batch * f->in_count;
    if (!f->spec->flow.tokens) {
        real *x = NULL;
        assert_ok(COHORT_ALLOCATE(&x, count));
        for (size_t i = 0; i < count; i++)
            x[i] = uniform(rng);
        f->x = x;
        return;
    }
    int32_t *tokens = NULL;
    assert_ok(COHORT_ALLOCATE(&tokens, count));
    for (size_t b = 0; b < batch; b++) {
        size_t length = b == 1 ? 0 : f->in_count - b % f->in_count;
        for (size_t t = 0; t < length; t++)
            tokens[b * f->in_count + t] =
                1 + (int32_t)cohort_rng_below(rng, (uint32_t)f->spec->flow.vocabulary - 1);
    }
    f->x = tokens;
}

/* Parameters are moved off their start values, so that biases are tested too. */
static void set_up(fixture *f, const network_case *spec)
{
    *f = (fixture){.spec = spec};
    assert_ok(parse(&f->recipe, spec->layers));
    assert_ok(cohort_model_create(&f->model, f->recipe, &spec->flow, spec->batch, true));
    f->params_count = cohort_model_params_count(f->model);
    f->in_count = cohort_shape_count(&spec->flow.shape);
    f->out_count = cohort_shape_count(cohort_model_output_shape(f->model));
    assert_ok(COHORT_ALLOCATE(&f->params, f->params_count));
    assert_ok(COHORT_ALLOCATE(&f->grads, f->params_count));
    assert_ok(COHORT_ALLOCATE(&f->state, cohort_model_state_count(f->model) + 1));
    assert_ok(COHORT_ALLOCATE(&f->weights, spec->batch * f->out_count));
    assert_ok(COHORT_ALLOCATE(&f->samples, spec->batch));
    cohort_model_bind(f->model, f->params, f->grads, f->state);
    cohort_model_init(f->model, 5);
    cohort_rng rng = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, 0);
    const cohort_tensors tensors = cohort_model_param_tensors(f->model);
    for (size_t t = 0; t < tensors.count; t++)
        for (size_t i = 0; i < tensors.items[t].count; i++)
            f->params[tensors.items[t].offset + i] += 0.3 * uniform(&rng);
    fill_input(f, &rng);
    for (size_t i = 0; i < spec->batch * f->out_count; i++)
        f->weights[i] = uniform(&rng);
    for (size_t i = 0; i < spec->batch; i++)
        f->samples[i] = 1000 + 7 * i;
}

static void tear_down(fixture *f)
{
    cohort_model_destroy(f->model);
    cohort_recipe_destroy(f->recipe);
    cohort_free(f->params);
    cohort_free(f->grads);
    cohort_free(f->state);
    cohort_free(f->weights);
    cohort_free(f->samples);
    cohort_free(f->x);
}

static cohort_pass pass_of(const fixture *f, size_t begin, size_t end)
{
    return (cohort_pass){.batch = end - begin,
                         .training = true,
                         .seed = 3,
                         .step = 11,
                         .samples = f->samples + begin};
}

static const void *input_at(const fixture *f, size_t sample)
{
    const size_t bytes = f->spec->flow.tokens ? sizeof(int32_t) : sizeof(real);
    return (const char *)f->x + sample * f->in_count * bytes;
}

/* The function of the samples [begin, end). */
static double value_of(const fixture *f, size_t begin, size_t end)
{
    const cohort_pass pass = pass_of(f, begin, end);
    const real *y = cohort_model_forward(f->model, input_at(f, begin), &pass);
    double sum = 0;
    for (size_t i = 0; i < (end - begin) * f->out_count; i++)
        sum += y[i] * f->weights[begin * f->out_count + i];
    return sum;
}

/* Its gradient, into or onto f->grads. */
static void run_backward(const fixture *f, size_t begin, size_t end, bool accumulate)
{
    cohort_pass pass = pass_of(f, begin, end);
    pass.accumulate = accumulate;
    cohort_model_forward(f->model, input_at(f, begin), &pass);
    if (end > begin)
        memcpy(cohort_model_output_grad(f->model), f->weights + begin * f->out_count,
               (end - begin) * f->out_count * sizeof *f->weights);
    cohort_model_backward(f->model, &pass);
}

static double largest(const real *values, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(values[i]));
    return most;
}

static void check_close(const fixture *f, const char *what, const real *got, const real *wanted,
                        size_t count, double tolerance)
{
    const double scale = largest(wanted, count) + 1e-3;
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - wanted[i]) <= tolerance * scale))
            fail_msg("%s%s: element %zu is %.12g, expected %.12g", f->spec->layers, what, i, got[i],
                     wanted[i]);
}

/* Up to CHECKED elements of every tensor, spread over it. */
static void check_elements(const fixture *f)
{
    enum { CHECKED = 24 };
    const double h = 1e-5;
    const cohort_tensors tensors = cohort_model_param_tensors(f->model);
    const size_t batch = f->spec->batch;
    run_backward(f, 0, batch, false);
    for (size_t t = 0; t < tensors.count; t++) {
        const cohort_tensor *tensor = &tensors.items[t];
        const double scale = largest(f->grads + tensor->offset, tensor->count) + 1e-1;
        const size_t checks = tensor->count < CHECKED ? tensor->count : CHECKED;
        for (size_t c = 0; c < checks; c++) {
            const size_t index = tensor->offset + cohort_part_begin(tensor->count, c, checks);
            const real kept = f->params[index];
            f->params[index] = kept + h;
            const double up = value_of(f, 0, batch);
            f->params[index] = kept - h;
            const double down = value_of(f, 0, batch);
            f->params[index] = kept;
            const double wanted = (up - down) / (2 * h);
            if (!(fabs(f->grads[index] - wanted) <= 1e-7 * scale))
                fail_msg("%s%s/%s[%zu]: gradient %.12g, difference %.12g", f->spec->layers,
                         tensor->layer, tensor->name, index - tensor->offset, f->grads[index],
                         wanted);
        }
    }
}

static void check_direction(const fixture *f)
{
    const double h = 1e-5;
    const size_t batch = f->spec->batch;
    real *direction = NULL, *kept = NULL;
    assert_ok(COHORT_ALLOCATE(&direction, f->params_count));
    assert_ok(COHORT_ALLOCATE(&kept, f->params_count));
    cohort_rng rng = cohort_rng_make(2, COHORT_RNG_TEST, 0, 0, 0);
    run_backward(f, 0, batch, false);
    memcpy(kept, f->params, f->params_count * sizeof *kept);
    double slope = 0, length = 0, values[2];
    for (size_t i = 0; i < f->params_count; i++) {
        direction[i] = f->grads[i] == 0 ? 0 : uniform(&rng);
        slope += direction[i] * f->grads[i];
        length += fabs(direction[i] * f->grads[i]);
    }
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < f->params_count; i++)
            f->params[i] = kept[i] + (side ? -h : h) * direction[i];
        values[side] = value_of(f, 0, batch);
    }
    memcpy(f->params, kept, f->params_count * sizeof *kept);
    const double wanted = (values[0] - values[1]) / (2 * h);
    if (!(fabs(slope - wanted) <= 1e-7 * (length + 1)))
        fail_msg("%swhole network: slope %.12g, difference %.12g", f->spec->layers, slope, wanted);
    cohort_free(direction);
    cohort_free(kept);
}

/* Two microbatches, the first of them into gradients full of rubbish. */
static void check_accumulation(const fixture *f)
{
    const size_t batch = f->spec->batch, half = batch / 2, out = f->out_count;
    const cohort_tensors tensors = cohort_model_param_tensors(f->model);
    real *whole = NULL, *outputs = NULL;
    assert_ok(COHORT_ALLOCATE(&whole, f->params_count));
    assert_ok(COHORT_ALLOCATE(&outputs, batch * out));
    const cohort_pass all = pass_of(f, 0, batch), rest = pass_of(f, half, batch);
    memcpy(outputs, cohort_model_forward(f->model, f->x, &all), batch * out * sizeof *outputs);
    run_backward(f, 0, batch, false);
    memcpy(whole, f->grads, f->params_count * sizeof *whole);
    for (size_t t = 0; t < tensors.count; t++)
        for (size_t i = 0; i < tensors.items[t].count; i++)
            f->grads[tensors.items[t].offset + i] = NAN;
    run_backward(f, 0, half, false);
    run_backward(f, half, batch, true);
    check_close(f, "accumulated gradient", f->grads, whole, f->params_count, 1e-12);
    const real *y = cohort_model_forward(f->model, input_at(f, half), &rest);
    check_close(f, "output of a part", y, outputs + half * out, (batch - half) * out, 1e-12);
    cohort_free(whole);
    cohort_free(outputs);
}

static void check_repeatability(const fixture *f)
{
    const size_t batch = f->spec->batch, state_count = cohort_model_state_count(f->model);
    real *first = NULL, *state = NULL;
    assert_ok(COHORT_ALLOCATE(&first, f->params_count));
    assert_ok(COHORT_ALLOCATE(&state, state_count + 1));
    memcpy(state, f->state, state_count * sizeof *state);
    run_backward(f, 0, batch, false);
    memcpy(first, f->grads, f->params_count * sizeof *first);
    memcpy(f->state, state, state_count * sizeof *state);
    run_backward(f, 0, batch, false);
    assert_memory_equal(first, f->grads, f->params_count * sizeof *first);
    memcpy(f->state, state, state_count * sizeof *state);
    const double value = value_of(f, 0, batch);
    memcpy(f->state, state, state_count * sizeof *state);
    assert_true(value == value_of(f, 0, batch));
    cohort_free(first);
    cohort_free(state);
}

static void check_empty_batch(const fixture *f)
{
    real *before = NULL;
    assert_ok(COHORT_ALLOCATE(&before, f->params_count));
    run_backward(f, 0, f->spec->batch, false);
    memcpy(before, f->grads, f->params_count * sizeof *before);
    run_backward(f, 0, 0, true);
    assert_memory_equal(before, f->grads, f->params_count * sizeof *before);
    run_backward(f, 0, 0, false);
    for (size_t i = 0; i < f->params_count; i++)
        if (f->grads[i] != 0)
            fail_msg("%san empty batch left gradient %zu", f->spec->layers, i);
    cohort_free(before);
}

static void check_inference(const fixture *f)
{
    const size_t batch = f->spec->batch, count = batch * f->out_count;
    cohort_model *model = NULL;
    assert_ok(cohort_model_create(&model, f->recipe, &f->spec->flow, batch, false));
    assert_int_equal(cohort_model_params_count(model), f->params_count);
    assert_true(cohort_model_work_bytes(model) <= cohort_model_work_bytes(f->model));
    cohort_model_bind(model, f->params, NULL, f->state);
    cohort_pass pass = pass_of(f, 0, batch);
    pass.training = false;
    const real *wanted = cohort_model_forward(f->model, f->x, &pass);
    const real *got = cohort_model_forward(model, f->x, &pass);
    check_close(f, "output of inference", got, wanted, count, 1e-12);
    cohort_model_destroy(model);
}

/* What the gradient is asked of: the input, or for tokens the vectors that the first layer makes
 * of them, of which one element is shifted. */
typedef struct probe {
    const fixture *f;
    cohort_model *model;
    real *values; /* of a batch: the input, to be shifted in place; NULL for tokens */
    real *gradient;
    size_t count, shifted;
    double shift;
} probe;

static void probe_visit(void *context, const cohort_layer *layer, const cohort_pass *pass,
                        bool is_backward)
{
    probe *p = context;
    (void)pass;
    if (!layer->tokens)
        return;
    if (is_backward)
        memcpy(p->gradient, layer->dy, p->count * sizeof *p->gradient);
    else
        layer->y[p->shifted] += p->shift;
}

static double probe_value(probe *p, size_t element, double shift)
{
    const size_t count = p->f->spec->batch * p->f->out_count;
    cohort_pass pass = pass_of(p->f, 0, p->f->spec->batch);
    double sum = 0;
    pass.training = false;
    pass.visit = probe_visit;
    pass.visit_context = p;
    p->shifted = element;
    p->shift = shift;
    if (p->values)
        p->values[element] += shift;
    const real *y = cohort_model_forward(p->model, p->f->x, &pass);
    for (size_t i = 0; i < count; i++)
        sum += y[i] * p->f->weights[i];
    if (p->values)
        p->values[element] -= shift;
    return sum;
}

static void probe_backward(probe *p)
{
    const size_t batch = p->f->spec->batch;
    cohort_pass pass = pass_of(p->f, 0, batch);
    pass.training = false;
    pass.visit = probe_visit;
    pass.visit_context = p;
    p->shift = 0;
    cohort_model_forward(p->model, p->f->x, &pass);
    memcpy(cohort_model_output_grad(p->model), p->f->weights,
           batch * p->f->out_count * sizeof *p->f->weights);
    cohort_model_backward(p->model, &pass);
    const real *found = cohort_model_input_grad(p->model);
    assert_true((found != NULL) == (p->values != NULL));
    if (found)
        memcpy(p->gradient, found, p->count * sizeof *found);
}

/* A model for its input gives the gradient there, without any of parameters. */
static void check_input(const fixture *f)
{
    enum { CHECKED = 24 };
    const double h = 1e-5;
    const bool tokens = f->spec->flow.tokens;
    probe p = {.f = f, .values = tokens ? NULL : f->x};
    assert_ok(cohort_model_create_for_input(&p.model, f->recipe, &f->spec->flow, f->spec->batch));
    cohort_model_bind(p.model, f->params, NULL, f->state);
    const cohort_shape vectors = cohort_model_layer(p.model, 0).out.shape;
    p.count = f->spec->batch * (tokens ? cohort_shape_count(&vectors) : f->in_count);
    assert_ok(COHORT_ALLOCATE(&p.gradient, p.count));
    probe_backward(&p);
    const double scale = largest(p.gradient, p.count) + 1e-1;
    const size_t checks = p.count < CHECKED ? p.count : CHECKED;
    for (size_t c = 0; c < checks; c++) {
        const size_t element = cohort_part_begin(p.count, c, checks);
        const double wanted =
            (probe_value(&p, element, h) - probe_value(&p, element, -h)) / (2 * h);
        if (!(fabs(p.gradient[element] - wanted) <= 1e-7 * scale))
            fail_msg("%sinput[%zu]: gradient %.12g, difference %.12g", f->spec->layers, element,
                     p.gradient[element], wanted);
    }
    cohort_free(p.gradient);
    cohort_model_destroy(p.model);
}

static void check_padding(const fixture *f)
{
    const cohort_tensors tensors = cohort_model_param_tensors(f->model);
    size_t at = 0;
    for (size_t t = 0; t <= tensors.count; t++) {
        const size_t end = t < tensors.count ? tensors.items[t].offset : f->params_count;
        for (; at < end; at++)
            assert_true(f->params[at] == 0 && f->grads[at] == 0);
        if (t < tensors.count)
            at += tensors.items[t].count;
    }
}

static void conforms(void **state)
{
    const network_case *spec = *state;
    fixture f;
    set_up(&f, spec);
    check_elements(&f);
    check_direction(&f);
    if (!(spec->flags & BATCH_STATISTICS))
        check_accumulation(&f);
    check_repeatability(&f);
    check_empty_batch(&f);
    check_inference(&f);
    check_input(&f);
    check_padding(&f);
    tear_down(&f);
}

static void refuses(void **state)
{
    const network_case *spec = *state;
    cohort_recipe *recipe = NULL;
    cohort_model *model = NULL;
    assert_ok(parse(&recipe, spec->layers));
    assert_fails(cohort_model_create(&model, recipe, &spec->flow, spec->batch, true), COHORT_USAGE,
                 spec->refusal);
    assert_null(model);
    cohort_recipe_destroy(recipe);
}

/* --- Sums of residuals --- */

/* What is seen of the residual in a pass, and of the layers at the ends of its list. */
typedef struct sums_seen {
    const real *y, *dx, *last_y, *first_dx;
} sums_seen;

static void see_sums(void *context, const cohort_layer *layer, const cohort_pass *pass,
                     bool is_backward)
{
    sums_seen *seen = context;
    const bool is_inside = strchr(layer->path, '/') != NULL;
    (void)pass;
    if (is_backward && is_inside)
        seen->first_dx = layer->dx;
    else if (is_backward && strstr(layer->path, "residual"))
        seen->dx = layer->dx;
    else if (is_inside)
        seen->last_y = layer->y;
    else if (strstr(layer->path, "residual"))
        seen->y = layer->y;
}

/* The layers at the ends write where the residual's y and dx are, if they can compute its sums. */
static void test_sums(void **state)
{
    (void)state;
    static const struct {
        const char *residual;
        bool is_summed, is_back_summed;
    } sums[] = {
        {"{layers: [layer_norm, dense: 4]}\n", true, true},
        {"{layers: [layer_norm, attention: 2]}\n", true, true},
        {"{layers: [layer_norm, dense: 4, dropout: 0.5]}\n", true, true},
        {"{layers: [dense: 4, batch_norm]}\n- relu\n", true, false},
        {"{layers: [layer_norm, {dense: {units: 4, activation: gelu}}]}\n", false, true},
        {"{layers: [layer_norm, dense: 4]}\n- relu\n", false, true},
        {"{layers: [dense: 4, batch_norm, relu]}\n", false, false},
        {"{layers: [layer_norm, dense: 4], shortcut: [dense: 4]}\n", false, false},
    };
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        char layers[256];
        snprintf(layers, sizeof layers, "- dense: 4\n- residual: %s- dense: 2\n", sums[i].residual);
        const network_case spec = {REALS(3, 4), 2, 0, layers, NULL};
        fixture f;
        sums_seen seen = {0};
        set_up(&f, &spec);
        cohort_pass pass = pass_of(&f, 0, 2);
        pass.visit = see_sums;
        pass.visit_context = &seen;
        cohort_model_forward(f.model, f.x, &pass);
        memcpy(cohort_model_output_grad(f.model), f.weights, 2 * f.out_count * sizeof *f.weights);
        cohort_model_backward(f.model, &pass);
        assert_true(seen.y && seen.dx && seen.last_y && seen.first_dx);
        if ((seen.y == seen.last_y) != sums[i].is_summed ||
            (seen.dx == seen.first_dx) != sums[i].is_back_summed)
            fail_msg("%ssums: forward %d, backward %d", layers, seen.y == seen.last_y,
                     seen.dx == seen.first_dx);
        tear_down(&f);
    }
}

/* The layers on one line. */
static const char *case_name(char name[128], const char *layers)
{
    snprintf(name, 128, "%s", layers);
    for (char *c = name; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return name;
}

int main(void)
{
    static struct CMUnitTest tests[CASE_COUNT + 1] = {[CASE_COUNT] = cmocka_unit_test(test_sums)};
    static char names[CASE_COUNT][128];
    for (size_t i = 0; i < CASE_COUNT; i++)
        tests[i] = (struct CMUnitTest){.name = case_name(names[i], cases[i].layers),
                                       .test_func = cases[i].refusal ? refuses : conforms,
                                       .initial_state = (void *)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
