/* Forward and backward over some samples of a batch: what every kind of training does. */
#ifndef COHORT_TRAIN_PASS_H
#define COHORT_TRAIN_PASS_H

#include "data/loader.h"
#include "nn/loss.h"
#include "nn/model.h"

/* Runs MODEL forward and backward over samples [begin, end) of BATCH, which may be none:
 * adds to *SUMS and leaves d(sum of losses / DIVISOR)/d(parameters) in the model's gradients
 * (added to them when pass->accumulate). The caller has filled in PASS but for its batch and
 * samples, which are set here. */
void cohort_pass_run(cohort_loss_sums *sums, cohort_model *model, const cohort_loss *loss,
                     const cohort_batch *batch, size_t begin, size_t end, double divisor,
                     cohort_pass *pass);

#endif
