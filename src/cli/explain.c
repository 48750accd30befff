#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/explain_output.h"
#include "cli/model_input.h"

enum { SAMPLES = 8, SAMPLES_MAX = 10000, STEPS = 64, STEPS_MAX = 100000 };

static const cohort_option options[] = {
    {"method", "saliency|integrated_gradients|occlusion", "how (see above)", false},
    {"output", "DIR", "the folder to write to", false},
    {"split", "GROUP", "the group to read (default: the recipe's test group)", false},
    {"samples", "ROWS", "which, as 3,10-14 (from 0 on; default: the first 8)", false},
    {"class", "C", "the class or output to explain (default: what is predicted)", false},
    {"position", "N", "of a sequence: which step's output (from 0 on; default: the last)", false},
    {"baseline", "V", "the input value that means nothing, as in the file (default 0)", false},
    {"steps", "N", "of integrated_gradients, from the baseline on (default 64)", false},
    {"window", "N", "side of what occlusion hides (default: a seventh of an image, else 1)", false},
};

typedef struct job {
    cohort_comm *comm;
    cohort_inference inference;
    cohort_model_input_source input;
    cohort_table_encoding table;
    size_t *feature_ends, feature_count;
    cohort_explain_config config;
    cohort_explain_target target;
    cohort_explainer *explainer;
    cohort_explain_output output;
    size_t *rows, row_count, row_capacity;
} job;

static void clear(job *j)
{
    cohort_explain_output_close(&j->output);
    cohort_explainer_destroy(j->explainer);
    cohort_model_input_close(&j->input);
    cohort_table_clear(&j->table);
    cohort_inference_close(&j->inference);
    cohort_free(j->feature_ends);
    free(j->rows);
    cohort_comm_close(j->comm);
}

static cohort_status read_numbers(job *j, const cohort_options *given)
{
    size_t method = COHORT_EXPLAIN_METHOD_COUNT;
    int64_t position = 0, steps = 0, window = 0;
    const char *name = NULL;
    COHORT_TRY(cohort_options_require(&name, given, "method"));
    COHORT_TRY(cohort_options_choice(&method, given, "method", method, cohort_explain_method_names,
                                     COHORT_EXPLAIN_METHOD_COUNT));
    j->config.method = (cohort_explain_method)method;
    COHORT_TRY(cohort_options_integer(&position, given, "position", -1, 0, INT32_MAX));
    COHORT_TRY(cohort_options_integer(&steps, given, "steps", STEPS, 1, STEPS_MAX));
    COHORT_TRY(cohort_options_integer(&window, given, "window", 0, 1, INT32_MAX));
    COHORT_TRY(cohort_options_number(&j->config.baseline, given, "baseline", 0, -1e30, 1e30));
    COHORT_REQUIRE(!cohort_options_given(given, "steps") ||
                       j->config.method == COHORT_EXPLAIN_INTEGRATED,
                   COHORT_USAGE, "--steps is for --method integrated_gradients; remove it");
    COHORT_REQUIRE(!cohort_options_given(given, "window") ||
                       j->config.method == COHORT_EXPLAIN_OCCLUSION,
                   COHORT_USAGE, "--window is for --method occlusion; remove it");
    j->config.steps = (size_t)steps;
    j->config.window = (size_t)window;
    j->target = (cohort_explain_target){.output = SIZE_MAX,
                                        .position = position < 0 ? SIZE_MAX : (size_t)position};
    return COHORT_OK;
}

/* --class: a name among the classes, else a number. */
static cohort_status read_class(job *j, const cohort_options *given)
{
    const cohort_snapshot *about = j->inference.about;
    const char *name = cohort_options_get(given, "class");
    int64_t number = 0;
    for (size_t i = 0; name && i < about->class_count; i++)
        if (strcmp(about->classes[i], name) == 0)
            j->target.output = i;
    if (!name || j->target.output != SIZE_MAX)
        return COHORT_OK;
    COHORT_REQUIRE(cohort_parse_int64(&number, name) && number >= 0, COHORT_USAGE,
                   "--class %s: this is no class of the model; give its name or number", name);
    j->target.output = (size_t)number;
    return COHORT_OK;
}

static cohort_status add_rows(job *j, size_t first, size_t last)
{
    COHORT_REQUIRE(last < j->input.count, COHORT_USAGE,
                   "--samples: there is no row %zu; the input has %zu, from 0 on", last,
                   j->input.count);
    COHORT_REQUIRE(j->row_count + (last - first) < SAMPLES_MAX, COHORT_USAGE,
                   "--samples: at most %d at a time", SAMPLES_MAX);
    COHORT_TRY(cohort_grow((void **)&j->rows, &j->row_capacity, j->row_count + last - first + 1,
                           sizeof *j->rows));
    for (size_t row = first; row <= last; row++)
        j->rows[j->row_count++] = row;
    return COHORT_OK;
}

