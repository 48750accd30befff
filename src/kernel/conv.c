#include "kernel/conv.h"

#include <omp.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/conv_ways.h"

/* A pass is cut into lanes of samples, and the kernel gradient into parts of whole lanes
 * whose sums are added in order. Both depend on shapes alone, never on the number of
 * threads that the lanes and parts are dealt to, so that results do not either.
 *
 * A lane has as many samples as have GROUP_BYTES of x, y and dy, but enough to fill tiles
 * with, and fewer where there would be less than LANES. A part has enough pixels for
 * the sum over parts not to count, and parts few enough for their sums to be small. */
enum {
    GROUP_BYTES = 512 * 1024,
    GROUP_LEAST = 24,
    LANES = 8,
    PARTS = 8,
    PART_PIXELS = 1024,
    PARTS_REALS = 1 << 22,
    /* With so many tiles the direct way divides the kernel instead: each thread computes
     * whole sums of tiles of its own, in the same order. */
    SLICE_TILES = 16,
    BF16_TAPS = 16, /* sums of fewer products gain nothing by bfloat16 */
    FEW_TAPS = 8,
    FEW_PIXELS = 100,
    NARROW_BYTES = 64, /* of the channels that a tile of narrow registers takes at a time */
    WIDE_BYTES = 128   /* the same of wide ones */
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool conv_measure_sizes(cohort_conv *conv)
{
    const cohort_window *w = &conv->shape.window, *kept = conv->pools ? &conv->shape.pool : w;
    conv_sizes *s = &conv->sizes;
    size_t in_pixels, taps;
    return cohort_size_multiply(&in_pixels, w->in_height, w->in_width) &&
           cohort_size_multiply(&s->in_count, in_pixels, conv->shape.in_channels) &&
           cohort_size_multiply(&s->pixels, w->out_height, w->out_width) &&
           cohort_size_multiply(&s->kept_pixels, kept->out_height, kept->out_width) &&
           cohort_size_multiply(&s->out_count, s->pixels, conv->shape.out_channels) &&
           cohort_size_multiply(&taps, w->height, w->width) &&
           cohort_size_multiply(&s->taps, taps, conv->shape.in_channels) &&
           cohort_size_multiply(&s->kernel_count, s->taps, conv->shape.out_channels);
}

/* The lanes and parts of a pass. */
typedef struct conv_plan {
    size_t batch, lane; /* samples */
    size_t lanes;
    size_t part_lanes, parts;
} conv_plan;

/* DIRECT: whose tiles lanes are to fill, or NULL. */
static conv_plan plan_lanes(const cohort_conv *conv, const conv_direct *direct, size_t batch)
{
    const size_t step = direct ? conv_direct_step(direct) : 1;
    const size_t wanted = least((batch + LANES - 1) / LANES, conv->group);
    const size_t steps = (wanted + step - 1) / step;
    conv_plan plan = {.batch = batch, .lane = larger(steps, 1) * step, .part_lanes = 1};
    plan.lanes = plan.parts = (batch + plan.lane - 1) / plan.lane;
    return plan;
}

/* No plan for at most BATCH samples has more. */
static size_t most_lanes(const cohort_conv *conv, size_t batch)
{
    return larger(LANES, (batch + conv->group - 1) / conv->group);
}

static size_t most_parts(const cohort_conv *conv, size_t batch)
{
    const size_t by_pixels = batch * conv->sizes.pixels / PART_PIXELS;
    const size_t by_size = PARTS_REALS / conv->sizes.kernel_count;
    return larger(least(least(by_pixels, by_size), PARTS), 1);
}

/* The lanes of a pass in DIRECTION; backward ones have the same lanes. */
static conv_plan plan_pass(const cohort_conv *conv, cohort_conv_direction direction, size_t batch)
{
    if (direction == COHORT_CONV_FORWARD)
        return plan_lanes(conv, conv->direct_forward, batch);
    conv_plan plan = plan_lanes(conv, conv->direct_data, batch);
    if (plan.lanes) {
        const size_t parts = most_parts(conv, batch);
        plan.part_lanes = (plan.lanes + parts - 1) / parts;
        plan.parts = (plan.lanes + plan.part_lanes - 1) / plan.part_lanes;
    }
    return plan;
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

static cohort_status create_winograd(cohort_conv *conv)
{
    return conv_winograd_create(&conv->winograd, &conv->shape.window, conv->shape.in_channels,
                                conv->shape.out_channels);
}

static cohort_status create_dnnl(cohort_conv *conv)
{
    const conv_plan forward = plan_pass(conv, COHORT_CONV_FORWARD, conv->batch);
    const conv_plan back = plan_pass(conv, COHORT_CONV_DATA, conv->batch);
    const size_t samples[COHORT_CONV_DIRECTION_COUNT] = {
        [COHORT_CONV_FORWARD] = least(forward.lane, conv->batch),
        [COHORT_CONV_DATA] = conv->training && conv->needs_dx ? least(back.lane, conv->batch) : 0,
        [COHORT_CONV_WEIGHTS] =
            conv->training ? least(back.lane * back.part_lanes, conv->batch) : 0};
    return conv_dnnl_create(&conv->dnnl, &conv->shape, samples, conv->threads);
}

/* Whether the direct way would spend much on the frame of zeros around many channels. */
static bool is_framed(const cohort_conv *conv)
{
    const cohort_window *w = &conv->shape.window;
    const bool padded = w->pad_top || w->pad_left ||
                        (w->out_height - 1) * w->stride_y + w->height > w->in_height ||
                        (w->out_width - 1) * w->stride_x + w->width > w->in_width;
    return padded && conv->shape.in_channels * sizeof(real) >= 64;
}

/* Whether the direct way's tiles for narrow registers would do badly in DIRECTION: many sums of
 * next to no products, gradients of kernels of less than two vectors of channels. */
static bool is_meagre(const cohort_conv *conv, cohort_conv_direction direction)
{
    const cohort_window *w = &conv->shape.window;
    if (direction == COHORT_CONV_FORWARD)
        return conv->sizes.taps < FEW_TAPS && conv->sizes.pixels > FEW_PIXELS && w->stride_x == 1;
    return conv->sizes.taps >= 2 * FEW_TAPS && w->height * w->width > 1 &&
           conv->shape.out_channels * sizeof(real) < NARROW_BYTES;
}

/* Gradients of kernels of less than two vectors of channels, where vectors are of 64 bytes. */
static bool is_narrow(const cohort_conv *conv, cohort_conv_direction direction)
{
    return direction == COHORT_CONV_WEIGHTS && conv->shape.out_channels * sizeof(real) < WIDE_BYTES;
}

/* The products with pixels of the image along one axis, summed over its output. */
static size_t products_on_axis(size_t out, size_t pad, size_t size, size_t in)
{
    size_t sum = 0;
    for (size_t o = 0; o < out; o++) {
        size_t begin, end;
        cohort_window_taps(&begin, &end, o, 1, pad, size, in);
        sum += end - begin;
    }
    return sum;
}

/* Whether the products that the winograd way saves pay for its transforms: on images of few pixels
 * tiles reach beyond them. */
static bool winograd_pays(const cohort_conv *conv)
{
    const cohort_window *w = &conv->shape.window;
    if (!conv->winograd)
        return false;
    const size_t products = products_on_axis(w->out_height, w->pad_top, w->height, w->in_height) *
                            products_on_axis(w->out_width, w->pad_left, w->width, w->in_width);
    return products / 4 * 3 >= 16 * conv_winograd_tiles(conv->winograd);
}

/* What is fastest on most shapes, or nearly: winograd, where it can; direct, where its tiles are
 * made for the registers, but for dx, where it meets padding most, with AVX-512 images of many
 * channels that have padding and kernels of few, and without it what is meagre. A rule that takes
 * nearly twice as long as another way would leave it to chance whether cohort_conv_tune overrules
 * it. */
static void choose_by_rule(cohort_conv *conv)
{
    static const cohort_conv_way orders[][3] = {
        {COHORT_CONV_DIRECT, COHORT_CONV_DNNL, COHORT_CONV_GEMM},
        {COHORT_CONV_DNNL, COHORT_CONV_DIRECT, COHORT_CONV_GEMM},
        {COHORT_CONV_DNNL, COHORT_CONV_GEMM, COHORT_CONV_DIRECT},
    };
    const conv_registers registers = conv_direct_registers();
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_direction direction = (cohort_conv_direction)d;
        const bool loses = direction == COHORT_CONV_DATA ||
                           (registers == CONV_WIDE ? is_framed(conv) || is_narrow(conv, direction)
                                                   : is_meagre(conv, direction));
        const cohort_conv_way *order = registers == CONV_UNKNOWN ? orders[2]
                                       : loses                   ? orders[1]
                                                                 : orders[0];
        if (conv->dnnl && conv_dnnl_is_bf16(conv->dnnl, direction)) {
            conv->ways[d] = COHORT_CONV_DNNL;
            continue;
        }
        if (registers != CONV_UNKNOWN && winograd_pays(conv)) {
            conv->ways[d] = COHORT_CONV_WINOGRAD;
            continue;
        }
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
    conv->pools = shape->pool.height > 0;
    conv->pool = (cohort_pool){shape->pool, shape->out_channels};
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, conv_measure_sizes(conv), COHORT_MEMORY,
                        "a convolution of more elements than an address can hold; make it smaller");
    conv->shape.bf16 &= conv->sizes.taps >= BF16_TAPS;
    const size_t sample_bytes = (conv->sizes.in_count + 2 * conv->sizes.out_count) * sizeof(real);
    conv->group = larger(GROUP_BYTES / sample_bytes, GROUP_LEAST);
    COHORT_TRY_DONE(status, create_direct(conv));
    COHORT_TRY_DONE(status, create_winograd(conv));
    COHORT_TRY_DONE(status, create_dnnl(conv));
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
        conv_winograd_destroy(conv->winograd);
    }
    cohort_free(conv);
}

