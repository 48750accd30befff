/* Federated training: rounds in which chosen clients train on their own rows and the server
 * takes a mean of what changed.
 *
 * Two shapes, one recipe. Simulation: the clients are parts of one data set, multiplexed over
 * the ranks; updates are summed in whole numbers, so that the result is the same to the bit on
 * any number of ranks. Deployment (federated.clients absent): rank 0 coordinates, every other
 * rank is a client with its own file; see federated/deploy.h.
 *
 * Records, run folder, stopping and resuming are as in train/trainer.h, by rounds. */
#ifndef COHORT_FEDERATED_FEDERATED_H
#define COHORT_FEDERATED_FEDERATED_H

#include "train/trainer.h"

/* Whether RECIPE asks for it. */
bool cohort_federated_is(const cohort_recipe *recipe);

typedef struct cohort_federated cohort_federated;

/* Opens everything a run needs and finds where it continues. RECIPE is borrowed. Collective.
 * Errors as cohort_trainer_create. */
COHORT_NODISCARD cohort_status cohort_federated_create(cohort_federated **out, cohort_comm *comm,
                                                       cohort_recipe *recipe,
                                                       const cohort_trainer_options *options);
void cohort_federated_destroy(cohort_federated *federated);

/* Runs the rounds to the end, tests, saves. COHORT_STOPPED after a checkpoint when asked to
 * stop: a round under way is dropped and begun anew on resuming. COHORT_DIVERGED when fewer
 * than min_clients have sent a usable update. */
COHORT_NODISCARD cohort_status cohort_federated_run(cohort_federated *federated);

/* The run folder in use; the test evaluation of a finished run, NULL without a test split. */
const char *cohort_federated_folder(const cohort_federated *federated);
const cohort_evaluation *cohort_federated_test(const cohort_federated *federated);

#endif
