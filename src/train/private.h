/* Private training: DP-SGD (Abadi et al. 2016) for one example as the unit.
 *
 * A step draws every training row with probability q = global_batch_size / samples (a batch of
 * any size), takes the gradient of each row alone, clips it to `privacy.clip`, sums, adds
 * Gaussian noise once (rank 0) and divides by global_batch_size, whatever the batch had. One row
 * at a time is a microbatch of one through the ordinary layers, so that whatever a layer
 * computes, its gradient is that of one row: measured on mnist-cnn this costs a fifth of the
 * rate, and no layer needs code of its own for it.
 *
 * What epsilon covers are the weights, of all checkpoints of one line of training together. It
 * does not cover losses and accuracies on private rows (metrics.jsonl, the terminal), the
 * choice of hyperparameters by looking at several runs, nor the row count.
 *
 * Functions take a trainer that may not be private; then they do nothing. */
#ifndef COHORT_TRAIN_PRIVATE_H
#define COHORT_TRAIN_PRIVATE_H

#include "train/trainer_private.h"

/* After the samples are chosen: keys, sampling. Collective; COHORT_USAGE, COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_private_open(cohort_trainer *trainer);
/* After the vectors are there: networks for single rows, one a thread. Refuses layers that mix
 * rows. Collective; COHORT_USAGE, COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_private_open_lanes(cohort_trainer *trainer);
/* NULL is fine. */
void cohort_private_close(cohort_private *privacy);
/* How the loader draws; NULL where training is not private. */
const cohort_draw *cohort_private_draw(cohort_private *privacy);

/* Reads the ledger of the run that is continued from the checkpoint in PATH. Rank 0; COHORT_DATA
 * when steps are missing in it. */
COHORT_NODISCARD cohort_status cohort_private_resume(cohort_trainer *trainer,
                                                     const cohort_snapshot *about,
                                                     const char *path);
/* Takes over what train.initial_weights have cost. Rank 0; COHORT_USAGE when they were trained on
 * the same data without noise. */
COHORT_NODISCARD cohort_status cohort_private_inherit(cohort_trainer *trainer);
/* With the ledger loaded: the noise, for a target the least. Rank 0; COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_private_settle(cohort_trainer *trainer);
/* Epsilon, delta and unit go into every record. Rank 0. */
void cohort_private_join_records(cohort_trainer *trainer);

/* *hash = of all inputs of the data set, whatever subset is trained on. Targets are left out: with
 * other labels the rows are still about the same people. Rank-local. */
COHORT_NODISCARD cohort_status cohort_private_hash_data(uint64_t *hash, cohort_dataset *dataset);

/* Adds to SUMS, and writes to VECTOR [COHORT_REDUCER_EXTRAS + parameters] behind the extras, the
 * clipped gradients of samples [begin, end) of the batch. Rank-local; uses all threads, the
 * bits do not depend on their number. */
void cohort_private_sum_part(cohort_loss_sums *sums, float *vector, cohort_trainer *trainer,
                             const cohort_batch *batch, size_t begin, size_t end);
/* Turns the summed gradients into the private ones, the same on every rank, and counts the step.
 * Collective. */
COHORT_NODISCARD cohort_status cohort_private_release(cohort_trainer *trainer);

/* Works out epsilon so far on rank 0, for cohort_private_look. Collective. */
COHORT_NODISCARD cohort_status cohort_private_count(cohort_trainer *trainer);
/* Adds epsilon to VIEW when it was counted for this very step. */
void cohort_private_look(cohort_train_view *view, const cohort_trainer *trainer);
/* trainer->ledger_text = the ledger as of now. Rank 0. */
COHORT_NODISCARD cohort_status cohort_private_write_ledger(cohort_trainer *trainer);

#endif
