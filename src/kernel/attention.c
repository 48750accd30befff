#include "kernel/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/dropout.h"
#include "kernel/math.h"
#include "kernel/panel.h"
#include "kernel/vector.h"

/* Queries whose scores exist at a time: with 256 keys they fill a first-level cache. */
enum { BLOCK = 32 };

/* The log of the denominator of a query that sees no key: every e^(s - it) is 0. */
static const real unseen = REAL(1e30);

/* One head of one sample. */
typedef struct head_job {
    const cohort_attention *attention;
    size_t sample, head;
    size_t depth;        /* width of the head */
    size_t score_stride; /* of a row of scores */
    real scale;
    size_t input, output; /* where its first column starts in q, k, v; in y */
    real *denominators;   /* [time] */
} head_job;

/* A thread's scratch, cut up. */
typedef struct head_work {
    real *keys_t;   /* k' packed [depth][time] */
    real *values_t; /* v' packed [depth][time]; backward */
    real *rows;     /* v (forward) or k (backward) packed [time][depth] */
    real *queries;  /* a block of q packed [BLOCK][depth]; backward */
    real *outputs;  /* a block of dy packed [BLOCK][depth]; backward */
    real *dkeys;    /* [time][depth]; backward: rows of dk far apart would evict one another */
    real *dvalues;  /* the same */
    real *scores;   /* [BLOCK][score stride] */
    real *dscores;  /* the same; backward */
    real *factors;  /* [time]: 0 for weights dropped, else 1 / (1 - rate) */
    uint8_t *keep;  /* [time] */
} head_work;

static size_t aligned(size_t count)
{
    return cohort_size_align(count, COHORT_LINE_REALS);
}

static size_t score_stride(size_t time)
{
    return (time + COHORT_PANEL - 1) / COHORT_PANEL * COHORT_PANEL;
}

static size_t cut_work(head_work *work, real *base, size_t time, size_t depth)
{
    const size_t packed_t = aligned(cohort_panel_count(depth, time));
    const size_t packed = aligned(cohort_panel_count(time, depth));
    const size_t block = aligned(cohort_panel_count(BLOCK, depth));
    const size_t scores = BLOCK * score_stride(time);
    const size_t plain = aligned(time * depth);
    const size_t counts[] = {packed_t, packed_t, packed, block,         block,        plain,
                             plain,    scores,   scores, aligned(time), aligned(time)};
    size_t at[sizeof counts / sizeof *counts + 1] = {0};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        at[i + 1] = at[i] + counts[i];
    if (base)
        *work = (head_work){.keys_t = base + at[0],
                            .values_t = base + at[1],
                            .rows = base + at[2],
                            .queries = base + at[3],
                            .outputs = base + at[4],
                            .dkeys = base + at[5],
                            .dvalues = base + at[6],
                            .scores = base + at[7],
                            .dscores = base + at[8],
                            .factors = base + at[9],
                            .keep = (uint8_t *)(base + at[10])};
    return at[sizeof counts / sizeof *counts];
}

size_t cohort_attention_work_count(size_t time, size_t heads, size_t width, size_t threads)
{
    return cut_work(NULL, NULL, time, width / heads) * threads;
}

static head_job job_of(const cohort_attention *attention, size_t index)
{
    const size_t time = attention->time, depth = attention->width / attention->heads;
    const size_t sample = index / attention->heads, head = index % attention->heads;
    return (head_job){
        .attention = attention,
        .sample = sample,
        .head = head,
        .depth = depth,
        .score_stride = score_stride(time),
        .scale = (real)(1 / sqrt((double)depth)),
        .input = sample * time * attention->stride + head * depth,
        .output = sample * time * attention->width + head * depth,
        .denominators = attention->denominators + index * time,
    };
}

/* The keys that queries up to LAST see. */
static size_t seen_keys(const head_job *job, size_t last)
{
    return job->attention->causal ? last + 1 : job->attention->time;
}

/* Queries that are multiplied at a time, by the keys that the last of them sees: of a causal block
 * half, so that less is computed that nobody sees. */
static size_t group_rows(const head_job *job)
{
    return job->attention->causal ? BLOCK / 2 : BLOCK;
}

/* The end of the group that row ROW of a block of ROWS is in. */
static size_t group_end(const head_job *job, size_t row, size_t rows)
{
    const size_t end = (row / group_rows(job) + 1) * group_rows(job);
    return end < rows ? end : rows;
}

/* to [rows][score stride] = x [rows][depth] * packed, of the queries from FIRST on, as far as each
 * group of them sees. */
