/* The oneDNN way. Images stay as they are (nhwc); the kernel is brought into the layout
 * that oneDNN picks, each pass anew since training changes it every time. Work memory
 * is the caller's. Any error here means only that this way is not available. */
#include "kernel/conv_ways.h"

#include <stdio.h>

#ifdef CONV_DNNL

#include <oneapi/dnnl/dnnl.h>

#include "base/memory.h"
#include "base/shape.h"

enum { PASSES = 4 /* batch sizes that are kept prepared */ };

/* One direction prepared for one batch size. */
typedef struct dnnl_pass {
    size_t batch; /* 0: free */
    dnnl_primitive_t convolve, reorder;
    dnnl_memory_t x, y, weights, plain, bias, scratchpad; /* or their gradients */
    size_t weights_bytes, scratchpad_bytes;
} dnnl_pass;

struct conv_dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const cohort_conv_shape *shape;
    dnnl_pass passes[COHORT_CONV_DIRECTION_COUNT][PASSES];
    size_t scratch_bytes; /* planned; no pass needs more */
    real *zeros;          /* [out_channels], for a convolution without bias */
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

static bool describe(dnnl_problem *p, const cohort_conv_shape *shape, size_t batch)
{
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
    return DNNL_OK(dnnl_memory_desc_init_by_tag(&p->x, 4, x, dnnl_f32, dnnl_nhwc)) &&
           DNNL_OK(dnnl_memory_desc_init_by_tag(&p->y, 4, y, dnnl_f32, dnnl_nhwc)) &&
           DNNL_OK(dnnl_memory_desc_init_by_tag(&p->weights, 4, weights, dnnl_f32,
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

static bool make_memory(dnnl_memory_t *out, const conv_dnnl *d, const dnnl_memory_desc_t *desc)
{
    return DNNL_OK(dnnl_memory_create(out, desc, d->engine, DNNL_MEMORY_NONE));
}

static void pass_clear(dnnl_pass *pass)
{
    dnnl_memory_t memories[] = {pass->x,     pass->y,    pass->weights,
                                pass->plain, pass->bias, pass->scratchpad};
    for (size_t i = 0; i < sizeof memories / sizeof memories[0]; i++)
        if (memories[i])
            dnnl_memory_destroy(memories[i]);
    if (pass->convolve)
        dnnl_primitive_destroy(pass->convolve);
    if (pass->reorder)
        dnnl_primitive_destroy(pass->reorder);
    *pass = (dnnl_pass){0};
}

static bool pass_fill(dnnl_pass *pass, const conv_dnnl *d, const dnnl_problem *p,
                      cohort_conv_direction direction, dnnl_primitive_desc_t description)
{
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(
        description,
        direction == COHORT_CONV_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *scratchpad =
        dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    const bool back = direction == COHORT_CONV_WEIGHTS;
    pass->weights_bytes = cohort_size_align(dnnl_memory_desc_get_size(weights), 64);
    pass->scratchpad_bytes = dnnl_memory_desc_get_size(scratchpad);
    return DNNL_OK(dnnl_primitive_create(&pass->convolve, description)) &&
           make_reorder(&pass->reorder, d, back ? weights : &p->plain,
                        back ? &p->plain : weights) &&
           make_memory(&pass->x, d, &p->x) && make_memory(&pass->y, d, &p->y) &&
           make_memory(&pass->weights, d, weights) && make_memory(&pass->plain, d, &p->plain) &&
           make_memory(&pass->bias, d, &p->bias) && make_memory(&pass->scratchpad, d, scratchpad);
}

static bool pass_make(dnnl_pass *pass, const conv_dnnl *d, cohort_conv_direction direction,
                      size_t batch)
{
    dnnl_problem problem;
    dnnl_primitive_desc_t forward = NULL, description = NULL;
    bool ok = describe(&problem, d->shape, batch) &&
              make_description(&forward, d, &problem, COHORT_CONV_FORWARD, NULL);
    if (ok && direction != COHORT_CONV_FORWARD)
        ok = make_description(&description, d, &problem, direction, forward);
    ok = ok && pass_fill(pass, d, &problem, direction, description ? description : forward);
    if (description)
        dnnl_primitive_desc_destroy(description);
    if (forward)
        dnnl_primitive_desc_destroy(forward);
    if (ok)
        pass->batch = batch;
    else
        pass_clear(pass);
    return ok;
}

cohort_status conv_dnnl_create(conv_dnnl **out, const cohort_conv_shape *shape, size_t batch,
                               bool training, bool needs_dx)
{
    conv_dnnl *d;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&d, 1));
    d->shape = shape;
    const cohort_status status = COHORT_ALLOCATE(&d->zeros, shape->out_channels);
    bool ok = status == COHORT_OK && DNNL_OK(dnnl_engine_create(&d->engine, dnnl_cpu, 0)) &&
              DNNL_OK(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags));
    const bool wanted[] = {true, training && needs_dx, training};
    for (int i = 0; i < COHORT_CONV_DIRECTION_COUNT && ok; i++) {
        dnnl_pass *pass = d->passes[i];
        if (!wanted[i] || !pass_make(pass, d, (cohort_conv_direction)i, batch))
            continue;
        const size_t bytes = pass->weights_bytes + pass->scratchpad_bytes;
        if (d->scratch_bytes < bytes)
            d->scratch_bytes = bytes;
    }
    if (ok)
        *out = d;
    else
        conv_dnnl_destroy(d);
    return status;
}

void conv_dnnl_destroy(conv_dnnl *d)
{
    if (!d)
        return;
    for (int i = 0; i < COHORT_CONV_DIRECTION_COUNT; i++)
        for (int p = 0; p < PASSES; p++)
            pass_clear(&d->passes[i][p]);
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    cohort_free(d->zeros);
    cohort_free(d);
}

bool conv_dnnl_can(const conv_dnnl *d, cohort_conv_direction direction)
{
    return d->passes[direction][0].batch != 0;
}

size_t conv_dnnl_scratch(const conv_dnnl *d)
{
    return (d->scratch_bytes + sizeof(real) - 1) / sizeof(real);
}

/* The pass for BATCH, prepared now if it is the first of its size; NULL if that fails. */
static dnnl_pass *pass_for(conv_dnnl *d, cohort_conv_direction direction, size_t batch)
{
    for (int i = 0; i < PASSES; i++) {
        dnnl_pass *pass = &d->passes[direction][i];
        if (pass->batch == batch)
            return pass;
        if (pass->batch)
            continue;
        if (!pass_make(pass, d, direction, batch))
            return NULL;
        if (pass->weights_bytes + pass->scratchpad_bytes <= d->scratch_bytes)
            return pass;
        pass_clear(pass);
        return NULL;
    }
    return NULL;
}

static bool run_reorder(const conv_dnnl *d, const dnnl_pass *pass, dnnl_memory_t from,
                        dnnl_memory_t to)
{
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return DNNL_OK(dnnl_primitive_execute(pass->reorder, d->stream, 2, args));
}

static bool set(dnnl_memory_t memory, const void *data)
{
    return DNNL_OK(dnnl_memory_set_data_handle(memory, (void *)data));
}

/* Points PASS at its operands; WORK holds weights, then scratchpad. */
static bool set_all(const dnnl_pass *pass, const real *x, const real *y, const real *plain,
                    real *work)
{
    return set(pass->x, x) && set(pass->y, y) && set(pass->plain, plain) &&
           set(pass->weights, work) && set(pass->scratchpad, (char *)work + pass->weights_bytes);
}

bool conv_dnnl_forward(conv_dnnl *d, real *y, const real *x, const real *kernel, const real *bias,
                       size_t batch, real *work)
{
    const dnnl_pass *pass = pass_for(d, COHORT_CONV_FORWARD, batch);
    if (!pass || !set_all(pass, x, y, kernel, work) || !set(pass->bias, bias ? bias : d->zeros) ||
        !run_reorder(d, pass, pass->plain, pass->weights))
        return false;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, pass->x},
                                    {DNNL_ARG_WEIGHTS, pass->weights},
                                    {DNNL_ARG_BIAS, pass->bias},
                                    {DNNL_ARG_DST, pass->y},
                                    {DNNL_ARG_SCRATCHPAD, pass->scratchpad}};
    return DNNL_OK(dnnl_primitive_execute(pass->convolve, d->stream, 5, args)) &&
           DNNL_OK(dnnl_stream_wait(d->stream));
}

