#include "tests/cmocka_all.h"

#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "comm/internal.h"

static cohort_comm *comm;
static int rank, size;

/* The verdict of all ranks, so that none goes on while another has failed. */
static void assert_all(bool good)
{
    double bad = good ? 0 : 1;
    assert_ok(cohort_comm_sum(comm, &bad, 1));
    if (!good)
        fprintf(stderr, "rank %d fails\n", rank);
    assert_true(bad == 0);
}

static void knows_its_place(void **state)
{
    (void)state;
    assert_all(rank >= 0 && rank < size && rank == cohort_comm_launched_rank());
    assert_all(cohort_comm_node_size(comm) == size && cohort_comm_node_rank(comm) == rank);
    assert_all(cohort_comm_node_count(comm) == 1 && cohort_comm_node_index(comm) == 0);
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    assert_all(strcmp(cohort_comm_host(comm, size - 1), host) == 0);
    assert_all(!cohort_comm_is_broken(comm) && cohort_comm_is_speaker(comm) == (rank == 0));
    assert_all(cohort_comm_is_crowded(comm) == (size > (int)sysconf(_SC_NPROCESSORS_ONLN)));
}

static void agrees_on_the_worst(void **state)
{
    (void)state;
    assert_ok(cohort_comm_agree(comm, COHORT_OK));
    for (int failing = 0; failing < size; failing++) {
        cohort_status mine = COHORT_OK;
        if (rank == failing)
            mine = COHORT_FAIL(COHORT_DATA, "file %d is bad", failing);
        cohort_status all = cohort_comm_agree(comm, mine);
        char wanted[200];
        if (size == 1)
            snprintf(wanted, sizeof wanted, "file 0 is bad");
        else
            snprintf(wanted, sizeof wanted, "rank %d on %s: file %d is bad", failing,
                     cohort_comm_host(comm, failing), failing);
        bool good = all == COHORT_DATA && strcmp(cohort_error_message(), wanted) == 0;
        assert_all(good);
    }
    /* All fail: no rank is named, the lowest speaks. */
    cohort_status all = cohort_comm_agree(comm, COHORT_FAIL(COHORT_USAGE, "key of rank %d", rank));
    bool good = all == COHORT_USAGE && strcmp(cohort_error_message(), "key of rank 0") == 0;
    assert_all(good);
    /* Different ones: the highest-numbered wins. */
    all = cohort_comm_agree(comm, rank == size - 1 ? COHORT_FAIL(COHORT_DIVERGED, "nan")
                                                   : COHORT_FAIL(COHORT_USAGE, "key"));
    good = all == COHORT_DIVERGED && strcmp(cohort_error_message(), "nan") == 0;
    assert_all(good);
    all = cohort_comm_node_agree(comm, rank == 0 ? COHORT_FAIL(COHORT_MEMORY, "none") : COHORT_OK);
    good = all == COHORT_MEMORY && strstr(cohort_error_message(), "none");
    assert_all(good);
}

static void broadcasts_any_size(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 7, 4096, 100001, 9000000};
    const size_t last = comm->chunk_bytes < 10000 ? 2 : 0; /* many chunks: small sizes */
    for (int root = 0; root < size; root++) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts - last; i++) {
            size_t count = counts[i];
            unsigned char *bytes = malloc(count + 1);
            for (size_t at = 0; at < count; at++)
                bytes[at] = rank == root ? (unsigned char)(at * 31 + (size_t)root) : 0;
            bytes[count] = 99;
            assert_ok(cohort_comm_broadcast(comm, bytes, count, root));
            bool good = bytes[count] == 99;
            for (size_t at = 0; at < count; at++)
                good = good && bytes[at] == (unsigned char)(at * 31 + (size_t)root);
            free(bytes);
            assert_all(good);
        }
    }
    assert_fails(cohort_comm_broadcast(comm, NULL, 1, size), COHORT_INTERNAL, "no such rank");
}

