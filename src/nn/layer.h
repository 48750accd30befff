/* A layer is a table of functions in one .c file plus one line in layers.def.
 *
 * Life of a layer: its config struct is filled by the recipe parser from the key
 * table; `plan` checks the incoming shape, states the outgoing one and books memory
 * (parameters, state, kept activations, scratch); the model places the bookings and
 * writes the pointers once; `forward` and `backward` then run without allocating
 * and cannot fail. */
#ifndef COHORT_NN_LAYER_H
#define COHORT_NN_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/real.h"
#include "base/shape.h"
#include "base/status.h"
#include "base/text.h"
#include "nn/init.h"
#include "recipe/keys.h"

typedef struct cohort_layer cohort_layer;
typedef struct cohort_planner cohort_planner;

/* What passes from layer to layer, described without the batch dimension. */
typedef struct cohort_flow {
    cohort_shape shape; /* [features], [height][width][channels], [time][features], [time] */
    bool tokens;        /* int32 token ids [time] instead of reals */
    bool masked;        /* dims[0] is time and pass->mask applies to it */
    size_t vocabulary;  /* tokens are below this; 0 = unknown. `embedding` passes on what it
                           settled on */
} cohort_flow;

/* One forward and backward walk over a microbatch. */
typedef struct cohort_pass cohort_pass;
struct cohort_pass {
    size_t batch;            /* samples in this microbatch; 0 is possible */
    bool training;           /* dropout active, batch statistics used */
    bool accumulate;         /* backward adds to parameter gradients; else it sets them */
    uint64_t seed;           /* of the run */
    uint64_t step;           /* global step, from 0: a key for random numbers */
    const uint64_t *samples; /* [batch] dataset rows: a key for random numbers */
    /* Where each of the pass's parts ends, in samples. Gradients of parameters are summed by
     * part, then over pairs of parts, over pairs of those, …, with the bits that passes of
     * one part have when added so. For models that are row by row; NULL: all one part. */
    const size_t *part_ends; /* [part_count], not falling; the last is `batch` */
    size_t part_count;       /* a power of two */
    const real *mask;        /* [batch][time] 1 = real, 0 = padding; NULL without mask */
    /* Sums VALUES over the ranks that share the global batch, in place (collective:
     * every rank calls it for every layer that does, also with batch == 0). NULL on
     * a single rank. For statistics over the whole global batch. */
    void (*sum)(void *context, double *values, size_t count);
    void *sum_context;
    /* Called after a layer's backward, and by layers as soon as they can say so, when everything
     * in grads[offset..) is complete. OFFSET never rises, and may come again: what is under way
     * can go on. NULL if nobody waits for it. */
    void (*ready)(void *context, size_t offset);
    void *ready_context;
    /* Shows every layer after its forward (its y is there) and before its backward (its dy
     * is there), to look for values that should not be. NULL if nobody looks. */
    void (*visit)(void *context, const cohort_layer *layer, const cohort_pass *pass,
                  bool is_backward);
    void *visit_context;
};

/* A booked parameter tensor; pointers are bound before the first forward. */
typedef struct cohort_param {
    real *value; /* [count], in Keras's layout */
    real *grad;  /* [count]; NULL in a model that is not trained, or when frozen */
    size_t count;
    uint64_t *rows; /* a set of rows (base/rows.h): backward marks those it writes, and finds the
                     * others zero; NULL: the whole gradient is written, or nobody asks */
} cohort_param;

enum {
    COHORT_PARAM_DECAYS = 1,    /* weight decay and L1 apply (kernels, embeddings) */
    COHORT_PARAM_EMBEDDING = 2, /* gradients touch few rows: [rows][width] */
};

typedef enum cohort_lifetime {
    COHORT_LIVE_FORWARD,  /* scratch inside this layer's forward */
    COHORT_LIVE_BACKWARD, /* scratch inside this layer's backward */
    COHORT_LIVE_KEPT      /* written in forward, read in backward */
} cohort_lifetime;

/* Every layer config begins with this (the recipe fills it). */
typedef struct cohort_layer_common {
    const char *name;    /* NULL: "<index>_<type>" */
    cohort_variant init; /* layers with weights only */
} cohort_layer_common;

/* Key-table entries for it: COHORT_KEY_NAME(type), COHORT_KEY_INIT(type), where TYPE
 * is the config struct and its first member is `cohort_layer_common common`. */
#define COHORT_KEY_NAME(config_type)                                                               \
    {                                                                                              \
        .name = "name", .type = COHORT_KEY_STRING, .offset = offsetof(config_type, common.name),   \
        .help = "the layer's name in checkpoints and messages"                                     \
    }
