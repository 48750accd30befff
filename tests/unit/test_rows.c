/* Gradients by rows: sets of rows, embeddings that mark what they touch, and optimizers that
 * look at what is marked, against the same with whole tables, to the bit. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"
#include "base/rows.h"
#include "kernel/embedding.h"
#include "nn/model.h"
#include "optim/optimizer.h"

/* --- Sets ----------------------------------------------------------------------- */

enum { ROWS = 300, WORDS = 5 };

static void walks_over_runs(void **state)
{
    (void)state;
    static const int32_t marked[] = {0, 3, 63, 64, 65, 127, 128, 200, 200, 206, 298, 299};
    static const size_t runs[][2] = {{0, 1},     {3, 4},     {63, 66},  {127, 129},
                                     {200, 201}, {206, 207}, {298, 300}};
    static const size_t near[][2] = {{0, 4},     {63, 66},   {127, 129},
                                     {200, 201}, {206, 207}, {298, 300}};
    uint64_t bits[WORDS] = {0};
    cohort_rows_mark(bits, marked, sizeof marked / sizeof *marked);
    assert_int_equal(cohort_rows_words(ROWS), WORDS);
    assert_int_equal(cohort_rows_count(bits, WORDS), 11);
    size_t begin, end = 0, found = 0;
    while (cohort_rows_next(&begin, &end, bits, ROWS)) {
        assert_in_range(found, 0, 6);
        assert_int_equal(begin, runs[found][0]);
        assert_int_equal(end, runs[found++][1]);
    }
    assert_int_equal(found, 7);
    for (end = 0, found = 0; cohort_rows_next_near(&begin, &end, bits, ROWS); found++) {
        assert_in_range(found, 0, 5);
        assert_int_equal(begin, near[found][0]);
        assert_int_equal(end, near[found][1]);
    }
    assert_int_equal(found, 6);
    end = 64; /* from and up to any row */
    assert_true(cohort_rows_next(&begin, &end, bits, 65) && begin == 64 && end == 65);
    assert_false(cohort_rows_next(&begin, &end, bits, 65));
    assert_int_equal(cohort_rows_select(bits, WORDS, 0), 0);
    assert_int_equal(cohort_rows_select(bits, WORDS, 4), 65);
    assert_int_equal(cohort_rows_select(bits, WORDS, 10), 299);
    assert_int_equal(cohort_rows_select(bits, WORDS, 11), 64 * WORDS);
}

/* --- Embeddings ----------------------------------------------------------------- */

enum { VOCABULARY = 1200, UNITS = 33, TIME = 7, BATCH = 6, VECTORS = 2 };

typedef struct network {
    cohort_recipe *recipe;
    cohort_model *model;
    real *params, *grads[VECTORS];
    uint64_t *rows[VECTORS]; /* NULL: whole tables */
    size_t count;
} network;

static void open_network(network *n, bool by_rows)
{
    static const char text[] = "name: t\ndata: {file: t.h5}\nloss: mse\nmodel:\n"
                               "  - embedding: {units: 33, mask: true}\n"
                               "  - global_average_pool\n  - dense: 2\n";
    const cohort_flow flow = {.shape = {1, {TIME}}, .tokens = true, .vocabulary = VOCABULARY};
    *n = (network){0};
    assert_ok(cohort_recipe_parse(&n->recipe, text, "t", ".", NULL, 0, cohort_model_catalog()));
    assert_ok(cohort_model_create(&n->model, n->recipe, &flow, BATCH, true));
    n->count = cohort_model_params_count(n->model);
    const cohort_tables tables = cohort_model_tables(n->model);
    assert_int_equal(tables.count, 1);
    assert_int_equal(tables.items[0].row_count, VOCABULARY);
    assert_int_equal(tables.items[0].width, UNITS);
    assert_ok(COHORT_ALLOCATE(&n->params, n->count));
    for (size_t i = 0; i < VECTORS; i++) {
        assert_ok(COHORT_ALLOCATE(&n->grads[i], n->count));
        if (by_rows)
            assert_ok(COHORT_ALLOCATE(&n->rows[i], cohort_tables_words(&tables)));
    }
    cohort_model_bind(n->model, n->params, n->grads[0], NULL);
    cohort_model_init(n->model, 3);
}