static void sums_and_maxima(void **state)
{
    (void)state;
    double values[1000];
    for (int i = 0; i < 1000; i++)
        values[i] = i + 0.1 * rank;
    assert_ok(cohort_comm_sum(comm, values, 1000));
    bool good = true;
    for (int i = 0; i < 1000; i++)
        good = good && fabs(values[i] - (i * size + 0.05 * size * (size - 1))) < 1e-9;
    assert_all(good);
    for (int i = 0; i < 1000; i++)
        values[i] = i % size == rank ? i : -i - 1;
    values[3] = rank == size - 1 ? NAN : 5;
    assert_ok(cohort_comm_max(comm, values, 1000));
    good = isnan(values[3]);
    for (int i = 4; i < 1000; i++)
        good = good && (int)values[i] == i;
    assert_all(good);
    assert_ok(cohort_comm_sum(comm, NULL, 0));
}

static void gathers(void **state)
{
    (void)state;
    unsigned char mine[3] = {(unsigned char)rank, 7, (unsigned char)(rank * 2)}, all[3 * 64];
    assert_ok(cohort_comm_gather_all(comm, all, mine, 3));
    bool good = true;
    for (int r = 0; r < size; r++)
        good = good && all[3 * r] == r && all[3 * r + 1] == 7 && all[3 * r + 2] == 2 * r;
    assert_all(good);
    assert_ok(cohort_comm_gather_all(comm, all, mine, 0));
    assert_ok(cohort_comm_barrier(comm));
}

/* What is too much for one MPI call goes in several. */
static void moves_in_chunks(void **state)
{
    size_t whole = comm->chunk_bytes;
    comm->chunk_bytes = 1000;
    broadcasts_any_size(state);
    sums_and_maxima(state);
    unsigned char mine[700], *all = calloc((size_t)size, sizeof mine);
    for (size_t i = 0; i < sizeof mine; i++)
        mine[i] = (unsigned char)((size_t)rank * 7 + i);
    assert_ok(cohort_comm_gather_all(comm, all, mine, sizeof mine));
    bool good = true;
    for (size_t r = 0; r < (size_t)size; r++)
        for (size_t i = 0; i < sizeof mine; i++)
            good = good && all[r * sizeof mine + i] == (unsigned char)(r * 7 + i);
    free(all);
    comm->chunk_bytes = whole;
    assert_all(good);
}

static void shares_memory(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 63, 4097, 1000003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        cohort_shared *shared;
        void *base;
        assert_ok(cohort_shared_create(&shared, &base, comm, counts[i] * sizeof(unsigned)));
        unsigned *values = base;
        bool good = (uintptr_t)base % 64 == 0;
        for (size_t at = 0; at < counts[i]; at++)
            good = good && values[at] == 0;
        assert_ok(cohort_comm_node_barrier(comm));
        for (size_t at = (size_t)rank; at < counts[i]; at += (size_t)size)
            values[at] = (unsigned)(at * 17 + 1);
        assert_ok(cohort_comm_node_barrier(comm));
        for (size_t at = 0; at < counts[i]; at++)
            good = good && values[at] == (unsigned)(at * 17 + 1);
        assert_all(good);
        cohort_shared_destroy(shared);
    }
}

static void refuses_too_much_shared_memory(void **state)
{
    (void)state;
    if (size == 1)
        skip();
    cohort_shared *shared;
    void *base;
    setenv("COHORT_TEST_SHM_LIMIT", "64K", 1);
    cohort_status status = cohort_shared_create(&shared, &base, comm, 100000);
    bool good = status == COHORT_MEMORY && !shared && !base &&
                strstr(cohort_error_message(), "needed: enlarge it");
    assert_all(good);
    unsetenv("COHORT_TEST_SHM_LIMIT");
    /* More than the machine has. */
    status = cohort_shared_create(&shared, &base, comm, (size_t)1 << 46);
    good = status == COHORT_MEMORY && !shared;
    assert_all(good);
    status = cohort_shared_create(&shared, &base, comm, SIZE_MAX);
    good = status == COHORT_MEMORY && !shared;
    assert_all(good);
}

