/* Privacy for clients: DP-FedAvg (McMahan et al. 2018) and what servers make of its mean.
 *
 * A round draws every client with probability `fraction`, each on its own and in secret (privacy/
 * poisson.h); each clips its whole update to `privacy.clip`; the sum, exact whole numbers, gets
 * Gaussian noise once (rank 0) and is divided by fraction x clients, however many were drawn. A
 * client that has no rows or no usable update adds nothing. Rounds nobody was drawn for are noise
 * alone and count as any other. Whatever the server then does with the mean costs nothing more.
 *
 * With privacy.adaptive_clip the clip is a share of what epsilon pays for: the number of clients
 * within it is released too, with noise, and the next round's clip follows from that
 * (privacy/quantile.h). noise_multiplier stays what both releases come to together.
 *
 * Epsilon is for neighbours that differ in all rows of one client, and covers the weights, of all
 * checkpoints of one run together. It does not cover: figures on private rows and names of dropped
 * clients (metrics.jsonl, the terminal), which of several checkpoints is best by a validation split
 * of such rows, the number of clients, the choice of hyperparameters by looking at several runs.
 * In a simulation one administrator sees all rows: it shows what privacy would cost.
 *
 * Between real clients rank 0 draws from all that belong to the run, also those that have died, and
 * divides by fraction x all of them. It clips every update again, believing no client, draws the
 * noise, and sees single updates before that: clients must trust it to do so and to keep what it
 * sees to itself (privacy/secure_sum.h hides updates, but excludes noise). Who is asked in a round
 * learns that it was drawn, but not who else. Their rows' numbers are in the records. In the ledger
 * the name of the files stands for rows that rank 0 has not seen: it counts on when a run is
 * continued, not when another is begun on the same files.
 *
 * Functions take a federated that may not be private; then they do nothing. */
#ifndef COHORT_FEDERATED_PROTECT_H
#define COHORT_FEDERATED_PROTECT_H

#include "federated/federated_private.h"

/* With partition, model and fixed-point steps known: keys; refuses batch_norm, and a clip that is
 * no match for the steps. Collective; COHORT_USAGE, COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_federated_protect(cohort_federated *federated);
void cohort_federated_unprotect(cohort_federated *federated);
bool cohort_federated_is_protected(const cohort_federated *federated);

/* Draws the round's clients: into round.clients. COHORT_INTERNAL when more come than there is room
 * for (once in 10^20 rounds). The same on every rank. */
COHORT_NODISCARD cohort_status cohort_federated_protect_draw(cohort_federated *federated);
/* The most clients a round draws, and the mean. */
size_t cohort_federated_protect_most(const cohort_federated *federated);
double cohort_federated_protect_mean(const cohort_federated *federated);

/* What updates are clipped to in the round under way; 0 when not private. The same on every rank.
 */
double cohort_federated_protect_clip(const cohort_federated *federated);

/* federated->mean from the sums: noise, division; counts the round; the next clip. Collective. */
COHORT_NODISCARD cohort_status cohort_federated_protect_release(cohort_federated *federated);

/* The ledger of the run that is continued from PATH. Rank 0; COHORT_DATA when rounds are missing
 * in it. */
COHORT_NODISCARD cohort_status cohort_federated_protect_resume(cohort_federated *federated,
                                                               const cohort_snapshot *about,
                                                               const char *path);
/* With the run folder open: the noise, for a target the least. Epsilon, delta and unit go into
 * every record from here on. Rank 0; COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_federated_protect_settle(cohort_federated *federated);
/* *ledger = the ledger as of now, as text; NULL without one. Rank 0. */
COHORT_NODISCARD cohort_status cohort_federated_protect_ledger(const char **ledger,
                                                               cohort_federated *federated);
/* Appends the finished round's clip to its record LINE and, with adaptive_clip, the noisy share of
 * clients within it. Rank 0. */
void cohort_federated_protect_note(cohort_text *line, const cohort_federated *federated);
/* Adds epsilon to VIEW. Rank 0, after a record. */
void cohort_federated_protect_look(cohort_train_view *view, const cohort_federated *federated);

#endif
