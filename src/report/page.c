#include "report/page.h"

#include "base/file.h"
#include "report/examples.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/style.h"

static void begin_page(cohort_text *html, cohort_history *const *runs, size_t count)
{
    cohort_text_append(html, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                             "<meta name=\"viewport\" content=\"width=device-width,"
                             "initial-scale=1\"><title>");
    for (size_t i = 0; i < count; i++) {
        cohort_text_append(html, i ? ", " : "");
        cohort_html_escape(html, cohort_history_name(runs[i]));
    }
    cohort_text_append(html, "</title><style>%s</style></head><body>\n<header>",
                       cohort_report_style);
}

static void end_page(cohort_text *html)
{
    cohort_text_append(html, "<footer><p class=\"quiet\">Written by cohort " COHORT_VERSION
                             ".</p></footer></body></html>\n");
}

static cohort_status write_one(cohort_text *html, cohort_history *run,
                               const cohort_report_options *options)
{
    cohort_section_summary(html, run);
    COHORT_TRY(cohort_section_curves(html, &run, 1));
    COHORT_TRY(cohort_section_time(html, run));
    cohort_section_classes(html, run);
    if (options->examples) {
        cohort_text_append(html, "<section><h2>Mistakes</h2>\n");
        COHORT_TRY(cohort_examples_write(html, cohort_history_folder(run), options->examples,
                                         options->limit));
        cohort_text_append(html, "</section>\n");
    }
    cohort_section_recipe(html, run);
    cohort_section_machine(html, run);
    return COHORT_OK;
}

static cohort_status write_several(cohort_text *html, cohort_history *const *runs, size_t count)
{
    cohort_text_append(html, "<h1>%zu runs</h1></header>\n<main>", count);
    cohort_section_comparison(html, runs, count);
    COHORT_TRY(cohort_section_curves(html, runs, count));
    return cohort_section_differences(html, runs, count);
}

cohort_status cohort_report_write(const char *output, const char *const *folders, size_t count,
                                  const cohort_report_options *options)
{
    cohort_history *runs[COHORT_REPORT_RUNS_MAX] = {NULL};
    cohort_text html = {0};
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE(count <= COHORT_REPORT_RUNS_MAX, COHORT_USAGE,
                   "%zu runs are too many for a page; give at most %d", count,
                   COHORT_REPORT_RUNS_MAX);
    for (size_t i = 0; i < count; i++)
        COHORT_TRY_DONE(status, cohort_history_open(&runs[i], folders[i]));
    begin_page(&html, runs, count);
    if (count == 1)
        COHORT_TRY_DONE(status, write_one(&html, runs[0], options));
    else
        COHORT_TRY_DONE(status, write_several(&html, runs, count));
    cohort_text_append(&html, "</main>\n");
    end_page(&html);
    COHORT_TRY_DONE(status, cohort_text_status(&html));
    status = cohort_file_write(output, html.data, html.length);
done:
    for (size_t i = 0; i < count; i++)
        cohort_history_close(runs[i]);
    cohort_text_clear(&html);
    return status;
}
