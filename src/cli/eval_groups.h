/* `eval --by`: every figure for each group of samples, and how far groups lie apart. */
#ifndef COHORT_CLI_EVAL_GROUPS_H
#define COHORT_CLI_EVAL_GROUPS_H

#include "train/evaluate.h"

/* Start from {0}; clear in any case. */
typedef struct cohort_eval_groups {
    const char *column; /* borrowed */
    int32_t *ids;       /* [row_count] */
    size_t group_count;
    cohort_text names;        /* each with a NUL behind it */
    cohort_evaluation *parts; /* [group_count] */
} cohort_eval_groups;

/* Reads dataset GROUP/COLUMN of file PATH on rank 0 for all. Collective; COHORT_DATA: missing,
 * neither integers nor texts, not one value for each of ROW_COUNT rows, or more than
 * COHORT_EVALUATION_GROUPS_MAX values. */
COHORT_NODISCARD cohort_status cohort_eval_groups_read(cohort_eval_groups *groups,
                                                       cohort_comm *comm, const char *path,
                                                       const char *group, const char *column,
                                                       size_t row_count);
void cohort_eval_groups_clear(cohort_eval_groups *groups);

/* Appends the members `by`, `groups` and `gaps` of a JSON object that is open in TEXT. */
void cohort_eval_groups_write(cohort_text *text, const cohort_eval_groups *groups,
                              const cohort_snapshot *about);
/* Prints a table of the groups and the largest gaps. */
void cohort_eval_groups_print(const cohort_eval_groups *groups);

#endif
