/* The oneDNN way. Images stay as they are (nhwc); the kernel is brought into the layout
 * that oneDNN picks, each pass anew since training changes it every time. Work memory
 * is the caller's. Any error here means only that this way is not available. */
#include "kernel/conv_ways.h"

#include <stdio.h>

#ifdef CONV_DNNL

#include <omp.h>
#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "base/memory.h"
#include "base/shape.h"
#include "kernel/bf16.h"

enum { PASSES = 6 /* numbers of samples that are kept prepared */ };

/* What primitives work on (or the gradients of it): the kernel as oneDNN wants it and
 * plain. */
enum { X, Y, WEIGHTS, PLAIN, BIAS, SCRATCHPAD, OPERANDS };

/* One direction prepared for one number of samples. */
typedef struct dnnl_pass {
    size_t samples; /* 0: free */
    dnnl_primitive_t convolve, reorder;
    dnnl_memory_t *memories; /* [threads][OPERANDS], pointed at the data of each run */
    size_t weights_bytes, scratchpad_bytes;
} dnnl_pass;

struct conv_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t *streams; /* [threads] */
    size_t threads;
    const cohort_conv_shape *shape;
    dnnl_pass passes[COHORT_CONV_DIRECTION_COUNT][PASSES];
    size_t next[COHORT_CONV_DIRECTION_COUNT]; /* the pass that was prepared last */
    bool bf16[COHORT_CONV_DIRECTION_COUNT];   /* operands are rounded first */
    size_t rounded_count;                   /* reals that rounded images take; a line's multiple */
    size_t weights_bytes, scratchpad_bytes; /* planned; no pass needs more */
    real *zeros;                            /* [out_channels], for want of a bias */
};

/* What oneDNN wants to know of a convolution. */
typedef struct dnnl_problem {
    dnnl_memory_desc_t x, y, weights, plain, bias;
    dnnl_dims_t strides, before, after;
} dnnl_problem;

#define DNNL_OK(call) ((call) == dnnl_success)

static dnnl_dim_t after_padding(size_t out, size_t stride, size_t size, size_t in, size_t before)
{
    const size_t reach = (out - 1) * stride + size;
    return reach > in + before ? (dnnl_dim_t)(reach - in - before) : 0;
}

/* What DIRECTION writes is float, and so are the gradient of the kernel and the bias. BF16: its
 * operands are bfloat16. */
static bool describe(dnnl_problem *p, const cohort_conv_shape *shape, size_t batch,
                     cohort_conv_direction direction, bool bf16)
{
    const dnnl_data_type_t operand = bf16 ? dnnl_bf16 : dnnl_f32;
    const dnnl_data_type_t x_type = direction == COHORT_CONV_DATA ? dnnl_f32 : operand;
    const dnnl_data_type_t y_type = direction == COHORT_CONV_FORWARD ? dnnl_f32 : operand;
    const dnnl_data_type_t kernel_type = direction == COHORT_CONV_WEIGHTS ? dnnl_f32 : operand;
    const cohort_window *w = &shape->window;
    const dnnl_dim_t n = (dnnl_dim_t)batch, in = (dnnl_dim_t)shape->in_channels;
    const dnnl_dim_t out = (dnnl_dim_t)shape->out_channels;
    const dnnl_dims_t x = {n, in, (dnnl_dim_t)w->in_height, (dnnl_dim_t)w->in_width};
    const dnnl_dims_t y = {n, out, (dnnl_dim_t)w->out_height, (dnnl_dim_t)w->out_width};
    const dnnl_dims_t weights = {out, in, (dnnl_dim_t)w->height, (dnnl_dim_t)w->width};
    const dnnl_dims_t bias = {out};
    p->strides[0] = (dnnl_dim_t)w->stride_y;
    p->strides[1] = (dnnl_dim_t)w->stride_x;
    p->before[0] = (dnnl_dim_t)w->pad_top;
    p->before[1] = (dnnl_dim_t)w->pad_left;
    p->after[0] = after_padding(w->out_height, w->stride_y, w->height, w->in_height, w->pad_top);
    p->after[1] = after_padding(w->out_width, w->stride_x, w->width, w->in_width, w->pad_left);
    return DNNL_OK(dnnl_memory_desc_init_by_tag(&p->x, 4, x, x_type, dnnl_nhwc)) &&
           DNNL_OK(dnnl_memory_desc_init_by_tag(&p->y, 4, y, y_type, dnnl_nhwc)) &&
           DNNL_OK(dnnl_memory_desc_init_by_tag(&p->weights, 4, weights, kernel_type,
                                                dnnl_format_tag_any)) &&
           DNNL_OK(dnnl_memory_desc_init_by_tag(&p->plain, 4, weights, dnnl_f32, dnnl_hwio)) &&
           DNNL_OK(dnnl_memory_desc_init_by_tag(&p->bias, 1, bias, dnnl_f32, dnnl_x));
}

