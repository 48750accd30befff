/* Dividing work between threads. */
#ifndef COHORT_KERNEL_PARALLEL_H
#define COHORT_KERNEL_PARALLEL_H

#include <stddef.h>

/* BODY (CONTEXT, i) for every i below COUNT, on up to THREADS threads in equal shares. One thread
 * is the calling one, without OpenMP, which wakes (nobody) through the kernel at the end of every
 * region: some 0.2 µs, felt where a step takes 100. */
void cohort_parallel_each(size_t count, int threads, void (*body)(void *context, size_t i),
                          void *context);

#endif
