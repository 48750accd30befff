/* The parts of a report, each appended to the page when there is something to show. */
#ifndef COHORT_REPORT_SECTIONS_H
#define COHORT_REPORT_SECTIONS_H

#include "report/history.h"

#include "base/text.h"

/* The most runs on one page. */
enum { COHORT_REPORT_RUNS_MAX = 32 };

/* Over all runs on the page. */
COHORT_NODISCARD cohort_status cohort_section_curves(cohort_text *html, cohort_history *const *runs,
                                                     size_t count);
void cohort_section_comparison(cohort_text *html, cohort_history *const *runs, size_t count);
COHORT_NODISCARD cohort_status cohort_section_differences(cohort_text *html,
                                                          cohort_history *const *runs,
                                                          size_t count);
/* Of one run. */
void cohort_section_summary(cohort_text *html, const cohort_history *run);
COHORT_NODISCARD cohort_status cohort_section_time(cohort_text *html, const cohort_history *run);
void cohort_section_classes(cohort_text *html, const cohort_history *run);
void cohort_section_recipe(cohort_text *html, const cohort_history *run);
void cohort_section_machine(cohort_text *html, const cohort_history *run);

#endif
