#include "recipe/search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"

/* Draws of one trial before a combination that is there already is taken all the same. */
enum { ATTEMPTS = 1000 };

const char *cohort_search_metric(const cohort_recipe *recipe)
{
    if (recipe->search.metric)
        return recipe->search.metric;
    const char *early = recipe->train.early_stopping.metric;
    return early ? early : "validation_loss";
}

bool cohort_search_prefers_more(const cohort_recipe *recipe)
{
    return strstr(cohort_search_metric(recipe), "accuracy") != NULL;
}

/* --- Drawing ------------------------------------------------------------------- */

static bool is_whole(const cohort_dimension *dimension)
{
    return dimension->type == COHORT_DIMENSION_INTEGER ||
           dimension->type == COHORT_DIMENSION_LOG_INTEGER;
}

static double clamp(double value, const cohort_dimension *dimension)
{
    return fmin(fmax(value, dimension->low), dimension->high);
}

void cohort_search_write(cohort_search_value *value, const cohort_dimension *dimension,
                         double number)
{
    if (is_whole(dimension)) {
        snprintf(value->text, sizeof value->text, "%.0f", clamp(number, dimension));
        return;
    }
    char rounded[32];
    double shown = number;
    snprintf(rounded, sizeof rounded, "%.3e", number);
    if (!cohort_parse_double(&shown, rounded))
        shown = number;
    cohort_number_text(rounded, clamp(shown, dimension));
    snprintf(value->text, sizeof value->text, "%s", rounded);
}

/* A number of the range, from U uniform in [0, 1). Whole numbers are drawn from cells of width
 * one about them, so that both ends are as likely as the rest. */
static double draw_number(const cohort_dimension *dimension, double u)
{
    const double half = is_whole(dimension) ? 0.5 : 0;
    const double low = dimension->low - half, high = dimension->high + half;
    double value = low + u * (high - low);
    if (dimension->type == COHORT_DIMENSION_LOG_UNIFORM ||
        dimension->type == COHORT_DIMENSION_LOG_INTEGER)
        value = exp(log(low) + u * (log(high) - log(low)));
    return half > 0 ? floor(value + half) : value;
}

static cohort_status copy(char **out, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    COHORT_TRY(COHORT_ALLOCATE(out, bytes));
    memcpy(*out, text, bytes);
    return COHORT_OK;
}

static void free_values(char **values, size_t count)
{
    for (size_t i = 0; values && i < count; i++)
        cohort_free(values[i]);
    cohort_free(values);
}

/* VALUES [space->count] of TRIAL, at the ATTEMPT-th go. */
static cohort_status draw(char **values, const cohort_search_recipe *search, size_t trial,
                          size_t attempt)
{
    for (size_t i = 0; i < search->space.count; i++) {
        const cohort_dimension *dimension = &search->space.items[i];
        cohort_rng rng =
            cohort_rng_make((uint64_t)search->seed, COHORT_RNG_SEARCH, (uint32_t)i, trial, attempt);
        cohort_search_value value;
        const char *text = value.text;
        if (dimension->type == COHORT_DIMENSION_CHOICES)
            text = dimension->choices[cohort_rng_below(&rng, (uint32_t)dimension->choice_count)];
        else
            cohort_search_write(&value, dimension, draw_number(dimension, cohort_rng_double(&rng)));
        cohort_free(values[i]);
        values[i] = NULL;
        COHORT_TRY(copy(&values[i], text));
    }
    return COHORT_OK;
}

static bool is_new(const cohort_search_plan *plan, size_t trial)
{
    for (size_t other = 1; other < trial; other++) {
        bool same = true;
        for (size_t i = 0; i < plan->dimension_count && same; i++)
            same = strcmp(plan->values[other][i], plan->values[trial][i]) == 0;
        if (same)
            return false;
    }
    return true;
}

static cohort_status draw_all(cohort_search_plan *plan, const cohort_search_recipe *search)
{
    for (size_t trial = 1; trial < plan->trial_count; trial++)
        for (size_t attempt = 0; attempt == 0 || (attempt < ATTEMPTS && !is_new(plan, trial));
             attempt++)
            COHORT_TRY(draw(plan->values[trial], search, trial, attempt));
    return COHORT_OK;
}

