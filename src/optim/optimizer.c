#include "optim/optimizer.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernel/parallel.h"
#include "kernel/update.h"

enum {
    SLOTS_MAX = 2,
    /* Below this many elements a thread costs more than it brings. */
    THREAD_ELEMENTS = 32768
};

/* A tensor that is trained. */
typedef struct span {
    size_t begin, end;
    bool decays;
    const cohort_table *table; /* only the marked rows have gradients; NULL: all */
    bool rests;                /* an update changes no other row */
    bool only_used;            /* an update must change no other row */
} span;

/* The numbers of one step that all ranges share. */
typedef struct step_numbers {
    cohort_update_terms plain, decaying; /* tensors without and with COHORT_PARAM_DECAYS */
    double lr;
    double alpha; /* Adam's corrected rate */
} step_numbers;

/* One kind of optimizer: its slots and the update of a run within one tensor. */
typedef struct optimizer_type {
    const char *slots[SLOTS_MAX];
    double start; /* of the slots */
    bool rests;   /* without gradient nor decay nothing moves */
    void (*update)(cohort_optimizer *optimizer, real *params, const real *grads,
                   const step_numbers *numbers, size_t begin, size_t end, bool decays);
} optimizer_type;

struct cohort_optimizer {
    const optimizer_type *type;
    cohort_optimizer_recipe recipe; /* its numbers; the lists of the schedule are not used */
    size_t count;                   /* of the flat vectors */
    span *spans;                    /* [span_count], ascending */
    size_t span_count;
    size_t slot_count;
    real *slots[SLOTS_MAX];  /* [count] each */
    real *memory[SLOTS_MAX]; /* what they lie in, unless it is the caller's */
    double *sums;            /* [block_count] squares, by block */
    size_t block_count;
    cohort_table *tables; /* [table_count] */
    size_t table_count;
    const uint64_t *rows;
};

static cohort_update_terms terms_of(const step_numbers *numbers, bool decays)
{
    return decays ? numbers->decaying : numbers->plain;
}

static void update_sgd(cohort_optimizer *optimizer, real *params, const real *grads,
                       const step_numbers *numbers, size_t begin, size_t end, bool decays)
{
    cohort_update_sgd(params + begin, grads + begin, end - begin, terms_of(numbers, decays),
                      numbers->lr);
    (void)optimizer;
}

static void update_momentum(cohort_optimizer *optimizer, real *params, const real *grads,
                            const step_numbers *numbers, size_t begin, size_t end, bool decays)
{
    cohort_update_momentum(params + begin, optimizer->slots[0] + begin, grads + begin, end - begin,
                           terms_of(numbers, decays), numbers->lr, optimizer->recipe.momentum,
                           optimizer->recipe.nesterov);
}

static void update_adam(cohort_optimizer *optimizer, real *params, const real *grads,
                        const step_numbers *numbers, size_t begin, size_t end, bool decays)
{
    const cohort_optimizer_recipe *recipe = &optimizer->recipe;
    double shrink = recipe->type == COHORT_ADAMW && decays ? numbers->lr * recipe->weight_decay : 0;
    cohort_update_adam(params + begin, optimizer->slots[0] + begin, optimizer->slots[1] + begin,
                       grads + begin, end - begin, terms_of(numbers, decays), numbers->alpha,
                       recipe->beta1, recipe->beta2, recipe->epsilon, shrink);
}

static void update_rmsprop(cohort_optimizer *optimizer, real *params, const real *grads,
                           const step_numbers *numbers, size_t begin, size_t end, bool decays)
{
    const cohort_optimizer_recipe *recipe = &optimizer->recipe;
    real *momentum_slot = optimizer->slots[1] ? optimizer->slots[1] + begin : NULL;
    cohort_update_rmsprop(params + begin, optimizer->slots[0] + begin, momentum_slot, grads + begin,
                          end - begin, terms_of(numbers, decays), numbers->lr, recipe->rho,
                          recipe->momentum, recipe->epsilon);
}

static void update_adagrad(cohort_optimizer *optimizer, real *params, const real *grads,
                           const step_numbers *numbers, size_t begin, size_t end, bool decays)
{
    cohort_update_adagrad(params + begin, optimizer->slots[0] + begin, grads + begin, end - begin,
                          terms_of(numbers, decays), numbers->lr, optimizer->recipe.epsilon);
}