/* Scratch: what threads share, bias sums of lanes and kernel sums of parts (backward),
 * then the work of each thread. */

static size_t line_reals(size_t count)
{
    return cohort_size_align(count, COHORT_LINE_REALS);
}

/* Behind what a thread computes with: the sums of its part by the winograd way. */
static size_t winograd_sums(const cohort_conv *conv)
{
    const bool sums = conv->winograd && conv->training;
    return sums ? line_reals(conv_winograd_sums(conv->winograd)) : 0;
}

static size_t work_reals(const cohort_conv *conv)
{
    size_t count = conv_gemm_work(conv);
    if (conv->direct_forward)
        count = larger(count, conv_direct_work(conv->direct_forward));
    if (conv->direct_data)
        count = larger(count, conv_direct_work(conv->direct_data));
    if (conv->dnnl)
        count = larger(count, conv_dnnl_work(conv->dnnl));
    if (conv->winograd)
        count = larger(count, conv_winograd_work(conv->winograd));
    return line_reals(count) + winograd_sums(conv);
}

/* The kernel as a way wants it. */
static size_t shared_reals(const cohort_conv *conv)
{
    size_t count = conv->direct_forward || conv->direct_data ? conv->sizes.kernel_count : 0;
    if (conv->dnnl)
        count = larger(count, conv_dnnl_shared(conv->dnnl));
    if (conv->winograd)
        count = larger(count, conv_winograd_shared(conv->winograd));
    return line_reals(count);
}

