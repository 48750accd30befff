#include "data/dataset.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/block_cache.h"
#include "data/budget.h"
#include "data/column.h"
#include "data/convert.h"
#include "data/row_file.h"
#include "data/same_file.h"
#include "data/sampler.h"

enum {
    SCAN_BYTES = 256 << 10,
    LOAD_BYTES = 64 << 20,
    BLOCK_BYTES = 256 << 10,
    BLOCKS_HELD = 64,
    SMALL_BYTES = 4 << 20, /* kept even where it is read once */
    ONCE_BLOCKS = 2,       /* held of a split that is read once */
    LEFT_BYTES = 16 << 20  /* less is kept, whatever the work */
};
/* Multiply-adds in the time that a row takes to be read from the page cache, and a byte of it (some
 * 1.1 microseconds and 0.6 nanoseconds, three passes at 100 GFLOP/s); how many times as many a row
 * must be worth to be left in the file. */
static const double row_work = 18e3, byte_work = 10, work_least = 200;

/* A requested row and its place in the request, to be sorted by row. */
typedef struct request {
    uint64_t row;
    size_t place;
} request;

struct cohort_dataset {
    cohort_dataset_info info;
    cohort_comm *comm;
    cohort_arena *arena; /* names */
    const char *path, *group, *x_name, *y_name;
    size_t block_target;
    bool is_read_once;
    hid_t file, group_id;
    cohort_column x, y;
    char **classes, **vocabulary, **source, **tokenizer, **table;
    cohort_shared *window;              /* of the node … */
    void *own;                          /* … or a copy of this rank alone */
    unsigned char *x_memory, *y_memory; /* in one of them, or others'; NULL = streamed … */
    cohort_row_file *x_rows;            /* … or x left in the file */
    cohort_block_cache x_cache, y_cache;
    request *requests;
    size_t request_capacity;
    pthread_mutex_t lock; /* around caches and requests */
};

const cohort_dataset_info *cohort_dataset_describe(const cohort_dataset *dataset)
{
    return &dataset->info;
}

const void *cohort_dataset_memory(const cohort_dataset *dataset)
{
    return dataset->x_memory;
}

/* Strings of the file: a foreign attribute of another type is not ours to refuse. */
static cohort_status read_attributes(cohort_dataset *dataset)
{
    cohort_dataset_info *info = &dataset->info;
    size_t count = 0;
    COHORT_TRY(cohort_hdf5_strings(&dataset->classes, &info->class_count, dataset->file,
                                   dataset->path, "classes"));
    COHORT_TRY(cohort_hdf5_strings(&dataset->vocabulary, &info->vocabulary_count, dataset->file,
                                   dataset->path, "vocabulary"));
    COHORT_TRY(
        cohort_hdf5_strings(&dataset->source, &count, dataset->file, dataset->path, "source"));
    info->source = count ? dataset->source[0] : "";
    COHORT_TRY(cohort_hdf5_strings(&dataset->tokenizer, &count, dataset->file, dataset->path,
                                   "tokenizer"));
    info->tokenizer = count ? dataset->tokenizer[0] : NULL;
    COHORT_TRY(cohort_hdf5_strings(&dataset->table, &count, dataset->file, dataset->path, "table"));
    info->table = count ? dataset->table[0] : NULL;
    info->classes = (const char *const *)dataset->classes;
    info->vocabulary = (const char *const *)dataset->vocabulary;
    return COHORT_OK;
}

/* Labels or values: what the integers of y mean (interface: Files, Dataset). */
static void interpret_targets(cohort_dataset *dataset)
{
    cohort_dataset_info *info = &dataset->info;
    const cohort_column *x = &dataset->x;
    cohort_column *y = &dataset->y;
    const bool single = y->row_elements == 1 && y->dim_count <= 2;
    const bool sequence =
        x->integer && x->dim_count == 2 && y->dim_count == 2 && x->dims[1] == y->dims[1];
    info->targets = true;
    info->labels = y->integer && (single || sequence);
    cohort_column_keep_as(y, info->labels ? COHORT_I32 : COHORT_F32);
    if (info->labels && single)
        info->y_shape = (cohort_shape){0};
    else
        info->y_shape = cohort_shape_of(y->row_elements);
    info->bytes += (uint64_t)y->row_count * y->row_bytes;
}

