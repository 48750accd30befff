#include "data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "data/augment.h"
#include "data/convert.h"
#include "data/tokenizer.h"
#include "kernel/clones.h"

enum { SLOTS = 2, INLINE_BYTES = 512 << 10, LINE = 64, PREFETCH_LINES = 16, PREFETCH_ROWS = 4 };

typedef enum slot_state { SLOT_EMPTY, SLOT_FILLING, SLOT_READY, SLOT_HELD } slot_state;

typedef struct slot {
    slot_state state;
    uint64_t ticket; /* its place in the sequence of batches */
    cohort_batch batch;
    uint64_t *rows;
    void *x, *y;
    cohort_status status;
    char message[512];
} slot;

/* The rows of the batch after the one being prepared, while x is in memory. */
typedef struct foresight {
    bool known;
    uint64_t epoch, step;
    uint64_t *rows;
    size_t count;
} foresight;

struct cohort_loader {
    cohort_dataset *dataset;
    cohort_sampler sampler;
    size_t part_begin, part_end, part_count;
    bool tokens;
    size_t token_limit;
    cohort_masking masking;
    uint64_t seed;
    cohort_element element; /* of x as stored */
    size_t x_elements, row_bytes;
    const unsigned char *memory; /* x in memory, or NULL */
    unsigned char *staging;      /* [count][x] as stored, when x is streamed */
    cohort_scaling scaling;
    cohort_augmenter *augmenter;
    slot slots[SLOTS];
    foresight next;
    uint64_t *members; /* [draw.most] of the batch being prepared; NULL without draw */
    double wait_seconds;

    /* Shared with the thread, under the lock. */
    bool threaded, started, stopping;
    bool positioned; /* by a seek */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, ready; /* for the thread; for next */
    uint64_t epoch, step;       /* of the next batch to prepare */
    uint64_t produced;          /* tickets given out */
    uint64_t wanted;            /* ticket that next returns next */
    bool paused;                /* before the first seek, or after a failure until the next */
};

/* --- Preparing one batch --------------------------------------------------- */

/* All inline: GCC takes a function that does nothing but ask for memory for one without effect,
 * and leaves calls of it out. */

COHORT_INLINE void prefetch_row(const cohort_loader *loader, uint64_t index)
{
    const unsigned char *row = loader->memory + index * loader->row_bytes;
    for (size_t line = 0; line < PREFETCH_LINES && line * LINE < loader->row_bytes; line++)
        __builtin_prefetch(row + line * LINE, 0, 2);
}

/* Rows lie anywhere in memory, which takes longer than converting them: those of the next batch are
 * asked for a step ahead. */
COHORT_INLINE void prefetch_next(const cohort_loader *loader)
{
    for (size_t i = 0; loader->next.known && i < loader->next.count; i++)
        prefetch_row(loader, loader->next.rows[i]);
}

/* In a first batch, PREFETCH_ROWS ahead of row I. */
COHORT_INLINE void prefetch_ahead(const cohort_loader *loader, const cohort_batch *batch, size_t i)
{
    if (loader->memory && i + PREFETCH_ROWS < batch->count)
        prefetch_row(loader, batch->rows[i + PREFETCH_ROWS]);
}

static void convert_row(void *x, cohort_loader *loader, const cohort_batch *batch, size_t index,
                        const void *row)
{
    const size_t count = loader->x_elements;
    cohort_element element = loader->element;
    if (loader->tokens) {
        int32_t *to = (int32_t *)x + index * count;
        if (element == COHORT_U8)
            cohort_widen_u8_i32(to, row, count);
        else
            memcpy(to, row, count * sizeof *to);
        return;
    }
    if (loader->augmenter)
        cohort_augmenter_apply(&row, &element, loader->augmenter, row, loader->seed, batch->epoch,
                               batch->rows[index]);
    cohort_scale((float *)x + index * count, row, element, count, &loader->scaling);
}

