#include "base/rows.h"

enum { WORD_BITS = 64, NEAR = 4 };

size_t cohort_rows_words(size_t row_count)
{
    return (row_count + WORD_BITS - 1) / WORD_BITS;
}

size_t cohort_tables_words(const cohort_tables *tables)
{
    size_t words = 0;
    for (size_t i = 0; i < tables->count; i++)
        words += cohort_rows_words(tables->items[i].row_count);
    return words;
}

void cohort_rows_mark(uint64_t *bits, const int32_t *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const size_t row = (size_t)rows[i];
        if (i == 0 || rows[i] != rows[i - 1]) /* padding comes in long runs */
            bits[row / WORD_BITS] |= (uint64_t)1 << row % WORD_BITS;
    }
}

void cohort_rows_unite(uint64_t *bits, const uint64_t *other, size_t words)
{
    for (size_t i = 0; i < words; i++)
        bits[i] |= other[i];
}

size_t cohort_rows_count(const uint64_t *bits, size_t words)
{
    size_t count = 0;
    for (size_t i = 0; i < words; i++)
        count += (size_t)__builtin_popcountll(bits[i]);
    return count;
}

size_t cohort_rows_select(const uint64_t *bits, size_t words, size_t index)
{
    for (size_t i = 0; i < words; i++) {
        const size_t here = (size_t)__builtin_popcountll(bits[i]);
        uint64_t word = bits[i];
        if (index >= here) {
            index -= here;
            continue;
        }
        for (; index > 0; index--)
            word &= word - 1; /* drops the lowest bit */
        return i * WORD_BITS + (size_t)__builtin_ctzll(word);
    }
    return words * WORD_BITS;
}

/* The first row from AT on whose bit, exclusive-or FLIP's, is 1; LIMIT if none. */
static size_t find(const uint64_t *bits, size_t at, size_t limit, uint64_t flip)
{
    while (at < limit) {
        const uint64_t word = (bits[at / WORD_BITS] ^ flip) >> at % WORD_BITS;
        if (word) {
            at += (size_t)__builtin_ctzll(word);
            return at < limit ? at : limit;
        }
        at += WORD_BITS - at % WORD_BITS;
    }
    return limit;
}

bool cohort_rows_next(size_t *begin, size_t *end, const uint64_t *bits, size_t limit)
{
    *begin = find(bits, *end, limit, 0);
    *end = find(bits, *begin, limit, UINT64_MAX);
    return *begin < limit;
}

bool cohort_rows_next_near(size_t *begin, size_t *end, const uint64_t *bits, size_t limit)
{
    if (!cohort_rows_next(begin, end, bits, limit))
        return false;
    for (size_t next; *end < limit; *end = find(bits, next, limit, UINT64_MAX)) {
        const size_t last = limit - *end > NEAR ? *end + NEAR : limit;
        next = find(bits, *end, last, 0);
        if (next == last)
            break;
    }
    return true;
}
