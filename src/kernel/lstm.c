#include "kernel/lstm.h"

#include <string.h>

#include "base/shape.h"
#include "kernel/clones.h"
#include "kernel/gemm.h"
#include "kernel/math.h"
#include "kernel/panel.h"
#include "kernel/thin.h"
#include "kernel/vector.h"

/* On the way back steps are walked in chunks, whose dz are still in the second-level cache
 * when the products over them give the parameters' gradients. A block of samples walks by
 * itself: samples do not meet. */
enum { CHUNK_ROWS = 512, BLOCK_ROWS = 16 };

/* The scratch, cut up. */
typedef struct lstm_work {
    real *kernel;    /* W packed for x W (forward), or W^T packed for dz W^T (backward) */
    real *recurrent; /* U, likewise */
    real *x;         /* [chunk rows][in]: x after dropout, in order of steps; dx before it */
    real *scaled;    /* [chunk rows][units]: h_{t-1} after dropout; dh before it */
    real *dh, *dc;   /* [batch][units] from the step after */
    real *zeros;     /* [units] h_{-1} and c_{-1} */
    real *products;  /* of the parameters' gradients */
} lstm_work;

static size_t chunk_steps(size_t batch, size_t time)
{
    const size_t steps = batch < CHUNK_ROWS ? CHUNK_ROWS / (batch ? batch : 1) : 1;
    return steps < time ? steps : time;
}

/* Reals of a matrix [rows][4 units] packed as it is or transposed. */
static size_t packed_count(size_t rows, size_t units)
{
    const size_t there = cohort_panel_count(rows, 4 * units);
    const size_t back = cohort_panel_count(4 * units, rows);
    return cohort_size_align(there > back ? there : back, COHORT_LINE_REALS);
}

static size_t aligned(size_t count)
{
    return cohort_size_align(count, COHORT_LINE_REALS);
}

/* Of the gradients of W and U from ROWS rows. */
static size_t products_count(size_t rows, size_t in, size_t units)
{
    const size_t kernel =
        cohort_thin_fits(in, 4 * units) ? cohort_thin_backward_scratch(rows, in, 4 * units) : 0;
    const size_t recurrent = cohort_thin_fits(units, 4 * units)
                                 ? cohort_thin_backward_scratch(rows, units, 4 * units)
                                 : 0;
    return aligned(kernel > recurrent ? kernel : recurrent);
}

size_t cohort_lstm_work_count(size_t batch, size_t time, size_t in, size_t units)
{
    const size_t rows = chunk_steps(batch, time) * batch;
    return packed_count(in, units) + packed_count(units, units) + aligned(rows * in) +
           aligned(rows * units) + 2 * aligned(batch * units) + aligned(units) +
           products_count(rows, in, units);
}

static lstm_work cut_work(const cohort_lstm *lstm)
{
    const size_t rows = chunk_steps(lstm->batch, lstm->time) * lstm->batch;
    lstm_work work = {.kernel = lstm->work};
    work.recurrent = work.kernel + packed_count(lstm->in, lstm->units);
    work.x = work.recurrent + packed_count(lstm->units, lstm->units);
    work.scaled = work.x + aligned(rows * lstm->in);
    work.dh = work.scaled + aligned(rows * lstm->units);
    work.dc = work.dh + aligned(lstm->batch * lstm->units);
    work.zeros = work.dc + aligned(lstm->batch * lstm->units);
    work.products = work.zeros + aligned(lstm->units);
    memset(work.zeros, 0, lstm->units * sizeof(real));
    return work;
}

static size_t time_of(const cohort_lstm *lstm, size_t step)
{
    return lstm->reverse ? lstm->time - 1 - step : step;
}

static bool is_masked(const cohort_lstm *lstm, size_t step, size_t sample)
{
    return lstm->mask && lstm->mask[sample * lstm->time + time_of(lstm, step)] == 0;
}

/* y = x * scale; a plain copy without SCALE. */
COHORT_CLONES static void scale_row(real *y, const real *x, const real *scale, size_t count)
{
    if (!scale) {
        memcpy(y, x, count * sizeof(real));
        return;
    }
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        y[i] = x[i] * scale[i];
}

