/* The accountants, against closed forms, quadrature, an optimistic lower bound and published
 * figures; the ledger. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "privacy/ledger.h"

static const double DELTA = 1e-5;

static cohort_release release_of(double q, double noise, uint64_t steps)
{
    return (cohort_release){.q = q, .noise_multiplier = noise, .steps = steps};
}

static double loss_epsilon(double q, double noise, uint64_t steps, double delta)
{
    const cohort_release release = release_of(q, noise, steps);
    double epsilon = NAN;
    assert_ok(cohort_loss_epsilon(&epsilon, &release, 1, delta));
    return epsilon;
}

static double renyi_epsilon(double q, double noise, uint64_t steps, double delta)
{
    const cohort_release release = release_of(q, noise, steps);
    return cohort_renyi_epsilon(&release, 1, delta);
}

/* Abadi et al. 2016 print 1.26 and 2.55 for these; the moments themselves, by quadrature in
 * another program, give 1.2586 and 2.5759. Koskela, Jälkö and Honkela's accountant gives epsilon
 * 1 at delta 4.2434840e-6 for the first. */
static void test_published_figures(void **state)
{
    (void)state;
    const cohort_release short_run = release_of(0.01, 4, 10000),
                         long_run = release_of(0.01, 4, 40000);
    assert_true(fabs(cohort_moments_epsilon(&short_run, 1, DELTA) - 1.2586) < 1e-4);
    assert_true(fabs(cohort_moments_epsilon(&long_run, 1, DELTA) - 2.5759) < 1e-4);
    assert_true(cohort_renyi_epsilon(&short_run, 1, DELTA) < 1.2586);
    assert_true(cohort_renyi_epsilon(&long_run, 1, DELTA) < 2.5759);
    const double tight = loss_epsilon(0.01, 4, 10000, 4.243484012034273e-6);
    assert_true(tight >= 1 && tight < 1.002);
}

/* Against the integral of the definition. */
static void test_renyi_is_the_integral(void **state)
{
    (void)state;
    static const double cases[][3] = {
        {0.01, 4, 1.25}, {0.01, 1.1, 2.5}, {0.02, 1, 7.75}, {0.1, 2, 10.75}, {0.01, 1.1, 2},
        {0.02, 1, 8},    {0.001, 0.8, 12}, {0.3, 5, 32},    {0.5, 3, 1.5},   {0.999, 2, 3.25}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const double q = cases[c][0], s = cases[c][1], order = cases[c][2];
        const double begin = -12 * s, end = order + 12 * s, step = (end - begin) / 400000;
        double sum = 0; /* of A - 1, without cancellation */
        for (int i = 0; i <= 400000; i++) {
            const double x = begin + step * i;
            const double density = exp(-0.5 * x * x / (s * s)) / (s * sqrt(2 * M_PI));
            const double ratio = log1p(q * expm1((2 * x - 1) / (2 * s * s)));
            sum += step * density * expm1(order * ratio);
        }
        const double wanted = log1p(sum) / (order - 1), got = cohort_renyi_step(q, s, order);
        if (!(got >= wanted * (1 - 1e-6) && got <= wanted * (1 + 1e-6)))
            fail_msg("q %g s %g order %g: %.12g, not %.12g", q, s, order, got, wanted);
    }
    assert_true(cohort_renyi_step(1, 2, 3) == 3.0 / 8);
    assert_true(cohort_renyi_step(0, 2, 3) == 0);
    assert_true(isinf(cohort_renyi_step(0.1, 0, 3)));
}

/* Without sampling, k steps are one Gaussian mechanism, whose delta is known. */
static void test_gaussian_closed_form(void **state)
{
    (void)state;
    static const double cases[][3] = {
        {1, 1, 1e-5}, {10, 1, 1e-5}, {20, 100, 1e-6}, {50, 1000, 1e-3}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const double noise = cases[c][0], steps = cases[c][1], delta = cases[c][2];
        const double single = noise / sqrt(steps);
        const double tight = loss_epsilon(1, noise, (uint64_t)steps, delta),
                     renyi = renyi_epsilon(1, noise, (uint64_t)steps, delta);
        /* Never below the truth, never far above. */
        assert_true(cohort_gaussian_delta(single, tight) <= delta * (1 + 1e-9));
        assert_true(cohort_gaussian_delta(single, tight * 0.997) > delta);
        assert_true(renyi > tight && renyi < 1.3 * tight);
    }
    /* Balle and Wang: sigma 1 at epsilon 0 is the total variation 2 Phi(1/2) - 1. */
    assert_true(fabs(cohort_gaussian_delta(1, 0) - erf(0.5 / M_SQRT2)) < 1e-12);
}

