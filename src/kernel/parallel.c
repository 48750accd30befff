#include "kernel/parallel.h"

void cohort_parallel_each(size_t count, int threads, void (*body)(void *context, size_t i),
                          void *context)
{
    if (threads <= 1) {
        for (size_t i = 0; i < count; i++)
            body(context, i);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t i = 0; i < count; i++)
        body(context, i);
}
