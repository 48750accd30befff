/* What of a sample moves a network's output: an attribution for every input value, or for every
 * token.
 *
 * f is one output before softmax or sigmoid (a logit; for class 0 of a single binary output, minus
 * it). The baseline x' is what "nothing" looks like: one value for all inputs, or for tokens a
 * vector of zeros in place of the embedding.
 *
 *   saliency              |df/dx| (Simonyan et al. 2014); for a token the L2 norm over its vector
 *   integrated gradients  (x - x') times the mean of df/dx on the line from x' to x (Sundararajan
 * et al. 2017), by the midpoint rule; over a token's vector summed. They add up to f(x) - f(x')
 *   occlusion             how much f falls when a window is set to x' (Zeiler and Fergus 2014);
 * where windows overlap, the mean
 *
 * Rank-local. */
#ifndef COHORT_TRAIN_EXPLAIN_H
#define COHORT_TRAIN_EXPLAIN_H

#include "train/job.h"

typedef enum cohort_explain_method {
    COHORT_EXPLAIN_SALIENCY,
    COHORT_EXPLAIN_INTEGRATED,
    COHORT_EXPLAIN_OCCLUSION,
    COHORT_EXPLAIN_METHOD_COUNT
} cohort_explain_method;

extern const char *const cohort_explain_method_names[COHORT_EXPLAIN_METHOD_COUNT];

typedef struct cohort_explain_config {
    cohort_explain_method method;
    size_t steps;    /* on the line, for integrated gradients; at least 1 */
    size_t window;   /* side of what is occluded: pixels, steps of time; 0: a seventh of an image's
                        shorter side, else 1 */
    double baseline; /* of the inputs as they lie in files, before scale, mean, std */
    const size_t *feature_end; /* [feature_count] rows of features: where those that are occluded
                                  together end, not falling; NULL: each alone */
    size_t feature_count;
} cohort_explain_config;

/* Which output is looked at. */
typedef struct cohort_explain_target {
    size_t output;   /* class, or number of the output; SIZE_MAX: the predicted class, or 0 */
    size_t position; /* of an output for every step of time; SIZE_MAX: the last */
} cohort_explain_target;

typedef struct cohort_explanation {
    size_t output, position;
    double value;         /* f(x) */
    double baseline;      /* f(x') */
    double probability;   /* of the class; NaN for a regression */
    size_t predicted;     /* class; SIZE_MAX for a regression */
    const float *weights; /* [unit_count], valid until the next call */
} cohort_explanation;

typedef struct cohort_explainer cohort_explainer;

/* *out = an explainer of the network of INFERENCE, which is borrowed and whose loss must be set.
 * It computes in float32. COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_explainer_create(cohort_explainer **out,
                                                       cohort_inference *inference,
                                                       const cohort_explain_config *config);
void cohort_explainer_destroy(cohort_explainer *explainer);
/* Attributions a sample: its values, or its tokens. */
size_t cohort_explainer_unit_count(const cohort_explainer *explainer);
/* Whether there is such an output: COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_explainer_check(const cohort_explainer *explainer,
                                                      const cohort_explain_target *target);
/* Explains X: one sample as the network takes it. TARGET must pass the check. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_explainer_run(cohort_explanation *explanation,
                                                    cohort_explainer *explainer, const void *x,
                                                    const cohort_explain_target *target);

#endif
