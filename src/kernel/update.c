#include "kernel/update.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "kernel/clones.h"
#include "kernel/math.h"

/* The gradient that is used, from the raw one; selects instead of branches. */
COHORT_INLINE real used_gradient(real g, real p, cohort_update_terms terms)
{
    g *= terms.scale;
    g = g > terms.limit ? terms.limit : g;
    g = g < -terms.limit ? -terms.limit : g;
    real sign = p > 0 ? REAL(1) : p < 0 ? REAL(-1) : REAL(0);
    return g + terms.decay * p + terms.l1 * sign;
}

/* Clipping and decay are rare, and take as long as the rest of an update: without them the gradient
 * is used as it is. */
COHORT_INLINE bool is_plain(cohort_update_terms terms)
{
    return terms.scale == 1 && terms.limit == INFINITY && terms.decay == 0 && terms.l1 == 0;
}

#ifdef COHORT_DOUBLE
#define LEAST_NORMAL DBL_MIN
#else
#define LEAST_NORMAL FLT_MIN
#endif

/* Where gradients have become zero (the margin of images) what decays from step to step ends as
 * denormal numbers, on which arithmetic takes several times as long, for ever: it ends as zero.
 * 2^26 times the least normal number leaves room for the products that follow. */
static const real tiny = (real)(LEAST_NORMAL * (1 << 26));

COHORT_INLINE real settled(real x)
{
    return REAL_FN(fabs)(x) < tiny ? REAL(0) : x;
}

/* The same of a mean square, by whose root MOVE is divided: only where next to nothing moves. */
COHORT_INLINE real settled_square(real square, real move)
{
    return square + REAL_FN(fabs)(move) < tiny ? REAL(0) : square;
}

enum { LANES = COHORT_UPDATE_LANES }; /* chains of additions enough to hide their latency */

COHORT_INLINE void add_squares(double *restrict lane, const real *restrict x, size_t count)
{
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES)
#pragma omp simd
        for (size_t j = 0; j < LANES; j++)
            lane[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t i = whole; i < count; i++)
        lane[i - whole] += (double)x[i] * (double)x[i];
}

COHORT_INLINE double total_of(double *lane)
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

#ifdef COHORT_DOUBLE
typedef uint64_t bits __attribute__((may_alias));
#else
typedef uint32_t bits __attribute__((may_alias));
#endif

COHORT_CLONES bool cohort_update_is_finite(const real *x, size_t count)
{
    const real infinity = (real)INFINITY;
    const bits *pattern = (const bits *)x, limit = *(const bits *)&infinity;
    bits most = 0;
#pragma omp simd reduction(max : most)
    for (size_t i = 0; i < count; i++) {
        const bits magnitude = pattern[i] & ~((bits)1 << (8 * sizeof(bits) - 1));
        most = magnitude > most ? magnitude : most;
    }
    return most < limit;
}

COHORT_INLINE void sgd(real *restrict p, const real *restrict g, size_t count,
                       cohort_update_terms terms, real rate, bool plain)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        p[i] -= rate * (plain ? g[i] : used_gradient(g[i], p[i], terms));
}

COHORT_CLONES void cohort_update_sgd(real *restrict p, const real *restrict g, size_t count,
                                     cohort_update_terms terms, double lr)
{
    if (is_plain(terms))
        sgd(p, g, count, terms, (real)lr, true);
    else
        sgd(p, g, count, terms, (real)lr, false);
}

COHORT_INLINE void momentum(real *restrict p, real *restrict v, const real *restrict g,
                            size_t count, cohort_update_terms terms, real rate, real mu,
                            bool nesterov, bool plain)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const real push = rate * (plain ? g[i] : used_gradient(g[i], p[i], terms));
        v[i] = settled(mu * v[i] - push);
        p[i] += nesterov ? mu * v[i] - push : v[i];
    }
}

COHORT_CLONES void cohort_update_momentum(real *restrict p, real *restrict v,
                                          const real *restrict g, size_t count,
                                          cohort_update_terms terms, double lr, double mu,
                                          bool nesterov)
{
    if (nesterov && is_plain(terms))
        momentum(p, v, g, count, terms, (real)lr, (real)mu, true, true);
    else if (nesterov)
        momentum(p, v, g, count, terms, (real)lr, (real)mu, true, false);
    else if (is_plain(terms))
        momentum(p, v, g, count, terms, (real)lr, (real)mu, false, true);
    else
        momentum(p, v, g, count, terms, (real)lr, (real)mu, false, false);
}

typedef struct adam_numbers {
    real rate, part1, part2, epsilon, shrink;
} adam_numbers;

COHORT_INLINE void adam(real *restrict p, real *restrict m, real *restrict v,
                        const real *restrict g, size_t count, cohort_update_terms terms,
                        adam_numbers to, bool plain)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const real used = plain ? g[i] : used_gradient(g[i], p[i], terms);
        m[i] = settled(m[i] + to.part1 * (used - m[i]));
        v[i] = settled_square(v[i] + to.part2 * (used * used - v[i]), m[i]);
        p[i] -= to.shrink * p[i] + to.rate * m[i] / (REAL_FN(sqrt)(v[i]) + to.epsilon);
    }
}

COHORT_CLONES void cohort_update_adam(real *restrict p, real *restrict m, real *restrict v,
                                      const real *restrict g, size_t count,
                                      cohort_update_terms terms, double alpha, double beta1,
                                      double beta2, double epsilon, double shrink)
{
    const adam_numbers to = {(real)alpha, (real)(1 - beta1), (real)(1 - beta2), (real)epsilon,
                             (real)shrink};
    if (is_plain(terms))
        adam(p, m, v, g, count, terms, to, true);
    else
        adam(p, m, v, g, count, terms, to, false);
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
            v[i] = settled_square(old * v[i] + fresh * used * used, used);
            momentum_slot[i] =
                settled(mu * momentum_slot[i] + rate * used / REAL_FN(sqrt)(v[i] + eps));
            p[i] -= momentum_slot[i];
        }
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        real used = used_gradient(g[i], p[i], terms);
        v[i] = settled_square(old * v[i] + fresh * used * used, used);
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
