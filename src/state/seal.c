#include "state/seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"

enum { MAGIC_BYTES = 8 };

static const unsigned char magic[MAGIC_BYTES] = {'C', 'O', 'H', 'O', 'R', 'T', '6', '4'};

static size_t block_at(size_t left)
{
    return left < COHORT_SEAL_BLOCK ? left : COHORT_SEAL_BLOCK;
}

void cohort_seal_make(unsigned char seal[COHORT_SEAL_BYTES], uint64_t hash)
{
    memcpy(seal, magic, MAGIC_BYTES);
    for (size_t i = 0; i < 8; i++)
        seal[MAGIC_BYTES + i] = (unsigned char)(hash >> 8 * i);
}

uint64_t cohort_seal_continue(uint64_t hash, const void *block, size_t count)
{
    return cohort_hash(block, count, hash);
}

/* COUNT bytes at OFFSET; false with errno if not all can be had. */
static bool read_at(void *bytes, int handle, size_t count, size_t offset)
{
    for (size_t done = 0; done < count;) {
        ssize_t got = pread(handle, (char *)bytes + done, count - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO; /* shorter than it just was */
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* The last bytes of an open file into SEAL, *sealed = whether they are a seal, *size = the bytes
 * before it; false with errno if they cannot be read. */
static bool read_seal(unsigned char seal[COHORT_SEAL_BYTES], bool *sealed, size_t *size, int handle)
{
    struct stat info;
    if (fstat(handle, &info) != 0)
        return false;
    if (info.st_size < COHORT_SEAL_BYTES)
        return true;
    *size = (size_t)info.st_size - COHORT_SEAL_BYTES;
    if (!read_at(seal, handle, COHORT_SEAL_BYTES, *size))
        return false;
    *sealed = memcmp(seal, magic, MAGIC_BYTES) == 0;
    return true;
}

/* *same = whether the first SIZE bytes give SEAL; false with errno if they cannot be read. */
static bool compare(bool *same, int handle, const unsigned char seal[COHORT_SEAL_BYTES],
                    size_t size, unsigned char *block)
{
    uint64_t hash = 0;
    for (size_t start = 0; start < size; start += COHORT_SEAL_BLOCK) {
        const size_t count = block_at(size - start);
        if (!read_at(block, handle, count, start))
            return false;
        hash = cohort_seal_continue(hash, block, count);
    }
    unsigned char wanted[COHORT_SEAL_BYTES];
    cohort_seal_make(wanted, hash);
    *same = memcmp(seal, wanted, COHORT_SEAL_BYTES) == 0;
    return true;
}

/* *same may be NULL: then only *sealed is found out. */
static cohort_status examine(bool *sealed, bool *same, const char *path)
{
    *sealed = false;
    unsigned char seal[COHORT_SEAL_BYTES], *block = NULL;
    size_t size = 0;
    if (same)
        COHORT_TRY(COHORT_ALLOCATE(&block, COHORT_SEAL_BLOCK));
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    bool good = handle >= 0 && read_seal(seal, sealed, &size, handle) &&
                (!same || !*sealed || compare(same, handle, seal, size, block));
    int reason = errno;
    if (handle >= 0)
        close(handle);
    cohort_free(block);
    COHORT_REQUIRE(good, COHORT_DATA, "cannot read %s: %s", path, strerror(reason));
    return COHORT_OK;
}

cohort_status cohort_seal_find(bool *found, const char *path)
{
    return examine(found, NULL, path);
}

cohort_status cohort_seal_check(const char *path)
{
    bool sealed, same = true;
    COHORT_TRY(examine(&sealed, &same, path));
    COHORT_REQUIRE(
        same, COHORT_DATA,
        "%s: damaged, or changed since it was written: its checksum differs; use another "
        "checkpoint, or accept a change made on purpose with `h5repack %s NEW.h5`",
        path, path);
    return COHORT_OK;
}