/* What a lane makes before it is pooled. */
static size_t lane_reals(const cohort_conv *conv, cohort_conv_direction direction)
{
    const conv_plan plan = plan_pass(conv, direction, conv->batch);
    return conv->pools ? line_reals(least(plan.lane, conv->batch) * conv->sizes.out_count) : 0;
}

/* The gradients of what was pooled: of the lanes at work, or of the whole batch. */
static size_t unpooled_reals(const cohort_conv *conv)
{
    const size_t lanes = conv->threads * lane_reals(conv, COHORT_CONV_WEIGHTS);
    return conv->pools ? larger(lanes, line_reals(conv->batch * conv->sizes.out_count)) : 0;
}

size_t cohort_conv_forward_scratch(const cohort_conv *conv)
{
    return shared_reals(conv) +
           conv->threads * (work_reals(conv) + lane_reals(conv, COHORT_CONV_FORWARD));
}

size_t cohort_conv_backward_scratch(const cohort_conv *conv)
{
    return shared_reals(conv) + conv->threads * work_reals(conv) +
           most_lanes(conv, conv->batch) * line_reals(conv->shape.out_channels) +
           most_parts(conv, conv->batch) * line_reals(conv->sizes.kernel_count) +
           unpooled_reals(conv);
}

/* All threads or one: OpenMP ends the threads that a smaller team leaves out. */
static size_t use_threads(const cohort_conv *conv, size_t pieces)
{
    return pieces > 1 ? least((size_t)omp_get_max_threads(), conv->threads) : 1;
}

/* Before a region of THREADS: regions within one of a single thread (pools, oneDNN) would else
 * begin new threads, and end them, each time. Returns what OpenMP gave before, for after it. */
static int keep_to(size_t threads)
{
    const int before = omp_get_max_threads();
    if (threads == 1)
        omp_set_num_threads(1);
    return before;
}

