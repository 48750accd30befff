/* `cohort report`: runs as one self-contained HTML page. */
#ifndef COHORT_REPORT_PAGE_H
#define COHORT_REPORT_PAGE_H

#include <stddef.h>

#include "base/status.h"

typedef struct cohort_report_options {
    size_t examples; /* wrongly classified samples to show; 0 = none */
    size_t limit;    /* test samples to look for them in; 0 = all */
} cohort_report_options;

/* Writes the page of the runs in FOLDERS [COUNT] to OUTPUT, atomically. One run: curves, where
 * the time went, figures per class, mistakes, recipe, machine. Several: their curves over each
 * other and what is different. The page needs no network. Rank-local.
 * COHORT_DATA: a folder that is no run folder; OUTPUT cannot be written. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_report_write(const char *output, const char *const *folders,
                                                   size_t count,
                                                   const cohort_report_options *options);

/* "2.14", of jansson. */
const char *cohort_report_library(void);

#endif