/* Scratch is the user's; relu follows a forward pass. */
static bool make_attributes(dnnl_primitive_attr_t *attributes, bool relu)
{
    dnnl_post_ops_t after = NULL;
    if (!DNNL_OK(dnnl_primitive_attr_create(attributes)))
        return false;
    bool ok =
        DNNL_OK(dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user));
    if (ok && relu) {
        ok = DNNL_OK(dnnl_post_ops_create(&after)) &&
             DNNL_OK(dnnl_post_ops_append_eltwise(after, 1, dnnl_eltwise_relu, 0, 0)) &&
             DNNL_OK(dnnl_primitive_attr_set_post_ops(*attributes, after));
        dnnl_post_ops_destroy(after);
    }
    return ok;
}

/* The primitive description of DIRECTION; FORWARD hints the backward ones. */
static bool make_description(dnnl_primitive_desc_t *out, const conv_dnnl *d, const dnnl_problem *p,
                             cohort_conv_direction direction, dnnl_primitive_desc_t forward)
{
    dnnl_convolution_desc_t c;
    dnnl_status_t status;
    const dnnl_alg_kind_t how = dnnl_convolution_direct;
    if (direction == COHORT_CONV_FORWARD)
        status =
            dnnl_convolution_forward_desc_init(&c, dnnl_forward_training, how, &p->x, &p->weights,
                                               &p->bias, &p->y, p->strides, p->before, p->after);
    else if (direction == COHORT_CONV_DATA)
        status = dnnl_convolution_backward_data_desc_init(&c, how, &p->x, &p->weights, &p->y,
                                                          p->strides, p->before, p->after);
    else
        status = dnnl_convolution_backward_weights_desc_init(
            &c, how, &p->x, &p->weights, NULL, &p->y, p->strides, p->before, p->after);
    if (status != dnnl_success)
        return false;
    dnnl_primitive_attr_t attributes = NULL;
    const bool relu = direction == COHORT_CONV_FORWARD && d->shape->relu;
    const bool ok = make_attributes(&attributes, relu) &&
                    DNNL_OK(dnnl_primitive_desc_create(out, &c, attributes, d->engine, forward));
    if (attributes)
        dnnl_primitive_attr_destroy(attributes);
    return ok;
}

static bool make_reorder(dnnl_primitive_t *out, const conv_dnnl *d, const dnnl_memory_desc_t *from,
                         const dnnl_memory_desc_t *to)
{
    dnnl_primitive_desc_t description = NULL;
    const bool ok = DNNL_OK(dnnl_reorder_primitive_desc_create(&description, from, d->engine, to,
                                                               d->engine, NULL)) &&
                    DNNL_OK(dnnl_primitive_create(out, description));
    if (description)
        dnnl_primitive_desc_destroy(description);
    return ok;
}

static void pass_clear(dnnl_pass *pass, size_t threads)
{
    for (size_t i = 0; pass->memories && i < threads * OPERANDS; i++)
        if (pass->memories[i])
            dnnl_memory_destroy(pass->memories[i]);
    cohort_free(pass->memories);
    if (pass->convolve)
        dnnl_primitive_destroy(pass->convolve);
    if (pass->reorder)
        dnnl_primitive_destroy(pass->reorder);
    *pass = (dnnl_pass){0};
}

