#include "data/heaps.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/chunks.h"
#include "data/hdf5.h"

enum { HEAD_MOST = 16, OBJECTS_MOST = 1 << 16 };
static const char raw_tag[] = "cohort: references of strings as stored";

/* A string as its reference describes it: OBJECT of the heap at ADDRESS (0: none). */
typedef struct reference {
    uint64_t address;
    uint32_t object, length;
    uint32_t string; /* which one it is */
} reference;

/* An object of the heap in memory. */
typedef struct object {
    uint32_t at, bytes;
    uint32_t heap; /* in which it was found last: the table need not be cleared */
} object;

typedef struct heap_file {
    int handle;
    uint64_t base, bytes;               /* where its addresses count from; its size */
    size_t address_bytes, length_bytes; /* of an address and of a size in it */
    uint64_t left;                      /* bytes that heaps not yet seen can have */
    const char *path, *name;
} heap_file;

static uint64_t read_number(const unsigned char *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static uint64_t align(uint64_t value)
{
    return (value + 7) & ~(uint64_t)7;
}

static cohort_status fail_damaged(const heap_file *file, const char *how)
{
    return COHORT_FAIL(COHORT_DATA, "%s is damaged: the strings of %s %s; copy or write it again",
                       file->path, file->name, how);
}

/* ---- References ---- */

/* A conversion that keeps the bytes as they are in the file, to TO with our tag only. */
static herr_t keep_raw(hid_t from, hid_t to, H5T_cdata_t *what, size_t count, size_t buf_stride,
                       size_t background_stride, void *bytes, void *background, hid_t transfer)
{
    (void)count, (void)buf_stride, (void)background_stride;
    (void)bytes, (void)background, (void)transfer;
    if (what->command != H5T_CONV_INIT)
        return 0;
    char *tag = H5Tget_tag(to);
    const bool ours = tag && strcmp(tag, raw_tag) == 0 && H5Tget_size(from) == H5Tget_size(to);
    if (tag)
        H5free_memory(tag);
    what->need_bkg = H5T_BKG_NO;
    return ours ? 0 : -1;
}

/* RAW: the references of SOURCE, each of BYTES bytes, as they are in the file. */
static bool read_raw(unsigned char *raw, hid_t source, size_t bytes)
{
    const bool is_attribute = H5Iget_type(source) == H5I_ATTR;
    if (!is_attribute && !cohort_hdf5_is_whole(source))
        return false;
    hid_t type = is_attribute ? H5Aget_type(source) : H5Dget_type(source);
    hid_t opaque = H5Tcreate(H5T_OPAQUE, bytes);
    bool good = type >= 0 && opaque >= 0 && H5Tset_tag(opaque, raw_tag) >= 0 &&
                H5Tregister(H5T_PERS_SOFT, "cohort raw", type, opaque, keep_raw) >= 0;
    if (good) {
        good = is_attribute ? H5Aread(source, opaque, raw) >= 0
                            : H5Dread(source, opaque, H5S_ALL, H5S_ALL, H5P_DEFAULT, raw) >= 0;
        H5Tunregister(H5T_PERS_SOFT, "cohort raw", type, opaque, keep_raw);
    }
    if (opaque >= 0)
        H5Tclose(opaque);
    if (type >= 0)
        H5Tclose(type);
    return good;
}

static cohort_status read_references(reference *references, const heap_file *file, hid_t source,
                                     size_t count)
{
    const size_t bytes = 4 + file->address_bytes + 4;
    unsigned char *raw = NULL;
    char reason[COHORT_HDF5_REASON];
    COHORT_TRY(cohort_allocate((void **)&raw, count, bytes));
    const bool good = read_raw(raw, source, bytes);
    if (!good)
        cohort_hdf5_reason(reason);
    for (size_t i = 0; good && i < count; i++) {
        const unsigned char *at = raw + i * bytes;
        references[i] =
            (reference){.length = (uint32_t)read_number(at, 4),
                        .address = read_number(at + 4, file->address_bytes),
                        .object = (uint32_t)read_number(at + 4 + file->address_bytes, 4),
                        .string = (uint32_t)i};
        if (!references[i].address)
            references[i].length = 0;
    }
    cohort_free(raw);
    COHORT_REQUIRE(good, COHORT_DATA, "%s: the strings of %s cannot be read (%s); write it again",
                   file->path, file->name, reason);
    return COHORT_OK;
}

/* ---- Heaps ---- */

/* *BYTES = the heap at ADDRESS, *size long; free it with cohort_free. No two heaps share bytes,
 * so that all of them together are no larger than the file: else it would take for ever. */
static cohort_status read_heap(unsigned char **bytes, size_t *size, heap_file *file,
                               uint64_t address)
{
    unsigned char head[HEAD_MOST];
    const size_t head_bytes = (size_t)align(8 + file->length_bytes);
    if (address > file->bytes - file->base ||
        pread(file->handle, head, head_bytes, (off_t)(file->base + address)) !=
            (ssize_t)head_bytes ||
        memcmp(head, "GCOL\1", 5) != 0)
        return fail_damaged(file, "are not where it says");
    const uint64_t told = read_number(head + 8, file->length_bytes);
    if (told < head_bytes || told > file->bytes - file->base - address || told > file->left ||
        told >= UINT32_MAX)
        return fail_damaged(file, "lie in heaps of impossible size");
    file->left -= told;
    *size = (size_t)told;
    COHORT_TRY(cohort_allocate((void **)bytes, *size, 1));
    if (pread(file->handle, *bytes, *size, (off_t)(file->base + address)) == (ssize_t)*size)
        return COHORT_OK;
    cohort_free(*bytes);
    *bytes = NULL;
    return fail_damaged(file, "cannot be read");
}

/* Notes where the objects of the heap BYTES [size] are, by their numbers, as those of HEAP.
 * [mark 4][version 1][0 0 0][size], then objects [number 2][references 2][0 0 0 0][size], each
 * head and body filled up to 8 bytes; number 0 is free space, whose size is that of all of it. */
static cohort_status list_objects(object *objects, const heap_file *file,
                                  const unsigned char *bytes, size_t size, uint32_t heap)
{
    const size_t head = (size_t)align(8 + file->length_bytes);
    for (size_t at = head; at + head <= size;) {
        const size_t number = (size_t)read_number(bytes + at, 2), room = size - at;
        const uint64_t body = read_number(bytes + at + 8, file->length_bytes);
        const uint64_t need = body > room ? UINT64_MAX : number ? head + align(body) : body;
        if (need == 0 || need > room)
            return fail_damaged(file, "lie in a heap without end");
        if (number)
            objects[number] = (object){(uint32_t)(at + head), (uint32_t)body, heap};
        at += (size_t)need;
    }
    return COHORT_OK;
}

/* The strings of REFERENCES [count], all into one heap, into ITEMS. HEAP is its number. */
static cohort_status take_heap(char **items, object *objects, heap_file *file,
                               const reference *references, size_t count, uint32_t heap)
{
    unsigned char *bytes = NULL;
    size_t size = 0;
    COHORT_TRY(read_heap(&bytes, &size, file, references->address));
    cohort_status status = list_objects(objects, file, bytes, size, heap);
    for (size_t i = 0; i < count && status == COHORT_OK; i++) {
        const reference *one = &references[i];
        const object *found = one->object < OBJECTS_MOST ? &objects[one->object] : NULL;
        if (!found || found->heap != heap || found->bytes < one->length)
            status = fail_damaged(file, "are not all there");
        else
            memcpy(items[one->string], bytes + found->at, one->length);
    }
    cohort_free(bytes);
    return status;
}

static int compare(const void *a, const void *b)
{
    const reference *left = a, *right = b;
    return left->address < right->address ? -1 : left->address > right->address;
}

/* Heap by heap, so that each is read once. */
static cohort_status take_all(char **items, heap_file *file, reference *references, size_t count)
{
    object *objects = NULL;
    uint32_t heap = 0;
    cohort_status status = COHORT_ALLOCATE(&objects, OBJECTS_MOST);
    qsort(references, count, sizeof *references, compare);
    for (size_t i = 0, end; i < count && status == COHORT_OK; i = end) {
        for (end = i + 1; end < count && references[end].address == references[i].address;)
            end++;
        if (references[i].address)
            status = take_heap(items, objects, file, references + i, end - i, ++heap);
    }
    cohort_free(objects);
    return status;
}

/* ---- All of it ---- */

/* *items = a block with room for every string, zeroed. */
static cohort_status make_room(char ***items, const heap_file *file, const reference *references,
                               size_t count, size_t bytes_most)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += (size_t)references[i].length + 1;
        COHORT_REQUIRE(bytes <= bytes_most, COHORT_DATA,
                       "%s: %s holds more than %zu bytes of strings; shorten it", file->path,
                       file->name, bytes_most);
    }
    *items = calloc(1, count * sizeof **items + bytes);
    COHORT_REQUIRE(*items, COHORT_MEMORY, "out of memory: the strings of %s of %s", file->name,
                   file->path);
    char *text = (char *)(*items + count);
    for (size_t i = 0; i < count; i++) {
        (*items)[i] = text;
        text += (size_t)references[i].length + 1;
    }
    return COHORT_OK;
}

