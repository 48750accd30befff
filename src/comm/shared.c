#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/shape.h"
#include "base/text.h"
#include "comm/internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

struct cohort_shared {
    cohort_comm *comm;
    MPI_Win window; /* MPI_WIN_NULL: private memory of a rank that is alone on its node */
    void *private_memory;
    int generation; /* of COMM when it was made */
};

/* Where Open MPI puts its windows: a full file system there means SIGBUS at first touch. */
static const char *backing_folder(void)
{
    const char *folder = getenv("OMPI_MCA_osc_sm_backing_directory");
    return folder && *folder ? folder : "/dev/shm";
}

/* Bytes free in the backing file system. LIMITED: tests pretend a small one by
 * $COHORT_TEST_SHM_LIMIT. */
static uint64_t room(bool limited)
{
    uint64_t available = UINT64_MAX, limit;
    struct statvfs space;
    /* f_blocks is 0 where the size is unlimited. */
    if (statvfs(backing_folder(), &space) == 0 && space.f_blocks > 0)
        available = (uint64_t)space.f_bavail * space.f_frsize;
    const char *pretended = limited ? getenv("COHORT_TEST_SHM_LIMIT") : NULL;
    if (pretended && cohort_parse_bytes(&limit, pretended) && limit < available)
        available = limit;
    return available;
}

uint64_t cohort_shared_room(void)
{
    return room(true);
}

/* Refuses BYTES that the backing file system cannot hold. */
static cohort_status check_room(const cohort_comm *comm, size_t bytes, bool limited)
{
    const char *folder = backing_folder();
    const uint64_t available = room(limited);
    char have[24], need[24];
    COHORT_REQUIRE(bytes <= available, COHORT_MEMORY,
                   "%s on %s has %s free and %s are needed: enlarge it (mount -o "
                   "remount,size=…, docker run --shm-size=…) or remove what is left there",
                   folder, comm->hosts[comm->rank], cohort_bytes_text(have, (double)available),
                   cohort_bytes_text(need, (double)bytes));
    return COHORT_OK;
}

/* Makes the pages of BYTES at BASE exist, so that no later touch can fail. Without
 * the system call for it (old kernels) a plain touch: check_room has looked already. */
static cohort_status populate(const cohort_comm *comm, char *base, size_t bytes)
{
    if (bytes == 0 || madvise(base, bytes, MADV_POPULATE_WRITE) == 0)
        return COHORT_OK;
    char size[24];
    COHORT_REQUIRE(errno == EINVAL, COHORT_MEMORY,
                   "%s on %s is full: %s of shared memory could not be had (%s); enlarge it "
                   "or remove what is left there",
                   backing_folder(), comm->hosts[comm->rank],
                   cohort_bytes_text(size, (double)bytes), strerror(errno));
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t at = 0; at < bytes; at += page)
        *(volatile char *)(base + at) = 0;
    return COHORT_OK;
}

/* Each rank touches its part, so that the pages lie near it. */
static cohort_status populate_part(const cohort_comm *comm, char *base, size_t pages, size_t page)
{
    size_t size = (size_t)comm->node_size, rank = (size_t)comm->node_rank;
    size_t begin = cohort_part_begin(pages, rank, size);
    size_t end = cohort_part_begin(pages, rank + 1, size);
    return populate(comm, base + begin * page, (end - begin) * page);
}

/* The window on all ranks of the node, its memory on the first of them. *base is
 * page-aligned: mappings begin at pages, so the offset is the same on every rank. */
static cohort_status allocate_window(cohort_shared *shared, char **base, size_t bytes, size_t page)
{
    cohort_comm *comm = shared->comm;
    MPI_Aint size = comm->node_rank == 0 ? (MPI_Aint)(bytes + page) : 0;
    char *start;
    int unit;
    const cohort_lookout_watch before = cohort_comm_enter_mpi(comm, "allocating shared memory");
    const int made =
        MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, comm->node, &start, &shared->window);
    cohort_lookout_leave(before);
    COHORT_TRY(cohort_comm_check(comm, made, "allocating shared memory"));
    MPI_Win_set_errhandler(shared->window, MPI_ERRORS_RETURN);
    COHORT_TRY(cohort_comm_check(comm,
                                 MPI_Win_shared_query(shared->window, 0, &size, &unit, &start),
                                 "finding shared memory"));
    /* The epoch in which plain loads and stores are legal. */
    COHORT_TRY(cohort_comm_check(comm, MPI_Win_lock_all(MPI_MODE_NOCHECK, shared->window),
                                 "opening shared memory"));
    *base = start + (cohort_size_align((uintptr_t)start, page) - (uintptr_t)start);
    return COHORT_OK;
}

static cohort_status take_window(cohort_shared *shared, void **base, size_t bytes, bool limited)
{
    cohort_comm *comm = shared->comm;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    cohort_status mine = COHORT_OK;
    if (bytes > (size_t)PTRDIFF_MAX - 2 * page)
        mine = COHORT_FAIL(COHORT_MEMORY, "%zu bytes of shared memory: more than can exist", bytes);
    else
        bytes = cohort_size_align(bytes, page);
    if (mine == COHORT_OK && comm->node_rank == 0)
        mine = check_room(comm, bytes + 2 * page, limited);
    COHORT_TRY(cohort_comm_node_agree(comm, mine));
    char *start = NULL;
    COHORT_TRY(allocate_window(shared, &start, bytes, page));
    COHORT_TRY(cohort_comm_node_agree(comm, populate_part(comm, start, bytes / page, page)));
    *base = start;
    return COHORT_OK;
}

cohort_status cohort_shared_take(cohort_shared **out, void **base, cohort_comm *comm, size_t bytes,
                                 bool limited)
{
    cohort_shared *shared = NULL;
    *out = NULL;
    *base = NULL;
    cohort_status status = COHORT_ALLOCATE(&shared, 1);
    status = cohort_comm_node_agree(comm, status);
    if (status != COHORT_OK) {
        cohort_free(shared);
        return status;
    }
    shared->comm = comm;
    shared->window = MPI_WIN_NULL;
    shared->generation = comm->generation;
    if (bytes == 0)
        bytes = 1;
    if (comm->node_size == 1) {
        status = cohort_allocate(&shared->private_memory, bytes, 1);
        *base = shared->private_memory;
    } else {
        status = take_window(shared, base, bytes, limited);
    }
    if (status != COHORT_OK) {
        cohort_shared_destroy(shared);
        *base = NULL;
        return status;
    }
    *out = shared;
    return COHORT_OK;
}

cohort_status cohort_shared_create(cohort_shared **out, void **base, cohort_comm *comm,
                                   size_t bytes)
{
    return cohort_shared_take(out, base, comm, bytes, true);
}

void cohort_shared_destroy(cohort_shared *shared)
{
    if (!shared)
        return;
    /* Freeing is collective and knows no deadline: first see that all have come. A window made
     * with ranks that are lost since stays. */
    if (shared->window != MPI_WIN_NULL && !shared->comm->is_broken &&
        shared->generation == shared->comm->generation &&
        cohort_comm_node_barrier(shared->comm) == COHORT_OK) {
        MPI_Win_unlock_all(shared->window);
        const cohort_lookout_watch before =
            cohort_comm_enter_mpi(shared->comm, "giving shared memory back");
        MPI_Win_free(&shared->window);
        cohort_lookout_leave(before);
    }
    cohort_free(shared->private_memory);
    cohort_free(shared);
}
