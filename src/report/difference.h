/* `cohort diff`: where two runs part. */
#ifndef COHORT_REPORT_DIFFERENCE_H
#define COHORT_REPORT_DIFFERENCE_H

#include <stdbool.h>

#include "base/status.h"
#include "base/text.h"

/* Appends to TEXT, for the runs in folders A and B: the recipe keys that differ; the first step
 * (else epoch, else round) whose loss differs, also by being finite in only one, or behind which
 * only one of them goes on; of the checkpoints that both have, the first whose weights differ, and
 * its first such tensor in layer order. *SAME: nothing of these differs. Rank-local. COHORT_DATA:
 * no run folder, a damaged checkpoint. */
COHORT_NODISCARD cohort_status cohort_difference_write(cohort_text *text, bool *same, const char *a,
                                                       const char *b);

#endif