static void multiply_by_keys(real *to, const head_job *job, const real *x, size_t stride,
                             const real *packed, size_t first, size_t rows)
{
    const size_t strip = cohort_panel_strip_columns();
    for (size_t row = 0, end; row < rows; row = end) {
        end = group_end(job, row, rows);
        cohort_panel_multiply(to + row * job->score_stride, job->score_stride, COHORT_PLAIN,
                              x + row * stride, stride, packed, job->depth, end - row,
                              cohort_size_align(seen_keys(job, first + end - 1), strip), job->depth,
                              false);
    }
}

/* to [rows][depth], STRIDE apart, = weights [rows][score stride] * packed rows of the keys. */
static void multiply_weights(real *to, size_t stride, const head_job *job, const real *weights,
                             const real *packed, size_t first, size_t rows)
{
    for (size_t row = 0, end; row < rows; row = end) {
        end = group_end(job, row, rows);
        cohort_panel_multiply(to + row * stride, stride, COHORT_PLAIN,
                              weights + row * job->score_stride, job->score_stride, packed,
                              job->attention->time, end - row, job->depth,
                              seen_keys(job, first + end - 1), false);
    }
}

/* to [keys][depth] (ADD: +=) weights' * packed rows of the queries, each key with the groups that
 * see it. */
static void multiply_back(real *to, const head_job *job, const real *weights, const real *packed,
                          size_t first, size_t rows, bool add)
{
    const size_t strip = cohort_panel_strip_columns();
    for (size_t row = 0, key = 0, end; row < rows; row = end) {
        end = group_end(job, row, rows);
        const size_t keys = seen_keys(job, first + end - 1);
        cohort_panel_multiply(to + key * job->depth, job->depth, COHORT_TRANSPOSED,
                              weights + row * job->score_stride + key, job->score_stride,
                              packed + row * strip, rows, keys - key, job->depth, rows - row, add);
        key = keys;
    }
}

/* The factors of the weights of QUERY on its first COUNT keys; NULL without dropout. */
static const real *draw_factors(const head_job *job, const head_work *work, size_t query,
                                size_t count)
{
    const cohort_attention *attention = job->attention;
    if (!attention->streams)
        return NULL;
    const size_t blocks = (attention->time + 3) / 4;
    cohort_rng stream = attention->streams[job->sample];
    stream.counter[0] = (uint32_t)((job->head * attention->time + query) * blocks);
    cohort_dropout_draw(work->keep, &stream, attention->dropout, count);
    const real factor = (real)(1 / (1 - attention->dropout));
    for (size_t j = 0; j < count; j++)
        work->factors[j] = work->keep[j] ? factor : 0;
    return work->factors;
}

/* Rows are taken in whole vectors: what is left over would take longer than the rest. */
enum { LANES = COHORT_LINE_REALS };

COHORT_INLINE real lanes_top(const real *row, size_t count)
{
    real tops[LANES], top = -unseen;
    for (size_t l = 0; l < LANES; l++)
        tops[l] = -unseen;
    for (size_t j = 0; j < count; j += LANES)
#pragma omp simd
        for (size_t l = 0; l < LANES; l++)
            tops[l] = row[j + l] > tops[l] ? row[j + l] : tops[l];
#pragma omp simd reduction(max : top)
    for (size_t l = 0; l < LANES; l++)
        top = tops[l] > top ? tops[l] : top;
    return top;
}

/* row = e^(scale (row - top)); the sum of it. */
COHORT_INLINE real lanes_weigh(real *row, real top, real scale, size_t count)
{
    real sums[LANES] = {0}, sum = 0;
    for (size_t j = 0; j < count; j += LANES)
#pragma omp simd
        for (size_t l = 0; l < LANES; l++) {
            row[j + l] = cohort_exp_down((row[j + l] - top) * scale);
            sums[l] += row[j + l];
        }
#pragma omp simd reduction(+ : sum)
    for (size_t l = 0; l < LANES; l++)
        sum += sums[l];
    return sum;
}

/* Scores of rows of queries, each with the keys that it sees, on their way to weights. */
typedef struct weighing {
    real *scores; /* rows STRIDE apart */
    size_t stride, rows;
    const size_t *counts; /* [rows] */
    const real *mask;
    real scale;
} weighing;

/* Hides what the mask does; false when that is everything. */
COHORT_INLINE bool hide_keys(real *row, const real *mask, size_t count)
{
    real seen = 0;
#pragma omp simd reduction(+ : seen)
    for (size_t j = 0; j < count; j++) {
        seen += mask[j];
        row[j] = mask[j] != 0 ? row[j] : -unseen;
    }
    return seen != 0;
}

/* Scores to weights, in place, before division by their sum; inverses [rows] are one over it (0
 * when no key is seen) and denominators [rows] the log of it. Step by step for all rows, which
 * do not wait for one another. */
