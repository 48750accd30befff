/* Optimizers and schedules over flat vectors. */
#ifndef COHORT_OPTIM_OPTIMIZER_H
#define COHORT_OPTIM_OPTIMIZER_H

#include <stdint.h>

#include "base/real.h"
#include "base/status.h"
#include "nn/model.h"
#include "recipe/recipe.h"

typedef struct cohort_optimizer cohort_optimizer;

/* *out = the optimizer of RECIPE for vectors of COUNT reals laid out as TENSORS (flags say
 * where weight decay and L1 apply; frozen tensors are left alone). Both are copied or
 * must outlive it: TENSORS is copied. Rank-local. */
COHORT_NODISCARD cohort_status cohort_optimizer_create(cohort_optimizer **out,
                                                       const cohort_optimizer_recipe *recipe,
                                                       const cohort_tensors *tensors, size_t count);
void cohort_optimizer_destroy(cohort_optimizer *optimizer);

/* One step: clips GRADS by the whole norm or by value (may change GRADS), then updates
 * PARAMS in one fused pass with learning rate LR. STEP counts from 1 (bias correction).
 * Returns the gradient's norm before clipping, or NaN/Inf when the gradient is not
 * finite: then nothing was changed. */
double cohort_optimizer_step(cohort_optimizer *optimizer, real *params, real *grads, double lr,
                             uint64_t step);

/* Its vectors, for checkpoints: slot INDEX of slot_count, named in Keras's words ("m",
 * "v", "momentum", "accumulator"), [count] reals in the parameters' layout. */
size_t cohort_optimizer_slot_count(const cohort_optimizer *optimizer);
const char *cohort_optimizer_slot_name(const cohort_optimizer *optimizer, size_t index);
real *cohort_optimizer_slot(cohort_optimizer *optimizer, size_t index);

/* The learning rate of STEP (global, from 0) by SCHEDULE for base rate LR, with
 * STEPS_PER_EPOCH and TOTAL_STEPS of the whole run. */
double cohort_schedule_lr(const cohort_schedule_recipe *schedule, double lr, uint64_t step,
                          double steps_per_epoch, uint64_t total_steps);

#endif
