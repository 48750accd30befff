/* Sums in fixed point, robust means, the server's step, compression: against values worked out
 * by hand. */
#include "tests/cmocka_all.h"

#include <math.h>

#include "base/rng.h"
#include "federated/client.h"
#include "federated/compress.h"
#include "federated/fixed.h"
#include "federated/robust.h"
#include "federated/strategy.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* --- Fixed point --- */

static void sums_are_weighted_means(void **state)
{
    (void)state;
    const real a[] = {1, -2, 0.5f, 0}, b[] = {3, 2, -0.25f, 0};
    uint64_t sum[4] = {0};
    real mean[4];
    cohort_fixed fixed;
    assert_ok(cohort_fixed_make(&fixed, 1024, 40));
    cohort_fixed_add(sum, &fixed, a, 4, 30);
    cohort_fixed_add(sum, &fixed, b, 4, 10);
    cohort_fixed_mean(mean, &fixed, sum, 4, 40);
    const real expected[] = {1.5f, -1, 0.3125f, 0};
    assert_memory_equal(mean, expected, sizeof mean);
}

static void sums_do_not_depend_on_the_order(void **state)
{
    (void)state;
    enum { CLIENTS = 50, LENGTH = 33 };
    static real updates[CLIENTS][LENGTH];
    uint64_t forward[LENGTH] = {0}, backward[LENGTH] = {0};
    cohort_rng rng = cohort_rng_make(1, COHORT_RNG_TEST, 0, 0, 0);
    cohort_fixed fixed;
    for (size_t k = 0; k < CLIENTS; k++)
        for (size_t i = 0; i < LENGTH; i++)
            updates[k][i] = (real)(cohort_rng_normal(&rng) * pow(10, -(double)(i % 9)));
    assert_ok(cohort_fixed_make(&fixed, 1024, CLIENTS * 600));
    for (size_t k = 0; k < CLIENTS; k++) {
        cohort_fixed_add(forward, &fixed, updates[k], LENGTH, 500 + k);
        cohort_fixed_add(backward, &fixed, updates[CLIENTS - 1 - k], LENGTH, 500 + CLIENTS - 1 - k);
    }
    assert_memory_equal(forward, backward, sizeof forward);
}

/* The worst case the exponent is chosen for: all weight at the limit. */
static void sums_cannot_overflow(void **state)
{
    (void)state;
    static const uint64_t totals[] = {1, 3, 60000, (uint64_t)1 << 32, ((uint64_t)1 << 38) - 1};
    static const double limits[] = {1e-3, 1, 3, 1024, 1e9};
    for (size_t t = 0; t < COUNT(totals); t++)
        for (size_t l = 0; l < COUNT(limits); l++) {
            uint64_t sum[2] = {0};
            cohort_fixed fixed;
            real mean[2];
            const real update[2] = {(real)limits[l], -(real)limits[l]};
            assert_ok(cohort_fixed_make(&fixed, limits[l], totals[t]));
            cohort_fixed_add(sum, &fixed, update, 2, totals[t]);
            cohort_fixed_mean(mean, &fixed, sum, 2, totals[t]);
            assert_true(fabs((double)mean[0] - limits[l]) <= 1e-6 * limits[l]);
            assert_true(mean[1] == -mean[0]);
            assert_true(limits[l] * fixed.scale * (double)totals[t] <= 0x1p62);
        }
    cohort_fixed fixed;
    assert_fails(cohort_fixed_make(&fixed, 1024, (uint64_t)1 << 40), COHORT_USAGE, "uniform");
}

static void unfit_updates_are_found(void **state)
{
    (void)state;
    cohort_fixed fixed;
    assert_ok(cohort_fixed_make(&fixed, 8, 100));
    real update[] = {1, -8, 0};
    assert_int_equal(cohort_fixed_check(&fixed, update, 3), COHORT_UPDATE_FINE);
    update[2] = 8.001f;
    assert_int_equal(cohort_fixed_check(&fixed, update, 3), COHORT_UPDATE_TOO_LARGE);
    update[0] = NAN;
    assert_int_equal(cohort_fixed_check(&fixed, update, 3), COHORT_UPDATE_NOT_FINITE);
    update[0] = -INFINITY;
    assert_int_equal(cohort_fixed_check(&fixed, update, 3), COHORT_UPDATE_NOT_FINITE);
}

