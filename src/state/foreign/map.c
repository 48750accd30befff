#include "state/foreign/map.h"

#include <stdlib.h>
#include <string.h>

void cohort_foreign_map_clear(cohort_foreign_map *map)
{
    free(map->items);
    free(map->blocks);
    cohort_arena_destroy(map->arena);
    *map = (cohort_foreign_map){0};
}

cohort_status cohort_foreign_add(cohort_foreign_map *map, const char *layer, const char *name,
                                 const cohort_shape *shape)
{
    char *copy = NULL;
    if (!map->arena)
        COHORT_TRY(cohort_arena_create(&map->arena));
    COHORT_TRY(cohort_arena_copy(&copy, map->arena, name));
    COHORT_TRY(
        cohort_grow((void **)&map->items, &map->capacity, map->count + 1, sizeof *map->items));
    map->items[map->count++] = (cohort_foreign_tensor){
        .name = copy, .layer = layer, .shape = *shape, .first_block = map->block_count};
    return COHORT_OK;
}

cohort_status cohort_foreign_add_block(cohort_foreign_map *map, const cohort_foreign_block *block)
{
    COHORT_TRY(cohort_grow((void **)&map->blocks, &map->block_capacity, map->block_count + 1,
                           sizeof *map->blocks));
    map->blocks[map->block_count++] = *block;
    map->items[map->count - 1].block_count++;
    return COHORT_OK;
}

const cohort_tensor *cohort_foreign_ours(bool *is_state, const cohort_model *model,
                                         const char *layer, const char *name)
{
    const cohort_tensors lists[2] = {cohort_model_param_tensors(model),
                                     cohort_model_state_tensors(model)};
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list].count; i++)
            if (strcmp(lists[list].items[i].layer, layer) == 0 &&
                strcmp(lists[list].items[i].name, name) == 0) {
                *is_state = list == 1;
                return &lists[list].items[i];
            }
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const cohort_foreign_tensor *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

static cohort_status check_names(const cohort_foreign_map *map, const char *format)
{
    const cohort_foreign_tensor **sorted = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&sorted, map->count));
    for (size_t i = 0; i < map->count; i++)
        sorted[i] = &map->items[i];
    if (map->count)
        qsort(sorted, map->count, sizeof *sorted, compare_names);
    for (size_t i = 1; i < map->count && status == COHORT_OK; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            status = COHORT_FAIL(COHORT_USAGE,
                                 "%s would hold two tensors %s, of the layers %s and %s; give one "
                                 "another `name`",
                                 format, sorted[i]->name, sorted[i - 1]->layer, sorted[i]->layer);
    cohort_free(sorted);
    return status;
}

cohort_status cohort_foreign_check(const cohort_foreign_map *map, const char *format)
{
    const cohort_tensors lists[2] = {cohort_model_param_tensors(map->model),
                                     cohort_model_state_tensors(map->model)};
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list].count; i++) {
            bool found = false;
            for (size_t k = 0; k < map->block_count && !found; k++)
                found = map->blocks[k].tensor == &lists[list].items[i];
            COHORT_REQUIRE(found, COHORT_USAGE, "%s: %s has no place in a %s file",
                           lists[list].items[i].layer, lists[list].items[i].name, format);
        }
    return check_names(map, format);
}

cohort_status cohort_foreign_map_plain(cohort_foreign_map *map, const cohort_model *model)
{
    const cohort_tensors lists[2] = {cohort_model_param_tensors(model),
                                     cohort_model_state_tensors(model)};
    map->model = model;
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list].count; i++) {
            const cohort_tensor *tensor = &lists[list].items[i];
            cohort_text name = {0};
            cohort_text_append(&name, "%s/%s", tensor->layer, tensor->name);
            cohort_status status = cohort_text_status(&name);
            if (status == COHORT_OK)
                status = cohort_foreign_add(map, tensor->layer, name.data, &tensor->shape);
            cohort_text_clear(&name);
            COHORT_TRY(status);
            COHORT_TRY(cohort_foreign_add_block(
                map, &(cohort_foreign_block){.dims = {tensor->count, 1, 1, 1},
                                             .strides = {1},
                                             .tensor = tensor,
                                             .is_state = list == 1}));
        }
    return cohort_foreign_check(map, "npz");
}

/* Calls of ACTION for each element of a block: FOREIGN is its index there, OURS here. */
#define FOR_EACH_ELEMENT(block, foreign, ours)                                                     \
    for (size_t i_ = 0, foreign = (block)->offset; i_ < (block)->dims[0]; i_++)                    \
        for (size_t j_ = 0; j_ < (block)->dims[1]; j_++)                                           \
            for (size_t k_ = 0; k_ < (block)->dims[2]; k_++)                                       \
                for (size_t l_ = 0, ours = i_ * (block)->strides[0] + j_ * (block)->strides[1] +   \
                                           k_ * (block)->strides[2];                               \
                     l_ < (block)->dims[3]; l_++, foreign++, ours += (block)->strides[3])

static real *values_of(cohort_model *model, const cohort_foreign_block *block)
{
    return (block->is_state ? cohort_model_state(model) : cohort_model_params(model)) +
           block->tensor->offset;
}

void cohort_foreign_take(float *out, const cohort_foreign_map *map, size_t index,
                         cohort_model *model)
{
    const cohort_foreign_tensor *tensor = &map->items[index];
    for (size_t b = 0; b < tensor->block_count; b++) {
        const cohort_foreign_block *block = &map->blocks[tensor->first_block + b];
        const real *values = values_of(model, block);
        FOR_EACH_ELEMENT(block, foreign, ours)
        out[foreign] = block->is_added ? 0.0f : (float)values[ours];
    }
}

void cohort_foreign_put(cohort_model *model, const cohort_foreign_map *map, size_t index,
                        const float *from)
{
    const cohort_foreign_tensor *tensor = &map->items[index];
    for (size_t b = 0; b < tensor->block_count; b++) {
        const cohort_foreign_block *block = &map->blocks[tensor->first_block + b];
        real *values = values_of(model, block);
        FOR_EACH_ELEMENT(block, foreign, ours)
        {
            if (!block->is_added)
                values[ours] = from[foreign];
            else if (from[foreign] != 0) /* -0 + 0 would be +0 */
                values[ours] += from[foreign];
        }
    }
}
