/* Preflight of a federated run: what the rounds would do, looked for before they begin. */
#ifndef COHORT_FEDERATED_PREFLIGHT_H
#define COHORT_FEDERATED_PREFLIGHT_H

#include "recipe/recipe.h"
#include "train/preflight.h"

/* A cohort_preflight_rounds: opens what a federated run by RECIPE opens (not its run folder),
 * says who the clients are, times their training, looks at memory and run folder. Of real clients
 * each one opens its own file and trains for a moment, rank 0 opens what it coordinates with; their
 * memory is not looked at. Collective. COHORT_OK whatever was found; COHORT_PEER when a rank is
 * lost. */
COHORT_NODISCARD cohort_status cohort_federated_preflight(cohort_findings *findings,
                                                          cohort_comm *comm, cohort_recipe *recipe,
                                                          const cohort_preflight_options *options);

#endif
