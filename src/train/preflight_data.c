/* Preflight: data, batch and memory. */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "train/preflight_private.h"

enum { RUNS = 16, RUN_ROWS = 32 }; /* of the sample */
static const double LARGE_INPUT = 20, SMALL_RANGE = 1e-3;
static const uint64_t CHUNK_MOST = (uint64_t)64 << 20, CHUNK_LEAST = 4096, CHUNK_GOOD = 1 << 20;

/* Chunks that make streaming slow, and how to write others. */
static void judge_chunks(cohort_preflight_run *run, bool streamed)
{
    const cohort_survey *survey = &run->survey;
    const cohort_data_recipe *data = &run->recipe->data;
    char bytes[24];
    const uint64_t rows = CHUNK_GOOD / survey->row_bytes + 1;
    const bool large = survey->chunk_bytes > CHUNK_MOST && streamed,
               small = survey->chunk_bytes && survey->chunk_bytes < CHUNK_LEAST &&
                       survey->count * survey->row_bytes > CHUNK_GOOD;
    if (large || small)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "chunks",
                    "the HDF5 chunks of %s/%s are %s each, which makes reading slow: rewrite the "
                    "file with chunks of %llu rows (h5repack -l /%s/%s:CHUNK=%llux…)",
                    data->train, data->x, cohort_bytes_text(bytes, (double)survey->chunk_bytes),
                    (unsigned long long)rows, data->train, data->x, (unsigned long long)rows);
}

void cohort_judge_survey(cohort_preflight_run *run, uint64_t budget)
{
    const cohort_survey *survey = &run->survey;
    const double x_bytes = (double)survey->count * (double)survey->row_bytes;
    const bool streamed = survey->bytes > budget;
    char bytes[24], most[24], block[24], rate[24], each[24], duration[16];
    cohort_bytes_text(bytes, (double)survey->bytes);
    cohort_bytes_text(rate, survey->bytes_per_s);
    cohort_duration_text(duration, survey->bytes_per_s > 0 ? x_bytes / survey->bytes_per_s : 0);
    if (streamed)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "data",
                    "%zu training samples take %s, more than a host may hold (%s): they are "
                    "streamed in blocks of %s, and each rank reads %s an epoch, at %s/s now some "
                    "%s: raise data.memory_limit if there is memory",
                    survey->count, bytes, cohort_bytes_text(most, (double)budget),
                    cohort_bytes_text(block, (double)survey->block_bytes),
                    cohort_bytes_text(each, x_bytes), rate, duration);
    else
        cohort_find(run->findings, COHORT_FINDING_GOOD, "data",
                    "%zu training samples, %s, in memory once a host; read at %s/s%s",
                    survey->count, bytes, rate, survey->filtered ? " from compressed chunks" : "");
    judge_chunks(run, streamed);
}

/* --- Values ----------------------------------------------------------------------- */

/* What a look at some samples finds. */
typedef struct sample {
    size_t rows;
    double least, most; /* inputs, scaled */
    size_t usual;       /* how many of its labels are the most frequent one */
    int32_t label;      /* which that is */
} sample;

static double scaled(const cohort_data_recipe *data, double value, size_t channel)
{
    const double mean = data->mean.count ? data->mean.items[channel % data->mean.count] : 0,
                 std = data->std.count ? data->std.items[channel % data->std.count] : 1;
    return (value * data->scale - mean) / std;
}

static void look_at_inputs(sample *found, const cohort_preflight_run *run,
                           const cohort_dataset_info *info, const void *x)
{
    const size_t width = cohort_shape_count(&info->x_shape);
    for (size_t i = 0; i < found->rows * width; i++) {
        const double raw = info->x_element == COHORT_U8    ? ((const unsigned char *)x)[i]
                           : info->x_element == COHORT_I32 ? ((const int32_t *)x)[i]
                                                           : (double)((const float *)x)[i];
        const double value = scaled(&run->recipe->data, raw, i);
        found->least = fmin(found->least, value);
        found->most = fmax(found->most, value);
    }
}

static void look_at_labels(sample *found, const int32_t *labels)
{
    for (size_t i = 0; i < found->rows; i++) {
        size_t same = 0;
        for (size_t k = 0; k < found->rows; k++)
            same += labels[k] == labels[i];
        if (same > found->usual) {
            found->usual = same;
            found->label = labels[i];
        }
    }
}

/* Runs of rows at even distances: what is streamed is read in few blocks. */
static size_t choose_rows(uint64_t *rows, size_t count)
{
    size_t chosen = 0;
    const size_t runs = count < (size_t)RUNS * RUN_ROWS ? 1 : RUNS,
                 length = count < (size_t)RUNS * RUN_ROWS ? count : RUN_ROWS;
    for (size_t run = 0; run < runs; run++)
        for (size_t i = 0; i < length; i++)
            rows[chosen++] = (runs > 1 ? run * (count - length) / (runs - 1) : 0) + i;
    return chosen;
}