static size_t lane_begin(const conv_plan *plan, size_t lane)
{
    return least(lane * plan->lane, plan->batch);
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

void cohort_conv_forward(cohort_conv *conv, real *y, uint16_t *winners, const real *x,
                         const real *kernel, const real *bias, size_t batch, real *scratch)
{
    const conv_sizes *s = &conv->sizes;
    const size_t kept = s->kept_pixels * conv->shape.out_channels;
    const conv_plan plan = plan_pass(conv, COHORT_CONV_FORWARD, batch);
    const size_t threads = use_threads(conv, plan.lanes), stride = work_reals(conv);
    cohort_conv_way way = conv->ways[COHORT_CONV_FORWARD];
    real *const work = scratch + shared_reals(conv);
    real *const images = work + conv->threads * stride; /* before they are pooled */
    const size_t image = lane_reals(conv, COHORT_CONV_FORWARD);
    conv_dnnl_job job;
    if (way == COHORT_CONV_DNNL && !conv_dnnl_begin(&job, conv->dnnl, COHORT_CONV_FORWARD, kernel,
                                                    plan.lane, batch, scratch, work, stride))
        way = COHORT_CONV_GEMM;
    if (way == COHORT_CONV_DIRECT)
        kernel = conv_direct_pack(conv->direct_forward, scratch, kernel);
    if (way == COHORT_CONV_WINOGRAD)
        kernel = conv_winograd_pack(conv->winograd, scratch, kernel);
    const int before = keep_to(threads);
    /* In turns, here and below: the last lane is shorter. */
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
    for (size_t lane = 0; lane < plan.lanes; lane++) {
        const size_t first = lane_begin(&plan, lane), count = lane_begin(&plan, lane + 1) - first;
        const size_t thread = (size_t)omp_get_thread_num();
        real *const kept_at = y + first * kept, *const mine = work + thread * stride;
        real *const to = conv->pools ? images + thread * image : kept_at;
        const real *const from = x + first * s->in_count;
        if (way == COHORT_CONV_DIRECT)
            conv_direct_forward(conv->direct_forward, to, from, kernel, bias, conv->shape.relu,
                                count, mine);
        else if (way == COHORT_CONV_WINOGRAD)
            conv_winograd_forward(conv->winograd, to, from, kernel, bias, conv->shape.relu, count,
                                  mine);
        else if (way != COHORT_CONV_DNNL || !conv_dnnl_forward(&job, to, from, bias, count, thread))
            conv_gemm_forward(conv, to, from, kernel, bias, count, mine);
        if (conv->pools)
            cohort_max_pool_forward(kept_at, winners ? winners + first * kept : NULL, &conv->pool,
                                    to, count);
    }
    omp_set_num_threads(before);
}

/* A backward pass. */
typedef struct conv_backward {
    const cohort_conv *conv;
    cohort_conv_grads grads;
    real *dy;
    const real *x, *y, *kernel;
    const uint16_t *winners;
    conv_plan plan;
    cohort_conv_way data_way, weights_way;
    conv_dnnl_job data_job, weights_job;
    real *bias_sums, *kernel_sums; /* [lanes], [parts], each on lines of its own */
    const real *turned;            /* kernel, for the direct and the winograd way */
    real *work;                    /* [threads] */
    size_t stride;                 /* of it */
    bool sliced;                   /* one part, of which threads take tiles */
    /* With a pool: the gradient of the image before it, and whether the whole batch's is
     * there at a time; else a lane's of each thread. */
    real *unpooled;
    bool is_whole;
} conv_backward;

/* The gradient of what the convolution made in LANE: dy, but for a pool. */
static real *lane_dy(const conv_backward *b, size_t lane, size_t thread)
{
    const size_t at = lane_begin(&b->plan, lane) * b->conv->sizes.out_count;
    if (!b->conv->pools)
        return b->dy + at;
    return b->unpooled + (b->is_whole ? at : thread * lane_reals(b->conv, COHORT_CONV_WEIGHTS));
}

static void finish_lane(const conv_backward *b, size_t lane, size_t thread)
{
    const cohort_conv *conv = b->conv;
    const conv_sizes *s = &conv->sizes;
    const size_t channels = conv->shape.out_channels, first = lane_begin(&b->plan, lane);
    const size_t count = lane_begin(&b->plan, lane + 1) - first;
    const size_t kept = first * s->kept_pixels * channels;
    real *sums = b->grads.bias ? b->bias_sums + lane * line_reals(channels) : NULL;
    if (sums)
        memset(sums, 0, channels * sizeof(real));
    if (sums || conv->shape.relu)
        backward_finish(b->dy + kept, sums, conv->shape.relu ? b->y + kept : NULL, conv->shape.relu,
                        count * s->kept_pixels, channels);
    if (conv->pools)
        cohort_max_pool_backward(lane_dy(b, lane, thread), &conv->pool, b->dy + kept,
                                 b->winners + kept, count);
}

static void data_lane(const conv_backward *b, size_t lane, size_t thread)
{
    const cohort_conv *conv = b->conv;
    const size_t first = lane_begin(&b->plan, lane);
    const size_t count = lane_begin(&b->plan, lane + 1) - first;
    real *const dx = b->grads.x + first * conv->sizes.in_count;
    real *const work = b->work + thread * b->stride;
    const real *const dy = lane_dy(b, lane, thread);
    if (b->data_way == COHORT_CONV_DIRECT)
        conv_direct_forward(conv->direct_data, dx, dy, b->turned, NULL, false, count, work);
    else if (b->data_way == COHORT_CONV_WINOGRAD)
        conv_winograd_backward(conv->winograd, dx, NULL, false, NULL, dy, b->turned, count, work);
    else if (b->data_way != COHORT_CONV_DNNL ||
             !conv_dnnl_data(&b->data_job, dx, dy, count, thread))
        conv_gemm_data(conv, dx, dy, b->kernel, count, work);
}

/* Where the sum of PART goes: the first one's is the gradient itself, unless it replaces
 * what is there (dnnl) while it is to be added. */
static real *part_sum(const conv_backward *b, size_t part)
{
    if (part == 0 && !(b->grads.add && b->weights_way == COHORT_CONV_DNNL))
        return b->grads.kernel;
    return b->kernel_sums + part * line_reals(b->conv->sizes.kernel_count);
}

static size_t part_begin(const conv_plan *plan, size_t part)
{
    return least(part * plan->part_lanes, plan->lanes);
}

/* One lane by the winograd way, and its DX unless that is NULL; the last one finishes its part. */
static void weights_lane_winograd(const conv_backward *b, size_t lane, real *dx, const real *x,
                                  const real *dy, size_t samples, real *work)
{
    const conv_winograd *g = b->conv->winograd;
    const size_t part = lane / b->plan.part_lanes;
    real *const du = work + b->stride - winograd_sums(b->conv);
    conv_winograd_backward(g, dx, du, lane > part_begin(&b->plan, part), x, dy, b->turned, samples,
                           work);
    if (lane + 1 == part_begin(&b->plan, part + 1))
        conv_winograd_finish(g, part_sum(b, part), du, part == 0 && b->grads.add);
}

/* The tiles [BEGIN, END) (all but for the direct way) of one lane, added to its part. WITH_DATA:
 * and its dx, when both go the winograd way. */
static void weights_lane(const conv_backward *b, size_t lane, size_t thread, size_t begin,
                         size_t end, bool with_data)
{
    const cohort_conv *conv = b->conv;
    const size_t first = lane_begin(&b->plan, lane), part = lane / b->plan.part_lanes;
    const size_t count = lane_begin(&b->plan, lane + 1) - first;
    const bool add = lane % b->plan.part_lanes > 0 || (part == 0 && b->grads.add);
    const real *const x = b->x + first * conv->sizes.in_count;
    const real *const dy = lane_dy(b, lane, thread);
    real *const dx = with_data ? b->grads.x + first * conv->sizes.in_count : NULL;
    real *const work = b->work + thread * b->stride, *const sum = part_sum(b, part);
    if (b->weights_way == COHORT_CONV_DIRECT)
        conv_direct_weights(conv->direct_forward, sum, x, dy, count, add, work, begin, end);
    else if (b->weights_way == COHORT_CONV_WINOGRAD)
        weights_lane_winograd(b, lane, dx, x, dy, count, work);
    else
        conv_gemm_weights(conv, sum, x, dy, count, add, work);
}

/* A whole part by oneDNN, which does not add; by gemm if it fails. */
static void weights_part_dnnl(const conv_backward *b, size_t part, size_t thread)
{
    const conv_sizes *s = &b->conv->sizes;
    const size_t first = lane_begin(&b->plan, part_begin(&b->plan, part));
    const size_t count = lane_begin(&b->plan, part_begin(&b->plan, part + 1)) - first;
    const real *const x = b->x + first * s->in_count;
    const real *const dy = lane_dy(b, part_begin(&b->plan, part), thread);
    if (!conv_dnnl_weights(&b->weights_job, part_sum(b, part), x, dy, count, thread))
        conv_gemm_weights(b->conv, part_sum(b, part), x, dy, count, false,
                          b->work + thread * b->stride);
}

static void weights_part(const conv_backward *b, size_t part, size_t thread)
{
    const size_t end = part_begin(&b->plan, part + 1);
    if (b->weights_way == COHORT_CONV_DNNL) {
        weights_part_dnnl(b, part, thread);
        return;
    }
    for (size_t lane = part_begin(&b->plan, part); lane < end; lane++)
        weights_lane(b, lane, thread, 0, SIZE_MAX, false);
}

/* All of a part, lane by lane while it is in cache. */
static void whole_part(const conv_backward *b, size_t part, size_t thread)
{
    const size_t end = part_begin(&b->plan, part + 1);
    const bool together = b->grads.kernel && b->grads.x && b->weights_way == COHORT_CONV_WINOGRAD &&
                          b->data_way == COHORT_CONV_WINOGRAD;
    for (size_t lane = part_begin(&b->plan, part); lane < end; lane++) {
        finish_lane(b, lane, thread);
        if (b->grads.kernel && b->weights_way != COHORT_CONV_DNNL)
            weights_lane(b, lane, thread, 0, SIZE_MAX, together);
        if (b->grads.x && !together)
            data_lane(b, lane, thread);
    }
    if (b->grads.kernel && b->weights_way == COHORT_CONV_DNNL)
        weights_part_dnnl(b, part, thread);
}

/* The order of sums is that of whole_part: lanes within parts. */
static void backward_threads(conv_backward *b)
{
    const conv_plan *plan = &b->plan;
    const size_t threads = use_threads(b->conv, larger(plan->lanes, b->sliced ? SLICE_TILES : 1));
    const bool at_once = threads <= 1 || (!b->sliced && plan->parts >= threads);
    b->is_whole = !at_once || b->weights_way == COHORT_CONV_DNNL;
    if (at_once) {
        const int before = keep_to(threads);
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
        for (size_t part = 0; part < plan->parts; part++)
            whole_part(b, part, (size_t)omp_get_thread_num());
        omp_set_num_threads(before);
        return;
    }
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
    for (size_t lane = 0; lane < plan->lanes; lane++) {
        finish_lane(b, lane, (size_t)omp_get_thread_num());
        if (b->grads.x)
            data_lane(b, lane, (size_t)omp_get_thread_num());
    }
    if (!b->grads.kernel)
        return;
    if (!b->sliced) {
#pragma omp parallel for num_threads((int)threads) schedule(static)
        for (size_t part = 0; part < plan->parts; part++)
            weights_part(b, part, (size_t)omp_get_thread_num());
        return;
    }
    const size_t tiles = conv_direct_weight_tiles(b->conv->direct_forward);
#pragma omp parallel for num_threads((int)threads) schedule(static, 1)
    for (size_t t = 0; t < threads; t++)
        for (size_t lane = 0; lane < plan->lanes; lane++)
            weights_lane(b, lane, t, cohort_part_begin(tiles, t, threads),
                         cohort_part_begin(tiles, t + 1, threads), false);
}

COHORT_CLONES
static void add_partial(real *restrict sum, const real *restrict part, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        sum[i] += part[i];
}

/* The sums of lanes and parts, in their order. */
static void add_sums(const conv_backward *b)
{
    const size_t channels = b->conv->shape.out_channels, count = b->conv->sizes.kernel_count;
    if (b->grads.bias && !b->grads.add)
        memset(b->grads.bias, 0, channels * sizeof(real));
    for (size_t lane = 0; b->grads.bias && lane < b->plan.lanes; lane++)
        add_partial(b->grads.bias, b->bias_sums + lane * line_reals(channels), channels);
    for (size_t part = 0; b->grads.kernel && part < b->plan.parts; part++)
        if (part_sum(b, part) != b->grads.kernel)
            add_partial(b->grads.kernel, part_sum(b, part), count);
}

/* Takes the ways; dnnl's become gemm where it cannot be prepared. */
static void choose_ways(conv_backward *b, cohort_conv *conv, real *shared)
{
    const conv_plan *plan = &b->plan;
    b->data_way = conv->ways[COHORT_CONV_DATA];
    b->weights_way = conv->ways[COHORT_CONV_WEIGHTS];
    if (b->grads.x && b->data_way == COHORT_CONV_DIRECT)
        b->turned = conv_direct_pack_turned(conv->direct_data, shared, b->kernel);
    if (b->grads.x && b->data_way == COHORT_CONV_WINOGRAD)
        b->turned = conv_winograd_pack_turned(conv->winograd, shared, b->kernel);
    if (b->grads.x && b->data_way == COHORT_CONV_DNNL &&
        !conv_dnnl_begin(&b->data_job, conv->dnnl, COHORT_CONV_DATA, b->kernel, plan->lane,
                         plan->batch, shared, b->work, b->stride))
        b->data_way = COHORT_CONV_GEMM;
    if (b->grads.kernel && b->weights_way == COHORT_CONV_DNNL &&
        !conv_dnnl_begin(&b->weights_job, conv->dnnl, COHORT_CONV_WEIGHTS, NULL,
                         plan->lane * plan->part_lanes, plan->batch, NULL, b->work, b->stride))
        b->weights_way = COHORT_CONV_GEMM;
    if (b->grads.kernel && b->weights_way == COHORT_CONV_DIRECT &&
        conv_direct_weight_tiles(conv->direct_forward) >= SLICE_TILES) {
        b->sliced = true;
        b->plan.part_lanes = plan->lanes;
        b->plan.parts = 1;
    }
}

void cohort_conv_backward(cohort_conv *conv, const cohort_conv_grads *grads, real *dy,
                          const real *x, const real *y, const uint16_t *winners, const real *kernel,
                          size_t batch, real *scratch)
{
    if (batch == 0) {
        if (grads->kernel && !grads->add)
            memset(grads->kernel, 0, conv->sizes.kernel_count * sizeof(real));
        if (grads->bias && !grads->add)
            memset(grads->bias, 0, conv->shape.out_channels * sizeof(real));
        return;
    }
    conv_backward b = {.conv = conv,
                       .grads = *grads,
                       .dy = dy,
                       .x = x,
                       .y = y,
                       .winners = winners,
                       .kernel = kernel,
                       .plan = plan_pass(conv, COHORT_CONV_WEIGHTS, batch),
                       .stride = work_reals(conv)};
    b.bias_sums = scratch + shared_reals(conv);
    b.kernel_sums =
        b.bias_sums + most_lanes(conv, conv->batch) * line_reals(conv->shape.out_channels);
    b.work = b.kernel_sums + most_parts(conv, conv->batch) * line_reals(conv->sizes.kernel_count);
    b.unpooled = b.work + conv->threads * b.stride;
    choose_ways(&b, conv, scratch);
    backward_threads(&b);
    add_sums(&b);
}

/* Choosing. */

bool cohort_conv_can(const cohort_conv *conv, cohort_conv_direction direction, cohort_conv_way way)
{
    if (way == COHORT_CONV_DIRECT)
        return direction == COHORT_CONV_DATA ? conv->direct_data != NULL
                                             : conv->direct_forward != NULL;
    if (way == COHORT_CONV_DNNL)
        return conv->dnnl && conv_dnnl_can(conv->dnnl, direction);
    if (way == COHORT_CONV_WINOGRAD)
        return conv->winograd != NULL;
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
    static const char *const names[] = {"gemm", "direct", "dnnl", "winograd"};
    return way < COHORT_CONV_WAY_COUNT ? names[way] : "unknown";
}

void cohort_conv_write_choice(cohort_text *text, unsigned choice)
{
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++)
        cohort_text_append(
            text, "%s%s", d ? " " : "",
            cohort_conv_way_name(cohort_conv_choice_way(choice, (cohort_conv_direction)d)));
}

