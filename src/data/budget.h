/* How much memory there is for data. */
#ifndef COHORT_DATA_BUDGET_H
#define COHORT_DATA_BUDGET_H

#include <stdint.h>

/* Bytes this machine can give: MemAvailable, or the limit of the control group (version 2)
 * this process is in or of a group above it if that is lower. Rank-local. */
uint64_t cohort_memory_available(void);
/* What a node may hold for a dataset: LIMIT, or half of what is available if 0. */
uint64_t cohort_memory_budget(uint64_t limit);

#endif
