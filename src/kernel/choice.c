#include "kernel/choice.h"

#include <cblas.h>
#include <stdio.h>
#include <string.h>

#include "kernel/clones.h"
#include "kernel/conv.h"

/* The level COHORT_CLONES takes here. */
static const char *level(void)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    return __builtin_cpu_supports("x86-64-v4")   ? "x86-64-v4"
           : __builtin_cpu_supports("x86-64-v3") ? "x86-64-v3"
                                                 : "x86-64";
#else
    return "one instruction set";
#endif
}

void cohort_kernel_choice(char *text, size_t bytes)
{
    char convolution[64];
    /* "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH NO_AFFINITY SkylakeX MAX_THREADS=64" */
    const char *config = openblas_get_config();
    const size_t name = strcspn(config, " "),
                 version = config[name] ? strcspn(config + name + 1, " ") + 1 : 0;
    cohort_conv_library(convolution, sizeof convolution);
    snprintf(text, bytes, "%.*s %s, %s, %s", (int)(name + version), config, openblas_get_corename(),
             level(), convolution);
}
