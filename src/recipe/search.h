/* What a search over a recipe's keys tries, and in successive halving who goes on. Pure: the
 * same search has the same trials, whoever runs them.
 *
 * Random search: Bergstra and Bengio 2012. Successive halving: Jamieson and Talwalkar 2016, with
 * rungs that wait for all their trials. */
#ifndef COHORT_RECIPE_SEARCH_H
#define COHORT_RECIPE_SEARCH_H

#include "recipe/recipe.h"

#define COHORT_SEARCH_TRIALS_MAX 10000

/* A value as YAML text. */
typedef struct cohort_search_value {
    char text[40];
} cohort_search_value;

/* *value = NUMBER as DIMENSION, a range, would have it: within its bounds, four significant
 * digits or a whole number. */
void cohort_search_write(cohort_search_value *value, const cohort_dimension *dimension,
                         double number);

/* The metric trials are compared by, and whether more of it is better. */
const char *cohort_search_metric(const cohort_recipe *recipe);
bool cohort_search_prefers_more(const cohort_recipe *recipe);

/* All trials of a search. Trial 0 is the recipe as it stands; the others follow. */
typedef struct cohort_search_plan {
    size_t trial_count; /* with trial 0 */
    size_t dimension_count;
    char ***values;        /* [trial_count][dimension_count] YAML text; NULL for trial 0 */
    size_t rung_count;     /* at least 1 */
    uint64_t *rung_epochs; /* [rung_count] epochs at its end, ascending; the last: all */
} cohort_search_plan;

/* *plan = the trials of RECIPE's search. Values are drawn by (search.seed, trial, key); a
 * combination that an earlier trial has is drawn again, and a space with no more combinations
 * than search.trials is tried whole. Clear in any case. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_search_plan_make(cohort_search_plan *plan,
                                                       const cohort_recipe *recipe);
void cohort_search_plan_clear(cohort_search_plan *plan);

/* What is known of a trial at the end of a rung. */
typedef struct cohort_search_score {
    bool took_part; /* in the rung that has ended */
    bool failed;    /* diverged, or could not be trained */
    double figure;  /* of the metric */
} cohort_search_score;

/* GOES_ON [count]: which of the trials SCORES [count] enter the next rung: the best 1 / eta of
 * those that took part (at least one), and trial 0; none that failed. Equal figures: the lower
 * number. */
void cohort_search_promote(bool *goes_on, const cohort_search_score *scores, size_t count,
                           size_t eta, bool prefers_more);

/* The best of SCORES that has not failed; COUNT when there is none. Equal figures: the lower
 * number. */
size_t cohort_search_best(const cohort_search_score *scores, size_t count, bool prefers_more);

#endif