static cohort_status take_sample(sample *found, cohort_preflight_run *run)
{
    cohort_dataset *dataset = run->trainer->train;
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const size_t y_width = cohort_shape_count(&info->y_shape);
    uint64_t rows[RUNS * RUN_ROWS];
    void *x = NULL, *y = NULL;
    *found = (sample){.rows = choose_rows(rows, info->count), .least = INFINITY, .most = -INFINITY};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status,
                    cohort_allocate(&x, found->rows, cohort_shape_count(&info->x_shape) * 4));
    if (info->targets)
        COHORT_TRY_DONE(status, cohort_allocate(&y, found->rows, y_width * 4));
    COHORT_TRY_DONE(status, cohort_dataset_gather(x, y, dataset, rows, found->rows));
    look_at_inputs(found, run, info, x);
    if (info->labels && y_width == 1)
        look_at_labels(found, y);
done:
    cohort_free(x);
    cohort_free(y);
    return status;
}

static void judge_inputs(const cohort_preflight_run *run, const sample *found)
{
    const double largest = fmax(fabs(found->least), fabs(found->most));
    if (cohort_model_reads_tokens(run->recipe))
        return;
    if (found->most - found->least < SMALL_RANGE)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "inputs",
                    "values of %zu samples hardly differ, from %g to %g: look at %s in the data "
                    "file, or raise data.scale",
                    found->rows, found->least, found->most, run->recipe->data.x);
    else if (largest > LARGE_INPUT)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "inputs",
                    "values of %zu samples reach from %g to %g: networks learn best from values "
                    "around -1 to 1; set data.scale to %.6g, or data.mean and data.std",
                    found->rows, found->least, found->most, run->recipe->data.scale / largest);
    else
        cohort_find(run->findings, COHORT_FINDING_GOOD, "inputs",
                    "values of %zu samples reach from %g to %g", found->rows, found->least,
                    found->most);
}

static void judge_labels(const cohort_preflight_run *run, const sample *found)
{
    const cohort_dataset_info *info = cohort_dataset_describe(run->trainer->train);
    const size_t classes = run->trainer->loss.class_count;
    if (!info->labels || !classes || !run->trainer->loss.labels || !found->usual)
        return;
    if (info->label_min > 0)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "labels",
                    "labels run from %d to %d, so class 0 never occurs: number classes from 0",
                    info->label_min, info->label_max);
    else if ((size_t)info->label_max + 1 < classes)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "labels",
                    "labels reach %d only, but the network has %zu classes: give its last layer "
                    "%d units, or look at %s",
                    info->label_max, classes, info->label_max + 1, run->recipe->data.y);
    else if (found->usual * 20 > found->rows * 19 && found->rows >= 20)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "labels",
                    "%zu of %zu labels looked at are %d: accuracy will say little; look at F1, or "
                    "set class_weights in loss",
                    found->usual, found->rows, found->label);
    else
        cohort_find(run->findings, COHORT_FINDING_GOOD, "labels", "0 to %d, for %zu classes",
                    info->label_max, classes);
}

void cohort_judge_values(cohort_preflight_run *run)
{
    sample found;
    if (take_sample(&found, run) != COHORT_OK) {
        cohort_find(run->findings, COHORT_FINDING_PROBLEM, "data", "%s", cohort_error_message());
        return;
    }
    judge_inputs(run, &found);
    judge_labels(run, &found);
}

/* --- Batch ------------------------------------------------------------------------ */

void cohort_judge_batch(cohort_preflight_run *run)
{
    const cohort_trainer *trainer = run->trainer;
    const size_t ranks = (size_t)cohort_comm_size(run->comm), batch = trainer->sampler.global_batch,
                 parts = trainer->share.count;
    const size_t most = (parts + ranks - 1) / ranks; /* parts of the rank that has most */
    if (batch < ranks) {
        cohort_find(run->findings, COHORT_FINDING_WARNING, "batch",
                    "%zu samples a step for %zu ranks leave %zu ranks idle: raise "
                    "train.global_batch_size or start fewer ranks",
                    batch, ranks, ranks - batch);
    } else if (parts >= ranks && most * ranks > parts) {
        cohort_find(run->findings, COHORT_FINDING_WARNING, "batch",
                    "%zu ranks share %zu parts of the batch unevenly, so that steps take as long "
                    "as on %zu: start %zu, or set train.parts to 1 (rank counts then agree to "
                    "rounding only)",
                    ranks, parts, (parts + most - 1) / most, (parts + most - 1) / most);
    } else if (parts == ranks && run->recipe->train.parts > 0 && run->recipe->train.parts < ranks) {
        cohort_find(run->findings, COHORT_FINDING_WARNING, "batch",
                    "%zu ranks are more than train.parts (%zu): results agree with those of fewer "
                    "ranks to rounding only; raise train.parts",
                    ranks, run->recipe->train.parts);
    } else {
        cohort_find(run->findings, COHORT_FINDING_GOOD, "batch",
                    "%zu samples a step in %zu part%s: up to %zu a rank, in passes of %zu", batch,
                    parts, parts == 1 ? "" : "s", most * ((batch + parts - 1) / parts),
                    trainer->microbatch);
    }
}

