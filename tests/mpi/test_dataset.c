#include "tests/cmocka_all.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "tests/unit/h5_files.h"

enum { ROWS = 1003, WIDTH = 64 };

static cohort_comm *comm;
static int rank, size;
static char path[256];

/* The verdict of all ranks, so that none goes on while another has failed. */
static void assert_all(bool good)
{
    double bad = good ? 0 : 1;
    assert_ok(cohort_comm_max(comm, &bad, 1));
    if (!good)
        fprintf(stderr, "rank %d fails: %s\n", rank, cohort_error_message());
    assert_true(bad == 0);
}

static float value_of(uint64_t row, size_t column)
{
    return (float)((row * 31 + column * 7) % 1009) - 300;
}

/* Rank 0 writes x, labels y and, for BAD_ROW < ROWS, a NaN in that row of x. */
static void write_file(uint64_t bad_row)
{
    if (rank == 0) {
        static float x[ROWS][WIDTH];
        int y[ROWS];
        for (uint64_t i = 0; i < ROWS; i++) {
            y[i] = (int)i - 5;
            for (size_t j = 0; j < WIDTH; j++)
                x[i][j] = i == bad_row ? NAN : value_of(i, j);
        }
        const hsize_t dims[] = {ROWS, WIDTH}, chunk[] = {10, 48};
        hid_t file = h5_create(path, "train");
        h5_write(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, H5_CHUNKED | H5_GZIP,
                 chunk, x);
        h5_write(file, "train/y", H5T_STD_I64LE, H5T_NATIVE_INT, 1, dims, 0, NULL, y);
        H5Fclose(file);
    }
    assert_ok(cohort_comm_barrier(comm));
}

static void remove_file(void)
{
    assert_ok(cohort_comm_barrier(comm));
    if (rank == 0)
        unlink(path);
}

static cohort_status open_file(cohort_dataset **out, uint64_t limit)
{
    cohort_dataset_spec spec = {
        .path = path, .group = "train", .x = "x", .y = "y", .memory_limit = limit};
    return cohort_dataset_open(out, comm, &spec);
}

static void all_ranks_hold_all_rows(void **state)
{
    (void)state;
    write_file(ROWS);
    for (int streamed = 0; streamed < 2; streamed++) {
        cohort_dataset *dataset = NULL;
        assert_ok(open_file(&dataset, streamed ? 200000 : 0));
        const cohort_dataset_info *info = cohort_dataset_describe(dataset);
        assert_all(info->streamed == streamed && info->count == ROWS && info->label_min == -5 &&
                   info->label_max == ROWS - 6);
        bool good = true;
        for (uint64_t i = 0; i < ROWS; i++) {
            float x[WIDTH];
            int32_t y = 0;
            const uint64_t row = (i * 17 + (uint64_t)rank * 100) % ROWS;
            good = good && cohort_dataset_gather(x, &y, dataset, &row, 1) == COHORT_OK &&
                   y == (int32_t)row - 5;
            for (size_t j = 0; j < WIDTH && good; j++)
                good = x[j] == value_of(row, j);
        }
        assert_all(good);
        cohort_dataset_close(dataset);
    }
    remove_file();
}

/* Rows that are streamed when they are read once, or left in the file: 18 MB. */
enum { MANY = 70000 };

/* Rank 0 writes x without chunks, the first value of the last row LAST. */
static void write_many(float last)
{
    if (rank == 0) {
        float *x = malloc(sizeof *x * MANY * WIDTH);
        for (uint64_t i = 0; i < MANY * WIDTH; i++)
            x[i] = value_of(i / WIDTH, i % WIDTH);
        x[(MANY - 1) * WIDTH] = last;
        const hsize_t dims[] = {MANY, WIDTH};
        hid_t file = h5_create(path, "train");
        h5_write(file, "train/x", H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 2, dims, 0, NULL, x);
        H5Fclose(file);
        free(x);
    }
    assert_ok(cohort_comm_barrier(comm));
}

static double much_work(const void *context, const cohort_dataset_info *info)
{
    (void)context, (void)info;
    return 1e12;
}

