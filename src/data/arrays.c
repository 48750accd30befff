#include "data/arrays.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "data/convert.h"

enum { CHUNK_BYTES = 1 << 20 };

/* x or y on its way into the data set. */
typedef struct part {
    const char *name;
    bool exists;
    cohort_element element;         /* as kept */
    size_t row_elements, row_bytes; /* as kept */
    bool copies;                    /* into `kept`; else the caller's memory serves */
    void *kept, *own;               /* kept: in a window of the node, or own */
    cohort_shared *window;
} part;

struct cohort_arrays_data {
    cohort_comm *comm;
    cohort_dataset *dataset;
    cohort_dataset_info info;
    cohort_rows rows;
    cohort_type x_type, y_type; /* as given */
    size_t *begins;             /* [ranks + 1] where each rank's rows begin, if gathered */
    part x, y;
    cohort_arena *arena;
    char name[64];
};

static size_t type_bytes(cohort_type type)
{
    return type == COHORT_TYPE_UINT8 ? 1 : type == COHORT_TYPE_FLOAT64 ? 8 : 4;
}

static bool is_integer(cohort_type type)
{
    return type == COHORT_TYPE_INT32 || type == COHORT_TYPE_UINT8;
}

cohort_element cohort_array_element(cohort_type type)
{
    return type == COHORT_TYPE_UINT8   ? COHORT_U8
           : type == COHORT_TYPE_INT32 ? COHORT_I32
                                       : COHORT_F32;
}

void cohort_array_take(void *out, cohort_element element, const cohort_array *array, size_t begin,
                       size_t count)
{
    const void *from = (const char *)array->values + begin * type_bytes(array->type);
    if (element == cohort_array_element(array->type) && array->type != COHORT_TYPE_FLOAT64) {
        memcpy(out, from, count * type_bytes(array->type));
    } else if (element == COHORT_I32) {
        cohort_widen_u8_i32(out, from, count);
    } else if (array->type == COHORT_TYPE_FLOAT64) {
        const double *values = from;
        float *to = out;
        for (size_t i = 0; i < count; i++)
            to[i] = (float)values[i];
    } else {
        cohort_to_float(out, from, cohort_array_element(array->type), count);
    }
}

/* --- What the arrays say ------------------------------------------------------- */

/* Dimensions and type of ARRAY, rows left out where ranks have their own. */
static void write_shape(char *text, size_t bytes, const cohort_array *array, bool with_rows)
{
    static const char *const types[] = {"float32", "int32", "uint8", "float64"};
    size_t used = (size_t)snprintf(text, bytes, "%s", types[array->type]);
    for (size_t i = with_rows ? 0 : 1; i < array->dim_count && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%c%zu", i > !with_rows ? 'x' : ' ',
                                 array->dims[i]);
}

static cohort_status check_array(const cohort_array *array, const char *name, const char *which)
{
    COHORT_REQUIRE((unsigned)array->type <= COHORT_TYPE_FLOAT64, COHORT_USAGE,
                   "%s: %s has the type %d, which is none", name, which, (int)array->type);
    COHORT_REQUIRE(array->dim_count >= 1 && array->dim_count <= COHORT_ARRAY_DIMS_MAX, COHORT_USAGE,
                   "%s: %s has %zu dimensions; give 1 to %d, the first counting the samples", name,
                   which, array->dim_count, COHORT_ARRAY_DIMS_MAX);
    size_t bytes = type_bytes(array->type);
    for (size_t i = 0; i < array->dim_count; i++) {
        COHORT_REQUIRE(i == 0 || array->dims[i] > 0, COHORT_USAGE, "%s: dimension %zu of %s is 0",
                       name, i, which);
        COHORT_REQUIRE(cohort_size_multiply(&bytes, bytes, array->dims[i] ? array->dims[i] : 1) &&
                           bytes <= SIZE_MAX / 8,
                       COHORT_USAGE, "%s: the dimensions of %s make more than memory can hold",
                       name, which);
    }
    return COHORT_OK;
}

