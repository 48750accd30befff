#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/rng.h"
#include "comm/reducer.h"
#include "comm/tree.h"

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

/* Value I of the vector of RANK at STEP. */
static float value_of(int of_rank, int step, size_t i)
{
    uint64_t bits = cohort_mix64((uint64_t)of_rank * 1000003 + (uint64_t)step * 7919 + i);
    return (float)((double)(bits >> 11) / 9007199254740992.0 - 0.5) * (i % 5 ? 1.0F : 1000.0F);
}

/* Backward: fills from the tail in pieces, and tells the reducer after some of them. */
static void backward(cohort_reducer *reducer, size_t count, int step, cohort_rng *rng)
{
    float *grads = cohort_reducer_grads(reducer);
    size_t end = count;
    while (end > 0) {
        size_t piece = 1 + cohort_rng_below(rng, (uint32_t)count);
        size_t begin = piece < end ? end - piece : 0;
        for (size_t i = begin; i < end; i++)
            grads[i] = value_of(rank, step, i);
        end = begin;
        if (cohort_rng_below(rng, 3))
            cohort_reducer_ready(reducer, end);
        if (cohort_rng_below(rng, 8) == 0)
            usleep(200);
    }
}

/* The sum of ranks [first, first + count) in the order that tree.h promises. */
static float tree_sum(int first, int count, int step, size_t index)
{
    if (count == 1)
        return value_of(first, step, index);
    const int left = count - count / 2;
    return tree_sum(first, left, step, index) + tree_sum(first + left, count - left, step, index);
}

static bool sums_are_right(cohort_reducer *reducer, size_t count, int step, bool in_tree_order)
{
    const float *grads = cohort_reducer_grads(reducer), *extras = cohort_reducer_extras(reducer);
    bool good = true;
    for (size_t i = 0; i < count; i++) {
        double sum = 0, scale = 0;
        for (int r = 0; r < size; r++) {
            sum += (double)value_of(r, step, i);
            scale += fabs((double)value_of(r, step, i));
        }
        good = good && fabs((double)grads[i] - sum) <= 1e-6 * scale;
        if (in_tree_order)
            good = good && grads[i] == tree_sum(0, size, step, i);
    }
    for (int i = 0; i < COHORT_REDUCER_EXTRAS; i++)
        good = good && extras[i] == (float)(size * (size - 1) / 2 + size * i);
    return good;
}

/* Parts dealt to any number of ranks up to theirs: whole subtrees, in order, all of them. */
static void shares_are_subtrees(void **state)
{
    (void)state;
    for (size_t parts = 1; parts <= 16; parts *= 2)
        for (size_t ranks = 1; ranks <= parts; ranks++) {
            size_t next = 0;
            for (size_t r = 0; r < ranks; r++) {
                size_t begin = 0, end = 0;
                cohort_tree_share(&begin, &end, parts, r, ranks);
                const size_t held = end - begin;
                assert_int_equal(begin, next);
                assert_true(held > 0 && (held & (held - 1)) == 0 && begin % held == 0);
                next = end;
            }
            assert_int_equal(next, parts);
        }
}

static bool same_bits_everywhere(cohort_reducer *reducer, size_t count)
{
    uint64_t mine = cohort_hash(cohort_reducer_grads(reducer), count * sizeof(float), 1), all[64];
    assert_ok(cohort_comm_gather_all(comm, all, &mine, sizeof mine));
    bool good = true;
    for (int r = 0; r < size; r++)
        good = good && all[r] == all[0];
    return good;
}

/* Whether it promises the order of tree.h over all ranks. */
static bool is_ordered(const cohort_reducer *reducer)
{
    return strstr(cohort_reducer_describe(reducer), "shared memory, ") ||
           strstr(cohort_reducer_describe(reducer), "MPI messages, ");
}

static void run(cohort_reducer_mode mode, size_t bucket_bytes, size_t count, int steps,
                const char *description)
{
    cohort_reducer *reducer;
    cohort_reducer_config config = {.mode = mode, .bucket_bytes = bucket_bytes, .timeout = 60};
    assert_ok(cohort_reducer_create(&reducer, comm, &config, count));
    if (size > 1 && description)
        assert_non_null(strstr(cohort_reducer_describe(reducer), description));
    const float *grads = cohort_reducer_grads(reducer);
    bool good = (uintptr_t)grads % 64 == 0;
    for (size_t i = 0; i < count; i++)
        good = good && grads[i] == 0;
    const bool ordered = is_ordered(reducer);
    cohort_rng rng = cohort_rng_make(5, COHORT_RNG_TEST, (uint32_t)rank, count, 0);
    for (int step = 0; step < steps; step++) {
        cohort_reducer_begin(reducer);
        backward(reducer, count, step, &rng);
        for (int i = 0; i < COHORT_REDUCER_EXTRAS; i++)
            cohort_reducer_extras(reducer)[i] = (float)(rank + i);
        assert_ok(cohort_reducer_finish(reducer));
        good = good && sums_are_right(reducer, count, step, ordered);
        good = good && cohort_reducer_grads(reducer) == grads;
        /* A collective of the caller's between two steps. */
        if (step % 3 == 0)
            good = same_bits_everywhere(reducer, count) && good;
    }
    assert_all(good);
    double waited = cohort_reducer_take_wait_seconds(reducer);
    assert_all(size == 1 ? waited == 0 : waited > 0);
    assert_true(cohort_reducer_take_wait_seconds(reducer) == 0);
    cohort_reducer_destroy(reducer);
}