#define COHORT_KEY_INIT(config_type)                                                               \
    {                                                                                              \
        .name = "init", .type = COHORT_KEY_VARIANT, .offset = offsetof(config_type, common.init),  \
        .variants = cohort_init_variants, .fallback = "glorot_uniform",                            \
        .help = "how kernels start"                                                                \
    }

/* What layers have that can be computed in several ways whose results differ in the last
 * bits. A choice is a small number that means the same on every rank; 0 is available
 * everywhere. */
typedef struct cohort_layer_ways {
    /* Measures the ways for about SECONDS of CPU; takes what is at least GAIN times as fast
     * as the way taken so far. Appends the times to REPORT, without a line end. */
    cohort_status (*tune)(cohort_layer *layer, double seconds, double gain, cohort_text *report);
    /* Whether what `tune` finds for one of the two, of this type, holds for the other. */
    bool (*is_alike)(const cohort_layer *a, const cohort_layer *b);
    unsigned (*choice)(const cohort_layer *layer);
    /* Takes a choice made elsewhere; what is not available here becomes another way. */
    void (*choose)(cohort_layer *layer, unsigned choice);
    /* A choice in words, appended, and back (false: they are none). */
    void (*write)(cohort_text *text, unsigned choice);
    bool (*read)(unsigned *choice, const char *words);
} cohort_layer_ways;

typedef struct cohort_layer_type cohort_layer_type;
struct cohort_layer_type {
    cohort_key_table keys; /* .name is the layer's name in recipes */
    size_t layer_bytes;    /* of the private struct, whose first member is cohort_layer */
    /* Checks *flow (what comes in; refuse with COHORT_USAGE naming layer->path, the shape
     * that came and the one that is needed), books memory, replaces *flow by what goes
     * out. The container books y and dy. */
    cohort_status (*plan)(cohort_layer *layer, cohort_planner *planner, cohort_flow *flow);
    /* Asked before `plan`: whether this layer will do the work of NEXT, the one after it, too
     * (its y is then NEXT's y, its dy NEXT's dy, and NEXT is planned but not run). NULL: never. */
    bool (*absorb)(cohort_layer *layer, const cohort_variant *next);
    /* y from x. */
    void (*forward)(cohort_layer *layer, const cohort_pass *pass);
    /* dx (set; skip it when NULL) and parameter gradients from dy. May use dy as scratch. */
    void (*backward)(cohort_layer *layer, const cohort_pass *pass);
    /* Asked after `plan`: whether forward can add side.value to y, and take the positive part of
     * that with RELU; whether backward leaves dy as it is then, but with RELU makes it 0 wherever
     * y is. NULL: never. */
    bool (*takes_side)(const cohort_layer *layer, bool relu);
    /* Whether backward can add side.grad to dx. */
    bool takes_back_side;
    /* Wants int32 tokens when it comes first (embedding). */
    bool reads_tokens;
    /* Frees what `plan` allocated outside the bookings; NULL if nothing. */
    void (*destroy)(cohort_layer *layer);
    const cohort_layer_ways *ways; /* how it can be computed; NULL: in one way */
};

/* What a layer at an end of a residual's list adds to its own: see takes_side, takes_back_side. */
typedef struct cohort_layer_side {
    const real *value; /* to y; NULL: nothing */
    const real *grad;  /* to dx; NULL: nothing */
    bool relu;         /* y is the positive part of the sum */
} cohort_layer_side;

/* The public part of every layer; private structs begin with it. */
struct cohort_layer {
    const cohort_layer_type *type;
    const void *config;    /* the type's config struct, owned by the recipe */
    const char *path;      /* "0_conv2d", "3_residual/1_batch_norm"; owned by the model */
    int line;              /* in the recipe, for messages */
    uint32_t index;        /* unique in the model: a key for random numbers */
    const real *x;         /* [batch][in shape]; NULL when tokens come in */
    const int32_t *tokens; /* [batch][time]; NULL when reals come in */
    real *y;               /* [batch][out shape] */
    real *dy;              /* gradient of y; NULL in a model that is not trained */
    real *dx;              /* gradient of x; NULL when nobody below needs it */
    cohort_layer_side side;
    size_t params_offset; /* where its first parameter starts in the flat vectors */
};

/* What a layer may ask of the planner inside `plan`. */

/* The most samples a pass will bring. */
size_t cohort_plan_batch(const cohort_planner *planner);
/* The most samples of one part of a batch (see cohort_pass); what a layer takes by the number of
 * samples, it takes by this: a pass has one or several parts, depending on the ranks. */
