#include "kernel/update.h"

#include <math.h>

#include "kernel/clones.h"

/* The gradient that is used, from the raw one; selects instead of branches. */
static inline real used_gradient(real g, real p, cohort_update_terms terms)
{
    g *= terms.scale;
    g = g > terms.limit ? terms.limit : g;
    g = g < -terms.limit ? -terms.limit : g;
    real sign = p > 0 ? REAL(1) : p < 0 ? REAL(-1) : REAL(0);
    return g + terms.decay * p + terms.l1 * sign;
}

enum { LANES = COHORT_UPDATE_LANES }; /* chains of additions enough to hide their latency */

static inline void add_squares(double *restrict lane, const real *restrict x, size_t count)
{
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (size_t j = 0; j < LANES; j++)
            lane[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t i = whole; i < count; i++)
        lane[i - whole] += (double)x[i] * (double)x[i];
}

static inline double total_of(double *lane)
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

COHORT_CLONES double cohort_update_square_sum(const real *x, size_t count)
{
    double lane[LANES] = {0};
    add_squares(lane, x, count);
    return total_of(lane);
}

COHORT_CLONES double cohort_update_square_sum_of_runs(const real *x, const cohort_update_run *runs,
                                                      size_t run_count)
{
    double lane[LANES] = {0};
    for (size_t i = 0; i < run_count; i++)
        add_squares(lane, x + runs[i].begin, runs[i].end - runs[i].begin);
    return total_of(lane);
}

COHORT_CLONES void cohort_update_sgd(real *restrict p, const real *restrict g, size_t count,
                                     cohort_update_terms terms, double lr)
{
    const real rate = (real)lr;
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        p[i] -= rate * used_gradient(g[i], p[i], terms);
}

COHORT_CLONES void cohort_update_momentum(real *restrict p, real *restrict v,
                                          const real *restrict g, size_t count,
                                          cohort_update_terms terms, double lr, double momentum,
                                          bool nesterov)
{
    const real rate = (real)lr, mu = (real)momentum;
    if (nesterov) {
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            real push = rate * used_gradient(g[i], p[i], terms);
            v[i] = mu * v[i] - push;
            p[i] += mu * v[i] - push;
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        v[i] = mu * v[i] - rate * used_gradient(g[i], p[i], terms);
        p[i] += v[i];
    }
}

COHORT_CLONES void cohort_update_adam(real *restrict p, real *restrict m, real *restrict v,
                                      const real *restrict g, size_t count,
                                      cohort_update_terms terms, double alpha, double beta1,
                                      double beta2, double epsilon, double shrink)
{
    const real rate = (real)alpha, part1 = (real)(1 - beta1), part2 = (real)(1 - beta2);
    const real eps = (real)epsilon, part = (real)shrink;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        real used = used_gradient(g[i], p[i], terms);
        m[i] += part1 * (used - m[i]);
        v[i] += part2 * (used * used - v[i]);
        p[i] -= part * p[i] + rate * m[i] / (REAL_FN(sqrt)(v[i]) + eps);
    }
}

COHORT_CLONES void cohort_update_rmsprop(real *restrict p, real *restrict v,
                                         real *restrict momentum_slot, const real *restrict g,
                                         size_t count, cohort_update_terms terms, double lr,
                                         double rho, double momentum, double epsilon)
{
    const real rate = (real)lr, old = (real)rho, fresh = (real)(1 - rho), eps = (real)epsilon;
    if (momentum_slot) {
        const real mu = (real)momentum;
#pragma omp simd
        for (size_t i = 0; i < count; i++) {
            real used = used_gradient(g[i], p[i], terms);
            v[i] = old * v[i] + fresh * used * used;
            momentum_slot[i] = mu * momentum_slot[i] + rate * used / REAL_FN(sqrt)(v[i] + eps);
            p[i] -= momentum_slot[i];
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        real used = used_gradient(g[i], p[i], terms);
        v[i] = old * v[i] + fresh * used * used;
        p[i] -= rate * used / REAL_FN(sqrt)(v[i] + eps);
    }
}

COHORT_CLONES void cohort_update_adagrad(real *restrict p, real *restrict a, const real *restrict g,
                                         size_t count, cohort_update_terms terms, double lr,
                                         double epsilon)
{
    const real rate = (real)lr, eps = (real)epsilon;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        real used = used_gradient(g[i], p[i], terms);
        a[i] += used * used;
        p[i] -= rate * used / REAL_FN(sqrt)(a[i] + eps);
    }
}