/* --- Memory ----------------------------------------------------------------------- */

/* Bytes of a rank's vectors: parameters, gradients, sums of parts, optimizer slots. */
static double vector_bytes(const cohort_trainer *trainer)
{
    const size_t vectors =
        1 + cohort_trainer_vector_count(trainer) + cohort_optimizer_slot_count(trainer->optimizer);
    return 4.0 * (double)vectors * (double)cohort_model_params_count(trainer->model);
}

static void judge_shared(const cohort_preflight_run *run, double data, double gradients,
                         const cohort_rank_facts *least)
{
    char need[24], have[24];
    cohort_bytes_text(need, data + gradients);
    cohort_bytes_text(have, (double)least->shared_free);
    if (data + gradients > (double)least->shared_free)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "/dev/shm",
                    "%s are wanted on a host for data and gradients, but %s has %s: each rank will "
                    "keep its own copy, or read the data in pieces: enlarge it (mount -o "
                    "remount,size=… /dev/shm, docker run --shm-size=…)",
                    need, least->host, have);
    else if (least->shared_free == UINT64_MAX)
        cohort_find(run->findings, COHORT_FINDING_GOOD, "/dev/shm", "%s wanted, no limit", need);
    else
        cohort_find(run->findings, COHORT_FINDING_GOOD, "/dev/shm", "%s wanted of %s free", need,
                    have);
}

void cohort_judge_memory(cohort_preflight_run *run)
{
    const cohort_trainer *trainer = run->trainer;
    const cohort_rank_facts *facts = run->facts, *tight = &facts[0], *shared = &facts[0];
    size_t *ranks = NULL; /* of each host */
    const size_t size = (size_t)cohort_comm_size(run->comm);
    if (COHORT_ALLOCATE(&ranks, size) != COHORT_OK)
        return;
    const double data = run->held ? (double)run->survey.bytes : 0,
                 each = vector_bytes(trainer) + (double)cohort_trainer_work_bytes(trainer);
    for (size_t r = 0; r < size; r++)
        ranks[facts[r].node]++;
    for (size_t r = 0; r < size; r++) {
        if ((double)facts[r].memory_free - (double)ranks[facts[r].node] * each <
            (double)tight->memory_free - (double)ranks[tight->node] * each)
            tight = &facts[r];
        shared = facts[r].shared_free < shared->shared_free ? &facts[r] : shared;
    }
    const double count = (double)ranks[tight->node], need = data + count * each;
    char a[24], b[24], c[24], d[24], e[24];
    cohort_bytes_text(a, need);
    cohort_bytes_text(b, (double)tight->memory_free);
    cohort_bytes_text(c, data);
    cohort_bytes_text(d, vector_bytes(trainer));
    cohort_bytes_text(e, (double)cohort_trainer_work_bytes(trainer));
    if (need > (double)tight->memory_free)
        cohort_find(run->findings, COHORT_FINDING_PROBLEM, "memory",
                    "%s needs %s, but %s are free: data %s, and for each of %g ranks %s of "
                    "parameters and %s of activations: lower train.microbatch_size, start fewer "
                    "ranks a host, or lower data.memory_limit",
                    tight->host, a, b, c, count, d, e);
    else
        cohort_find(run->findings, COHORT_FINDING_GOOD, "memory",
                    "%s needs some %s of %s free: data %s, and for each of %g rank%s %s of "
                    "parameters and %s of activations",
                    tight->host, a, b, c, count, count > 1 ? "s" : "", d, e);
    const bool is_left = !cohort_dataset_memory(trainer->train) &&
                         !cohort_dataset_describe(trainer->train)->streamed;
    if (size > 1 && ranks[shared->node] > 1)
        judge_shared(run, is_left ? 0 : data,
                     4.0 * (double)ranks[shared->node] *
                         (double)cohort_model_params_count(trainer->model),
                     shared);
    cohort_free(ranks);
}
