/* Hiding tokens to be guessed: masked language modelling as in BERT (Devlin et al. 2019,
 * section 3.1). */
#ifndef COHORT_DATA_MASKING_H
#define COHORT_DATA_MASKING_H

#include <stddef.h>
#include <stdint.h>

typedef struct cohort_masking {
    double rate;       /* share of the tokens to be guessed; 0 = no masking */
    size_t vocabulary; /* tokens that may stand in for others are below this */
} cohort_masking;

/* Chooses every token of TOKENS [count] that is no padding with probability RATE, at least
 * one where there is any; of those chosen 80 % become [mask], 10 % a word drawn from the
 * vocabulary, 10 % stay. LABELS [count] = what stood where one was chosen, else -1. A
 * function of (SEED, EPOCH, ROW) and the tokens. */
void cohort_mask_tokens(int32_t *labels, int32_t *tokens, size_t count,
                        const cohort_masking *masking, uint64_t seed, uint64_t epoch, uint64_t row);

#endif