static cohort_status check_arrays(const cohort_arrays *arrays, const char *name)
{
    const cohort_array *x = &arrays->x, *y = &arrays->y;
    COHORT_REQUIRE((unsigned)arrays->rows <= COHORT_ROWS_GATHERED, COHORT_USAGE,
                   "%s: rows is %d; give a value of cohort_rows", name, (int)arrays->rows);
    COHORT_TRY(check_array(x, name, "x"));
    COHORT_REQUIRE(x->values || x->dims[0] == 0, COHORT_USAGE, "%s: x.values is NULL", name);
    COHORT_REQUIRE(x->dims[0] > 0 || arrays->rows == COHORT_ROWS_GATHERED, COHORT_USAGE,
                   "%s: there are no samples", name);
    if (!y->dim_count && !y->values)
        return COHORT_OK;
    COHORT_TRY(check_array(y, name, "y"));
    COHORT_REQUIRE(y->values || y->dims[0] == 0, COHORT_USAGE, "%s: y.values is NULL", name);
    COHORT_REQUIRE(y->dims[0] == x->dims[0], COHORT_USAGE,
                   "%s: x has %zu samples but y has %zu; they must be of one length", name,
                   x->dims[0], y->dims[0]);
    return COHORT_OK;
}

static uint64_t hash_array(const cohort_array *array, uint64_t seed)
{
    size_t bytes = array->values ? type_bytes(array->type) : 0;
    for (size_t i = 0; i < array->dim_count; i++)
        bytes *= array->dims[i];
    return bytes ? cohort_hash(array->values, bytes, seed) : seed;
}

/* Every rank must mean the same: shapes, and values where rows are not its own. */
static cohort_status require_same(const cohort_arrays *arrays, cohort_comm *comm, const char *name)
{
    const bool whole = arrays->rows != COHORT_ROWS_GATHERED;
    char what[96], x[64], y[64] = "no", values[40] = "", mine[COHORT_SAME_BYTES];
    if (cohort_comm_size(comm) == 1)
        return COHORT_OK;
    write_shape(x, sizeof x, &arrays->x, whole);
    if (arrays->y.dim_count)
        write_shape(y, sizeof y, &arrays->y, whole);
    if (whole)
        snprintf(values, sizeof values, ", values %016llx",
                 (unsigned long long)hash_array(&arrays->y, hash_array(&arrays->x, 0)));
    snprintf(what, sizeof what, "array data (%s)", name);
    snprintf(mine, sizeof mine, "%s x, %s y, %s%s", x, y, whole ? "whole" : "gathered", values);
    return cohort_comm_require_same(comm, what, mine,
                                    "pass the same arrays on every rank, or each rank its own "
                                    "rows with COHORT_ROWS_GATHERED");
}

/* How many rows each rank brings. */
static cohort_status count_rows(cohort_arrays_data *data, const cohort_arrays *arrays)
{
    const size_t ranks = (size_t)cohort_comm_size(data->comm);
    uint64_t mine = arrays->x.dims[0], *counts = NULL;
    data->info.count = arrays->x.dims[0];
    if (arrays->rows != COHORT_ROWS_GATHERED)
        return COHORT_OK;
    cohort_status status = COHORT_ALLOCATE(&counts, ranks);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&data->begins, ranks + 1);
    COHORT_TRY_DONE(status, cohort_comm_agree(data->comm, status));
    COHORT_TRY_DONE(status, cohort_comm_gather_all(data->comm, counts, &mine, sizeof mine));
    for (size_t r = 0; r < ranks; r++)
        data->begins[r + 1] = data->begins[r] + (size_t)counts[r];
    data->info.count = data->begins[ranks];
    COHORT_REQUIRE_DONE(status, data->info.count > 0, COHORT_USAGE,
                        "%s: there are no samples on any rank", data->name);
done:
    cohort_free(counts);
    return status;
}