/* --- Robust means --- */

static const real one[] = {1, 5, -1}, two[] = {2, 5, 0}, three[] = {9, 5, 4}, four[] = {3, 6, 1},
                  five[] = {-100, 5, 1000};
static const real *const five_updates[] = {one, two, three, four, five};

static void medians_are_of_coordinates(void **state)
{
    (void)state;
    real out[3] = {0}, column[5];
    cohort_robust_median(out, five_updates, 5, 0, 3, column);
    assert_true(out[0] == 2 && out[1] == 5 && out[2] == 1);
    cohort_robust_median(out, five_updates, 4, 1, 3, column); /* -1 0 1 4; 5 5 5 6 */
    assert_true(out[0] == 2 && out[1] == 5 && out[2] == 0.5f);
}

static void trimmed_means_leave_out_the_ends(void **state)
{
    (void)state;
    real out[3] = {0}, column[5];
    cohort_robust_trimmed_mean(out, five_updates, 5, 0.2, 0, 3, column);
    assert_true(out[0] == 2 && out[1] == 5 && fabs((double)out[2] - 5.0 / 3) < 1e-6);
    cohort_robust_trimmed_mean(out, five_updates, 5, 0.1, 0, 1, column); /* nothing is cut */
    assert_true(out[0] == -17);
}

/* More columns than are sorted in place: the same answer. */
static void medians_of_many(void **state)
{
    (void)state;
    enum { MANY = 101 };
    real values[MANY][1], column[MANY], out[1];
    const real *updates[MANY];
    for (size_t k = 0; k < MANY; k++) {
        values[k][0] = (real)((k * 37) % MANY);
        updates[k] = values[k];
    }
    cohort_robust_median(out, updates, MANY, 0, 1, column);
    assert_true(out[0] == 50);
    cohort_robust_trimmed_mean(out, updates, MANY, 0.4, 0, 1, column);
    assert_true(out[0] == 50);
}

/* With f = 1 of 5 the score is the sum of the two nearest squared distances: of the points 0,
 * 1, 2, 4 and 50 on a line 5, 2, 5, 13, 4420. */
static void krum_takes_the_nearest(void **state)
{
    (void)state;
    const real points[5][1] = {{0}, {1}, {2}, {4}, {50}};
    const real *updates[5];
    double distances[25] = {0};
    size_t chosen[3];
    for (size_t k = 0; k < 5; k++)
        updates[k] = points[k];
    cohort_robust_distances(distances, updates, 5, 0, 1);
    assert_true(distances[1] == 1 && distances[3 * 5 + 4] == 46 * 46);
    assert_ok(cohort_robust_krum(chosen, distances, 1, 5, 1, 2));
    assert_int_equal(chosen[0], 1);
    assert_int_equal(chosen[1], 0); /* 5 as the third, which comes later */
    assert_fails(cohort_robust_krum(chosen, distances, 1, 4, 1, 1), COHORT_USAGE, "5 updates");
    assert_fails(cohort_robust_krum(chosen, distances, 1, 5, 1, 3), COHORT_USAGE, "6 updates");
}

/* --- The server --- */

/* Two steps of one weight that starts at 1 by updates 0.5 and -0.25. */
static void check_server(cohort_server_rule rule, const cohort_strategy_recipe *numbers, double lr,
                         double first, double second)
{
    cohort_server server;
    real weight = 1;
    assert_ok(cohort_server_init(&server, rule, numbers, 1));
    cohort_server_step(&server, &weight, &(real){0.5f}, lr);
    assert_true(fabs((double)weight - first) < 1e-6);
    cohort_server_step(&server, &weight, &(real){-0.25f}, lr);
    assert_true(fabs((double)weight - second) < 1e-6);
    cohort_server_clear(&server);
}