/* An embedding has no row for a token out of range. */
static cohort_status check_range(const slot *filled, const cohort_loader *loader)
{
    int32_t least = 0, most = 0;
    if (!loader->tokens || !loader->token_limit || filled->batch.count == 0)
        return COHORT_OK;
    cohort_range_i32(&least, &most, filled->x, filled->batch.count * loader->x_elements);
    COHORT_REQUIRE(least >= 0 && (size_t)most < loader->token_limit, COHORT_DATA,
                   "x holds the token %d, but the vocabulary has %zu words (0 to %zu); convert the "
                   "text again or raise the embedding's vocabulary",
                   least < 0 ? least : most, loader->token_limit, loader->token_limit - 1);
    return COHORT_OK;
}

/* This rank's share of a batch of COUNT: its first, and how many. */
static size_t share(size_t *first, const cohort_loader *loader, size_t count)
{
    *first = cohort_part_begin(count, loader->part_begin, loader->part_count);
    return cohort_part_begin(count, loader->part_end, loader->part_count) - *first;
}

/* Rows of one's own draw, which are not known ahead. */
static cohort_status draw_rows(slot *filled, cohort_loader *loader)
{
    const cohort_sampler *sampler = &loader->sampler;
    const cohort_draw *draw = &sampler->draw;
    cohort_batch *batch = &filled->batch;
    size_t first;
    batch->global_count = draw->members(draw->context, loader->members,
                                        batch->epoch * cohort_sampler_steps(sampler) + batch->step);
    COHORT_REQUIRE(batch->global_count <= draw->most, COHORT_INTERNAL,
                   "a batch of more than %zu samples was drawn; run the same command again",
                   draw->most);
    batch->count = share(&first, loader, batch->global_count);
    for (size_t i = 0; i < batch->count; i++)
        filled->rows[i] = cohort_subset_row(&sampler->subset, loader->members[first + i]);
    return COHORT_OK;
}

static void foresee(cohort_loader *loader, uint64_t epoch, uint64_t step)
{
    foresight *next = &loader->next;
    size_t first;
    next->known = loader->memory && step < cohort_sampler_steps(&loader->sampler);
    if (!next->known)
        return;
    next->epoch = epoch;
    next->step = step;
    next->count = share(&first, loader, cohort_sampler_batch_count(&loader->sampler, step));
    cohort_sampler_rows(next->rows, &loader->sampler, epoch, step, first, next->count);
}

/* The rows of the global batch and this rank's of them, into FILLED, and those of the next.
 * *foreseen: they were known. */
static cohort_status choose_rows(bool *foreseen, slot *filled, cohort_loader *loader)
{
    cohort_batch *batch = &filled->batch;
    const foresight *next = &loader->next;
    size_t first;
    *foreseen = next->known && next->epoch == batch->epoch && next->step == batch->step;
    if (loader->sampler.draw.members)
        return draw_rows(filled, loader);
    batch->global_count = cohort_sampler_batch_count(&loader->sampler, batch->step);
    batch->count = share(&first, loader, batch->global_count);
    if (*foreseen)
        memcpy(filled->rows, next->rows, batch->count * sizeof *filled->rows);
    else
        cohort_sampler_rows(filled->rows, &loader->sampler, batch->epoch, batch->step, first,
                            batch->count);
    foresee(loader, batch->epoch, batch->step + 1);
    return COHORT_OK;
}

static cohort_status fill(slot *filled, cohort_loader *loader, uint64_t epoch, uint64_t step)
{
    cohort_batch *batch = &filled->batch;
    batch->epoch = epoch;
    batch->step = step;
    bool foreseen;
    COHORT_TRY(choose_rows(&foreseen, filled, loader));
    const bool masked = loader->masking.rate > 0;
    COHORT_TRY(cohort_dataset_gather(loader->staging, masked ? NULL : filled->y, loader->dataset,
                                     filled->rows, batch->count));
    for (size_t i = 0; i < batch->count; i++) {
        if (!foreseen)
            prefetch_ahead(loader, batch, i);
        const unsigned char *row =
            loader->memory ? loader->memory + (size_t)filled->rows[i] * loader->row_bytes
                           : loader->staging + i * loader->row_bytes;
        convert_row(filled->x, loader, batch, i, row);
    }
    prefetch_next(loader);
    COHORT_TRY(check_range(filled, loader));
    const size_t time = loader->x_elements;
    for (size_t i = 0; i < batch->count && masked; i++)
        cohort_mask_tokens((int32_t *)filled->y + i * time, (int32_t *)filled->x + i * time, time,
                           &loader->masking, loader->seed, epoch, batch->rows[i]);
    return COHORT_OK;
}