COHORT_CLONES static void weigh_rows(real *denominators, real *inverses, const weighing *w)
{
    real tops[BLOCK], sums[BLOCK];
    bool sees[BLOCK];
    for (size_t r = 0; r < w->rows; r++) {
        const size_t count = w->counts[r], padded = cohort_size_align(count, LANES);
        real *row = w->scores + r * w->stride;
        sees[r] = !w->mask || hide_keys(row, w->mask, count);
        for (size_t j = count; j < padded; j++)
            row[j] = -unseen;
        tops[r] = lanes_top(row, padded);
    }
    for (size_t r = 0; r < w->rows; r++)
        sums[r] = lanes_weigh(w->scores + r * w->stride, tops[r], w->scale,
                              cohort_size_align(w->counts[r], LANES));
    for (size_t r = 0; r < w->rows; r++) {
        inverses[r] = sees[r] ? 1 / sums[r] : 0;
        denominators[r] = sees[r] ? tops[r] * w->scale + REAL_FN(log)(sums[r]) : unseen;
        if (!sees[r])
            memset(w->scores + r * w->stride, 0, w->counts[r] * sizeof(real));
    }
}

/* From scores s and dw = dy v': the weights as y saw them into s, and into dw the gradient
 * of s, w (dw - dy y') scale, where w = e^(scale s - denominator). Up to LANES - 1 elements behind
 * COUNT, which are there, are left with anything. */
COHORT_CLONES static void weigh_row_back(real *s, real *dw, const real *mask, const real *factors,
                                         real scale, real denominator, real product, size_t count)
{
    if (mask) {
#pragma omp simd
        for (size_t j = 0; j < count; j++)
            s[j] = mask[j] != 0 ? s[j] : -unseen;
    }
    if (factors) {
#pragma omp simd
        for (size_t j = 0; j < count; j++) {
            const real w = cohort_exp_down(s[j] * scale - denominator);
            s[j] = w * factors[j];
            dw[j] = w * (dw[j] * factors[j] - product) * scale;
        }
    } else {
        for (size_t j = 0; j < count; j += LANES)
#pragma omp simd
            for (size_t l = j; l < j + LANES; l++) {
                const real w = cohort_exp_down(s[l] * scale - denominator);
                s[l] = w;
                dw[l] = w * (dw[l] - product) * scale;
            }
    }
}

/* products [rows] of the rows of a and b, WIDTH elements of each STRIDE. All at once: rows far
 * apart are waited for together. */
COHORT_CLONES static void dot_rows(real *products, const real *a, const real *b, size_t rows,
                                   size_t stride, size_t width)
{
    for (size_t r = 0; r < rows; r++) {
        real sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < width; i++)
            sum += a[r * stride + i] * b[r * stride + i];
        products[r] = sum;
    }
}

/* Zeros behind what query FIRST + ROW sees, as far as its group does. */
static void hide_rest(real *scores, const head_job *job, size_t first, size_t row, size_t rows)
{
    const size_t count = seen_keys(job, first + row),
                 keys = seen_keys(job, first + group_end(job, row, rows) - 1);
    memset(scores + count, 0, (keys - count) * sizeof *scores);
}

static void head_forward(real *y, const head_job *job, const head_work *work)
{
    const cohort_attention *attention = job->attention;
    const size_t time = attention->time, stride = attention->stride, depth = job->depth;
    const real *q = attention->q + job->input;
    const real *mask = attention->mask ? attention->mask + job->sample * time : NULL;
    cohort_panel_pack(work->keys_t, COHORT_TRANSPOSED, attention->k + job->input, stride, depth,
                      time);
    cohort_panel_pack(work->rows, COHORT_PLAIN, attention->v + job->input, stride, time, depth);
    for (size_t first = 0; first < time; first += BLOCK) {
        const size_t rows = time - first < BLOCK ? time - first : BLOCK;
        real *out = y + job->output + first * attention->width, inverses[BLOCK];
        size_t counts[BLOCK];
        multiply_by_keys(work->scores, job, q + first * stride, stride, work->keys_t, first, rows);
        for (size_t r = 0; r < rows; r++)
            counts[r] = seen_keys(job, first + r);
        const weighing block = {.scores = work->scores,
                                .stride = job->score_stride,
                                .rows = rows,
                                .counts = counts,
                                .mask = mask,
                                .scale = job->scale};
        weigh_rows(job->denominators + first, inverses, &block);
        for (size_t r = 0; r < rows; r++) {
            real *row = work->scores + r * job->score_stride;
            const real *factors = draw_factors(job, work, first + r, counts[r]);
            if (factors)
                cohort_vector_multiply(row, factors, counts[r]);
            hide_rest(row, job, first, r, rows);
        }
        multiply_weights(out, attention->width, job, work->scores, work->rows, first, rows);
        for (size_t r = 0; r < rows; r++)
            cohort_vector_scale(out + r * attention->width, inverses[r], depth);
    }
}