static const optimizer_type plain_sgd = {{NULL}, 0, true, update_sgd};
static const optimizer_type momentum_sgd = {{"momentum"}, 0, false, update_momentum};
static const optimizer_type adam = {{"m", "v"}, 0, false, update_adam};
static const optimizer_type plain_rmsprop = {{"velocity"}, 0, false, update_rmsprop};
static const optimizer_type momentum_rmsprop = {{"velocity", "momentum"}, 0, false, update_rmsprop};
static const optimizer_type adagrad = {{"accumulator"}, 0.1, true, update_adagrad};

static const optimizer_type *type_of(const cohort_optimizer_recipe *recipe)
{
    bool momentum = recipe->momentum > 0;
    switch ((cohort_optimizer_type)recipe->type) {
    case COHORT_SGD:
        return momentum ? &momentum_sgd : &plain_sgd;
    case COHORT_ADAM:
    case COHORT_ADAMW:
        return &adam;
    case COHORT_RMSPROP:
        return momentum ? &momentum_rmsprop : &plain_rmsprop;
    case COHORT_ADAGRAD:
        return &adagrad;
    }
    return NULL;
}

/* The trained tensors as spans; checks that TENSORS ascend and fit. */
static cohort_status take_spans(cohort_optimizer *optimizer, const cohort_tensors *tensors)
{
    COHORT_TRY(COHORT_ALLOCATE(&optimizer->spans, tensors->count + 1));
    size_t end = 0;
    for (size_t i = 0; i < tensors->count; i++) {
        const cohort_tensor *tensor = &tensors->items[i];
        COHORT_REQUIRE(tensor->offset >= end && tensor->offset <= optimizer->count &&
                           tensor->count <= optimizer->count - tensor->offset,
                       COHORT_INTERNAL, "tensor %s/%s lies outside the parameters", tensor->layer,
                       tensor->name);
        end = tensor->offset + tensor->count;
        if (tensor->frozen || tensor->count == 0)
            continue;
        optimizer->spans[optimizer->span_count++] = (span){
            tensor->offset, end, (tensor->flags & COHORT_PARAM_DECAYS) != 0, NULL, false, false};
    }
    return COHORT_OK;
}

/* Start values go into every tensor, frozen or not, and not into padding. */
static void start_slot(real *slot, const cohort_tensors *tensors, double start)
{
    for (size_t i = 0; i < tensors->count; i++)
        for (size_t j = 0; j < tensors->items[i].count; j++)
            slot[tensors->items[i].offset + j] = (real)start;
}

cohort_status cohort_optimizer_create(cohort_optimizer **out, const cohort_optimizer_recipe *recipe,
                                      const cohort_tensors *tensors, size_t count)
{
    *out = NULL;
    const optimizer_type *type = type_of(recipe);
    COHORT_REQUIRE(type, COHORT_USAGE, "unknown optimizer type %d", recipe->type);
    cohort_optimizer *optimizer;
    COHORT_TRY(COHORT_ALLOCATE(&optimizer, 1));
    optimizer->type = type;
    optimizer->recipe = *recipe;
    optimizer->count = count;
    optimizer->block_count = (count + COHORT_UPDATE_BLOCK - 1) / COHORT_UPDATE_BLOCK;
    cohort_status status;
    COHORT_TRY_DONE(status, take_spans(optimizer, tensors));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&optimizer->sums, optimizer->block_count + 1));
    for (size_t i = 0; i < SLOTS_MAX && type->slots[i]; i++) {
        const size_t skew = (i + 1) * COHORT_OPTIMIZER_SKEW;
        COHORT_TRY_DONE(status, COHORT_ALLOCATE(&optimizer->memory[i], count + skew));
        optimizer->slots[i] = optimizer->memory[i] + skew;
        optimizer->slot_count++;
        if (type->start != 0)
            start_slot(optimizer->slots[i], tensors, type->start);
    }
    *out = optimizer;
    return COHORT_OK;
done:
    cohort_optimizer_destroy(optimizer);
    return status;
}

cohort_status cohort_optimizer_watch_rows(cohort_optimizer *optimizer, const cohort_tables *tables,
                                          const uint64_t *rows)
{
    const cohort_optimizer_recipe *recipe = &optimizer->recipe;
    cohort_free(optimizer->tables);
    COHORT_TRY(COHORT_ALLOCATE(&optimizer->tables, tables->count));
    optimizer->rows = rows;
    for (size_t t = 0; t < tables->count; t++) {
        const cohort_table *table = &optimizer->tables[t];
        optimizer->tables[t] = tables->items[t];
        for (size_t i = 0; i < optimizer->span_count; i++) {
            span *at = &optimizer->spans[i];
            const bool decays = at->decays && (recipe->weight_decay > 0 || recipe->l1 > 0);
            if (at->begin != table->offset)
                continue;
            at->table = table;
            at->only_used =
                recipe->embedding_rows == COHORT_ROWS_USED || (optimizer->type->rests && !decays);
        }
    }
    return COHORT_OK;
}