static void close_network(network *n)
{
    cohort_model_destroy(n->model);
    cohort_recipe_destroy(n->recipe);
    cohort_free(n->params);
    for (size_t i = 0; i < VECTORS; i++) {
        cohort_free(n->grads[i]);
        cohort_free(n->rows[i]);
    }
}

static void run_pass(network *n, size_t vector, uint64_t seed, size_t batch, bool accumulate)
{
    int32_t tokens[BATCH * TIME];
    cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_TEST, 0, 0, 0);
    for (size_t i = 0; i < BATCH * TIME; i++) /* small ones often, as words are */
        tokens[i] = (int32_t)cohort_rng_below(&rng, 1 + cohort_rng_below(&rng, VOCABULARY));
    const cohort_pass pass = {.batch = batch, .training = true, .accumulate = accumulate};
    cohort_model_set_grads(n->model, n->grads[vector]);
    cohort_model_set_rows(n->model, n->rows[vector]);
    const real *y = cohort_model_forward(n->model, tokens, &pass);
    for (size_t i = 0; i < batch * 2; i++)
        cohort_model_output_grad(n->model)[i] = y[i] - (real)cohort_rng_double(&rng);
    cohort_model_backward(n->model, &pass);
}

/* Any order of passes into two vectors: set, added to, and empty. */
static void embeddings_write_the_rows_they_mark(void **state)
{
    (void)state;
    network whole, sparse;
    open_network(&whole, false);
    open_network(&sparse, true);
    cohort_rng rng = cohort_rng_make(9, COHORT_RNG_TEST, 0, 0, 0);
    size_t most = 0;
    for (uint64_t i = 0; i < 60; i++) {
        const size_t vector = cohort_rng_below(&rng, VECTORS);
        const size_t batch = cohort_rng_below(&rng, BATCH + 1);
        const bool accumulate = i >= VECTORS && cohort_rng_below(&rng, 3) == 0;
        run_pass(&whole, vector, i, batch, accumulate);
        run_pass(&sparse, vector, i, batch, accumulate);
        assert_memory_equal(whole.grads[vector], sparse.grads[vector], whole.count * sizeof(real));
        const size_t marked = cohort_rows_count(sparse.rows[vector], cohort_rows_words(VOCABULARY));
        if (!accumulate)
            assert_true(marked <= batch * TIME);
        most = marked > most ? marked : most;
        for (size_t row = 0; row < VOCABULARY; row++)
            for (size_t j = 0; j < UNITS; j++)
                assert_true(sparse.grads[vector][row * UNITS + j] == 0 ||
                            sparse.rows[vector][row / 64] >> row % 64 & 1);
    }
    assert_true(most > BATCH * TIME / 2);
    cohort_model_set_grads(sparse.model, sparse.grads[0]); /* whole tables again: unmarked too */
    sparse.grads[0][(VOCABULARY - 1) * UNITS] = 1;
    uint64_t *const marks = sparse.rows[0];
    sparse.rows[0] = NULL;
    run_pass(&sparse, 0, 5, 0, false);
    sparse.rows[0] = marks;
    assert_true(sparse.grads[0][(VOCABULARY - 1) * UNITS] == 0);
    close_network(&whole);
    close_network(&sparse);
}

/* --- Optimizers ----------------------------------------------------------------- */

enum {
    HEAD = 48,
    TABLE_ROWS = 700,
    WIDTH = 21,
    TABLE = TABLE_ROWS * WIDTH,
    BEHIND = 14752,
    COUNT = BEHIND + 64,
    STEPS = 12
};
static const cohort_tensor items[] = {
    {"a", "bias", {1, {40}}, 0, 40, 0, false},
    {"b",
     "embeddings",
     {2, {TABLE_ROWS, WIDTH}},
     HEAD,
     TABLE,
     COHORT_PARAM_DECAYS | COHORT_PARAM_EMBEDDING,
     false},
    {"c", "kernel", {1, {64}}, BEHIND, 64, COHORT_PARAM_DECAYS, false},
};
static const cohort_tensors tensors = {items, 3};
static const cohort_table table = {HEAD, TABLE_ROWS, WIDTH, 0};
static const cohort_tables tables = {&table, 1};

