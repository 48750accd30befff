#include "data/heaps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/hdf5.h"

enum { PIECE_BYTES = 1 << 20, MARK_BYTES = 5, OBJECTS_MOST = 1 << 16 };
static const uint64_t WHOLE_MOST = (uint64_t)256 << 20, ENDS = (uint64_t)32 << 20;
static const char mark[MARK_BYTES] = {'G', 'C', 'O', 'L', 1};

/* A file that was found good: nothing of it need be read again. Under HDF5's lock. */
typedef struct identity {
    dev_t device;
    ino_t number;
    off_t bytes;
    struct timespec changed;
} identity;
static identity known_good;

typedef struct heap_file {
    int handle;
    uint64_t bytes;
    size_t length_bytes; /* of a size in this file: 2, 4 or 8 */
} heap_file;

static uint64_t read_size(const unsigned char *bytes, size_t count)
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

/* Whether the chain of the heap at AT comes to its end, or this is no heap HDF5 would read.
 * [mark 4][version 1][0 0 0][size], then objects [index 2][references 2][0 0 0 0][size], each
 * head and body filled up to 8 bytes; index 0 is free space, whose size is that of all of it. */
static bool chain_ends(const heap_file *file, uint64_t at)
{
    const size_t head = (size_t)align(8 + file->length_bytes);
    unsigned char bytes[16];
    if (pread(file->handle, bytes, head, (off_t)at) != (ssize_t)head)
        return true;
    const uint64_t size = read_size(bytes + 8, file->length_bytes), end = at + size;
    if (size < head || size > file->bytes - at)
        return true;
    uint64_t next = at + head;
    for (size_t objects = 0; next + head <= end; objects++) {
        if (pread(file->handle, bytes, head, (off_t)next) != (ssize_t)head)
            return true;
        const uint64_t index = read_size(bytes, 2), body = read_size(bytes + 8, file->length_bytes);
        const uint64_t room = end - next;
        if (body > room || objects > OBJECTS_MOST)
            return false;
        const uint64_t need = index ? head + align(body) : body;
        if (need == 0 || need > room)
            return false;
        next += need;
    }
    return true;
}

/* Looks at the heaps that begin in [begin, end). PIECE [PIECE_BYTES]. */
static bool range_is_good(const heap_file *file, uint64_t begin, uint64_t end, unsigned char *piece)
{
    for (uint64_t at = begin; at < end; at += PIECE_BYTES - MARK_BYTES) {
        const ssize_t got = pread(file->handle, piece, PIECE_BYTES, (off_t)at);
        const unsigned char *from = piece, *found;
        if (got < MARK_BYTES)
            return true;
        while ((found = memmem(from, (size_t)(piece + got - from), mark, MARK_BYTES))) {
            if (!chain_ends(file, at + (uint64_t)(found - piece)))
                return false;
            from = found + 1;
        }
    }
    return true;
}

static bool all_is_good(const heap_file *file, unsigned char *piece)
{
    if (file->bytes <= WHOLE_MOST)
        return range_is_good(file, 0, file->bytes, piece);
    return range_is_good(file, 0, ENDS, piece) &&
           range_is_good(file, file->bytes - ENDS, file->bytes, piece);
}

static size_t length_bytes(hid_t file)
{
    size_t address = 0, length = 0;
    hid_t plist = H5Fget_create_plist(file);
    if (plist < 0 || H5Pget_sizes(plist, &address, &length) < 0)
        length = 0;
    H5Pclose(plist);
    return length;
}

cohort_status cohort_hdf5_check_heaps(hid_t file, const char *path)
{
    unsigned char *piece = NULL;
    struct stat info;
    heap_file heaps = {.length_bytes = length_bytes(file)};
    COHORT_REQUIRE(heaps.length_bytes == 2 || heaps.length_bytes == 4 || heaps.length_bytes == 8,
                   COHORT_DATA, "%s: sizes of %zu bytes are not understood; write the file again",
                   path, heaps.length_bytes);
    COHORT_TRY(COHORT_ALLOCATE(&piece, PIECE_BYTES));
    heaps.handle = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool there = heaps.handle >= 0 && fstat(heaps.handle, &info) == 0;
    const int reason = errno;
    bool good = there;
    if (there) {
        const identity now = {info.st_dev, info.st_ino, info.st_size, info.st_mtim};
        heaps.bytes = (uint64_t)info.st_size;
        good = memcmp(&now, &known_good, sizeof now) == 0 || all_is_good(&heaps, piece);
        if (good)
            known_good = now;
    }
    if (heaps.handle >= 0)
        close(heaps.handle);
    cohort_free(piece);
    COHORT_REQUIRE(there, COHORT_DATA, "cannot read %s: %s", path, strerror(reason));
    COHORT_REQUIRE(good, COHORT_DATA,
                   "%s is damaged: a list of strings in it has no end; copy or write it again",
                   path);
    return COHORT_OK;
}
