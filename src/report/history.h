/* What a run folder tells of its run: metrics.jsonl and recipe.yaml, as any program may read
 * them (also while the run goes on, and after a program other than this one wrote them). */
#ifndef COHORT_REPORT_HISTORY_H
#define COHORT_REPORT_HISTORY_H

#include <stddef.h>

#include "base/status.h"

typedef struct cohort_history cohort_history;
struct json_t; /* jansson's */

/* Reads FOLDER. Records are taken as they stand; a line that is no JSON object (cut off by a
 * kill) is left out and counted. COHORT_DATA: no such folder, no metrics.jsonl in it or
 * nothing in that. Rank-local. */
COHORT_NODISCARD cohort_status cohort_history_open(cohort_history **out, const char *folder);
void cohort_history_close(cohort_history *history);

const char *cohort_history_folder(const cohort_history *history);
/* The name of the recipe; the folder's if there is none. */
const char *cohort_history_name(const cohort_history *history);
/* recipe.yaml; "" if it is not there. */
const char *cohort_history_recipe(const cohort_history *history);
size_t cohort_history_unreadable(const cohort_history *history);

/* The last record of EVENT ("start", "test", …), or NULL. Owned by HISTORY. */
const struct json_t *cohort_history_last(const cohort_history *history, const char *event);
/* The first record of EVENT, or NULL. */
const struct json_t *cohort_history_first(const cohort_history *history, const char *event);
/* The record of the run's end, or NULL if it was begun again since and goes on. */
const struct json_t *cohort_history_end(const cohort_history *history);
/* The number or the string under KEY of RECORD (which may be NULL): NaN, or NULL, if there
 * is none. */
double cohort_record_number(const struct json_t *record, const char *key);
const char *cohort_record_string(const struct json_t *record, const char *key);

/* The values of one key over the records of an event, x ascending. */
typedef struct cohort_series {
    double *x, *y; /* [count] */
    size_t count;
} cohort_series;

/* X_KEY and Y_KEY over the records of EVENT that have both; Y is NaN where it was recorded as
 * not finite (null). Where a run was continued from an earlier checkpoint, its later records
 * replace the earlier ones. Free with cohort_series_clear. */
COHORT_NODISCARD cohort_status cohort_history_values(cohort_series *series,
                                                     const cohort_history *history,
                                                     const char *event, const char *x_key,
                                                     const char *y_key);
/* The same without those that are not finite: what can be drawn. */
COHORT_NODISCARD cohort_status cohort_history_series(cohort_series *series,
                                                     const cohort_history *history,
                                                     const char *event, const char *x_key,
                                                     const char *y_key);
void cohort_series_clear(cohort_series *series);

#endif
