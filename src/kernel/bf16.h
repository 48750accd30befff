/* Matrix products in bfloat16: operands rounded to it (8 significant bits, the range of
 * float), products summed in float, through oneDNN. About twice the speed of float where the
 * CPU has instructions for it. The same bits on any number of threads. */
#ifndef COHORT_KERNEL_BF16_H
#define COHORT_KERNEL_BF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/status.h"
#include "kernel/gemm.h"

/* Whether this CPU (AVX512-BF16 or AMX) and this build (oneDNN) can. */
bool cohort_bf16_available(void);

/* to [count] = from, rounded to the nearest (ties to even); NaN stays one. Numbers below
 * 2^-126, which products in bfloat16 take for 0, may become 0. */
void cohort_bf16_round(uint16_t *to, const real *from, size_t count);

/* The products of one layer, prepared as they come up. Not for concurrent use. */
typedef struct cohort_bf16 cohort_bf16;

/* *out = for as many threads as OpenMP gives now. Destroy with cohort_bf16_destroy (NULL is
 * fine). COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_bf16_create(cohort_bf16 **out);
void cohort_bf16_destroy(cohort_bf16 *products);

/* Reals of scratch for a product of these sizes. */
size_t cohort_bf16_scratch(size_t m, size_t n, size_t k);

/* c (+)= op(a) * op(b), as cohort_gemm_dense; with PRODUCTS NULL, or should oneDNN fail, that.
 * SCRATCH 64-byte aligned. Each new size of product is prepared when it first comes. */
void cohort_bf16_product(cohort_bf16 *products, cohort_transpose trans_a, cohort_transpose trans_b,
                         size_t m, size_t n, size_t k, const real *a, const real *b, bool add,
                         real *c, real *scratch);

#endif
