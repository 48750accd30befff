#include "base/hash.h"

#include <string.h>

#define P1 0x9e3779b185ebca87u
#define P2 0xc2b2ae3d27d4eb4fu
#define P3 0x165667b19e3779f9u
#define P4 0x85ebca77c2b2ae63u
#define P5 0x27d4eb2f165667c5u

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

/* Little-endian loads, as the specification asks. */
static uint64_t load64(const unsigned char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static uint32_t load32(const unsigned char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static uint64_t round64(uint64_t lane, uint64_t input)
{
    return rotate(lane + input * P2, 31) * P1;
}

uint64_t cohort_hash(const void *bytes, size_t count, uint64_t seed)
{
    const unsigned char *at = bytes, *const end = at + count;
    uint64_t hash = seed + P5;
    if (count >= 32) {
        uint64_t lane[4] = {seed + P1 + P2, seed + P2, seed, seed - P1};
        for (; end - at >= 32; at += 32)
            for (int i = 0; i < 4; i++)
                lane[i] = round64(lane[i], load64(at + 8 * i));
        hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
        for (int i = 0; i < 4; i++)
            hash = (hash ^ round64(0, lane[i])) * P1 + P4;
    }
    hash += count;
    for (; end - at >= 8; at += 8)
        hash = rotate(hash ^ round64(0, load64(at)), 27) * P1 + P4;
    if (end - at >= 4) {
        hash = rotate(hash ^ load32(at) * P1, 23) * P2 + P3;
        at += 4;
    }
    for (; at < end; at++)
        hash = rotate(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ (hash >> 33)) * P2;
    hash = (hash ^ (hash >> 29)) * P3;
    return hash ^ (hash >> 32);
}
