/* The privacy loss distribution of composed sampled Gaussian mechanisms.
 *
 * Of a pair of densities (top, bottom) the privacy loss is log(top / bottom) under top, and
 * delta(e) = E[(1 - e^{e - loss})+]. Composition adds losses. Removing a record has
 * top = (1 - q) N(0, s^2) + q N(1, s^2), bottom = N(0, s^2); adding one has them exchanged; the
 * larger delta counts (Zhu, Dong, Wang 2022: the pair dominates the mechanism).
 *
 * On a grid of losses k h the mass of every cell [k h, (k + 1) h) is split between its ends such
 * that its measure under top and under bottom both stay. The pair that results has the same
 * delta at e = k h and the chord between, which lies above the convex truth: it dominates
 * (Doroshenko et al. 2022, "connect the dots"). The error is of order h^2 a step. */
#include <float.h>
#include <math.h>

#include "base/memory.h"
#include "privacy/account.h"
#include "privacy/fourier.h"

enum { POINTS_MIN = 1 << 10, POINTS_MAX = 1 << 20, TILTS = 48 };

/* Share of delta that may be lost in each tail that is cut off; it is added again. */
static const double CUT = 1e-6;

/* Where e^loss ends. Nothing so large is worth a figure. */
static const double LOSS_MOST = 600;
static const double NOISE_LEAST = 0.1;
/* e^x is 0 below, and takes long to say so. */
static const double EXP_LEAST = -746;

typedef enum direction { REMOVE, ADD } direction;

/* One step of a release in one direction, discretised. */
typedef struct step_masses {
    double *mass; /* [count], of the losses (first + i) h */
    size_t count;
    long first;
    double infinite; /* mass of an infinite loss */
} step_masses;

/* --- One step ------------------------------------------------------------------- */

/* Of the two normals' mean at x: log(mu / mu0) = log(1 - q + q e^u), u = (2x - 1) / (2 s^2). */
static double loss_at(double q, double noise, double x)
{
    const double u = (2 * x - 1) / (2 * noise * noise);
    if (q >= 1)
        return u;
    if (u > 30)
        return u + log(q) + log1p((1 - q) / q * exp(-u));
    return log1p(q * expm1(u));
}

/* Where that loss is LOSS; -INFINITY below the least one. */
static double place_of(double q, double noise, double loss)
{
    const double u = q >= 1 || loss > 700 ? loss - log(q) : log1p(expm1(loss) / q);
    return isnan(u) ? -INFINITY : u * noise * noise + 0.5;
}

static double normal_density(double x, double noise)
{
    return exp(-0.5 * x * x / (noise * noise)) / (noise * sqrt(2 * M_PI));
}

static double normal_above(double x, double noise)
{
    return 0.5 * erfc(x / (noise * M_SQRT2));
}

/* Density of top in terms of y, which rises with the loss: x = y, or -y when adding. */
static double top_density(const cohort_release *release, direction way, double y)
{
    if (way == ADD)
        return normal_density(y, release->noise_multiplier);
    return (1 - release->q) * normal_density(y, release->noise_multiplier) +
           release->q * normal_density(y - 1, release->noise_multiplier);
}

static double loss_of(const cohort_release *release, direction way, double y)
{
    return way == ADD ? -loss_at(release->q, release->noise_multiplier, -y)
                      : loss_at(release->q, release->noise_multiplier, y);
}

static double y_of(const cohort_release *release, direction way, double loss)
{
    return way == ADD ? -place_of(release->q, release->noise_multiplier, -loss)
                      : place_of(release->q, release->noise_multiplier, loss);
}

/* Gauss-Legendre with 8 points: half of them, symmetric about 0. */
static const double NODE[4] = {0.1834346424956498, 0.5255324099163290, 0.7966664774136267,
                               0.9602898564975363};
static const double WEIGHT[4] = {0.3626837833783620, 0.3137066458778873, 0.2223810344533745,
                                 0.1012285362903763};

/* *all = the mass of top between y FROM and TO; *raised = that of it which goes to the upper end
 * of the cell with lower end LOW: the integral of top (1 - e^{LOW - loss}) / (1 - e^-h). */
