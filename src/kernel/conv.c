#include "kernel/conv.h"

#include <omp.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/conv_ways.h"

/* Samples that go through a backward pass together: as many as have GROUP_BYTES of x, y
 * and dy, but enough to fill tiles with. */
enum { GROUP_BYTES = 512 * 1024, GROUP_LEAST = 24 };

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool conv_measure_sizes(cohort_conv *conv)
{
    const cohort_window *w = &conv->shape.window;
    conv_sizes *s = &conv->sizes;
    size_t in_pixels, taps;
    return cohort_size_multiply(&in_pixels, w->in_height, w->in_width) &&
           cohort_size_multiply(&s->in_count, in_pixels, conv->shape.in_channels) &&
           cohort_size_multiply(&s->pixels, w->out_height, w->out_width) &&
           cohort_size_multiply(&s->out_count, s->pixels, conv->shape.out_channels) &&
           cohort_size_multiply(&taps, w->height, w->width) &&
           cohort_size_multiply(&s->taps, taps, conv->shape.in_channels) &&
           cohort_size_multiply(&s->kernel_count, s->taps, conv->shape.out_channels);
}

static cohort_status create_direct(cohort_conv *conv)
{
    const cohort_conv_shape *shape = &conv->shape;
    const cohort_window *w = &shape->window;
    COHORT_TRY(conv_direct_create(&conv->direct_forward, w, shape->in_channels, shape->out_channels,
                                  conv->batch));
    if (!conv->training || !conv->needs_dx || w->stride_y != 1 || w->stride_x != 1)
        return COHORT_OK;
    const cohort_window back = {.in_height = w->out_height,
                                .in_width = w->out_width,
                                .out_height = w->in_height,
                                .out_width = w->in_width,
                                .height = w->height,
                                .width = w->width,
                                .stride_y = 1,
                                .stride_x = 1,
                                .pad_top = w->height - 1 - w->pad_top,
                                .pad_left = w->width - 1 - w->pad_left};
    return conv_direct_create(&conv->direct_data, &back, shape->out_channels, shape->in_channels,
                              conv->batch);
}

/* Whether the tiles of the direct way fit the registers. */
static bool has_wide_registers(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

/* What is fastest on most shapes, for those who do not measure: direct, where its tiles
 * fit the registers, but for dx, where it meets padding most. */
static void choose_by_rule(cohort_conv *conv)
{
    static const cohort_conv_way orders[][COHORT_CONV_WAY_COUNT] = {
        {COHORT_CONV_DIRECT, COHORT_CONV_DNNL, COHORT_CONV_GEMM},
        {COHORT_CONV_DNNL, COHORT_CONV_DIRECT, COHORT_CONV_GEMM},
        {COHORT_CONV_DNNL, COHORT_CONV_GEMM, COHORT_CONV_DIRECT},
    };
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_direction direction = (cohort_conv_direction)d;
        const cohort_conv_way *order = !has_wide_registers()           ? orders[2]
                                       : direction == COHORT_CONV_DATA ? orders[1]
                                                                       : orders[0];
        while (!cohort_conv_can(conv, direction, *order))
            order++; /* gemm always can */
        conv->ways[d] = *order;
    }
}

cohort_status cohort_conv_create(cohort_conv **out, const cohort_conv_shape *shape, size_t batch,
                                 bool training, bool needs_dx)
{
    cohort_conv *conv;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&conv, 1));
    conv->shape = *shape;
    conv->batch = batch ? batch : 1;
    conv->threads = (size_t)omp_get_max_threads();
    conv->training = training;
    conv->needs_dx = needs_dx;
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, conv_measure_sizes(conv), COHORT_MEMORY,
                        "a convolution of more elements than an address can hold; make it smaller");
    const size_t sample_bytes = (conv->sizes.in_count + 2 * conv->sizes.out_count) * sizeof(real);
    conv->group = larger(GROUP_BYTES / sample_bytes, GROUP_LEAST);
    COHORT_TRY_DONE(status, create_direct(conv));
    COHORT_TRY_DONE(status,
                    conv_dnnl_create(&conv->dnnl, &conv->shape, conv->batch, training, needs_dx));
    choose_by_rule(conv);
    *out = conv;
    return COHORT_OK;
done:
    cohort_conv_destroy(conv);
    return status;
}

void cohort_conv_destroy(cohort_conv *conv)
{
    if (conv) {
        conv_direct_destroy(conv->direct_forward);
        conv_direct_destroy(conv->direct_data);
        conv_dnnl_destroy(conv->dnnl);
    }
    cohort_free(conv);
}

