/* A network: layers planned for a batch, over flat vectors.
 *
 * params[P], grads[P] and every optimizer slot share one layout, in layer order, each
 * tensor 64-byte aligned, padding always zero. */
#ifndef COHORT_NN_MODEL_H
#define COHORT_NN_MODEL_H

#include "base/rows.h"
#include "nn/layer.h"
#include "recipe/recipe.h"

typedef struct cohort_model cohort_model;

/* One named tensor of the flat vectors. */
typedef struct cohort_tensor {
    const char *layer; /* "0_conv2d", "3_residual/1_batch_norm" */
    const char *name;  /* "kernel"; "forward/kernel" */
    cohort_shape shape;
    size_t offset, count; /* in reals, within params (or state) */
    unsigned flags;       /* COHORT_PARAM_* */
    bool frozen;
} cohort_tensor;

typedef struct cohort_tensors {
    const cohort_tensor *items;
    size_t count;
} cohort_tensors;

/* The layer types in layers.def, for cohort_recipe_parse (NULL-terminated). */
cohort_layer_catalog cohort_model_catalog(void);

/* Whether the network of RECIPE takes int32 tokens: its first layer does. */
bool cohort_model_reads_tokens(const cohort_recipe *recipe);

/* *out = the network of RECIPE for samples described by INPUT, planned for at most
 * BATCH samples a pass. RECIPE is borrowed and must outlive the model. Rank-local and the same on
 * every rank. COHORT_USAGE names the layer, its line and the shapes that do not fit. */
COHORT_NODISCARD cohort_status cohort_model_create(cohort_model **out, const cohort_recipe *recipe,
                                                   const cohort_flow *input, size_t batch,
                                                   bool training);
/* The same for training in passes of at most BATCH samples that may hold several parts of at
 * most PART samples each (see cohort_pass, and cohort_model_is_row_by_row). */
COHORT_NODISCARD cohort_status cohort_model_create_in_parts(cohort_model **out,
                                                            const cohort_recipe *recipe,
                                                            const cohort_flow *input, size_t batch,
                                                            size_t part);
/* The same to learn what moves the outputs: backward gives the gradient of the input, through
 * every layer, also frozen ones. Bind it without grads: parameters get none. */
COHORT_NODISCARD cohort_status cohort_model_create_for_input(cohort_model **out,
                                                             const cohort_recipe *recipe,
                                                             const cohort_flow *input,
                                                             size_t batch);
void cohort_model_destroy(cohort_model *model);

/* Refuses a recipe whose train.precision this CPU or build does not have: COHORT_USAGE. For those
 * that train; models for inference fall back to float32. */
COHORT_NODISCARD cohort_status cohort_model_check_precision(const cohort_recipe *recipe);
/* Warns where the train.precision of RECIPE, that of MODEL, changes nothing in it. */
void cohort_model_note_precision(const cohort_model *model, const cohort_recipe *recipe);

/* Sizes of the flat vectors, in reals; multiples of a cache line. */
size_t cohort_model_params_count(const cohort_model *model);
size_t cohort_model_state_count(const cohort_model *model);
/* Parameters without padding, as people count them. */
size_t cohort_model_parameter_count(const cohort_model *model);
/* Multiply-adds of a sample's forward pass, about: each weight once for every position that its
 * layer goes over. Without those between activations (attention's scores) and rows looked up. */
double cohort_model_work(const cohort_model *model);
/* Bytes of activations and scratch that were placed. */
size_t cohort_model_work_bytes(const cohort_model *model);

/* Gives the model its vectors: PARAMS and GRADS of params_count, STATE of state_count,
 * 64-byte aligned, zeroed, owned by the caller, living as long as the model. GRADS is
 * NULL for a model not trained. Call once, before forward. */
void cohort_model_bind(cohort_model *model, real *params, real *grads, real *state);

/* Gradients go to GRADS (as in bind) from the next backward on, every element of them. */
void cohort_model_set_grads(cohort_model *model, real *grads);

/* The tables whose gradients touch few rows: those of embeddings that are trained and large
 * enough to care. Owned by the model. */
cohort_tables cohort_model_tables(const cohort_model *model);
/* From the next backward on, gradients of the tables go to the rows they touch, which are
 * marked in ROWS (for all tables, base/rows.h); the rows not marked in it must hold zeros.
 * Call after set_grads, which ends it. */
void cohort_model_set_rows(cohort_model *model, uint64_t *rows);

/* Start values of params and state, a function of SEED alone. */
void cohort_model_init(cohort_model *model, uint64_t seed);