bool conv_dnnl_data(conv_dnnl *d, real *dx, const real *dy, const real *kernel, size_t batch,
                    real *work)
{
    const dnnl_pass *pass = pass_for(d, COHORT_CONV_DATA, batch);
    if (!pass || !set_all(pass, dx, dy, kernel, work) ||
        !run_reorder(d, pass, pass->plain, pass->weights))
        return false;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_DIFF_SRC, pass->x},
                                    {DNNL_ARG_WEIGHTS, pass->weights},
                                    {DNNL_ARG_DIFF_DST, pass->y},
                                    {DNNL_ARG_SCRATCHPAD, pass->scratchpad}};
    return DNNL_OK(dnnl_primitive_execute(pass->convolve, d->stream, 4, args)) &&
           DNNL_OK(dnnl_stream_wait(d->stream));
}

bool conv_dnnl_weights(conv_dnnl *d, real *dkernel, const real *x, const real *dy, size_t batch,
                       real *work)
{
    const dnnl_pass *pass = pass_for(d, COHORT_CONV_WEIGHTS, batch);
    if (!pass || !set_all(pass, x, dy, dkernel, work))
        return false;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, pass->x},
                                    {DNNL_ARG_DIFF_WEIGHTS, pass->weights},
                                    {DNNL_ARG_DIFF_DST, pass->y},
                                    {DNNL_ARG_SCRATCHPAD, pass->scratchpad}};
    return DNNL_OK(dnnl_primitive_execute(pass->convolve, d->stream, 4, args)) &&
           run_reorder(d, pass, pass->weights, pass->plain) && DNNL_OK(dnnl_stream_wait(d->stream));
}

#else

cohort_status conv_dnnl_create(conv_dnnl **out, const cohort_conv_shape *shape, size_t batch,
                               bool training, bool needs_dx)
{
    (void)shape;
    (void)batch;
    (void)training;
    (void)needs_dx;
    *out = NULL;
    return COHORT_OK;
}

void conv_dnnl_destroy(conv_dnnl *d)
{
    (void)d;
}

bool conv_dnnl_can(const conv_dnnl *d, cohort_conv_direction direction)
{
    (void)d;
    (void)direction;
    return false;
}

size_t conv_dnnl_scratch(const conv_dnnl *d)
{
    (void)d;
    return 0;
}

bool conv_dnnl_forward(conv_dnnl *d, real *y, const real *x, const real *kernel, const real *bias,
                       size_t batch, real *work)
{
    (void)d, (void)y, (void)x, (void)kernel, (void)bias, (void)batch, (void)work;
    return false;
}

bool conv_dnnl_data(conv_dnnl *d, real *dx, const real *dy, const real *kernel, size_t batch,
                    real *work)
{
    (void)d, (void)dx, (void)dy, (void)kernel, (void)batch, (void)work;
    return false;
}

bool conv_dnnl_weights(conv_dnnl *d, real *dkernel, const real *x, const real *dy, size_t batch,
                       real *work)
{
    (void)d, (void)dkernel, (void)x, (void)dy, (void)batch, (void)work;
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
