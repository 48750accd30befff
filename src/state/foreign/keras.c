/* Keras's legacy weights: a group a layer with the attribute weight_names, the datasets they
 * name in it, and layer_names at the root (keras/src/saving/hdf5_format.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/chunks.h"
#include "data/hdf5.h"
#include "state/foreign/formats.h"
#include "state/layout.h"

enum { ATTRIBUTE_MAX = 64512, IMAGE_GROWTH = 1 << 20 }; /* bytes; Keras splits lists at this */

/* Tensors [begin, end) of the map are one layer's. */
typedef struct layer_span {
    size_t begin, end;
} layer_span;

static layer_span next_layer(const cohort_foreign_map *map, size_t begin)
{
    size_t end = begin;
    while (end < map->count && strcmp(map->items[end].layer, map->items[begin].layer) == 0)
        end++;
    return (layer_span){begin, end};
}

/* Keras's names have no "/" of their own. */
static void layer_name(cohort_text *name, const char *path)
{
    name->length = 0;
    cohort_text_append(name, "%s", path);
    for (char *c = name->data; c && *c; c++)
        if (*c == '/')
            *c = '_';
}

/* ---- Writing ---- */

static bool put_cells(hid_t object, const char *name, const char *cells, size_t count, size_t width)
{
    hid_t type = cohort_hdf5_string_type(width);
    hid_t space = H5Screate_simple(1, (hsize_t[]){count}, NULL);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool good = attribute >= 0 && H5Awrite(attribute, type, cells) >= 0;
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return good;
}

/* Attribute NAME [COUNT] of strings, in pieces NAME0, NAME1, … when it is too large for one. */
static cohort_status put_names(hid_t object, const char *name, const char *const *names,
                               size_t count)
{
    size_t width = 1;
    for (size_t i = 0; i < count; i++)
        width = strlen(names[i]) > width ? strlen(names[i]) : width;
    const size_t most = ATTRIBUTE_MAX / width;
    char *cells = NULL, piece_name[64];
    COHORT_TRY(COHORT_ALLOCATE(&cells, count * width + 1));
    for (size_t i = 0; i < count; i++)
        memcpy(cells + i * width, names[i], strlen(names[i]));
    bool good = true;
    for (size_t at = 0, piece = 0; at < count && good; at += most, piece++) {
        snprintf(piece_name, sizeof piece_name, "%s%zu", name, piece);
        good = put_cells(object, count > most ? piece_name : name, cells + at * width,
                         count - at < most ? count - at : most, width);
    }
    cohort_free(cells);
    COHORT_REQUIRE(good, COHORT_MEMORY, "no memory for the attribute %s", name);
    return COHORT_OK;
}

static bool put_text(hid_t object, const char *name, const char *value)
{
    hid_t type = cohort_hdf5_string_type(strlen(value));
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool good = attribute >= 0 && H5Awrite(attribute, type, value) >= 0;
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    H5Tclose(type);
    return good;
}

static bool put_dataset(hid_t group, const char *name, const cohort_shape *shape,
                        const float *values)
{
    hsize_t dims[COHORT_SHAPE_MAX];
    for (size_t i = 0; i < shape->dim_count; i++)
        dims[i] = shape->dims[i];
    hid_t links = H5Pcreate(H5P_LINK_CREATE), creation = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple((int)shape->dim_count, dims, NULL);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(creation, false);
    hid_t set = H5Dcreate2(group, name, H5T_IEEE_F32LE, space, links, creation, H5P_DEFAULT);
    const bool good =
        set >= 0 && H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    if (set >= 0)
        H5Dclose(set);
    H5Sclose(space);
    H5Pclose(creation);
    H5Pclose(links);
    return good;
}

static cohort_status put_tensor(hid_t group, const char *name, const cohort_foreign_map *map,
                                size_t index, cohort_model *model)
{
    const cohort_shape *shape = &map->items[index].shape;
    float *values = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&values, cohort_shape_count(shape)));
    cohort_foreign_take(values, map, index, model);
    const bool good = put_dataset(group, name, shape, values);
    cohort_free(values);
    COHORT_REQUIRE(good, COHORT_MEMORY, "no memory for tensor %s", name);
    return COHORT_OK;
}

/* Group NAME with the tensors of SPAN, each called "NAME/kernel:0". */
static cohort_status put_layer(hid_t file, const char *name, const cohort_foreign_map *map,
                               layer_span span, cohort_model *model)
{
    cohort_arena *arena = NULL;
    const char **names = NULL;
    cohort_status status = COHORT_OK;
    hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    COHORT_REQUIRE_DONE(status, group >= 0, COHORT_USAGE,
                        "Keras's file would have two layers %s; give one another `name`", name);
    COHORT_TRY_DONE(status, cohort_arena_create(&arena));
    COHORT_TRY_DONE(status, COHORT_TAKE(&names, arena, span.end - span.begin));
    for (size_t i = span.begin; i < span.end; i++) {
        char text[1024], *copy = NULL;
        snprintf(text, sizeof text, "%s/%s", name, map->items[i].name);
        COHORT_TRY_DONE(status, cohort_arena_copy(&copy, arena, text));
        names[i - span.begin] = copy;
        COHORT_TRY_DONE(status, put_tensor(group, text, map, i, model));
    }
    COHORT_TRY_DONE(status, put_names(group, "weight_names", names, span.end - span.begin));
done:
    if (group >= 0)
        H5Gclose(group);
    cohort_arena_destroy(arena);
    return status;
}

