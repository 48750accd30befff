/* Inside the model: layers, bookings and their binding. */
#ifndef COHORT_NN_PLANNER_H
#define COHORT_NN_PLANNER_H

#include "base/memory.h"
#include "nn/model.h"
#include "nn/placement.h"

/* Booking indices with a meaning of their own. */
enum { BOOKING_NONE = -1, BOOKING_INPUT = -2 };

/* A pointer to be filled in: when memory is placed (booking >= 0), or before each
 * forward (BOOKING_INPUT). */
typedef struct cohort_binding {
    void **where;
    int booking;
} cohort_binding;

/* Work memory wanted from `first` to `last`. Forward of tick t is the moment t, its
 * backward the moment -t until the number of ticks is known. */
typedef struct cohort_booking {
    size_t bytes;
    int first, last;
} cohort_booking;

typedef struct cohort_param_binding {
    cohort_param *where;
    size_t tensor; /* index among the param tensors */
} cohort_param_binding;

/* How a tensor of the flat vectors starts. */
typedef struct cohort_start {
    const cohort_variant *init; /* NULL: constant */
    double constant;
    size_t fan_in, fan_out;
} cohort_start;

struct cohort_sequence {
    cohort_layer **layers; /* [count] */
    bool *called;          /* [count] false for aliases */
    size_t count;
    const real *output;
    real *output_grad, *input_grad;
};

/* What is said of a layer: a line of cohort_model_describe, a cohort_layer_view. */
typedef struct cohort_layer_note {
    const cohort_layer *layer;
    cohort_flow in, out;
    cohort_shape y; /* what the layer's y holds: `out`, unless it absorbs the next */
    size_t parameter_count;
    unsigned depth;
} cohort_layer_note;

/* What is known of the tensor that flows between two layers. */
typedef struct cohort_edge {
    int value, grad; /* bookings */
} cohort_edge;

enum { NESTED_MAX = 4 }; /* lists inside one layer */

/* The layer whose plan is running; saved and restored around nested lists. */
typedef struct cohort_plan_context {
    cohort_layer *layer;
    cohort_edge in;
    int tick; /* of its forward */
    bool keeps_input, keeps_output, is_absorbed, is_alias, is_frozen, is_row_by_row;
    cohort_shape y; /* of no dimensions: what *flow says */
    unsigned depth;
    cohort_edge nested[NESTED_MAX]; /* what comes out of its lists */
    size_t nested_count;
    bool is_nested_output;  /* y and dy are those of its list */
    cohort_layer *takes_dy; /* in the list: its side.grad is dy; NULL: nobody's */
} cohort_plan_context;

struct cohort_planner {
    cohort_arena *arena; /* everything below and every layer lives here */
    size_t batch, part;
    bool training;
    bool wants_bf16, has_bf16; /* by the recipe; some layer takes it where the CPU can */
    bool for_input;            /* gradients reach the input, whatever is trained */
    int tick;
    bool has_trainable; /* some parameter booked so far is trained */
    bool masked;
    bool uses_sum, needs_whole_batch;
    bool mixes_rows;   /* some layer is not row by row */
    size_t vocabulary; /* the largest a layer has settled on */
    uint32_t layer_count;
    const cohort_strings *freeze;
    cohort_plan_context at;

    cohort_booking *bookings;
    size_t booking_count, booking_capacity;
    cohort_binding *bindings;
    size_t binding_count, binding_capacity;
    cohort_tensor *params, *state;
    size_t param_count, param_capacity, state_count, state_capacity;
    cohort_start *param_starts, *state_starts;
    size_t param_start_capacity, state_start_capacity;
    cohort_param_binding *param_bindings;
    size_t param_binding_count, param_binding_capacity;
    struct cohort_state_binding {
        real **where;
        size_t tensor;
    } * state_bindings;
    size_t state_binding_count, state_binding_capacity;
    cohort_layer_note *notes;
    size_t note_count, note_capacity;
    size_t params_reals, state_reals; /* sizes of the flat vectors so far */
};

/* Plans LAYERS on *flow from edge IN; *out_edge is what comes out. PREFIX goes before
 * the layers' names ("" or "3_residual/"). */
COHORT_NODISCARD cohort_status cohort_planner_sequence(cohort_planner *planner,
                                                       cohort_sequence **out, cohort_edge *out_edge,
                                                       const cohort_variants *layers,
                                                       const char *prefix, cohort_edge in,
                                                       cohort_flow *flow);
/* Books BYTES from FIRST to LAST. */
COHORT_NODISCARD cohort_status cohort_planner_book(int *booking, cohort_planner *planner,
                                                   size_t bytes, int first, int last);
COHORT_NODISCARD cohort_status cohort_planner_bind(cohort_planner *planner, void **where,
                                                   int booking);
/* Booking BOOKING is (also) used at MOMENT. */
void cohort_planner_use(cohort_planner *planner, int booking, int moment);
/* Frees the lists (not what the arena holds). */
void cohort_planner_clear(cohort_planner *planner);

#endif
