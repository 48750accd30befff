#include <stdio.h>
#include <string.h>

#include "state/foreign/formats.h"

const char *const cohort_foreign_names[] = {"safetensors", "npz", "keras", "onnx", "c", NULL};

cohort_status cohort_foreign_export(const char *path, cohort_foreign_format format,
                                    const cohort_foreign_network *network)
{
    static cohort_foreign_writer *const writers[] = {
        cohort_foreign_write_safetensors, cohort_foreign_write_npz, cohort_foreign_write_keras,
        cohort_foreign_write_onnx, cohort_foreign_write_c};
    cohort_output *output = NULL;
    COHORT_TRY(cohort_output_create(&output, path));
    cohort_status status = writers[format](output, network);
    if (status == COHORT_OK)
        status = cohort_output_finish(output);
    cohort_output_destroy(output);
    return status;
}

/* Arrays that PyTorch's files have and we have no use for. */
static bool is_ignored(const char *name)
{
    static const char counter[] = "num_batches_tracked";
    const size_t length = strlen(name), tail = sizeof counter - 1;
    return length >= tail && strcmp(name + length - tail, counter) == 0;
}

static cohort_status check_surplus(const cohort_source *source, const cohort_foreign_map *map)
{
    for (size_t i = 0; i < source->count; i++) {
        bool wanted = is_ignored(source->items[i].name);
        for (size_t k = 0; k < map->count && !wanted; k++)
            wanted = strcmp(map->items[k].name, source->items[i].name) == 0;
        COHORT_REQUIRE(wanted, COHORT_DATA,
                       "%s: array %s belongs to no layer of the recipe; see `cohort help import` "
                       "for the names",
                       source->path, source->items[i].name);
    }
    return COHORT_OK;
}

static cohort_status put_array(cohort_model *model, const cohort_source *source,
                               const cohort_foreign_map *map, size_t index)
{
    const cohort_foreign_tensor *tensor = &map->items[index];
    const cohort_source_array *array = cohort_source_find(source, tensor->name);
    char theirs[COHORT_SHAPE_TEXT], ours[COHORT_SHAPE_TEXT];
    COHORT_REQUIRE(array, COHORT_DATA, "%s: array %s of shape %s is missing, which %s needs",
                   source->path, tensor->name, cohort_shape_text(ours, &tensor->shape),
                   tensor->layer);
    COHORT_REQUIRE(
        cohort_shape_equal(&array->shape, &tensor->shape) && cohort_source_is_float(array->type),
        COHORT_DATA, "%s: array %s is of %s of shape %s, %s needs floats of shape %s", source->path,
        tensor->name, cohort_source_is_float(array->type) ? "floats" : "integers",
        cohort_shape_text(theirs, &array->shape), tensor->layer,
        cohort_shape_text(ours, &tensor->shape));
    float *values = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&values, cohort_shape_count(&tensor->shape)));
    cohort_source_read_floats(values, array);
    cohort_foreign_put(model, map, index, values);
    cohort_free(values);
    return COHORT_OK;
}

/* The most bytes a file of these tensors has: float64, their headers, and as much again. */
static size_t most_bytes(const cohort_model *model)
{
    return 16 * (cohort_model_params_count(model) + cohort_model_state_count(model)) +
           ((size_t)16 << 20);
}

static cohort_status import_arrays(cohort_model *model, const char *path, bool is_npz)
{
    cohort_foreign_map map = {0};
    cohort_source source = {.path = path};
    unsigned char *bytes = NULL;
    size_t count = 0;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_source_load(&bytes, &count, path, most_bytes(model)));
    COHORT_TRY_DONE(status, is_npz ? cohort_source_npz(&source, bytes, count, most_bytes(model))
                                   : cohort_source_safetensors(&source, bytes, count));
    COHORT_TRY_DONE(status, is_npz ? cohort_foreign_map_plain(&map, model)
                                   : cohort_foreign_map_torch(&map, model));
    COHORT_TRY_DONE(status, check_surplus(&source, &map));
    for (size_t i = 0; i < map.count; i++)
        COHORT_TRY_DONE(status, put_array(model, &source, &map, i));
done:
    cohort_source_clear(&source);
    cohort_foreign_map_clear(&map);
    cohort_free(bytes);
    return status;
}

cohort_status cohort_foreign_import(cohort_model *model, const char *path)
{
    unsigned char head[8] = {0};
    FILE *file = fopen(path, "rb");
    const size_t got = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    if (got == sizeof head && memcmp(head, "\x89HDF\r\n\x1a\n", sizeof head) == 0)
        return cohort_foreign_read_keras(model, path);
    return import_arrays(model, path, got >= 4 && memcmp(head, "PK\3\4", 4) == 0);
}
