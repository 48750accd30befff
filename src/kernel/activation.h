/* Activation functions, elementwise but for softmax, and their derivatives. */
#ifndef COHORT_KERNEL_ACTIVATION_H
#define COHORT_KERNEL_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

/* In the order of cohort_activation_names. */
typedef enum cohort_activation {
    COHORT_LINEAR,
    COHORT_RELU,
    COHORT_LEAKY_RELU,
    COHORT_GELU, /* x Φ(x), exact */
    COHORT_TANH,
    COHORT_SIGMOID,
    COHORT_SOFTMAX /* over each row */
} cohort_activation;

/* The slope of leaky_relu below 0 where no key gives one. */
#define COHORT_LEAKY_SLOPE 0.3

/* Their names, NULL-terminated: the `choices` of the key `activation`. */
extern const char *const cohort_activation_names[];

/* Whether the derivative is taken from the input (gelu) rather than the output. */
bool cohort_activation_needs_input(cohort_activation activation);

/* y = f(z) over [rows][width]. Y may be Z. SLOPE is leaky_relu's. */
void cohort_activation_forward(cohort_activation activation, real slope, real *y, const real *z,
                               size_t rows, size_t width);

/* z += bias [width] on every row, then y = f(z). Y may be Z: then only the result is left. */
void cohort_activation_forward_bias(cohort_activation activation, real slope, real *y, real *z,
                                    const real *bias, size_t rows, size_t width);

/* z += bias [width] on every row, unless BIAS is NULL; y = gelu(z); then z = gelu'(z), by which
 * backward only multiplies: asking for it later takes twice as long. Y and Z do not overlap. */
void cohort_gelu_forward_keeping(real *y, real *z, const real *bias, size_t rows, size_t width);

/* dz = dy * f'(z) over [rows][width], from the output y of forward (for gelu, from its
 * input z) as SAVED. DZ may be DY. With linear dz is a copy of dy. */
void cohort_activation_backward(cohort_activation activation, real slope, real *dz, const real *dy,
                                const real *saved, size_t rows, size_t width);

#endif
