/* The update dealt to the ranks of a node: the bits of one rank's, and less of it for each. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"
#include "comm/reducer.h"
#include "train/shared_update.h"

static cohort_comm *comm;
static int rank, size;

static void assert_all(bool good)
{
    double bad = good ? 0 : 1;
    assert_ok(cohort_comm_sum(comm, &bad, 1));
    if (!good)
        fprintf(stderr, "rank %d fails\n", rank);
    assert_true(bad == 0);
}

/* A table in the middle, at no multiple of a block; a frozen tensor; a last block that is cut. */
enum {
    TABLE_ROWS = 2500,
    WIDTH = 24,
    TABLE = 5008,
    KERNEL = TABLE + TABLE_ROWS * WIDTH,
    FROZEN = KERNEL + 30000,
    LAST = FROZEN + 4800,
    COUNT = LAST + 1600,
    STEPS = 6,
    WORDS = 40
};
static const cohort_tensor items[] = {
    {"a", "kernel", {1, {5001}}, 0, 5001, COHORT_PARAM_DECAYS, false},
    {"b",
     "embeddings",
     {2, {TABLE_ROWS, WIDTH}},
     TABLE,
     TABLE_ROWS *WIDTH,
     COHORT_PARAM_DECAYS | COHORT_PARAM_EMBEDDING,
     false},
    {"c", "kernel", {1, {29999}}, KERNEL, 29999, COHORT_PARAM_DECAYS, false},
    {"d", "kernel", {1, {4800}}, FROZEN, 4800, COHORT_PARAM_DECAYS, true},
    {"e", "bias", {1, {1597}}, LAST, 1597, 0, false},
};
static const cohort_tensors tensors = {items, 5};
static const cohort_table table = {TABLE, TABLE_ROWS, WIDTH, 0};

typedef struct network {
    cohort_shared_update *shared;
    cohort_reducer *reducer;
    cohort_optimizer *optimizer;
    float *params;
} network;

/* Rank R's gradient at STEP into GRADS and MARKS. */
static void fill(float *grads, uint64_t *marks, int r, int step, bool has_table)
{
    cohort_rng rng = cohort_rng_make((uint64_t)step, COHORT_RNG_TEST, (uint32_t)r, 0, 0);
    memset(grads, 0, COUNT * sizeof *grads);
    memset(marks, 0, WORDS * sizeof *marks);
    for (size_t t = 0; t < tensors.count; t++)
        for (size_t i = 0; i < items[t].count && items[t].offset != TABLE; i++)
            grads[items[t].offset + i] = (float)cohort_rng_normal(&rng);
    for (int32_t row = 0; row < TABLE_ROWS; row++) {
        if (cohort_rng_below(&rng, 1 + (uint32_t)row / 50))
            continue;
        if (has_table)
            cohort_rows_mark(marks, &row, 1);
        for (size_t j = 0; j < WIDTH; j++)
            grads[TABLE + (size_t)row * WIDTH + j] = (float)cohort_rng_normal(&rng);
    }
}

static void start_params(float *params)
{
    for (size_t t = 0; t < tensors.count; t++)
        for (size_t i = 0; i < items[t].count; i++)
            params[items[t].offset + i] = (float)((double)(i % 23) - 11) * 0.01F;
}

static void open_network(network *n, const cohort_optimizer_recipe *recipe,
                         const cohort_tables *tables, bool shares)
{
    *n = (network){0};
    assert_ok(cohort_optimizer_create(&n->optimizer, recipe, &tensors, COUNT));
    cohort_reducer_config config = {.timeout = 60, .bucket_bytes = 1 << 16, .tables = *tables};
    if (shares)
        assert_ok(cohort_shared_update_create(&n->shared, comm, COUNT,
                                              cohort_optimizer_slot_count(n->optimizer)));
    if (n->shared) {
        config.slice_unit = COHORT_OPTIMIZER_BLOCK;
        config.summed = cohort_shared_update_summed;
        config.summed_context = n->shared;
        n->params = cohort_shared_update_params(n->shared);
    } else {
        assert_ok(COHORT_ALLOCATE(&n->params, COUNT));
    }
    start_params(n->params);
    assert_ok(cohort_reducer_create(&n->reducer, comm, &config, COUNT));
    assert_ok(cohort_optimizer_watch_rows(n->optimizer, tables, cohort_reducer_rows(n->reducer)));
    if (n->shared) {
        assert_all(cohort_reducer_is_sliced(n->reducer));
        assert_ok(cohort_shared_update_deal(n->shared, n->reducer, n->optimizer, tables));
    }
}

