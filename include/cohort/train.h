/* Training from inside a program, by recipe.
 *
 * The library prints nothing, installs no signal handlers and never ends the process:
 * results are in the run folder (metrics.jsonl, checkpoints), errors are statuses. */
#ifndef COHORT_TRAIN_H
#define COHORT_TRAIN_H

#include <stddef.h>

#include "cohort/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The library's version, "0.1.0"; static storage. */
COHORT_API const char *cohort_version(void);

/* Trains the network of the recipe file RECIPE to the end, as `cohort train` does.
 *
 * MPI_COMM points to the MPI_Comm whose ranks train together (it is duplicated, so the
 * program may go on using it), or is NULL to train on this process alone; the program has
 * called MPI_Init before in the first case. Collective over that communicator: every rank
 * passes the same arguments. SETS are SET_COUNT strings "optimizer.lr=0.01" that override
 * recipe keys (NULL and 0 for none). RUN_FOLDER is where the run goes, NULL for
 * runs/<name>; an unfinished run there is continued.
 *
 * Errors: COHORT_USAGE (recipe; a finished or different run in the folder), COHORT_DATA,
 * COHORT_DIVERGED, COHORT_PEER, COHORT_MEMORY; the message is in cohort_error_message() on
 * every rank. */
COHORT_API COHORT_NODISCARD cohort_status cohort_train(const void *mpi_comm, const char *recipe,
                                                       const char *const *sets, size_t set_count,
                                                       const char *run_folder);

#ifdef __cplusplus
}
#endif

#endif