/* Opens the file and finds out all that needs no reading of x and y. */
static cohort_status inspect(cohort_dataset *dataset)
{
    cohort_dataset_info *info = &dataset->info;
    COHORT_TRY(cohort_hdf5_open(&dataset->file, dataset->path));
    COHORT_TRY(
        cohort_hdf5_open_group(&dataset->group_id, dataset->file, dataset->path, dataset->group));
    COHORT_TRY(cohort_column_open(&dataset->x, dataset->group_id, dataset->path, dataset->group,
                                  dataset->x_name, dataset->block_target));
    info->count = dataset->x.row_count;
    info->x_shape = dataset->x.shape;
    info->x_element = dataset->x.element;
    info->bytes = (uint64_t)info->count * dataset->x.row_bytes;
    if (dataset->y_name) {
        COHORT_TRY(cohort_column_open(&dataset->y, dataset->group_id, dataset->path, dataset->group,
                                      dataset->y_name, dataset->block_target));
        COHORT_REQUIRE(dataset->y.row_count == info->count, COHORT_DATA,
                       "%s: %s/%s has %zu samples but %s/%s has %zu; they must be of one length",
                       dataset->path, dataset->group, dataset->x_name, info->count, dataset->group,
                       dataset->y_name, dataset->y.row_count);
        interpret_targets(dataset);
    }
    return read_attributes(dataset);
}

static cohort_status inspect_quietly(cohort_dataset *dataset)
{
    cohort_hdf5_begin();
    cohort_status status = inspect(dataset);
    cohort_hdf5_end();
    return status;
}

/* What the ranks must see alike: where a file changes under us, or a copy was taken for the
 * same that is not. */
static cohort_status require_same_facts(const cohort_dataset *dataset)
{
    const cohort_dataset_info *info = &dataset->info;
    char shape[COHORT_SHAPE_TEXT], what[1024], mine[COHORT_SAME_BYTES];
    snprintf(what, sizeof what, "data in %.600s, group %.100s", dataset->path, dataset->group);
    snprintf(mine, sizeof mine,
             "%zu samples of %s (%llu bytes, %zu classes, %zu words, blocks of %zu%s)", info->count,
             cohort_shape_text(shape, &info->x_shape), (unsigned long long)info->bytes,
             info->class_count, info->vocabulary_count, dataset->x.block_rows,
             info->labels ? ", labels" : "");
    return cohort_comm_require_same(dataset->comm, what, mine, "copy one file to every host");
}

/* Rank 0 looks first: its complaint is everyone's, one line however many ranks; the
 * others then see whether it is the same file, and look for themselves. */
static cohort_status inspect_together(cohort_dataset *dataset)
{
    cohort_comm *comm = dataset->comm;
    const bool is_first = cohort_comm_rank(comm) == 0;
    COHORT_TRY(cohort_comm_follow(comm, is_first ? inspect_quietly(dataset) : COHORT_OK));
    COHORT_TRY(cohort_data_require_same_file(comm, dataset->path));
    COHORT_TRY(cohort_comm_agree(comm, is_first ? COHORT_OK : inspect_quietly(dataset)));
    return require_same_facts(dataset);
}

/* *everywhere = whether HERE holds on all ranks. */
static cohort_status hold_everywhere(bool *everywhere, cohort_comm *comm, bool here)
{
    double missing = here ? 0 : 1;
    COHORT_TRY(cohort_comm_max(comm, &missing, 1));
    *everywhere = missing == 0;
    return COHORT_OK;
}

static void release_room(cohort_dataset *dataset)
{
    cohort_shared_destroy(dataset->window);
    cohort_free(dataset->own);
    dataset->window = NULL;
    dataset->own = NULL;
}