static void integrate_cell(double *all, double *raised, const cohort_release *release,
                           direction way, double from, double to, double low, double h)
{
    const double widest = 0.25 * release->noise_multiplier;
    const size_t panels = (size_t)ceil((to - from) / widest) + (to <= from);
    const double half = 0.5 * (to - from) / (double)panels;
    *all = *raised = 0;
    for (size_t panel = 0; panel < panels; panel++) {
        const double middle = from + half * (double)(2 * panel + 1);
        for (int i = 0; i < 8; i++) {
            const double y = middle + (i < 4 ? half : -half) * NODE[i % 4];
            const double mass = WEIGHT[i % 4] * half * top_density(release, way, y);
            const double above = loss_of(release, way, y) - low;
            *all += mass;
            *raised += above > 0 ? mass * -expm1(-above) : 0;
        }
    }
    *raised *= (1 + 1e-9) / -expm1(-h);
    if (*raised > *all)
        *raised = *all;
}

/* Fills MASSES for a grid of H; each tail holds at most TAIL. */
static cohort_status discretise(step_masses *masses, const cohort_release *release, direction way,
                                double h, double tail)
{
    const double noise = release->noise_multiplier, shift = way == REMOVE ? 1 : 0;
    const double reach = noise * sqrt(-2 * log(tail));
    const double from = -reach, to = shift + reach;
    const long first = (long)floor(loss_of(release, way, from) / h),
               last = (long)floor(loss_of(release, way, to) / h) + 1;
    *masses = (step_masses){.first = first, .count = (size_t)(last - first + 1)};
    COHORT_TRY(COHORT_ALLOCATE(&masses->mass, masses->count));
    double total = 0, begin = from;
    for (size_t i = 0; i + 1 < masses->count; i++) {
        const double low = (double)(first + (long)i) * h;
        double end = i + 2 < masses->count ? y_of(release, way, low + h) : to, all = 0, raised = 0;
        end = end < to ? end : to;
        if (!(end > begin))
            continue;
        integrate_cell(&all, &raised, release, way, begin, end, low, h);
        masses->mass[i] += all - raised;
        masses->mass[i + 1] += raised;
        total += all;
        begin = end;
    }
    /* Losses below the range rise to it; what is above, and what rounding lost, is infinite. */
    const double below = way == ADD ? normal_above(reach, noise)
                                    : (1 - release->q) * normal_above(reach, noise) +
                                          release->q * normal_above(reach + 1, noise);
    masses->mass[1] += below;
    masses->infinite = way == ADD ? normal_above(reach, noise)
                                  : (1 - release->q) * normal_above(reach + 1, noise) +
                                        release->q * normal_above(reach, noise);
    const double lost = 1 - total - below - masses->infinite;
    masses->infinite += lost > 0 ? lost : 0;
    return COHORT_OK;
}

/* The spread of one step's loss, those beyond 1 counted as 1. */
static double step_spread(const cohort_release *release)
{
    const double noise = release->noise_multiplier;
    double sum = 0, weight = 0;
    for (int i = 0; i <= 400; i++) {
        const double x = (-8 + 16 * (double)i / 400) * noise + release->q;
        const double mass = top_density(release, REMOVE, x);
        double loss = loss_of(release, REMOVE, x);
        loss = loss > 1 ? 1 : loss < -1 ? -1 : loss;
        sum += mass * loss * loss;
        weight += mass;
    }
    return weight > 0 ? sqrt(sum / weight) : 1;
}

/* --- Composition ------------------------------------------------------------------ */

/* log E[e^{tilt loss}] of all releases together, the finite part. */
static double log_tilted(const step_masses *masses, const cohort_release *releases, size_t count,
                         double h, double tilt)
{
    double sum = 0;
    for (size_t r = 0; r < count; r++) {
        const step_masses *step = &masses[r];
        double highest = -INFINITY, one = 0;
        for (int end = 0; end < 2; end++) {
            const double at = tilt * h * (double)(step->first + (end ? (long)step->count - 1 : 0));
            highest = at > highest ? at : highest;
        }
        for (size_t i = 0; i < step->count; i++) {
            const double power = tilt * h * (double)(step->first + (long)i) - highest;
            one += power > EXP_LEAST ? step->mass[i] * exp(power) : 0;
        }
        sum += (double)releases[r].steps * (highest + log(one));
    }
    return sum;
}