static cohort_shape row_shape(const cohort_array *array)
{
    cohort_shape shape = {.dim_count = array->dim_count - 1};
    for (size_t i = 0; i < shape.dim_count; i++)
        shape.dims[i] = array->dims[i + 1];
    return shape.dim_count ? shape : cohort_shape_of(1);
}

/* What the data set is, as of a file with such datasets (data/dataset.c). */
static void interpret(cohort_arrays_data *data, const cohort_arrays *arrays)
{
    const cohort_array *x = &arrays->x, *y = &arrays->y;
    cohort_dataset_info *info = &data->info;
    const cohort_shape y_row = row_shape(y->dim_count ? y : x);
    info->x_shape = row_shape(x);
    info->x_element = cohort_array_element(x->type);
    info->source = "";
    data->x = (part){.name = "x",
                     .exists = true,
                     .element = info->x_element,
                     .row_elements = cohort_shape_count(&info->x_shape)};
    if (y->dim_count) {
        const size_t width = cohort_shape_count(&y_row);
        const bool single = width == 1 && y->dim_count <= 2;
        const bool sequence = is_integer(x->type) && x->dim_count == 2 && y->dim_count == 2 &&
                              x->dims[1] == y->dims[1];
        info->targets = true;
        info->labels = is_integer(y->type) && (single || sequence);
        info->y_shape = info->labels && single ? (cohort_shape){0} : cohort_shape_of(width);
        data->y = (part){.name = "y",
                         .exists = true,
                         .element = info->labels ? COHORT_I32 : COHORT_F32,
                         .row_elements = width};
    }
    part *parts[] = {&data->x, &data->y};
    const cohort_array *given[] = {x, y};
    for (int i = 0; i < 2; i++) {
        parts[i]->row_bytes = parts[i]->row_elements * cohort_element_bytes(parts[i]->element);
        parts[i]->copies = arrays->rows != COHORT_ROWS_BORROWED ||
                           given[i]->type == COHORT_TYPE_FLOAT64 ||
                           parts[i]->element != cohort_array_element(given[i]->type);
        info->bytes += (uint64_t)info->count * parts[i]->row_bytes;
    }
    data->rows = arrays->rows;
    data->x_type = x->type;
    data->y_type = y->type;
}

static cohort_status copy_classes(cohort_arrays_data *data, const cohort_arrays *arrays)
{
    char **names = NULL;
    if (!arrays->classes || !arrays->class_count)
        return COHORT_OK;
    COHORT_TRY(COHORT_TAKE(&names, data->arena, arrays->class_count));
    for (size_t i = 0; i < arrays->class_count; i++) {
        COHORT_REQUIRE(arrays->classes[i], COHORT_USAGE, "%s: the name of class %zu is NULL",
                       data->name, i);
        COHORT_TRY(cohort_arena_copy(&names[i], data->arena, arrays->classes[i]));
    }
    data->info.classes = (const char *const *)names;
    data->info.class_count = arrays->class_count;
    return COHORT_OK;
}

/* --- Values -------------------------------------------------------------------- */

/* Memory for P: one copy a node, or one a rank where no window can be had. Collective. */
static cohort_status make_room(part *p, cohort_arrays_data *data)
{
    const size_t bytes = data->info.count * p->row_bytes;
    cohort_status status = COHORT_OK;
    if (cohort_comm_node_size(data->comm) > 1) {
        status = cohort_shared_create(&p->window, &p->kept, data->comm, bytes);
        if (status == COHORT_MEMORY) {
            cohort_error_clear();
            p->window = NULL;
            p->kept = NULL;
            status = COHORT_OK;
        }
    }
    if (status == COHORT_OK && !p->window) {
        status = cohort_allocate(&p->own, data->info.count, p->row_bytes);
        p->kept = p->own;
    }
    return cohort_comm_agree(data->comm, status);
}

/* One writes where several ranks see the same memory. */
static bool writes(const part *p, const cohort_comm *comm)
{
    return !p->window || cohort_comm_node_rank(comm) == 0;
}