/* Scratch: the turned kernel of the direct way (backward), then for each thread the
 * work of the ways and (backward) partial kernel and bias gradients. For dnnl: a kernel
 * gradient that is to be added, then its own. */

static size_t work_reals(const cohort_conv *conv, bool backward)
{
    size_t count = conv_gemm_work(conv);
    if (conv->direct_forward)
        count = larger(count, conv_direct_work(conv->direct_forward));
    if (backward && conv->direct_data)
        count = larger(count, conv_direct_work(conv->direct_data));
    return cohort_size_align(count, COHORT_LINE_REALS);
}

static size_t shared_reals(const cohort_conv *conv)
{
    return conv->direct_data ? cohort_size_align(conv->sizes.kernel_count, COHORT_LINE_REALS) : 0;
}

static size_t partial_reals(const cohort_conv *conv)
{
    return conv->sizes.kernel_count + conv->shape.out_channels;
}

static size_t thread_reals(const cohort_conv *conv, bool backward)
{
    size_t count = work_reals(conv, backward);
    if (backward && conv->threads > 1)
        count += cohort_size_align(partial_reals(conv), COHORT_LINE_REALS);
    return count;
}

static size_t dnnl_reals(const cohort_conv *conv)
{
    if (!conv->dnnl)
        return 0;
    return cohort_size_align(conv->sizes.kernel_count, COHORT_LINE_REALS) +
           conv_dnnl_scratch(conv->dnnl);
}

size_t cohort_conv_forward_scratch(const cohort_conv *conv)
{
    return larger(conv->threads * thread_reals(conv, false), dnnl_reals(conv));
}

size_t cohort_conv_backward_scratch(const cohort_conv *conv)
{
    return larger(shared_reals(conv) + conv->threads * thread_reals(conv, true), dnnl_reals(conv));
}

/* Threads for BATCH samples: each takes a run of them. */
static size_t use_threads(const cohort_conv *conv, size_t batch)
{
    size_t threads = (size_t)omp_get_max_threads();
    if (threads > conv->threads)
        threads = conv->threads;
    return threads > batch ? batch : threads;
}

/* Bias and activation. */

COHORT_CLONES
void conv_finish(real *restrict y, const real *restrict bias, bool relu, size_t rows,
                 size_t channels)
{
    if (!bias && !relu)
        return;
    for (size_t row = 0; row < rows; row++, y += channels) {
        if (!relu) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] += bias[c];
            continue;
        }
        if (!bias) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                y[c] = y[c] < 0 ? 0 : y[c];
            continue;
        }
#pragma omp simd
        for (size_t c = 0; c < channels; c++) {
            const real sum = y[c] + bias[c];
            y[c] = sum < 0 ? 0 : sum;
        }
    }
}

/* dy *= (y > 0) when relu; dbias += column sums of dy. */
COHORT_CLONES
static void backward_finish(real *restrict dy, real *restrict dbias, const real *restrict y,
                            bool relu, size_t rows, size_t channels)
{
    for (size_t row = 0; row < rows; row++, dy += channels) {
        if (relu) {
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                dy[c] = y[c] > 0 ? dy[c] : 0;
            y += channels;
        }
        if (dbias)
#pragma omp simd
            for (size_t c = 0; c < channels; c++)
                dbias[c] += dy[c];
    }
}

static void forward_run(const cohort_conv *conv, real *y, const real *x, const real *kernel,
                        const real *bias, size_t samples, real *work)
{
    if (conv->ways[COHORT_CONV_FORWARD] == COHORT_CONV_DIRECT)
        conv_direct_forward(conv->direct_forward, y, x, kernel, bias, conv->shape.relu, samples,
                            work);
    else
        conv_gemm_forward(conv, y, x, kernel, bias, samples, work);
}

void cohort_conv_forward(cohort_conv *conv, real *y, const real *x, const real *kernel,
                         const real *bias, size_t batch, real *scratch)
{
    const size_t threads = use_threads(conv, batch), stride = thread_reals(conv, false);
    const conv_sizes *s = &conv->sizes;
    if (conv->ways[COHORT_CONV_FORWARD] == COHORT_CONV_DNNL && batch > 0 &&
        conv_dnnl_forward(conv->dnnl, y, x, kernel, bias, batch, scratch))
        return;
    if (threads <= 1) {
        forward_run(conv, y, x, kernel, bias, batch, scratch);
        return;
    }
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
    for (size_t t = 0; t < threads; t++) {
        const size_t begin = cohort_part_begin(batch, t, threads);
        const size_t count = cohort_part_begin(batch, t + 1, threads) - begin;
        forward_run(conv, y + begin * s->out_count, x + begin * s->in_count, kernel, bias, count,
                    scratch + t * stride);
    }
}