/* By Chernoff's bound: of the composed loss at most TAIL lies above *high, and at most TAIL below
 * *low. SPREAD is about its standard deviation. */
static void find_window(double *low, double *high, const step_masses *masses,
                        const cohort_release *releases, size_t count, double h, double spread,
                        double tail)
{
    *high = INFINITY;
    *low = -INFINITY;
    for (int i = 0; i < TILTS; i++) {
        const double tilt = 0.05 / spread * pow(1.25, i);
        const double up = (log_tilted(masses, releases, count, h, tilt) - log(tail)) / tilt;
        const double down = (log_tilted(masses, releases, count, h, -tilt) - log(tail)) / tilt;
        *high = up < *high ? up : *high;
        *low = -down > *low ? -down : *low;
    }
}

/* What composition works on. */
typedef struct composition {
    const cohort_release *releases;
    size_t count;
    step_masses *masses; /* [count] */
    double h;
    long first;    /* the window: losses (first + i) h, i < points */
    size_t points; /* a power of two */
    double extra;  /* mass added to delta: cut off, infinite, rounding */
} composition;

static void clear_masses(composition *all)
{
    for (size_t i = 0; i < all->count; i++) {
        cohort_free(all->masses[i].mass);
        all->masses[i] = (step_masses){0};
    }
}

/* Discretises all releases and finds the window; the grid gets coarser until it fits. */
static cohort_status prepare(composition *all, direction way, double delta)
{
    double variance = 0, steps = 0;
    all->h = INFINITY;
    for (size_t i = 0; i < all->count; i++) {
        const double spread = step_spread(&all->releases[i]);
        all->h = spread / 12 < all->h ? spread / 12 : all->h;
        variance += (double)all->releases[i].steps * spread * spread;
        steps += (double)all->releases[i].steps;
    }
    const double tail = delta * CUT, spread = sqrt(variance);
    if (all->h < 40 * spread / POINTS_MAX)
        all->h = 40 * spread / POINTS_MAX;
    for (;; all->h *= 2) {
        double low = 0, high = 0;
        for (size_t i = 0; i < all->count; i++)
            COHORT_TRY(
                discretise(&all->masses[i], &all->releases[i], way, all->h, tail / (4 * steps)));
        find_window(&low, &high, all->masses, all->releases, all->count, all->h, spread, tail);
        all->first = (long)floor(low / all->h);
        const double wanted = ceil(high / all->h) - (double)all->first + 2;
        all->points = POINTS_MIN;
        while (all->points < POINTS_MAX && (double)all->points < wanted)
            all->points *= 2;
        if ((double)all->points >= wanted)
            break;
        clear_masses(all);
    }
    all->extra = tail;
    return COHORT_OK;
}

/* Multiplies SUM by the transform of one release's masses to the power of its steps. ERRORS
 * gets per frequency the bound steps e / |f| on the relative error, e that of the transform:
 * |a^t - b^t| <= t |a - b| max(|a|, |b|)^{t-1}. */
static void multiply_power(double complex *sum, double *errors, const double complex *transform,
                           uint64_t steps, size_t points, double e)
{
    for (size_t k = 0; k < points; k++) {
        const double size = cabs(transform[k]) + e;
        const double angle = carg(transform[k]) * (double)steps,
                     length = exp((double)steps * log(size));
        const double complex factor = CMPLX(length * cos(angle), length * sin(angle));
        const double complex before = sum[k];
        sum[k] = CMPLX(creal(before) * creal(factor) - cimag(before) * cimag(factor),
                       creal(before) * cimag(factor) + cimag(before) * creal(factor));
        errors[k] += (double)steps * (2 * e + 4 * DBL_EPSILON) / size;
    }
}

/* COMPOSED [points] = the distribution of the summed loss over the window; adds to all->extra
 * what is infinite and what rounding may have lost. WORK [points]. */