/* rows [(end - begin) batch][in] = the inputs of steps [begin, end). */
static void gather_inputs(real *rows, const cohort_lstm *lstm, size_t begin, size_t end)
{
    const size_t in = lstm->in;
    for (size_t s = begin; s < end; s++)
        for (size_t b = 0; b < lstm->batch; b++)
            scale_row(rows + ((s - begin) * lstm->batch + b) * in,
                      lstm->x + (b * lstm->time + time_of(lstm, s)) * in,
                      lstm->in_scale ? lstm->in_scale + b * in : NULL, in);
}

/* Puts gate values in the place of z [4 units] and makes c and h of one sample. */
COHORT_CLONES static void cell_forward(real *z, real *c, real *h, const real *before,
                                       const real *bias, size_t units)
{
    real *restrict zi = z, *restrict zf = z + units, *restrict zg = zf + units,
                   *restrict zo = zg + units;
    const real *bi = bias, *bf = bias + units, *bg = bf + units, *bo = bg + units;
#pragma omp simd
    for (size_t j = 0; j < units; j++) {
        const real i = cohort_sigmoid(zi[j] + bi[j]), f = cohort_sigmoid(zf[j] + bf[j]);
        const real g = cohort_tanh(zg[j] + bg[j]), o = cohort_sigmoid(zo[j] + bo[j]);
        const real cell = f * before[j] + i * g;
        zi[j] = i;
        zf[j] = f;
        zg[j] = g;
        zo[j] = o;
        c[j] = cell;
        h[j] = o * cohort_tanh(cell);
    }
}

/* Puts dz in the place of the gates; dc becomes that of the step before; dh is used up. */
COHORT_CLONES static void cell_backward(real *z, real *dc, real *dh, const real *c,
                                        const real *before, size_t units)
{
    real *restrict zi = z, *restrict zf = z + units, *restrict zg = zf + units,
                   *restrict zo = zg + units;
#pragma omp simd
    for (size_t j = 0; j < units; j++) {
        const real i = zi[j], f = zf[j], g = zg[j], o = zo[j];
        const real t = cohort_tanh(c[j]);
        const real d = dc[j] + dh[j] * o * (1 - t * t);
        zi[j] = d * g * i * (1 - i);
        zf[j] = d * before[j] * f * (1 - f);
        zg[j] = d * i * (1 - g * g);
        zo[j] = dh[j] * t * o * (1 - o);
        dc[j] = d * f;
        dh[j] = 0;
    }
}

/* h_{t-1} of samples [first, first + rows) as the recurrent matrix sees it. */
static const real *states_before(const cohort_lstm *lstm, real *scaled, size_t step, size_t first,
                                 size_t rows)
{
    const size_t units = lstm->units;
    const real *states = lstm->states + ((step - 1) * lstm->batch + first) * units;
    if (!lstm->state_scale)
        return states;
    scale_row(scaled, states, lstm->state_scale + first * units, rows * units);
    return scaled;
}

/* z [rows][4 units] = x_t W + h_{t-1} U for samples [first, first + rows). */
static void project(real *z, const cohort_lstm *lstm, const lstm_work *work, size_t step,
                    size_t first, size_t rows)
{
    const size_t in = lstm->in, units = lstm->units;
    const real *x = lstm->x + (first * lstm->time + time_of(lstm, step)) * in;
    size_t stride = lstm->time * in;
    if (lstm->in_scale) {
        for (size_t r = 0; r < rows; r++)
            scale_row(work->x + (first + r) * in, x + r * stride, lstm->in_scale + (first + r) * in,
                      in);
        x = work->x + first * in;
        stride = in;
    }
    cohort_panel_multiply(z, 4 * units, COHORT_PLAIN, x, stride, work->kernel, in, rows, 4 * units,
                          in, false);
    if (step)
        cohort_panel_multiply(z, 4 * units, COHORT_PLAIN,
                              states_before(lstm, work->scaled + first * units, step, first, rows),
                              units, work->recurrent, units, rows, 4 * units, units, true);
}