typedef struct conv_backward {
    cohort_conv_grads grads;
    real *dy;
    const real *x, *y, *kernel;
    const real *turned; /* kernel, for the direct way */
} conv_backward;

static void weights_run(const cohort_conv *conv, real *dkernel, const real *x, const real *dy,
                        size_t samples, bool add, real *work)
{
    if (conv->ways[COHORT_CONV_WEIGHTS] == COHORT_CONV_DIRECT)
        conv_direct_weights(conv->direct_forward, dkernel, x, dy, samples, add, work);
    else
        conv_gemm_weights(conv, dkernel, x, dy, samples, add, work);
}

static void data_run(const cohort_conv *conv, real *dx, const real *dy, const conv_backward *b,
                     size_t samples, real *work)
{
    if (conv->ways[COHORT_CONV_DATA] == COHORT_CONV_DIRECT)
        conv_direct_forward(conv->direct_data, dx, dy, b->turned, NULL, false, samples, work);
    else
        conv_gemm_data(conv, dx, dy, b->kernel, samples, work);
}

/* One thread's SAMPLES from FIRST on, a cache-sized group at a time. */
static void backward_run(const cohort_conv *conv, const conv_backward *b, size_t first,
                         size_t samples, real *work)
{
    const conv_sizes *s = &conv->sizes;
    const cohort_conv_grads *grads = &b->grads;
    const bool relu = conv->shape.relu;
    if (grads->bias && !grads->add)
        memset(grads->bias, 0, conv->shape.out_channels * sizeof(real));
    for (size_t done = 0; done < samples; done += conv->group) {
        const size_t count = samples - done < conv->group ? samples - done : conv->group;
        const size_t at = first + done;
        real *dy = b->dy + at * s->out_count;
        if (relu || grads->bias)
            backward_finish(dy, grads->bias, relu ? b->y + at * s->out_count : NULL, relu,
                            count * s->pixels, conv->shape.out_channels);
        if (grads->kernel)
            weights_run(conv, grads->kernel, b->x + at * s->in_count, dy, count,
                        grads->add || done > 0, work);
        if (grads->x)
            data_run(conv, grads->x + at * s->in_count, dy, b, count, work);
    }
}

COHORT_CLONES
static void add_partial(real *restrict sum, const real *restrict part, size_t count)
{
    if (sum)
#pragma omp simd
        for (size_t i = 0; i < count; i++)
            sum[i] += part[i];
}

/* Samples dealt to THREADS; the partial sums are added in thread order. */
static void backward_threads(const cohort_conv *conv, const conv_backward *all, size_t batch,
                             size_t threads, real *scratch)
{
    const size_t stride = thread_reals(conv, true), kernel_count = conv->sizes.kernel_count;
    const size_t work = work_reals(conv, true);
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
    for (size_t t = 0; t < threads; t++) {
        conv_backward mine = *all;
        if (t > 0) {
            real *partial = scratch + t * stride + work;
            mine.grads.kernel = all->grads.kernel ? partial : NULL;
            mine.grads.bias = all->grads.bias ? partial + kernel_count : NULL;
            mine.grads.add = false;
        }
        const size_t begin = cohort_part_begin(batch, t, threads);
        backward_run(conv, &mine, begin, cohort_part_begin(batch, t + 1, threads) - begin,
                     scratch + t * stride);
    }
    for (size_t t = 1; t < threads; t++) {
        const real *partial = scratch + t * stride + work;
        add_partial(all->grads.kernel, partial, kernel_count);
        add_partial(all->grads.bias, partial + kernel_count, conv->shape.out_channels);
    }
}

/* ALL by the ways that go sample by sample (gemm where dnnl was chosen). */
static void backward_samples(const cohort_conv *conv, const conv_backward *all, size_t batch,
                             real *scratch)
{
    conv_backward b = *all;
    if (b.grads.x && conv->ways[COHORT_CONV_DATA] == COHORT_CONV_DIRECT) {
        conv_direct_turn(scratch, b.kernel, conv->shape.window.height * conv->shape.window.width,
                         conv->shape.in_channels, conv->shape.out_channels);
        b.turned = scratch;
    }
    scratch += shared_reals(conv);
    const size_t threads = use_threads(conv, batch);
    if (threads <= 1)
        backward_run(conv, &b, 0, batch, scratch);
    else
        backward_threads(conv, &b, batch, threads, scratch);
}