/* Takes the name of a way off *WORDS; COHORT_CONV_WAY_COUNT when there is none. */
static cohort_conv_way read_way(const char **words)
{
    const size_t length = strcspn(*words, " ");
    int way = 0;
    while (way < COHORT_CONV_WAY_COUNT &&
           (strlen(cohort_conv_way_name((cohort_conv_way)way)) != length ||
            strncmp(cohort_conv_way_name((cohort_conv_way)way), *words, length) != 0))
        way++;
    *words += length + ((*words)[length] == ' ');
    return (cohort_conv_way)way;
}

bool cohort_conv_read_choice(unsigned *choice, const char *words)
{
    *choice = 0;
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT; d++) {
        const cohort_conv_way way = read_way(&words);
        if (way == COHORT_CONV_WAY_COUNT)
            return false;
        *choice = cohort_conv_choice_with(*choice, (cohort_conv_direction)d, way);
    }
    return *words == '\0';
}

/* Measuring. */

/* About TUNE_OPERATIONS are measured at a time: enough for the clock, and to be like a
 * step's. A way that takes TUNE_HOPELESS times as long as another, in two runs, is not run again.
 * The rule's way always is: were it left out for runs that something disturbed, another would
 * overrule it by chance, and a run would have other last bits than its like. */
enum {
    TUNE_OPERATIONS = 20000000,
    TUNE_SAMPLES_LEAST = 4,
    TUNE_SAMPLES_MOST = 32,
    TUNE_ROUNDS_LEAST = 3,
    TUNE_ROUNDS_MOST = 30,
    TUNE_HOPELESS = 4
};

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
        cohort_conv_forward(conv, b->y, NULL, b->x, b->kernel, NULL, conv->batch, b->scratch);
        return;
    case COHORT_CONV_DATA:
        grads.x = b->dx;
        break;
    default:
        grads.kernel = b->dkernel;
    }
    cohort_conv_backward(conv, &grads, b->dy, b->x, b->y, NULL, b->kernel, conv->batch, b->scratch);
}