/* Every rank's rows to all nodes, in rank order. Collective. */
static cohort_status gather(part *p, const cohort_array *array, cohort_arrays_data *data)
{
    const size_t ranks = (size_t)cohort_comm_size(data->comm),
                 rows = 1 + (CHUNK_BYTES - 1) / p->row_bytes;
    char *chunk = NULL;
    cohort_status status = cohort_allocate((void **)&chunk, rows, p->row_bytes);
    COHORT_TRY_DONE(status, cohort_comm_agree(data->comm, status));
    for (size_t r = 0; r < ranks; r++) {
        const bool is_mine = r == (size_t)cohort_comm_rank(data->comm);
        for (size_t at = data->begins[r]; at < data->begins[r + 1]; at += rows) {
            const size_t left = data->begins[r + 1] - at, count = left < rows ? left : rows;
            if (is_mine)
                cohort_array_take(chunk, p->element, array,
                                  (at - data->begins[r]) * p->row_elements,
                                  count * p->row_elements);
            COHORT_TRY_DONE(status,
                            cohort_comm_broadcast(data->comm, chunk, count * p->row_bytes, (int)r));
            if (writes(p, data->comm))
                memcpy((char *)p->kept + at * p->row_bytes, chunk, count * p->row_bytes);
        }
    }
done:
    cohort_free(chunk);
    return status;
}

/* *values = the rows of P as kept. Collective. */
static cohort_status take(const void **values, part *p, const cohort_array *array,
                          cohort_arrays_data *data)
{
    *values = p->exists ? array->values : NULL;
    if (!p->exists || !p->copies)
        return COHORT_OK;
    if (data->rows == COHORT_ROWS_GATHERED)
        COHORT_TRY(gather(p, array, data));
    else if (writes(p, data->comm))
        cohort_array_take(p->kept, p->element, array, 0, data->info.count * p->row_elements);
    *values = p->kept;
    return p->window ? cohort_comm_node_barrier(data->comm) : COHORT_OK;
}

/* Each rank looks through its part of the rows, as they are kept. */
static cohort_status check_values(const void *values, const part *p, const cohort_arrays_data *data,
                                  int32_t range[2])
{
    const size_t rank = (size_t)cohort_comm_rank(data->comm),
                 size = (size_t)cohort_comm_size(data->comm),
                 begin = cohort_part_begin(data->info.count, rank, size) * p->row_elements,
                 end = cohort_part_begin(data->info.count, rank + 1, size) * p->row_elements;
    if (p->element == COHORT_F32 && values) {
        const size_t at = begin + cohort_find_nonfinite((const float *)values + begin, end - begin);
        COHORT_REQUIRE(at == end, COHORT_DATA, "%s: row %zu of %s holds a NaN or infinity",
                       data->name, at / p->row_elements, p->name);
    }
    if (range && p->element == COHORT_I32 && values)
        cohort_range_i32(&range[0], &range[1], (const int32_t *)values + begin, end - begin);
    return COHORT_OK;
}

/* Takes the values of ARRAYS into the data set, which is made the first time. Collective. */
static cohort_status fill(cohort_arrays_data *data, const cohort_arrays *arrays)
{
    const void *x = NULL, *y = NULL;
    int32_t range[2] = {INT32_MAX, INT32_MIN};
    COHORT_TRY(take(&x, &data->x, &arrays->x, data));
    COHORT_TRY(take(&y, &data->y, &arrays->y, data));
    cohort_status status = check_values(x, &data->x, data, NULL);
    if (status == COHORT_OK)
        status = check_values(y, &data->y, data, data->info.labels ? range : NULL);
    COHORT_TRY(cohort_comm_agree(data->comm, status));
    if (data->info.labels) {
        double bounds[2] = {-(double)range[0], range[1]};
        COHORT_TRY(cohort_comm_max(data->comm, bounds, 2));
        data->info.label_min = (int32_t)-bounds[0];
        data->info.label_max = (int32_t)bounds[1];
    }
    if (data->dataset)
        cohort_dataset_rewrap(data->dataset, x, y, data->info.label_min, data->info.label_max);
    else
        status = cohort_dataset_wrap(&data->dataset, data->name, &data->info, x, y);
    return cohort_comm_agree(data->comm, status);
}