/* A communicator of the caller's: the ranks in reverse. */
static void opens_the_callers_communicator(void **state)
{
    (void)state;
    int is_running = 0;
    MPI_Initialized(&is_running);
    if (!is_running) {
        cohort_comm *none;
        MPI_Comm world = MPI_COMM_WORLD;
        assert_fails(cohort_comm_open(&none, &world), COHORT_USAGE, "MPI_Init");
        return;
    }
    MPI_Comm reversed, halves;
    MPI_Comm_split(MPI_COMM_WORLD, 0, -rank, &reversed);
    cohort_comm *other;
    assert_ok(cohort_comm_open(&other, &reversed));
    MPI_Comm_free(&reversed);
    bool good = cohort_comm_size(other) == size && cohort_comm_rank(other) == size - 1 - rank;
    double sum = rank;
    assert_ok(cohort_comm_sum(other, &sum, 1));
    good = good && sum == size * (size - 1) / 2;
    assert_all(good);
    cohort_comm_close(other);
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &halves);
    assert_ok(cohort_comm_open(&other, &halves));
    MPI_Comm_free(&halves);
    good = cohort_comm_size(other) == (size + 1 - rank % 2) / 2;
    cohort_comm_close(other);
    MPI_Finalized(&is_running);
    assert_all(good && !is_running);
}

/* Closing waits for ranks that are gone: the late rank keeps what it has. */
static cohort_comm *volatile left_open;

/* A rank that comes too late: those that wait get its name, phase and host. The late
 * one finds nobody, and says who is gone to it. */
static void names_the_rank_that_does_not_come(void **state)
{
    (void)state;
    if (size == 1)
        skip();
    MPI_Comm world = MPI_COMM_WORLD;
    cohort_comm *other;
    assert_ok(cohort_comm_open(&other, &world));
    cohort_comm_set_phase(other, "step %d: backward", 100);
    assert_ok(cohort_comm_barrier(other));
    cohort_comm_set_timeout(other, 1);
    if (rank == 1) {
        left_open = other;
        usleep(2000000);
        double speakers = 0;
        assert_ok(cohort_comm_sum(comm, &speakers, 1));
        assert_all(speakers == 1);
        return;
    }
    double start = cohort_clock_seconds(), value = 1;
    cohort_status status = cohort_comm_agree(other, COHORT_OK);
    double waited = cohort_clock_seconds() - start;
    char wanted[120];
    snprintf(wanted, sizeof wanted, "rank 1 on %s (last: step 100: backward) did not arrive",
             cohort_comm_host(other, 1));
    bool good = status == COHORT_PEER && strstr(cohort_error_message(), wanted) && waited > 0.9 &&
                cohort_comm_is_broken(other);
    double speakers = cohort_comm_is_speaker(other);
    /* Nothing more is tried. */
    start = cohort_clock_seconds();
    good = good && cohort_comm_sum(other, &value, 1) == COHORT_PEER &&
           cohort_comm_agree(other, COHORT_OK) == COHORT_PEER &&
           strstr(cohort_error_message(), wanted) && cohort_clock_seconds() - start < 0.5;
    if (!good)
        fprintf(stderr, "%s\n", cohort_error_message());
    cohort_comm_close(other);
    assert_ok(cohort_comm_sum(comm, &speakers, 1));
    assert_all(good && speakers == 1);
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
        cmocka_unit_test(knows_its_place),
        cmocka_unit_test(agrees_on_the_worst),
        cmocka_unit_test(broadcasts_any_size),
        cmocka_unit_test(sums_and_maxima),
        cmocka_unit_test(gathers),
        cmocka_unit_test(moves_in_chunks),
        cmocka_unit_test(shares_memory),
        cmocka_unit_test(refuses_too_much_shared_memory),
        cmocka_unit_test(opens_the_callers_communicator),
        cmocka_unit_test(names_the_rank_that_does_not_come),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    cohort_comm_close(comm);
    return failures;
}