static void close_network(network *n)
{
    if (!n->shared)
        cohort_free(n->params);
    cohort_reducer_destroy(n->reducer);
    cohort_optimizer_destroy(n->optimizer);
    cohort_shared_update_destroy(n->shared);
}

static double step_network(network *n, int step, bool has_table)
{
    static uint64_t none[WORDS];
    double norm = 0;
    cohort_reducer_begin(n->reducer);
    fill(cohort_reducer_grads(n->reducer), has_table ? cohort_reducer_rows(n->reducer) : none, rank,
         step, has_table);
    if ((rank + step) % 2)
        cohort_reducer_ready(n->reducer, KERNEL);
    cohort_reducer_extras(n->reducer)[3] = (float)rank;
    assert_ok(cohort_reducer_finish(n->reducer));
    assert_true(cohort_reducer_extras(n->reducer)[3] == (float)(size * (size - 1) / 2));
    if (n->shared)
        assert_ok(cohort_shared_update_step(&norm, n->shared, 0.01, (uint64_t)step + 1));
    else
        norm = cohort_optimizer_step(n->optimizer, n->params, cohort_reducer_grads(n->reducer),
                                     0.01, (uint64_t)step + 1);
    return norm;
}

/* Slices get other owners, who go on with the slots as they are. */
static void deal_again(network *n, size_t step)
{
    cohort_reducer_way ways[COHORT_REDUCER_WAYS];
    const size_t count = cohort_reducer_ways(ways, n->reducer);
    if (!n->shared)
        return;
    assert_ok(cohort_reducer_choose(n->reducer, ways[step % count]));
    assert_ok(cohort_shared_update_deal_again(n->shared));
}

/* Every rank by itself and the node together, on the same sums. */
static void compare(const cohort_optimizer_recipe *recipe, bool has_table)
{
    const cohort_tables tables = {&table, has_table ? 1 : 0};
    network alone, together;
    open_network(&alone, recipe, &tables, false);
    open_network(&together, recipe, &tables, true);
    bool good = true;
    for (int step = 0; step < STEPS; step++) {
        const double a = step_network(&alone, step, has_table),
                     b = step_network(&together, step, has_table);
        good = good && (a > 0) == (recipe->clip_norm > 0) && memcmp(&a, &b, sizeof a) == 0;
        good = good && memcmp(alone.params, together.params, COUNT * sizeof(float)) == 0;
        for (size_t i = 0; i < cohort_optimizer_slot_count(alone.optimizer); i++)
            good = good &&
                   memcmp(cohort_optimizer_slot(alone.optimizer, i),
                          cohort_optimizer_slot(together.optimizer, i), COUNT * sizeof(float)) == 0;
        assert_ok(cohort_comm_barrier(comm)); /* slots are read before others go on */
        if (step % 2)
            deal_again(&together, (size_t)step);
    }
    good = good && (!together.shared || cohort_shared_update_difference(together.shared) == 0);
    assert_all(good);
    close_network(&alone);
    close_network(&together);
}

static void compare_all(int last_type)
{
    for (int type = COHORT_SGD; type <= last_type; type += 2)
        for (int variant = 0; variant < 3; variant++) {
            const cohort_optimizer_recipe recipe = {
                .type = type,
                .momentum = variant == 2 ? 0.9 : 0,
                .beta1 = 0.9,
                .beta2 = 0.999,
                .rho = 0.9,
                .epsilon = 1e-7,
                .clip_norm = variant == 1 ? 2 : 0,
                .weight_decay = variant == 1 ? 0.1 : 0,
                .embedding_rows = variant == 2 ? COHORT_ROWS_USED : COHORT_ROWS_ALL};
            compare(&recipe, variant != 0);
            if (variant == 0 && type == COHORT_SGD)
                compare(&recipe, true);
        }
}