/* One step of samples [first, first + rows). */
static void step_forward(real *y, const cohort_lstm *lstm, const lstm_work *work, size_t step,
                         size_t first, size_t rows)
{
    const size_t units = lstm->units, row_bytes = units * sizeof(real);
    const size_t at = step * lstm->batch + first;
    real *z = lstm->gates + at * 4 * units;
    real *c = lstm->cells + at * units, *h = lstm->states + at * units;
    project(z, lstm, work, step, first, rows);
    for (size_t r = 0; r < rows; r++) {
        real *cell = c + r * units, *state = h + r * units;
        const real *cell_before = step ? cell - lstm->batch * units : work->zeros;
        if (is_masked(lstm, step, first + r)) {
            memcpy(cell, cell_before, row_bytes);
            memcpy(state, step ? state - lstm->batch * units : work->zeros, row_bytes);
        } else
            cell_forward(z + r * 4 * units, cell, state, cell_before, lstm->bias, units);
        if (lstm->every_step)
            memcpy(y + ((first + r) * lstm->time + time_of(lstm, step)) * lstm->stride, state,
                   row_bytes);
        else if (step + 1 == lstm->time)
            memcpy(y + (first + r) * lstm->stride, state, row_bytes);
    }
}

void cohort_lstm_forward(real *y, const cohort_lstm *lstm)
{
    const size_t batch = lstm->batch, in = lstm->in, units = lstm->units;
    const size_t blocks = (batch + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const lstm_work work = cut_work(lstm);
    cohort_panel_pack(work.kernel, COHORT_PLAIN, lstm->kernel, 4 * units, in, 4 * units);
    cohort_panel_pack(work.recurrent, COHORT_PLAIN, lstm->recurrent, 4 * units, units, 4 * units);
#pragma omp parallel for schedule(static) if (blocks > 1)
    for (size_t block = 0; block < blocks; block++) {
        const size_t first = block * BLOCK_ROWS;
        const size_t rows = batch - first < BLOCK_ROWS ? batch - first : BLOCK_ROWS;
        for (size_t s = 0; s < lstm->time; s++)
            step_forward(y, lstm, &work, s, first, rows);
    }
}

/* dx_t of samples [first, first + rows) from their dz. */
static void put_input_grads(const cohort_lstm_grads *grads, const cohort_lstm *lstm,
                            const lstm_work *work, const real *dz, size_t step, size_t first,
                            size_t rows)
{
    const size_t in = lstm->in, all = 4 * lstm->units, stride = lstm->time * in;
    real *dx = grads->dx + (first * lstm->time + time_of(lstm, step)) * in;
    if (!lstm->in_scale) {
        cohort_panel_multiply(dx, stride, COHORT_PLAIN, dz, all, work->kernel, all, rows, in, all,
                              grads->add_dx);
        return;
    }
    real *scaled = work->x + first * in;
    cohort_panel_multiply(scaled, in, COHORT_PLAIN, dz, all, work->kernel, all, rows, in, all,
                          false);
    for (size_t r = 0; r < rows; r++) {
        const real *scale = lstm->in_scale + (first + r) * in;
        scale_row(grads->add_dx ? scaled + r * in : dx + r * stride, scaled + r * in, scale, in);
        if (grads->add_dx)
            cohort_vector_add(dx + r * stride, scaled + r * in, in);
    }
}

/* One step back of samples [first, first + rows). */
static void step_backward(const cohort_lstm_grads *grads, const cohort_lstm *lstm,
                          const lstm_work *work, size_t step, size_t first, size_t rows)
{
    const size_t units = lstm->units, at = step * lstm->batch + first;
    real *z = lstm->gates + at * 4 * units;
    real *dh = work->dh + first * units, *dc = work->dc + first * units;
    const real *c = lstm->cells + at * units;
    for (size_t r = 0; r < rows; r++) {
        const size_t sample = first + r, time = time_of(lstm, step);
        if (lstm->every_step)
            cohort_vector_add(dh + r * units,
                              grads->dy + (sample * lstm->time + time) * lstm->stride, units);
        else if (step + 1 == lstm->time)
            cohort_vector_add(dh + r * units, grads->dy + sample * lstm->stride, units);
        if (is_masked(lstm, step, sample))
            memset(z + r * 4 * units, 0, 4 * units * sizeof(real));
        else
            cell_backward(z + r * 4 * units, dc + r * units, dh + r * units, c + r * units,
                          step ? c + r * units - lstm->batch * units : work->zeros, units);
    }
    if (grads->dx)
        put_input_grads(grads, lstm, work, z, step, first, rows);
    if (!step)
        return;
    real *scaled = work->scaled + first * units;
    cohort_panel_multiply(lstm->state_scale ? scaled : dh, units, COHORT_PLAIN, z, 4 * units,
                          work->recurrent, 4 * units, rows, units, 4 * units, !lstm->state_scale);
    if (lstm->state_scale) {
        scale_row(scaled, scaled, lstm->state_scale + first * units, rows * units);
        cohort_vector_add(dh, scaled, rows * units);
    }
}

/* dw [k][n] (ADD: +=) x' * dz; db [n] too, unless it is NULL. */
static void add_products(real *dw, real *db, const real *x, real *dz, size_t rows, size_t k,
                         size_t n, bool add, real *scratch)
{
    if (cohort_thin_fits(k, n)) {
        cohort_thin_backward_of_many(&(cohort_thin_backward){.dw = dw,
                                                             .db = db,
                                                             .x = x,
                                                             .dz = dz,
                                                             .rows = rows,
                                                             .k = k,
                                                             .n = n,
                                                             .add = add,
                                                             .scratch = scratch});
        return;
    }
    cohort_gemm_dense(COHORT_TRANSPOSED, COHORT_PLAIN, k, n, rows, x, dz, add, dw);
    if (db)
        cohort_vector_column_sums(db, dz, rows, n, add);
}

/* Parameter gradients of the steps [begin, end), whose dz are in `gates`. */
static void add_param_grads(const cohort_lstm_grads *grads, const cohort_lstm *lstm,
                            const lstm_work *work, size_t begin, size_t end, bool add)
{
    const size_t batch = lstm->batch, units = lstm->units, rows = (end - begin) * batch;
    real *dz = lstm->gates + begin * batch * 4 * units;
    add_products(grads->kernel, grads->bias, work->x, dz, rows, lstm->in, 4 * units, add,
                 work->products);
    /* The first step has no state before it. */
    const size_t from = begin ? begin : 1, count = end > from ? end - from : 0;
    const real *states = lstm->states + (from - 1) * batch * units;
    if (lstm->state_scale) {
        for (size_t s = 0; s < count; s++)
            states_before(lstm, work->scaled + s * batch * units, from + s, 0, batch);
        states = work->scaled;
    }
    add_products(grads->recurrent, NULL, states, dz + (from - begin) * batch * 4 * units,
                 count * batch, units, 4 * units, add, work->products);
}

void cohort_lstm_backward(const cohort_lstm_grads *grads, const cohort_lstm *lstm)
{
    const size_t batch = lstm->batch, units = lstm->units;
    const size_t steps = chunk_steps(batch, lstm->time);
    const size_t blocks = (batch + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const lstm_work work = cut_work(lstm);
    cohort_panel_pack(work.kernel, COHORT_TRANSPOSED, lstm->kernel, 4 * units, 4 * units, lstm->in);
    cohort_panel_pack(work.recurrent, COHORT_TRANSPOSED, lstm->recurrent, 4 * units, 4 * units,
                      units);
    memset(work.dh, 0, batch * units * sizeof(real));
    memset(work.dc, 0, batch * units * sizeof(real));
    bool add = grads->accumulate;
    for (size_t chunk = (lstm->time + steps - 1) / steps; chunk-- > 0;) {
        const size_t begin = chunk * steps;
        const size_t end = lstm->time - begin < steps ? lstm->time : begin + steps;
#pragma omp parallel for schedule(static) if (blocks > 1)
        for (size_t block = 0; block < blocks; block++) {
            const size_t first = block * BLOCK_ROWS;
            const size_t rows = batch - first < BLOCK_ROWS ? batch - first : BLOCK_ROWS;
            for (size_t s = end; s-- > begin;)
                step_backward(grads, lstm, &work, s, first, rows);
        }
        if (grads->kernel) {
            gather_inputs(work.x, lstm, begin, end);
            add_param_grads(grads, lstm, &work, begin, end, add);
            add = true;
        }
    }
}
