/* Drawing a class from logits. */
#ifndef COHORT_NN_SAMPLING_H
#define COHORT_NN_SAMPLING_H

#include <stddef.h>

#include "base/real.h"
#include "base/status.h"

typedef struct cohort_sampling {
    double temperature; /* p ~ exp(logit / temperature); 0 = the most likely class */
    size_t top_k;       /* only among the k most likely (all that tie with the k-th); 0 = all */
} cohort_sampling;

/* *index = the class that UNIFORM in [0, 1) falls on when the probabilities of LOGITS [width]
 * are laid end to end. The first largest logit with temperature 0. COHORT_DIVERGED when a
 * logit is not finite. */
COHORT_NODISCARD cohort_status cohort_sample(size_t *index, const real *logits, size_t width,
                                             const cohort_sampling *sampling, double uniform);

#endif
