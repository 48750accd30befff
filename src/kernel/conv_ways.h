/* What the ways of computing a convolution have in common; private to them. */
#ifndef COHORT_KERNEL_CONV_WAYS_H
#define COHORT_KERNEL_CONV_WAYS_H

#include <stdint.h>

#include "kernel/conv.h"
#include "kernel/pool.h"

#if defined(COHORT_HAVE_DNNL) && !defined(COHORT_DOUBLE)
#define CONV_DNNL
#endif

/* Shapes in reals, once. */
typedef struct conv_sizes {
    size_t in_count, out_count; /* of one sample */
    size_t pixels;              /* output pixels of one sample */
    size_t kept_pixels;         /* the same of y, after the pool if there is one */
    size_t taps;                /* window height * width * in_channels */
    size_t kernel_count;        /* taps * out_channels */
} conv_sizes;

/* A direct pass. */
typedef struct conv_direct {
    const struct conv_tile_set *tiles; /* for this machine's registers */
    cohort_window window;
    size_t in_channels, out_channels;
    size_t in_count, pixels, run; /* of a sample; output pixels; window width * in_channels */
    /* Images framed by the zeros of the padding, so that every window lies inside. */
    size_t padded_height, padded_width;
    bool padded;       /* otherwise the images are taken as they are */
    size_t group;      /* samples handled together */
    uint32_t *offsets; /* [group * pixels]: where a window begins in the (framed) group */
    /* Or the same position of many samples at a time, with those taps alone that lie on
     * the image: nothing is framed, and no product with a zero is computed. */
    size_t position_group;      /* samples handled together; 0: does not pay */
    uint32_t *position_offsets; /* [position_group]: where a sample begins */
} conv_direct;

typedef struct conv_dnnl conv_dnnl;
typedef struct conv_winograd conv_winograd;

struct cohort_conv {
    cohort_conv_shape shape;
    conv_sizes sizes;
    size_t batch, threads;
    bool training, needs_dx;
    bool pools;
    cohort_pool pool;
    cohort_conv_way ways[COHORT_CONV_DIRECTION_COUNT];
    size_t group;                              /* samples whose x, y and dy stay in cache */
    conv_direct *direct_forward, *direct_data; /* NULL: not available */
    conv_dnnl *dnnl;                           /* NULL: not available */
    conv_winograd *winograd;                   /* NULL: not available */
};

/* All run on the calling thread alone.
 *
 * gemm.  WORK has conv_gemm_work() reals. */
size_t conv_gemm_work(const cohort_conv *conv);
void conv_gemm_forward(const cohort_conv *conv, real *y, const real *x, const real *kernel,
                       const real *bias, size_t samples, real *work);
void conv_gemm_data(const cohort_conv *conv, real *dx, const real *dy, const real *kernel,
                    size_t samples, real *work);
void conv_gemm_weights(const cohort_conv *conv, real *dkernel, const real *x, const real *dy,
                       size_t samples, bool add, real *work);

/* The registers that the direct way's tiles are made for; unknown ones make it slow. */
typedef enum conv_registers { CONV_UNKNOWN, CONV_NARROW, CONV_WIDE } conv_registers;
conv_registers conv_direct_registers(void);

/* direct. *out = NULL where the shape does not suit it (out_channels not a multiple of a
 * vector). The data direction is a forward one over dy with the turned kernel. */
COHORT_NODISCARD cohort_status conv_direct_create(conv_direct **out, const cohort_window *w,
                                                  size_t in_channels, size_t out_channels,
                                                  size_t batch);
void conv_direct_destroy(conv_direct *d);
size_t conv_direct_work(const conv_direct *d);
/* The kernel [height][width][in][out] as conv_direct_forward wants it, and [height][width][out][in]
 * turned around for the way back: in PACKED, as many reals, or the kernel itself. */
const real *conv_direct_pack(const conv_direct *d, real *packed, const real *kernel);
const real *conv_direct_pack_turned(const conv_direct *d, real *packed, const real *kernel);
/* Forward handles samples by multiples of this with least loss. */
size_t conv_direct_step(const conv_direct *d);
void conv_direct_forward(const conv_direct *d, real *y, const real *x, const real *kernel,
                         const real *bias, bool relu, size_t samples, real *work);
