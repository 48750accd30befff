/* The element type of networks. Training runs in float; the conformance tests
 * compile kernel, nn and optim a second time with COHORT_DOUBLE, so that gradients
 * can be checked against central differences to 1e-7. */
#ifndef COHORT_BASE_REAL_H
#define COHORT_BASE_REAL_H

#ifdef COHORT_DOUBLE
typedef double real;
#define REAL(x) (x)        /* a literal */
#define REAL_FN(name) name /* exp, sqrt, … of the type */
#else
typedef float real;
#define REAL(x) ((float)(x))
#define REAL_FN(name) name##f
#endif

/* Elements of one cache line: tensors start at multiples of it. */
#define COHORT_LINE_REALS (64 / sizeof(real))

#endif