static bool pass_fill(dnnl_pass *pass, const conv_dnnl *d, const dnnl_problem *p,
                      cohort_conv_direction direction, dnnl_primitive_desc_t description)
{
    const bool back = direction == COHORT_CONV_WEIGHTS;
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(
        description, back ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *scratchpad =
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    const dnnl_memory_desc_t *all[OPERANDS] = {
        [X] = &p->x,         [Y] = &p->y,       [WEIGHTS] = weights,
        [PLAIN] = &p->plain, [BIAS] = &p->bias, [SCRATCHPAD] = scratchpad};
    pass->weights_bytes = cohort_size_align(dnnl_memory_desc_get_size(weights), 64);
    pass->scratchpad_bytes = cohort_size_align(dnnl_memory_desc_get_size(scratchpad), 64);
    bool ok =
        DNNL_OK(dnnl_primitive_create(&pass->convolve, description)) &&
        make_reorder(&pass->reorder, d, back ? weights : &p->plain, back ? &p->plain : weights) &&
        COHORT_ALLOCATE(&pass->memories, d->threads * OPERANDS) == COHORT_OK;
    for (size_t i = 0; i < d->threads * OPERANDS && ok; i++)
        ok = DNNL_OK(
            dnnl_memory_create(&pass->memories[i], all[i % OPERANDS], d->engine, DNNL_MEMORY_NONE));
    return ok;
}

/* Whether DESCRIPTION is of oneDNN's reference, which is many times slower than any other. */
static bool is_reference(dnnl_primitive_desc_t description)
{
    const char *name = NULL;
    return !DNNL_OK(dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0,
                                              (void *)&name)) ||
           strncmp(name, "ref", 3) == 0;
}

/* The backward ones are hinted at by a forward one of the same operands. */
static bool describe_pass(dnnl_primitive_desc_t *description, dnnl_problem *problem,
                          const conv_dnnl *d, cohort_conv_direction direction, size_t samples)
{
    const bool bf16 = d->bf16[direction];
    dnnl_problem hint;
    dnnl_primitive_desc_t forward = NULL;
    bool ok = describe(&hint, d->shape, samples, COHORT_CONV_FORWARD, bf16) &&
              make_description(&forward, d, &hint, COHORT_CONV_FORWARD, NULL) &&
              describe(problem, d->shape, samples, direction, bf16);
    if (ok && direction == COHORT_CONV_FORWARD) {
        *description = forward;
        forward = NULL;
    } else if (ok) {
        ok = make_description(description, d, problem, direction, forward);
    }
    if (forward)
        dnnl_primitive_desc_destroy(forward);
    return ok && !(bf16 && is_reference(*description));
}

/* For one thread, whatever there are: oneDNN divides its work by their number. */
static bool pass_make(dnnl_pass *pass, const conv_dnnl *d, cohort_conv_direction direction,
                      size_t samples)
{
    dnnl_problem problem;
    dnnl_primitive_desc_t description = NULL;
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    const bool ok = describe_pass(&description, &problem, d, direction, samples) &&
                    pass_fill(pass, d, &problem, direction, description);
    omp_set_num_threads(threads);
    if (description)
        dnnl_primitive_desc_destroy(description);
    if (ok)
        pass->samples = samples;
    else
        pass_clear(pass, d->threads);
    return ok;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Reals that hold X, and behind it Y, of SAMPLES in bfloat16. */
static size_t rounded_x(const cohort_conv_shape *shape, size_t samples)
{
    const cohort_window *w = &shape->window;
    const size_t count = samples * w->in_height * w->in_width * shape->in_channels;
    return cohort_size_align((count + 1) / 2, COHORT_LINE_REALS);
}

static size_t rounded_reals(const cohort_conv_shape *shape, size_t samples)
{
    const cohort_window *w = &shape->window;
    const size_t count = samples * w->out_height * w->out_width * shape->out_channels;
    return rounded_x(shape, samples) + cohort_size_align((count + 1) / 2, COHORT_LINE_REALS);
}

static bool create_all(conv_dnnl *d, const size_t samples[COHORT_CONV_DIRECTION_COUNT])
{
    bool ok = DNNL_OK(dnnl_engine_create(&d->engine, dnnl_cpu, 0));
    for (size_t t = 0; t < d->threads && ok; t++)
        ok = DNNL_OK(dnnl_stream_create(&d->streams[t], d->engine, dnnl_stream_default_flags));
    for (int i = 0; i < COHORT_CONV_DIRECTION_COUNT && ok; i++) {
        dnnl_pass *pass = d->passes[i];
        const cohort_conv_direction direction = (cohort_conv_direction)i;
        if (!samples[i])
            continue;
        d->bf16[i] = d->shape->bf16;
        bool made = pass_make(pass, d, direction, samples[i]);
        if (!made && d->bf16[i]) {
            d->bf16[i] = false;
            made = pass_make(pass, d, direction, samples[i]);
        }
        if (!made)
            continue;
        if (d->bf16[i])
            d->rounded_count = larger(d->rounded_count, rounded_reals(d->shape, samples[i]));
        d->weights_bytes = larger(d->weights_bytes, pass->weights_bytes);
        d->scratchpad_bytes = larger(d->scratchpad_bytes, pass->scratchpad_bytes);
    }
    return ok;
}

cohort_status conv_dnnl_create(conv_dnnl **out, const cohort_conv_shape *shape,
                               const size_t samples[COHORT_CONV_DIRECTION_COUNT], size_t threads)
{
    conv_dnnl *d;
    cohort_status status;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&d, 1));
    d->shape = shape;
    d->threads = threads;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&d->zeros, shape->out_channels));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&d->streams, threads));
    if (create_all(d, samples)) {
        *out = d;
        return COHORT_OK;
    }
