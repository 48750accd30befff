/* The samples of a test split that a classifier gets wrong, the surest first. */
#ifndef COHORT_REPORT_EXAMPLES_H
#define COHORT_REPORT_EXAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

/* Appends what to show of the run in FOLDER: up to COUNT wrongly classified samples of its
 * test split, as images or text where the samples are that, with their true and their predicted
 * class and its probability. Opens the run's best checkpoint and its data set, and predicts the
 * split (LIMIT samples at most; 0 = all). Where that cannot be (no classifier, no checkpoint, no
 * data), appends one sentence that says why. Rank-local. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_examples_write(cohort_text *html, const char *folder,
                                                     size_t count, size_t limit);

#endif
