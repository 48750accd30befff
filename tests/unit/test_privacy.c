/* Keys, Poisson sampling, clipping and noise. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "privacy/clip.h"
#include "privacy/noise.h"
#include "privacy/poisson.h"
#include "privacy/quantile.h"

static cohort_comm *comm;

static cohort_secret *secret_of(cohort_secret_purpose purpose, uint64_t seed)
{
    cohort_secret *secret = NULL;
    assert_ok(cohort_secret_create(&secret, comm, purpose, seed));
    return secret;
}

static void test_streams(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    uint64_t words[COUNT], later[COUNT], other[COUNT];
    cohort_secret *secret = secret_of(COHORT_SECRET_NOISE, 0);
    cohort_secret_words(words, secret, 3, 0, COUNT);
    cohort_secret_words(later, secret, 3, 24, COUNT - 24);
    assert_memory_equal(words + 24, later, (COUNT - 24) * sizeof *words);
    cohort_secret_words(other, secret, 4, 0, COUNT);
    assert_memory_not_equal(words, other, sizeof words);
    /* Another key every time. */
    cohort_secret *fresh = secret_of(COHORT_SECRET_NOISE, 0);
    cohort_secret_words(other, fresh, 3, 0, COUNT);
    assert_memory_not_equal(words, other, sizeof words);
    /* But for a testing seed, which tells purposes apart. */
    cohort_secret *a = secret_of(COHORT_SECRET_NOISE, 5), *b = secret_of(COHORT_SECRET_NOISE, 5),
                  *c = secret_of(COHORT_SECRET_SAMPLING, 5);
    cohort_secret_words(words, a, 3, 0, COUNT);
    cohort_secret_words(other, b, 3, 0, COUNT);
    assert_memory_equal(words, other, sizeof words);
    cohort_secret_words(other, c, 3, 0, COUNT);
    assert_memory_not_equal(words, other, sizeof words);
    cohort_secret_destroy(secret);
    cohort_secret_destroy(fresh);
    cohort_secret_destroy(a);
    cohort_secret_destroy(b);
    cohort_secret_destroy(c);
    cohort_secret_destroy(NULL);
}

/* Counts have the binomial mean and variance; members are as often in one batch as in another,
 * and two neighbours together as often as independence wants. */
static void test_poisson(void **state)
{
    (void)state;
    enum { MEMBERS = 5000, BATCHES = 2000 };
    const double q = 0.03;
    const size_t most = cohort_poisson_most(MEMBERS, q);
    uint64_t drawn[MEMBERS], times[MEMBERS] = {0}, pairs = 0;
    double sum = 0, squares = 0;
    cohort_secret *secret = secret_of(COHORT_SECRET_SAMPLING, 11);
    for (uint64_t step = 0; step < BATCHES; step++) {
        const size_t count = cohort_poisson_draw(drawn, most, secret, step, MEMBERS, q);
        assert_true(count <= most);
        for (size_t i = 0; i < count; i++) {
            assert_true(drawn[i] < MEMBERS && (i == 0 || drawn[i] > drawn[i - 1]));
            times[drawn[i]]++;
            pairs += i > 0 && drawn[i] == drawn[i - 1] + 1;
        }
        sum += (double)count;
        squares += (double)(count * count);
    }
    const double mean = sum / BATCHES, variance = squares / BATCHES - mean * mean;
    const double wanted = MEMBERS * q, wanted_variance = wanted * (1 - q);
    assert_true(fabs(mean - wanted) < 5 * sqrt(wanted_variance / BATCHES));
    assert_true(fabs(variance / wanted_variance - 1) < 5 * sqrt(2.0 / BATCHES));
    const double pairs_wanted = (double)BATCHES * (MEMBERS - 1) * q * q;
    assert_true(fabs((double)pairs - pairs_wanted) < 6 * sqrt(pairs_wanted));
    double chi = 0;
    for (size_t i = 0; i < MEMBERS; i++)
        chi += pow((double)times[i] - BATCHES * q, 2) / (BATCHES * q * (1 - q));
    assert_true(fabs(chi - MEMBERS) < 5 * sqrt(2.0 * MEMBERS));
    cohort_secret_destroy(secret);
}

static void test_poisson_ends(void **state)
{
    (void)state;
    uint64_t drawn[100];
    cohort_secret *secret = secret_of(COHORT_SECRET_SAMPLING, 0);
    assert_int_equal(cohort_poisson_most(100, 1), 100);
    assert_int_equal(cohort_poisson_draw(drawn, 100, secret, 0, 100, 1), 100);
    assert_int_equal(drawn[99], 99);
    assert_int_equal(cohort_poisson_draw(drawn, 10, secret, 0, 100, 1), 11);
    assert_int_equal(cohort_poisson_draw(drawn, 100, secret, 1, 100, 1e-18), 0);
    assert_int_equal(cohort_poisson_draw(drawn, 100, secret, 1, 0, 0.5), 0);
    cohort_secret_destroy(secret);
}