done:
    conv_dnnl_destroy(d);
    return status;
}

void conv_dnnl_destroy(conv_dnnl *d)
{
    if (!d)
        return;
    for (int i = 0; i < COHORT_CONV_DIRECTION_COUNT; i++)
        for (int p = 0; p < PASSES; p++)
            pass_clear(&d->passes[i][p], d->threads);
    for (size_t t = 0; d->streams && t < d->threads; t++)
        if (d->streams[t])
            dnnl_stream_destroy(d->streams[t]);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    cohort_free(d->streams);
    cohort_free(d->zeros);
    cohort_free(d);
}

bool conv_dnnl_can(const conv_dnnl *d, cohort_conv_direction direction)
{
    return d->passes[direction][0].samples != 0;
}

bool conv_dnnl_is_bf16(const conv_dnnl *d, cohort_conv_direction direction)
{
    return conv_dnnl_can(d, direction) && d->bf16[direction];
}

size_t conv_dnnl_shared(const conv_dnnl *d)
{
    return 2 * d->weights_bytes / sizeof(real);
}

size_t conv_dnnl_work(const conv_dnnl *d)
{
    return (d->weights_bytes + d->scratchpad_bytes) / sizeof(real) + d->rounded_count;
}

/* The pass for SAMPLES, prepared now if need be; NULL if that fails. The first pass is
 * the one that was planned and stays, as does KEEP. */
static const dnnl_pass *pass_for(conv_dnnl *d, cohort_conv_direction direction, size_t samples,
                                 const dnnl_pass *keep)
{
    dnnl_pass *passes = d->passes[direction];
    for (int i = 0; i < PASSES; i++)
        if (passes[i].samples == samples)
            return &passes[i];
    size_t *next = &d->next[direction];
    do
        *next = *next + 1 < PASSES ? *next + 1 : 1;
    while (&passes[*next] == keep);
    dnnl_pass *pass = &passes[*next];
    pass_clear(pass, d->threads);
    if (!pass_make(pass, d, direction, samples))
        return NULL;
    if (pass->weights_bytes <= d->weights_bytes && pass->scratchpad_bytes <= d->scratchpad_bytes)
        return pass;
    pass_clear(pass, d->threads);
    return NULL;
}

/* An argument of a primitive: its role, the operand, and where its data are. */
typedef struct dnnl_argument {
    int role, operand;
    const void *data;
} dnnl_argument;

enum { ARGUMENTS_MOST = 5 };

