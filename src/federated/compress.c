#include "federated/compress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"

enum { RUN = 256, PAIR_BYTES = 8 };
_Static_assert(sizeof(float) == 4 && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "updates are sent as they lie in memory");

cohort_compression cohort_compression_make(const cohort_variant *recipe, size_t count)
{
    const cohort_compression_recipe *how = recipe->config;
    cohort_compression made = {.count = count};
    if (strcmp(recipe->table->name, "quantize") == 0) {
        made.type = COHORT_COMPRESS_QUANTIZE;
        made.bits = how->bits;
    } else if (strcmp(recipe->table->name, "top_k") == 0) {
        made.type = COHORT_COMPRESS_TOP_K;
        made.keep = (size_t)llround((double)count * how->fraction);
        made.keep = made.keep > 0 ? made.keep : count > 0;
    }
    return made;
}

bool cohort_compression_has_residual(const cohort_compression *compression)
{
    return compression->type == COHORT_COMPRESS_TOP_K;
}

static size_t run_bytes(const cohort_compression *compression, size_t count)
{
    return sizeof(float) + (count * compression->bits + 7) / 8;
}

size_t cohort_compression_bytes(const cohort_compression *compression)
{
    const size_t count = compression->count;
    switch (compression->type) {
    case COHORT_COMPRESS_NONE:
        return count * sizeof(float);
    case COHORT_COMPRESS_QUANTIZE:
        return count / RUN * run_bytes(compression, RUN) +
               (count % RUN ? run_bytes(compression, count % RUN) : 0);
    case COHORT_COMPRESS_TOP_K:
        return compression->keep * PAIR_BYTES;
    }
    return 0;
}

/* --- Few bits --- */

static void pack_run(unsigned char *bytes, const real *x, size_t count, size_t bits,
                     cohort_rng *rng)
{
    const int most = (1 << (bits - 1)) - 1;
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)x[i]));
    const float scale = (float)(largest / most);
    uint64_t held = 0;
    size_t held_bits = 0;
    memcpy(bytes, &scale, sizeof scale);
    bytes += sizeof scale;
    for (size_t i = 0; i < count; i++) {
        const double exact = scale > 0 ? (double)x[i] / (double)scale : 0;
        double level = floor(exact + (double)cohort_rng_float(rng));
        level = fmin(fmax(level, -most), most);
        held |= (uint64_t)((int)level + most) << held_bits;
        for (held_bits += bits; held_bits >= 8; held_bits -= 8, held >>= 8)
            *bytes++ = (unsigned char)held;
    }
    if (held_bits > 0)
        *bytes = (unsigned char)held;
}

static void unpack_run(real *x, const unsigned char *bytes, size_t count, size_t bits)
{
    const int most = (1 << (bits - 1)) - 1;
    float scale;
    uint64_t held = 0;
    size_t held_bits = 0;
    memcpy(&scale, bytes, sizeof scale);
    bytes += sizeof scale;
    for (size_t i = 0; i < count; i++) {
        for (; held_bits < bits; held_bits += 8)
            held |= (uint64_t)*bytes++ << held_bits;
        x[i] = (real)((int)(held & (((uint64_t)1 << bits) - 1)) - most) * (real)scale;
        held >>= bits;
        held_bits -= bits;
    }
}

static void quantize(unsigned char *bytes, const cohort_compression *compression,
                     const real *update, cohort_rng *rng)
{
    for (size_t at = 0; at < compression->count; at += RUN) {
        const size_t left = compression->count - at, count = left < RUN ? left : RUN;
        pack_run(bytes, update + at, count, compression->bits, rng);
        bytes += run_bytes(compression, count);
    }
}

static void restore(real *update, const cohort_compression *compression, const unsigned char *bytes)
{
    for (size_t at = 0; at < compression->count; at += RUN) {
        const size_t left = compression->count - at, count = left < RUN ? left : RUN;
        unpack_run(update + at, bytes, count, compression->bits);
        bytes += run_bytes(compression, count);
    }
}