/* Fills SLOT for (epoch, step), keeping the error with it. */
static void prepare(slot *filled, cohort_loader *loader, uint64_t epoch, uint64_t step)
{
    filled->status = fill(filled, loader, epoch, step);
    if (filled->status != COHORT_OK)
        snprintf(filled->message, sizeof filled->message, "%s", cohort_error_message());
}

/* --- The sequence ----------------------------------------------------------- */

/* Takes an empty slot for the next batch of the sequence and moves the sequence on; NULL
 * if there is none to take. With the lock held. */
static slot *take_empty(cohort_loader *loader, uint64_t *epoch, uint64_t *step)
{
    for (int i = 0; i < SLOTS && !loader->paused; i++) {
        slot *empty = &loader->slots[i];
        if (empty->state != SLOT_EMPTY)
            continue;
        empty->state = SLOT_FILLING;
        empty->ticket = loader->produced++;
        *epoch = loader->epoch;
        *step = loader->step;
        if (++loader->step >= cohort_sampler_steps(&loader->sampler)) {
            loader->step = 0;
            loader->epoch++;
        }
        return empty;
    }
    return NULL;
}

/* A slot that a seek has overtaken while it was being filled is dropped. */
static void put_filled(cohort_loader *loader, slot *filled)
{
    const bool current = filled->ticket >= loader->wanted;
    filled->state = current ? SLOT_READY : SLOT_EMPTY;
    if (current && filled->status != COHORT_OK)
        loader->paused = true;
}

static slot *find_ready(cohort_loader *loader)
{
    for (int i = 0; i < SLOTS; i++)
        if (loader->slots[i].state == SLOT_READY && loader->slots[i].ticket == loader->wanted)
            return &loader->slots[i];
    return NULL;
}

static void *run(void *argument)
{
    cohort_loader *loader = argument;
    pthread_mutex_lock(&loader->lock);
    while (!loader->stopping) {
        uint64_t epoch = 0, step = 0;
        slot *empty = take_empty(loader, &epoch, &step);
        if (!empty) {
            pthread_cond_wait(&loader->work, &loader->lock);
            continue;
        }
        pthread_mutex_unlock(&loader->lock);
        prepare(empty, loader, epoch, step);
        pthread_mutex_lock(&loader->lock);
        put_filled(loader, empty);
        pthread_cond_signal(&loader->ready);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

/* Signals are for the main thread: the new one inherits a mask that blocks them all. */
static cohort_status start_thread(cohort_loader *loader)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&loader->thread, NULL, run, loader);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    COHORT_REQUIRE(!error, COHORT_MEMORY, "cannot start the loader thread: %s; raise ulimit -u",
                   strerror(error));
    loader->started = true;
    return COHORT_OK;
}

/* Steps at or past the end belong to the epochs after. */
static void set_position(cohort_loader *loader, uint64_t epoch, uint64_t step)
{
    const uint64_t steps = cohort_sampler_steps(&loader->sampler);
    loader->epoch = epoch + step / steps;
    loader->step = step % steps;
}

void cohort_loader_seek(cohort_loader *loader, uint64_t epoch, uint64_t step)
{
    pthread_mutex_lock(&loader->lock);
    set_position(loader, epoch, step);
    loader->wanted = loader->produced;
    loader->paused = false;
    loader->positioned = true;
    for (int i = 0; i < SLOTS; i++)
        if (loader->slots[i].state == SLOT_READY)
            loader->slots[i].state = SLOT_EMPTY;
    pthread_cond_signal(&loader->work);
    pthread_mutex_unlock(&loader->lock);
}

static bool is_filling(const cohort_loader *loader)
{
    for (int i = 0; i < SLOTS; i++)
        if (loader->slots[i].state == SLOT_FILLING)
            return true;
    return false;
}