void cohort_attention_forward(real *y, const cohort_attention *attention)
{
    const size_t jobs = attention->batch * attention->heads;
    const size_t depth = attention->width / attention->heads;
    const size_t work_count = cut_work(NULL, NULL, attention->time, depth);
#pragma omp parallel for schedule(static) num_threads((int)attention->threads) if (jobs > 1)
    for (size_t i = 0; i < jobs; i++) {
        const head_job job = job_of(attention, i);
        head_work work;
        cut_work(&work, attention->work + (size_t)omp_get_thread_num() * work_count,
                 attention->time, depth);
        head_forward(y, &job, &work);
    }
}

/* Weights and gradients of scores of the queries [first, first + rows). */
static void block_scores(const cohort_attention_grads *grads, const head_job *job,
                         const head_work *work, size_t first, size_t rows)
{
    const cohort_attention *attention = job->attention;
    const size_t width = attention->width, depth = job->depth;
    const real *mask = attention->mask ? attention->mask + job->sample * attention->time : NULL;
    const real *y = grads->y + job->output + first * width;
    const real *dy = grads->dy + job->output + first * width;
    real products[BLOCK];
    dot_rows(products, y, dy, rows, width, depth);
    multiply_by_keys(work->scores, job, attention->q + job->input + first * attention->stride,
                     attention->stride, work->keys_t, first, rows);
    multiply_by_keys(work->dscores, job, dy, width, work->values_t, first, rows);
    for (size_t r = 0; r < rows; r++) {
        const size_t count = seen_keys(job, first + r);
        real *s = work->scores + r * job->score_stride;
        real *ds = work->dscores + r * job->score_stride;
        weigh_row_back(s, ds, mask, draw_factors(job, work, first + r, count), job->scale,
                       job->denominators[first + r], products[r], count);
        hide_rest(s, job, first, r, rows);
        hide_rest(ds, job, first, r, rows);
    }
}

static void head_backward(const cohort_attention_grads *grads, const head_job *job,
                          const head_work *work)
{
    const cohort_attention *attention = job->attention;
    const size_t time = attention->time, stride = attention->stride, width = attention->width;
    const size_t depth = job->depth;
    cohort_panel_pack(work->keys_t, COHORT_TRANSPOSED, attention->k + job->input, stride, depth,
                      time);
    cohort_panel_pack(work->values_t, COHORT_TRANSPOSED, attention->v + job->input, stride, depth,
                      time);
    cohort_panel_pack(work->rows, COHORT_PLAIN, attention->k + job->input, stride, time, depth);
    /* The last block first: it sees every key and so sets all of dk and dv. */
    bool add = false;
    for (size_t block = (time + BLOCK - 1) / BLOCK; block-- > 0; add = true) {
        const size_t first = block * BLOCK;
        const size_t rows = time - first < BLOCK ? time - first : BLOCK;
        block_scores(grads, job, work, first, rows);
        multiply_weights(grads->dq + job->input + first * stride, stride, job, work->dscores,
                         work->rows, first, rows);
        cohort_panel_pack(work->queries, COHORT_PLAIN, attention->q + job->input + first * stride,
                          stride, rows, depth);
        multiply_back(work->dkeys, job, work->dscores, work->queries, first, rows, add);
        cohort_panel_pack(work->outputs, COHORT_PLAIN, grads->dy + job->output + first * width,
                          width, rows, depth);
        multiply_back(work->dvalues, job, work->scores, work->outputs, first, rows, add);
    }
    for (size_t t = 0; t < time; t++) {
        memcpy(grads->dk + job->input + t * stride, work->dkeys + t * depth, depth * sizeof(real));
        memcpy(grads->dv + job->input + t * stride, work->dvalues + t * depth,
               depth * sizeof(real));
    }
}

void cohort_attention_backward(const cohort_attention_grads *grads,
                               const cohort_attention *attention)
{
    const size_t jobs = attention->batch * attention->heads;
    const size_t depth = attention->width / attention->heads;
    const size_t work_count = cut_work(NULL, NULL, attention->time, depth);
#pragma omp parallel for schedule(static) num_threads((int)attention->threads) if (jobs > 1)
    for (size_t i = 0; i < jobs; i++) {
        const head_job job = job_of(attention, i);
        head_work work;
        cut_work(&work, attention->work + (size_t)omp_get_thread_num() * work_count,
                 attention->time, depth);
        head_backward(grads, &job, &work);
    }
}
