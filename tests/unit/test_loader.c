#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "data/loader.h"
#include "tests/unit/h5_files.h"

enum { COUNT = 500, HEIGHT = 8, WIDTH = 6, CHANNELS = 3, ROW = HEIGHT * WIDTH * CHANNELS };

static cohort_comm *comm;
static char path[256];
static uint8_t pixels[COUNT * ROW];

static int start(void **state)
{
    (void)state;
    if (cohort_comm_start(&comm) != COHORT_OK)
        return 1;
    for (size_t i = 0; i < COUNT * ROW; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 13);
    snprintf(path, sizeof path, "%s", h5_path("loader.h5"));
    int labels[COUNT];
    for (int i = 0; i < COUNT; i++)
        labels[i] = i;
    const hsize_t dims[] = {COUNT, HEIGHT, WIDTH, CHANNELS},
                  chunk[] = {20, HEIGHT, WIDTH, CHANNELS};
    hid_t file = h5_create(path, "train");
    h5_write(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, 4, dims, H5_CHUNKED | H5_GZIP, chunk,
             pixels);
    h5_write(file, "train/y", H5T_STD_I32LE, H5T_NATIVE_INT, 1, dims, 0, NULL, labels);
    h5_write(file, "train/f", H5T_IEEE_F32LE, H5T_NATIVE_UINT8, 4, dims, 0, NULL, pixels);
    H5Fclose(file);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    unlink(path);
    cohort_comm_close(comm);
    return 0;
}

/* The data set in memory, or streamed when LIMIT does not hold it. */
static cohort_dataset *open_data(const char *x, uint64_t limit)
{
    cohort_dataset *dataset = NULL;
    cohort_dataset_spec spec = {
        .path = path, .group = "train", .x = x, .y = "y", .memory_limit = limit};
    assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    assert_int_equal(cohort_dataset_describe(dataset)->streamed, limit != 0);
    return dataset;
}

static cohort_loader_config plain_config(size_t global_batch)
{
    return (cohort_loader_config){
        .sampler = {.subset = cohort_subset_all(COUNT),
                    .seed = 4,
                    .shuffle = true,
                    .global_batch = global_batch},
        .part_end = 1,
        .part_count = 1,
        .scale = 1,
        .seed = 4,
    };
}

/* Copies the x of STEPS batches from (epoch, step) on, of all RANKS in order. */
static float *load_steps(cohort_dataset *dataset, cohort_loader_config config, int ranks,
                         uint64_t epoch, uint64_t step, size_t steps)
{
    const size_t most = config.sampler.global_batch;
    float *all = calloc(steps * most * ROW, sizeof *all);
    size_t begin[16] = {0};
    config.part_count = (size_t)ranks;
    for (int rank = 0; rank < ranks; rank++) {
        config.part_begin = (size_t)rank;
        config.part_end = (size_t)rank + 1;
        cohort_loader *loader = NULL;
        const cohort_batch *batch = NULL;
        assert_ok(cohort_loader_create(&loader, dataset, &config));
        cohort_loader_seek(loader, epoch, step);
        for (size_t s = 0; s < steps; s++) {
            assert_ok(cohort_loader_next(loader, &batch));
            for (size_t i = 0; i < batch->count; i++)
                assert_int_equal(batch->labels[i], batch->rows[i]);
            memcpy(all + (s * most + begin[s]) * ROW, batch->x, batch->count * ROW * sizeof(float));
            begin[s] += batch->count;
            if (rank == ranks - 1)
                assert_int_equal(begin[s], batch->global_count);
        }
        assert_true(cohort_loader_take_wait_seconds(loader) >= 0);
        cohort_loader_destroy(loader);
    }
    return all;
}

static const cohort_key_table crop_table = {.name = "random_crop"}, flip_table = {.name = "flip"},
                              rotate_table = {.name = "rotate"}, zoom_table = {.name = "zoom"};

static cohort_variants all_augmentations(cohort_variant items[4])
{
    static cohort_random_crop crop = {2};
    static cohort_flip flip = {2};
    static cohort_rotate rotate = {20};
    static cohort_zoom zoom = {0.2};
    items[0] = (cohort_variant){&crop_table, &crop, 0};
    items[1] = (cohort_variant){&flip_table, &flip, 0};
    items[2] = (cohort_variant){&rotate_table, &rotate, 0};
    items[3] = (cohort_variant){&zoom_table, &zoom, 0};
    return (cohort_variants){items, 4};
}

/* The parts of the ranks make the global batch: memory or streamed, thread or none,
 * augmented or not. */
