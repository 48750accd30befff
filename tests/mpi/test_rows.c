/* The sum of tables by rows: the bits of the whole sum, for less work and fewer bytes. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "comm/reducer.h"

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

/* Two tables, the first at the very beginning, whole tensors between and behind. */
enum { STEPS = 8, SECOND = 48160, COUNT = 80000, WORDS = 47 + 157 };
static const cohort_table items[] = {{0, 3000, 16, 0}, {SECOND, 10000, 3, 47}};
static const cohort_tables tables = {items, 2};

/* This rank's gradient at STEP: common rows, rows of its own, whole tensors. ONE_IN: how many
 * rows of a table are touched; 0 = none. */
static void fill(cohort_reducer *reducer, int step, uint32_t one_in)
{
    float *grads = cohort_reducer_grads(reducer);
    uint64_t *marks = cohort_reducer_rows(reducer);
    cohort_rng rng = cohort_rng_make((uint64_t)step, COHORT_RNG_TEST, (uint32_t)rank, one_in, 0);
    memset(grads, 0, COUNT * sizeof *grads);
    memset(marks, 0, WORDS * sizeof *marks);
    for (size_t i = 0; i < COUNT; i++)
        if ((i >= 48000 && i < SECOND) || i >= SECOND + 30000)
            grads[i] = (float)cohort_rng_normal(&rng);
    for (size_t t = 0; t < tables.count && one_in > 0; t++)
        for (size_t row = 0; row < items[t].row_count; row++) {
            if (row % 37 != 5 && cohort_rng_below(&rng, one_in))
                continue;
            const int32_t id = (int32_t)row;
            cohort_rows_mark(marks + items[t].first_word, &id, 1);
            for (size_t j = 0; j < items[t].width; j++)
                grads[items[t].offset + row * items[t].width + j] = (float)cohort_rng_normal(&rng);
        }
    for (int i = 0; i < COHORT_REDUCER_EXTRAS; i++)
        cohort_reducer_extras(reducer)[i] = (float)(rank + i);
}

static void sum(cohort_reducer *reducer, int step, uint32_t one_in)
{
    cohort_reducer_begin(reducer);
    fill(reducer, step, one_in);
    if ((step + rank) % 3 == 0)
        cohort_reducer_ready(reducer, SECOND);
    if ((step + rank) % 2 == 0)
        cohort_reducer_ready(reducer, 0);
    assert_ok(cohort_reducer_finish(reducer));
}

/* What the ranks together have marked. */
static void unite(uint64_t *all, cohort_reducer *reducer, int step, uint32_t one_in)
{
    uint64_t every[64 * WORDS];
    fill(reducer, step, one_in);
    assert_ok(
        cohort_comm_gather_all(comm, every, cohort_reducer_rows(reducer), WORDS * sizeof *every));
    memset(all, 0, WORDS * sizeof *all);
    for (int r = 0; r < size; r++)
        cohort_rows_unite(all, every + r * WORDS, WORDS);
}

static cohort_reducer *open_reducer(cohort_reducer_mode mode, bool by_rows, size_t bucket)
{
    cohort_reducer *reducer;
    const cohort_reducer_config config = {.mode = mode,
                                          .timeout = 60,
                                          .bucket_bytes = bucket,
                                          .tables = by_rows ? tables : (cohort_tables){NULL, 0}};
    assert_ok(cohort_reducer_create(&reducer, comm, &config, COUNT));
    return reducer;
}

/* Packs the messages from now on, where there are any. */
static void pack(cohort_reducer *reducer)
{
    cohort_reducer_way ways[COHORT_REDUCER_WAYS];
    size_t i = cohort_reducer_ways(ways, reducer);
    while (i-- > 0 && !ways[i].is_packed)
        ;
    if (i != SIZE_MAX)
        assert_ok(cohort_reducer_choose(reducer, ways[i]));
}

