#include "train/board.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"

static const char STOP[] = "stop", OPEN[] = "open";
static const double BEAT_INTERVAL = 1; /* seconds */

/* Removes the files in FOLDER, which may be missing. */
static void empty(const char *folder)
{
    DIR *stream = opendir(folder);
    cohort_text path = {0};
    if (!stream)
        return;
    for (const struct dirent *entry; (entry = readdir(stream));)
        if (entry->d_name[0] != '.' && cohort_path_join(&path, folder, entry->d_name) == COHORT_OK)
            unlink(path.data);
    closedir(stream);
    cohort_text_clear(&path);
}

cohort_status cohort_board_prepare(const char *folder)
{
    cohort_text path = {0};
    empty(folder);
    COHORT_TRY(cohort_folder_make(folder));
    cohort_status status = cohort_path_join(&path, folder, OPEN);
    if (status == COHORT_OK)
        status = cohort_file_write(path.data, "", 0);
    cohort_text_clear(&path);
    return status;
}

void cohort_board_remove(const char *folder)
{
    empty(folder);
    rmdir(folder);
}

/* Makes (FLAGS O_EXCL: as the first) or touches file NAME of BOARD: 0 or errno. */
static int mark(const cohort_board *board, const char *name, int flags)
{
    cohort_text path = {0};
    int handle = -1, code = ENOMEM;
    if (cohort_path_join(&path, board->folder.data, name) == COHORT_OK) {
        handle = open(path.data, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666);
        code = handle < 0 ? errno : 0;
    }
    if (handle >= 0) {
        if (futimens(handle, NULL) != 0)
            code = errno;
        close(handle);
    }
    cohort_text_clear(&path);
    return code;
}

/* When NAME was last touched, in ns by its file system; -1: it is not there. */
static long long read_mark(const cohort_board *board, const char *name)
{
    cohort_text path = {0};
    struct stat info;
    long long at = -1;
    if (cohort_path_join(&path, board->folder.data, name) == COHORT_OK &&
        stat(path.data, &info) == 0)
        at = (long long)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    cohort_text_clear(&path);
    return at;
}

cohort_status cohort_board_open(cohort_board *board, const char *folder, int group, int group_count)
{
    *board = (cohort_board){.group = group, .group_count = group_count};
    cohort_text_append(&board->folder, "%s", folder);
    COHORT_TRY(cohort_text_status(&board->folder));
    COHORT_TRY(COHORT_ALLOCATE(&board->moved_at, (size_t)group_count));
    COHORT_TRY(COHORT_ALLOCATE(&board->last_mark, (size_t)group_count));
    for (int i = 0; i < group_count; i++)
        board->moved_at[i] = cohort_clock_seconds();
    COHORT_REQUIRE(read_mark(board, OPEN) >= 0, COHORT_DATA,
                   "%s is not to be seen here: a search needs a run folder that all hosts share; "
                   "give one with --run",
                   folder);
    return COHORT_OK;
}

void cohort_board_clear(cohort_board *board)
{
    cohort_text_clear(&board->folder);
    cohort_free(board->moved_at);
    cohort_free(board->last_mark);
    *board = (cohort_board){0};
}

cohort_status cohort_board_claim(bool *mine, cohort_board *board, const char *name)
{
    const int code = mark(board, name, O_EXCL);
    *mine = code == 0;
    COHORT_REQUIRE(code == 0 || code == EEXIST, COHORT_DATA, "cannot write %s/%s: %s",
                   board->folder.data, name, strerror(code));
    return COHORT_OK;
}

void cohort_board_call_stop(cohort_board *board)
{
    (void)mark(board, STOP, 0);
}

bool cohort_board_is_stopped(cohort_board *board)
{
    return read_mark(board, STOP) >= 0;
}

static void name_beat(char *name, size_t bytes, int group)
{
    snprintf(name, bytes, "group-%d", group);
}

void cohort_board_beat(cohort_board *board)
{
    char name[32];
    const double now = cohort_clock_seconds();
    if (now < board->next_beat)
        return;
    board->next_beat = now + BEAT_INTERVAL;
    name_beat(name, sizeof name, board->group);
    (void)mark(board, name, 0);
}

int cohort_board_find_stuck(cohort_board *board, double seconds)
{
    const double now = cohort_clock_seconds();
    for (int group = 0; group < board->group_count; group++) {
        char name[32];
        name_beat(name, sizeof name, group);
        const long long at = read_mark(board, name);
        if (at != board->last_mark[group] || group == board->group)
            board->moved_at[group] = now;
        board->last_mark[group] = at;
    }
    for (int group = 0; group < board->group_count; group++)
        if (now - board->moved_at[group] > seconds)
            return group;
    return board->group_count;
}
