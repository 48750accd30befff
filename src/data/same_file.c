#include "data/same_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/memory.h"

enum { PIECE_BYTES = 1 << 20, PIECES_MOST = 256 };

/* What is known of a file without reading it, or by reading it. Equal bytes are equal files. */
typedef struct file_facts {
    uint64_t bytes;
    int64_t seconds, nanoseconds; /* of its last change */
    uint64_t content;             /* hash of what was read; 0 = not read */
} file_facts;

static cohort_status look(file_facts *facts, int *file, const char *path)
{
    struct stat info;
    *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    COHORT_REQUIRE(*file >= 0 && fstat(*file, &info) == 0, COHORT_DATA,
                   "%s: %s; every rank must be able to read the data: put it on a shared file "
                   "system or copy it to every node",
                   path, strerror(errno));
    COHORT_REQUIRE(S_ISREG(info.st_mode), COHORT_DATA, "%s: not a regular file; give an HDF5 file",
                   path);
    *facts = (file_facts){.bytes = (uint64_t)info.st_size,
                          .seconds = info.st_mtim.tv_sec,
                          .nanoseconds = info.st_mtim.tv_nsec};
    return COHORT_OK;
}

/* All of a small file; of a large one pieces at even distances, the last ending with it. */
static cohort_status hash_content(file_facts *facts, int file, const char *path)
{
    const uint64_t whole = (facts->bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    const uint64_t pieces = whole < PIECES_MOST ? whole : PIECES_MOST;
    char *buffer = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&buffer, PIECE_BYTES));
    cohort_status status = COHORT_OK;
    facts->content = 1;
    for (uint64_t i = 0; i < pieces && status == COHORT_OK; i++) {
        const uint64_t piece = pieces == whole ? i : whole * (i + 1) / pieces - 1;
        const ssize_t got = pread(file, buffer, PIECE_BYTES, (off_t)(piece * PIECE_BYTES));
        if (got < 0)
            status = COHORT_FAIL(COHORT_DATA, "%s: cannot read: %s", path, strerror(errno));
        else
            facts->content = cohort_hash(buffer, (size_t)got, facts->content);
    }
    cohort_free(buffer);
    return status;
}

/* *same = whether FACTS are the same on all ranks. Collective. */
static cohort_status compare(bool *same, cohort_comm *comm, const file_facts *facts)
{
    const size_t size = (size_t)cohort_comm_size(comm);
    file_facts *all = NULL;
    cohort_status status = COHORT_ALLOCATE(&all, size);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, cohort_comm_gather_all(comm, all, facts, sizeof *facts));
    *same = true;
    for (size_t r = 1; r < size; r++)
        *same = *same && memcmp(&all[r], &all[0], sizeof *all) == 0;
done:
    cohort_free(all);
    return status;
}

/* Fails, in words that differ where the files do. */
static cohort_status refuse(cohort_comm *comm, const file_facts *facts, int64_t written,
                            const char *path)
{
    char what[1024], mine[COHORT_SAME_BYTES], when[32] = "?";
    struct tm parts;
    const time_t seconds = (time_t)written;
    if (localtime_r(&seconds, &parts))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &parts);
    snprintf(what, sizeof what, "data file %.600s", path);
    snprintf(mine, sizeof mine, "%llu bytes (content %016llx) written %s",
             (unsigned long long)facts->bytes, (unsigned long long)facts->content, when);
    return cohort_comm_require_same(comm, what, mine, "copy one file to every host");
}

cohort_status cohort_data_require_same_file(cohort_comm *comm, const char *path)
{
    int file = -1;
    bool same = true;
    file_facts facts = {0};
    cohort_status status = COHORT_OK;
    if (cohort_comm_size(comm) == 1)
        return COHORT_OK;
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, look(&facts, &file, path)));
    COHORT_TRY_DONE(status, compare(&same, comm, &facts));
    if (!same) {
        const int64_t written = facts.seconds;
        COHORT_TRY_DONE(status, cohort_comm_agree(comm, hash_content(&facts, file, path)));
        facts.seconds = facts.nanoseconds = 0;
        COHORT_TRY_DONE(status, compare(&same, comm, &facts));
        if (!same)
            status = refuse(comm, &facts, written, path);
    }
done:
    if (file >= 0)
        close(file);
    return status;
}
