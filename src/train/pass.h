/* Forward and backward over some samples of a batch: what every kind of training does. */
#ifndef COHORT_TRAIN_PASS_H
#define COHORT_TRAIN_PASS_H

#include "data/loader.h"
#include "nn/loss.h"
#include "nn/model.h"

/* Looks where a batch first has values that are not finite (train/nonfinite.c). */
typedef struct cohort_search cohort_search;

/* Forward of PASS is done, the loss of LOGITS comes next. */
void cohort_search_losses(cohort_search *search, const float *logits, const cohort_targets *targets,
                          const cohort_pass *pass);
/* Backward of the pass is done. */
void cohort_search_grads(cohort_search *search);

/* Samples of a batch, in order: from `begin` on, in parts whose losses are summed apart. */
typedef struct cohort_pass_range {
    size_t begin;
    const size_t *ends; /* [part_count] counted from begin; the last may be 0: none */
    size_t part_count;
} cohort_pass_range;

/* Runs MODEL forward and backward over RANGE of BATCH: adds to SUMS [part_count] and leaves
 * d(sum of losses / DIVISOR)/d(parameters) in the model's gradients (added to them when
 * pass->accumulate). The caller has filled in PASS but for its batch and samples, which are set
 * here. SEARCH is shown logits and gradients; NULL for none. */
void cohort_pass_run(cohort_loss_sums *sums, cohort_model *model, const cohort_loss *loss,
                     const cohort_batch *batch, const cohort_pass_range *range, double divisor,
                     cohort_pass *pass, cohort_search *search);

#endif
