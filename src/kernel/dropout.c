#include "kernel/dropout.h"

#include "kernel/clones.h"

enum { BLOCKS = 64, NUMBERS = 4 * BLOCKS };

/* Philox4x32-10 on BLOCKS consecutive counters, one in each vector lane; the rounds are
 * cohort_philox's. */
COHORT_CLONES static void draw_numbers(uint32_t numbers[NUMBERS], const cohort_rng *stream,
                                       uint32_t first)
{
    const uint32_t layer = stream->counter[1];
    const uint32_t low = stream->counter[2], high = stream->counter[3];
    const uint32_t key0 = stream->key[0], key1 = stream->key[1];
#pragma omp simd
    for (uint32_t b = 0; b < BLOCKS; b++) {
        uint32_t c0 = first + b, c1 = layer, c2 = low, c3 = high;
        uint32_t k0 = key0, k1 = key1;
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            uint64_t p0 = (uint64_t)0xd2511f53u * c0, p1 = (uint64_t)0xcd9e8d57u * c2;
            c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
            c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
            c1 = (uint32_t)p1;
            c3 = (uint32_t)p0;
            k0 += 0x9e3779b9u;
            k1 += 0xbb67ae85u;
        }
        numbers[4 * b] = c0;
        numbers[4 * b + 1] = c1;
        numbers[4 * b + 2] = c2;
        numbers[4 * b + 3] = c3;
    }
}

COHORT_CLONES static void compare(uint8_t *keep, const uint32_t *numbers, uint32_t threshold,
                                  size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        keep[i] = numbers[i] >= threshold;
}

void cohort_dropout_draw(uint8_t *keep, const cohort_rng *stream, double rate, size_t count)
{
    const uint32_t threshold = (uint32_t)(rate * 4294967295.0);
    uint32_t numbers[NUMBERS];
    for (size_t begin = 0; begin < count; begin += NUMBERS) {
        draw_numbers(numbers, stream, stream->counter[0] + (uint32_t)(begin / 4));
        compare(keep + begin, numbers, threshold,
                count - begin < NUMBERS ? count - begin : NUMBERS);
    }
}

COHORT_CLONES void cohort_dropout_apply(real *y, const real *x, const uint8_t *keep, real factor,
                                        size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const real kept = x[i] * factor; /* in any case: a selection then, and not a branch */
        y[i] = keep[i] ? kept : 0;
    }
}
