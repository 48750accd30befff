#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/command.h"
#include "cli/model_input.h"
#include "cli/signals.h"
#include "data/writer.h"
#include "train/job.h"

enum { BATCH = 64 };

static const cohort_option options[] = {
    {"output", "OUT.{h5,csv}", "the file to write, HDF5 or a table", false},
    {"split", "GROUP", "the group to read (default: the recipe's test group)", false},
};

/* Where predictions go on rank 0: an HDF5 file or CSV text. */
typedef struct sink {
    cohort_writer *writer;
    size_t y_id, label_id;
    cohort_text temporary;
    FILE *csv;
    bool has_labels;
    size_t outputs;   /* per sample: positions x width */
    size_t positions; /* labels per sample */
} sink;

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static void write_csv_header(const sink *out, const cohort_snapshot *about)
{
    if (out->has_labels)
        for (size_t i = 0; i < out->positions; i++)
            fprintf(out->csv, out->positions > 1 ? "%slabel_%zu" : "%slabel", i ? "," : "", i);
    for (size_t i = 0; i < out->outputs; i++) {
        fputs(i || out->has_labels ? "," : "", out->csv);
        if (about->class_count == out->outputs)
            fprintf(out->csv, "\"%s\"", about->classes[i]);
        else
            fprintf(out->csv, "y_%zu", i);
    }
    fputc('\n', out->csv);
}

static cohort_status open_sink(sink *out, const char *path, const cohort_inference *inference,
                               const cohort_shape *shape)
{
    const cohort_loss *loss = &inference->loss;
    out->has_labels = loss->class_count > 0;
    out->positions = loss->positions;
    out->outputs = cohort_shape_count(shape);
    if (ends_with(path, ".csv")) {
        cohort_text_append(&out->temporary, "%s.%ld.tmp", path, (long)getpid());
        COHORT_TRY(cohort_text_status(&out->temporary));
        cohort_signals_remove(out->temporary.data);
        out->csv = fopen(out->temporary.data, "w");
        COHORT_REQUIRE(out->csv, COHORT_DATA, "cannot write %s: %s", path, strerror(errno));
        write_csv_header(out, inference->about);
        return COHORT_OK;
    }
    COHORT_REQUIRE(ends_with(path, ".h5") || ends_with(path, ".hdf5"), COHORT_USAGE,
                   "--output %s: the name must end in .h5 or .csv", path);
    const cohort_shape steps =
        loss->positions > 1 ? cohort_shape_of(loss->positions) : (cohort_shape){0};
    COHORT_TRY(cohort_writer_create(&out->writer, path));
    cohort_signals_remove(cohort_writer_temporary(out->writer));
    COHORT_TRY(cohort_writer_add(&out->y_id, out->writer, "", "y", COHORT_F32, shape, 0));
    if (out->has_labels)
        COHORT_TRY(
            cohort_writer_add(&out->label_id, out->writer, "", "label", COHORT_I32, &steps, 0));
    if (inference->about->class_count)
        COHORT_TRY(cohort_writer_attribute_list(out->writer, "classes", inference->about->classes,
                                                inference->about->class_count));
    return COHORT_OK;
}

static cohort_status write_rows(sink *out, const float *y, const int32_t *labels, size_t count)
{
    if (out->writer) {
        COHORT_TRY(cohort_writer_append(out->writer, out->y_id, y, count));
        return out->has_labels ? cohort_writer_append(out->writer, out->label_id, labels, count)
                               : COHORT_OK;
    }
    char number[32];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < out->positions && out->has_labels; k++)
            fprintf(out->csv, "%s%d", k ? "," : "", labels[i * out->positions + k]);
        for (size_t k = 0; k < out->outputs; k++) {
            snprintf(number, sizeof number, "%.9g", (double)y[i * out->outputs + k]);
            fprintf(out->csv, "%s%s", k || out->has_labels ? "," : "", number);
        }
        fputc('\n', out->csv);
    }
    COHORT_REQUIRE(!ferror(out->csv), COHORT_DATA, "cannot write the predictions: %s",
                   strerror(errno));
    return COHORT_OK;
}

static cohort_status finish_sink(sink *out, const char *path)
{
    if (out->writer)
        return cohort_writer_finish(out->writer);
    const int failed = fclose(out->csv);
    out->csv = NULL;
    COHORT_REQUIRE(failed == 0, COHORT_DATA, "cannot write %s: %s", path, strerror(errno));
    return cohort_file_commit(out->temporary.data, path);
}

static void close_sink(sink *out)
{
    cohort_writer_destroy(out->writer);
    if (out->csv)
        fclose(out->csv);
    if (out->temporary.data)
        unlink(out->temporary.data); /* gone already when it was committed */
    cohort_text_clear(&out->temporary);
}

/* What one rank computes of a global batch, and what rank 0 gets of all. */
typedef struct exchange {
    size_t share;                 /* samples a rank computes at most */
    float *y, *all_y;             /* [share][outputs], [ranks][share][outputs] */
    int32_t *labels, *all_labels; /* [share][positions], [ranks][share][positions] */
} exchange;

