#include "data/dictionary.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"

typedef struct entry {
    size_t offset; /* in `bytes` */
    uint32_t length, hash;
} entry;

/* Open addressing with linear probing, at most half full; a slot holds id + 1, 0 = empty. */
struct cohort_dictionary {
    char *bytes;
    size_t byte_count, byte_capacity;
    entry *entries;
    size_t entry_capacity;
    uint32_t *slots;
    uint32_t entry_count, slot_mask;
};

enum { SLOTS_AT_FIRST = 64 };

cohort_status cohort_dictionary_create(cohort_dictionary **out)
{
    *out = calloc(1, sizeof **out);
    COHORT_REQUIRE(*out, COHORT_MEMORY, "out of memory");
    (*out)->slots = calloc(SLOTS_AT_FIRST, sizeof *(*out)->slots);
    (*out)->slot_mask = SLOTS_AT_FIRST - 1;
    if ((*out)->slots)
        return COHORT_OK;
    cohort_dictionary_destroy(*out);
    *out = NULL;
    return COHORT_FAIL(COHORT_MEMORY, "out of memory");
}

void cohort_dictionary_destroy(cohort_dictionary *dictionary)
{
    if (!dictionary)
        return;
    free(dictionary->bytes);
    free(dictionary->entries);
    free(dictionary->slots);
    free(dictionary);
}

/* The slot of the string, or the empty one where it belongs. */
static uint32_t *find_slot(const cohort_dictionary *dictionary, const char *text, size_t length,
                           uint32_t hash)
{
    for (uint32_t at = hash & dictionary->slot_mask;; at = (at + 1) & dictionary->slot_mask) {
        uint32_t *slot = &dictionary->slots[at];
        if (!*slot)
            return slot;
        const entry *other = &dictionary->entries[*slot - 1];
        if (other->hash == hash && other->length == length &&
            memcmp(dictionary->bytes + other->offset, text, length) == 0)
            return slot;
    }
}

static cohort_status double_slots(cohort_dictionary *dictionary)
{
    const size_t count = 2 * ((size_t)dictionary->slot_mask + 1);
    uint32_t *slots = calloc(count, sizeof *slots);
    COHORT_REQUIRE(slots, COHORT_MEMORY, "out of memory: a dictionary of %zu strings", count / 2);
    free(dictionary->slots);
    dictionary->slots = slots;
    dictionary->slot_mask = (uint32_t)(count - 1);
    for (uint32_t id = 0; id < dictionary->entry_count; id++) {
        uint32_t at = dictionary->entries[id].hash & dictionary->slot_mask;
        while (slots[at])
            at = (at + 1) & dictionary->slot_mask;
        slots[at] = id + 1;
    }
    return COHORT_OK;
}

cohort_status cohort_dictionary_add(uint32_t *id, cohort_dictionary *dictionary, const char *text,
                                    size_t length)
{
    const uint32_t hash = (uint32_t)cohort_hash(text, length, 0);
    uint32_t *slot = find_slot(dictionary, text, length, hash);
    if (*slot) {
        *id = *slot - 1;
        return COHORT_OK;
    }
    COHORT_REQUIRE(dictionary->entry_count < INT32_MAX / 2 && length < UINT32_MAX, COHORT_DATA,
                   "more than %d different strings", INT32_MAX / 2);
    COHORT_TRY(cohort_grow((void **)&dictionary->bytes, &dictionary->byte_capacity,
                           dictionary->byte_count + length + 1, 1));
    COHORT_TRY(cohort_grow((void **)&dictionary->entries, &dictionary->entry_capacity,
                           (size_t)dictionary->entry_count + 1, sizeof *dictionary->entries));
    memcpy(dictionary->bytes + dictionary->byte_count, text, length);
    dictionary->bytes[dictionary->byte_count + length] = '\0';
    *id = dictionary->entry_count++;
    dictionary->entries[*id] = (entry){dictionary->byte_count, (uint32_t)length, hash};
    dictionary->byte_count += length + 1;
    *slot = *id + 1;
    if (dictionary->entry_count > dictionary->slot_mask / 2)
        COHORT_TRY(double_slots(dictionary));
    return COHORT_OK;
}

uint32_t cohort_dictionary_find(const cohort_dictionary *dictionary, const char *text,
                                size_t length)
{
    uint32_t hash = (uint32_t)cohort_hash(text, length, 0);
    uint32_t slot = *find_slot(dictionary, text, length, hash);
    return slot ? slot - 1 : COHORT_DICTIONARY_NONE;
}

uint32_t cohort_dictionary_count(const cohort_dictionary *dictionary)
{
    return dictionary->entry_count;
}

const char *cohort_dictionary_text(const cohort_dictionary *dictionary, uint32_t id)
{
    return dictionary->bytes + dictionary->entries[id].offset;
}

size_t cohort_dictionary_length(const cohort_dictionary *dictionary, uint32_t id)
{
    return dictionary->entries[id].length;
}