/* The memory for BYTES: a window of the node, or a copy of each rank's own where a node
 * has one rank or no window can be made and BUDGET is enough for all copies. */
static cohort_status make_room_here(void **memory, cohort_dataset *dataset, uint64_t bytes,
                                    uint64_t budget)
{
    const int ranks = cohort_comm_node_size(dataset->comm);
    char size[24];
    if (ranks > 1) {
        cohort_status status =
            cohort_shared_create(&dataset->window, memory, dataset->comm, (size_t)bytes);
        if (status != COHORT_MEMORY)
            return status;
        cohort_log(COHORT_LOG_WARNING, "no shared memory for %s of data (%s): %s",
                   cohort_bytes_text(size, (double)bytes), cohort_error_message(),
                   bytes <= budget / (unsigned)ranks ? "each rank keeps a copy of its own"
                                                     : "they are streamed");
        cohort_error_clear();
        dataset->window = NULL;
        *memory = NULL;
    }
    if (bytes > budget / (unsigned)ranks)
        return COHORT_OK;
    cohort_status status = cohort_allocate(&dataset->own, (size_t)bytes, 1);
    if (status == COHORT_MEMORY) {
        cohort_error_clear();
        return COHORT_OK;
    }
    *memory = dataset->own;
    return status;
}

/* *memory = room for BYTES on every node, or NULL on all ranks. */
static cohort_status make_room(void **memory, cohort_dataset *dataset, uint64_t bytes,
                               uint64_t budget)
{
    *memory = NULL;
    bool fits = false;
    COHORT_TRY(hold_everywhere(&fits, dataset->comm, bytes <= budget && bytes <= SIZE_MAX / 2));
    if (!fits)
        return COHORT_OK;
    COHORT_TRY(cohort_comm_agree(dataset->comm, make_room_here(memory, dataset, bytes, budget)));
    COHORT_TRY(hold_everywhere(&fits, dataset->comm, *memory != NULL));
    if (!fits) {
        release_room(dataset);
        *memory = NULL;
    }
    return COHORT_OK;
}

/* Whether what is read once is large, and the blocks of this node's ranks take less than it. */
static bool is_better_streamed(const cohort_dataset *dataset)
{
    const uint64_t block = (uint64_t)dataset->x.block_rows * dataset->x.row_bytes,
                   ranks = (uint64_t)cohort_comm_node_size(dataset->comm);
    return dataset->info.bytes > SMALL_BYTES && block < dataset->info.bytes / (ONCE_BLOCKS * ranks);
}

/* Whether reading a row each time it is wanted costs little beside what is done with it. */
static bool is_better_left(const cohort_dataset *dataset, const cohort_dataset_spec *spec)
{
    const double read = row_work + byte_work * (double)dataset->x.row_bytes;
    return spec->work && dataset->info.bytes >= LEFT_BYTES &&
           spec->work(spec->work_context, &dataset->info) >= work_least * read;
}

/* Leaves x in the file and makes room for the Y_BYTES of y, where all ranks can do so and there is
 * BUDGET for x, too: what has no room in memory has none in the page cache. */
static cohort_status leave_rows(cohort_dataset *dataset, uint64_t y_bytes, uint64_t budget)
{
    void *memory = NULL;
    char size[24];
    bool is_left = false;
    cohort_status status = COHORT_OK;
    if (dataset->info.bytes <= budget) {
        cohort_hdf5_begin();
        status = cohort_row_file_open(&dataset->x_rows, &dataset->x);
        cohort_hdf5_end();
    }
    COHORT_TRY(cohort_comm_agree(dataset->comm, status));
    COHORT_TRY(hold_everywhere(&is_left, dataset->comm, dataset->x_rows != NULL));
    if (is_left && y_bytes) {
        COHORT_TRY(make_room(&memory, dataset, y_bytes, budget));
        is_left = memory != NULL;
    }
    dataset->y_memory = memory;
    if (!is_left) {
        cohort_row_file_close(dataset->x_rows);
        dataset->x_rows = NULL;
        return COHORT_OK;
    }
    cohort_log(COHORT_LOG_INFO, "%s: %s (%s) is left in the file, its rows are read as needed",
               dataset->path, dataset->group, cohort_bytes_text(size, (double)dataset->info.bytes));
    return COHORT_OK;
}