static void same_batches_whoever_loads(void **state)
{
    (void)state;
    cohort_dataset *kept = open_data("x", 0), *streamed = open_data("x", 60000);
    cohort_variant items[4];
    cohort_variants variants = all_augmentations(items);
    const int ranks[] = {1, 2, 3, 5, 9};
    for (int augmented = 0; augmented < 3; augmented++) {
        cohort_loader_config config = plain_config(augmented ? 7 : 64);
        variants.count = augmented == 1 ? 2 : 4; /* whole pixels alone, then resampled */
        config.augment = augmented ? &variants : NULL;
        config.sampler.chunk_rows = 20;
        const uint64_t first = cohort_sampler_steps(&config.sampler) - 3;
        float *wanted = load_steps(kept, config, 1, 2, first, 6);
        for (int r = 0; r < 5; r++)
            for (int threaded = 0; threaded < 2; threaded++)
                for (int stream = 0; stream < 2; stream++) {
                    config.resident_thread = threaded;
                    float *some =
                        load_steps(stream ? streamed : kept, config, ranks[r], 2, first, 6);
                    assert_memory_equal(wanted, some,
                                        6 * config.sampler.global_batch * ROW * sizeof *some);
                    free(some);
                }
        free(wanted);
    }
    cohort_dataset_close(kept);
    cohort_dataset_close(streamed);
}

static void scaling_follows_the_formula(void **state)
{
    (void)state;
    double means[] = {0.1, 0.2, -0.3}, stds[] = {0.5, 2, 0.25};
    const char *const names[] = {"x", "f"};
    for (int n = 0; n < 2; n++)
        for (size_t channels = 0; channels <= 3; channels += channels ? 2 : 1) {
            cohort_dataset *dataset = open_data(names[n], 0);
            cohort_loader_config config = plain_config(32);
            config.scale = 1.0 / 255;
            config.mean = (cohort_reals){means, channels};
            config.std = (cohort_reals){stds, channels};
            cohort_loader *loader = NULL;
            const cohort_batch *batch = NULL;
            assert_ok(cohort_loader_create(&loader, dataset, &config));
            assert_ok(cohort_loader_next(loader, &batch));
            assert_int_equal(batch->epoch, 0);
            assert_int_equal(batch->step, 0);
            for (size_t i = 0; i < batch->count; i++)
                for (size_t j = 0; j < ROW; j++) {
                    const size_t c = channels == 3 ? j % 3 : 0;
                    const double mean = channels ? means[c] : 0, std = channels ? stds[c] : 1,
                                 wanted = (pixels[batch->rows[i] * ROW + j] / 255.0 - mean) / std;
                    assert_true(fabs(((const float *)batch->x)[i * ROW + j] - wanted) <
                                2e-6 * (1 + fabs(wanted)));
                }
            cohort_loader_destroy(loader);
            cohort_dataset_close(dataset);
        }
}

static void seeks_and_runs_on(void **state)
{
    (void)state;
    cohort_dataset *dataset = open_data("x", 60000);
    cohort_loader_config config = plain_config(90); /* 6 steps, the last of 50 */
    config.resident_thread = true;
    cohort_loader *loader = NULL;
    const cohort_batch *batch = NULL;
    assert_ok(cohort_loader_create(&loader, dataset, &config));
    const uint64_t seeks[][2] = {{0, 0}, {3, 5}, {1, 2}, {1, 2}, {7, 6}};
    for (size_t s = 0; s < 5; s++) {
        cohort_loader_seek(loader, 9, 9); /* overtaken at once */
        cohort_loader_seek(loader, seeks[s][0], seeks[s][1]);
        for (uint64_t i = 0; i < 8; i++) {
            const uint64_t step = seeks[s][1] + i;
            assert_ok(cohort_loader_next(loader, &batch));
            assert_int_equal(batch->epoch, seeks[s][0] + step / 6);
            assert_int_equal(batch->step, step % 6);
            assert_int_equal(batch->count, step % 6 == 5 ? 50 : 90);
            uint64_t rows[90];
            cohort_sampler_rows(rows, &config.sampler, batch->epoch, batch->step, 0, batch->count);
            assert_memory_equal(rows, batch->rows, batch->count * sizeof *rows);
        }
    }
    cohort_loader_destroy(loader);
    assert_ok(cohort_loader_create(&loader, dataset, &config));
    cohort_loader_destroy(loader); /* before any batch */
    cohort_dataset_close(dataset);
}