static void updates_the_same_bits(void **state)
{
    (void)state;
    compare_all(COHORT_ADAGRAD);
}

static void updates_on_several_nodes(void **state)
{
    (void)state;
    cohort_comm *whole = comm;
    for (int node_size = 2; node_size <= 3 && size > node_size; node_size++) {
        char text[8];
        snprintf(text, sizeof text, "%d", node_size);
        setenv("COHORT_TEST_NODE_SIZE", text, 1);
        assert_ok(cohort_comm_start(&comm));
        compare_all(COHORT_ADAMW);
        cohort_comm_close(comm);
    }
    unsetenv("COHORT_TEST_NODE_SIZE");
    comm = whole;
}

/* Each gradient is summed by one rank, and no rank has much more than its share. */
static void deals_evenly(void **state)
{
    (void)state;
    const cohort_optimizer_recipe recipe = {.type = COHORT_SGD};
    const cohort_tables none = {NULL, 0};
    network n;
    open_network(&n, &recipe, &none, true);
    double mine = 0, all, most;
    for (size_t i = 0; i < cohort_reducer_slice_count(n.reducer); i++) {
        size_t begin, end;
        cohort_reducer_slice(&begin, &end, n.reducer, i);
        mine += (double)(end - begin);
    }
    all = most = mine;
    assert_ok(cohort_comm_sum(comm, &all, 1));
    assert_ok(cohort_comm_max(comm, &most, 1));
    assert_all(all == (size > 1 ? COUNT : 0));
    assert_all(most <= COUNT / size + 7 * COHORT_OPTIMIZER_BLOCK);
    close_network(&n);
}

/* Not finite: told to all, nothing changed. A replica that differs: its rank knows where. */
static void notices_what_is_wrong(void **state)
{
    (void)state;
    if (size == 1)
        skip();
    const cohort_optimizer_recipe recipe = {.type = COHORT_SGD};
    const cohort_tables none = {NULL, 0};
    static float before[COUNT];
    network n;
    double norm = 0;
    open_network(&n, &recipe, &none, true);
    step_network(&n, 0, false);
    memcpy(before, n.params, sizeof before);
    cohort_reducer_begin(n.reducer);
    if (rank == 1)
        cohort_reducer_grads(n.reducer)[KERNEL + 77] = INFINITY;
    assert_ok(cohort_reducer_finish(n.reducer));
    assert_ok(cohort_shared_update_step(&norm, n.shared, 0.01, 2));
    assert_all(!isfinite(norm) && memcmp(before, n.params, sizeof before) == 0);
    assert_ok(cohort_comm_barrier(comm));
    if (rank == 1) /* owned by another rank or by this one */
        n.params[3] = n.params[LAST + 5] = 9;
    assert_ok(cohort_comm_barrier(comm));
    step_network(&n, 3, false);
    size_t found[64], mine = cohort_shared_update_difference(n.shared);
    assert_ok(cohort_comm_gather_all(comm, found, &mine, sizeof mine));
    bool is_named = found[1] > 0;
    for (int r = 0; r < size; r++)
        is_named = is_named || (r != 1 && found[r] > 0);
    assert_all(is_named);
    assert_all(size < 3 || found[1] > 0); /* one of the two places is another's */
    close_network(&n);
}

int main(void)
{
    if (cohort_comm_start(&comm) != COHORT_OK) {
        fprintf(stderr, "%s\n", cohort_error_message());
        return 1;
    }
    rank = cohort_comm_rank(comm);
    size = cohort_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_the_same_bits),
        cmocka_unit_test(updates_on_several_nodes),
        cmocka_unit_test(deals_evenly),
        cmocka_unit_test(notices_what_is_wrong),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    cohort_comm_close(comm);
    return failures;
}