/* A step's gradient: the table's in some of its rows, which are marked. */
static void fill_grads(real *grads, uint64_t *bits, uint64_t step, uint32_t one_in)
{
    cohort_rng rng = cohort_rng_make(step, COHORT_RNG_TEST, one_in, 0, 0);
    memset(grads, 0, COUNT * sizeof *grads);
    memset(bits, 0, cohort_rows_words(TABLE_ROWS) * sizeof *bits);
    for (size_t i = 0; i < 40; i++)
        grads[i] = (real)cohort_rng_normal(&rng);
    for (size_t i = 0; i < 64; i++)
        grads[BEHIND + i] = (real)cohort_rng_normal(&rng);
    for (int32_t row = 0; row < TABLE_ROWS; row++) {
        if (cohort_rng_below(&rng, one_in))
            continue;
        cohort_rows_mark(bits, &row, 1);
        for (size_t j = 0; j < WIDTH; j++)
            grads[HEAD + (size_t)row * WIDTH + j] = (real)cohort_rng_normal(&rng);
    }
}

static cohort_optimizer_recipe recipe_of(int type)
{
    return (cohort_optimizer_recipe){
        .type = type, .lr = 0.01, .beta1 = 0.9, .beta2 = 0.999, .rho = 0.9, .epsilon = 1e-7};
}

static void start_params(real *params)
{
    memset(params, 0, COUNT * sizeof *params);
    for (size_t t = 0; t < tensors.count; t++)
        for (size_t i = 0; i < items[t].count; i++)
            params[items[t].offset + i] = (real)((double)(i % 17) - 8) * REAL(0.01);
}

/* What matters is marked: the same bits as without marks, parameters, slots and norms. */
static void check_same(const cohort_optimizer_recipe *recipe, uint32_t one_in)
{
    static real params[2][COUNT], grads[COUNT];
    static uint64_t bits[16];
    cohort_optimizer *whole, *marked;
    assert_ok(cohort_optimizer_create(&whole, recipe, &tensors, COUNT));
    assert_ok(cohort_optimizer_create(&marked, recipe, &tensors, COUNT));
    assert_ok(cohort_optimizer_watch_rows(marked, &tables, bits));
    start_params(params[0]);
    start_params(params[1]);
    for (uint64_t step = 1; step <= STEPS; step++) {
        fill_grads(grads, bits, step, one_in);
        const double a = cohort_optimizer_step(whole, params[0], grads, 0.01, step);
        const double b = cohort_optimizer_step(marked, params[1], grads, 0.01, step);
        assert_memory_equal(&a, &b, sizeof a);
        assert_memory_equal(params[0], params[1], sizeof params[0]);
        for (size_t i = 0; i < cohort_optimizer_slot_count(whole); i++)
            assert_memory_equal(cohort_optimizer_slot(whole, i), cohort_optimizer_slot(marked, i),
                                COUNT * sizeof(real));
    }
    cohort_optimizer_destroy(whole);
    cohort_optimizer_destroy(marked);
}

static void marks_change_no_bit(void **state)
{
    (void)state;
    for (int type = COHORT_SGD; type <= COHORT_ADAGRAD; type++)
        for (int variant = 0; variant < 6; variant++) {
            cohort_optimizer_recipe recipe = recipe_of(type);
            recipe.clip_norm = variant == 1 ? 3 : 0;
            recipe.clip_value = variant == 2 ? 0.5 : 0;
            recipe.weight_decay = variant == 3 ? 0.1 : 0;
            recipe.l1 = variant == 4 ? 0.1 : 0;
            recipe.momentum = variant == 5 ? 0.9 : 0;
            check_same(&recipe, 20);
            check_same(&recipe, 1);
            check_same(&recipe, 1000000);
        }
}