static void run_counts(cohort_reducer_mode mode, const char *description)
{
    static const size_t counts[] = {0, 1, 15, 17, 1000, 4099, 70001};
    static const size_t buckets[] = {0, 64, 1000, 65536};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t b = 0; b < sizeof buckets / sizeof *buckets; b++)
            run(mode, counts[c] > 5000 && buckets[b] == 64 ? 2048 : buckets[b], counts[c], 4,
                description);
}

static void sums_by_mpi(void **state)
{
    (void)state;
    run_counts(COHORT_REDUCER_MPI, "MPI_Iallreduce");
}

static void sums_in_shared_memory(void **state)
{
    (void)state;
    run_counts(COHORT_REDUCER_SHARED, "shared memory");
}

static void many_steps(void **state)
{
    (void)state;
    run(COHORT_REDUCER_AUTO, 0, 300, 500, "shared memory");
    run(COHORT_REDUCER_AUTO, 256, 1500, 200, "shared memory");
}

static void falls_back_when_memory_is_short(void **state)
{
    (void)state;
    setenv("COHORT_TEST_SHM_LIMIT", "64K", 1);
    run(COHORT_REDUCER_SHARED, 0, 50000, 2, "MPI messages, ");
    unsetenv("COHORT_TEST_SHM_LIMIT");
}

/* Several nodes on this machine: two of two, and uneven ones. */
static void sums_between_nodes(void **state)
{
    (void)state;
    cohort_comm *whole = comm;
    for (int node_size = 1; node_size <= 3 && size > 1; node_size++) {
        char text[8];
        snprintf(text, sizeof text, "%d", node_size);
        setenv("COHORT_TEST_NODE_SIZE", text, 1);
        assert_ok(cohort_comm_start(&comm));
        assert_true(cohort_comm_node_count(comm) == (size + node_size - 1) / node_size);
        const char *expected = node_size == 1      ? "MPI messages, "
                               : size <= node_size ? "shared memory, "
                                                   : "MPI messages between, ";
        static const size_t counts[] = {1, 1000, 30001};
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            run(COHORT_REDUCER_AUTO, 0, counts[c], 4, expected);
            run(COHORT_REDUCER_AUTO, 4096, counts[c], 4, expected);
        }
        cohort_comm_close(comm);
    }
    unsetenv("COHORT_TEST_NODE_SIZE");
    comm = whole;
}

/* STEPS steps, from step FIRST on; whether their sums are right to the bit. */
static bool sums_by_way(cohort_reducer *reducer, size_t count, int first, int steps)
{
    cohort_rng rng = cohort_rng_make(6, COHORT_RNG_TEST, (uint32_t)rank, count, (uint64_t)first);
    bool good = true;
    for (int step = first; step < first + steps; step++) {
        cohort_reducer_begin(reducer);
        backward(reducer, count, step, &rng);
        for (int i = 0; i < COHORT_REDUCER_EXTRAS; i++)
            cohort_reducer_extras(reducer)[i] = (float)(rank + i);
        assert_ok(cohort_reducer_finish(reducer));
        good = good && sums_are_right(reducer, count, step, is_ordered(reducer));
    }
    return same_bits_everywhere(reducer, count) && good;
}

/* All ways in turn and back, in the middle of a run. */
static void try_ways(cohort_reducer_mode mode, size_t count, size_t least)
{
    cohort_reducer *reducer;
    cohort_reducer_way ways[COHORT_REDUCER_WAYS];
    const cohort_reducer_config config = {.mode = mode, .bucket_bytes = 4096, .timeout = 60};
    assert_ok(cohort_reducer_create(&reducer, comm, &config, count));
    const float *grads = cohort_reducer_grads(reducer);
    const size_t way_count = cohort_reducer_ways(ways, reducer);
    bool good = way_count >= least && ways[0].bucket_bytes == 4096 && !ways[0].is_late;
    bool is_told = sums_by_way(reducer, count, 0, 1);
    int step = 1;
    for (size_t i = 0; i <= way_count; i++, step += 2) {
        const cohort_reducer_way way = ways[(i + 1) % way_count];
        assert_ok(cohort_reducer_choose(reducer, way));
        is_told = is_told &&
                  (way.is_late ==
                   (strstr(cohort_reducer_describe(reducer), ", after backward") != NULL)) &&
                  (way.is_packed == (strstr(cohort_reducer_describe(reducer), ", packed") != NULL));
        good = sums_by_way(reducer, count, step, 2) && good;
    }
    assert_all(good && is_told && cohort_reducer_grads(reducer) == grads);
    cohort_reducer_destroy(reducer);
}

