#include "data/masking.h"

#include "base/rng.h"
#include "data/tokenizer.h"

enum { IGNORED = -1, FIRST_WORD = COHORT_TOKEN_MASK + 1 };

static void hide(int32_t *label, int32_t *token, const cohort_masking *masking, cohort_rng *rng)
{
    const double way = cohort_rng_double(rng);
    *label = *token;
    if (way < 0.8)
        *token = COHORT_TOKEN_MASK;
    else if (way < 0.9)
        *token = (int32_t)(FIRST_WORD +
                           cohort_rng_below(rng, (uint32_t)masking->vocabulary - FIRST_WORD));
}

/* The position of the INDEX-th token that is no padding. */
static size_t find_token(const int32_t *tokens, size_t index)
{
    size_t at = 0;
    for (;; at++)
        if (tokens[at] != COHORT_TOKEN_PADDING && index-- == 0)
            return at;
}

void cohort_mask_tokens(int32_t *labels, int32_t *tokens, size_t count,
                        const cohort_masking *masking, uint64_t seed, uint64_t epoch, uint64_t row)
{
    cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_MASKING, 0, epoch, row);
    size_t real_count = 0, chosen = 0;
    for (size_t i = 0; i < count; i++) {
        labels[i] = IGNORED;
        if (tokens[i] == COHORT_TOKEN_PADDING)
            continue;
        real_count++;
        if (cohort_rng_double(&rng) < masking->rate) {
            hide(&labels[i], &tokens[i], masking, &rng);
            chosen++;
        }
    }
    if (chosen > 0 || real_count == 0)
        return;
    const size_t at = find_token(tokens, cohort_rng_below(&rng, (uint32_t)real_count));
    hide(&labels[at], &tokens[at], masking, &rng);
}
