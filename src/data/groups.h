/* Rows told apart by a column of the data set: writer, speaker, site. */
#ifndef COHORT_DATA_GROUPS_H
#define COHORT_DATA_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

/* *ids [row_count] = which of the *group_count distinct values dataset GROUP/NAME of file PATH
 * has at each row, values in ascending order (numbers, or texts byte by byte). The caller
 * frees *ids with cohort_free. Rank-local. COHORT_DATA: missing, neither integers nor texts, or
 * not one value a row. */
COHORT_NODISCARD cohort_status cohort_groups_read(int32_t **ids, size_t *group_count,
                                                  const char *path, const char *group,
                                                  const char *name, size_t row_count);
/* The same, and appends to NAMES what the groups are called, in their order: texts as they are,
 * numbers in digits, each with a NUL behind it. */
COHORT_NODISCARD cohort_status cohort_groups_read_named(int32_t **ids, size_t *group_count,
                                                        cohort_text *names, const char *path,
                                                        const char *group, const char *name,
                                                        size_t row_count);

#endif
