/* A fast 64-bit hash for checksums and for comparing ranks; not cryptographic. */
#ifndef COHORT_BASE_HASH_H
#define COHORT_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 (Yann Collet's specification) of COUNT bytes, continued from SEED. */
uint64_t cohort_hash(const void *bytes, size_t count, uint64_t seed);

#endif