/* Decides what is kept: x and y, y alone (it is small beside x, and read out of order
 * would cost as much), or nothing. */
static cohort_status place(cohort_dataset *dataset, const cohort_dataset_spec *spec,
                           uint64_t budget)
{
    cohort_dataset_info *info = &dataset->info;
    const uint64_t x_bytes = cohort_size_align(info->count * dataset->x.row_bytes, 64),
                   y_bytes = info->bytes - info->count * dataset->x.row_bytes;
    void *memory = NULL;
    char size[24], most[24];
    bool is_passing = false;
    if (is_better_left(dataset, spec))
        COHORT_TRY(leave_rows(dataset, y_bytes, budget));
    if (dataset->x_rows)
        return COHORT_OK;
    if (dataset->is_read_once)
        COHORT_TRY(hold_everywhere(&is_passing, dataset->comm, is_better_streamed(dataset)));
    if (!is_passing)
        COHORT_TRY(make_room(&memory, dataset, x_bytes + y_bytes, budget));
    if (memory) {
        dataset->x_memory = memory;
        dataset->y_memory = y_bytes ? dataset->x_memory + x_bytes : NULL;
        return COHORT_OK;
    }
    info->streamed = true;
    info->chunk_rows = dataset->x.block_rows;
    if (is_passing)
        return COHORT_OK;
    cohort_log(COHORT_LOG_INFO, "%s: %s needs %s, more than may be held (%s): streaming",
               dataset->path, dataset->group, cohort_bytes_text(size, (double)info->bytes),
               cohort_bytes_text(most, (double)budget));
    if (y_bytes)
        COHORT_TRY(make_room(&memory, dataset, y_bytes, budget / 4));
    dataset->y_memory = memory;
    return COHORT_OK;
}

/* Rows this rank reads into the node's copy: whole blocks, dealt evenly. */
static void slice_rows(size_t *begin, size_t *end, const cohort_column *column, size_t part,
                       size_t parts)
{
    const size_t blocks = (column->row_count - 1) / column->block_rows + 1;
    *begin = cohort_part_begin(blocks, part, parts) * column->block_rows;
    *end = cohort_part_begin(blocks, part + 1, parts) * column->block_rows;
    *begin = *begin < column->row_count ? *begin : column->row_count;
    *end = *end < column->row_count ? *end : column->row_count;
}

/* Rows of whole blocks in some BYTES. */
static size_t rows_at_once(const cohort_column *column, size_t bytes)
{
    const size_t block_bytes = column->block_rows * column->row_bytes;
    return column->block_rows * (block_bytes < bytes ? bytes / block_bytes : 1);
}

static cohort_status load_column(unsigned char *memory, cohort_column *column,
                                 const cohort_dataset *dataset, int32_t range[2])
{
    const bool shared = dataset->window != NULL;
    size_t begin = 0, end = 0;
    slice_rows(&begin, &end, column, shared ? (size_t)cohort_comm_node_rank(dataset->comm) : 0,
               shared ? (size_t)cohort_comm_node_size(dataset->comm) : 1);
    unsigned char *to = memory + begin * column->row_bytes;
    const size_t step = rows_at_once(column, LOAD_BYTES);
    for (size_t at = begin; at < end; at += step) {
        COHORT_TRY(cohort_comm_check_stop(dataset->comm, "reading the data"));
        COHORT_TRY(cohort_column_read(memory + at * column->row_bytes, column, at,
                                      end - at < step ? end - at : step));
    }
    if (range)
        cohort_range_i32(&range[0], &range[1], (const int32_t *)(const void *)to,
                         (end - begin) * column->row_elements);
    return COHORT_OK;
}