static cohort_status put_layers(hid_t file, const cohort_foreign_map *map, cohort_model *model)
{
    cohort_arena *arena = NULL;
    const char **names = NULL;
    cohort_text name = {0};
    size_t count = 0;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_arena_create(&arena));
    COHORT_TRY_DONE(status, COHORT_TAKE(&names, arena, map->count));
    for (layer_span span = next_layer(map, 0); span.begin < map->count;
         span = next_layer(map, span.end)) {
        char *copy = NULL;
        layer_name(&name, map->items[span.begin].layer);
        COHORT_TRY_DONE(status, cohort_text_status(&name));
        COHORT_TRY_DONE(status, cohort_arena_copy(&copy, arena, name.data));
        names[count++] = copy;
        COHORT_TRY_DONE(status, put_layer(file, copy, map, span, model));
    }
    COHORT_TRY_DONE(status, put_names(file, "layer_names", names, count));
    COHORT_REQUIRE_DONE(status,
                        put_text(file, "backend", "tensorflow") &&
                            put_text(file, "keras_version", "2.15.0"),
                        COHORT_MEMORY, "no memory for the attributes of the file");
done:
    cohort_text_clear(&name);
    cohort_arena_destroy(arena);
    return status;
}

/* HDF5 builds the file in memory; the bytes are written by us, who notice a full disk. */
static cohort_status write_image(cohort_output *output, hid_t file)
{
    void **memory = NULL;
    const bool good = H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0 &&
                      H5Fget_vfd_handle(file, H5P_DEFAULT, (void **)&memory) >= 0;
    const ssize_t count = good ? H5Fget_file_image(file, NULL, 0) : -1;
    COHORT_REQUIRE(count > 0 && memory && *memory, COHORT_MEMORY, "no memory for the file");
    return cohort_output_bytes(output, *memory, (size_t)count);
}

