#include <stdio.h>

#include "cli/command.h"
#include "data/listing.h"
#include "state/checkpoint.h"

typedef struct totals {
    cohort_text *text;
    size_t parameters;
} totals;

static void visit(void *context, const char *name, const cohort_shape *shape)
{
    totals *sum = context;
    char text[COHORT_SHAPE_TEXT];
    const bool is_param = name[0] == 'p';
    if (name[0] == 'o')
        return; /* optimizer slots repeat the parameters' names */
    if (is_param)
        sum->parameters += cohort_shape_count(shape);
    cohort_text_append(sum->text, "/%-44s %s\n", name, cohort_shape_text(text, shape));
}

static cohort_status describe_checkpoint(cohort_text *text, const char *path)
{
    cohort_checkpoint *checkpoint = NULL;
    COHORT_TRY(cohort_checkpoint_open(&checkpoint, path));
    const cohort_snapshot *about = cohort_checkpoint_describe(checkpoint);
    const cohort_progress *progress = &about->progress;
    char shape[COHORT_SHAPE_TEXT];
    totals sum = {.text = text};
    cohort_text_append(text, "%s: Cohort checkpoint\n\n", path);
    cohort_status status = cohort_checkpoint_visit(checkpoint, visit, &sum);
    cohort_text_append(text, "\nparameters: %zu\n", sum.parameters);
    cohort_text_append(text, "input: %s%s\n", cohort_shape_text(shape, &about->input_shape),
                       about->input_tokens ? " tokens" : "");
    if (about->class_count) {
        cohort_text_append(text, "classes (%zu):", about->class_count);
        for (size_t i = 0; i < about->class_count && i < 20; i++)
            cohort_text_append(text, "%s%s", i ? ", " : " ", about->classes[i]);
        cohort_text_append(text, "%s\n", about->class_count > 20 ? ", …" : "");
    }
    if (about->vocabulary_count)
        cohort_text_append(text, "vocabulary: %zu words\n", about->vocabulary_count);
    cohort_text_append(text, "progress: epoch %llu, step %llu, seed %llu%s\n\nrecipe:\n%s",
                       (unsigned long long)progress->epoch, (unsigned long long)progress->step,
                       (unsigned long long)progress->seed, progress->finished ? ", finished" : "",
                       about->recipe);
    if (about->ledger)
        cohort_text_append(text, "\nwhat the weights have cost (privacy ledger):\n%s",
                           about->ledger);
    cohort_checkpoint_close(checkpoint);
    return status != COHORT_OK ? status : cohort_text_status(text);
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    (void)comm;
    const char *path = given->positional[0];
    cohort_text text = {0};
    bool is_checkpoint = false;
    cohort_status status = cohort_checkpoint_is(&is_checkpoint, path);
    if (status == COHORT_OK && is_checkpoint) {
        status = describe_checkpoint(&text, path);
    } else if (status == COHORT_OK) {
        cohort_text_append(&text, "%s: HDF5 dataset\n\n", path);
        status = cohort_data_list(&text, path);
    }
    if (status == COHORT_OK)
        fputs(text.data, stdout);
    cohort_text_clear(&text);
    return status;
}

const cohort_command cohort_command_inspect = {
    .name = "inspect",
    .usage = "FILE.h5",
    .summary = "Show what a dataset or checkpoint holds",
    .least = 1,
    .most = 1,
    .run = run,
};