void cohort_loader_set_subset(cohort_loader *loader, const cohort_subset *subset, uint64_t seed)
{
    pthread_mutex_lock(&loader->lock);
    loader->paused = true;
    loader->wanted = loader->produced;
    while (is_filling(loader))
        pthread_cond_wait(&loader->ready, &loader->lock);
    for (int i = 0; i < SLOTS; i++)
        loader->slots[i].state = SLOT_EMPTY;
    loader->sampler.subset = *subset;
    loader->sampler.seed = loader->seed = seed;
    loader->next.known = false;
    loader->positioned = false;
    pthread_mutex_unlock(&loader->lock);
}

/* Waits until the wanted slot is ready, or prepares it here. With the lock held. */
static slot *obtain(cohort_loader *loader)
{
    slot *found = find_ready(loader);
    if (found)
        return found;
    const double since = cohort_clock_seconds();
    if (loader->threaded) {
        while (!(found = find_ready(loader)))
            pthread_cond_wait(&loader->ready, &loader->lock);
    } else {
        uint64_t epoch = 0, step = 0;
        found = take_empty(loader, &epoch, &step);
        prepare(found, loader, epoch, step);
        put_filled(loader, found);
    }
    loader->wait_seconds += cohort_clock_seconds() - since;
    return found;
}

cohort_status cohort_loader_next(cohort_loader *loader, const cohort_batch **batch)
{
    *batch = NULL;
    if (!loader->positioned)
        cohort_loader_seek(loader, 0, 0);
    pthread_mutex_lock(&loader->lock);
    for (int i = 0; i < SLOTS; i++)
        if (loader->slots[i].state == SLOT_HELD)
            loader->slots[i].state = SLOT_EMPTY;
    pthread_cond_signal(&loader->work);
    slot *found = obtain(loader);
    /* A failed slot stays where it is, so that asking again tells the same. */
    if (found->status == COHORT_OK) {
        found->state = SLOT_HELD;
        loader->wanted++;
    }
    pthread_mutex_unlock(&loader->lock);
    COHORT_REQUIRE(found->status == COHORT_OK, found->status, "%s", found->message);
    *batch = &found->batch;
    return COHORT_OK;
}

double cohort_loader_take_wait_seconds(cohort_loader *loader)
{
    const double seconds = loader->wait_seconds;
    loader->wait_seconds = 0;
    return seconds;
}

/* --- Making ------------------------------------------------------------------ */

static cohort_status check_tokens(const cohort_loader_config *config,
                                  const cohort_dataset_info *info)
{
    COHORT_REQUIRE(info->x_element != COHORT_F32, COHORT_USAGE,
                   "tokens must be integers, but x holds floats; remove the embedding or convert "
                   "x");
    COHORT_REQUIRE(!config->augment || !config->augment->count, COHORT_USAGE,
                   "data.augment is for images, but x holds tokens; remove it");
    bool plain = config->scale == 1;
    for (size_t i = 0; i < config->mean.count; i++)
        plain = plain && config->mean.items[i] == 0;
    for (size_t i = 0; i < config->std.count; i++)
        plain = plain && config->std.items[i] == 1;
    COHORT_REQUIRE(plain, COHORT_USAGE,
                   "data.scale, mean and std have no meaning for tokens; remove them");
    return COHORT_OK;
}

static cohort_status configure(cohort_loader *loader, const cohort_loader_config *config,
                               const cohort_dataset_info *info)
{
    const cohort_shape *shape = &info->x_shape;
    COHORT_REQUIRE(config->masking.rate <= 0 ||
                       (config->tokens && config->masking.vocabulary > COHORT_TOKEN_MASK + 1),
                   COHORT_USAGE, "only tokens of a vocabulary with [mask] can be masked");
    if (config->tokens)
        return check_tokens(config, info);
    COHORT_TRY(cohort_scaling_make(&loader->scaling, config->scale, config->mean.items,
                                   config->mean.count, config->std.items, config->std.count,
                                   shape->dims[shape->dim_count - 1]));
    return cohort_augmenter_create(&loader->augmenter, config->augment, shape, info->x_element);
}

