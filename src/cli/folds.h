/* Cross-validation: a run for each fold, and what they say together. */
#ifndef COHORT_CLI_FOLDS_H
#define COHORT_CLI_FOLDS_H

#include "train/trainer.h"

/* Trains RECIPE, which has train.folds, once per fold, in FOLDER/fold-1 and so on (HOW->run_folder,
 * NULL: runs/<name>), then prints a table and writes FOLDER/metrics.jsonl and recipe.yaml. Folds
 * that are finished are not trained again unless HOW says `fresh`.
 * Collective. Errors as of cohort_trainer_run; COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_cross_validate(cohort_comm *comm, cohort_recipe *recipe,
                                                     const cohort_trainer_options *how);

#endif
