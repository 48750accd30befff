/* Which of its kernels this process computes with. */
#ifndef COHORT_KERNEL_CHOICE_H
#define COHORT_KERNEL_CHOICE_H

#include <stddef.h>

/* "OpenBLAS 0.3.21 SkylakeX, x86-64-v4, oneDNN 2.6.3" into TEXT [BYTES]: what OpenBLAS and
 * this library have chosen for this CPU. Where it differs, results differ in their last
 * bits. */
void cohort_kernel_choice(char *text, size_t bytes);

#endif