static void test_clip(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    float values[COUNT], sum[COUNT], copy[COUNT];
    uint32_t random = 12345;
    for (int round = 0; round < 200; round++) {
        double squares = 0;
        for (int i = 0; i < COUNT; i++) {
            random = random * 1664525u + 1013904223u;
            values[i] = copy[i] =
                ((float)(random >> 8) * 0x1p-24f - 0.5f) * (float)(round + 1) * 0.01f;
            sum[i] = 0;
        }
        const double limit = 1.5, norm = cohort_clip_add(sum, values, COUNT, limit);
        assert_true(cohort_clip(copy, COUNT, limit) == norm);
        for (int i = 0; i < COUNT; i++) {
            squares += (double)sum[i] * (double)sum[i];
            assert_true(sum[i] == copy[i]);
            assert_true(fabsf(sum[i] - values[i] * (float)fmin(1, limit / norm)) <=
                        4e-6f * fabsf(values[i]));
        }
        assert_true(sqrt(squares) <= limit);
        assert_true(norm > limit || memcmp(sum, values, sizeof sum) == 0);
    }
    memcpy(copy, sum, sizeof sum);
    values[7] = NAN;
    assert_true(isnan(cohort_clip_add(sum, values, COUNT, 1)));
    values[7] = INFINITY;
    assert_true(isinf(cohort_clip_add(sum, values, COUNT, 1)));
    assert_memory_equal(sum, copy, sizeof sum);
    cohort_clip(values, COUNT, 1);
    for (int i = 0; i < COUNT; i++)
        assert_true(values[i] == 0);
}

enum { LENGTH = 200000, GAP = 16, FROZEN = 160 };
static const cohort_tensor parts[] = {
    {.offset = 0, .count = LENGTH - 5},
    {.offset = LENGTH + GAP, .count = FROZEN, .frozen = true},
    {.offset = LENGTH + GAP + FROZEN, .count = LENGTH},
};
static const cohort_tensors tensors = {parts, 3};
enum { TOTAL = 2 * LENGTH + GAP + FROZEN };

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Normal (Kolmogorov and Smirnov), where it belongs and nowhere else. */
static void test_noise(void **state)
{
    (void)state;
    const double clip = 0.5, multiplier = 3;
    float *sum = NULL;
    assert_ok(COHORT_ALLOCATE(&sum, TOTAL));
    cohort_secret *secret = secret_of(COHORT_SECRET_NOISE, 0);
    cohort_noise_add(sum, &tensors, secret, 1, clip, multiplier);
    for (size_t i = LENGTH - 5; i < LENGTH + GAP + FROZEN; i++)
        assert_true(sum[i] == 0);
    double squares = 0, lag = 0;
    float *last = sum + LENGTH + GAP + FROZEN;
    for (size_t i = 0; i < LENGTH; i++) {
        squares += (double)last[i] * (double)last[i];
        lag += i ? (double)last[i] * (double)last[i - 1] : 0;
    }
    const double variance = clip * multiplier * clip * multiplier;
    assert_true(fabs(squares / LENGTH / variance - 1) < 6 * sqrt(2.0 / LENGTH));
    assert_true(fabs(lag / LENGTH / variance) < 6 / sqrt(LENGTH));
    qsort(last, LENGTH, sizeof *last, compare);
    double farthest = 0;
    for (size_t i = 0; i < LENGTH; i++) {
        const double below = 0.5 * erfc(-(double)last[i] / (clip * multiplier * M_SQRT2));
        farthest = fmax(farthest, fabs(below - ((double)i + 0.5) / LENGTH));
    }
    assert_true(farthest < 3 / sqrt(LENGTH)); /* beyond that once in 10^7 runs */
    cohort_secret_destroy(secret);
    cohort_free(sum);
}

/* The sum itself stays in it; threads and what was there change no draw; not finite is 0. */
static void test_noise_is_added(void **state)
{
    (void)state;
    float *sum = NULL, *other = NULL;
    assert_ok(COHORT_ALLOCATE(&sum, TOTAL));
    assert_ok(COHORT_ALLOCATE(&other, TOTAL));
    cohort_secret *secret = secret_of(COHORT_SECRET_NOISE, 77);
    const int threads = omp_get_max_threads();
    for (size_t i = 0; i < TOTAL; i++)
        other[i] = 100;
    other[3] = NAN;
    cohort_noise_add(sum, &tensors, secret, 9, 1, 1);
    omp_set_num_threads(3);
    cohort_noise_add(other, &tensors, secret, 9, 1, 1);
    omp_set_num_threads(threads);
    assert_true(other[3] == sum[3]);
    for (size_t i = 4; i < LENGTH - 5; i++)
        assert_true(fabsf(other[i] - 100 - sum[i]) < 1e-5f);
    assert_true(other[LENGTH] == 100 && other[LENGTH + GAP] == 100);
    /* Another step, other noise. */
    memcpy(other, sum, TOTAL * sizeof *sum);
    memset(sum, 0, TOTAL * sizeof *sum);
    cohort_noise_add(sum, &tensors, secret, 10, 1, 1);
    size_t same = 0;
    for (size_t i = 0; i < LENGTH - 5; i++)
        same += sum[i] == other[i];
    assert_true(same < 10);
    cohort_secret_destroy(secret);
    cohort_free(sum);
    cohort_free(other);
}