real *cohort_model_params(cohort_model *model);
real *cohort_model_grads(cohort_model *model);
real *cohort_model_state(cohort_model *model);
cohort_tensors cohort_model_param_tensors(const cohort_model *model);
cohort_tensors cohort_model_state_tensors(const cohort_model *model);

/* The shape of LAYER's y, without the batch: what it gives out, or, where it does the work of the
 * layer behind it too, that one. */
const cohort_shape *cohort_model_shape_behind(const cohort_model *model, const cohort_layer *layer);
/* The shape of one output, without the batch. */
const cohort_shape *cohort_model_output_shape(const cohort_model *model);
/* Whether the input is tokens, and of what shape. */
const cohort_flow *cohort_model_input(const cohort_model *model);
/* Tokens must be below this; 0 when the network reads reals. */
size_t cohort_model_vocabulary(const cohort_model *model);
/* Whether a layer masks padding: then pass->mask must be given. cohort_model_forward
 * computes it from the tokens by itself. */
bool cohort_model_is_masked(const cohort_model *model);

/* Whether training passes call pass->sum: every rank must then run the same number of them
 * a step, empty ones included. */
bool cohort_model_uses_sum(const cohort_model *model);
/* Whether a rank's whole share of a step must be one pass, for results not to depend on
 * microbatches (batch_norm with `sync`). */
bool cohort_model_needs_whole_batch(const cohort_model *model);

/* Whether each sample is computed with the same bits whatever others are in the pass, so that a
 * pass may hold several parts of a batch (pass->part_ends). */
bool cohort_model_is_row_by_row(const cohort_model *model);

/* Outputs (logits) [pass->batch][output shape] for X [batch][input shape] (reals, or
 * int32 tokens when the input is tokens), valid until the next forward. X must stay
 * until backward is done. Logits are written by the model and may be overwritten. */
real *cohort_model_forward(cohort_model *model, const void *x, const cohort_pass *pass);
/* The buffer for d(loss)/d(outputs), of the same shape; fill it between forward and
 * backward. */
real *cohort_model_output_grad(cohort_model *model);
/* Parameter gradients of the pass (added when pass->accumulate, else set). */
void cohort_model_backward(cohort_model *model, const cohort_pass *pass);
/* What backward has found of d(loss)/d(x) [pass->batch][input shape] in a model created for it;
 * NULL in others, and where x is tokens, which have no gradient: there pass->visit finds that of
 * the first layer's output in its dy. Valid until the next forward. */
const real *cohort_model_input_grad(const cohort_model *model);

/* Some layers (convolutions) can be computed in several ways whose results differ in the
 * last bits. Without tuning a rule chooses. To be fast and the same on every rank and
 * after resuming: tune on rank 0, broadcast and keep the choices, choose elsewhere.
 *
 * Measures the ways of every such layer (once for those alike) for about SECONDS of CPU in
 * all, on made-up data, and takes what is at least GAIN times as fast as the rule's way.
 * Appends a line a layer to REPORT. Rank-local. Params and grads are not touched.
 * COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_model_tune(cohort_model *model, double seconds, double gain,
                                                 cohort_text *report);
/* How many such layers there are: the same on every rank. */
size_t cohort_model_choice_count(const cohort_model *model);
/* CHOICES [choice_count], in the order of layers. */
void cohort_model_choices(uint32_t *choices, const cohort_model *model);
void cohort_model_choose(cohort_model *model, const uint32_t *choices);
/* Appends the choices in words, "0_conv2d direct dnnl direct", a line a layer. */
void cohort_model_write_choices(cohort_text *text, const cohort_model *model);
/* Takes choices from such TEXT; *whole: each was available here. COHORT_DATA names a line that
 * is none of a layer's choices; layers that are not named keep theirs. */
COHORT_NODISCARD cohort_status cohort_model_read_choices(bool *whole, cohort_model *model,
                                                         const char *text);

/* A layer as code sees it that writes the network down for somebody else. */
typedef struct cohort_layer_view {
    cohort_variant spec; /* its type and keys; read them with cohort_variant_value */
    const char *path;    /* "3_residual/1_batch_norm", as in cohort_tensor; owned by the model */
    cohort_flow in, out; /* what comes in and goes out */
} cohort_layer_view;
size_t cohort_model_layer_count(const cohort_model *model);
/* Layer INDEX in the order of the recipe. The layers inside a `residual` follow it: its
 * `layers`, then its `shortcut`. */
cohort_layer_view cohort_model_layer(const cohort_model *model, size_t index);

/* Appends a table of layers: path, output shape, parameters. */
void cohort_model_describe(cohort_text *text, const cohort_model *model);

#endif
