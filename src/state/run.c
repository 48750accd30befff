#include "state/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "state/lock.h"

enum { HOLDER_BYTES = 128 };

struct cohort_run {
    cohort_text folder, checkpoints;
    int lock; /* file handle; -1 = none */
};

/* ---- Lock ---- */

/* Who wrote the lock file last, into HOLDER [HOLDER_BYTES]; "" if nobody. */
static void read_holder(char *holder, int handle)
{
    ssize_t got = pread(handle, holder, HOLDER_BYTES - 1, 0);
    holder[got > 0 ? got : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
}

static void write_holder(int handle)
{
    char host[HOLDER_BYTES / 2] = "";
    gethostname(host, sizeof host - 1);
    if (ftruncate(handle, 0) == 0)
        dprintf(handle, "%ld@%s\n", (long)getpid(), host);
}

static cohort_status take_lock(int *lock, const char *folder)
{
    cohort_text path = {0};
    char holder[HOLDER_BYTES];
    cohort_status status;
    COHORT_TRY_DONE(status, cohort_path_join(&path, folder, ".lock"));
    *lock = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    COHORT_REQUIRE_DONE(status, *lock >= 0, COHORT_DATA, "cannot write in run folder %s: %s",
                        folder, strerror(errno));
    const int reason = cohort_lock_file(*lock);
    const bool locked = reason == 0;
    if (!locked)
        read_holder(holder, *lock);
    COHORT_REQUIRE_DONE(status, locked || (reason != EAGAIN && reason != EACCES), COHORT_USAGE,
                        "run folder %s is in use by process %s: wait for it to end, or give "
                        "another folder with --run",
                        folder, holder);
    if (!locked)
        cohort_log(COHORT_LOG_WARNING,
                   "cannot lock run folder %s (%s): see to it that no other job uses it%s%s",
                   folder, strerror(reason), *holder ? "; last used by process " : "", holder);
    write_holder(*lock);
done:
    if (status != COHORT_OK && *lock >= 0) {
        close(*lock);
        *lock = -1;
    }
    cohort_text_clear(&path);
    return status;
}

/* The file stays: removing it would race with the next job's lock. */
static void release_lock(int *lock)
{
    if (*lock < 0)
        return;
    if (ftruncate(*lock, 0) != 0)
        cohort_log(COHORT_LOG_DEBUG, "cannot empty the lock file: %s", strerror(errno));
    close(*lock);
    *lock = -1;
}

/* ---- Folders ---- */

/* What a look at a folder's names finds. */
typedef struct folder_look {
    bool any;    /* something but the lock */
    bool is_run; /* a name that only runs have */
} folder_look;

static cohort_status look_into(folder_look *look, const char *folder)
{
    *look = (folder_look){false, false};
    DIR *open_folder = opendir(folder);
    COHORT_REQUIRE(open_folder, COHORT_DATA, "cannot read folder %s: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(open_folder));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, ".lock") == 0)
            continue;
        look->any = true;
        if (strcmp(name, "recipe.yaml") == 0 || strcmp(name, "metrics.jsonl") == 0 ||
            strcmp(name, "checkpoints") == 0)
            look->is_run = true;
    }
    closedir(open_folder);
    return COHORT_OK;
}

/* Temporary files are named by cohort_file_write and cohort_checkpoint_save. */
static cohort_status remove_temporaries(const char *folder)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    DIR *open_folder = opendir(folder);
    COHORT_REQUIRE(open_folder, COHORT_DATA, "cannot read folder %s: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(open_folder));) {
        size_t length = strlen(entry->d_name);
        if (length < 4 || strcmp(entry->d_name + length - 4, ".tmp") != 0)
            continue;
        COHORT_TRY_DONE(status, cohort_path_join(&path, folder, entry->d_name));
        unlink(path.data);
    }
done:
    closedir(open_folder);
    cohort_text_clear(&path);
    return status;
}

/* FOLDER becomes FOLDER.N; rename keeps what is there, so N must be free. */
static cohort_status move_aside(const char *folder)
{
    cohort_text aside = {0};
    struct stat info;
    cohort_status status;
    size_t number = 1;
    do {
        aside.length = 0;
        cohort_text_append(&aside, "%s.%zu", folder, number++);
        COHORT_TRY_DONE(status, cohort_text_status(&aside));
    } while (lstat(aside.data, &info) == 0);
    COHORT_REQUIRE_DONE(status, rename(folder, aside.data) == 0, COHORT_DATA,
                        "cannot move %s aside to %s: %s", folder, aside.data, strerror(errno));
    cohort_log(COHORT_LOG_INFO, "moved the old run to %s", aside.data);
done:
    cohort_text_clear(&aside);
    return status;
}