void cohort_optimizer_destroy(cohort_optimizer *optimizer)
{
    if (!optimizer)
        return;
    for (size_t i = 0; i < SLOTS_MAX; i++)
        cohort_free(optimizer->memory[i]);
    cohort_free(optimizer->spans);
    cohort_free(optimizer->sums);
    cohort_free(optimizer->tables);
    cohort_free(optimizer);
}

void cohort_optimizer_restart(cohort_optimizer *optimizer)
{
    for (size_t i = 0; i < optimizer->slot_count; i++) {
        memset(optimizer->slots[i], 0, optimizer->count * sizeof(real));
        for (size_t k = 0; k < optimizer->span_count && optimizer->type->start != 0; k++)
            for (size_t j = optimizer->spans[k].begin; j < optimizer->spans[k].end; j++)
                optimizer->slots[i][j] = (real)optimizer->type->start;
    }
}

/* The first span that ends after AT; span_count if none. */
static size_t first_span(const cohort_optimizer *optimizer, size_t at)
{
    size_t low = 0, high = optimizer->span_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (optimizer->spans[middle].end > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t greatest(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The next stretch [*from, *to) of marked rows (and some between them) at or after element *to,
 * cut at END. */
static bool next_marked(size_t *from, size_t *to, const cohort_optimizer *optimizer,
                        const cohort_table *table, size_t end)
{
    const size_t width = table->width, last = (end - table->offset + width - 1) / width;
    const uint64_t *bits = optimizer->rows + table->first_word;
    size_t begin_row, end_row = (*to - table->offset) / width;
    if (*to >= end || !cohort_rows_next_near(&begin_row, &end_row, bits, last))
        return false;
    *from = greatest(*to, table->offset + begin_row * width);
    *to = least(end, table->offset + end_row * width);
    return true;
}

/* What a run of gradients adds to the sum of squares. Only clipping needs that: without, 0 stands
 * for what is finite, which is sooner known. */
static double sum_of(const cohort_optimizer *optimizer, const real *x, size_t count)
{
    if (optimizer->recipe.clip_norm > 0)
        return cohort_update_square_sum(x, count);
    return cohort_update_is_finite(x, count) ? 0 : (double)NAN;
}

static double sum_of_runs(const cohort_optimizer *optimizer, const real *x,
                          const cohort_update_run *runs, size_t run_count)
{
    double sum = 0;
    if (optimizer->recipe.clip_norm > 0)
        return cohort_update_square_sum_of_runs(x, runs, run_count);
    for (size_t i = 0; i < run_count; i++)
        sum += sum_of(optimizer, x + runs[i].begin, runs[i].end - runs[i].begin);
    return sum;
}

/* The squares of GRADS[begin, end), a part of a block that lies in TABLE: the bits of the sum over
 * all of it. */
static double square_sum_of_rows(const cohort_optimizer *optimizer, const real *grads,
                                 const cohort_table *table, size_t begin, size_t end)
{
    enum { LANES = COHORT_UPDATE_LANES };
    cohort_update_run runs[COHORT_UPDATE_BLOCK / LANES];
    size_t run_count = 0, covered = 0, done = 0;
    for (size_t from, to = begin; next_marked(&from, &to, optimizer, table, end);) {
        /* Outwards to whole groups of lanes; the next run may begin in the last of these. */
        const size_t first = greatest((from - begin) / LANES * LANES, done);
        done = least((to - begin + LANES - 1) / LANES * LANES, end - begin);
        if (done > first)
            runs[run_count++] = (cohort_update_run){first, done};
        covered += done - first;
    }
    if (covered > (end - begin) / 2) /* one long run is faster than many short ones */
        return sum_of(optimizer, grads + begin, end - begin);
    return sum_of_runs(optimizer, grads + begin, runs, run_count);
}

static double block_sum(const cohort_optimizer *optimizer, const real *grads, size_t block)
{
    size_t begin = block * COHORT_UPDATE_BLOCK;
    size_t end = least(begin + COHORT_UPDATE_BLOCK, optimizer->count);
    double sum = 0;
    for (size_t i = first_span(optimizer, begin); i < optimizer->span_count; i++) {
        const span *at = &optimizer->spans[i];
        if (at->begin >= end)
            break;
        size_t from = greatest(at->begin, begin), to = least(at->end, end);
        sum += at->table ? square_sum_of_rows(optimizer, grads, at->table, from, to)
                         : sum_of(optimizer, grads + from, to - from);
    }
    return sum;
}

_Static_assert((size_t)COHORT_OPTIMIZER_BLOCK == (size_t)COHORT_UPDATE_BLOCK, "one grid");

size_t cohort_optimizer_block_count(const cohort_optimizer *optimizer)
{
    return optimizer->block_count;
}

void cohort_optimizer_block_sums(double *sums, const cohort_optimizer *optimizer, const real *grads,
                                 size_t begin, size_t end)
{
    for (size_t block = begin / COHORT_UPDATE_BLOCK; block * COHORT_UPDATE_BLOCK < end; block++)
        if (block < optimizer->block_count)
            sums[block] = block_sum(optimizer, grads, block);
}

double cohort_optimizer_norm_of(const double *sums, size_t block_count)
{
    double sum = 0;
    for (size_t i = 0; i < block_count; i++)
        sum += sums[i];
    return sqrt(sum);
}

bool cohort_optimizer_spares_rows(const cohort_optimizer *optimizer, const cohort_table *table)
{
    for (size_t i = 0; i < optimizer->span_count; i++)
        if (optimizer->spans[i].table && optimizer->spans[i].begin == table->offset)
            return optimizer->spans[i].rests || optimizer->spans[i].only_used;
    return false;
}

void cohort_optimizer_place_slots(cohort_optimizer *optimizer, real *memory, bool copy)
{
    for (size_t i = 0; i < optimizer->slot_count; i++) {
        real *place = memory + i * optimizer->count;
        if (copy)
            memcpy(place, optimizer->slots[i], optimizer->count * sizeof *place);
        cohort_free(optimizer->memory[i]);
        optimizer->memory[i] = NULL;
        optimizer->slots[i] = place;
    }
}

static int thread_count(const cohort_optimizer *optimizer)
{
    size_t useful = optimizer->count / THREAD_ELEMENTS + 1;
    return (int)least((size_t)omp_get_max_threads(), useful);
}

/* What is done over all parameters at once. */
typedef struct sweep {
    cohort_optimizer *optimizer;
    real *params;
    const real *grads;
    step_numbers numbers;
    size_t parts;
} sweep;

static void sum_block(void *context, size_t block)
{
    const sweep *s = context;
    s->optimizer->sums[block] = block_sum(s->optimizer, s->grads, block);
}

double cohort_optimizer_norm(cohort_optimizer *optimizer, const real *grads)
{
    const size_t block_count = optimizer->block_count;
    sweep s = {.optimizer = optimizer, .grads = grads};
    cohort_parallel_each(block_count, thread_count(optimizer), sum_block, &s);
    return cohort_optimizer_norm_of(optimizer->sums, block_count);
}

static step_numbers numbers_of(const cohort_optimizer *optimizer, double norm, double lr,
                               uint64_t step)
{
    const cohort_optimizer_recipe *recipe = &optimizer->recipe;
    step_numbers numbers = {.plain = {.scale = 1, .limit = INFINITY}, .lr = lr};
    if (recipe->clip_norm > 0 && norm > recipe->clip_norm)
        numbers.plain.scale = (real)(recipe->clip_norm / norm);
    if (recipe->clip_value > 0)
        numbers.plain.limit = (real)recipe->clip_value;
    numbers.decaying = numbers.plain;
    numbers.decaying.l1 = (real)recipe->l1;
    if (recipe->type != COHORT_ADAMW)
        numbers.decaying.decay = (real)recipe->weight_decay;
    if (recipe->type == COHORT_ADAM || recipe->type == COHORT_ADAMW)
        numbers.alpha = lr * sqrt(1 - pow(recipe->beta2, (double)step)) /
                        (1 - pow(recipe->beta1, (double)step));
    return numbers;
}

/* Where other rows rest: what is marked, out to whole lines, for kernels may round the last
 * elements of a run otherwise than those before. */
static void update_marked(cohort_optimizer *optimizer, real *params, const real *grads,
                          const step_numbers *numbers, const span *at, size_t begin, size_t end)
{
    size_t done = begin;
    for (size_t from, to = begin; next_marked(&from, &to, optimizer, at->table, end);) {
        from = greatest(from / COHORT_LINE_REALS * COHORT_LINE_REALS, done);
        done = least(cohort_size_align(to, COHORT_LINE_REALS), end);
        if (done > from)
            optimizer->type->update(optimizer, params, grads, numbers, from, done, at->decays);
    }
}

/* Asks for the memory of element AT, which an update will need soon. */
static void prefetch(const cohort_optimizer *optimizer, const real *params, const real *grads,
                     size_t at)
{
    __builtin_prefetch(params + at, 1);
    __builtin_prefetch(grads + at);
    for (size_t i = 0; i < optimizer->slot_count; i++)
        __builtin_prefetch(optimizer->slots[i] + at, 1);
}

/* The marked rows that begin in [begin, end), each by itself (see update_marked) or, where they
 * are whole lines, in runs. Rows lie anywhere: a handful is fetched before it is updated. */
static void update_used(cohort_optimizer *optimizer, real *params, const real *grads,
                        const step_numbers *numbers, const span *at, size_t begin, size_t end)
{
    enum { AHEAD = 16 };
    const size_t offset = at->table->offset, width = at->table->width;
    const size_t last = (end - offset + width - 1) / width;
    const uint64_t *bits = optimizer->rows + at->table->first_word;
    const bool joins = width % COHORT_LINE_REALS == 0;
    cohort_update_run runs[AHEAD];
    size_t count = AHEAD, row = (begin - offset + width - 1) / width, behind = row;
    while (count == AHEAD) {
        for (count = 0; count < AHEAD; count++) {
            if (row == behind && !cohort_rows_next(&row, &behind, bits, last))
                break;
            const size_t next = joins ? behind : row + 1;
            runs[count] = (cohort_update_run){offset + row * width, offset + next * width};
            prefetch(optimizer, params, grads, runs[count].begin);
            row = next;
        }
        for (size_t i = 0; i < count; i++)
            optimizer->type->update(optimizer, params, grads, numbers, runs[i].begin, runs[i].end,
                                    at->decays);
    }
}

static void update_range(cohort_optimizer *optimizer, real *params, const real *grads,
                         const step_numbers *numbers, size_t begin, size_t end)
{
    for (size_t i = first_span(optimizer, begin); i < optimizer->span_count; i++) {
        const span *at = &optimizer->spans[i];
        if (at->begin >= end)
            break;
        const size_t from = greatest(at->begin, begin), to = least(at->end, end);
        if (at->rests)
            update_marked(optimizer, params, grads, numbers, at, from, to);
        else if (at->only_used)
            update_used(optimizer, params, grads, numbers, at, from, to);
        else
            optimizer->type->update(optimizer, params, grads, numbers, from, to, at->decays);
    }
}

void cohort_optimizer_update_range(cohort_optimizer *optimizer, real *params, const real *grads,
                                   double norm, double lr, uint64_t step, size_t begin, size_t end)
{
    step_numbers numbers = numbers_of(optimizer, norm, lr, step);
    update_range(optimizer, params, grads, &numbers, begin, end);
}

static void update_part(void *context, size_t part)
{
    const sweep *s = context;
    const size_t count = s->optimizer->count;
    const size_t lines = (count + COHORT_LINE_REALS - 1) / COHORT_LINE_REALS;
    const size_t begin = cohort_part_begin(lines, part, s->parts) * COHORT_LINE_REALS,
                 end = cohort_part_begin(lines, part + 1, s->parts) * COHORT_LINE_REALS;
    update_range(s->optimizer, s->params, s->grads, &s->numbers, begin, least(end, count));
}

double cohort_optimizer_step(cohort_optimizer *optimizer, real *params, const real *grads,
                             double lr, uint64_t step)
{
    const int threads = thread_count(optimizer);
    sweep s = {.optimizer = optimizer, .params = params, .grads = grads, .parts = (size_t)threads};
    const double norm = cohort_optimizer_norm(optimizer, grads);
    if (!isfinite(norm))
        return norm;
    s.numbers = numbers_of(optimizer, norm, lr, step);
    cohort_parallel_each(s.parts, threads, update_part, &s);
    return norm;
}

size_t cohort_optimizer_slot_count(const cohort_optimizer *optimizer)
{
    return optimizer->slot_count;
}

const char *cohort_optimizer_slot_name(const cohort_optimizer *optimizer, size_t index)
{
    return optimizer->type->slots[index];
}

real *cohort_optimizer_slot(cohort_optimizer *optimizer, size_t index)
{
    return optimizer->slots[index];
}