static cohort_status compose(double complex *composed, double complex *work, double *errors,
                             composition *all)
{
    const size_t points = all->points;
    cohort_fourier fourier;
    COHORT_TRY(cohort_fourier_init(&fourier, points));
    const double e = 4 * log2((double)points) * DBL_EPSILON;
    double infinite = 0, lost = 0, whole = 0;
    for (size_t k = 0; k < points; k++)
        composed[k] = 1;
    for (size_t r = 0; r < all->count; r++) {
        const step_masses *step = &all->masses[r];
        for (size_t k = 0; k < points; k++)
            work[k] = 0;
        for (size_t i = 0; i < step->count; i++) {
            const long at = (step->first + (long)i) & (long)(points - 1);
            work[at] += step->mass[i];
        }
        cohort_fourier_run(work, &fourier, false);
        multiply_power(composed, errors, work, all->releases[r].steps, points, e);
        infinite += (double)all->releases[r].steps * log1p(-step->infinite);
    }
    for (size_t k = 0; k < points; k++) {
        const double size = cabs(composed[k]);
        lost += size * size * errors[k] * errors[k];
        whole += size * size;
    }
    cohort_fourier_run(composed, &fourier, true);
    cohort_fourier_clear(&fourier);
    /* By Parseval, what errors of the spectrum add to any tail is at most their L2 norm. */
    all->extra += -expm1(infinite) + sqrt(lost) + e * sqrt(whole);
    return COHORT_OK;
}

/* The least epsilon >= 0 whose delta is at most DELTA: from the largest loss down, delta(e) =
 * sum p - e^e sum p e^{-loss} over the losses above e. */
static double solve(const composition *all, const double complex *composed, double delta)
{
    double above = 0, discounted = 0;
    if (all->extra >= delta)
        return INFINITY;
    for (size_t i = all->points; i-- > 0;) {
        const long index = all->first + (long)i;
        const double loss = (double)index * all->h;
        const double mass = creal(composed[index & (long)(all->points - 1)]) / (double)all->points;
        if (loss <= 0 || above - exp(loss) * discounted + all->extra > delta) {
            /* The answer lies between this loss (or 0) and the one above it. */
            const double epsilon =
                discounted > 0 ? log((above + all->extra - delta) / discounted) : 0;
            return epsilon > 0 ? epsilon : 0;
        }
        if (mass > 0) {
            above += mass;
            discounted += mass * exp(-loss);
        }
    }
    return 0;
}

static cohort_status directed_epsilon(double *epsilon, const cohort_release *releases, size_t count,
                                      direction way, double delta)
{
    composition all = {.releases = releases, .count = count};
    double complex *composed = NULL, *work = NULL;
    double *errors = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&all.masses, count));
    COHORT_TRY_DONE(status, prepare(&all, way, delta));
    *epsilon = INFINITY;
    if ((double)(all.first + (long)all.points) * all.h > LOSS_MOST)
        goto done;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&composed, all.points));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&work, all.points));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&errors, all.points));
    COHORT_TRY_DONE(status, compose(composed, work, errors, &all));
    *epsilon = solve(&all, composed, delta);
done:
    clear_masses(&all);
    cohort_free(all.masses);
    cohort_free(composed);
    cohort_free(work);
    cohort_free(errors);
    return status;
}

cohort_status cohort_loss_epsilon(double *epsilon, const cohort_release *releases, size_t count,
                                  double delta)
{
    cohort_release *used = NULL;
    size_t used_count = 0;
    double removing = 0, adding = 0;
    cohort_status status = COHORT_OK;
    *epsilon = INFINITY;
    COHORT_TRY(COHORT_ALLOCATE(&used, count));
    for (size_t i = 0; i < count; i++) {
        if (releases[i].steps == 0 || releases[i].q <= 0)
            continue;
        if (!(releases[i].noise_multiplier >= NOISE_LEAST) || releases[i].q > 1)
            goto done; /* epsilon is in the hundreds: no grid for that */
        used[used_count++] = releases[i];
    }
    if (used_count > 0) {
        COHORT_TRY_DONE(status, directed_epsilon(&removing, used, used_count, REMOVE, delta));
        COHORT_TRY_DONE(status, directed_epsilon(&adding, used, used_count, ADD, delta));
    }
    *epsilon = removing > adding ? removing : adding;
done:
    cohort_free(used);
    return status;
}