static bool tune_wants(const cohort_conv *conv, cohort_conv_direction direction)
{
    return direction == COHORT_CONV_FORWARD ||
           (conv->training && (direction == COHORT_CONV_WEIGHTS || conv->needs_dx));
}

static double tune_time(cohort_conv *probe, const tune_buffers *b, cohort_conv_direction direction,
                        int way)
{
    probe->ways[direction] = (cohort_conv_way)way;
    const double start = cohort_clock_cpu_seconds();
    tune_once(probe, b, direction);
    const double time = cohort_clock_cpu_seconds() - start;
    return time > 0 ? time : 1e-9;
}

/* TIMES [way]: the least of several runs, the ways taking turns, for about SECONDS: what
 * disturbs a run is then no part of it, and what disturbs for longer is part of all. */
static void tune_direction(double *times, cohort_conv *probe, const tune_buffers *b,
                           cohort_conv_direction direction, double seconds)
{
    const double end = cohort_clock_cpu_seconds() + seconds;
    const int rule = probe->ways[direction];
    double fastest = 0;
    for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++) {
        if (!cohort_conv_can(probe, direction, (cohort_conv_way)way))
            continue;
        (void)tune_time(probe, b, direction, way); /* prepares itself, fills caches */
        times[way] = tune_time(probe, b, direction, way);
        if (fastest == 0 || times[way] < fastest)
            fastest = times[way];
    }
    for (int round = 0; round < TUNE_ROUNDS_MOST; round++) {
        if (round >= TUNE_ROUNDS_LEAST && cohort_clock_cpu_seconds() >= end)
            return;
        for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++) {
            const bool is_hopeless =
                round > 0 && way != rule && times[way] > TUNE_HOPELESS * fastest;
            if (times[way] == 0 || is_hopeless)
                continue;
            const double time = tune_time(probe, b, direction, way);
            times[way] = time < times[way] ? time : times[way];
        }
    }
}