cohort_status cohort_foreign_write_keras(cohort_output *output,
                                         const cohort_foreign_network *network)
{
    cohort_foreign_map map = {0};
    cohort_status status = COHORT_OK;
    hid_t access = H5I_INVALID_HID, file = H5I_INVALID_HID;
    cohort_hdf5_begin();
    COHORT_TRY_DONE(status, cohort_foreign_map_keras(&map, network->model));
    access = H5Pcreate(H5P_FILE_ACCESS);
    if (H5Pset_fapl_core(access, IMAGE_GROWTH, false) >= 0)
        file = H5Fcreate("keras-image", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    COHORT_REQUIRE_DONE(status, file >= 0, COHORT_MEMORY, "no memory for the file");
    COHORT_TRY_DONE(status, put_layers(file, &map, network->model));
    COHORT_TRY_DONE(status, write_image(output, file));
done:
    if (file >= 0)
        H5Fclose(file);
    if (access >= 0)
        H5Pclose(access);
    cohort_foreign_map_clear(&map);
    cohort_hdf5_end();
    return status;
}

/* ---- Reading ---- */

/* The strings of attribute NAME, which must be there; free *items with free(). */
static cohort_status get_names(char ***items, size_t *count, hid_t object, const char *path,
                               const char *name)
{
    *items = NULL;
    *count = 0;
    COHORT_REQUIRE(H5Aexists(object, name) > 0, COHORT_DATA,
                   "%s is no file of Keras weights: attribute %s is missing", path, name);
    return cohort_hdf5_strings(items, count, object, path, name);
}

/* Values of dataset NAME in GROUP, which must have the shape of foreign tensor INDEX. */
static cohort_status get_tensor(float *values, hid_t group, const char *path, const char *name,
                                const cohort_foreign_tensor *tensor)
{
    hsize_t dims[COHORT_SHAPE_MAX] = {0};
    char text[COHORT_SHAPE_TEXT];
    hid_t set = cohort_hdf5_exists(group, name) ? H5Dopen2(group, name, H5P_DEFAULT) : -1;
    COHORT_REQUIRE(set >= 0, COHORT_DATA, "%s: weight %s is missing", path, name);
    hid_t type = H5Dget_type(set), space = H5Dget_space(set), list = H5Dget_create_plist(set);
    const int dim_count = H5Sget_simple_extent_ndims(space);
    bool good = H5Tget_class(type) == H5T_FLOAT && dim_count == (int)tensor->shape.dim_count &&
                H5Pget_external_count(list) == 0 && H5Pget_layout(list) != H5D_VIRTUAL &&
                H5Sget_simple_extent_dims(space, dims, NULL) >= 0;
    for (size_t i = 0; good && i < tensor->shape.dim_count; i++)
        good = dims[i] == tensor->shape.dims[i];
    const bool fits = good;
    good = good && cohort_hdf5_is_whole(set) &&
           H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    H5Pclose(list);
    H5Sclose(space);
    H5Tclose(type);
    H5Dclose(set);
    COHORT_REQUIRE(fits, COHORT_DATA, "%s: weight %s is not of floats of shape %s, as %s needs",
                   path, name, cohort_shape_text(text, &tensor->shape), tensor->layer);
    COHORT_REQUIRE(good, COHORT_DATA, "%s: weight %s cannot be read; the file is damaged", path,
                   name);
    return COHORT_OK;
}

static cohort_status get_layer(cohort_model *model, hid_t group, const char *path,
                               const char *const *names, const cohort_foreign_map *map,
                               layer_span span)
{
    for (size_t i = span.begin; i < span.end; i++) {
        const cohort_foreign_tensor *tensor = &map->items[i];
        float *values = NULL;
        COHORT_TRY(COHORT_ALLOCATE(&values, cohort_shape_count(&tensor->shape)));
        cohort_status status = get_tensor(values, group, path, names[i - span.begin], tensor);
        if (status == COHORT_OK)
            cohort_foreign_put(model, map, i, values);
        cohort_free(values);
        COHORT_TRY(status);
    }
    return COHORT_OK;
}

/* Layer NAME of the file, if it has weights, is SPAN of the map; *taken tells. */
static cohort_status match_layer(bool *taken, cohort_model *model, hid_t root, const char *path,
                                 const char *name, const cohort_foreign_map *map, layer_span span)
{
    char **names = NULL;
    size_t count = 0;
    cohort_status status = COHORT_OK;
    hid_t group = cohort_hdf5_exists(root, name) ? H5Gopen2(root, name, H5P_DEFAULT) : -1;
    COHORT_REQUIRE(group >= 0, COHORT_DATA, "%s: the group of layer %s is missing", path, name);
    COHORT_TRY_DONE(status, get_names(&names, &count, group, path, "weight_names"));
    *taken = count > 0;
    if (*taken) {
        COHORT_REQUIRE_DONE(status, span.begin < map->count, COHORT_DATA,
                            "%s: layer %s is one more with weights than the recipe has", path,
                            name);
        COHORT_REQUIRE_DONE(status, count == span.end - span.begin, COHORT_DATA,
                            "%s: layer %s has %zu weights, %s has %zu", path, name, count,
                            map->items[span.begin].layer, span.end - span.begin);
        COHORT_TRY_DONE(status,
                        get_layer(model, group, path, (const char *const *)names, map, span));
    }
done:
    free(names);
    H5Gclose(group);
    return status;
}

/* The layers that attribute NAME lists; *span moves on. */
static cohort_status match_list(layer_span *span, cohort_model *model, hid_t root, const char *path,
                                const char *name, const cohort_foreign_map *map)
{
    char **names = NULL;
    size_t count = 0;
    cohort_status status = get_names(&names, &count, root, path, name);
    for (size_t i = 0; i < count && status == COHORT_OK; i++) {
        bool taken = false;
        status = match_layer(&taken, model, root, path, names[i], map, *span);
        if (taken)
            *span = next_layer(map, span->end);
    }
    free(names);
    return status;
}

static cohort_status match_layers(cohort_model *model, hid_t root, const char *path,
                                  const cohort_foreign_map *map)
{
    layer_span span = next_layer(map, 0);
    char piece[32] = "layer_names0";
    if (H5Aexists(root, piece) <= 0)
        COHORT_TRY(match_list(&span, model, root, path, "layer_names", map));
    for (size_t i = 1; H5Aexists(root, piece) > 0; i++) {
        COHORT_TRY(match_list(&span, model, root, path, piece, map));
        snprintf(piece, sizeof piece, "layer_names%zu", i);
    }
    COHORT_REQUIRE(span.begin == map->count, COHORT_DATA,
                   "%s ends before the layer %s of the recipe: it has fewer layers with weights",
                   path, map->items[span.begin].layer);
    return COHORT_OK;
}

/* The weights are at the root, or in model_weights of a whole saved model. */
cohort_status cohort_foreign_read_keras(cohort_model *model, const char *path)
{
    cohort_foreign_map map = {0};
    hid_t file = H5I_INVALID_HID, root = H5I_INVALID_HID;
    cohort_status status = COHORT_OK;
    cohort_hdf5_begin();
    COHORT_TRY_DONE(status, cohort_foreign_map_keras(&map, model));
    COHORT_TRY_DONE(status, cohort_hdf5_open(&file, path));
    root = H5Gopen2(file, cohort_hdf5_exists(file, "model_weights") ? "model_weights" : "/",
                    H5P_DEFAULT);
    COHORT_REQUIRE_DONE(status, root >= 0, COHORT_DATA, "%s is damaged", path);
    COHORT_TRY_DONE(status, match_layers(model, root, path, &map));
done:
    if (root >= 0)
        H5Gclose(root);
    if (file >= 0)
        H5Fclose(file);
    cohort_foreign_map_clear(&map);
    cohort_hdf5_end();
    return status;
}
