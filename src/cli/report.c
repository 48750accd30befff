#include <stdio.h>

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

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    (void)comm;
    const char *output = NULL;
    cohort_report_options how = {.examples = EXAMPLES};
    COHORT_TRY(cohort_options_require(&output, given, "output"));
    COHORT_TRY(take_count(&how.examples, given, "examples"));
    COHORT_TRY(take_count(&how.limit, given, "limit"));
    COHORT_REQUIRE(how.examples <= 1000, COHORT_USAGE, "--examples %zu: at most 1000 fit a page",
                   how.examples);
    COHORT_TRY(cohort_report_write(output, (const char *const *)given->positional,
                                   given->positional_count, &how));
    printf("wrote %s\n", output);
    return COHORT_OK;
}

const cohort_command cohort_command_report = {
    .name = "report",
    .usage = "RUN… --output FILE.html",
    .summary = "Show runs as one self-contained web page",
    .details =
        "One run folder: curves, where the time went, figures per class, the test samples it\n"
        "gets wrong (if the data set is still where the recipe says), recipe and machine.\n"
        "Several: their curves over each other, their figures, and what their recipes differ\n"
        "in. The page needs no network and can be read while the run goes on.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 32,
    .run = run,
};
