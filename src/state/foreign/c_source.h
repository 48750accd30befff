/* A network as C99 under construction.
 *
 * Every value between layers is a piece of one array `memory`, placed by its lifetime. The first
 * failure is kept in `status`; what follows it does nothing that matters. */
#ifndef COHORT_STATE_FOREIGN_C_SOURCE_H
#define COHORT_STATE_FOREIGN_C_SOURCE_H

#include "nn/placement.h"
#include "state/foreign/formats.h"

/* Functions of the file, in the order of their definitions; see c_functions.c. */
typedef enum cohort_c_function {
    COHORT_C_WINDOW, /* a struct */
    COHORT_C_SCALE,
    COHORT_C_EMBED,
    COHORT_C_FIND_PADDING,
    COHORT_C_ADD,
    COHORT_C_DENSE,
    COHORT_C_CONV2D,
    COHORT_C_MAX_POOL,
    COHORT_C_AVERAGE_POOL,
    COHORT_C_MEAN,
    COHORT_C_NORM,
    COHORT_C_RELU,
    COHORT_C_LEAKY_RELU,
    COHORT_C_GELU,
    COHORT_C_TANH,
    COHORT_C_SIGMOID,
    COHORT_C_SOFTMAX,
    COHORT_C_ATTEND,
    COHORT_C_LSTM,
    COHORT_C_FUNCTION_COUNT
} cohort_c_function;

/* The C99 text of a function. */
extern const char *const cohort_c_functions[COHORT_C_FUNCTION_COUNT];

typedef struct cohort_c_source {
    cohort_status status;
    cohort_model *model;
    size_t next; /* layer of the model */
    bool used[COHORT_C_FUNCTION_COUNT];
    size_t weight_count;
    cohort_text weights; /* definitions of constants */
    cohort_text body;    /* statements of predict_logits */
    cohort_slot *slots;  /* the values */
    size_t slot_count, slot_capacity;
    int tick;
    int mask; /* the value of the mask, -1 without */
} cohort_c_source;

/* What flows between layers: a slot, or the input. */
enum { COHORT_C_INPUT = -1 };

/* All layers on value X; returns the last value. Layers that have no form set status to
 * COHORT_USAGE. */
int cohort_c_layers(cohort_c_source *source, int x);
/* A new value of COUNT floats, written from now on. */
int cohort_c_value(cohort_c_source *source, size_t count);
/* Appends a constant of COUNT floats; returns its number, for "w%d". */
size_t cohort_c_weights(cohort_c_source *source, const float *values, size_t count);
/* "memory + v3" or "x", into TEXT (COHORT_C_NAME bytes), returned; the value is used now. */
enum { COHORT_C_NAME = 40 };
const char *cohort_c_name(char *text, cohort_c_source *source, int value);

#endif