static void servers_follow_their_formulas(void **state)
{
    (void)state;
    const cohort_strategy_recipe numbers = {
        .momentum = 0.5, .beta1 = 0.5, .beta2 = 0.75, .tau = 0.1};
    check_server(COHORT_SERVER_PLAIN, &numbers, 2, 2, 1.5);
    /* m = 0.5, then 0.25 - 0.25 = 0 */
    check_server(COHORT_SERVER_MOMENTUM, &numbers, 1, 1.5, 1.5);
    /* m = 0.25, then 0.125 - 0.125 = 0, whatever v is */
    const double adam = 1 + 0.25 / (sqrt(0.75 * 0.01 + 0.25 * 0.25) + 0.1);
    check_server(COHORT_SERVER_ADAM, &numbers, 1, adam, adam);
    /* v < d^2: v - 0.25 * 0.25 * (-1) */
    const double yogi = 1 + 0.25 / (sqrt(0.01 + 0.25 * 0.25) + 0.1);
    check_server(COHORT_SERVER_YOGI, &numbers, 1, yogi, yogi);
    const double adagrad = 1 + 0.25 / (sqrt(0.01 + 0.25) + 0.1);
    check_server(COHORT_SERVER_ADAGRAD, &numbers, 1, adagrad, adagrad);
    const cohort_strategy_recipe plain = {.beta1 = 0, .beta2 = 0.75, .tau = 0.1};
    const double v = 0.75 * 0.01 + 0.25 * 0.25, w = 1 + 0.5 / (sqrt(v) + 0.1);
    check_server(COHORT_SERVER_ADAM, &plain, 1, w,
                 w - 0.25 / (sqrt(0.75 * v + 0.25 * 0.0625) + 0.1));
    const double y = 0.01 + 0.25 * 0.25, x = 1 + 0.5 / (sqrt(y) + 0.1); /* y > 0.0625 next */
    check_server(COHORT_SERVER_YOGI, &plain, 1, x, x - 0.25 / (sqrt(y - 0.25 * 0.0625) + 0.1));
}

/* --- Compression --- */

static const cohort_key_table quantize_name = {.name = "quantize"}, top_k_name = {.name = "top_k"};

static void quantized_updates_are_right_on_average(void **state)
{
    (void)state;
    enum { LENGTH = 300, TIMES = 2000 };
    real update[LENGTH], back[LENGTH];
    double sum[LENGTH] = {0};
    cohort_compression_recipe how = {.bits = 3};
    const cohort_variant recipe = {.table = &quantize_name, .config = &how};
    const cohort_compression compression = cohort_compression_make(&recipe, LENGTH);
    unsigned char bytes[300];
    assert_int_equal(cohort_compression_bytes(&compression), 4 + 96 + 4 + 17);
    for (size_t i = 0; i < LENGTH; i++)
        update[i] = (real)sin((double)i);
    for (size_t t = 0; t < TIMES; t++) {
        assert_ok(cohort_compress(bytes, &compression, update, NULL, 7, 3, t));
        assert_ok(cohort_decompress(back, &compression, bytes));
        for (size_t i = 0; i < LENGTH; i++) {
            assert_true(fabs((double)(back[i] - update[i])) <= 1.0 / 3 + 1e-6);
            sum[i] += (double)back[i];
        }
    }
    for (size_t i = 0; i < LENGTH; i++) /* five standard errors of a coin over a third */
        assert_true(fabs(sum[i] / TIMES - (double)update[i]) < 5 * (1.0 / 6) / sqrt(TIMES));
}

static void zeros_quantize_to_zeros(void **state)
{
    (void)state;
    real update[5] = {0}, back[5] = {1, 1, 1, 1, 1};
    cohort_compression_recipe how = {.bits = 8};
    const cohort_variant recipe = {.table = &quantize_name, .config = &how};
    const cohort_compression compression = cohort_compression_make(&recipe, 5);
    unsigned char bytes[16];
    assert_ok(cohort_compress(bytes, &compression, update, NULL, 1, 1, 1));
    assert_ok(cohort_decompress(back, &compression, bytes));
    assert_memory_equal(update, back, sizeof back);
}

