/* Which element of a foreign tensor is which of ours: one description for both ways.
 *
 * PyTorch. "/" in a layer's path becomes ".", so a layer `name: fc` has "fc.weight", one inside a
 * residual "3_residual.0_conv2d.weight".
 *
 *   dense               weight [units][in], bias
 *   conv2d              weight [filters][in][kh][kw], bias
 *   batch_norm          weight, bias, running_mean, running_var
 *   layer_norm          weight, bias
 *   embedding           weight [vocabulary][units]
 *   position_embedding  weight [time][features]
 *   lstm                weight_ih_l0 [4 units][in], weight_hh_l0 [4 units][units], bias_ih_l0,
 *                       bias_hh_l0 (zeros; added on import), gates i, f, g, o as ours; the
 *                       direction that reads from the end with "_reverse" behind
 *   attention           nn.MultiheadAttention's in_proj_weight [3 width][width] (query, key,
 *                       value), in_proj_bias, out_proj.weight, out_proj.bias
 *
 * Images are [channels][height][width] in PyTorch, so what comes behind a `flatten` of one is
 * in another order there: the weights of the layers up to the next `dense` follow it.
 *
 * Keras: our layouts; attention's kernels are split by heads there ([width][heads][width /
 * heads], output [heads][width / heads][width]). Layers stand in the order of Keras's
 * model.layers when each layer of ours is one of Keras and the sum of a `residual` an Add of
 * (layers, shortcut): by depth, then by when the walk back from the output meets them. */
#ifndef COHORT_STATE_FOREIGN_MAP_H
#define COHORT_STATE_FOREIGN_MAP_H

#include "base/memory.h"
#include "nn/model.h"

enum { COHORT_FOREIGN_DIMS = 4 };

/* A block of a foreign tensor: element (i, j, k, l) of DIMS, row-major from OFFSET on, is
 * element i strides[0] + j strides[1] + … of ours. */
typedef struct cohort_foreign_block {
    size_t offset;
    size_t dims[COHORT_FOREIGN_DIMS], strides[COHORT_FOREIGN_DIMS]; /* dims 1 where unused */
    const cohort_tensor *tensor;
    bool is_state; /* of the state vector, else of the parameters */
    bool is_added; /* PyTorch's second bias: 0 on export, added on import */
} cohort_foreign_block;

typedef struct cohort_foreign_tensor {
    const char *name;  /* "0_conv2d.weight"; within the layer for Keras: "kernel:0" */
    const char *layer; /* our path of the layer */
    cohort_shape shape;
    size_t first_block, block_count;
} cohort_foreign_tensor;

typedef struct cohort_foreign_map {
    const cohort_model *model;
    cohort_arena *arena; /* names */
    cohort_foreign_tensor *items;
    size_t count, capacity;
    cohort_foreign_block *blocks;
    size_t block_count, block_capacity;
} cohort_foreign_map;

/* Start from {0}; clear in any case. COHORT_USAGE names a layer that has no such form, or two
 * tensors of one name. MODEL is borrowed. */
COHORT_NODISCARD cohort_status cohort_foreign_map_torch(cohort_foreign_map *map,
                                                        const cohort_model *model);
COHORT_NODISCARD cohort_status cohort_foreign_map_keras(cohort_foreign_map *map,
                                                        const cohort_model *model);
COHORT_NODISCARD cohort_status cohort_foreign_map_plain(cohort_foreign_map *map,
                                                        const cohort_model *model);
void cohort_foreign_map_clear(cohort_foreign_map *map);

/* OUT [shape] = foreign tensor INDEX from the vectors bound to MODEL, and back. Putting adds
 * where a block is_added, so put the others first: they come first in the map. */
void cohort_foreign_take(float *out, const cohort_foreign_map *map, size_t index,
                         cohort_model *model);
void cohort_foreign_put(cohort_model *model, const cohort_foreign_map *map, size_t index,
                        const float *from);

/* For the builders of maps: a new tensor, then blocks of it. */
COHORT_NODISCARD cohort_status cohort_foreign_add(cohort_foreign_map *map, const char *layer,
                                                  const char *name, const cohort_shape *shape);
COHORT_NODISCARD cohort_status cohort_foreign_add_block(cohort_foreign_map *map,
                                                        const cohort_foreign_block *block);
/* Tensor NAME of LAYER among ours (state, when it is not a parameter); NULL if there is none. */
const cohort_tensor *cohort_foreign_ours(bool *is_state, const cohort_model *model,
                                         const char *layer, const char *name);
/* COHORT_USAGE unless every tensor of MODEL is in MAP and no name is taken twice; FORMAT is for
 * the message. */
COHORT_NODISCARD cohort_status cohort_foreign_check(const cohort_foreign_map *map,
                                                    const char *format);

#endif
