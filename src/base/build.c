#include "base/build.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/hash.h"

/* Whether the object's loaded segments have ADDRESS in them. */
static bool contains(const struct dl_phdr_info *object, uintptr_t address)
{
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        const uintptr_t begin = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && address >= begin && address - begin < segment->p_memsz)
            return true;
    }
    return false;
}

/* Notes are [name size][text size][type][name][text], names and texts padded to 4 bytes. */
static uint64_t hash_note(const char *at, size_t left)
{
    ElfW(Nhdr) head;
    while (left >= sizeof head) {
        memcpy(&head, at, sizeof head);
        const size_t name = ((size_t)head.n_namesz + 3) & ~(size_t)3,
                     text = ((size_t)head.n_descsz + 3) & ~(size_t)3;
        if (name > left - sizeof head || text > left - sizeof head - name)
            return 0;
        const char *words = at + sizeof head;
        if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && memcmp(words, "GNU", 4) == 0)
            return cohort_hash(words + name, head.n_descsz, 0);
        at += sizeof head + name + text;
        left -= sizeof head + name + text;
    }
    return 0;
}

static int visit(struct dl_phdr_info *object, size_t bytes, void *context)
{
    (void)bytes;
    uint64_t *number = context;
    if (!contains(object, (uintptr_t)&cohort_build_number))
        return 0;
    for (size_t i = 0; i < object->dlpi_phnum && *number == 0; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE)
            *number =
                hash_note((const char *)object->dlpi_addr + segment->p_vaddr, segment->p_memsz);
    }
    return 1;
}

uint64_t cohort_build_number(void)
{
    uint64_t number = 0;
    dl_iterate_phdr(visit, &number);
    return number;
}