/* --- The object ---------------------------------------------------------------- */

static cohort_status begin(cohort_arrays_data **out, cohort_comm *comm, const cohort_arrays *arrays,
                           const char *name)
{
    cohort_arrays_data *data = calloc(1, sizeof *data);
    *out = data;
    COHORT_REQUIRE(data, COHORT_MEMORY, "out of memory");
    data->comm = comm;
    snprintf(data->name, sizeof data->name, "%s", name);
    COHORT_TRY(cohort_arena_create(&data->arena));
    COHORT_TRY(check_arrays(arrays, name));
    return copy_classes(data, arrays);
}

cohort_status cohort_arrays_data_create(cohort_arrays_data **out, cohort_comm *comm,
                                        const cohort_arrays *arrays, const char *name)
{
    cohort_arrays_data *data = NULL;
    cohort_status status = begin(&data, comm, arrays, name);
    *out = NULL;
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, require_same(arrays, comm, name));
    COHORT_TRY_DONE(status, count_rows(data, arrays));
    interpret(data, arrays);
    if (data->x.copies)
        COHORT_TRY_DONE(status, make_room(&data->x, data));
    if (data->y.exists && data->y.copies)
        COHORT_TRY_DONE(status, make_room(&data->y, data));
    COHORT_TRY_DONE(status, fill(data, arrays));
    *out = data;
    data = NULL;
done:
    cohort_arrays_data_destroy(data);
    return status;
}

static void release(part *p)
{
    cohort_shared_destroy(p->window);
    cohort_free(p->own);
}

void cohort_arrays_data_destroy(cohort_arrays_data *data)
{
    if (!data)
        return;
    cohort_dataset_close(data->dataset);
    release(&data->x);
    release(&data->y);
    cohort_free(data->begins);
    cohort_arena_destroy(data->arena);
    free(data);
}

/* Whether ARRAYS can take the place of those the data set was made of. */
static cohort_status check_replacement(const cohort_arrays_data *data, const cohort_arrays *arrays)
{
    const cohort_array *x = &arrays->x, *y = &arrays->y;
    COHORT_TRY(check_arrays(arrays, data->name));
    size_t count = data->info.count;
    if (data->begins) {
        const int rank = cohort_comm_rank(data->comm);
        count = data->begins[rank + 1] - data->begins[rank];
    }
    COHORT_REQUIRE(arrays->rows == data->rows && x->type == data->x_type && x->dims[0] == count &&
                       (y->dim_count > 0) == data->y.exists &&
                       (!data->y.exists || y->type == data->y_type),
                   COHORT_USAGE,
                   "%s: what replaces it must have the same types, number of samples (%zu here) "
                   "and kind of rows",
                   data->name, count);
    const cohort_shape x_shape = row_shape(x), y_shape = row_shape(data->y.exists ? y : x);
    COHORT_REQUIRE(cohort_shape_equal(&x_shape, &data->info.x_shape) &&
                       (!data->y.exists || cohort_shape_count(&y_shape) == data->y.row_elements),
                   COHORT_USAGE, "%s: what replaces it must have samples of the same shape",
                   data->name);
    return COHORT_OK;
}

cohort_status cohort_arrays_data_replace(cohort_arrays_data *data, const cohort_arrays *arrays)
{
    COHORT_TRY(cohort_comm_agree(data->comm, check_replacement(data, arrays)));
    COHORT_TRY(require_same(arrays, data->comm, data->name));
    /* Other ranks of the node may still be reading what is written here. */
    COHORT_TRY(cohort_comm_barrier(data->comm));
    return fill(data, arrays);
}

cohort_dataset *cohort_arrays_data_set(const cohort_arrays_data *data)
{
    return data ? data->dataset : NULL;
}
