#include "data/block_cache.h"

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

static cohort_status load_block(size_t *slot, cohort_block_cache *cache, size_t block)
{
    const size_t victim = least_recently_used(cache);
    if (cache->block_of_slot[victim] != SIZE_MAX)
        cache->slot_of_block[cache->block_of_slot[victim]] = 0;
    cache->block_of_slot[victim] = SIZE_MAX;
    const size_t begin = block * cache->column->block_rows, left = cache->column->row_count - begin,
                 count = left < cache->column->block_rows ? left : cache->column->block_rows;
    cohort_hdf5_begin();
    cohort_status status = cohort_column_read(cache->memory + victim * cache->block_bytes,
                                              cache->column, begin, count);
    cohort_hdf5_end();
    COHORT_TRY(status);
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