static cohort_status open_exchange(exchange *ex, const cohort_comm *comm, const sink *out,
                                   size_t share)
{
    const size_t ranks = (size_t)cohort_comm_size(comm);
    ex->share = share;
    COHORT_TRY(COHORT_ALLOCATE(&ex->y, share * out->outputs));
    COHORT_TRY(COHORT_ALLOCATE(&ex->labels, share * out->positions));
    COHORT_TRY(COHORT_ALLOCATE(&ex->all_y, ranks * share * out->outputs));
    return COHORT_ALLOCATE(&ex->all_labels, ranks * share * out->positions);
}

static void close_exchange(exchange *ex)
{
    cohort_free(ex->y);
    cohort_free(ex->labels);
    cohort_free(ex->all_y);
    cohort_free(ex->all_labels);
}

static cohort_status predict_batch(exchange *ex, cohort_inference *inference, const sink *out,
                                   const cohort_batch *batch)
{
    if (batch->count == 0)
        return COHORT_OK;
    const cohort_pass pass = {.batch = batch->count, .samples = batch->rows};
    float *logits = cohort_model_forward(inference->model, batch->x, &pass);
    if (out->has_labels)
        cohort_loss_classes(ex->labels, &inference->loss, logits, batch->count);
    cohort_loss_activate(logits, &inference->loss, batch->count);
    memcpy(ex->y, logits, batch->count * out->outputs * sizeof(float));
    return COHORT_OK;
}

/* Writes the global batch of COUNT samples in row order. Rank 0. */
static cohort_status write_batch(sink *out, const exchange *ex, size_t count, size_t ranks)
{
    for (size_t r = 0; r < ranks; r++) {
        const size_t part =
            cohort_part_begin(count, r + 1, ranks) - cohort_part_begin(count, r, ranks);
        COHORT_TRY(write_rows(out, ex->all_y + r * ex->share * out->outputs,
                              ex->all_labels + r * ex->share * out->positions, part));
    }
    return COHORT_OK;
}

static cohort_status predict_all(sink *out, exchange *ex, cohort_comm *comm,
                                 cohort_inference *inference, cohort_model_input_source *in)
{
    const size_t ranks = (size_t)cohort_comm_size(comm), global = ex->share * ranks;
    for (size_t done = 0; done < in->count; done += global) {
        const size_t here = in->count - done < global ? in->count - done : global;
        const cohort_batch *batch = NULL;
        cohort_status status = cohort_model_input_next(&batch, in, comm, done, here);
        if (status == COHORT_OK)
            status = predict_batch(ex, inference, out, batch);
        COHORT_TRY(cohort_comm_agree(comm, status));
        COHORT_TRY(cohort_comm_gather_all(comm, ex->all_y, ex->y,
                                          ex->share * out->outputs * sizeof(float)));
        COHORT_TRY(cohort_comm_gather_all(comm, ex->all_labels, ex->labels,
                                          ex->share * out->positions * sizeof(int32_t)));
        if (cohort_cli_is_speaker(comm))
            status = write_batch(out, ex, here, ranks);
        COHORT_TRY(cohort_comm_follow(comm, status));
    }
    return COHORT_OK;
}

static cohort_status predict(cohort_comm *comm, cohort_inference *inference,
                             const cohort_options *given, const char *output)
{
    const cohort_shape *shape = cohort_model_output_shape(inference->model);
    cohort_model_input_source in = {0};
    sink out = {0};
    exchange ex = {0};
    cohort_status status = cohort_inference_set_loss(inference);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, cohort_model_input_open(&in, comm, inference, given->positional[0],
                                                    given->positional[1],
                                                    cohort_options_get(given, "split")));
    if (cohort_cli_is_speaker(comm))
        status = open_sink(&out, output, inference, shape);
    out.has_labels = inference->loss.class_count > 0;
    out.positions = inference->loss.positions;
    out.outputs = cohort_shape_count(shape);
    if (status == COHORT_OK)
        status = open_exchange(&ex, comm, &out, inference->batch);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, predict_all(&out, &ex, comm, inference, &in));
    if (cohort_cli_is_speaker(comm))
        status = finish_sink(&out, output);
    COHORT_TRY_DONE(status, cohort_comm_follow(comm, status));
    if (cohort_cli_is_speaker(comm))
        printf("wrote %zu predictions to %s\n", in.count, output);
done:
    close_exchange(&ex);
    close_sink(&out);
    cohort_model_input_close(&in);
    return status;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    cohort_inference inference = {0};
    const char *output = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_options_require(&output, given, "output"));
    cohort_job_set_threads(comm, 0);
    COHORT_TRY_DONE(status, cohort_inference_open(&inference, comm, given->positional[0], BATCH));
    COHORT_TRY_DONE(status, predict(comm, &inference, given, output));
done:
    cohort_inference_close(&inference);
    return status;
}

const cohort_command cohort_command_predict = {
    .name = "predict",
    .usage = "MODEL INPUT [--split GROUP] --output OUT.{h5,csv}",
    .summary = "Write a model's outputs for every sample of a file",
    .details = "Writes `y` (float32 [n][outputs], probabilities for classifiers) and, for\n"
               "classifiers, `label`, in the order of the input's rows. INPUT is an HDF5 file;\n"
               "for text models, plain text with one document a line; for models trained on data\n"
               "from `convert csv`, a table of the same kind, to which the same rules are applied\n"
               "(categories, missing values, standardisation). Labels may be absent from it.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 2,
    .most = 2,
    .is_parallel = true,
    .run = run,
};