static size_t tune_samples(const cohort_conv *conv)
{
    const double sample = 2.0 * (double)conv->sizes.pixels * (double)conv->sizes.kernel_count;
    const double wanted = TUNE_OPERATIONS / sample;
    const size_t most = least(conv->batch, TUNE_SAMPLES_MOST);
    return wanted >= (double)most ? most : least(larger((size_t)wanted, TUNE_SAMPLES_LEAST), most);
}

/* The way to take in DIRECTION by TIMES [way]. */
static cohort_conv_way tune_choose(const cohort_conv *conv, int direction, const double *times,
                                   double gain)
{
    const cohort_conv_way now = conv->ways[direction];
    int fastest = now;
    for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++)
        if (times[way] > 0 && times[way] < times[fastest])
            fastest = way;
    return times[now] >= gain * times[fastest] ? (cohort_conv_way)fastest : now;
}

static cohort_status tune_probe(cohort_conv_times *times, cohort_conv *probe, double seconds)
{
    const double share = seconds / COHORT_CONV_DIRECTION_COUNT;
    tune_buffers buffers = {0};
    const cohort_status status = tune_allocate(&buffers, probe);
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT && status == COHORT_OK; d++) {
        if (!tune_wants(probe, (cohort_conv_direction)d))
            continue;
        tune_direction(times->seconds[d], probe, &buffers, (cohort_conv_direction)d, share);
        for (int way = 0; way < COHORT_CONV_WAY_COUNT; way++)
            times->seconds[d][way] /= (double)probe->batch;
    }
    tune_free(&buffers);
    return status;
}

