#include "state/image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "data/hdf5.h"
#include "state/seal.h"

/* What is no tensor is small beside it. */
enum { MARGIN = 1 << 22 };

/* HDF5 must not run into a full file system. */
static bool has_room(const char *folder)
{
    struct statvfs room;
    return statvfs(folder, &room) == 0 && room.f_bavail > MARGIN / room.f_frsize;
}

/* A file of no more than the pages written to it, in memory where the system has the usual place
 * for that, and room there. HDF5 opens files by name only, and follows no link to one without. */
static int open_memory(char *name, size_t size)
{
    const char *const folders[] = {"/dev/shm", getenv("TMPDIR"), "/tmp"};
    int handle = -1;
    errno = ENOSPC;
    for (size_t i = 0; handle < 0 && i < sizeof folders / sizeof *folders; i++) {
        if (!folders[i] || !has_room(folders[i]))
            continue;
        const int length =
            snprintf(name, size, "%s/cohort-layout-%ld-XXXXXX", folders[i], (long)getpid());
        if (length > 0 && (size_t)length < size)
            handle = mkostemp(name, O_CLOEXEC);
    }
    return handle;
}

/* Superblock and headers of HDF5 1.8, which every HDF5 since 2008 reads and which carry
 * checksums of their own. Where a tensor goes is known as soon as it is made. */
static bool create_file(cohort_image *image, const char *name)
{
    hid_t access = cohort_hdf5_access();
    bool good = H5Pset_fapl_sec2(access) >= 0 &&
                H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18) >= 0 &&
                H5Pset_create_intermediate_group(image->links, 1) >= 0 &&
                H5Pset_fill_time(image->datasets, H5D_FILL_TIME_NEVER) >= 0 &&
                H5Pset_alloc_time(image->datasets, H5D_ALLOC_TIME_EARLY) >= 0 &&
                H5Pset_obj_track_times(image->datasets, false) >= 0;
    if (good)
        image->file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    H5Pclose(access);
    return image->file >= 0;
}

/* Nor into a limit on the size of files (ulimit -f). */
static bool is_within_limit(size_t bytes)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
           (limit.rlim_cur > MARGIN && limit.rlim_cur - MARGIN > bytes);
}

cohort_status cohort_image_open(cohort_image *image, size_t holes, size_t bytes, const char *path)
{
    char name[PATH_MAX];
    *image = (cohort_image){.file = H5I_INVALID_HID,
                            .links = H5Pcreate(H5P_LINK_CREATE),
                            .datasets = H5Pcreate(H5P_DATASET_CREATE),
                            .memory = -1,
                            .hole_max = holes};
    COHORT_REQUIRE(is_within_limit(bytes), COHORT_DATA,
                   "cannot write %s: %s; the previous checkpoint is kept", path, strerror(EFBIG));
    image->memory = open_memory(name, sizeof name);
    COHORT_REQUIRE(image->memory >= 0, COHORT_MEMORY,
                   "no 4 MiB for the layout of a checkpoint in /dev/shm, $TMPDIR or /tmp: %s",
                   strerror(errno));
    const bool good = create_file(image, name);
    unlink(name);
    COHORT_REQUIRE(good, COHORT_MEMORY, "no memory for a checkpoint at %s", name);
    return COHORT_ALLOCATE(&image->holes, holes);
}

void cohort_image_close(cohort_image *image)
{
    if (image->file >= 0)
        H5Fclose(image->file);
    H5Pclose(image->links);
    H5Pclose(image->datasets);
    if (image->memory >= 0)
        close(image->memory);
    cohort_free(image->holes);
}

/* Whether SET has the bytes that floats have in memory. */
static bool is_native(hid_t set)
{
    hid_t type = H5Dget_type(set);
    const bool same = H5Tequal(type, H5T_NATIVE_FLOAT) > 0;
    H5Tclose(type);
    return same;
}