static void top_k_keeps_what_it_does_not_send(void **state)
{
    (void)state;
    const real update[] = {1, -4, 2, 0.5f, 3, 0, -3, 0.25f};
    real residual[8] = {0}, back[8];
    cohort_compression_recipe how = {.fraction = 0.25};
    const cohort_variant recipe = {.table = &top_k_name, .config = &how};
    const cohort_compression compression = cohort_compression_make(&recipe, 8);
    unsigned char bytes[16];
    assert_int_equal(cohort_compression_bytes(&compression), sizeof bytes);
    assert_ok(cohort_compress(bytes, &compression, update, residual, 1, 1, 1));
    assert_ok(cohort_decompress(back, &compression, bytes));
    const real sent[] = {0, -4, 0, 0, 3, 0, 0, 0}, kept[] = {1, 0, 2, 0.5f, 0, 0, -3, 0.25f};
    assert_memory_equal(back, sent, sizeof sent); /* of two threes the first */
    assert_memory_equal(residual, kept, sizeof kept);
    /* The next time the rest comes along. */
    assert_ok(cohort_compress(bytes, &compression, update, residual, 1, 1, 2));
    assert_ok(cohort_decompress(back, &compression, bytes));
    const real next[] = {0, -4, 0, 0, 0, 0, -6, 0}; /* 2 + 2 ties with -4, which is first */
    assert_memory_equal(back, next, sizeof next);
}

static void damaged_pairs_are_refused(void **state)
{
    (void)state;
    real back[8];
    cohort_compression_recipe how = {.fraction = 0.25};
    const cohort_variant recipe = {.table = &top_k_name, .config = &how};
    const cohort_compression compression = cohort_compression_make(&recipe, 8);
    uint32_t bytes[4] = {3, 0, 8, 0};
    assert_fails(cohort_decompress(back, &compression, (unsigned char *)bytes), COHORT_DATA,
                 "index 8 of 8");
    bytes[2] = 3;
    assert_fails(cohort_decompress(back, &compression, (unsigned char *)bytes), COHORT_DATA,
                 "out of order");
    bytes[2] = 7;
    assert_ok(cohort_decompress(back, &compression, (unsigned char *)bytes));
}

/* --- Clipping --- */

static double norm_of(const real *x, size_t count)
{
    double squares = 0;
    for (size_t i = 0; i < count; i++)
        squares += (double)x[i] * (double)x[i];
    return sqrt(squares);
}

/* What a coordinator does to each update before it adds it: with what rounding in fixed point may
 * add, the norm is at most the clip. */
static void updates_are_clipped_whatever_a_client_says(void **state)
{
    (void)state;
    enum { PARAMS = 1000 };
    const double clip = 0.5;
    const cohort_exchange exchange = {.params = PARAMS, .count = PARAMS};
    static real update[PARAMS], before[PARAMS], after[PARAMS];
    cohort_fixed fixed;
    assert_ok(cohort_fixed_make(&fixed, 1024, 3));
    for (double size = 1e-6; size < 1000; size *= 10) {
        uint64_t sum[PARAMS] = {0};
        for (size_t i = 0; i < PARAMS; i++)
            update[i] = before[i] = (real)(size * ((double)(i % 7) - 3));
        cohort_client_clip(update, &exchange, &fixed, clip);
        memcpy(after, update, sizeof after);
        cohort_client_clip(update, &exchange, &fixed, clip);
        assert_memory_equal(update, after, sizeof after); /* as after a client that has clipped */
        cohort_fixed_add(sum, &fixed, update, PARAMS, 1);
        cohort_fixed_mean(after, &fixed, sum, PARAMS, 1);
        assert_true(norm_of(after, PARAMS) <= clip);
        if (norm_of(before, PARAMS) < 0.99 * clip)
            assert_memory_equal(update, before, sizeof before);
        else
            assert_true(norm_of(after, PARAMS) > 0.99 * clip);
    }
    update[3] = NAN;
    cohort_client_clip(update, &exchange, &fixed, clip);
    assert_true(norm_of(update, PARAMS) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_weighted_means),
        cmocka_unit_test(sums_do_not_depend_on_the_order),
        cmocka_unit_test(sums_cannot_overflow),
        cmocka_unit_test(unfit_updates_are_found),
        cmocka_unit_test(medians_are_of_coordinates),
        cmocka_unit_test(trimmed_means_leave_out_the_ends),
        cmocka_unit_test(medians_of_many),
        cmocka_unit_test(krum_takes_the_nearest),
        cmocka_unit_test(servers_follow_their_formulas),
        cmocka_unit_test(quantized_updates_are_right_on_average),
        cmocka_unit_test(zeros_quantize_to_zeros),
        cmocka_unit_test(top_k_keeps_what_it_does_not_send),
        cmocka_unit_test(damaged_pairs_are_refused),
        cmocka_unit_test(updates_are_clipped_whatever_a_client_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
