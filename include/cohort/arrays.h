/* Samples in a program's own memory, as the library takes them. */
#ifndef COHORT_ARRAYS_H
#define COHORT_ARRAYS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cohort_type {
    COHORT_TYPE_FLOAT32, /* float */
    COHORT_TYPE_INT32,   /* int32_t */
    COHORT_TYPE_UINT8,   /* uint8_t */
    COHORT_TYPE_FLOAT64  /* double; kept as float */
} cohort_type;

enum { COHORT_ARRAY_DIMS_MAX = 7 };

/* A row-major array; dims[0] counts the samples. */
typedef struct cohort_array {
    const void *values; /* [dims[0]][dims[1]]…; NULL: there is no such array */
    cohort_type type;
    size_t dim_count;
    size_t dims[COHORT_ARRAY_DIMS_MAX];
} cohort_array;

/* Whose rows they are, and how long they must stay. */
typedef enum cohort_rows {
    /* Every rank passes the same rows. They are read where they are: the caller leaves them as
     * they are until the network is destroyed or they are replaced. What must be converted
     * (float64; uint8 or several integers a sample as y) is copied all the same. */
    COHORT_ROWS_BORROWED,
    /* Every rank passes the same rows; copied during the call, once on each host. */
    COHORT_ROWS_COPIED,
    /* Each rank passes rows of its own (also none: dims[0] == 0). The samples are those of rank
     * 0, then those of rank 1, and so on; copied during the call, once on each host. */
    COHORT_ROWS_GATHERED
} cohort_rows;

/* Samples and what is wanted of them, as in a data file (see `cohort help recipe`):
 *
 * x [n][…]  inputs: reals or uint8 of any shape a network takes (images
 *           [n][height][width][channels]), or integers [n][time] for tokens.
 * y         class numbers from 0: integers [n] or [n][1], or [n][time] beside such x; or values:
 *           floats [n] or [n][k]. values NULL where none are needed. */
typedef struct cohort_arrays {
    cohort_array x, y;
    cohort_rows rows;
    const char *const *classes; /* names of the classes, copied; NULL: none */
    size_t class_count;
} cohort_arrays;

#ifdef __cplusplus
}
#endif

#endif
