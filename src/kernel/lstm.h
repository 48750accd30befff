/* Long short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et
 * al. 2000), one direction over a batch of sequences, as in Keras:
 *
 *   i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of (x_t W + h_{t-1} U + b)
 *   c_t = f c_{t-1} + i g,   h_t = o tanh(c_t),   h_{-1} = c_{-1} = 0
 *
 * Steps are numbered in the order they are read: step s reads time s, or time - 1 - s
 * when reversed. A step whose mask is 0 carries c and h over. */
#ifndef COHORT_KERNEL_LSTM_H
#define COHORT_KERNEL_LSTM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/real.h"

typedef struct cohort_lstm {
    size_t batch, time, in, units;
    bool reverse;            /* reads from the end to the start */
    bool every_step;         /* y is h at every time, not the last one */
    size_t stride;           /* of y and dy: reals from one row to the next */
    const real *kernel;      /* W [in][4 units] */
    const real *recurrent;   /* U [units][4 units] */
    const real *bias;        /* b [4 units] */
    const real *x;           /* [batch][time][in] */
    const real *mask;        /* [batch][time], 0 = skip the step; or NULL */
    const real *in_scale;    /* [batch][in], multiplies x at every step (dropout); or NULL */
    const real *state_scale; /* [batch][units], multiplies h_{t-1} before U; or NULL */
    /* Kept from forward to backward, which overwrites them. [time][batch][…] by step. */
    real *gates;  /* [4 units] */
    real *cells;  /* [units] */
    real *states; /* [units] */
    real *work;   /* scratch of either walk, cohort_lstm_work_count reals, 64-byte aligned */
} cohort_lstm;

typedef struct cohort_lstm_grads {
    const real *dy;                  /* as y */
    real *dx;                        /* [batch][time][in]; or NULL */
    bool add_dx;                     /* dx is added to, not set (the second direction) */
    real *kernel, *recurrent, *bias; /* as the parameters; or all NULL */
    bool accumulate;                 /* parameter gradients are added to, not set */
} cohort_lstm_grads;

/* Reals of scratch that either walk needs. */
size_t cohort_lstm_work_count(size_t batch, size_t time, size_t in, size_t units);

/* y: [batch][time][units] with EVERY_STEP, else [batch][units]: h after the last step;
 * rows STRIDE reals apart. A masked step repeats the output before it. */
void cohort_lstm_forward(real *y, const cohort_lstm *lstm);
/* Gradients, after cohort_lstm_forward on the same struct. */
void cohort_lstm_backward(const cohort_lstm_grads *grads, const cohort_lstm *lstm);

#endif