/* 64 KiB of zeros AT a place of the file NAME. */
static void spoil(const char *name, long at)
{
    static const char zeros[64 << 10];
    FILE *file = fopen(name, "r+b");
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(zeros, 1, sizeof zeros, file), sizeof zeros);
    fclose(file);
}

/* The file is damaged while it is streamed: the thread's error arrives, and again. */
static void errors_of_the_thread_surface(void **state)
{
    (void)state;
    const char *name = h5_path("spoilt.h5");
    enum { ROWS = 4096, BYTES = 1024 };
    uint8_t *values = malloc(ROWS * BYTES);
    for (size_t i = 0; i < ROWS * BYTES; i++)
        values[i] = (uint8_t)(cohort_mix64(i) & 127);
    const hsize_t dims[] = {ROWS, BYTES}, chunk[] = {256, BYTES};
    hid_t file = h5_create(name, "train");
    h5_write(file, "train/x", H5T_STD_U8LE, H5T_NATIVE_UINT8, 2, dims, H5_CHUNKED | H5_GZIP, chunk,
             values);
    H5Fclose(file);
    free(values);
    cohort_dataset *dataset = NULL;
    cohort_dataset_spec spec = {.path = name, .group = "train", .x = "x", .memory_limit = 2 << 20};
    assert_ok(cohort_dataset_open(&dataset, comm, &spec));
    spoil(name, 3 << 20);
    cohort_loader_config config = plain_config(64);
    config.sampler.subset = cohort_subset_all(ROWS);
    config.sampler.shuffle = false;
    config.resident_thread = true;
    cohort_loader *loader = NULL;
    const cohort_batch *batch = NULL;
    assert_ok(cohort_loader_create(&loader, dataset, &config));
    cohort_status status = COHORT_OK;
    for (int i = 0; i < ROWS / 64 && status == COHORT_OK; i++)
        status = cohort_loader_next(loader, &batch);
    assert_int_equal(status, COHORT_DATA);
    assert_non_null(strstr(cohort_error_message(), "cannot read rows"));
    assert_fails(cohort_loader_next(loader, &batch), COHORT_DATA, "of train/x");
    cohort_loader_seek(loader, 0, 0);
    assert_ok(cohort_loader_next(loader, &batch));
    assert_null(batch->labels);
    assert_null(batch->values);
    cohort_loader_destroy(loader);
    cohort_dataset_close(dataset);
    unlink(name);
}

static void refused_configurations(void **state)
{
    (void)state;
    cohort_dataset *dataset = open_data("x", 0), *floats = open_data("f", 0);
    cohort_loader *loader = NULL;
    double two[] = {1, 2}, zero[] = {0};
    cohort_loader_config config = plain_config(8);
    config.mean = (cohort_reals){two, 2};
    assert_fails(cohort_loader_create(&loader, dataset, &config), COHORT_USAGE,
                 "data.mean has 2 values but x has 3 channels");
    config = plain_config(8);
    config.std = (cohort_reals){zero, 1};
    assert_fails(cohort_loader_create(&loader, dataset, &config), COHORT_USAGE, "std positive");
    config = plain_config(8);
    config.scale = 0;
    assert_fails(cohort_loader_create(&loader, dataset, &config), COHORT_USAGE, "data.scale");
    config = plain_config(8);
    config.sampler.subset = cohort_subset_validation(COUNT, 0, 0, 1);
    assert_fails(cohort_loader_create(&loader, dataset, &config), COHORT_USAGE, "empty");
    config = plain_config(8);
    config.tokens = true;
    assert_fails(cohort_loader_create(&loader, floats, &config), COHORT_USAGE, "integers");
    config.scale = 0.5;
    assert_fails(cohort_loader_create(&loader, dataset, &config), COHORT_USAGE, "no meaning");
    assert_null(loader);
    config.scale = 1;
    const cohort_batch *batch = NULL;
    assert_ok(cohort_loader_create(&loader, dataset, &config));
    assert_ok(cohort_loader_next(loader, &batch));
    for (size_t i = 0; i < batch->count; i++)
        for (size_t j = 0; j < ROW; j++)
            assert_int_equal(((const int32_t *)batch->x)[i * ROW + j],
                             pixels[batch->rows[i] * ROW + j]);
    cohort_loader_destroy(loader);
    cohort_dataset_close(dataset);
    cohort_dataset_close(floats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_batches_whoever_loads),
        cmocka_unit_test(scaling_follows_the_formula),
        cmocka_unit_test(seeks_and_runs_on),
        cmocka_unit_test(errors_of_the_thread_surface),
        cmocka_unit_test(refused_configurations),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