static bool is_close(real a, real b)
{
    return fabs((double)a - (double)b) <= 1e-6 * (fabs((double)b) + 0.1);
}

static void copy_slots(cohort_optimizer *to, cohort_optimizer *from)
{
    for (size_t i = 0; i < cohort_optimizer_slot_count(from); i++)
        memcpy(cohort_optimizer_slot(to, i), cohort_optimizer_slot(from, i), COUNT * sizeof(real));
}

/* OLD is before the step, ALL what a step on all rows makes of it, NEW what is. */
static void check_rests(const real *old, const real *all, const real *new, const uint64_t *bits)
{
    for (size_t i = 0; i < COUNT; i++) {
        const bool is_row = i >= HEAD && i < HEAD + TABLE;
        const size_t row = is_row ? (i - HEAD) / WIDTH : 0;
        const bool rests = is_row && !(bits[row / 64] >> row % 64 & 1);
        assert_true(rests ? new[i] == old[i] : is_close(new[i], all[i]));
    }
}

/* embedding_rows: used. A row is only touched when it is marked, and then as the whole table
 * would be; its slots rest in between. However the vector is cut, the bits are the same. */
static void check_used(const cohort_optimizer_recipe *recipe)
{
    enum { USED, CUT, ALL, OLD };
    static real params[4][COUNT], grads[COUNT];
    static uint64_t bits[16];
    cohort_optimizer *by[4];
    for (size_t i = 0; i < 4; i++)
        assert_ok(cohort_optimizer_create(&by[i], recipe, &tensors, COUNT));
    assert_ok(cohort_optimizer_watch_rows(by[USED], &tables, bits));
    assert_ok(cohort_optimizer_watch_rows(by[CUT], &tables, bits));
    start_params(params[USED]);
    for (uint64_t step = 1; step <= STEPS; step++) {
        for (size_t i = CUT; i <= OLD; i++) {
            memcpy(params[i], params[USED], sizeof params[i]);
            copy_slots(by[i], by[USED]);
        }
        fill_grads(grads, bits, step, 20);
        const double norm = cohort_optimizer_step(by[USED], params[USED], grads, 0.01, step);
        for (size_t begin = 0; begin < COUNT; begin += 208)
            cohort_optimizer_update_range(by[CUT], params[CUT], grads, norm, 0.01, step, begin,
                                          begin + 208 < COUNT ? begin + 208 : COUNT);
        cohort_optimizer_step(by[ALL], params[ALL], grads, 0.01, step);
        assert_memory_equal(params[USED], params[CUT], sizeof params[CUT]);
        check_rests(params[OLD], params[ALL], params[USED], bits);
        size_t moved = 0;
        for (size_t i = HEAD; i < HEAD + TABLE; i++)
            moved += params[ALL][i] != params[OLD][i];
        assert_true(moved > TABLE / 2); /* decay moves those that would have rested */
        for (size_t s = 0; s < cohort_optimizer_slot_count(by[USED]); s++)
            check_rests(cohort_optimizer_slot(by[OLD], s), cohort_optimizer_slot(by[ALL], s),
                        cohort_optimizer_slot(by[USED], s), bits);
    }
    for (size_t i = 0; i < 4; i++)
        cohort_optimizer_destroy(by[i]);
}

static void unused_rows_rest(void **state)
{
    (void)state;
    for (int type = COHORT_SGD; type <= COHORT_ADAGRAD; type++) {
        cohort_optimizer_recipe recipe = recipe_of(type);
        recipe.embedding_rows = COHORT_ROWS_USED;
        recipe.weight_decay = 0.1;
        recipe.momentum = 0.9;
        check_used(&recipe);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_over_runs),
        cmocka_unit_test(embeddings_write_the_rows_they_mark),
        cmocka_unit_test(marks_change_no_bit),
        cmocka_unit_test(unused_rows_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
