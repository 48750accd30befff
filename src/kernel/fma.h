/* Multiply-adds of vector registers, in place. As an expression GCC makes some of them overwrite a
 * factor and moves registers about, which a loop without instructions to spare feels: one whose
 * core another thread shares. Only for functions compiled for x86-64-v3 or -v4. */
#ifndef COHORT_KERNEL_FMA_H
#define COHORT_KERNEL_FMA_H

#include "base/real.h"

#ifdef COHORT_DOUBLE
#define COHORT_FMA_NAME "vfmadd231pd"
#else
#define COHORT_FMA_NAME "vfmadd231ps"
#endif

/* SUM += X * FACTOR; all of them vectors of 32 or 64 bytes. */
#define COHORT_FMA(sum, x, factor)                                                                 \
    __asm__(COHORT_FMA_NAME " %2, %1, %0" : "+v"(sum) : "v"(x), "v"(factor))

/* The same for any machine. */
#define COHORT_MULTIPLY_ADD(sum, x, factor) ((sum) += (x) * (factor))

#endif