/* Rows and runs of rows, "3,10-14". */
static cohort_status read_samples(job *j, const char *list)
{
    if (!list)
        return add_rows(j, 0, (j->input.count < SAMPLES ? j->input.count : SAMPLES) - 1);
    for (const char *at = list; *at;) {
        unsigned long long first = 0, last = 0;
        int length = 0;
        int fields = sscanf(at, "%9llu%n-%9llu%n", &first, &length, &last, &length);
        COHORT_REQUIRE(fields >= 1 && *at >= '0' && *at <= '9' &&
                           (at[length] == ',' || at[length] == '\0'),
                       COHORT_USAGE, "--samples %s: give rows as 3,10-14", list);
        if (fields == 1)
            last = first;
        COHORT_REQUIRE(first <= last, COHORT_USAGE, "--samples %s: %llu-%llu runs backwards", list,
                       first, last);
        COHORT_TRY(add_rows(j, (size_t)first, (size_t)last));
        at += length;
        at += *at == ',';
    }
    COHORT_REQUIRE(j->row_count > 0, COHORT_USAGE, "--samples is empty; give rows as 3,10-14");
    return COHORT_OK;
}

/* The features of a category are hidden together. */
static cohort_status read_table(job *j)
{
    const char *text = j->inference.about->table;
    size_t end = 0;
    if (!text)
        return COHORT_OK;
    COHORT_TRY(cohort_table_parse(&j->table, text));
    if (cohort_table_width(&j->table) != cohort_shape_count(&j->inference.about->input_shape)) {
        cohort_table_clear(&j->table); /* not the features of this network */
        return COHORT_OK;
    }
    COHORT_TRY(COHORT_ALLOCATE(&j->feature_ends, j->table.column_count));
    for (size_t i = 0; i < j->table.column_count; i++) {
        const cohort_table_column *column = &j->table.columns[i];
        if (column->role == COHORT_TABLE_NUMBER)
            end++;
        else if (column->role == COHORT_TABLE_CATEGORY)
            end += column->value_count;
        else
            continue;
        j->feature_ends[j->feature_count++] = end;
    }
    j->config.feature_end = j->feature_ends;
    j->config.feature_count = j->feature_count;
    return COHORT_OK;
}

static cohort_status explain_all(job *j)
{
    for (size_t i = 0; i < j->row_count; i++) {
        const cohort_batch *batch = NULL;
        cohort_explanation found;
        COHORT_TRY(cohort_model_input_take(&batch, &j->input, j->comm, j->rows[i]));
        COHORT_TRY(cohort_explainer_run(&found, j->explainer, batch->x, &j->target));
        COHORT_TRY(cohort_explain_output_add(&j->output, j->rows[i], batch->x, &found));
    }
    return cohort_explain_output_finish(&j->output);
}

static cohort_status explain(job *j, const cohort_options *given, const char *folder)
{
    const char *model = given->positional[0];
    COHORT_TRY(cohort_comm_open(&j->comm, NULL));
    cohort_job_use_threads(0);
    COHORT_TRY(cohort_inference_open(&j->inference, j->comm, model, 1));
    COHORT_TRY(cohort_inference_set_loss(&j->inference));
    COHORT_TRY(read_class(j, given));
    COHORT_TRY(cohort_model_input_open(&j->input, j->comm, &j->inference, model,
                                       given->positional[1], cohort_options_get(given, "split")));
    COHORT_TRY(read_samples(j, cohort_options_get(given, "samples")));
    COHORT_TRY(read_table(j));
    COHORT_TRY(cohort_explainer_create(&j->explainer, &j->inference, &j->config));
    COHORT_TRY(cohort_explainer_check(j->explainer, &j->target));
    const bool bytes =
        j->input.dataset && cohort_dataset_describe(j->input.dataset)->x_element == COHORT_U8;
    COHORT_TRY(cohort_explain_output_open(&j->output, folder, &j->inference, j->config.method,
                                          bytes, j->feature_ends ? &j->table : NULL));
    return explain_all(j);
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    (void)comm;
    job j = {0};
    const char *folder = NULL;
    COHORT_TRY(cohort_options_require(&folder, given, "output"));
    cohort_status status = read_numbers(&j, given);
    if (status == COHORT_OK)
        status = explain(&j, given, folder);
    if (status == COHORT_OK) {
        printf("explained %zu samples in %s/explain.html\n", j.row_count, folder);
        if (j.config.method == COHORT_EXPLAIN_INTEGRATED)
            printf("attributions add up to value - baseline within %.2g\n", j.output.gap);
    }
    clear(&j);
    return status;
}

const cohort_command cohort_command_explain = {
    .name = "explain",
    .usage = "MODEL INPUT --method NAME --output DIR [--samples ROWS] [--class C]",
    .summary = "Show what in a sample moves a model's output",
    .details =
        "Methods: saliency, the size of the gradient; integrated_gradients, how much each value\n"
        "has added on the way from a baseline to the sample (all together: the difference of the\n"
        "two outputs); occlusion, how much the output falls when a part is hidden. The output is\n"
        "the one before softmax or sigmoid. For text the baseline is a zero vector for each word.\n"
        "\n"
        "DIR gets explain.html to look at, a PNG for each image, explain.json (for text: every\n"
        "word with its weight), attributions.csv for tables, by their columns, and\n"
        "attributions.h5 (x, attribution, row, output, value, baseline). INPUT as for `predict`.\n"
        "Computed by one process in float32; further ranks have nothing to do.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 2,
    .most = 2,
    .run = run,
};
