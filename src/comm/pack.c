#include "comm/pack.h"

#include <string.h>

#include "kernel/clones.h"

enum { BLOCK = 64, HEAD = 2 /* what follows, the largest exponent */ };
enum { ZEROS, NEAR, ANY };
enum { CODES = 15 /* of 4 bits; another is for zeros and what is smaller than any exponent */ };

size_t cohort_pack_bound(size_t count)
{
    return count * sizeof(float) + (count + BLOCK - 1) / BLOCK * HEAD;
}

/* The bits of floats turned left by one, so that the exponent is the highest byte. */
typedef struct block {
    uint32_t turned[BLOCK];
    uint32_t largest, least; /* exponents; `least` of those that are not 0 */
    uint32_t any;            /* bits that are set in any */
} block;

COHORT_CLONES static void look(block *b, const float *from, size_t count)
{
    uint32_t largest = 0, least = UINT8_MAX, any = 0;
    uint32_t bits[BLOCK];
    memcpy(bits, from, count * sizeof *bits);
#pragma omp simd reduction(max : largest) reduction(min : least) reduction(| : any)
    for (size_t i = 0; i < count; i++) {
        const uint32_t turned = bits[i] << 1 | bits[i] >> 31, exponent = turned >> 24;
        const uint32_t seen = exponent ? exponent : UINT8_MAX;
        b->turned[i] = turned;
        largest = exponent > largest ? exponent : largest;
        least = seen < least ? seen : least;
        any |= turned;
    }
    b->largest = largest;
    b->least = least;
    b->any = any;
}

/* Two bytes of each number, then the third, then its exponent as half a byte. */
COHORT_CLONES static void pack_near(uint8_t *restrict to, const block *b, size_t count)
{
    uint16_t low[BLOCK];
    const uint32_t below = b->largest - CODES; /* may wrap, and wraps back */
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        low[i] = (uint16_t)b->turned[i];
    memcpy(to, low, count * sizeof *low);
    to += count * sizeof *low;
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] = (uint8_t)(b->turned[i] >> 16);
    to += count;
#pragma omp simd
    for (size_t i = 0; i < count / 2; i++) {
        const uint32_t one = b->turned[i] >> 24, other = b->turned[i + count / 2] >> 24;
        const uint32_t first = one ? one - below : 0, second = other ? other - below : 0;
        to[i] = (uint8_t)(first | second << 4);
    }
}

COHORT_CLONES static void unpack_near(float *to, const uint8_t *restrict from, uint32_t largest,
                                      size_t count)
{
    uint16_t low[BLOCK];
    uint32_t exponents[BLOCK], bits[BLOCK];
    const uint8_t *const middle = from + count * sizeof *low, *const codes = middle + count;
    const uint32_t below = largest - CODES;
    memcpy(low, from, count * sizeof *low);
#pragma omp simd
    for (size_t i = 0; i < count / 2; i++) {
        const uint32_t first = codes[i] & CODES, second = codes[i] >> 4;
        exponents[i] = first ? first + below : 0;
        exponents[i + count / 2] = second ? second + below : 0;
    }
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const uint32_t turned = exponents[i] << 24 | (uint32_t)middle[i] << 16 | low[i];
        bits[i] = turned >> 1 | turned << 31;
    }
    memcpy(to, bits, count * sizeof *bits);
}

static size_t near_bytes(size_t count)
{
    return count * sizeof(uint16_t) + count + count / 2;
}

size_t cohort_pack(uint8_t *to, const float *from, size_t count)
{
    uint8_t *const begin = to;
    for (size_t done = 0; done < count; done += BLOCK) {
        const size_t left = count - done < BLOCK ? count - done : BLOCK;
        block b;
        look(&b, from + done, left);
        const int kind = !b.any ? ZEROS : b.largest < b.least + CODES ? NEAR : ANY;
        *to++ = (uint8_t)kind;
        *to++ = (uint8_t)b.largest;
        if (kind == NEAR) {
            pack_near(to, &b, left);
            to += near_bytes(left);
        } else if (kind == ANY) {
            memcpy(to, from + done, left * sizeof *from);
            to += left * sizeof *from;
        }
    }
    return (size_t)(to - begin);
}

size_t cohort_unpack(float *to, const uint8_t *from, size_t count)
{
    const uint8_t *const begin = from;
    for (size_t done = 0; done < count; done += BLOCK) {
        const size_t left = count - done < BLOCK ? count - done : BLOCK;
        const int kind = *from++;
        const uint32_t largest = *from++;
        if (kind == ZEROS) {
            memset(to + done, 0, left * sizeof *to);
        } else if (kind == NEAR) {
            unpack_near(to + done, from, largest, left);
            from += near_bytes(left);
        } else {
            memcpy(to + done, from, left * sizeof *to);
            from += left * sizeof *to;
        }
    }
    return (size_t)(from - begin);
}