cohort_status cohort_conv_tune(cohort_conv *conv, double seconds, double gain,
                               cohort_conv_times *times)
{
    const int threads = omp_get_max_threads();
    cohort_conv *probe = NULL;
    *times = (cohort_conv_times){0};
    cohort_conv_shape shape = conv->shape;
    shape.pool = (cohort_window){0};
    omp_set_num_threads(1);
    cohort_status status =
        cohort_conv_create(&probe, &shape, tune_samples(conv), conv->training, conv->needs_dx);
    if (status == COHORT_OK)
        status = tune_probe(times, probe, seconds);
    omp_set_num_threads(threads);
    cohort_conv_destroy(probe);
    for (int d = 0; d < COHORT_CONV_DIRECTION_COUNT && status == COHORT_OK; d++)
        conv->ways[d] = tune_choose(conv, d, times->seconds[d], gain);
    return status;
}

bool cohort_conv_is_alike(const cohort_conv *a, const cohort_conv *b)
{
    const cohort_conv_shape *s = &a->shape, *t = &b->shape;
    return memcmp(&s->window, &t->window, sizeof s->window) == 0 &&
           s->in_channels == t->in_channels && s->out_channels == t->out_channels &&
           s->relu == t->relu && s->bf16 == t->bf16 && a->batch == b->batch &&
           a->training == b->training && a->needs_dx == b->needs_dx;
}
