/* Memory: zeroed, 64-byte aligned allocation with overflow-checked sizes. */
#ifndef COHORT_BASE_MEMORY_H
#define COHORT_BASE_MEMORY_H

#include <stddef.h>

#include "base/status.h"

/* *out = COUNT zeroed elements of ELEMENT_BYTES, 64-byte aligned (2 MiB aligned
 * and marked for huge pages when large). The caller owns it and frees it with
 * cohort_free. *out is NULL on failure. COHORT_MEMORY says how much was asked. */
COHORT_NODISCARD cohort_status cohort_allocate(void **out, size_t count, size_t element_bytes);
void cohort_free(void *memory);

/* A growing array: makes room for NEED elements in *items (capacity in
 * *capacity), doubling. Contents keep; free with free(). */
COHORT_NODISCARD cohort_status cohort_grow(void **items, size_t *capacity, size_t need,
                                           size_t element_bytes);

/* A region that hands out small objects and frees them together. */
typedef struct cohort_arena cohort_arena;
COHORT_NODISCARD cohort_status cohort_arena_create(cohort_arena **out);
void cohort_arena_destroy(cohort_arena *arena);
/* *out = zeroed BYTES, 16-byte aligned; owned by the arena. */
COHORT_NODISCARD cohort_status cohort_arena_take(void **out, cohort_arena *arena, size_t bytes);
/* *out = a copy of TEXT owned by the arena. */
COHORT_NODISCARD cohort_status cohort_arena_copy(char **out, cohort_arena *arena, const char *text);

/* Typed shorthands. */
#define COHORT_ALLOCATE(pointer, count)                                                            \
    cohort_allocate((void **)(pointer), (count), sizeof **(pointer))
#define COHORT_TAKE(pointer, arena, count)                                                         \
    cohort_arena_take((void **)(pointer), (arena), (count) * sizeof **(pointer))

#endif