/* delta of one sampled step by its definition, in the worse direction. */
static double one_step_delta(double q, double s, double epsilon)
{
    double removing = 0, adding = 0;
    const double begin = -14 * s, end = 1 + 14 * s, step = (end - begin) / 1000000;
    for (int i = 0; i <= 1000000; i++) {
        const double x = begin + step * i,
                     without = exp(-0.5 * x * x / (s * s)) / (s * sqrt(2 * M_PI));
        const double with = without * (1 + q * expm1((2 * x - 1) / (2 * s * s)));
        removing += step * fmax(with - exp(epsilon) * without, 0);
        adding += step * fmax(without - exp(epsilon) * with, 0);
    }
    return fmax(removing, adding);
}

static void test_one_sampled_step(void **state)
{
    (void)state;
    static const double cases[][3] = {{0.02, 1, 1e-5}, {0.3, 2, 1e-4}, {0.7, 0.8, 1e-6}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const double q = cases[c][0], noise = cases[c][1], delta = cases[c][2];
        const double epsilon = loss_epsilon(q, noise, 1, delta);
        assert_true(one_step_delta(q, noise, epsilon) <= delta * (1 + 1e-6));
        assert_true(one_step_delta(q, noise, epsilon * 0.99) > delta);
    }
}

/* An optimistic distribution: every loss of one step (when removing) rounded down to a grid,
 * composed by plain convolution. Its epsilon lies below the truth. */
static double optimistic_epsilon(double q, double s, unsigned doublings, double h, double delta)
{
    const int cells = 200000;
    const double begin = -9 * s, end = 1 + 9 * s, step = (end - begin) / cells;
    const long first = (long)floor(log1p(-q) / h) - 1;
    size_t count = 0;
    long base = first;
    double *mass = calloc(1 << 22, sizeof *mass);
    assert_non_null(mass);
    for (int i = 0; i < cells; i++) {
        const double x = begin + step * (i + 0.5);
        const double density =
            (1 - q) * exp(-0.5 * x * x / (s * s)) + q * exp(-0.5 * (x - 1) * (x - 1) / (s * s));
        const double loss = log1p(q * expm1((2 * x - 1) / (2 * s * s)));
        const size_t at = (size_t)((long)floor(loss / h) - first);
        mass[at] += step * density / (s * sqrt(2 * M_PI));
        count = at + 1 > count ? at + 1 : count;
    }
    for (unsigned d = 0; d < doublings; d++) {
        double *sum = calloc(1 << 22, sizeof *sum);
        assert_non_null(sum);
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < count && mass[i] > 1e-18; j++)
                sum[i + j] += mass[i] * mass[j];
        free(mass);
        mass = sum;
        count = 2 * count - 1;
        base *= 2;
    }
    double low = 0, high = 50;
    for (int i = 0; i < 60; i++) {
        const double middle = 0.5 * (low + high);
        double got = 0;
        for (size_t k = 0; k < count; k++) {
            const double loss = (double)(base + (long)k) * h;
            got += loss > middle ? mass[k] * -expm1(middle - loss) : 0;
        }
        *(got > delta ? &low : &high) = middle;
    }
    free(mass);
    return low;
}

static void test_between_the_bounds(void **state)
{
    (void)state;
    const double below = optimistic_epsilon(0.05, 1.2, 4, 1e-3, DELTA),
                 tight = loss_epsilon(0.05, 1.2, 16, DELTA),
                 above = renyi_epsilon(0.05, 1.2, 16, DELTA);
    if (!(below <= tight && tight < below * 1.03 && tight < above))
        fail_msg("%.6f, %.6f, %.6f", below, tight, above);
}

/* More steps, more records a step, less noise, less delta: never a smaller epsilon; and the
 * distribution below Renyi everywhere. */
