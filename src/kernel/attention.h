/* Scaled dot-product attention of several heads ("Attention Is All You Need", Vaswani et
 * al. 2017, section 3.2) over a batch of sequences:
 *
 *   y = softmax(q k' / sqrt(width / heads)) v   in each head
 *
 * Scores exist for a block of queries at a time and are computed again on the way back
 * from the log of the softmax's denominator, so that memory grows with the length of the
 * sequence, not with its square (Rabe and Staats 2021; Dao et al. 2022). */
#ifndef COHORT_KERNEL_ATTENTION_H
#define COHORT_KERNEL_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/rng.h"

typedef struct cohort_attention {
    size_t batch, time, heads;
    size_t width;          /* of all heads together; head h has columns [h width / heads, …) */
    size_t stride;         /* of q, k, v: reals from one time to the next */
    bool causal;           /* a query sees no key after it */
    const real *q, *k, *v; /* [batch][time][width], rows STRIDE reals apart */
    const real *mask;      /* [batch][time], 0 = a key nobody sees; or NULL */
    double dropout;        /* of the weights; 0 = none */
    const cohort_rng *streams; /* [batch] dropout: weight (head, query, key) is number
                                  (head time + query) time4 + key, time4 = time up to a
                                  multiple of 4; NULL without dropout */
    real *denominators;        /* kept [batch][heads][time]: log of the sum of exponentials */
    real *work;                /* cohort_attention_work_count reals, 64-byte aligned */
    size_t threads;            /* that WORK was counted for */
} cohort_attention;

typedef struct cohort_attention_grads {
    const real *y, *dy; /* [batch][time][width] */
    real *dq, *dk, *dv; /* as q, k, v; set */
} cohort_attention_grads;

/* Reals of scratch for THREADS threads. */
size_t cohort_attention_work_count(size_t time, size_t heads, size_t width, size_t threads);

/* y [batch][time][width]. A query all of whose keys are masked gets zeros. */
void cohort_attention_forward(real *y, const cohort_attention *attention);
/* After cohort_attention_forward on the same struct. */
void cohort_attention_backward(const cohort_attention_grads *grads,
                               const cohort_attention *attention);

#endif