/* The tiles [begin, end) alone of conv_direct_weight_tiles. */
void conv_direct_weights(const conv_direct *d, real *dkernel, const real *x, const real *dy,
                         size_t samples, bool add, real *work, size_t begin, size_t end);
size_t conv_direct_weight_tiles(const conv_direct *d);

/* winograd. *out = NULL where the shape does not suit it: another window than 3x3 moved by one, or
 * channels that are not multiples of half a panel. */
COHORT_NODISCARD cohort_status conv_winograd_create(conv_winograd **out, const cohort_window *w,
                                                    size_t in_channels, size_t out_channels);
void conv_winograd_destroy(conv_winograd *g);
/* Of a sample. Each has 16 products for a pair of channels. */
size_t conv_winograd_tiles(const conv_winograd *g);
/* Reals for a kernel, and for each thread: while it computes, and for the sums of a part. */
size_t conv_winograd_shared(const conv_winograd *g);
size_t conv_winograd_work(const conv_winograd *g);
size_t conv_winograd_sums(const conv_winograd *g);
/* The kernel as forward and data want it: somewhere in PACKED, conv_winograd_shared() reals. */
const real *conv_winograd_pack(const conv_winograd *g, real *packed, const real *kernel);
const real *conv_winograd_pack_turned(const conv_winograd *g, real *packed, const real *kernel);
void conv_winograd_forward(const conv_winograd *g, real *y, const real *x, const real *kernel,
                           const real *bias, bool relu, size_t samples, real *work);
/* DX (set) and sums for the kernel's gradient, DU (set, or added to), conv_winograd_sums() reals;
 * either may be NULL. */
void conv_winograd_backward(const conv_winograd *g, real *dx, real *du, bool add, const real *x,
                            const real *dy, const real *kernel, size_t samples, real *work);
/* The kernel's gradient (set, or added to) of such sums. */
void conv_winograd_finish(const conv_winograd *g, real *dkernel, const real *du, bool add);

/* dnnl. *out = NULL where it is not available (a build without it, an error of its own).
 *
 * Its results depend on the number of threads it is prepared and run for, so it is
 * prepared for one, and THREADS of the caller's run it on samples of their own: SAMPLES
 * at a time in each direction, 0 for one that is not wanted. */
COHORT_NODISCARD cohort_status conv_dnnl_create(conv_dnnl **out, const cohort_conv_shape *shape,
                                                const size_t samples[COHORT_CONV_DIRECTION_COUNT],
                                                size_t threads);
void conv_dnnl_destroy(conv_dnnl *d);
bool conv_dnnl_can(const conv_dnnl *d, cohort_conv_direction direction);
/* Whether it computes DIRECTION in bfloat16. */
bool conv_dnnl_is_bf16(const conv_dnnl *d, cohort_conv_direction direction);

/* One pass in one direction: runs of `samples` and (the last) of another number. */
typedef struct conv_dnnl_job {
    const conv_dnnl *d;
    const struct dnnl_pass *passes[2];
    real *shared, *work; /* kernels as oneDNN wants them; what threads need, … */
    size_t stride;       /* … so many reals each */
} conv_dnnl_job;

/* Reals of scratch: for a job, and for each of its threads. */
size_t conv_dnnl_shared(const conv_dnnl *d);
size_t conv_dnnl_work(const conv_dnnl *d);
/* Prepares BATCH samples in runs of LANE. False when that fails: take another way then.
 * KERNEL is not used for the weights direction. Not within a parallel region. */
bool conv_dnnl_begin(conv_dnnl_job *job, conv_dnnl *d, cohort_conv_direction direction,
                     const real *kernel, size_t lane, size_t batch, real *shared, real *work,
                     size_t stride);
/* A run on THREAD: Y from X and the bias; DX from DY; the kernel gradient, set. False when
 * oneDNN fails: compute the run another way. */
bool conv_dnnl_forward(const conv_dnnl_job *job, real *y, const real *x, const real *bias,
                       size_t samples, size_t thread);
bool conv_dnnl_data(const conv_dnnl_job *job, real *dx, const real *dy, size_t samples,
                    size_t thread);
bool conv_dnnl_weights(const conv_dnnl_job *job, real *dkernel, const real *x, const real *dy,
                       size_t samples, size_t thread);

/* y = y + bias, then relu, for ROWS rows; BIAS may be NULL. */
void conv_finish(real *y, const real *bias, bool relu, size_t rows, size_t channels);

#endif
