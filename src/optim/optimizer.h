/* Optimizers and schedules over flat vectors.
 *
 * The updates are Keras's (Keras 3, which are those of TF-Keras from 2.12 on), p a parameter,
 * t the step from 1, slots starting at 0 unless said otherwise:
 *
 *   sgd      p -= lr g; with momentum v = momentum v - lr g, p += v;
 *            with Nesterov p += momentum v - lr g.                      slot "momentum" (v)
 *   adam     m += (1 - beta1) (g - m), v += (1 - beta2) (g^2 - v),
 *            p -= lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon):
 *            the "epsilon hat" form of Kingma and Ba (2015, before section 2.1); PyTorch's
 *            epsilon is this one divided by sqrt(1 - beta2^t).         slots "m", "v"
 *   adamw    as adam, and p -= lr weight_decay p besides (Loshchilov and Hutter 2019, as
 *            Keras and PyTorch have it).                                slots "m", "v"
 *   rmsprop  v = rho v + (1 - rho) g^2, d = lr g / sqrt(v + epsilon), p -= d;
 *            with momentum b = momentum b + d, p -= b.       slots "velocity" (v), "momentum" (b)
 *   adagrad  a += g^2, p -= lr g / sqrt(a + epsilon), a starts at 0.1. slot "accumulator"
 *
 * The gradient g is first scaled by clip_norm / max(norm, clip_norm), then cut to
 * +-clip_value, then gets weight_decay p (not in adamw) and l1 sign(p), both only where
 * COHORT_PARAM_DECAYS is set. */
#ifndef COHORT_OPTIM_OPTIMIZER_H
#define COHORT_OPTIM_OPTIMIZER_H

#include <stdint.h>

#include "base/real.h"
#include "base/rows.h"
#include "base/status.h"
#include "nn/model.h"
#include "recipe/recipe.h"

typedef struct cohort_optimizer cohort_optimizer;

/* *out = the optimizer of RECIPE for vectors of COUNT reals laid out as TENSORS (flags say
 * where weight decay and L1 apply; frozen tensors are left alone). Both are copied.
 * Rank-local. */
COHORT_NODISCARD cohort_status cohort_optimizer_create(cohort_optimizer **out,
                                                       const cohort_optimizer_recipe *recipe,
                                                       const cohort_tensors *tensors, size_t count);
void cohort_optimizer_destroy(cohort_optimizer *optimizer);

/* Its slots as after creation. */
void cohort_optimizer_restart(cohort_optimizer *optimizer);

/* Tells which rows of gradients matter: from now on those of TABLES that are not marked in ROWS
 * (base/rows.h) hold zeros whenever the norm is taken or an update made, and are left out where
 * that changes no bit: from the norm; from updates by sgd without momentum and adagrad without
 * decay. Every other update moves parameters without a gradient too, as Keras's do, unless the
 * recipe says `embedding_rows: used`: then the tables' other rows and their slots rest
 * (PyTorch's SparseAdam; LazyAdam of TensorFlow Addons). Without this call all rows matter.
 * TABLES is copied, ROWS borrowed. */
COHORT_NODISCARD cohort_status cohort_optimizer_watch_rows(cohort_optimizer *optimizer,
                                                           const cohort_tables *tables,
                                                           const uint64_t *rows);

/* One step: updates PARAMS in one fused pass with learning rate LR from GRADS, clipped by
 * the whole norm or by value (GRADS itself stays). STEP counts from 1 (bias correction).
 * Runs on the OpenMP threads of the caller; their number does not change the result.
 * Returns the gradient's norm before clipping, 0 without clipping by the norm, or NaN/Inf when the
 * gradient is not finite: then nothing was changed. */
double cohort_optimizer_step(cohort_optimizer *optimizer, real *params, const real *grads,
                             double lr, uint64_t step);

/* The two halves of a step, for ranks that share the work of it. */

/* The norm of what is trained of GRADS: in double, in an order that depends on the layout
 * alone; NaN/Inf when it is not finite. Where the recipe does not clip by it, 0 stands for any that
 * is finite. */
double cohort_optimizer_norm(cohort_optimizer *optimizer, const real *grads);
/* The update of elements [begin, end) alone, given the norm of the whole gradient, which
 * must be finite. Any cut into ranges gives the same bits when the cuts are at multiples of
 * COHORT_LINE_REALS. Rows of a table of which only the used ones are updated are updated where
 * they begin. Serial; distinct ranges may run at the same time. */
void cohort_optimizer_update_range(cohort_optimizer *optimizer, real *params, const real *grads,
                                   double norm, double lr, uint64_t step, size_t begin, size_t end);

/* The same norm from parts that different ranks add up: the sums of squares of the blocks of
 * COHORT_OPTIMIZER_BLOCK elements, [block_count] (without clipping 0, or NaN). block_sums sets
 * those of the blocks in [begin, end), which begins and ends with blocks (or with the vector);
 * norm_of takes all. */
enum { COHORT_OPTIMIZER_BLOCK = 4096 };
size_t cohort_optimizer_block_count(const cohort_optimizer *optimizer);
void cohort_optimizer_block_sums(double *sums, const cohort_optimizer *optimizer, const real *grads,
                                 size_t begin, size_t end);
double cohort_optimizer_norm_of(const double *sums, size_t block_count);
/* Whether an update of TABLE, one of those given to watch_rows, changes marked rows alone. */
bool cohort_optimizer_spares_rows(const cohort_optimizer *optimizer, const cohort_table *table);

/* Vectors that begin so many elements, five lines, further into a page than another do not fall on
 * the same lines of the first cache with it, as vectors do that begin with pages. */
enum { COHORT_OPTIMIZER_SKEW = 5 * COHORT_LINE_REALS };

/* Its slots are in MEMORY [slot_count][count] from now on, the caller's, 64-byte aligned; with
 * COPY it gets what is in them, else it has something already. */
void cohort_optimizer_place_slots(cohort_optimizer *optimizer, real *memory, bool copy);

/* Its vectors, for checkpoints: slot INDEX of slot_count, named in Keras's words ("m",
 * "v", "momentum", "accumulator"), [count] reals in the parameters' layout. */
size_t cohort_optimizer_slot_count(const cohort_optimizer *optimizer);
const char *cohort_optimizer_slot_name(const cohort_optimizer *optimizer, size_t index);
real *cohort_optimizer_slot(cohort_optimizer *optimizer, size_t index);

/* The learning rate of STEP (global, from 0) by SCHEDULE for base rate LR, with
 * STEPS_PER_EPOCH and TOTAL_STEPS of the whole run. With w = warmup_steps:
 *   every type is multiplied by (step + 1) / w while step < w;
 *   constant   lr
 *   step       lr factor^n, n the milestones (epochs) reached: step >= milestone steps_per_epoch
 *   cosine     lr (final + (1 - final) (1 + cos(pi x)) / 2), x = (step - w) / (total - w)
 *   linear     lr (1 - (1 - final) x)
 *   one_cycle  with k = peak_epoch steps_per_epoch: lr (step + 1) / k while step < k, then
 *              linear down with x = (step - k) / (total - k).
 * x is kept within [0, 1]: the fraction `final` is reached when the run is over. */
double cohort_schedule_lr(const cohort_schedule_recipe *schedule, double lr, uint64_t step,
                          double steps_per_epoch, uint64_t total_steps);

#endif