/* Under the lock, so that a running job keeps its folder. */
static cohort_status start_fresh(cohort_run *run)
{
    const char *folder = run->folder.data;
    folder_look look;
    COHORT_TRY(look_into(&look, folder));
    if (!look.any)
        return COHORT_OK;
    COHORT_REQUIRE(look.is_run, COHORT_USAGE,
                   "%s is not the folder of a run, so it is not moved aside: give another folder "
                   "with --run",
                   folder);
    COHORT_TRY(move_aside(folder));
    release_lock(&run->lock);
    COHORT_TRY(cohort_folder_make(folder));
    return take_lock(&run->lock, folder);
}

cohort_status cohort_run_open(cohort_run **out, const char *folder, bool fresh)
{
    *out = NULL;
    cohort_run *run;
    COHORT_TRY(COHORT_ALLOCATE(&run, 1));
    run->lock = -1;
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    cohort_text_append_bytes(&run->folder, folder, length);
    cohort_status status;
    COHORT_TRY_DONE(status, cohort_text_status(&run->folder));
    COHORT_TRY_DONE(status, cohort_path_join(&run->checkpoints, run->folder.data, "checkpoints"));
    COHORT_TRY_DONE(status, cohort_folder_make(run->folder.data));
    COHORT_TRY_DONE(status, take_lock(&run->lock, run->folder.data));
    if (fresh)
        COHORT_TRY_DONE(status, start_fresh(run));
    COHORT_TRY_DONE(status, cohort_folder_make(run->checkpoints.data));
    COHORT_TRY_DONE(status, remove_temporaries(run->folder.data));
    COHORT_TRY_DONE(status, remove_temporaries(run->checkpoints.data));
    *out = run;
    return COHORT_OK;
done:
    cohort_run_close(run);
    return status;
}

void cohort_run_close(cohort_run *run)
{
    if (!run)
        return;
    release_lock(&run->lock);
    cohort_text_clear(&run->folder);
    cohort_text_clear(&run->checkpoints);
    cohort_free(run);
}

const char *cohort_run_folder(const cohort_run *run)
{
    return run->folder.data;
}

cohort_status cohort_run_path(cohort_text *path, const cohort_run *run, const char *name)
{
    return cohort_path_join(path, run->folder.data, name);
}

cohort_status cohort_run_write_recipe(const cohort_run *run, const char *text)
{
    cohort_text path = {0};
    cohort_status status = cohort_run_path(&path, run, "recipe.yaml");
    if (status == COHORT_OK)
        status = cohort_file_write(path.data, text, strlen(text));
    cohort_text_clear(&path);
    return status;
}

/* ---- Looking without touching ---- */

/* FOLDER's nearest folder upwards that exists, into PLACE. */
static cohort_status find_place(cohort_text *place, const char *folder)
{
    cohort_text up = {0};
    struct stat info;
    cohort_status status;
    cohort_text_append(place, "%s", folder);
    COHORT_TRY_DONE(status, cohort_text_status(place));
    while (stat(place->data, &info) != 0 && (errno == ENOENT || errno == ENOTDIR) &&
           strcmp(place->data, "/") != 0 && strcmp(place->data, ".") != 0) {
        COHORT_TRY_DONE(status, cohort_path_folder(&up, place->data));
        place->length = 0;
        cohort_text_append(place, "%s", up.data);
        COHORT_TRY_DONE(status, cohort_text_status(place));
    }
    COHORT_REQUIRE_DONE(status, stat(place->data, &info) == 0, COHORT_DATA,
                        "cannot make run folder %s: %s: %s", folder, place->data, strerror(errno));
    COHORT_REQUIRE_DONE(status, S_ISDIR(info.st_mode), COHORT_DATA,
                        "cannot make run folder %s: %s is not a folder", folder, place->data);
done:
    cohort_text_clear(&up);
    return status;
}

/* Writes and locks a file in PLACE that has no name for long. */
static cohort_status try_place(bool *has_locks, const char *place)
{
    cohort_text path = {0};
    cohort_text_append(&path, "%s/.check-XXXXXX", place);
    COHORT_TRY(cohort_text_status(&path));
    int handle = mkostemp(path.data, O_CLOEXEC);
    int reason = errno;
    if (handle >= 0)
        unlink(path.data);
    cohort_text_clear(&path);
    COHORT_REQUIRE(handle >= 0, COHORT_DATA, "cannot write in %s: %s", place, strerror(reason));
    *has_locks = cohort_lock_file(handle) == 0;
    close(handle);
    return COHORT_OK;
}

