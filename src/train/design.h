/* A recipe built in code (cohort/net.h). */
#ifndef COHORT_TRAIN_DESIGN_H
#define COHORT_TRAIN_DESIGN_H

#include "base/text.h"
#include "cohort/net.h"

/* Appends the recipe's text, its layers; what was set is in the other function's list. */
COHORT_NODISCARD cohort_status cohort_design_write(cohort_text *text, const cohort_design *design);
/* "optimizer.lr=0.01" in the order set, [*count]; owned by DESIGN. */
const char *const *cohort_design_sets(size_t *count, const cohort_design *design);

#endif
