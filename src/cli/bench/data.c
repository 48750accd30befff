#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/shape.h"
#include "cli/bench/bench.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "train/job.h"

enum { BATCH_USUAL = 64, STEPS_LEAST = 8, READ_BYTES = 1 << 20 };
/* What a node may hold while streaming is measured. */
static const uint64_t STREAM_BYTES = (uint64_t)16 << 20;

typedef struct data_rates {
    uint64_t samples, bytes, file_bytes; /* of the split in memory; of the whole file */
    double open_seconds;                 /* reading the split into memory */
    double memory, streamed;             /* samples a second, all ranks together */
    double file;                         /* bytes a second, rank 0 */
    bool fits;
} data_rates;

/* Samples a second of all ranks, each taking its part of every batch as training does. */
static cohort_status batch_rate(double *out, cohort_bench *bench, cohort_dataset *dataset,
                                size_t batch)
{
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const cohort_share share = cohort_job_even_share(bench->comm);
    const cohort_loader_config config = {
        .sampler = {.subset = cohort_subset_all(info->count),
                    .seed = 1,
                    .shuffle = true,
                    .chunk_rows = info->chunk_rows,
                    .global_batch = batch < info->count ? batch : info->count},
        .part_begin = share.begin,
        .part_end = share.end,
        .part_count = share.count,
        .tokens = info->x_element == COHORT_I32 && info->x_shape.dim_count == 1,
        .scale = 1,
        .seed = 1,
        .resident_thread = true,
    };
    cohort_loader *loader = NULL;
    const cohort_batch *got = NULL;
    double start = 0, spent = 0, samples = 0;
    cohort_status status = cohort_loader_create(&loader, dataset, &config);
    COHORT_TRY_DONE(status, cohort_comm_agree(bench->comm, status));
    start = cohort_clock_seconds();
    for (size_t step = 0; step < STEPS_LEAST || spent < bench->seconds; step++) {
        status = cohort_loader_next(loader, &got);
        if (status != COHORT_OK)
            break;
        samples += (double)got->count;
        spent = cohort_clock_seconds() - start;
    }
    COHORT_TRY_DONE(status, cohort_comm_agree(bench->comm, status));
    *out = samples / spent;
    status = cohort_comm_sum(bench->comm, out, 1);
done:
    cohort_loader_destroy(loader);
    return status;
}

/* Opens with LIMIT bytes and measures. */
static cohort_status measure(double *rate, data_rates *rates, cohort_bench *bench, uint64_t limit,
                             size_t batch)
{
    const char *group = cohort_options_get(bench->given, "split");
    const cohort_dataset_spec spec = {.path = bench->given->positional[1],
                                      .group = group ? group : "train",
                                      .x = "x",
                                      .memory_limit = limit};
    cohort_dataset *dataset = NULL;
    const double start = cohort_clock_seconds();
    COHORT_TRY(cohort_dataset_open(&dataset, bench->comm, &spec));
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    if (limit == 0) {
        rates->open_seconds = cohort_clock_seconds() - start;
        rates->samples = info->count;
        rates->bytes = info->bytes;
        rates->fits = !info->streamed;
    }
    cohort_status status = batch_rate(rate, bench, dataset, batch);
    cohort_dataset_close(dataset);
    return status;
}

/* The file as it lies on the disk or in the page cache. Rank 0. */
static cohort_status read_file(data_rates *rates, const cohort_bench *bench)
{
    const char *path = bench->given->positional[1];
    static char buffer[READ_BYTES];
    struct stat about;
    FILE *file = fopen(path, "rb");
    COHORT_REQUIRE(file, COHORT_DATA, "cannot read %s", path);
    rates->file_bytes = fstat(fileno(file), &about) == 0 ? (uint64_t)about.st_size : 0;
    const double start = cohort_clock_seconds();
    double bytes = 0, spent = 0;
    size_t got = READ_BYTES;
    while (got == READ_BYTES && spent < bench->seconds) {
        got = fread(buffer, 1, READ_BYTES, file);
        bytes += (double)got;
        spent = cohort_clock_seconds() - start;
    }
    fclose(file);
    rates->file = bytes / spent;
    return COHORT_OK;
}

static void line(cohort_text *text, const char *name, double rate, double sample_bytes)
{
    cohort_text_append(text, "  %-34s %12.0f samples/s %10.1f MB/s\n", name, rate,
                       rate * sample_bytes * 1e-6);
}

static void write(cohort_bench *bench, const data_rates *rates, size_t batch)
{
    cohort_text *text = bench->text;
    const double each = (double)rates->bytes / (double)rates->samples;
    if (bench->json) {
        cohort_json_integer(text, "samples", (int64_t)rates->samples);
        cohort_json_integer(text, "bytes", (int64_t)rates->bytes);
        cohort_json_integer(text, "file_bytes", (int64_t)rates->file_bytes);
        cohort_json_integer(text, "batch", (int64_t)batch);
        cohort_json_number(text, "open_seconds", rates->open_seconds);
        cohort_json_boolean(text, "fits_memory", rates->fits);
        cohort_json_number(text, "memory_samples_per_s", rates->memory);
        cohort_json_number(text, "streamed_samples_per_s", rates->streamed);
        cohort_json_number(text, "file_bytes_per_s", rates->file);
        return;
    }
    cohort_text_append(text,
                       "%s: %llu samples, %.1f MB as kept in memory; the file has %.1f MB\n"
                       "  opening and reading it             %12.2f s\n",
                       bench->given->positional[1], (unsigned long long)rates->samples,
                       (double)rates->bytes * 1e-6, (double)rates->file_bytes * 1e-6,
                       rates->open_seconds);
    line(text, rates->fits ? "batches from memory" : "batches, streamed (does not fit)",
         rates->memory, each);
    if (rates->streamed > 0)
        line(text, "streamed, 16 MiB held a host", rates->streamed, each);
    cohort_text_append(text, "  %-34s %12s           %10.1f MB/s\n", "the file's bytes alone", "",
                       rates->file * 1e-6);
    cohort_text_append(text, "Training that takes fewer samples than that does not wait for data "
                             "(augmentation apart).\n");
}

cohort_status cohort_bench_data(cohort_bench *bench)
{
    int64_t batch;
    data_rates rates = {0};
    COHORT_TRY(cohort_options_integer(&batch, bench->given, "batch", BATCH_USUAL, 1, INT32_MAX));
    COHORT_TRY(measure(&rates.memory, &rates, bench, 0, (size_t)batch));
    const uint64_t limit = rates.bytes / 2 < STREAM_BYTES ? rates.bytes / 2 : STREAM_BYTES;
    COHORT_TRY(measure(&rates.streamed, &rates, bench, limit ? limit : 1, (size_t)batch));
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(bench->comm) == 0)
        status = read_file(&rates, bench);
    COHORT_TRY(cohort_comm_follow(bench->comm, status));
    if (cohort_comm_rank(bench->comm) == 0)
        write(bench, &rates, (size_t)batch);
    return COHORT_OK;
}
