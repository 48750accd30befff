/* The seal: 16 bytes behind the HDF5 part of a checkpoint, a magic and a checksum of all bytes
 * before it, checked before HDF5 parses anything.
 *
 * Why: HDF5 keeps variable-length strings in a heap without checksums, where one damaged byte
 * can make HDF5 1.10 read for ever. HDF5 takes no notice of bytes behind its end of file, and
 * cuts them off when a program closes the file after opening it for writing: a file edited with
 * h5py has no seal and is read like one from another tool.
 *
 * Layout: "COHORT64", then little-endian the XXH64 of the bytes, continued over blocks of 1 MiB
 * (each block's seed is the hash of the one before, 0 at first; so up to 1 MiB it is plain
 * XXH64). */
#ifndef COHORT_STATE_SEAL_H
#define COHORT_STATE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { COHORT_SEAL_BYTES = 16, COHORT_SEAL_BLOCK = 1 << 20 };

/* The hash of what HASH stands for (0: nothing) and the next COHORT_SEAL_BLOCK bytes, or the last
 * fewer ones. */
uint64_t cohort_seal_continue(uint64_t hash, const void *block, size_t count);
/* The seal of bytes with this hash. */
void cohort_seal_make(unsigned char seal[COHORT_SEAL_BYTES], uint64_t hash);
/* Whether regular file PATH ends with a seal, be it right or wrong. COHORT_DATA if it cannot be
 * read. */
COHORT_NODISCARD cohort_status cohort_seal_find(bool *found, const char *path);
/* Reads regular file PATH and compares it with its seal, if it has one. COHORT_DATA if it differs
 * or cannot be read. */
COHORT_NODISCARD cohort_status cohort_seal_check(const char *path);

#endif