static void test_monotone(void **state)
{
    (void)state;
    static const double qs[] = {0.001, 0.01, 0.1, 0.5, 1}, noises[] = {0.7, 1, 2, 5, 20},
                        deltas[] = {1e-7, 1e-5, 1e-3};
    static const uint64_t steps[] = {1, 10, 100, 1000};
    double got[5][5][4][3];
    for (int a = 0; a < 5; a++)
        for (int b = 0; b < 5; b++)
            for (int c = 0; c < 4; c++)
                for (int d = 0; d < 3; d++) {
                    const double renyi = renyi_epsilon(qs[a], noises[b], steps[c], deltas[d]);
                    const double tight =
                        renyi < 100 ? loss_epsilon(qs[a], noises[b], steps[c], deltas[d]) : renyi;
                    got[a][b][c][d] = tight;
                    if (!(tight <= renyi * 1.002 && tight >= 0))
                        fail_msg("q %g noise %g steps %d delta %g: %g above %g", qs[a], noises[b],
                                 (int)steps[c], deltas[d], tight, renyi);
                    const double most = 1.002; /* the grids differ; Renyi above 100 is looser */
                    assert_true(a == 0 || got[a - 1][b][c][d] <= most * tight);
                    assert_true(b == 0 || got[a][b - 1][c][d] * most >= tight);
                    assert_true(c == 0 || got[a][b][c - 1][d] <= most * tight);
                    assert_true(d == 0 || got[a][b][c][d - 1] * most >= tight);
                }
}

/* Releases compose: the order does not matter, a split changes nothing, none costs nothing. */
static void test_several_releases(void **state)
{
    (void)state;
    const cohort_release whole = release_of(0.02, 1.3, 300), first = release_of(0.02, 1.3, 100),
                         second = release_of(0.02, 1.3, 200), other = release_of(0.2, 6, 50);
    const cohort_release halves[] = {first, second}, mixed[] = {first, other, second},
                         turned[] = {other, whole};
    double a = 0, b = 0, c = 0;
    for (int accountant = 0; accountant < 2; accountant++) {
        assert_ok(cohort_account(&a, (cohort_accountant)accountant, &whole, 1, DELTA));
        assert_ok(cohort_account(&b, (cohort_accountant)accountant, halves, 2, DELTA));
        assert_true(fabs(a - b) < 1e-6 * a);
        assert_ok(cohort_account(&b, (cohort_accountant)accountant, mixed, 3, DELTA));
        assert_ok(cohort_account(&c, (cohort_accountant)accountant, turned, 2, DELTA));
        assert_true(fabs(c - b) < 1e-6 * b && b > a);
        assert_ok(cohort_account(&a, (cohort_accountant)accountant, NULL, 0, DELTA));
        assert_true(a == 0);
    }
}

static void test_noise_for_a_target(void **state)
{
    (void)state;
    const cohort_release past = release_of(0.02, 1, 500);
    double noise = 0, epsilon = 0;
    for (int accountant = 0; accountant < 2; accountant++) {
        const cohort_accountant way = (cohort_accountant)accountant;
        assert_ok(cohort_account_noise(&noise, way, 2.5, NULL, 0, 0.02, 1000, DELTA));
        cohort_release both[] = {past, release_of(0.02, noise, 1000)};
        assert_ok(cohort_account(&epsilon, way, both + 1, 1, DELTA));
        assert_true(epsilon <= 2.5 && epsilon > 2.49);
        assert_ok(cohort_account_noise(&noise, way, 4, &past, 1, 0.02, 1000, DELTA));
        both[1].noise_multiplier = noise;
        assert_ok(cohort_account(&epsilon, way, both, 2, DELTA));
        assert_true(epsilon <= 4 && epsilon > 3.98);
        assert_fails(cohort_account_noise(&noise, way, 1, &past, 1, 0.02, 1000, DELTA),
                     COHORT_USAGE, "is spent already");
    }
}