/* The last key varies fastest. */
static cohort_status lay_grid(cohort_search_plan *plan, const cohort_search_recipe *search)
{
    for (size_t trial = 1; trial < plan->trial_count; trial++) {
        size_t rest = trial - 1;
        for (size_t i = search->space.count; i-- > 0;) {
            const cohort_dimension *dimension = &search->space.items[i];
            COHORT_TRY(
                copy(&plan->values[trial][i], dimension->choices[rest % dimension->choice_count]));
            rest /= dimension->choice_count;
        }
    }
    return COHORT_OK;
}

/* --- Plan ---------------------------------------------------------------------- */

/* Combinations of the space; 0 when there are more than LIMIT. */
static size_t combinations(const cohort_space *space, size_t limit)
{
    size_t count = 1;
    for (size_t i = 0; i < space->count; i++) {
        if (space->items[i].type != COHORT_DIMENSION_CHOICES)
            return 0;
        count *= space->items[i].choice_count;
        if (count > limit)
            return 0;
    }
    return count;
}

static cohort_status plan_rungs(cohort_search_plan *plan, const cohort_recipe *recipe)
{
    const cohort_search_recipe *search = &recipe->search;
    const uint64_t all = recipe->train.epochs;
    const bool halves = search->type == COHORT_SEARCH_HALVING;
    uint64_t epochs = halves ? search->min_epochs : all;
    plan->rung_count = 1;
    for (uint64_t at = epochs; at < all; at *= search->eta)
        plan->rung_count++;
    COHORT_TRY(COHORT_ALLOCATE(&plan->rung_epochs, plan->rung_count));
    for (size_t i = 0; i < plan->rung_count; i++, epochs *= halves ? search->eta : 1)
        plan->rung_epochs[i] = epochs < all ? epochs : all;
    return COHORT_OK;
}

cohort_status cohort_search_plan_make(cohort_search_plan *plan, const cohort_recipe *recipe)
{
    const cohort_search_recipe *search = &recipe->search;
    const bool is_grid = search->type == COHORT_SEARCH_GRID;
    const size_t limit = is_grid ? COHORT_SEARCH_TRIALS_MAX : search->trials;
    const size_t all = combinations(&search->space, limit);
    *plan = (cohort_search_plan){.trial_count = 1 + (all ? all : search->trials),
                                 .dimension_count = search->space.count};
    COHORT_TRY(plan_rungs(plan, recipe));
    COHORT_TRY(COHORT_ALLOCATE(&plan->values, plan->trial_count));
    for (size_t trial = 1; trial < plan->trial_count; trial++)
        COHORT_TRY(COHORT_ALLOCATE(&plan->values[trial], plan->dimension_count));
    return all ? lay_grid(plan, search) : draw_all(plan, search);
}

void cohort_search_plan_clear(cohort_search_plan *plan)
{
    for (size_t trial = 0; plan->values && trial < plan->trial_count; trial++)
        free_values(plan->values[trial], plan->dimension_count);
    cohort_free(plan->values);
    cohort_free(plan->rung_epochs);
    *plan = (cohort_search_plan){0};
}

/* --- Comparing ----------------------------------------------------------------- */

static bool is_candidate(const cohort_search_score *score)
{
    return score->took_part && !score->failed;
}

static bool is_better(const cohort_search_score *a, const cohort_search_score *b, bool more)
{
    return more ? a->figure > b->figure : a->figure < b->figure;
}

size_t cohort_search_best(const cohort_search_score *scores, size_t count, bool prefers_more)
{
    size_t best = count;
    for (size_t i = 0; i < count; i++)
        if (is_candidate(&scores[i]) &&
            (best == count || is_better(&scores[i], &scores[best], prefers_more)))
            best = i;
    return best;
}

void cohort_search_promote(bool *goes_on, const cohort_search_score *scores, size_t count,
                           size_t eta, bool prefers_more)
{
    size_t drawn = 0; /* trial 0 does not count: it is there to be compared with */
    for (size_t i = 1; i < count; i++)
        drawn += scores[i].took_part;
    const size_t places = drawn / eta ? drawn / eta : 1;
    for (size_t i = 0; i < count; i++) {
        size_t ahead = 0;
        for (size_t k = 1; k < count; k++)
            ahead += k != i && is_candidate(&scores[k]) &&
                     (is_better(&scores[k], &scores[i], prefers_more) ||
                      (k < i && !is_better(&scores[i], &scores[k], prefers_more)));
        goes_on[i] = is_candidate(&scores[i]) && (i == 0 || ahead < places);
    }
}