/* Results are multiples of the grid, whatever the sum's low bits were. */
static void test_noise_hides_low_bits(void **state)
{
    (void)state;
    static const cohort_tensor one = {.count = 4096};
    static const cohort_tensors all = {&one, 1};
    float *sum = NULL;
    assert_ok(COHORT_ALLOCATE(&sum, 4096));
    cohort_secret *secret = secret_of(COHORT_SECRET_NOISE, 0);
    for (size_t i = 0; i < 4096; i++)
        sum[i] = 1e-12f * (float)i;
    cohort_noise_add(sum, &all, secret, 0, 1, 1);
    const double grid = 0x1p-34;
    for (size_t i = 0; i < 4096; i++)
        assert_true(fmod((double)sum[i], grid) == 0);
    cohort_secret_destroy(secret);
    cohort_free(sum);
}

/* One number's noise has the deviation asked for, a mean of nothing, and hides no half. */
static void test_noise_on_one(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    double sum = 0, squares = 0;
    cohort_secret *secret = secret_of(COHORT_SECRET_NOISE, 21);
    for (uint64_t step = 0; step < DRAWS; step++) {
        const double noise = cohort_noise_add_one(17.5, secret, step, 64, 3) - 17.5;
        sum += noise;
        squares += noise * noise;
        assert_true(noise * 0x1p40 == rint(noise * 0x1p40)); /* on the grid */
    }
    const double variance = squares / DRAWS;
    assert_true(fabs(sum / DRAWS) < 5 * 3 / sqrt(DRAWS));
    assert_true(fabs(variance / 9 - 1) < 5 * sqrt(2.0 / DRAWS));
    assert_true(cohort_noise_add_one(1, secret, 3, 0, 2) ==
                cohort_noise_add_one(1, secret, 3, 0, 2));
    assert_true(cohort_noise_add_one(1, secret, 3, 0, 2) !=
                cohort_noise_add_one(1, secret, 3, 8, 2));
    cohort_secret_destroy(secret);
}

/* What one unit changes, in units of the noise on both, is 1 / noise_multiplier together. */
static void test_clip_splits_the_noise(void **state)
{
    (void)state;
    for (double z = 0.3; z < 5; z *= 1.7)
        for (double count = 0.51 * z; count < 100; count *= 2.3) {
            const double vector = cohort_quantile_vector_noise(z, count);
            assert_true(vector > z);
            assert_true(fabs((1 / (vector * vector) + 0.25 / (count * count)) * z * z - 1) < 1e-12);
        }
    /* Andrew et al., section 3.1: with a twentieth of many clients the cost is next to nothing. */
    assert_true(cohort_quantile_count_noise(100, 1) == 5);
    assert_true(cohort_quantile_vector_noise(1, 5) < 1.0051);
    assert_true(cohort_quantile_count_noise(4, 1) == 1);
    assert_true(isinf(cohort_quantile_vector_noise(2, 1)));
    assert_true(isinf(cohort_quantile_vector_noise(2, 0.5)));
}

/* Norms e^N(0, 1): the clip goes to their quantile from far above and far below, with noise. */
static void test_clip_finds_the_quantile(void **state)
{
    (void)state;
    enum { UNITS = 200, ROUNDS = 400, LAST = 200 };
    const double quantiles[] = {0.5, 0.8413447460685429}; /* at 1 and e */
    cohort_secret *secret = secret_of(COHORT_SECRET_NOISE, 31),
                  *norms = secret_of(COHORT_SECRET_NOISE, 32);
    for (int from = -2; from <= 2; from += 4)
        for (size_t k = 0; k < 2; k++) {
            double clip = pow(10, from), mean = 0;
            for (uint64_t round = 0; round < ROUNDS; round++) {
                double halves = 0;
                for (uint64_t i = 0; i < UNITS; i++) {
                    const double norm = exp(cohort_noise_add_one(0, norms, round, 8 * i, 1));
                    halves += norm <= clip ? 0.5 : -0.5;
                }
                const double share = cohort_quantile_share(halves, 10, UNITS, secret, round, 8);
                clip = cohort_quantile_next(clip, share, quantiles[k], 0.2, 1e-3, 1e3);
                mean += round >= ROUNDS - LAST ? log(clip) / LAST : 0;
            }
            assert_true(fabs(mean - (double)k) < 0.1);
        }
    assert_true(cohort_quantile_next(1, 5, 0.5, 0.2, 0.9, 2) == 0.9);
    assert_true(cohort_quantile_next(1, -5, 0.5, 0.2, 0.9, 2) == 2);
    cohort_secret_destroy(secret);
    cohort_secret_destroy(norms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_poisson),
        cmocka_unit_test(test_poisson_ends),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_noise_is_added),
        cmocka_unit_test(test_noise_hides_low_bits),
        cmocka_unit_test(test_noise_on_one),
        cmocka_unit_test(test_clip_splits_the_noise),
        cmocka_unit_test(test_clip_finds_the_quantile),
    };
    if (cohort_comm_open(&comm, NULL) != COHORT_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cohort_comm_close(comm);
    return failed;
}