/* On the calling thread, which takes the memories of THREAD. */
static bool run(const conv_dnnl *d, const dnnl_pass *pass, dnnl_primitive_t primitive,
                const dnnl_argument *arguments, int count, size_t thread)
{
    dnnl_exec_arg_t args[ARGUMENTS_MOST];
    const int threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    bool ok = true;
    for (int i = 0; i < count && ok; i++) {
        args[i].arg = arguments[i].role;
        args[i].memory = pass->memories[thread * OPERANDS + (size_t)arguments[i].operand];
        ok = DNNL_OK(dnnl_memory_set_data_handle(args[i].memory, (void *)arguments[i].data));
    }
    if (threads > 1)
        omp_set_num_threads(1);
    ok = ok && DNNL_OK(dnnl_primitive_execute(primitive, d->streams[thread], count, args)) &&
         DNNL_OK(dnnl_stream_wait(d->streams[thread]));
    if (threads > 1)
        omp_set_num_threads(threads);
    return ok;
}

bool conv_dnnl_begin(conv_dnnl_job *job, conv_dnnl *d, cohort_conv_direction direction,
                     const real *kernel, size_t lane, size_t batch, real *shared, real *work,
                     size_t stride)
{
    *job = (conv_dnnl_job){.d = d, .shared = shared, .work = work, .stride = stride};
    const size_t counts[2] = {batch < lane ? batch : lane, batch < lane ? 0 : batch % lane};
    for (int i = 0; i < 2; i++) {
        if (counts[i] == 0)
            continue;
        const dnnl_pass *pass = pass_for(d, direction, counts[i], job->passes[0]);
        if (!pass)
            return false;
        if (direction != COHORT_CONV_WEIGHTS) {
            real *weights = shared + (size_t)i * d->weights_bytes / sizeof(real);
            const dnnl_argument arguments[] = {{DNNL_ARG_FROM, PLAIN, kernel},
                                               {DNNL_ARG_TO, WEIGHTS, weights}};
            if (!run(d, pass, pass->reorder, arguments, 2, 0))
                return false;
        }
        job->passes[i] = pass;
    }
    return true;
}

/* The pass of a job for SAMPLES; the shared kernel, or the own gradient, and the
 * scratchpad of THREAD. */
static const dnnl_pass *job_pass(const conv_dnnl_job *job, size_t samples, size_t thread,
                                 real **weights, real **scratchpad)
{
    const size_t index = job->passes[0]->samples == samples ? 0 : 1;
    real *work = job->work + thread * job->stride;
    *weights = job->shared ? job->shared + index * job->d->weights_bytes / sizeof(real) : work;
    *scratchpad = work + job->d->weights_bytes / sizeof(real);
    return job->passes[index];
}

/* The images X and Y of SAMPLES as DIRECTION wants to read them: *x and *y, where not NULL, become
 * what they are rounded to. */
static void read_images(const conv_dnnl_job *job, cohort_conv_direction direction, const void **x,
                        const void **y, size_t samples, size_t thread)
{
    const conv_dnnl *d = job->d;
    if (!d->bf16[direction])
        return;
    const cohort_window *w = &d->shape->window;
    real *at =
        job->work + thread * job->stride + (d->weights_bytes + d->scratchpad_bytes) / sizeof(real);
    if (x) {
        cohort_bf16_round((uint16_t *)at, *x,
                          samples * w->in_height * w->in_width * d->shape->in_channels);
        *x = at;
    }
    if (y) {
        at += rounded_x(d->shape, samples);
        cohort_bf16_round((uint16_t *)at, *y,
                          samples * w->out_height * w->out_width * d->shape->out_channels);
        *y = at;
    }
}

bool conv_dnnl_forward(const conv_dnnl_job *job, real *y, const real *x, const real *bias,
                       size_t samples, size_t thread)
{
    real *weights, *scratchpad;
    const void *from = x;
    const dnnl_pass *pass = job_pass(job, samples, thread, &weights, &scratchpad);
    read_images(job, COHORT_CONV_FORWARD, &from, NULL, samples, thread);
    const dnnl_argument arguments[] = {{DNNL_ARG_SRC, X, from},
                                       {DNNL_ARG_WEIGHTS, WEIGHTS, weights},
                                       {DNNL_ARG_BIAS, BIAS, bias ? bias : job->d->zeros},
                                       {DNNL_ARG_DST, Y, y},
                                       {DNNL_ARG_SCRATCHPAD, SCRATCHPAD, scratchpad}};
    return run(job->d, pass, pass->convolve, arguments, 5, thread);
}

