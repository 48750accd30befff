/* Optimizer updates: one pass over a run of parameters, element by element, so that any
 * cut of a vector into runs gives the same result.
 *
 * Every kernel first turns the raw gradient into the one that is used,
 *   g <- clamp(g * scale, -limit, limit) + decay * p + l1 * sign(p),
 * then applies its formula. Runs may be of any length and alignment; vectors of one call
 * do not overlap. */
#ifndef COHORT_KERNEL_UPDATE_H
#define COHORT_KERNEL_UPDATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* Elements per block of cohort_update_square_sum's callers: the fixed grid on which partial
 * sums are taken. */
enum { COHORT_UPDATE_BLOCK = 4096 };

typedef struct cohort_update_terms {
    real scale; /* 1 = not clipped by norm */
    real limit; /* INFINITY = not clipped by value */
    real decay; /* L2, added to the gradient */
    real l1;
} cohort_update_terms;

/* The sum of squares of X[0..count), in double and in an order that depends on COUNT alone:
 * products of floats are exact in double, so every instruction set gives the same bits. */
double cohort_update_square_sum(const real *x, size_t count);

/* The same sum where X is zero but for RUNS [run_count], ascending, each from a multiple of
 * COHORT_UPDATE_LANES on: all that is left out is the adding of zeros. */
enum { COHORT_UPDATE_LANES = 64 };
typedef struct cohort_update_run {
    size_t begin, end;
} cohort_update_run;
double cohort_update_square_sum_of_runs(const real *x, const cohort_update_run *runs,
                                        size_t run_count);

/* Whether no element of X[0..count) is infinite or NaN. */
bool cohort_update_is_finite(const real *x, size_t count);

/* p -= lr * g. */
void cohort_update_sgd(real *p, const real *g, size_t count, cohort_update_terms terms, double lr);

/* v = mu * v - lr * g; p += v, or with Nesterov p += mu * v - lr * g. */
void cohort_update_momentum(real *p, real *v, const real *g, size_t count,
                            cohort_update_terms terms, double lr, double mu, bool nesterov);

/* m += (1 - beta1) * (g - m); v += (1 - beta2) * (g^2 - v);
 * p -= shrink * p + alpha * m / (sqrt(v) + epsilon). SHRINK is lr * decay in AdamW, else 0. */
void cohort_update_adam(real *p, real *m, real *v, const real *g, size_t count,
                        cohort_update_terms terms, double alpha, double beta1, double beta2,
                        double epsilon, double shrink);

/* v = rho * v + (1 - rho) * g^2; d = lr * g / sqrt(v + epsilon);
 * p -= d, or with MOMENTUM_SLOT b: b = momentum * b + d; p -= b. */
void cohort_update_rmsprop(real *p, real *v, real *momentum_slot, const real *g, size_t count,
                           cohort_update_terms terms, double lr, double rho, double momentum,
                           double epsilon);

/* a += g^2; p -= lr * g / sqrt(a + epsilon). */
void cohort_update_adagrad(real *p, real *a, const real *g, size_t count, cohort_update_terms terms,
                           double lr, double epsilon);

#endif