/* The checksums of the blocks from row BEGIN on that PIECE holds, COUNT rows. */
static void note_blocks(cohort_block_cache *cache, const unsigned char *piece, size_t begin,
                        size_t count)
{
    const cohort_column *column = cache->column;
    for (size_t row = 0; row < count; row += column->block_rows) {
        const size_t block = (begin + row) / column->block_rows;
        cache->checksums[block] =
            cohort_block_cache_checksum(cache, block, piece + row * column->row_bytes);
    }
}

/* COLUMN, which is not kept, but streamed by CACHE or left in ROWS, looked through once, each rank
 * a part, for values that must be refused and, with RANGE, for that of labels. */
static cohort_status scan_column(cohort_column *column, cohort_block_cache *cache,
                                 cohort_row_file *rows, const cohort_dataset *dataset,
                                 int32_t range[2])
{
    size_t at = 0, end = 0;
    slice_rows(&at, &end, column, (size_t)cohort_comm_rank(dataset->comm),
               (size_t)cohort_comm_size(dataset->comm));
    const size_t step = rows_at_once(column, SCAN_BYTES);
    void *piece = NULL;
    COHORT_TRY(cohort_allocate(&piece, step, column->row_bytes));
    cohort_status status = COHORT_OK;
    for (; at < end && status == COHORT_OK; at += step) {
        const size_t count = end - at < step ? end - at : step;
        status = cohort_comm_check_stop(dataset->comm, "reading the data");
        if (status == COHORT_OK)
            status = cohort_column_read(piece, column, at, count);
        if (status != COHORT_OK)
            break;
        if (rows)
            cohort_row_file_note(rows, piece, at, count);
        else
            note_blocks(cache, piece, at, count);
        if (range)
            cohort_range_i32(&range[0], &range[1], piece, count * column->row_elements);
    }
    cohort_free(piece);
    return status;
}

/* The CHECKSUMS [count] that each rank has noted, to all. Collective. */
static cohort_status share_checksums(uint32_t *checksums, size_t count, cohort_comm *comm)
{
    enum { AT_ONCE = 8192 };
    double sums[AT_ONCE];
    for (size_t begin = 0, some; begin < count; begin += some) {
        some = count - begin < AT_ONCE ? count - begin : AT_ONCE;
        for (size_t i = 0; i < some; i++)
            sums[i] = checksums[begin + i];
        COHORT_TRY(cohort_comm_max(comm, sums, some));
        for (size_t i = 0; i < some; i++)
            checksums[begin + i] = (uint32_t)sums[i];
    }
    return COHORT_OK;
}

static cohort_status load(cohort_dataset *dataset, int32_t range[2])
{
    int32_t *label_range = dataset->info.labels ? range : NULL;
    if (dataset->x_memory)
        COHORT_TRY(load_column(dataset->x_memory, &dataset->x, dataset, NULL));
    else if (dataset->x_rows || dataset->is_read_once)
        COHORT_TRY(scan_column(&dataset->x, &dataset->x_cache, dataset->x_rows, dataset, NULL));
    if (dataset->y_memory)
        COHORT_TRY(load_column(dataset->y_memory, &dataset->y, dataset, label_range));
    else if (dataset->info.targets)
        COHORT_TRY(scan_column(&dataset->y, &dataset->y_cache, NULL, dataset, label_range));
    return COHORT_OK;
}

/* Blocks for two windows of the chunk-aware shuffle: a batch may lie across the border. For y, as
 * many as those rows need. */
static size_t cache_slots(const cohort_dataset *dataset, const cohort_column *column,
                          uint64_t budget)
{
    const cohort_column *x = &dataset->x;
    size_t slots = dataset->is_read_once ? ONCE_BLOCKS : 2 * COHORT_SAMPLER_WINDOW;
    if (column != x)
        slots *= x->block_rows / column->block_rows + 2;
    const size_t afford = (size_t)(budget / (column->block_rows * column->row_bytes));
    return slots < afford ? slots : afford;
}

