#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/shape.h"

enum { LINE = 64, PAGE = 4 << 10, HUGE_PAGE = 2 << 20, CHUNK = 16 << 10 };
enum { LARGE_BYTES = 64 << 10 }; /* pages of their own, that take no memory before they are used */

cohort_status cohort_allocate(void **out, size_t count, size_t element_bytes)
{
    *out = NULL;
    size_t bytes = 0;
    if (!cohort_size_multiply(&bytes, count, element_bytes) || bytes > SIZE_MAX / 2)
        return COHORT_FAIL(COHORT_MEMORY, "cannot allocate %zu elements of %zu bytes", count,
                           element_bytes);
    const size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : bytes >= LARGE_BYTES ? PAGE : LINE;
    const size_t whole = cohort_size_align(bytes ? bytes : 1, alignment);
    void *memory = aligned_alloc(alignment, whole);
    if (!memory)
        return COHORT_FAIL(COHORT_MEMORY, "out of memory: %zu bytes asked", bytes);
    /* A huge page is taken whole: the last one only where half of it is used. */
    if (bytes >= HUGE_PAGE)
        madvise(memory, (bytes + HUGE_PAGE / 2) / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    /* Pages the kernel is asked for anew are zero, and cost nothing before they are used. */
    if (bytes < LARGE_BYTES || madvise(memory, whole, MADV_DONTNEED) != 0)
        memset(memory, 0, bytes);
    *out = memory;
    return COHORT_OK;
}

void cohort_free(void *memory)
{
    free(memory);
}

cohort_status cohort_grow(void **items, size_t *capacity, size_t need, size_t element_bytes)
{
    if (need <= *capacity)
        return COHORT_OK;
    size_t wanted = *capacity ? *capacity : 8, bytes = 0;
    while (wanted < need)
        wanted = wanted > SIZE_MAX / 2 ? need : wanted * 2;
    void *grown = NULL;
    if (cohort_size_multiply(&bytes, wanted, element_bytes))
        grown = realloc(*items, bytes);
    COHORT_REQUIRE(grown, COHORT_MEMORY, "out of memory: %zu elements of %zu bytes asked", wanted,
                   element_bytes);
    *items = grown;
    *capacity = wanted;
    return COHORT_OK;
}

typedef struct arena_chunk {
    struct arena_chunk *next;
    size_t used, bytes;
    _Alignas(16) unsigned char memory[];
} arena_chunk;

struct cohort_arena {
    arena_chunk *chunks;
};

cohort_status cohort_arena_create(cohort_arena **out)
{
    *out = calloc(1, sizeof **out);
    COHORT_REQUIRE(*out, COHORT_MEMORY, "out of memory");
    return COHORT_OK;
}

void cohort_arena_destroy(cohort_arena *arena)
{
    if (!arena)
        return;
    while (arena->chunks) {
        arena_chunk *next = arena->chunks->next;
        free(arena->chunks);
        arena->chunks = next;
    }
    free(arena);
}

cohort_status cohort_arena_take(void **out, cohort_arena *arena, size_t bytes)
{
    *out = NULL;
    COHORT_REQUIRE(bytes < SIZE_MAX / 4, COHORT_MEMORY, "cannot allocate %zu bytes", bytes);
    bytes = cohort_size_align(bytes, 16);
    arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->bytes - chunk->used < bytes) {
        size_t room = bytes > CHUNK ? bytes : CHUNK;
        chunk = calloc(1, sizeof *chunk + room);
        COHORT_REQUIRE(chunk, COHORT_MEMORY, "out of memory: %zu bytes asked", room);
        chunk->bytes = room;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    *out = chunk->memory + chunk->used;
    chunk->used += bytes;
    return COHORT_OK;
}

cohort_status cohort_arena_copy(char **out, cohort_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    COHORT_TRY(cohort_arena_take((void **)out, arena, bytes));
    memcpy(*out, text, bytes);
    return COHORT_OK;
}