bool conv_dnnl_data(const conv_dnnl_job *job, real *dx, const real *dy, size_t samples,
                    size_t thread)
{
    real *weights, *scratchpad;
    const void *from = dy;
    const dnnl_pass *pass = job_pass(job, samples, thread, &weights, &scratchpad);
    read_images(job, COHORT_CONV_DATA, NULL, &from, samples, thread);
    const dnnl_argument arguments[] = {{DNNL_ARG_DIFF_SRC, X, dx},
                                       {DNNL_ARG_WEIGHTS, WEIGHTS, weights},
                                       {DNNL_ARG_DIFF_DST, Y, from},
                                       {DNNL_ARG_SCRATCHPAD, SCRATCHPAD, scratchpad}};
    return run(job->d, pass, pass->convolve, arguments, 4, thread);
}

bool conv_dnnl_weights(const conv_dnnl_job *job, real *dkernel, const real *x, const real *dy,
                       size_t samples, size_t thread)
{
    real *weights, *scratchpad;
    const void *images = x, *gradient = dy;
    const dnnl_pass *pass = job_pass(job, samples, thread, &weights, &scratchpad);
    read_images(job, COHORT_CONV_WEIGHTS, &images, &gradient, samples, thread);
    const dnnl_argument arguments[] = {{DNNL_ARG_SRC, X, images},
                                       {DNNL_ARG_DIFF_WEIGHTS, WEIGHTS, weights},
                                       {DNNL_ARG_DIFF_DST, Y, gradient},
                                       {DNNL_ARG_SCRATCHPAD, SCRATCHPAD, scratchpad}};
    const dnnl_argument back[] = {{DNNL_ARG_FROM, WEIGHTS, weights}, {DNNL_ARG_TO, PLAIN, dkernel}};
    return run(job->d, pass, pass->convolve, arguments, 4, thread) &&
           run(job->d, pass, pass->reorder, back, 2, thread);
}

#else

cohort_status conv_dnnl_create(conv_dnnl **out, const cohort_conv_shape *shape,
                               const size_t samples[COHORT_CONV_DIRECTION_COUNT], size_t threads)
{
    (void)shape, (void)samples, (void)threads;
    *out = NULL;
    return COHORT_OK;
}

void conv_dnnl_destroy(conv_dnnl *d)
{
    (void)d;
}

bool conv_dnnl_can(const conv_dnnl *d, cohort_conv_direction direction)
{
    (void)d, (void)direction;
    return false;
}

bool conv_dnnl_is_bf16(const conv_dnnl *d, cohort_conv_direction direction)
{
    (void)d, (void)direction;
    return false;
}

size_t conv_dnnl_shared(const conv_dnnl *d)
{
    (void)d;
    return 0;
}

size_t conv_dnnl_work(const conv_dnnl *d)
{
    (void)d;
    return 0;
}

bool conv_dnnl_begin(conv_dnnl_job *job, conv_dnnl *d, cohort_conv_direction direction,
                     const real *kernel, size_t lane, size_t batch, real *shared, real *work,
                     size_t stride)
{
    (void)job, (void)d, (void)direction, (void)kernel, (void)lane, (void)batch, (void)shared;
    (void)work, (void)stride;
    return false;
}

bool conv_dnnl_forward(const conv_dnnl_job *job, real *y, const real *x, const real *bias,
                       size_t samples, size_t thread)
{
    (void)job, (void)y, (void)x, (void)bias, (void)samples, (void)thread;
    return false;
}

bool conv_dnnl_data(const conv_dnnl_job *job, real *dx, const real *dy, size_t samples,
                    size_t thread)
{
    (void)job, (void)dx, (void)dy, (void)samples, (void)thread;
    return false;
}

bool conv_dnnl_weights(const conv_dnnl_job *job, real *dkernel, const real *x, const real *dy,
                       size_t samples, size_t thread)
{
    (void)job, (void)dkernel, (void)x, (void)dy, (void)samples, (void)thread;
    return false;
}

#endif

void cohort_conv_library(char *text, size_t bytes)
{
#ifdef CONV_DNNL
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, bytes, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
#else
    snprintf(text, bytes, "without oneDNN");
#endif
}