/* *most = samples of the largest share of a batch that this rank can get. */
static cohort_status allocate_slots(size_t *most, cohort_loader *loader,
                                    const cohort_dataset_info *info)
{
    const cohort_draw *draw = &loader->sampler.draw;
    const size_t batch =
        draw->members ? draw->most : cohort_sampler_batch_count(&loader->sampler, 0);
    const size_t parts = loader->part_end - loader->part_begin;
    const size_t count = (batch * parts - 1) / loader->part_count + 1;
    const bool masked = loader->masking.rate > 0, targets = info->targets || masked;
    const size_t y_elements = masked          ? loader->x_elements
                              : info->targets ? cohort_shape_count(&info->y_shape)
                                              : 0;
    size_t x_bytes = 0, y_bytes = 0;
    COHORT_REQUIRE(cohort_size_multiply(&x_bytes, loader->x_elements, sizeof(float)) &&
                       cohort_size_multiply(&y_bytes, y_elements, sizeof(float)),
                   COHORT_MEMORY, "a sample does not fit memory");
    for (int i = 0; i < SLOTS; i++) {
        slot *made = &loader->slots[i];
        COHORT_TRY(cohort_allocate(&made->x, count, x_bytes));
        COHORT_TRY(COHORT_ALLOCATE(&made->rows, count));
        if (targets)
            COHORT_TRY(cohort_allocate(&made->y, count, y_bytes));
        made->batch.x = made->x;
        made->batch.rows = made->rows;
        made->batch.labels = info->labels || masked ? made->y : NULL;
        made->batch.values = info->labels || masked ? NULL : made->y;
    }
    if (draw->members)
        COHORT_TRY(COHORT_ALLOCATE(&loader->members, draw->most));
    if (loader->memory)
        COHORT_TRY(COHORT_ALLOCATE(&loader->next.rows, count));
    else
        COHORT_TRY(cohort_allocate((void **)&loader->staging, count, loader->row_bytes));
    *most = count;
    return COHORT_OK;
}

cohort_status cohort_loader_create(cohort_loader **out, cohort_dataset *dataset,
                                   const cohort_loader_config *config)
{
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    cohort_status status = COHORT_OK;
    cohort_loader *loader = NULL;
    size_t most = 0;
    *out = NULL;
    COHORT_REQUIRE(config->sampler.global_batch && cohort_subset_count(&config->sampler.subset),
                   COHORT_USAGE, "no samples to load (%s); choose another validation fraction",
                   config->sampler.global_batch ? "the subset is empty" : "batches of size 0");
    COHORT_TRY(COHORT_ALLOCATE(&loader, 1));
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->ready, NULL);
    loader->dataset = dataset;
    loader->sampler = config->sampler;
    loader->part_begin = config->part_begin;
    loader->part_end = config->part_end;
    loader->part_count = config->part_count;
    loader->tokens = config->tokens;
    loader->token_limit = config->token_limit;
    loader->masking = config->masking;
    loader->seed = config->seed;
    loader->element = info->x_element;
    loader->x_elements = cohort_shape_count(&info->x_shape);
    loader->row_bytes = loader->x_elements * cohort_element_bytes(info->x_element);
    loader->memory = cohort_dataset_memory(dataset);
    COHORT_TRY_DONE(status, configure(loader, config, info));
    COHORT_TRY_DONE(status, allocate_slots(&most, loader, info));
    loader->threaded =
        config->resident_thread && (info->streamed || loader->augmenter ||
                                    most * loader->x_elements * sizeof(float) > INLINE_BYTES);
    if (loader->threaded)
        COHORT_TRY_DONE(status, start_thread(loader));
    *out = loader;
    loader = NULL;
done:
    cohort_loader_destroy(loader);
    return status;
}

void cohort_loader_destroy(cohort_loader *loader)
{
    if (!loader)
        return;
    if (loader->started) {
        pthread_mutex_lock(&loader->lock);
        loader->stopping = true;
        pthread_cond_signal(&loader->work);
        pthread_mutex_unlock(&loader->lock);
        pthread_join(loader->thread, NULL);
    }
    for (int i = 0; i < SLOTS; i++) {
        cohort_free(loader->slots[i].x);
        cohort_free(loader->slots[i].y);
        cohort_free(loader->slots[i].rows);
    }
    cohort_free(loader->staging);
    cohort_free(loader->members);
    cohort_free(loader->next.rows);
    cohort_scaling_clear(&loader->scaling);
    cohort_augmenter_destroy(loader->augmenter);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->ready);
    pthread_mutex_destroy(&loader->lock);
    cohort_free(loader);
}