static bool dnnl_weights(const cohort_conv *conv, const conv_backward *b, size_t batch,
                         real *scratch)
{
    const cohort_conv_grads *grads = &b->grads;
    real *to = grads->add ? scratch : grads->kernel;
    real *work = scratch + cohort_size_align(conv->sizes.kernel_count, COHORT_LINE_REALS);
    if (!conv_dnnl_weights(conv->dnnl, to, b->x, b->dy, batch, work))
        return false;
    if (grads->add)
        add_partial(grads->kernel, scratch, conv->sizes.kernel_count);
    return true;
}

void cohort_conv_backward(cohort_conv *conv, const cohort_conv_grads *grads, real *dy,
                          const real *x, const real *y, const real *kernel, size_t batch,
                          real *scratch)
{
    if (batch == 0) {
        if (grads->kernel && !grads->add)
            memset(grads->kernel, 0, conv->sizes.kernel_count * sizeof(real));
        if (grads->bias && !grads->add)
            memset(grads->bias, 0, conv->shape.out_channels * sizeof(real));
        return;
    }
    conv_backward own = {.grads = *grads, .dy = dy, .x = x, .y = y, .kernel = kernel};
    conv_backward rest = own; /* what dnnl is to do; then, what it did not do */
    rest.grads.bias = NULL;
    if (conv->ways[COHORT_CONV_WEIGHTS] == COHORT_CONV_DNNL)
        own.grads.kernel = NULL;
    else
        rest.grads.kernel = NULL;
    if (conv->ways[COHORT_CONV_DATA] == COHORT_CONV_DNNL)
        own.grads.x = NULL;
    else
        rest.grads.x = NULL;
    backward_samples(conv, &own, batch, scratch);
    if (rest.grads.kernel && dnnl_weights(conv, &rest, batch, scratch))
        rest.grads.kernel = NULL;
    if (rest.grads.x && conv_dnnl_data(conv->dnnl, rest.grads.x, dy, kernel, batch, scratch))
        rest.grads.x = NULL;
    if (rest.grads.kernel || rest.grads.x)
        backward_samples(conv, &rest, batch, scratch); /* relu of dy twice is relu once */
}

/* Choosing. */

bool cohort_conv_can(const cohort_conv *conv, cohort_conv_direction direction, cohort_conv_way way)
{
    if (way == COHORT_CONV_DIRECT)
        return direction == COHORT_CONV_DATA ? conv->direct_data != NULL
                                             : conv->direct_forward != NULL;
    if (way == COHORT_CONV_DNNL)
        return conv->dnnl && conv_dnnl_can(conv->dnnl, direction);
    return way == COHORT_CONV_GEMM;
}

enum { WAY_BITS = 2, WAY_MASK = (1 << WAY_BITS) - 1 };

cohort_conv_way cohort_conv_choice_way(unsigned choice, cohort_conv_direction direction)
{
    return (cohort_conv_way)(choice >> (WAY_BITS * (unsigned)direction) & WAY_MASK);
}

unsigned cohort_conv_choice_with(unsigned choice, cohort_conv_direction direction,
                                 cohort_conv_way way)
{
    const unsigned shift = WAY_BITS * (unsigned)direction;
    return (choice & ~((unsigned)WAY_MASK << shift)) | (unsigned)way << shift;
}

unsigned cohort_conv_choice(const cohort_conv *conv)
{
    unsigned choice = 0;
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++)
        choice = cohort_conv_choice_with(choice, (cohort_conv_direction)d, conv->ways[d]);
    return choice;
}

void cohort_conv_choose(cohort_conv *conv, unsigned choice)
{
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_direction direction = (cohort_conv_direction)d;
        const cohort_conv_way way = cohort_conv_choice_way(choice, direction);
        conv->ways[d] = cohort_conv_can(conv, direction, way) ? way : COHORT_CONV_GEMM;
    }
}

const char *cohort_conv_way_name(cohort_conv_way way)
{
    static const char *const names[] = {"gemm", "direct", "dnnl"};
    return way < COHORT_CONV_WAY_COUNT ? names[way] : "unknown";
}

/* Measuring. */

typedef struct tune_buffers {
    real *x, *y, *dx, *dy, *kernel, *dkernel, *scratch;
} tune_buffers;

