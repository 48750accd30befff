/* What clients send, in fewer bytes.
 *
 *   none      float32
 *   quantize  runs of 256 numbers: a float32 scale s (the largest magnitude / (2^(bits-1) - 1)),
 *             then each number as round(x / s) in BITS bits, up or down at random with the
 *             probability that makes its mean x (QSGD, Alistarh et al. 2017, with the largest
 *             magnitude in place of the norm)
 *   top_k     max(1, round(count x fraction)) pairs of an index (uint32) and a float32: the
 *             largest of update + residual; the rest is the client's next residual (Stich et
 *             al. 2018)
 *
 * Little-endian. The receiver believes nothing: what does not decode is refused. */
#ifndef COHORT_FEDERATED_COMPRESS_H
#define COHORT_FEDERATED_COMPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"
#include "recipe/recipe.h"

typedef enum cohort_compression_type {
    COHORT_COMPRESS_NONE,
    COHORT_COMPRESS_QUANTIZE,
    COHORT_COMPRESS_TOP_K
} cohort_compression_type;

typedef struct cohort_compression {
    cohort_compression_type type;
    size_t bits;  /* quantize */
    size_t keep;  /* top_k: pairs */
    size_t count; /* numbers of an update */
} cohort_compression;

cohort_compression cohort_compression_make(const cohort_variant *recipe, size_t count);
/* Whether a client has a residual [count] from one update to the next. */
bool cohort_compression_has_residual(const cohort_compression *compression);
/* Bytes of a compressed update: the same for each. */
size_t cohort_compression_bytes(const cohort_compression *compression);

/* BYTES = UPDATE [count], compressed with the random numbers of (SEED, CLIENT, ROUND).
 * RESIDUAL [count] is used and renewed by top_k (else NULL). COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_compress(unsigned char *bytes,
                                               const cohort_compression *compression,
                                               const real *update, real *residual, uint64_t seed,
                                               uint64_t client, uint64_t round);
/* UPDATE [count] = what BYTES say. COHORT_DATA when an index is out of range or comes twice. */
COHORT_NODISCARD cohort_status cohort_decompress(real *update,
                                                 const cohort_compression *compression,
                                                 const unsigned char *bytes);

#endif
