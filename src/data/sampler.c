#include "data/sampler.h"

#include <math.h>

/* `layer` keys of the shuffle: one stream for each kind of order. */
enum { ORDER_ROWS, ORDER_CHUNKS, ORDER_WINDOW };

cohort_subset cohort_subset_all(uint64_t row_count)
{
    return (cohort_subset){.row_count = row_count, .end = row_count};
}

static cohort_subset make_subset(uint64_t row_count, double fraction, size_t chunk_rows,
                                 uint64_t seed, bool validation)
{
    uint64_t drawn = (uint64_t)llround((double)row_count * fraction), total = row_count;
    drawn = drawn < row_count ? drawn : row_count;
    cohort_subset subset = {.row_count = row_count, .split = true, .chunk_rows = chunk_rows};
    if (chunk_rows) {
        const bool tail = row_count % chunk_rows != 0;
        total = row_count / chunk_rows;
        drawn = drawn ? (drawn - 1) / chunk_rows + 1 : 0;
        const uint64_t most = tail || total == 0 ? total : total - 1;
        drawn = drawn < most ? drawn : most;
        subset.tail = tail && !validation;
    }
    subset.begin = validation ? 0 : drawn;
    subset.end = validation ? drawn : total;
    subset.order = cohort_permutation_make(total, seed, COHORT_RNG_SPLIT, 0, 0);
    return subset;
}

cohort_subset cohort_subset_training(uint64_t row_count, double validation_fraction,
                                     size_t chunk_rows, uint64_t seed)
{
    return make_subset(row_count, validation_fraction, chunk_rows, seed, false);
}

cohort_subset cohort_subset_validation(uint64_t row_count, double validation_fraction,
                                       size_t chunk_rows, uint64_t seed)
{
    return make_subset(row_count, validation_fraction, chunk_rows, seed, true);
}

cohort_subset cohort_subset_limit(const cohort_subset *subset, uint64_t limit, uint64_t seed)
{
    cohort_subset part = *subset;
    if (limit >= cohort_subset_count(subset))
        return part;
    if (!part.split)
        part = make_subset(part.row_count, 0, 0, seed, false);
    const uint64_t positions = part.chunk_rows ? (limit - 1) / part.chunk_rows + 1 : limit;
    if (positions <= part.end - part.begin) {
        part.end = part.begin + positions;
        part.tail = false;
    }
    return part;
}

cohort_subset cohort_subset_list(const uint64_t *rows, uint64_t count)
{
    return (cohort_subset){.row_count = count, .end = count, .split = true, .rows = rows};
}

uint64_t cohort_subset_count(const cohort_subset *subset)
{
    const uint64_t positions = subset->end - subset->begin;
    if (!subset->split || !subset->chunk_rows)
        return positions;
    return positions * subset->chunk_rows +
           (subset->tail ? subset->row_count % subset->chunk_rows : 0);
}

uint64_t cohort_subset_row(const cohort_subset *subset, uint64_t index)
{
    if (!subset->split)
        return index;
    if (subset->rows)
        return subset->rows[subset->begin + index];
    if (!subset->chunk_rows)
        return cohort_permutation_at(&subset->order, subset->begin + index);
    /* Member chunks in drawn order, the short last chunk of the file behind them. */
    const uint64_t chunk = index / subset->chunk_rows, inside = index % subset->chunk_rows;
    const uint64_t at = chunk < subset->end - subset->begin
                            ? cohort_permutation_at(&subset->order, subset->begin + chunk)
                            : subset->row_count / subset->chunk_rows;
    return at * subset->chunk_rows + inside;
}

uint64_t cohort_sampler_steps(const cohort_sampler *sampler)
{
    const uint64_t count = cohort_subset_count(&sampler->subset);
    return count ? (count - 1) / sampler->global_batch + 1 : 0;
}

size_t cohort_sampler_batch_count(const cohort_sampler *sampler, uint64_t step)
{
    const uint64_t count = cohort_subset_count(&sampler->subset),
                   begin = step * sampler->global_batch;
    if (begin >= count)
        return 0;
    return count - begin < sampler->global_batch ? (size_t)(count - begin) : sampler->global_batch;
}

/* A run of positions within which rows are shuffled: whole chunks [first_chunk,
 * end_chunk) of the epoch's order, positions [begin, end). */
typedef struct window {
    uint64_t begin, end;
    cohort_permutation order;
} window;

/* The window that holds POSITION. Only the last chunk can be short and it stays last, so
 * chunk k of the epoch's order begins at position k * rows. */
static window find_window(const cohort_sampler *sampler, uint64_t count, uint64_t epoch,
                          uint64_t position)
{
    const uint64_t rows = sampler->chunk_rows, chunks = (count - 1) / rows + 1,
                   windows = (chunks - 1) / COHORT_SAMPLER_WINDOW + 1, chunk = position / rows;
    /* The least w with chunk < floor(chunks (w + 1) / windows). */
    const uint64_t index = ((chunk + 1) * windows - 1) / chunks, first = index * chunks / windows,
                   last = (index + 1) * chunks / windows;
    window found = {.begin = first * rows, .end = last * rows < count ? last * rows : count};
    found.order =
        cohort_permutation_make(found.end - found.begin, sampler->seed, COHORT_RNG_SHUFFLE,
                                ORDER_WINDOW + (uint32_t)index, epoch);
    return found;
}

static void chunked_rows(uint64_t *out, const cohort_sampler *sampler, uint64_t epoch,
                         uint64_t position, size_t count)
{
    const uint64_t total = cohort_subset_count(&sampler->subset), rows = sampler->chunk_rows,
                   full = total / rows;
    const cohort_permutation chunks =
        cohort_permutation_make(full, sampler->seed, COHORT_RNG_SHUFFLE, ORDER_CHUNKS, epoch);
    window current = {0};
    for (size_t i = 0; i < count; i++, position++) {
        if (position >= current.end)
            current = find_window(sampler, total, epoch, position);
        const uint64_t mixed = current.begin +
                               cohort_permutation_at(&current.order, position - current.begin),
                       chunk = mixed / rows,
                       from = chunk < full ? cohort_permutation_at(&chunks, chunk) : chunk;
        out[i] = cohort_subset_row(&sampler->subset, from * rows + mixed % rows);
    }
}

void cohort_sampler_rows(uint64_t *rows, const cohort_sampler *sampler, uint64_t epoch,
                         uint64_t step, size_t begin, size_t count)
{
    const cohort_subset *subset = &sampler->subset;
    const uint64_t position = step * sampler->global_batch + begin;
    const bool chunked =
        sampler->chunk_rows && (!subset->split || subset->chunk_rows == sampler->chunk_rows);
    if (sampler->shuffle && chunked) {
        chunked_rows(rows, sampler, epoch, position, count);
        return;
    }
    cohort_permutation order = {0};
    if (sampler->shuffle)
        order = cohort_permutation_make(cohort_subset_count(subset), sampler->seed,
                                        COHORT_RNG_SHUFFLE, ORDER_ROWS, epoch);
    for (size_t i = 0; i < count; i++) {
        const uint64_t index =
            sampler->shuffle ? cohort_permutation_at(&order, position + i) : position + i;
        rows[i] = cohort_subset_row(subset, index);
    }
}
