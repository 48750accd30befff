/* The latest blocks (runs of whole HDF5 chunks) of a column that is streamed. */
#ifndef COHORT_DATA_BLOCK_CACHE_H
#define COHORT_DATA_BLOCK_CACHE_H

#include "data/column.h"

typedef struct cohort_block_cache {
    cohort_column *column; /* borrowed */
    size_t slot_count, block_count, block_bytes;
    unsigned char *memory;   /* [slot_count][block_bytes] */
    uint64_t *stamp;         /* [slot_count] when last used */
    size_t *block_of_slot;   /* [slot_count]; SIZE_MAX = empty */
    uint32_t *slot_of_block; /* [block_count] slot + 1; 0 = not here */
    uint32_t *checksums;     /* [block_count] of what was read of it first; 0 = not yet */
    uint64_t clock;
    uint64_t reads; /* blocks read so far */
} cohort_block_cache;

COHORT_NODISCARD cohort_status cohort_block_cache_init(cohort_block_cache *cache,
                                                       cohort_column *column, size_t slot_count);
void cohort_block_cache_clear(cohort_block_cache *cache);
/* The checksum of BLOCK, which holds BYTES. (Should it be 0, the block goes unchecked.) */
uint32_t cohort_block_cache_checksum(const cohort_block_cache *cache, size_t block,
                                     const void *bytes);
/* *bytes = row ROW, read if need be (the least recently used block gives way); valid
 * until the next call. COHORT_DATA: as cohort_column_read; the block is not what it was when it was
 * read first. */
COHORT_NODISCARD cohort_status cohort_block_cache_row(const void **bytes, cohort_block_cache *cache,
                                                      uint64_t row);

#endif