/* Against the same reducer without tables; the vector of that has no marks to fill. */
static void compare(cohort_reducer_mode mode, size_t bucket, uint32_t one_in)
{
    static float expected[COUNT];
    static uint64_t all[WORDS];
    bool good = true;
    cohort_reducer *by_rows = open_reducer(mode, true, bucket),
                   *whole = open_reducer(mode, false, bucket);
    for (int step = 0; step < STEPS; step++) {
        if (step == STEPS / 2)
            pack(by_rows);
        unite(all, by_rows, step, one_in);
        memcpy(expected, cohort_reducer_grads(by_rows), sizeof expected);
        cohort_reducer_begin(whole);
        memcpy(cohort_reducer_grads(whole), expected, sizeof expected);
        assert_ok(cohort_reducer_finish(whole));
        memcpy(expected, cohort_reducer_grads(whole), sizeof expected);
        sum(by_rows, step, one_in);
        good = good && memcmp(cohort_reducer_grads(by_rows), expected, sizeof expected) == 0;
        good = good && memcmp(cohort_reducer_rows(by_rows), all, sizeof all) == 0;
        for (int i = 0; i < COHORT_REDUCER_EXTRAS; i++)
            good = good &&
                   cohort_reducer_extras(by_rows)[i] == (float)(size * (size - 1) / 2 + size * i);
    }
    assert_all(good);
    cohort_reducer_destroy(by_rows);
    cohort_reducer_destroy(whole);
}

static void compare_all(cohort_reducer_mode mode)
{
    static const uint32_t densities[] = {0, 200, 10, 1};
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        compare(mode, 0, densities[i]);
        compare(mode, 4096, densities[i]);
    }
}

static void sums_in_shared_memory(void **state)
{
    (void)state;
    compare_all(COHORT_REDUCER_SHARED);
}

static void sums_by_mpi(void **state)
{
    (void)state;
    compare_all(COHORT_REDUCER_MPI);
}

/* WORK over all ranks during one step. */
static cohort_reducer_work work_of(cohort_reducer *reducer, uint32_t one_in)
{
    const cohort_reducer_work before = cohort_reducer_done(reducer);
    sum(reducer, 1, one_in);
    const cohort_reducer_work after = cohort_reducer_done(reducer);
    double work[2] = {(double)(after.floats_summed - before.floats_summed),
                      (double)(after.bytes_sent - before.bytes_sent)};
    assert_ok(cohort_comm_sum(comm, work, 2));
    return (cohort_reducer_work){(uint64_t)work[0], (uint64_t)work[1]};
}

static size_t union_floats(const uint64_t *all)
{
    return 16 * cohort_rows_count(all, 47) + 3 * cohort_rows_count(all + 47, 157);
}

/* What is summed is the marked rows and the rest of the vector, once a node; what is sent is
 * that twice to and from the others, a bit a row, and never more than all of it. */
static void count_work(size_t node_count)
{
    static uint64_t all[WORDS];
    static const uint32_t densities[] = {0, 200, 10, 1};
    const size_t rest = COHORT_REDUCER_EXTRAS + COUNT - 48000 - 30000; /* tables, padding */
    cohort_reducer *reducer = open_reducer(COHORT_REDUCER_SHARED, true, 0);
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < sizeof densities / sizeof *densities; i++) {
        unite(all, reducer, 1, densities[i]);
        const size_t floats = rest + union_floats(all);
        const cohort_reducer_work work = work_of(reducer, densities[i]);
        assert_all(work.floats_summed == node_count * floats);
        const double sent = 8.0 * (double)(node_count - 1) * (double)floats,
                     lists = 8.0 * (double)(node_count * (node_count - 1) * WORDS),
                     rounding = 64.0 * 4 * 8 * (double)(node_count * node_count);
        assert_all((double)work.bytes_sent <= sent + lists + rounding);
        assert_all(node_count == 1 || (double)work.bytes_sent >= sent);
        if (i == 1)
            least = work.bytes_sent + 1;
    }
    const double whole = 8.0 * (double)(node_count - 1) * COUNT;
    assert_all(node_count == 1 || (double)least < 0.2 * whole);
    cohort_reducer_destroy(reducer);
}

static void works_less(void **state)
{
    (void)state;
    if (size > 1)
        count_work(1);
}

static void sums_between_nodes(void **state)
{
    (void)state;
    cohort_comm *whole = comm;
    for (int node_size = 1; node_size <= 3 && size > node_size; node_size++) {
        char text[8];
        snprintf(text, sizeof text, "%d", node_size);
        setenv("COHORT_TEST_NODE_SIZE", text, 1);
        assert_ok(cohort_comm_start(&comm));
        compare_all(COHORT_REDUCER_AUTO);
        count_work((size_t)cohort_comm_node_count(comm));
        cohort_comm_close(comm);
    }
    unsetenv("COHORT_TEST_NODE_SIZE");
    comm = whole;
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
        cmocka_unit_test(sums_in_shared_memory),
        cmocka_unit_test(sums_by_mpi),
        cmocka_unit_test(works_less),
        cmocka_unit_test(sums_between_nodes),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    cohort_comm_close(comm);
    return failures;
}
