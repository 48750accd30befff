/* The arrays of a foreign file. Nothing in a file is believed before it is checked: sizes are
 * compared with the file's own and with a limit before memory is taken. */
#ifndef COHORT_STATE_FOREIGN_SOURCE_H
#define COHORT_STATE_FOREIGN_SOURCE_H

#include "base/memory.h"
#include "base/shape.h"
#include "base/text.h"
#include "data/dictionary.h"

typedef enum cohort_source_type {
    COHORT_SOURCE_F16,
    COHORT_SOURCE_BF16,
    COHORT_SOURCE_F32,
    COHORT_SOURCE_F64,
    COHORT_SOURCE_I8,
    COHORT_SOURCE_U8,
    COHORT_SOURCE_I16,
    COHORT_SOURCE_U16,
    COHORT_SOURCE_I32,
    COHORT_SOURCE_U32,
    COHORT_SOURCE_I64,
    COHORT_SOURCE_U64,
    COHORT_SOURCE_BOOL
} cohort_source_type;

typedef struct cohort_source_array {
    const char *name; /* owned by the source */
    cohort_source_type type;
    cohort_shape shape;
    const unsigned char *bytes; /* of the whole array */
    bool big_endian;
    bool column_major; /* the first index runs fastest */
} cohort_source_array;

/* Start from {0}; clear in any case. */
typedef struct cohort_source {
    const char *path; /* for messages; borrowed */
    cohort_arena *arena;
    cohort_dictionary *names; /* an array's number */
    cohort_source_array *items;
    size_t count, capacity;
    unsigned char **inflated; /* what was compressed in the file */
    size_t inflated_count, inflated_capacity;
} cohort_source;

/* Lists what BYTES [COUNT], the content of SOURCE->path, hold; BYTES must outlive the source.
 * COHORT_DATA: damaged, not such a file, compressed arrays of more than LIMIT bytes in all. */
COHORT_NODISCARD cohort_status cohort_source_safetensors(cohort_source *source,
                                                         const unsigned char *bytes, size_t count);
COHORT_NODISCARD cohort_status cohort_source_npz(cohort_source *source, const unsigned char *bytes,
                                                 size_t count, size_t limit);
/* One array in NumPy's npy format; its name is NAME. */
COHORT_NODISCARD cohort_status cohort_source_npy(cohort_source *source, const char *name,
                                                 const unsigned char *bytes, size_t count);
void cohort_source_clear(cohort_source *source);

/* Appends an array after checking that its elements are BYTE_COUNT bytes; NAME [LENGTH] is
 * copied. COHORT_DATA also for a name that is there already. */
COHORT_NODISCARD cohort_status cohort_source_add(cohort_source *source, const char *name,
                                                 size_t length, const cohort_source_array *array,
                                                 size_t byte_count);
/* The array NAME, or NULL. */
const cohort_source_array *cohort_source_find(const cohort_source *source, const char *name);
/* COHORT_DATA if NAME [LENGTH] is longer than 1,023 bytes or holds control characters, which would
 * spoil the messages it appears in. */
COHORT_NODISCARD cohort_status cohort_source_check_name(const cohort_source *source,
                                                        const char *name, size_t length);
size_t cohort_source_type_bytes(cohort_source_type type);
bool cohort_source_is_float(cohort_source_type type);

/* OUT [count] = elements [BEGIN, BEGIN + count) of ARRAY in row-major order. */
void cohort_source_read(double *out, const cohort_source_array *array, size_t begin, size_t count);
/* OUT = all elements as float; floats of 32 bits bit by bit. */
void cohort_source_read_floats(float *out, const cohort_source_array *array);

/* *bytes, *count = the content of PATH (free with cohort_free), if it is at most LIMIT bytes. */
COHORT_NODISCARD cohort_status cohort_source_load(unsigned char **bytes, size_t *count,
                                                  const char *path, size_t limit);

#endif