static cohort_status open_cache(cohort_block_cache *cache, const cohort_dataset *dataset,
                                cohort_column *column, uint64_t budget)
{
    const size_t slots = cache_slots(dataset, column, budget);
    char size[24], most[24];
    COHORT_REQUIRE(slots, COHORT_DATA,
                   "%s: a chunk of %s/%s takes %s, more than a rank may hold of it (%s); raise "
                   "data.memory_limit or rewrite the file in smaller chunks",
                   column->path, column->group, column->name,
                   cohort_bytes_text(size, (double)(column->block_rows * column->row_bytes)),
                   cohort_bytes_text(most, (double)budget));
    const uint64_t blocks = (column->row_count - 1) / column->block_rows + 1;
    COHORT_REQUIRE(blocks <= budget / sizeof(uint32_t) && blocks < UINT32_MAX, COHORT_DATA,
                   "%s: %s/%s has %llu blocks of rows, too many to keep track of; rewrite the file "
                   "in larger chunks",
                   column->path, column->group, column->name, (unsigned long long)blocks);
    if (slots < COHORT_SAMPLER_WINDOW && slots < blocks && !dataset->is_read_once)
        cohort_log(COHORT_LOG_WARNING,
                   "%s: chunks of %s/%s are large for the memory allowed (%zu fit, %d wanted): "
                   "streaming will be slow; raise data.memory_limit or use smaller chunks",
                   column->path, column->group, column->name, slots, COHORT_SAMPLER_WINDOW);
    return cohort_block_cache_init(cache, column, slots);
}

static cohort_status open_caches(cohort_dataset *dataset, uint64_t budget)
{
    uint64_t each = budget / (unsigned)cohort_comm_node_size(dataset->comm);
    if (dataset->info.streamed)
        COHORT_TRY(open_cache(&dataset->x_cache, dataset, &dataset->x, each / 4 * 3));
    if (dataset->info.targets && !dataset->y_memory)
        COHORT_TRY(open_cache(&dataset->y_cache, dataset, &dataset->y, each / 4));
    return COHORT_OK;
}

/* Reads what is kept and finds the range of the labels over all ranks. */
static cohort_status load_together(cohort_dataset *dataset, uint64_t budget)
{
    cohort_dataset_info *info = &dataset->info;
    int32_t range[2] = {INT32_MAX, INT32_MIN};
    cohort_status status = open_caches(dataset, budget);
    if (status == COHORT_OK) {
        cohort_hdf5_begin();
        status = load(dataset, range);
        cohort_hdf5_end();
    }
    COHORT_TRY(cohort_comm_agree(dataset->comm, status));
    if (dataset->x_rows)
        COHORT_TRY(share_checksums(dataset->x_rows->checksums, info->count, dataset->comm));
    if (dataset->x_cache.column && dataset->is_read_once)
        COHORT_TRY(share_checksums(dataset->x_cache.checksums, dataset->x_cache.block_count,
                                   dataset->comm));
    if (dataset->y_cache.column)
        COHORT_TRY(share_checksums(dataset->y_cache.checksums, dataset->y_cache.block_count,
                                   dataset->comm));
    if (dataset->window)
        COHORT_TRY(cohort_comm_node_barrier(dataset->comm));
    if (info->labels) {
        double bounds[2] = {-(double)range[0], range[1]};
        COHORT_TRY(cohort_comm_max(dataset->comm, bounds, 2));
        info->label_min = (int32_t)-bounds[0];
        info->label_max = (int32_t)bounds[1];
    }
    return COHORT_OK;
}

/* HDF5 reads nothing any more once nothing is streamed. */
static void close_file(cohort_dataset *dataset)
{
    cohort_hdf5_begin();
    cohort_column_close(&dataset->x);
    cohort_column_close(&dataset->y);
    if (dataset->group_id > 0)
        H5Gclose(dataset->group_id);
    if (dataset->file > 0)
        H5Fclose(dataset->file);
    dataset->group_id = dataset->file = H5I_INVALID_HID;
    cohort_hdf5_end();
}

