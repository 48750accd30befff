/* The order and layouts of Keras's weights. */
#include <stdlib.h>
#include <string.h>

#include "state/foreign/map.h"

/* A layer as it stands in Keras's graph. */
typedef struct keras_place {
    cohort_layer_view layer;
    size_t depth; /* layers between it and the output */
    size_t met;   /* when the walk back from the output meets it */
} keras_place;

typedef struct keras_walk {
    const cohort_model *model;
    keras_place *places; /* [layer_count], by the model's index */
    size_t met;
} keras_walk;

/* How many layers of the model the first COUNT variants of LAYERS are, those inside included. */
static size_t span(const cohort_variants *layers, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        const cohort_variants *inside = cohort_variant_value(&layers->items[i], "layers");
        const cohort_variants *side = cohort_variant_value(&layers->items[i], "shortcut");
        total += 1;
        if (inside && side)
            total += span(inside, inside->count) + span(side, side->count);
    }
    return total;
}

/* Walks LAYERS, which begin at layer FIRST of the model, from their end back; what follows them
 * is DEPTH away from the output. Returns the depth before them. */
static size_t walk_back(keras_walk *walk, const cohort_variants *layers, size_t first, size_t depth)
{
    for (size_t i = layers->count; i-- > 0;) {
        const size_t at = first + span(layers, i);
        keras_place *place = &walk->places[at];
        *place = (keras_place){cohort_model_layer(walk->model, at), depth++, walk->met++};
        const cohort_variants *inside = cohort_variant_value(&place->layer.spec, "layers");
        const cohort_variants *side = cohort_variant_value(&place->layer.spec, "shortcut");
        if (!inside || !side)
            continue;
        const size_t begin = depth;
        const size_t main_depth = walk_back(walk, inside, at + 1, begin);
        const size_t side_depth =
            walk_back(walk, side, at + 1 + span(inside, inside->count), begin);
        depth = main_depth > side_depth ? main_depth : side_depth;
    }
    return depth;
}

static int compare_places(const void *a, const void *b)
{
    const keras_place *left = a, *right = b;
    if (left->depth != right->depth)
        return left->depth > right->depth ? -1 : 1;
    return left->met < right->met ? -1 : 1;
}

/* Keras's shape of our tensor: attention's are split by heads. */
static cohort_shape keras_shape(const cohort_layer_view *layer, const cohort_tensor *tensor)
{
    if (strcmp(layer->spec.table->name, "attention") != 0)
        return tensor->shape;
    const size_t heads = *(const size_t *)cohort_variant_value(&layer->spec, "heads");
    const size_t width = tensor->shape.dims[0], each = width / heads;
    const bool is_kernel = tensor->shape.dim_count == 2;
    if (strncmp(tensor->name, "output/", 7) == 0)
        return is_kernel ? cohort_shape_of(heads, each, width) : tensor->shape;
    return is_kernel ? cohort_shape_of(width, heads, each) : cohort_shape_of(heads, each);
}

/* Keras's name of our tensor within the layer. */
static void keras_name(cohort_text *name, const char *ours)
{
    static const char *const renamed[][2] = {{"forward/", "forward_lstm/lstm_cell/"},
                                             {"backward/", "backward_lstm/lstm_cell/"},
                                             {"output/", "attention_output/"}};
    name->length = 0;
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++) {
        const size_t length = strlen(renamed[i][0]);
        if (strncmp(ours, renamed[i][0], length) == 0) {
            cohort_text_append(name, "%s%s:0", renamed[i][1], ours + length);
            return;
        }
    }
    cohort_text_append(name, "%s:0", ours);
}

/* The tensors of a layer in the order of layer.weights: trained ones, then the others. */
static cohort_status map_layer(cohort_foreign_map *map, const cohort_layer_view *layer)
{
    const cohort_tensors lists[2] = {cohort_model_param_tensors(map->model),
                                     cohort_model_state_tensors(map->model)};
    cohort_text name = {0};
    cohort_status status = COHORT_OK;
    for (size_t list = 0; list < 2; list++)
        for (size_t i = 0; i < lists[list].count; i++) {
            const cohort_tensor *tensor = &lists[list].items[i];
            if (strcmp(tensor->layer, layer->path) != 0)
                continue;
            const cohort_shape shape = keras_shape(layer, tensor);
            keras_name(&name, tensor->name);
            COHORT_TRY_DONE(status, cohort_text_status(&name));
            COHORT_TRY_DONE(status, cohort_foreign_add(map, layer->path, name.data, &shape));
            COHORT_TRY_DONE(status,
                            cohort_foreign_add_block(
                                map, &(cohort_foreign_block){.dims = {tensor->count, 1, 1, 1},
                                                             .strides = {1},
                                                             .tensor = tensor,
                                                             .is_state = list == 1}));
        }
done:
    cohort_text_clear(&name);
    return status;
}

cohort_status cohort_foreign_map_keras(cohort_foreign_map *map, const cohort_model *model)
{
    const size_t count = cohort_model_layer_count(model);
    keras_walk walk = {.model = model};
    cohort_variant *specs = NULL;
    size_t top = 0;
    cohort_status status = COHORT_OK;
    map->model = model;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&walk.places, count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&specs, count));
    for (size_t i = 0; i < count; top++) {
        specs[top] = cohort_model_layer(model, i).spec;
        i += span(&(cohort_variants){&specs[top], 1}, 1);
    }
    walk_back(&walk, &(cohort_variants){specs, top}, 0, 0);
    qsort(walk.places, count, sizeof *walk.places, compare_places);
    for (size_t i = 0; i < count; i++)
        COHORT_TRY_DONE(status, map_layer(map, &walk.places[i].layer));
done:
    cohort_free(walk.places);
    cohort_free(specs);
    return status;
}
