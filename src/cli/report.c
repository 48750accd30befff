#include <stdio.h>

#include "base/file.h"
#include "cli/command.h"
#include "report/page.h"

enum { EXAMPLES = 24 };

static const cohort_option options[] = {
    {"output", "FILE.html", "the page to write", false},
    {"examples", "N", "wrongly classified test samples to show (default 24; 0 for none)", false},
    {"limit", "N", "look for them in the first N test samples (default: all)", false},
};

static cohort_status take_count(size_t *count, const cohort_options *given, const char *name)
{
    int64_t number = 0;
    const char *text = cohort_options_get(given, name);
    if (!text)
        return COHORT_OK;
    COHORT_REQUIRE(cohort_parse_int64(&number, text) && number >= 0 && number <= 1000000000,
                   COHORT_USAGE, "--%s %s: give a number, 0 or more", name, text);
    *count = (size_t)number;
    return COHORT_OK;
}

enum { RUNS_MAX = 128 };

/* Run folders, in place of a folder of folds those in it. */
typedef struct run_list {
    cohort_text paths[RUNS_MAX];
    const char *names[RUNS_MAX];
    size_t count;
} run_list;

static cohort_status add(run_list *runs, const char *folder, size_t fold)
{
    COHORT_REQUIRE(runs->count < RUNS_MAX, COHORT_USAGE, "more than %d runs", RUNS_MAX);
    cohort_text *path = &runs->paths[runs->count];
    cohort_text_append(path, fold ? "%s/fold-%zu" : "%s", folder, fold);
    COHORT_TRY(cohort_text_status(path));
    runs->names[runs->count] = path->data;
    return COHORT_OK;
}

static cohort_status list_runs(run_list *runs, const cohort_options *given)
{
    for (size_t i = 0; i < given->positional_count; i++) {
        size_t fold = 1;
        for (;; fold++, runs->count++) {
            COHORT_TRY(add(runs, given->positional[i], fold));
            if (!cohort_file_exists(runs->names[runs->count]))
                break;
        }
        runs->paths[runs->count].length = 0;
        if (fold > 1)
            continue;
        COHORT_TRY(add(runs, given->positional[i], 0));
        runs->count++;
    }
    return COHORT_OK;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    (void)comm;
    run_list runs = {.count = 0};
    const char *output = NULL;
    cohort_report_options how = {.examples = EXAMPLES};
    COHORT_TRY(cohort_options_require(&output, given, "output"));
    COHORT_TRY(take_count(&how.examples, given, "examples"));
    COHORT_TRY(take_count(&how.limit, given, "limit"));
    COHORT_REQUIRE(how.examples <= 1000, COHORT_USAGE, "--examples %zu: at most 1000 fit a page",
                   how.examples);
    cohort_status status = list_runs(&runs, given);
    if (status == COHORT_OK)
        status = cohort_report_write(output, runs.names, runs.count, &how);
    if (status == COHORT_OK)
        printf("wrote %s\n", output);
    for (size_t i = 0; i < RUNS_MAX; i++)
        cohort_text_clear(&runs.paths[i]);
    return status;
}

const cohort_command cohort_command_report = {
    .name = "report",
    .usage = "RUN… --output FILE.html",
    .summary = "Show runs as one self-contained web page",
    .details =
        "One run folder: curves, where the time went, figures per class, the test samples it\n"
        "gets wrong (if the data set is still where the recipe says), recipe and machine.\n"
        "Several, or the folder of a run with train.folds: their curves over each other, their\n"
        "figures, and what their recipes differ in. The page needs no network and can be read\n"
        "while the run goes on.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 32,
    .run = run,
};