static cohort_status copy_name(const char **out, cohort_dataset *dataset, const char *name)
{
    char *copy = NULL;
    COHORT_TRY(cohort_arena_copy(&copy, dataset->arena, name));
    *out = copy;
    return COHORT_OK;
}

static cohort_status make_dataset(cohort_dataset **out, cohort_comm *comm,
                                  const cohort_dataset_spec *spec)
{
    cohort_dataset *dataset = calloc(1, sizeof *dataset);
    COHORT_REQUIRE(dataset, COHORT_MEMORY, "out of memory opening %s", spec->path);
    *out = dataset;
    dataset->comm = comm;
    dataset->file = dataset->group_id = H5I_INVALID_HID;
    dataset->info.source = "";
    pthread_mutex_init(&dataset->lock, NULL);
    COHORT_TRY(cohort_arena_create(&dataset->arena));
    COHORT_TRY(copy_name(&dataset->path, dataset, spec->path));
    COHORT_TRY(copy_name(&dataset->group, dataset, spec->group ? spec->group : ""));
    COHORT_TRY(copy_name(&dataset->x_name, dataset, spec->x));
    dataset->is_read_once = spec->is_read_once;
    /* A small limit asks for small blocks, by what was asked for and not by the machine. */
    dataset->block_target = BLOCK_BYTES;
    if (spec->memory_limit && spec->memory_limit / BLOCKS_HELD < BLOCK_BYTES)
        dataset->block_target = (size_t)(spec->memory_limit / BLOCKS_HELD) + 1;
    if (spec->y)
        COHORT_TRY(copy_name(&dataset->y_name, dataset, spec->y));
    return COHORT_OK;
}

cohort_status cohort_dataset_open(cohort_dataset **out, cohort_comm *comm,
                                  const cohort_dataset_spec *spec)
{
    *out = NULL;
    cohort_dataset *dataset = NULL;
    cohort_status status = cohort_comm_agree(comm, make_dataset(&dataset, comm, spec));
    if (status != COHORT_OK)
        goto done;
    COHORT_TRY_DONE(status, inspect_together(dataset));
    const uint64_t budget = cohort_memory_budget(spec->memory_limit);
    COHORT_TRY_DONE(status, place(dataset, spec, budget));
    COHORT_TRY_DONE(status, load_together(dataset, budget));
    if (!dataset->info.streamed)
        close_file(dataset);
    *out = dataset;
    dataset = NULL;
done:
    cohort_dataset_close(dataset);
    return status;
}

cohort_status cohort_dataset_wrap(cohort_dataset **out, const char *name,
                                  const cohort_dataset_info *info, const void *x, const void *y)
{
    const cohort_dataset_spec spec = {.path = name, .x = "x"};
    cohort_dataset *dataset = NULL;
    *out = NULL;
    const cohort_status status = make_dataset(&dataset, NULL, &spec);
    if (status != COHORT_OK) {
        cohort_dataset_close(dataset);
        return status;
    }
    dataset->info = *info;
    dataset->x.row_bytes =
        cohort_shape_count(&info->x_shape) * cohort_element_bytes(info->x_element);
    dataset->y.row_bytes = cohort_shape_count(&info->y_shape) * sizeof(float);
    cohort_dataset_rewrap(dataset, x, y, info->label_min, info->label_max);
    *out = dataset;
    return COHORT_OK;
}

void cohort_dataset_rewrap(cohort_dataset *dataset, const void *x, const void *y, int32_t label_min,
                           int32_t label_max)
{
    dataset->x_memory = (unsigned char *)x; /* only what is read from a file is written */
    dataset->y_memory = (unsigned char *)y;
    dataset->info.label_min = label_min;
    dataset->info.label_max = label_max;
}

cohort_status cohort_dataset_has_group(bool *has, const char *path, const char *group)
{
    hid_t file = H5I_INVALID_HID;
    *has = false;
    cohort_hdf5_begin();
    cohort_status status = cohort_hdf5_open(&file, path);
    if (status == COHORT_OK) {
        *has = cohort_hdf5_exists(file, group);
        H5Fclose(file);
    }
    cohort_hdf5_end();
    COHORT_TRY(status);
    return COHORT_OK;
}