/* Whether another job holds FOLDER. */
static cohort_status check_free(const char *folder)
{
    cohort_text path = {0};
    char holder[HOLDER_BYTES];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    COHORT_TRY(cohort_path_join(&path, folder, ".lock"));
    int handle = open(path.data, O_RDWR | O_CLOEXEC);
    cohort_text_clear(&path);
    if (handle < 0)
        return COHORT_OK;
    read_holder(holder, handle);
    const bool held = fcntl(handle, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    close(handle);
    COHORT_REQUIRE(!held, COHORT_USAGE,
                   "run folder %s is in use by process %s: wait for it to end, or give another "
                   "folder with --run",
                   folder, holder);
    return COHORT_OK;
}

cohort_status cohort_run_look(cohort_run_place *place, const char *folder)
{
    cohort_text found = {0};
    struct statvfs space;
    cohort_run run = {.lock = -1};
    *place = (cohort_run_place){.free = UINT64_MAX};
    cohort_status status;
    COHORT_TRY_DONE(status, find_place(&found, folder));
    place->exists = strcmp(found.data, folder) == 0;
    COHORT_TRY_DONE(status, try_place(&place->has_locks, found.data));
    if (statvfs(found.data, &space) == 0)
        place->free = (uint64_t)space.f_bavail * space.f_frsize;
    if (!place->exists)
        goto done;
    COHORT_TRY_DONE(status, check_free(folder));
    COHORT_TRY_DONE(status, cohort_path_join(&run.folder, folder, ""));
    COHORT_TRY_DONE(status, cohort_path_join(&run.checkpoints, folder, "checkpoints"));
    if (cohort_file_exists(run.checkpoints.data))
        status = cohort_run_latest(&place->last, &run);
done:
    cohort_text_clear(&found);
    cohort_text_clear(&run.folder);
    cohort_text_clear(&run.checkpoints);
    return status;
}

/* ---- Epoch files ---- */

/* Epoch numbers, descending. */
typedef struct epoch_list {
    size_t *epochs;
    size_t count, capacity;
} epoch_list;

static bool parse_epoch(size_t *epoch, const char *name)
{
    if (strncmp(name, "epoch-", 6) != 0 || name[6] < '0' || name[6] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(name + 6, &end, 10);
    *epoch = (size_t)value;
    return errno == 0 && value <= SIZE_MAX && strcmp(end, ".h5") == 0;
}

static int compare_descending(const void *a, const void *b)
{
    size_t left = *(const size_t *)a, right = *(const size_t *)b;
    return left > right ? -1 : left < right;
}

/* *list must be {0}; free list->epochs. */
static cohort_status list_epochs(epoch_list *list, const cohort_run *run)
{
    DIR *folder = opendir(run->checkpoints.data);
    COHORT_REQUIRE(folder, COHORT_DATA, "cannot read folder %s: %s", run->checkpoints.data,
                   strerror(errno));
    cohort_status status = COHORT_OK;
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t epoch;
        if (!parse_epoch(&epoch, entry->d_name))
            continue;
        COHORT_TRY_DONE(status, cohort_grow((void **)&list->epochs, &list->capacity,
                                            list->count + 1, sizeof *list->epochs));
        list->epochs[list->count++] = epoch;
    }
    if (list->count > 0)
        qsort(list->epochs, list->count, sizeof *list->epochs, compare_descending);
done:
    closedir(folder);
    return status;
}

static cohort_status epoch_path(cohort_text *path, const cohort_run *run, size_t epoch)
{
    char name[48];
    snprintf(name, sizeof name, "epoch-%04zu.h5", epoch);
    return cohort_path_join(path, run->checkpoints.data, name);
}

/* Epochs after EPOCH belong to a run that was continued from earlier; they are replaced as
 * training comes to them. */
static cohort_status prune(const cohort_run *run, size_t epoch, size_t keep)
{
    epoch_list list = {0};
    cohort_text path = {0};
    size_t seen = 0;
    cohort_status status;
    COHORT_TRY_DONE(status, list_epochs(&list, run));
    for (size_t i = 0; i < list.count; i++) {
        if (list.epochs[i] > epoch || ++seen <= keep)
            continue;
        COHORT_TRY_DONE(status, epoch_path(&path, run, list.epochs[i]));
        if (unlink(path.data) != 0)
            cohort_log(COHORT_LOG_WARNING, "cannot remove the old checkpoint %s: %s", path.data,
                       strerror(errno));
    }
done:
    free(list.epochs);
    cohort_text_clear(&path);
    return status;
}

/* ---- Saving ---- */

static bool copy_by_hand(int to, int from)
{
    char buffer[65536];
    for (;;) {
        ssize_t got = read(from, buffer, sizeof buffer);
        if (got <= 0)
            return got == 0;
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(to, buffer + done, (size_t)(got - done));
            if (put <= 0)
                return false;
            done += put;
        }
    }
}

/* In the kernel where it can (file systems with reflinks then share the blocks). */
static bool copy_bytes(int to, int from)
{
    const size_t most = (size_t)1 << 30;
    ssize_t got;
    bool begun = false;
    while ((got = copy_file_range(from, NULL, to, NULL, most, 0)) > 0)
        begun = true;
    if (got == 0)
        return begun || copy_by_hand(to, from);
    bool unsupported = errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL;
    return !begun && unsupported && copy_by_hand(to, from);
}

