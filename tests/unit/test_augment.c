#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "data/augment.h"

enum { H = 5, W = 7, C = 2 };

static const cohort_shape shape = {3, {H, W, C}};

static cohort_augmenter *make(const char *name, void *config, cohort_element element)
{
    cohort_key_table table = {.name = name};
    cohort_variant item = {&table, config, 0};
    cohort_variants variants = {&item, 1};
    cohort_augmenter *augmenter = NULL;
    assert_ok(cohort_augmenter_create(&augmenter, &variants, &shape, element));
    return augmenter;
}

static uint8_t value_at(const uint8_t *image, int y, int x, int c)
{
    return y < 0 || y >= H || x < 0 || x >= W ? 0 : image[(y * W + x) * C + c];
}

/* Every result is the image moved by some (dy, dx), mirrored or not; all of them come. */
static void moves_are_exact(void **state)
{
    (void)state;
    uint8_t image[H * W * C];
    for (int i = 0; i < H * W * C; i++)
        image[i] = (uint8_t)(i + 1);
    for (int kind = 0; kind < 4; kind++) {
        cohort_random_crop crop = {2};
        cohort_flip flip = {kind - 1};
        cohort_augmenter *augmenter =
            kind ? make("flip", &flip, COHORT_U8) : make("random_crop", &crop, COHORT_U8);
        bool seen[5][5][2][2] = {0};
        int distinct = 0;
        for (uint64_t row = 0; row < 600; row++) {
            const void *out = NULL;
            cohort_element element = COHORT_F32;
            cohort_augmenter_apply(&out, &element, augmenter, image, 3, 1, row);
            assert_int_equal(element, COHORT_U8);
            int matches = 0;
            for (int m = 0; m < 100; m++) {
                const int dy = m / 20 - 2, dx = m / 4 % 5 - 2, fy = m / 2 % 2, fx = m % 2;
                bool same = true;
                for (int i = 0; i < H * W * C && same; i++) {
                    const int y = i / C / W, x = i / C % W;
                    same = ((const uint8_t *)out)[i] == value_at(image, (fy ? H - 1 - y : y) + dy,
                                                                 (fx ? W - 1 - x : x) + dx, i % C);
                }
                if (same) {
                    matches++;
                    distinct += !seen[dy + 2][dx + 2][fy][fx];
                    seen[dy + 2][dx + 2][fy][fx] = true;
                }
            }
            assert_int_equal(matches, 1);
        }
        assert_int_equal(distinct, kind == 0 ? 25 : kind == 3 ? 4 : 2);
        assert_true(kind != 1 || seen[2][2][0][1]); /* horizontal: left and right change */
        assert_true(kind != 2 || seen[2][2][1][0]);
        cohort_augmenter_destroy(augmenter);
    }
}

/* Moves far outside leave nothing of the image, and read nothing outside it. */
static void far_moves_are_zero(void **state)
{
    (void)state;
    uint8_t image[H * W * C];
    memset(image, 9, sizeof image);
    cohort_random_crop crop = {1000};
    cohort_augmenter *augmenter = make("random_crop", &crop, COHORT_U8);
    for (uint64_t row = 0; row < 200; row++) {
        const void *out = NULL;
        cohort_element element;
        cohort_augmenter_apply(&out, &element, augmenter, image, 3, 1, row);
        for (int i = 0; i < H * W * C; i++)
            assert_true(((const uint8_t *)out)[i] == 0 || ((const uint8_t *)out)[i] == 9);
    }
    cohort_augmenter_destroy(augmenter);
}

/* A linear ramp stays one inside the image: rotation and zoom about the centre map it to
 * another ramp with the same middle, of slope turned and divided. */
