/* Wide dense layers go through their kernel in pieces, each of which is complete when it is told.
 */
#include "tests/cmocka_all.h"

#include <math.h>

#include "base/memory.h"
#include "nn/model.h"

enum { BATCH = 5, IN = 33, WIDE = 1100, OUT = 1000, TOLD_MOST = 64 };

static const char recipe_text[] =
    "name: t\ndata: {file: t.h5}\nloss: cross_entropy\nmodel:\n"
    "- dense: {units: 1100, activation: tanh}\n- dense: {units: 1000}\n";

typedef struct listener {
    const real *grads;
    size_t count, told[TOLD_MOST], told_count;
    real *seen; /* [count] what was there when it was told */
    size_t from;
} listener;

static void listen(void *context, size_t offset)
{
    listener *l = context;
    assert_true(l->told_count < TOLD_MOST && offset <= l->from);
    l->told[l->told_count++] = offset;
    memcpy(l->seen + offset, l->grads + offset, (l->from - offset) * sizeof *l->seen);
    l->from = offset;
}

/* The kernel's gradient is x' dy, told before the input's is made and in more than one piece. */
static void pieces_are_complete_when_told(void **state)
{
    (void)state;
    cohort_recipe *recipe;
    cohort_model *model;
    real *params, *grads, *nothing, *x;
    const cohort_flow flow = {.shape = cohort_shape_of(IN)};
    assert_ok(cohort_recipe_parse(&recipe, recipe_text, "t", ".", NULL, 0, cohort_model_catalog()));
    assert_ok(cohort_model_create(&model, recipe, &flow, BATCH, true));
    const size_t count = cohort_model_params_count(model);
    listener l = {.count = count, .from = count};
    assert_ok(COHORT_ALLOCATE(&params, count));
    assert_ok(COHORT_ALLOCATE(&grads, count));
    assert_ok(COHORT_ALLOCATE(&l.seen, count));
    assert_ok(COHORT_ALLOCATE(&nothing, cohort_model_state_count(model) + 1));
    assert_ok(COHORT_ALLOCATE(&x, BATCH * IN));
    for (size_t i = 0; i < BATCH * IN; i++)
        x[i] = (real)(i * 7919 % 255) / 255;
    l.grads = grads;
    cohort_model_bind(model, params, grads, nothing);
    cohort_model_init(model, 1);
    const cohort_pass pass = {
        .batch = BATCH, .training = true, .ready = listen, .ready_context = &l};
    cohort_model_forward(model, x, &pass);
    real dy[BATCH * OUT], *out = cohort_model_output_grad(model);
    for (size_t i = 0; i < BATCH * OUT; i++)
        out[i] = dy[i] = (real)(i * 31 % 17) / 17 - REAL(0.5);
    cohort_model_backward(model, &pass);
    assert_int_equal(l.from, 0);
    assert_memory_equal(l.seen, grads, count * sizeof *grads);
    const cohort_tensors tensors = cohort_model_param_tensors(model);
    const cohort_tensor *kernel = &tensors.items[2];
    assert_int_equal(kernel->count, WIDE * OUT);
    size_t inside = 0;
    for (size_t i = 0; i < l.told_count; i++)
        inside += l.told[i] > kernel->offset && l.told[i] < kernel->offset + kernel->count;
    assert_true(inside >= 2);
    /* x of the second layer, from the parameters of the first. */
    for (size_t row = 0; row < WIDE; row += 97)
        for (size_t column = 0; column < OUT; column += 89) {
            double wanted = 0;
            for (size_t b = 0; b < BATCH; b++) {
                double z = 0;
                for (size_t i = 0; i < IN; i++)
                    z += (double)x[b * IN + i] *
                         (double)params[tensors.items[0].offset + i * WIDE + row];
                wanted += tanh(z) * (double)dy[b * OUT + column];
            }
            assert_true(fabs((double)grads[kernel->offset + row * OUT + column] - wanted) < 1e-4);
        }
    cohort_model_destroy(model);
    cohort_recipe_destroy(recipe);
    cohort_free(params);
    cohort_free(grads);
    cohort_free(l.seen);
    cohort_free(nothing);
    cohort_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_are_complete_when_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
