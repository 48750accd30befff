/* Run-time choice of instruction sets: a function marked COHORT_CLONES is compiled
 * for AVX-512, AVX2 and baseline x86-64, and the loader picks. */
#ifndef COHORT_KERNEL_CLONES_H
#define COHORT_KERNEL_CLONES_H

#include <stdbool.h>

/* Sanitizers instrument the resolvers, which run before their run-time is up. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(COHORT_SANITIZED)
#define COHORT_HAVE_CLONES 1
#define COHORT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define COHORT_CLONES
#endif

/* Whether registers of 64 bytes go through the units in halves, so that twice as many of 32 bytes
 * do the same: AMD's fourth generation (the third, of the same family, has none of 64). */
static inline bool cohort_wide_in_halves(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_is("amdfam19h");
#else
    return false;
#endif
}

/* For what is part of such functions. */
#define COHORT_INLINE static inline __attribute__((always_inline))

/* Functions for one instruction set, chosen by __builtin_cpu_supports; COHORT_HAVE_WIDE: with
 * registers of 64 bytes, too, unless COHORT_NO_WIDE leaves them out. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define COHORT_HAVE_TARGETS 1
#ifndef COHORT_NO_WIDE
#define COHORT_HAVE_WIDE 1
#endif
#endif

#endif