/* --- The largest --- */

static void swap(real *a, real *b)
{
    const real held = *a;
    *a = *b;
    *b = held;
}

/* The KEEP-th largest of VALUES [count], which are reordered (Hoare's selection). */
static real kth_largest(real *values, size_t count, size_t keep)
{
    size_t low = 0, high = count - 1;
    const size_t wanted = keep - 1;
    while (low < high) {
        const real pivot = values[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (values[i] > pivot)
                i++;
            while (values[j] < pivot)
                j--;
            if (i >= j)
                break;
            swap(&values[i++], &values[j--]);
        }
        if (wanted <= j)
            high = j;
        else
            low = j + 1;
    }
    return values[wanted];
}

/* Sends the largest of RESIDUAL, which has the update in it, and keeps the rest there. Equal
 * magnitudes: the first come first. */
static cohort_status send_largest(unsigned char *bytes, const cohort_compression *compression,
                                  real *residual)
{
    const size_t count = compression->count;
    real *sizes = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&sizes, count));
    for (size_t i = 0; i < count; i++)
        sizes[i] = REAL_FN(fabs)(residual[i]);
    const real least = kth_largest(sizes, count, compression->keep);
    size_t above = 0;
    for (size_t i = 0; i < count; i++)
        above += REAL_FN(fabs)(residual[i]) > least;
    size_t equal = compression->keep - above;
    for (size_t i = 0; i < count; i++) {
        const real size = REAL_FN(fabs)(residual[i]);
        const bool is_sent = size > least || (size == least && equal > 0);
        if (!is_sent)
            continue;
        equal -= size == least;
        const uint32_t index = (uint32_t)i;
        const float value = (float)residual[i];
        memcpy(bytes, &index, sizeof index);
        memcpy(bytes + sizeof index, &value, sizeof value);
        bytes += PAIR_BYTES;
        residual[i] = 0;
    }
    cohort_free(sizes);
    return COHORT_OK;
}

static cohort_status take_pairs(real *update, const cohort_compression *compression,
                                const unsigned char *bytes)
{
    int64_t last = -1;
    memset(update, 0, compression->count * sizeof *update);
    for (size_t i = 0; i < compression->keep; i++, bytes += PAIR_BYTES) {
        uint32_t index;
        float value;
        memcpy(&index, bytes, sizeof index);
        memcpy(&value, bytes + sizeof index, sizeof value);
        COHORT_REQUIRE(index < compression->count && (int64_t)index > last, COHORT_DATA,
                       "a compressed update has the index %u of %zu out of order", index,
                       compression->count);
        last = index;
        update[index] = (real)value;
    }
    return COHORT_OK;
}

cohort_status cohort_compress(unsigned char *bytes, const cohort_compression *compression,
                              const real *update, real *residual, uint64_t seed, uint64_t client,
                              uint64_t round)
{
    cohort_rng rng;
    switch (compression->type) {
    case COHORT_COMPRESS_NONE:
        memcpy(bytes, update, compression->count * sizeof *update);
        break;
    case COHORT_COMPRESS_QUANTIZE:
        rng = cohort_rng_make(seed, COHORT_RNG_COMPRESS, 0, round, client);
        quantize(bytes, compression, update, &rng);
        break;
    case COHORT_COMPRESS_TOP_K:
        for (size_t i = 0; i < compression->count; i++)
            residual[i] += update[i];
        return send_largest(bytes, compression, residual);
    }
    return COHORT_OK;
}

cohort_status cohort_decompress(real *update, const cohort_compression *compression,
                                const unsigned char *bytes)
{
    switch (compression->type) {
    case COHORT_COMPRESS_NONE:
        memcpy(update, bytes, compression->count * sizeof *update);
        break;
    case COHORT_COMPRESS_QUANTIZE:
        restore(update, compression, bytes);
        break;
    case COHORT_COMPRESS_TOP_K:
        return take_pairs(update, compression, bytes);
    }
    return COHORT_OK;
}