static void ramps_stay_ramps(void **state)
{
    (void)state;
    enum { SIDE = 41 };
    static float image[SIDE * SIDE];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            image[y * SIDE + x] = 100 + 2.0f * (float)(x - 20) + 1.0f * (float)(y - 20);
    const cohort_shape square = {3, {SIDE, SIDE, 1}};
    cohort_rotate rotate = {30};
    cohort_zoom zoom = {0.25};
    for (int kind = 0; kind < 2; kind++) {
        cohort_key_table table = {.name = kind ? "zoom" : "rotate"};
        cohort_variant item = {&table, kind ? (void *)&zoom : (void *)&rotate, 0};
        cohort_variants variants = {&item, 1};
        cohort_augmenter *augmenter = NULL;
        assert_ok(cohort_augmenter_create(&augmenter, &variants, &square, COHORT_F32));
        double least = 1e9, most = -1e9;
        for (uint64_t row = 0; row < 100; row++) {
            const void *out = NULL;
            cohort_element element;
            cohort_augmenter_apply(&out, &element, augmenter, image, 3, 1, row);
            const float *v = out;
            const double gx = (v[20 * SIDE + 25] - v[20 * SIDE + 15]) / 10.0,
                         gy = (v[25 * SIDE + 20] - v[15 * SIDE + 20]) / 10.0,
                         slope = sqrt(gx * gx + gy * gy) / sqrt(5),
                         turn = atan2(gy, gx) - atan2(1, 2);
            assert_true(fabs(v[20 * SIDE + 20] - 100) < 1e-3);
            assert_true(fabs(v[23 * SIDE + 17] - (100 + 3 * gy - 3 * gx)) < 1e-2);
            const double amount = kind ? 1 / slope - 1 : turn * 180 / 3.14159265358979;
            assert_true(fabs(kind ? turn : slope - 1) < 1e-3);
            least = fmin(least, amount);
            most = fmax(most, amount);
        }
        const double range = kind ? 0.25 : 30;
        assert_true(least >= -range * 1.001 && least < -range * 0.8);
        assert_true(most <= range * 1.001 && most > range * 0.8);
        cohort_augmenter_destroy(augmenter);
    }
}

/* Keyed by seed, epoch and row, not by history; steps draw independently. */
static void keyed_by_sample(void **state)
{
    (void)state;
    uint8_t image[H * W * C], kept[H * W * C];
    for (int i = 0; i < H * W * C; i++)
        image[i] = (uint8_t)(i * 37);
    cohort_random_crop crop = {4};
    cohort_augmenter *augmenter = make("random_crop", &crop, COHORT_U8);
    int same = 0;
    for (uint64_t row = 0; row < 50; row++) {
        const void *out = NULL;
        cohort_element element;
        cohort_augmenter_apply(&out, &element, augmenter, image, 3, 1, row);
        memcpy(kept, out, sizeof kept);
        cohort_augmenter_apply(&out, &element, augmenter, image, 3, 2, row);
        same += memcmp(kept, out, sizeof kept) == 0;
        cohort_augmenter_apply(&out, &element, augmenter, image, 3, 1, row);
        assert_memory_equal(kept, out, sizeof kept);
    }
    assert_true(same < 10);
    cohort_augmenter_destroy(augmenter);
}

static void refused(void **state)
{
    (void)state;
    cohort_augmenter *augmenter = NULL;
    cohort_zoom zoom = {1};
    cohort_key_table table = {.name = "zoom"};
    cohort_variant item = {&table, &zoom, 0};
    cohort_variants variants = {&item, 1};
    const cohort_shape flat = {1, {784}};
    assert_fails(cohort_augmenter_create(&augmenter, &variants, &flat, COHORT_U8), COHORT_USAGE,
                 "needs images");
    assert_fails(cohort_augmenter_create(&augmenter, &variants, &shape, COHORT_U8), COHORT_USAGE,
                 "zoom range 1");
    table.name = "blur";
    assert_fails(cohort_augmenter_create(&augmenter, &variants, &shape, COHORT_U8), COHORT_USAGE,
                 "unknown blur");
    variants.count = 0;
    assert_ok(cohort_augmenter_create(&augmenter, &variants, &flat, COHORT_U8));
    assert_null(augmenter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_are_exact),  cmocka_unit_test(far_moves_are_zero),
        cmocka_unit_test(ramps_stay_ramps), cmocka_unit_test(keyed_by_sample),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