static void ways_keep_the_bits(void **state)
{
    (void)state;
    cohort_comm *whole = comm;
    const size_t all = size > 1 ? COHORT_REDUCER_WAYS : 1;
    try_ways(COHORT_REDUCER_AUTO, 20001, size > 1 ? 5 : 1); /* nothing to pack */
    try_ways(COHORT_REDUCER_MESSAGES, 20001, all);
    try_ways(COHORT_REDUCER_MESSAGES, 300, size > 1 ? 2 : 1);
    try_ways(COHORT_REDUCER_AUTO, 300, 1); /* a single bucket */
    for (int node_size = 1; node_size <= 3 && size > node_size; node_size++) {
        char text[8];
        snprintf(text, sizeof text, "%d", node_size);
        setenv("COHORT_TEST_NODE_SIZE", text, 1);
        assert_ok(cohort_comm_start(&comm));
        try_ways(COHORT_REDUCER_AUTO, 20001, all);
        cohort_comm_close(comm);
    }
    unsetenv("COHORT_TEST_NODE_SIZE");
    comm = whole;
    /* The bits of MPI's own sums follow the size of a bucket. */
    cohort_reducer *reducer;
    cohort_reducer_way ways[COHORT_REDUCER_WAYS];
    const cohort_reducer_config config = {.mode = COHORT_REDUCER_MPI, .bucket_bytes = 4096};
    assert_ok(cohort_reducer_create(&reducer, comm, &config, 70001));
    assert_int_equal(cohort_reducer_ways(ways, reducer), 1);
    cohort_reducer_destroy(reducer);
}

static void times_itself(void **state)
{
    (void)state;
    cohort_reducer_timing timing;
    assert_ok(cohort_reducer_measure(&timing, comm, COHORT_REDUCER_SHARED, 1000, 0.01));
    assert_all(timing.best >= 0 && timing.best <= timing.median && timing.median < 10);
    assert_all(strstr(timing.description, size == 1 ? "1 rank" : "shared memory") != NULL);
}

/* Closing waits for ranks that are gone: the late rank keeps what it has. */
static volatile struct {
    cohort_comm *comm;
    cohort_reducer *reducer;
} left_open[3];
static size_t left_open_count;

/* The last rank does not come to the sum of a reducer in MODE on nodes of NODE_SIZE. */
static void miss_the_last_rank(cohort_reducer_mode mode, const char *node_size)
{
    if (node_size)
        setenv("COHORT_TEST_NODE_SIZE", node_size, 1);
    cohort_comm *other;
    cohort_reducer *reducer;
    assert_ok(cohort_comm_start(&other));
    unsetenv("COHORT_TEST_NODE_SIZE");
    cohort_reducer_config config = {.mode = mode, .timeout = 1};
    assert_ok(cohort_reducer_create(&reducer, other, &config, 5000));
    cohort_comm_set_phase(other, "step 7: backward");
    assert_ok(cohort_comm_barrier(other));
    if (rank == size - 1) {
        left_open[left_open_count].comm = other;
        left_open[left_open_count++].reducer = reducer;
        usleep(node_size ? 2900000 : 1900000);
        assert_all(true);
        return;
    }
    cohort_reducer_begin(reducer);
    cohort_reducer_ready(reducer, 0);
    cohort_status status = cohort_reducer_finish(reducer);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "rank %d on ", size - 1);
    bool good = status == COHORT_PEER && strstr(cohort_error_message(), wanted) &&
                strstr(cohort_error_message(), ") did not arrive at the gradient sum") &&
                !strstr(cohort_error_message(), "rank 0");
    if (!good)
        fprintf(stderr, "status %d: %s\n", (int)status, cohort_error_message());
    cohort_reducer_destroy(reducer);
    cohort_comm_close(other);
    assert_all(good);
}

static void names_the_rank_that_does_not_come(void **state)
{
    (void)state;
    if (size == 1)
        skip();
    miss_the_last_rank(COHORT_REDUCER_MPI, NULL);
    miss_the_last_rank(COHORT_REDUCER_SHARED, NULL);
    miss_the_last_rank(COHORT_REDUCER_SHARED, size == 4 ? "2" : "1");
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
        cmocka_unit_test(shares_are_subtrees),
        cmocka_unit_test(sums_by_mpi),
        cmocka_unit_test(sums_in_shared_memory),
        cmocka_unit_test(many_steps),
        cmocka_unit_test(falls_back_when_memory_is_short),
        cmocka_unit_test(sums_between_nodes),
        cmocka_unit_test(ways_keep_the_bits),
        cmocka_unit_test(times_itself),
        cmocka_unit_test(names_the_rank_that_does_not_come),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    cohort_comm_close(comm);
    return failures;
}