/* Leaves nothing when it fails. */
static cohort_status copy_to_temporary(const char *temporary, const char *path, const char *source)
{
    int from = open(source, O_RDONLY | O_CLOEXEC);
    COHORT_REQUIRE(from >= 0, COHORT_DATA, "cannot read %s: %s", source, strerror(errno));
    int to = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = to >= 0 && copy_bytes(to, from);
    int reason = errno;
    if (to >= 0 && close(to) != 0 && good) {
        good = false;
        reason = errno;
    }
    close(from);
    if (!good)
        unlink(temporary);
    COHORT_REQUIRE(good, COHORT_DATA, "cannot write %s: %s; %s holds this state", path,
                   strerror(reason), source);
    return COHORT_OK;
}

/* Replaces PATH by a copy of SOURCE, atomically. A copy and not a link: damage to last.h5 must
 * not reach the file that stands in for it. */
static cohort_status copy_checkpoint(const char *path, const char *source)
{
    cohort_text temporary = {0};
    cohort_text_append(&temporary, "%s.%ld.tmp", path, (long)getpid());
    cohort_status status;
    COHORT_TRY_DONE(status, cohort_text_status(&temporary));
    COHORT_TRY_DONE(status, copy_to_temporary(temporary.data, path, source));
    status = cohort_file_commit(temporary.data, path);
    if (status != COHORT_OK)
        unlink(temporary.data);
done:
    cohort_text_clear(&temporary);
    return status;
}

cohort_status cohort_run_save(cohort_text *path, const cohort_run *run,
                              const cohort_snapshot *snapshot, size_t epoch, unsigned what,
                              size_t keep)
{
    cohort_text last = {0}, other = {0};
    cohort_status status;
    COHORT_TRY_DONE(status, cohort_path_join(&last, run->checkpoints.data, "last.h5"));
    COHORT_TRY_DONE(status, cohort_checkpoint_save(last.data, snapshot));
    if (what & COHORT_RUN_BEST) {
        COHORT_TRY_DONE(status, cohort_path_join(&other, run->checkpoints.data, "best.h5"));
        COHORT_TRY_DONE(status, copy_checkpoint(other.data, last.data));
    }
    if (what & COHORT_RUN_EPOCH_END) {
        COHORT_TRY_DONE(status, epoch_path(&other, run, epoch));
        COHORT_TRY_DONE(status, copy_checkpoint(other.data, last.data));
        if (keep > 0)
            COHORT_TRY_DONE(status, prune(run, epoch, keep));
    }
    if (path) {
        path->length = 0;
        cohort_text_append(path, "%s", what & COHORT_RUN_EPOCH_END ? other.data : last.data);
        COHORT_TRY_DONE(status, cohort_text_status(path));
    }
done:
    cohort_text_clear(&last);
    cohort_text_clear(&other);
    return status;
}

/* ---- Finding ---- */

static cohort_status verify_file(const char *path)
{
    cohort_checkpoint *checkpoint;
    COHORT_TRY(cohort_checkpoint_open(&checkpoint, path));
    cohort_status status = cohort_checkpoint_verify(checkpoint);
    cohort_checkpoint_close(checkpoint);
    return status;
}

/* Whether PATH is a whole checkpoint; says why not when it is there and is not one. */
static bool is_good(size_t *bad, const char *path)
{
    if (!cohort_file_exists(path))
        return false;
    if (verify_file(path) == COHORT_OK)
        return true;
    cohort_log(COHORT_LOG_WARNING, "%s; passed over", cohort_error_message());
    cohort_error_clear();
    ++*bad;
    return false;
}

cohort_status cohort_run_latest(cohort_text *path, const cohort_run *run)
{
    epoch_list list = {0};
    size_t bad = 0;
    cohort_status status;
    COHORT_TRY_DONE(status, cohort_path_join(path, run->checkpoints.data, "last.h5"));
    bool good = is_good(&bad, path->data);
    COHORT_TRY_DONE(status, list_epochs(&list, run));
    for (size_t i = 0; i < list.count && !good; i++) {
        COHORT_TRY_DONE(status, epoch_path(path, run, list.epochs[i]));
        good = is_good(&bad, path->data);
    }
    COHORT_REQUIRE_DONE(status, good || bad == 0, COHORT_DATA,
                        "%s: none of its %zu checkpoints is whole: put a good one there as "
                        "last.h5, or start over with --fresh",
                        run->checkpoints.data, bad);
    if (!good) {
        path->length = 0;
        path->data[0] = '\0';
    }
done:
    free(list.epochs);
    return status;
}