static void tune_free(tune_buffers *b)
{
    real *all[] = {b->x, b->y, b->dx, b->dy, b->kernel, b->dkernel, b->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        cohort_free(all[i]);
}

/* Any numbers of ordinary size do: the time does not depend on them. */
static void tune_fill(real *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (real)(i % 31) / 31 - REAL(0.5);
}

static cohort_status tune_allocate(tune_buffers *b, const cohort_conv *conv)
{
    const conv_sizes *s = &conv->sizes;
    const size_t in = conv->batch * s->in_count, out = conv->batch * s->out_count;
    const size_t forward = cohort_conv_forward_scratch(conv);
    const size_t backward = cohort_conv_backward_scratch(conv);
    COHORT_TRY(COHORT_ALLOCATE(&b->x, in));
    COHORT_TRY(COHORT_ALLOCATE(&b->dx, in));
    COHORT_TRY(COHORT_ALLOCATE(&b->y, out));
    COHORT_TRY(COHORT_ALLOCATE(&b->dy, out));
    COHORT_TRY(COHORT_ALLOCATE(&b->kernel, s->kernel_count));
    COHORT_TRY(COHORT_ALLOCATE(&b->dkernel, s->kernel_count));
    COHORT_TRY(COHORT_ALLOCATE(&b->scratch, (forward > backward ? forward : backward) + 1));
    tune_fill(b->x, in);
    tune_fill(b->y, out);
    tune_fill(b->dy, out);
    tune_fill(b->kernel, s->kernel_count);
    return COHORT_OK;
}

static void tune_once(cohort_conv *conv, const tune_buffers *b, cohort_conv_direction direction)
{
    cohort_conv_grads grads = {0};
    switch (direction) {
    case COHORT_CONV_FORWARD:
        cohort_conv_forward(conv, b->y, b->x, b->kernel, NULL, conv->batch, b->scratch);
        return;
    case COHORT_CONV_DATA:
        grads.x = b->dx;
        break;
    default:
        grads.kernel = b->dkernel;
    }
    cohort_conv_backward(conv, &grads, b->dy, b->x, b->y, b->kernel, conv->batch, b->scratch);
}

/* The least of the times of single runs, over about SECONDS: what others on the
 * machine add is never part of the least. */
static double tune_measure(cohort_conv *conv, const tune_buffers *b,
                           cohort_conv_direction direction, double seconds)
{
    tune_once(conv, b, direction);
    double best = 0, now = cohort_clock_seconds();
    const double end = now + seconds;
    do {
        const double start = now;
        tune_once(conv, b, direction);
        now = cohort_clock_seconds();
        if (best == 0 || now - start < best)
            best = now - start;
    } while (now < end);
    return best > 0 ? best : 1e-9;
}

static bool tune_wants(const cohort_conv *conv, cohort_conv_direction direction)
{
    return direction == COHORT_CONV_FORWARD ||
           (conv->training && (direction == COHORT_CONV_WEIGHTS || conv->needs_dx));
}

cohort_status cohort_conv_tune(cohort_conv *conv, double seconds,
                               double flops[COHORT_CONV_DIRECTION_COUNT][COHORT_CONV_WAY_COUNT])
{
    const double operations =
        2.0 * (double)conv->batch * (double)conv->sizes.pixels * (double)conv->sizes.kernel_count;
    const double share = seconds / (COHORT_CONV_DIRECTION_COUNT * COHORT_CONV_WAY_COUNT);
    tune_buffers buffers = {0};
    cohort_status status;
    if (flops)
        memset(flops, 0, sizeof(double) * COHORT_CONV_DIRECTION_COUNT * COHORT_CONV_WAY_COUNT);
    COHORT_TRY_DONE(status, tune_allocate(&buffers, conv));
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_direction direction = (cohort_conv_direction)d;
        cohort_conv_way fastest = COHORT_CONV_GEMM;
        double least = 0;
        for (int w = 0; w < COHORT_CONV_WAY_COUNT; w++) {
            const cohort_conv_way way = (cohort_conv_way)w;
            if (!tune_wants(conv, direction) || !cohort_conv_can(conv, direction, way))
                continue;
            conv->ways[d] = way;
            const double time = tune_measure(conv, &buffers, direction, share);
            if (flops)
                flops[d][w] = operations / time;
            if (least == 0 || time < least) {
                least = time;
                fastest = way;
            }
        }
        conv->ways[d] = fastest;
    }
done:
    tune_free(&buffers);
    return status;
}