void cohort_dataset_close(cohort_dataset *dataset)
{
    if (!dataset)
        return;
    close_file(dataset);
    cohort_block_cache_clear(&dataset->x_cache);
    cohort_block_cache_clear(&dataset->y_cache);
    cohort_row_file_close(dataset->x_rows);
    release_room(dataset);
    free(dataset->classes);
    free(dataset->vocabulary);
    free(dataset->source);
    free(dataset->tokenizer);
    free(dataset->table);
    free(dataset->requests);
    cohort_arena_destroy(dataset->arena);
    pthread_mutex_destroy(&dataset->lock);
    free(dataset);
}

static int compare_requests(const void *a, const void *b)
{
    const request *left = a, *right = b;
    return left->row < right->row ? -1 : left->row > right->row;
}

/* By row, so that each block is fetched once however few fit the cache. */
static cohort_status sort_requests(cohort_dataset *dataset, const uint64_t *rows, size_t count)
{
    COHORT_TRY(cohort_grow((void **)&dataset->requests, &dataset->request_capacity, count,
                           sizeof *dataset->requests));
    for (size_t i = 0; i < count; i++)
        dataset->requests[i] = (request){rows[i], i};
    qsort(dataset->requests, count, sizeof *dataset->requests, compare_requests);
    return COHORT_OK;
}

static cohort_status gather_streamed(void *out, cohort_block_cache *cache, const request *requests,
                                     size_t count)
{
    const size_t row_bytes = cache->column->row_bytes;
    for (size_t i = 0; i < count; i++) {
        const void *row = NULL;
        COHORT_TRY(cohort_block_cache_row(&row, cache, requests[i].row));
        memcpy((unsigned char *)out + requests[i].place * row_bytes, row, row_bytes);
    }
    return COHORT_OK;
}

static cohort_status gather_left(void *out, const cohort_row_file *file, const uint64_t *rows,
                                 size_t count)
{
    unsigned char *to = out;
    for (size_t i = 0; i < count; i++, to += file->column->row_bytes)
        COHORT_TRY(cohort_row_file_read(to, file, rows[i]));
    return COHORT_OK;
}

static void gather_kept(void *out, const unsigned char *memory, size_t row_bytes,
                        const uint64_t *rows, size_t count)
{
    unsigned char *to = out;
    for (size_t i = 0; i < count; i++)
        memcpy(to + i * row_bytes, memory + (size_t)rows[i] * row_bytes, row_bytes);
}

cohort_status cohort_dataset_gather(void *x, void *y, cohort_dataset *dataset, const uint64_t *rows,
                                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        COHORT_REQUIRE(rows[i] < dataset->info.count, COHORT_INTERNAL, "%s: row %llu asked of %zu",
                       dataset->path, (unsigned long long)rows[i], dataset->info.count);
    y = dataset->info.targets ? y : NULL;
    if (x && dataset->x_memory)
        gather_kept(x, dataset->x_memory, dataset->x.row_bytes, rows, count);
    if (x && dataset->x_rows)
        COHORT_TRY(gather_left(x, dataset->x_rows, rows, count));
    if (y && dataset->y_memory)
        gather_kept(y, dataset->y_memory, dataset->y.row_bytes, rows, count);
    const bool x_streamed = x && !dataset->x_memory && !dataset->x_rows,
               y_streamed = y && !dataset->y_memory;
    if (!x_streamed && !y_streamed)
        return COHORT_OK;
    pthread_mutex_lock(&dataset->lock);
    cohort_status status = sort_requests(dataset, rows, count);
    if (status == COHORT_OK && x_streamed)
        status = gather_streamed(x, &dataset->x_cache, dataset->requests, count);
    if (status == COHORT_OK && y_streamed)
        status = gather_streamed(y, &dataset->y_cache, dataset->requests, count);
    pthread_mutex_unlock(&dataset->lock);
    COHORT_TRY(status);
    return COHORT_OK;
}