static void test_ledger(void **state)
{
    (void)state;
    cohort_ledger ledger = {0}, again = {0};
    cohort_text text = {0};
    double epsilon = 0, alone = 0;
    cohort_ledger_entry entry = {.release = {1.0 / 3, 1.1, 10}, .data = 0xfeedbeef};
    const cohort_ledger_entry client = {
        .unit = COHORT_UNIT_CLIENT, .release = {0.1, 2, 5}, .data = 7};
    const cohort_ledger_entry none = {
        .mechanism = COHORT_MECHANISM_NONE, .release = {.steps = 3}, .data = 7};
    assert_ok(cohort_ledger_add(&ledger, &entry));
    assert_ok(cohort_ledger_add(&ledger, &entry));
    assert_int_equal(ledger.count, 1);
    assert_int_equal(ledger.items[0].release.steps, 20);
    assert_ok(cohort_ledger_epsilon(&alone, &ledger, COHORT_ACCOUNTANT_RENYI, COHORT_UNIT_EXAMPLE,
                                    1, DELTA));
    assert_true(fabs(alone - renyi_epsilon(1.0 / 3, 1.1, 20, DELTA)) < 1e-9);
    /* What protects examples does not protect clients, the reverse it does. */
    assert_ok(cohort_ledger_epsilon(&epsilon, &ledger, COHORT_ACCOUNTANT_RENYI, COHORT_UNIT_CLIENT,
                                    1, DELTA));
    assert_true(isinf(epsilon));
    assert_ok(cohort_ledger_add(&ledger, &client));
    assert_ok(cohort_ledger_add(&ledger, &none));
    assert_ok(cohort_ledger_epsilon(&epsilon, &ledger, COHORT_ACCOUNTANT_RENYI, COHORT_UNIT_EXAMPLE,
                                    1, DELTA));
    assert_true(epsilon > alone && isfinite(epsilon));
    /* Noiseless training counts for its data. */
    assert_true(cohort_ledger_has_noiseless(&ledger, 1) &&
                !cohort_ledger_has_noiseless(&ledger, 7));
    assert_ok(cohort_ledger_epsilon(&epsilon, &ledger, COHORT_ACCOUNTANT_RENYI, COHORT_UNIT_EXAMPLE,
                                    7, DELTA));
    assert_true(isinf(epsilon));
    assert_fails(cohort_ledger_noise(&epsilon, &ledger, COHORT_ACCOUNTANT_RENYI,
                                     COHORT_UNIT_EXAMPLE, 7, 10, 0.1, 10, DELTA),
                 COHORT_USAGE, "without noise");
    cohort_ledger_write(&text, &ledger);
    assert_ok(cohort_text_status(&text));
    assert_ok(cohort_ledger_read(&again, text.data));
    assert_int_equal(again.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(again.items[i].release.q == ledger.items[i].release.q);
        assert_true(again.items[i].release.noise_multiplier ==
                    ledger.items[i].release.noise_multiplier);
        assert_int_equal(again.items[i].release.steps, ledger.items[i].release.steps);
        assert_int_equal(again.items[i].data, ledger.items[i].data);
        assert_int_equal(again.items[i].unit, ledger.items[i].unit);
        assert_int_equal(again.items[i].mechanism, ledger.items[i].mechanism);
    }
    cohort_ledger_clear(&ledger);
    cohort_ledger_clear(&again);
    cohort_text_clear(&text);
}

static void test_damaged_ledger(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "nonsense",
        "mechanism gaussian unit example q 0.1 noise_multiplier 1 steps 10",
        "mechanism gaussian unit example q 0.1 noise_multiplier 1 steps 10 data 0 more",
        "mechanism gaussian unit example q 0.1 noise_multiplier 0 steps 10 data 0",
        "mechanism gaussian unit example q 1.1 noise_multiplier 1 steps 10 data 0",
        "mechanism gaussian unit house q 0.1 noise_multiplier 1 steps 10 data 0",
        "mechanism laplace unit example q 0.1 noise_multiplier 1 steps 10 data 0",
        "mechanism gaussian unit example q nan noise_multiplier 1 steps 10 data 0",
        "mechanism none unit example q 0.1 noise_multiplier 1 steps 10 data 0",
    };
    cohort_ledger ledger = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_fails(cohort_ledger_read(&ledger, texts[i]), COHORT_DATA, "cannot be read");
    assert_ok(cohort_ledger_read(&ledger, NULL));
    assert_ok(cohort_ledger_read(&ledger, ""));
    assert_int_equal(ledger.count, 0);
    cohort_ledger_clear(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_figures),
        cmocka_unit_test(test_renyi_is_the_integral),
        cmocka_unit_test(test_gaussian_closed_form),
        cmocka_unit_test(test_one_sampled_step),
        cmocka_unit_test(test_between_the_bounds),
        cmocka_unit_test(test_monotone),
        cmocka_unit_test(test_several_releases),
        cmocka_unit_test(test_noise_for_a_target),
        cmocka_unit_test(test_ledger),
        cmocka_unit_test(test_damaged_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
