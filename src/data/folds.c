#include "data/folds.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"

typedef struct dealt {
    int32_t key;
    uint64_t place; /* in an order drawn by seed */
    size_t index;
} dealt;

static int by_key_and_place(const void *a, const void *b)
{
    const dealt *left = a, *right = b;
    if (left->key != right->key)
        return left->key < right->key ? -1 : 1;
    return left->place < right->place ? -1 : left->place > right->place;
}

cohort_status cohort_folds_part(uint64_t *rows, size_t *held, const uint64_t *members,
                                const int32_t *keys, size_t count, size_t folds, size_t fold,
                                uint64_t seed)
{
    dealt *cards = NULL;
    bool *is_held = NULL;
    cohort_status status = COHORT_OK;
    *held = 0;
    COHORT_REQUIRE(count >= folds, COHORT_DATA,
                   "%zu training samples cannot be dealt to %zu folds; lower train.folds", count,
                   folds);
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&cards, count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&is_held, count));
    const cohort_permutation order = cohort_permutation_make(count, seed, COHORT_RNG_FOLDS, 0, 0);
    for (size_t i = 0; i < count; i++)
        cards[i] = (dealt){keys ? keys[i] : 0, cohort_permutation_at(&order, i), i};
    qsort(cards, count, sizeof *cards, by_key_and_place);
    /* Dealt one after the other, class behind class: no fold gets two more than another. */
    for (size_t i = 0; i < count; i++)
        is_held[cards[i].index] = i % folds == fold;
    for (size_t i = 0; i < count; i++)
        *held += is_held[i];
    for (size_t i = 0, in = 0, out = *held; i < count; i++)
        rows[is_held[i] ? in++ : out++] = members[i];
done:
    cohort_free(cards);
    cohort_free(is_held);
    return status;
}
