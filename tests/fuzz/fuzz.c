#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/convert/convert.h"

enum { ARGUMENTS_MOST = 16, PATHS = 16, PATH_BYTES = 160 };

static char folder[64];

void fuzz_require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s: %s\n", what, cohort_error_message());
    abort();
}

void fuzz_require_refusal(cohort_status status)
{
    const char *message = cohort_error_message();
    if (status == COHORT_OK)
        return;
    fuzz_require(status == COHORT_USAGE || status == COHORT_DATA, "not refused, but failed");
    fuzz_require(*message && !strchr(message, '\n'), "not refused with one line");
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static void remove_folder(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_path(const char *name)
{
    static char paths[PATHS][PATH_BYTES];
    static int next;
    if (!*folder) {
        snprintf(folder, sizeof folder, "%s/cohort-fuzz-XXXXXX",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        fuzz_require(mkdtemp(folder) != NULL, "no folder to work in");
        atexit(remove_folder);
    }
    char *path = paths[next++ % PATHS];
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

const char *fuzz_put(const char *name, const void *bytes, size_t count)
{
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wb");
    fuzz_require(file && fwrite(bytes, 1, count, file) == count && fclose(file) == 0,
                 "cannot write the input");
    return path;
}

fuzz_part fuzz_take_part(fuzz_part *rest)
{
    const uint8_t *end = rest->count ? memchr(rest->bytes, 0, rest->count) : NULL;
    const size_t count = end ? (size_t)(end - rest->bytes) : rest->count;
    const fuzz_part part = {rest->bytes, count};
    rest->bytes += count + (end != NULL);
    rest->count -= count + (end != NULL);
    return part;
}

unsigned fuzz_take_byte(fuzz_part *rest)
{
    if (!rest->count)
        return 0;
    rest->count--;
    return *rest->bytes++;
}

cohort_status fuzz_convert(const char *const *arguments)
{
    static int nowhere = -1;
    char *all[ARGUMENTS_MOST + 4] = {"convert"};
    int count = 1;
    for (; arguments[count - 1] && count < ARGUMENTS_MOST; count++)
        all[count] = (char *)arguments[count - 1];
    all[count++] = "--output";
    all[count++] = (char *)fuzz_path("out.h5");
    if (nowhere < 0)
        nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    const cohort_status status = cohort_cli_convert(count, all);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    return status;
}
