/* Folds of cross-validation. */
#ifndef COHORT_DATA_FOLDS_H
#define COHORT_DATA_FOLDS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* ROWS [count] = MEMBERS [count], those of fold FOLD (below FOLDS) first, *held of them, then all
 * others, each in the order of MEMBERS. A function of the arguments alone: every member is in one
 * fold, the sizes of folds differ by one at most, and with KEYS [count] (classes; else NULL) also
 * the numbers of each key in them ("stratified"). COHORT_DATA: fewer members than FOLDS. */
COHORT_NODISCARD cohort_status cohort_folds_part(uint64_t *rows, size_t *held,
                                                 const uint64_t *members, const int32_t *keys,
                                                 size_t count, size_t folds, size_t fold,
                                                 uint64_t seed);

#endif