/* Each rank has looked at a part of the rows only, and yet knows all when they come again. */
static void check_changes(const cohort_dataset_spec *spec)
{
    cohort_dataset *dataset = NULL;
    write_many(1);
    if (rank == 0)
        rename(path, spec->path);
    assert_ok(cohort_comm_barrier(comm));
    assert_ok(cohort_dataset_open(&dataset, comm, spec));
    bool good = cohort_dataset_describe(dataset)->streamed == spec->is_read_once &&
                !cohort_dataset_memory(dataset);
    float x[WIDTH];
    for (uint64_t row = 0; row < MANY - 1 && good; row++)
        good = cohort_dataset_gather(x, NULL, dataset, &row, 1) == COHORT_OK &&
               x[0] == value_of(row, 0) && x[WIDTH - 1] == value_of(row, WIDTH - 1);
    assert_all(good);
    cohort_dataset_close(dataset);
    assert_ok(cohort_dataset_open(&dataset, comm, spec));
    write_many(2);
    if (rank == 0)
        h5_copy_over(spec->path, path);
    assert_ok(cohort_comm_barrier(comm));
    const uint64_t first = 0, last = MANY - 1;
    assert_all(cohort_dataset_gather(x, NULL, dataset, &first, 1) == COHORT_OK);
    assert_all(cohort_dataset_gather(x, NULL, dataset, &last, 1) == COHORT_DATA &&
               strstr(cohort_error_message(), "changed while it was in use"));
    cohort_dataset_close(dataset);
    remove_file();
    if (rank == 0)
        unlink(spec->path);
}

static void changes_are_seen_by_all(void **state)
{
    (void)state;
    char used[sizeof path + 8];
    snprintf(used, sizeof used, "%s.used", path);
    cohort_dataset_spec spec = {.path = used, .group = "train", .x = "x", .is_read_once = true};
    check_changes(&spec);
    spec.is_read_once = false;
    spec.work = much_work;
    check_changes(&spec);
}

/* Each rank loads its part; together they are the global batch in order. */
static void parts_make_the_batch(void **state)
{
    (void)state;
    write_file(ROWS);
    cohort_dataset *dataset = NULL;
    assert_ok(open_file(&dataset, 200000));
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    cohort_loader_config config = {
        .sampler = {.subset = cohort_subset_training(ROWS, 0.1, info->chunk_rows, 3),
                    .seed = 3,
                    .shuffle = true,
                    .chunk_rows = info->chunk_rows,
                    .global_batch = 100},
        .part_begin = (size_t)rank,
        .part_end = (size_t)rank + 1,
        .part_count = (size_t)size,
        .scale = 1,
        .resident_thread = true};
    cohort_loader *loader = NULL;
    assert_ok(cohort_loader_create(&loader, dataset, &config));
    for (uint64_t step = 0; step < 2 * cohort_sampler_steps(&config.sampler); step++) {
        const cohort_batch *batch = NULL;
        double rows[100];
        uint64_t wanted[100];
        bool good = cohort_loader_next(loader, &batch) == COHORT_OK;
        assert_all(good);
        for (size_t i = 0; i < 100; i++)
            rows[i] = -1;
        const size_t begin = cohort_part_begin(batch->global_count, (size_t)rank, (size_t)size);
        for (size_t i = 0; i < batch->count; i++) {
            rows[begin + i] = (double)batch->rows[i];
            good = good && ((const float *)batch->x)[i * WIDTH] == value_of(batch->rows[i], 0);
        }
        assert_ok(cohort_comm_max(comm, rows, 100));
        cohort_sampler_rows(wanted, &config.sampler, batch->epoch, batch->step, 0,
                            batch->global_count);
        for (size_t i = 0; i < batch->global_count; i++)
            good = good && rows[i] == (double)wanted[i];
        assert_all(good);
    }
    cohort_loader_destroy(loader);
    cohort_dataset_close(dataset);
    remove_file();
}

static void errors_are_everyones(void **state)
{
    (void)state;
    cohort_dataset *dataset = NULL;
    cohort_status status = open_file(&dataset, 0);
    /* One complaint for all, without naming a rank. */
    assert_all(status == COHORT_DATA && !dataset &&
               strncmp(cohort_error_message(), path, strlen(path)) == 0);
    const uint64_t bad[] = {0, 500, ROWS - 1};
    for (int b = 0; b < 3; b++) {
        char part[32];
        snprintf(part, sizeof part, "row %d holds a NaN", (int)bad[b]);
        write_file(bad[b]);
        status = open_file(&dataset, 0);
        assert_all(status == COHORT_DATA && strstr(cohort_error_message(), part));
        remove_file();
    }
}

int main(void)
{
    if (cohort_comm_start(&comm) != COHORT_OK)
        return 1;
    rank = cohort_comm_rank(comm);
    size = cohort_comm_size(comm);
    snprintf(path, sizeof path, "%s", h5_path("ranks.h5"));
    if (cohort_comm_broadcast(comm, path, sizeof path, 0) != COHORT_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ranks_hold_all_rows),
        cmocka_unit_test(changes_are_seen_by_all),
        cmocka_unit_test(parts_make_the_batch),
        cmocka_unit_test(errors_are_everyones),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cohort_comm_close(comm);
    return failed;
}
