#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>

#include "base/shape.h"
#include "data/sampler.h"

/* Draws one epoch in parts for RANKS ranks; returns its rows (free) after checking that
 * every member of the subset comes exactly once. */
static uint64_t *draw_epoch(const cohort_sampler *sampler, uint64_t epoch, size_t ranks)
{
    const uint64_t count = cohort_subset_count(&sampler->subset), total = sampler->subset.row_count;
    unsigned char *member = calloc(total + 1, 1);
    uint64_t *rows = calloc(count + 1, sizeof *rows);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t row = cohort_subset_row(&sampler->subset, i);
        assert_true(row < total && !member[row]);
        member[row] = 1;
    }
    uint64_t at = 0;
    for (uint64_t step = 0; step < cohort_sampler_steps(sampler); step++) {
        size_t batch = cohort_sampler_batch_count(sampler, step);
        assert_true(batch >= 1 && batch <= sampler->global_batch);
        for (size_t rank = 0; rank < ranks; rank++) {
            size_t begin = cohort_part_begin(batch, rank, ranks),
                   end = cohort_part_begin(batch, rank + 1, ranks);
            cohort_sampler_rows(rows + at, sampler, epoch, step, begin, end - begin);
            at += end - begin;
        }
    }
    assert_int_equal(at, count);
    for (uint64_t i = 0; i < count; i++) {
        assert_true(rows[i] < total && member[rows[i]] == 1);
        member[rows[i]] = 2;
    }
    free(member);
    return rows;
}

static void check_sampler(const cohort_sampler *sampler)
{
    const uint64_t count = cohort_subset_count(&sampler->subset);
    uint64_t *one = draw_epoch(sampler, 3, 1), *next = draw_epoch(sampler, 4, 1);
    for (size_t ranks = 2; ranks <= 5; ranks++) {
        uint64_t *some = draw_epoch(sampler, 3, ranks);
        assert_memory_equal(one, some, count * sizeof *one);
        free(some);
    }
    bool differs = memcmp(one, next, count * sizeof *one) != 0;
    if (count > 20)
        assert_int_equal(differs, sampler->shuffle);
    free(one);
    free(next);
}

static void every_row_once_on_any_ranks(void **state)
{
    (void)state;
    const uint64_t counts[] = {1, 2, 3, 7, 50, 97, 256, 1001};
    const size_t chunks[] = {0, 1, 3, 10, 64, 2000}, batches[] = {1, 3, 32, 100};
    for (size_t n = 0; n < 8; n++)
        for (size_t c = 0; c < 6; c++)
            for (size_t b = 0; b < 4; b++)
                for (int subset = 0; subset < 3; subset++)
                    for (int shuffle = 0; shuffle < 2; shuffle++) {
                        cohort_sampler sampler = {.seed = 5,
                                                  .shuffle = shuffle,
                                                  .chunk_rows = chunks[c],
                                                  .global_batch = batches[b]};
                        sampler.subset =
                            subset == 0   ? cohort_subset_all(counts[n])
                            : subset == 1 ? cohort_subset_training(counts[n], 0.2, chunks[c], 5)
                                          : cohort_subset_validation(counts[n], 0.2, chunks[c], 5);
                        check_sampler(&sampler);
                    }
}

static void subsets_partition_the_split(void **state)
{
    (void)state;
    const uint64_t counts[] = {1, 2, 9, 10, 11, 100, 1003};
    const double fractions[] = {0, 0.1, 0.5, 1};
    const size_t chunks[] = {0, 1, 4, 10, 5000};
    for (size_t n = 0; n < 7; n++)
        for (size_t f = 0; f < 4; f++)
            for (size_t c = 0; c < 5; c++) {
                cohort_subset a = cohort_subset_training(counts[n], fractions[f], chunks[c], 2),
                              b = cohort_subset_validation(counts[n], fractions[f], chunks[c], 2);
                const uint64_t trained = cohort_subset_count(&a), held = cohort_subset_count(&b),
                               wanted = (uint64_t)llround((double)counts[n] * fractions[f]);
                assert_int_equal(trained + held, counts[n]);
                unsigned char *seen = calloc(counts[n], 1);
                for (uint64_t i = 0; i < trained; i++)
                    seen[cohort_subset_row(&a, i)]++;
                for (uint64_t i = 0; i < held; i++)
                    seen[cohort_subset_row(&b, i)]++;
                for (uint64_t i = 0; i < counts[n]; i++)
                    assert_int_equal(seen[i], 1);
                free(seen);
                if (chunks[c] == 0)
                    assert_int_equal(held, wanted);
                else
                    assert_true(trained >= 1 && held < wanted + chunks[c]);
            }
}

/* The first 200 positions of a chunk-aware order touch at most the chunks of one window
 * of 8 (rows of 25), and mix them. */
static void chunk_aware_order_is_local(void **state)
{
    (void)state;
    cohort_sampler sampler = {.subset = cohort_subset_all(10007),
                              .seed = 1,
                              .shuffle = true,
                              .chunk_rows = 25,
                              .global_batch = 50};
    uint64_t *rows = draw_epoch(&sampler, 0, 1);
    unsigned char touched[401] = {0};
    unsigned chunks = 0, ascending = 0;
    for (int i = 0; i < 175; i++) {
        chunks += !touched[rows[i] / 25];
        touched[rows[i] / 25] = 1;
        ascending += i > 0 && rows[i] > rows[i - 1];
    }
    assert_in_range(chunks, 5, COHORT_SAMPLER_WINDOW);
    assert_in_range(ascending, 60, 115);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_once_on_any_ranks),
        cmocka_unit_test(subsets_partition_the_split),
        cmocka_unit_test(chunk_aware_order_is_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
