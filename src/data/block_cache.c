#include "data/block_cache.h"

#include <zlib.h>

#include "base/memory.h"

cohort_status cohort_block_cache_init(cohort_block_cache *cache, cohort_column *column,
                                      size_t slot_count)
{
    *cache = (cohort_block_cache){.column = column};
    cache->block_count = (column->row_count - 1) / column->block_rows + 1;
    cache->block_bytes = column->block_rows * column->row_bytes;
    cache->slot_count = slot_count < cache->block_count ? slot_count : cache->block_count;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(
        status, cohort_allocate((void **)&cache->memory, cache->slot_count, cache->block_bytes));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&cache->stamp, cache->slot_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&cache->block_of_slot, cache->slot_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&cache->slot_of_block, cache->block_count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&cache->checksums, cache->block_count));
    for (size_t s = 0; s < cache->slot_count; s++)
        cache->block_of_slot[s] = SIZE_MAX;
done:
    if (status != COHORT_OK)
        cohort_block_cache_clear(cache);
    return status;
}

void cohort_block_cache_clear(cohort_block_cache *cache)
{
    cohort_free(cache->memory);
    cohort_free(cache->stamp);
    cohort_free(cache->block_of_slot);
    cohort_free(cache->slot_of_block);
    cohort_free(cache->checksums);
    *cache = (cohort_block_cache){0};
}

static size_t least_recently_used(const cohort_block_cache *cache)
{
    size_t oldest = 0;
    for (size_t s = 1; s < cache->slot_count; s++)
        if (cache->stamp[s] < cache->stamp[oldest])
            oldest = s;
    return oldest;
}

/* Rows of BLOCK: the last has what is left. */
static size_t rows_of(const cohort_block_cache *cache, size_t block)
{
    const cohort_column *column = cache->column;
    const size_t left = column->row_count - block * column->block_rows;
    return left < column->block_rows ? left : column->block_rows;
}

uint32_t cohort_block_cache_checksum(const cohort_block_cache *cache, size_t block,
                                     const void *bytes)
{
    const size_t count = rows_of(cache, block) * cache->column->row_bytes;
    return (uint32_t)adler32_z(1, bytes, count);
}

/* A file that is written to while it is read gives rows of neither. */
static cohort_status check_block(cohort_block_cache *cache, size_t block, const void *bytes)
{
    const cohort_column *column = cache->column;
    const uint32_t checksum = cohort_block_cache_checksum(cache, block, bytes);
    const size_t begin = block * column->block_rows;
    COHORT_REQUIRE(!cache->checksums[block] || cache->checksums[block] == checksum, COHORT_DATA,
                   "%s changed while it was in use (rows %zu to %zu of %s/%s are others than when "
                   "they were first read); leave it as it is until the run ends, and write other "
                   "data to another file",
                   column->path, begin, begin + rows_of(cache, block) - 1, column->group,
                   column->name);
    cache->checksums[block] = checksum;
    return COHORT_OK;
}

static cohort_status load_block(size_t *slot, cohort_block_cache *cache, size_t block)
{
    const size_t victim = least_recently_used(cache);
    if (cache->block_of_slot[victim] != SIZE_MAX)
        cache->slot_of_block[cache->block_of_slot[victim]] = 0;
    cache->block_of_slot[victim] = SIZE_MAX;
    void *const to = cache->memory + victim * cache->block_bytes;
    cohort_hdf5_begin();
    cohort_status status = cohort_column_read(to, cache->column, block * cache->column->block_rows,
                                              rows_of(cache, block));
    cohort_hdf5_end();
    COHORT_TRY(status);
    COHORT_TRY(check_block(cache, block, to));
    cache->reads++;
    cache->block_of_slot[victim] = block;
    cache->slot_of_block[block] = (uint32_t)victim + 1;
    *slot = victim;
    return COHORT_OK;
}

cohort_status cohort_block_cache_row(const void **bytes, cohort_block_cache *cache, uint64_t row)
{
    const size_t block = (size_t)row / cache->column->block_rows;
    size_t slot = 0;
    if (cache->slot_of_block[block])
        slot = cache->slot_of_block[block] - 1;
    else
        COHORT_TRY(load_block(&slot, cache, block));
    cache->stamp[slot] = ++cache->clock;
    *bytes = cache->memory + slot * cache->block_bytes +
             ((size_t)row % cache->column->block_rows) * cache->column->row_bytes;
    return COHORT_OK;
}