size_t cohort_plan_part(const cohort_planner *planner);
/* Whether products are to be computed in bfloat16: asked by a layer that does so then. */
bool cohort_plan_takes_bf16(cohort_planner *planner);
/* False in a model for inference only: nothing needs to be kept, no grads exist. */
bool cohort_plan_is_training(const cohort_planner *planner);
/* Whether dx will be wanted: false when no layer below has parameters. */
bool cohort_plan_needs_dx(const cohort_planner *planner);
/* Books parameter NAME ("kernel"); *PARAM is bound later. FLAGS: COHORT_PARAM_*. Its
 * start values are drawn by INIT with the given fans (or all `constant` when INIT is
 * NULL). Collective order: same on every rank by construction. */
COHORT_NODISCARD cohort_status cohort_plan_param(cohort_planner *planner, cohort_param *param,
                                                 const char *name, const cohort_shape *shape,
                                                 const cohort_variant *init, double constant,
                                                 size_t fan_in, size_t fan_out, unsigned flags);
/* Books state NAME ("moving_mean"): saved with the model, not trained; starts as
 * CONSTANT; *where is bound later to SHAPE reals. Every rank must compute the same. */
COHORT_NODISCARD cohort_status cohort_plan_state(cohort_planner *planner, real **where,
                                                 const char *name, const cohort_shape *shape,
                                                 double constant);
/* Books COUNT elements of ELEMENT_BYTES (for the whole batch), 64-byte aligned, with the
 * given lifetime; *where is bound later. Contents are undefined at the start of each
 * lifetime: the memory serves others in between. */
COHORT_NODISCARD cohort_status cohort_plan_buffer(cohort_planner *planner, void **where,
                                                  size_t count, size_t element_bytes,
                                                  cohort_lifetime lifetime);
/* Of a layer that absorbs the next: y and dy have SHAPE, the next one's, and not that of *flow. */
void cohort_plan_output(cohort_planner *planner, const cohort_shape *shape);
/* Whether the layer before does this one's work: nothing needs to be booked for it. */
bool cohort_plan_is_absorbed(const cohort_planner *planner);
/* backward reads x / y. */
void cohort_plan_keep_input(cohort_planner *planner);
void cohort_plan_keep_output(cohort_planner *planner);
/* The layer calls pass->sum in training: then every rank must run the same number of passes
 * a step. WHOLE: and its result depends on how the global batch is cut, so that a rank's
 * share must be one pass. Nothing is noted when the layer is frozen: it must not call
 * pass->sum then. */
void cohort_plan_uses_sum(cohort_planner *planner, bool whole);
/* The layer computes each sample with the same bits whatever others are in the pass, and heeds
 * pass->part_ends. */
void cohort_plan_row_by_row(cohort_planner *planner);
/* y is x and dy is dx, element for element (flatten): the container aliases them and
 * forward and backward are not called. */
void cohort_plan_alias(cohort_planner *planner);

/* A nested list of layers (residual). Plans LAYERS on *flow, starting from this layer's
 * x; GROUP ("" or "shortcut") is put into the paths. *out is owned by the model. Plan
 * lists in the order of parameters and run backward in the reverse order. After
 * binding, the sequence's ends are read from it. Layers of a sequence are run with
 * cohort_sequence_forward/backward; the first layer's x is this layer's x. */
typedef struct cohort_sequence cohort_sequence;
COHORT_NODISCARD cohort_status cohort_plan_sequence(cohort_planner *planner, cohort_sequence **out,
                                                    const cohort_variants *layers,
                                                    const char *group, cohort_flow *flow);
/* Which sums of y = layers(x) + x, with RELU its positive part, the layers at the ends of the list
 * compute; those that they do not are left to the layer that plans it. */
typedef struct cohort_sum_plan {
    bool is_summed;      /* y is the list's own output, which it adds x to; its dy is the list's */
    bool is_back_summed; /* dx is the list's own, which it adds dy to */
} cohort_sum_plan;
/* As cohort_plan_sequence, for that sum. */
COHORT_NODISCARD cohort_status cohort_plan_sum(cohort_sum_plan *sum, cohort_planner *planner,
                                               cohort_sequence **out, const cohort_variants *layers,
                                               bool relu, cohort_flow *flow);
/* Adds COUNT values of side.value to those of y from FIRST on, as takes_side says. */
void cohort_layer_add_side(const cohort_layer *layer, size_t first, size_t count);
void cohort_sequence_forward(cohort_sequence *sequence, const cohort_pass *pass);
void cohort_sequence_backward(cohort_sequence *sequence, const cohort_pass *pass);
/* Output and its gradient; input gradient (NULL if not wanted). With an empty list
 * the output is the input. */
const real *cohort_sequence_output(const cohort_sequence *sequence);
real *cohort_sequence_output_grad(cohort_sequence *sequence);
real *cohort_sequence_input_grad(cohort_sequence *sequence);

#endif
