/* Deployment: rank 0 coordinates and holds only test data; every other rank is a client with its
 * own file (data.file with {rank} in it, replaced by the rank's number). Rows never leave a
 * client: it receives weights and sends updates, loss sums and how many rows it has.
 *
 * Only start-up is collective. From then on ranks exchange messages (comm/mail.h) and nobody
 * waits for a client beyond round_timeout: one that dies, stalls or sends what is not finite, too
 * large or does not decode is dropped for the round and named; it may come back in a later one.
 * The coordinator goes on while min_clients updates come. Start with `mpirun
 * --enable-recovery`, else Open MPI itself ends the job when a process dies.
 *
 * With secure aggregation every phase has round_timeout. Who falls silent is left out as long as
 * the threshold is met; below it the attempt is abandoned, nothing is learned, and the round begins
 * again, under new keys, without those that fell silent. The coordinator then sees the sum of the
 * updates, of losses, hits and positions; of each client its number of rows, whether it took part
 * and why not. It does not see norms of updates and cannot check them. What masks do not protect
 * against stands in privacy/secure_sum.h: above all, keys are exchanged through the coordinator and
 * not signed, and the recipe is rank 0's, so clients must trust it to keep to the protocol.
 *
 * A client that owes an answer is not asked again until it has said something.
 *
 * Every client is told something each few seconds; one that hears nothing for comm.timeout ends
 * with COHORT_PEER, so that no process is left behind when the coordinator dies.
 *
 * Messages are a header of COHORT_FEDERATED_HEADER_BYTES and a vector:
 *   join      to rank 0: status and message of the client's start-up, rows, length of the vector
 *   train     to clients: round, what updates must fit; weights, state, control variate
 *   update    to rank 0: round, cohort_client_result; the payload of the update
 *             (with secure aggregation: masked, the figures too, see serve_secure.h)
 *   invite, keys, roster, shares, sealed, survivors, reveal
 *             secure aggregation, phase by phase (privacy/secure_sum.h); train comes behind sealed
 *   alive     to clients: nothing new
 *   finish    to clients: exit status of the run, whether all ranks are there to finalise MPI */
#ifndef COHORT_FEDERATED_DEPLOY_H
#define COHORT_FEDERATED_DEPLOY_H

#include "federated/federated_private.h"

/* What a client trains with, once it is open. */
typedef struct cohort_client_view {
    cohort_local *local;
    const uint64_t *rows; /* [row_count] of its training data */
    size_t row_count;
    size_t vector; /* reals that it exchanges */
} cohort_client_view;

/* Whether RECIPE is for real clients: no number of simulated ones. */
bool cohort_deployment_is(const cohort_recipe *recipe);

/* Rank 0: opens test data and network, hears from every client; in place of
 * cohort_federated_open. COMM is the job's. Collective at its beginning. COHORT_PEER when too few
 * clients answer; a client's own error when one could not start. */
COHORT_NODISCARD cohort_status cohort_deployment_coordinate(cohort_federated *federated,
                                                            cohort_comm *comm);
/* Who is asked this round: drawn among those that can be reached. COHORT_PEER when fewer than
 * min_clients can within round_timeout. */
COHORT_NODISCARD cohort_status cohort_deployment_choose(cohort_federated *federated);
/* Tells the clients that the run ended with STATUS and message; waits a moment until they
 * have it. */
void cohort_deployment_finish(cohort_federated *federated, cohort_status status);
void cohort_deployment_destroy(struct cohort_deployment *deployment);

/* What they would do at the start, for the preflight. Rank 0 of JOB: opens test data and network in
 * FEDERATED, as if every client had joined with ROWS [size] (by rank). Rank-local. Errors as
 * cohort_deployment_coordinate's own. */
COHORT_NODISCARD cohort_status cohort_deployment_try(cohort_federated *federated, cohort_comm *job,
                                                     const double *rows);
/* Other ranks: opens what a client of JOB trains with, and lets VISIT look at it before all is
 * closed again. Rank-local. Errors of the opening, or what VISIT returns. */
COHORT_NODISCARD cohort_status cohort_deployment_try_client(
    cohort_comm *job, cohort_recipe *recipe,
    cohort_status (*visit)(void *context, const cohort_client_view *view), void *context);

/* Other ranks: trains what rank 0 sends until it says that the run is over. Returns the run's
 * status with its message, COHORT_PEER when rank 0 falls silent. */
COHORT_NODISCARD cohort_status cohort_deployment_serve(cohort_comm *comm, cohort_recipe *recipe,
                                                       const cohort_trainer_options *options);

#endif