/* What SOURCE's file is on disk: its descriptor is HDF5's. */
static cohort_status look_at_file(heap_file *heaps, hid_t source)
{
    hid_t file = H5Iget_file_id(source), made = H5Fget_create_plist(file),
          access = H5Fget_access_plist(file);
    hsize_t base = 0;
    int *handle = NULL;
    struct stat info;
    const bool good = H5Pget_sizes(made, &heaps->address_bytes, &heaps->length_bytes) >= 0 &&
                      H5Pget_userblock(made, &base) >= 0 && H5Pget_driver(access) == H5FD_SEC2 &&
                      H5Fget_vfd_handle(file, H5P_DEFAULT, (void **)&handle) >= 0 && handle &&
                      fstat(*handle, &info) == 0 && (uint64_t)info.st_size >= base;
    if (good) {
        heaps->handle = *handle;
        heaps->base = base;
        heaps->bytes = heaps->left = (uint64_t)info.st_size;
    }
    H5Pclose(access);
    H5Pclose(made);
    H5Fclose(file);
    const bool sized = good && heaps->address_bytes >= 2 && heaps->address_bytes <= 8 &&
                       heaps->length_bytes >= 2 && heaps->length_bytes <= 8;
    return sized ? COHORT_OK : fail_damaged(heaps, "cannot be found by its header");
}

cohort_status cohort_hdf5_variable_strings(char ***items, hid_t source, size_t count,
                                           size_t bytes_most, const char *path, const char *name)
{
    heap_file file = {.path = path, .name = name};
    reference *references = NULL;
    cohort_status status = COHORT_OK;
    *items = NULL;
    COHORT_REQUIRE(count <= UINT32_MAX, COHORT_DATA, "%s: %s holds too many strings", path, name);
    COHORT_TRY(look_at_file(&file, source));
    COHORT_TRY(COHORT_ALLOCATE(&references, count));
    COHORT_TRY_DONE(status, read_references(references, &file, source, count));
    COHORT_TRY_DONE(status, make_room(items, &file, references, count, bytes_most));
    status = take_all(*items, &file, references, count);
done:
    cohort_free(references);
    if (status != COHORT_OK) {
        free(*items);
        *items = NULL;
    }
    return status;
}
