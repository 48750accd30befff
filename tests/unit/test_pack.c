/* Packed floats come back with every bit, whatever they are, and take what is promised. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "comm/pack.h"

enum { MOST = 64 * 40 };

static void from_bits(float *to, uint32_t bits)
{
    memcpy(to, &bits, sizeof bits);
}

/* Packs FROM and takes it back; returns the bytes it took. */
static size_t round_trip(const float *from, size_t count)
{
    uint8_t *packed;
    float back[MOST];
    assert_in_range(count, 0, MOST);
    assert_ok(COHORT_ALLOCATE(&packed, cohort_pack_bound(count) + 1));
    packed[cohort_pack_bound(count)] = 77;
    memset(back, 1, sizeof back);
    const size_t bytes = cohort_pack(packed, from, count);
    assert_in_range(bytes, 0, cohort_pack_bound(count));
    assert_int_equal(packed[cohort_pack_bound(count)], 77);
    assert_int_equal(cohort_unpack(back, packed, count), bytes);
    assert_memory_equal(back, from, count * sizeof *from);
    cohort_free(packed);
    return bytes;
}

/* A normal distribution: gradients of a layer. */
static void fill_normal(float *to, size_t count, double scale)
{
    cohort_rng rng = cohort_rng_make(11, COHORT_RNG_TEST, 1, count, 0);
    for (size_t i = 0; i < count; i++) {
        const double u = 1 - (double)cohort_rng_float(&rng), v = (double)cohort_rng_float(&rng);
        to[i] = (float)(scale * sqrt(-2 * log(u)) * cos(2 * 3.14159265358979 * v));
    }
}

static void test_gradients(void **state)
{
    float values[MOST];
    (void)state;
    for (int exponent = -36; exponent <= 36; exponent += 4) {
        fill_normal(values, MOST, pow(10, exponent));
        const size_t bytes = round_trip(values, MOST);
        assert_in_range(bytes, 0, MOST * 3.6); /* 1 in 300 blocks has one that is too small */
    }
    for (size_t count = 0; count <= 192; count += 16)
        round_trip(values, count);
    memset(values, 0, sizeof values);
    assert_int_equal(round_trip(values, MOST), 2 * 40);
    values[70] = -0.0F;
    round_trip(values, MOST);
}

/* Zeros of both signs, subnormal numbers, the largest, infinities and NaNs with their bits, beside
 * all others; and exponents exactly as far apart as fits, and one further. */
static void test_any_bits(void **state)
{
    static const uint32_t odd[] = {0,          0x80000000, 1,          0x807fffff, 0x00800000,
                                   0x7f7fffff, 0x7f800000, 0xff800000, 0x7fc00001, 0xffbfffff};
    float values[MOST];
    (void)state;
    cohort_rng rng = cohort_rng_make(5, COHORT_RNG_TEST, 2, 0, 0);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < MOST; i++)
            from_bits(&values[i], (uint32_t)(cohort_rng_float(&rng) * 65536) << 16 |
                                      (uint32_t)(cohort_rng_float(&rng) * 65536));
        round_trip(values, MOST);
        fill_normal(values, MOST, 1e-3);
        for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
            from_bits(&values[(size_t)(cohort_rng_float(&rng) * (MOST - 1))], odd[i]);
        round_trip(values, MOST);
    }
    for (uint32_t top = 1; top < 255; top++)
        for (uint32_t apart = 13; apart <= 16 && apart < top; apart++) {
            for (size_t i = 0; i < 64; i++)
                from_bits(&values[i], top << 23 | (uint32_t)i);
            from_bits(&values[top % 64], (top - apart) << 23 | 0x7fffffU);
            const size_t bytes = round_trip(values, 64);
            assert_int_equal(bytes, apart <= 14 ? 2 + 64 * 7 / 2 : 2 + 64 * 4);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_any_bits),
    };
    return cmocka_run_group_tests_name("pack", tests, NULL, NULL);
}