cohort_status cohort_image_place(cohort_image *image, hid_t set, const float *data, size_t count)
{
    const haddr_t offset = H5Dget_offset(set);
    if (count == 0)
        return COHORT_OK;
    if (offset == HADDR_UNDEF || !is_native(set)) {
        COHORT_REQUIRE(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0,
                       COHORT_MEMORY, "no memory for a tensor of a checkpoint");
        return COHORT_OK;
    }
    COHORT_REQUIRE(image->hole_count < image->hole_max, COHORT_MEMORY,
                   "more than %zu tensors in a checkpoint", image->hole_max);
    image->holes[image->hole_count++] = (cohort_image_hole){
        .offset = (size_t)offset, .bytes = count * sizeof *data, .data = (const char *)data};
    return COHORT_OK;
}

static int compare_offsets(const void *left, const void *right)
{
    const cohort_image_hole *a = left, *b = right;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* COUNT bytes at OFFSET of what HDF5 wrote; 0 where it wrote nothing. */
static bool read_memory(char *to, int memory, size_t count, size_t offset)
{
    while (count > 0) {
        ssize_t got = pread(memory, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO;
        if (got <= 0)
            return false;
        to += got;
        offset += (size_t)got;
        count -= (size_t)got;
    }
    return true;
}

/* *block = the bytes [BEGIN, END) of the file, in SPACE where they are not a tensor's alone. *NEXT
 * is the first hole that does not end before BEGIN. */
static bool take_block(const char **block, char *space, const cohort_image *image, size_t *next,
                       size_t begin, size_t end)
{
    const cohort_image_hole *holes = image->holes;
    while (*next < image->hole_count && holes[*next].offset + holes[*next].bytes <= begin)
        ++*next;
    const cohort_image_hole *first = holes + *next, *last = holes + image->hole_count;
    if (first < last && first->offset <= begin && first->offset + first->bytes >= end) {
        *block = first->data + (begin - first->offset);
        return true;
    }
    *block = space;
    if (!read_memory(space, image->memory, end - begin, begin))
        return false;
    for (const cohort_image_hole *hole = first; hole < last && hole->offset < end; hole++) {
        const size_t hole_end = hole->offset + hole->bytes;
        const size_t from = hole->offset > begin ? hole->offset : begin;
        const size_t to = hole_end < end ? hole_end : end;
        memcpy(space + (from - begin), hole->data + (from - hole->offset), to - from);
    }
    return true;
}

static bool write_all(int handle, const void *from, size_t count)
{
    const char *bytes = from;
    while (count > 0) {
        ssize_t got = write(handle, bytes, count);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        bytes += got;
        count -= (size_t)got;
    }
    return true;
}

static bool write_blocks(cohort_image *image, int handle, size_t size, char *space)
{
    unsigned char seal[COHORT_SEAL_BYTES];
    const char *block;
    uint64_t hash = 0;
    size_t next = 0;
    qsort(image->holes, image->hole_count, sizeof *image->holes, compare_offsets);
    for (size_t begin = 0; begin < size; begin += COHORT_SEAL_BLOCK) {
        const size_t left = size - begin;
        const size_t count = left < COHORT_SEAL_BLOCK ? left : COHORT_SEAL_BLOCK;
        if (!take_block(&block, space, image, &next, begin, begin + count) ||
            !write_all(handle, block, count))
            return false;
        hash = cohort_seal_continue(hash, block, count);
    }
    cohort_seal_make(seal, hash);
    return write_all(handle, seal, sizeof seal);
}

cohort_status cohort_image_write(cohort_image *image, int handle, const char *path)
{
    struct stat info;
    char *space = NULL;
    COHORT_REQUIRE(H5Fflush(image->file, H5F_SCOPE_GLOBAL) >= 0 &&
                       fstat(image->memory, &info) == 0 && info.st_size > 0,
                   COHORT_MEMORY, "no memory for checkpoint %s", path);
    COHORT_TRY(COHORT_ALLOCATE(&space, COHORT_SEAL_BLOCK));
    const bool good = write_blocks(image, handle, (size_t)info.st_size, space);
    const int reason = errno;
    cohort_free(space);
    COHORT_REQUIRE(good, COHORT_DATA, "cannot write %s: %s; the previous checkpoint is kept", path,
                   strerror(reason));
    return COHORT_OK;
}
