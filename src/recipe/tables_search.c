#include <math.h>

#include "recipe/search.h"
#include "recipe/tables.h"

static const char *const search_types[] = {"random", "grid", "halving", NULL};
static const cohort_key search_keys[] = {
    {.name = "type",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_search_recipe, type),
     .choices = search_types,
     .fallback = "random",
     .help = "random: so many draws. grid: all combinations. halving: as random, but the best of "
             "each rung only go on"},
    {.name = "trials",
     .type = COHORT_KEY_COUNT,
     AT(cohort_search_recipe, trials),
     .min = 1,
     .max = COHORT_SEARCH_TRIALS_MAX,
     .fallback = "27",
     .help = "random, halving: combinations drawn, besides the recipe as it stands"},
    {.name = "metric",
     .type = COHORT_KEY_STRING,
     AT(cohort_search_recipe, metric),
     .help = "what is compared, at a trial's best epoch: validation_loss, validation_accuracy, "
             "loss or accuracy [that of train.early_stopping, else validation_loss]"},
    {.name = "seed",
     .type = COHORT_KEY_INTEGER,
     AT(cohort_search_recipe, seed),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "1",
     .help = "of the draws; every trial trains with the recipe's seed"},
    {.name = "ranks_per_trial",
     .type = COHORT_KEY_COUNT,
     AT(cohort_search_recipe, ranks_per_trial),
     .min = 1,
     .max = 1e6,
     .fallback = "1",
     .help = "ranks that train one trial together; the others train others meanwhile"},
    {.name = "min_epochs",
     .type = COHORT_KEY_COUNT,
     AT(cohort_search_recipe, min_epochs),
     .min = 1,
     .max = 1e9,
     .fallback = "1",
     .help = "halving: epochs of the first rung; each rung has eta times those of the one before, "
             "the last has train.epochs"},
    {.name = "eta",
     .type = COHORT_KEY_COUNT,
     AT(cohort_search_recipe, eta),
     .min = 2,
     .max = 1000,
     .fallback = "3",
     .help = "halving: one trial of so many goes on to the next rung"},
    {.name = "space",
     .type = COHORT_KEY_SPACE,
     AT(cohort_search_recipe, space),
     .help = "keys as --set takes them, each with [VALUE, …] or one of {uniform: [LOW, HIGH]}, "
             "{log_uniform: …}, {integer: …}, {log_integer: …}"},
};
const cohort_key_table cohort_search_table =
    TABLE("search", "what `cohort tune` tries", cohort_search_recipe, search_keys);
