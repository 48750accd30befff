/* Losses over a microbatch: sums for the metrics and gradients already divided by the
 * global batch size, so that a plain SUM over ranks is the exact mean. */
#ifndef COHORT_NN_LOSS_H
#define COHORT_NN_LOSS_H

#include <stdint.h>

#include "base/real.h"
#include "base/shape.h"
#include "base/status.h"
#include "recipe/recipe.h"

/* What is to be met: class numbers, or reals (one-hot rows, regression values). */
typedef struct cohort_targets {
    const int32_t *labels; /* [batch] or [batch][time]; a negative class is ignored (mse and
                              huber take any integer as a value). NULL: */
    const real *values;    /* [batch][width] */
} cohort_targets;

/* Sums over the positions counted (samples, or samples x time for sequences). */
typedef struct cohort_loss_sums {
    double loss;    /* weighted by class weights */
    double correct; /* right class; binary: every output on the right side of 0; mse and huber
                       with integer targets: the right side of 0.5 (0 and 1), else within 0.5 */
    double count;   /* positions counted */
} cohort_loss_sums;

typedef struct cohort_loss {
    cohort_loss_type type;
    size_t positions; /* per sample: 1, or the time steps of a sequence output */
    size_t width;     /* outputs per position */
    bool labels;      /* targets are class numbers */
    double label_smoothing, delta;
    const double *class_weights; /* [classes] or NULL; owned by the recipe */
    size_t class_count;  /* of a confusion matrix: width, 2 for one binary output, 0 = regression
                            or several binary outputs (multi-label) */
    bool counts_correct; /* sums.correct means something: print an accuracy */
} cohort_loss;

/* The losses, each a mean over a position's outputs and then over all positions, as in
 * Keras:
 *   cross_entropy         of softmax(logits): do not put a `softmax` layer before it
 *   binary_cross_entropy  of sigmoid(logits): one output, or one for each of k labels
 *   mse, huber (delta)    of the outputs themselves
 * Label smoothing s: t (1 - s) + s / classes, or + s / 2. Class weights multiply the loss
 * of a position by the weight of its class; the divisor stays the batch size.
 *
 * Checks that the loss of the recipe fits OUTPUT (the network's output shape) and the
 * targets: class numbers (TARGET_WIDTH 0) or rows of TARGET_WIDTH reals, which for outputs
 * with several positions is positions x width.
 * COHORT_USAGE says which does not fit. */
COHORT_NODISCARD cohort_status cohort_loss_create(cohort_loss *loss, const cohort_variant *recipe,
                                                  const cohort_shape *output, size_t target_width);

/* Adds BATCH samples to *SUMS; when DLOGITS is not NULL sets it to
 * d(loss)/d(logits) * scale, where SCALE is 1 / (global batch size x positions).
 * LOGITS, DLOGITS [batch][positions][width] (may be the same memory); TARGETS as
 * stated at creation. */
void cohort_loss_run(cohort_loss_sums *sums, real *dlogits, const cohort_loss *loss,
                     const real *logits, const cohort_targets *targets, size_t batch, double scale);

/* Turns logits into what predict writes, in place: softmax, sigmoid, or nothing. */
void cohort_loss_activate(real *outputs, const cohort_loss *loss, size_t batch);
/* The class of each position from LOGITS, before cohort_loss_activate, into CLASSES
 * [batch][positions]; nothing when class_count is 0. */
void cohort_loss_classes(int32_t *classes, const cohort_loss *loss, const real *logits,
                         size_t batch);
/* The true class of each position from TARGETS (argmax of one-hot rows). */
void cohort_loss_target_classes(int32_t *classes, const cohort_loss *loss,
                                const cohort_targets *targets, size_t batch);

#endif
