/* Weight initialisation, as in Keras: Glorot and Bengio (2010), He et al. (2015). */
#ifndef COHORT_NN_INIT_H
#define COHORT_NN_INIT_H

#include <stdint.h>

#include "base/real.h"
#include "base/shape.h"
#include "recipe/keys.h"

/* The variants of the key `init`, for layers' key tables (NULL-terminated):
 * glorot_uniform, glorot_normal, he_uniform, he_normal, normal: STDDEV, uniform:
 * LIMIT, zeros. The `*_normal` ones of Glorot and He are truncated at two standard
 * deviations, as in Keras. */
extern const cohort_key_table *const cohort_init_variants[];

/* Config of `normal` and `uniform`. */
typedef struct cohort_init_value {
    double value;
} cohort_init_value;

/* Variants that layers choose themselves. Orthonormal rows (or columns, whichever are
 * fewer) of a matrix [fan_in][fan_out] (Saxe et al. 2014); and LSTM biases [4][units]:
 * 1 for the forget gates, else 0 (Jozefowicz et al. 2015). */
extern const cohort_variant cohort_init_orthogonal, cohort_init_forget_bias;

/* Fills VALUES[0..count) by INIT (a variant of cohort_init_variants) from the
 * stream (seed, COHORT_RNG_INIT, tensor_index). */
void cohort_init_fill(real *values, size_t count, const cohort_variant *init, size_t fan_in,
                      size_t fan_out, uint64_t seed, uint32_t tensor_index);

#endif
