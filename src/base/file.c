#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

cohort_status cohort_file_read(cohort_text *text, const char *path, size_t limit)
{
    FILE *file = fopen(path, "rb");
    COHORT_REQUIRE(file, COHORT_DATA, "cannot read %s: %s", path, strerror(errno));
    char buffer[16384];
    size_t got = 0, total = 0;
    while (total <= limit && (got = fread(buffer, 1, sizeof buffer, file)) > 0) {
        cohort_text_append_bytes(text, buffer, got);
        total += got;
    }
    bool bad = ferror(file) != 0;
    int reason = errno;
    fclose(file);
    COHORT_REQUIRE(!bad, COHORT_DATA, "cannot read %s: %s", path, strerror(reason));
    COHORT_REQUIRE(total <= limit, COHORT_DATA, "%s is larger than %zu bytes", path, limit);
    return cohort_text_status(text);
}

cohort_status cohort_path_folder(cohort_text *text, const char *path)
{
    const char *slash = strrchr(path, '/');
    text->length = 0;
    if (!slash)
        cohort_text_append(text, ".");
    else
        cohort_text_append_bytes(text, path, slash == path ? 1 : (size_t)(slash - path));
    return cohort_text_status(text);
}

cohort_status cohort_path_join(cohort_text *text, const char *folder, const char *name)
{
    text->length = 0;
    if (name[0] == '/' || strcmp(folder, ".") == 0 || !*folder)
        cohort_text_append(text, "%s", name);
    else
        cohort_text_append(text, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                           name);
    return cohort_text_status(text);
}

static cohort_status flush_to_disk(const char *path, int flags)
{
    int handle = open(path, flags);
    COHORT_REQUIRE(handle >= 0, COHORT_DATA, "cannot open %s: %s", path, strerror(errno));
    int failed = fsync(handle), reason = errno;
    close(handle);
    /* Some file systems cannot flush a folder and say EINVAL; that is no loss we can mend. */
    COHORT_REQUIRE(failed == 0 || reason == EINVAL, COHORT_DATA, "cannot flush %s to disk: %s",
                   path, strerror(reason));
    return COHORT_OK;
}

cohort_status cohort_file_commit(const char *temporary, const char *path)
{
    COHORT_TRY(flush_to_disk(temporary, O_RDWR));
    COHORT_REQUIRE(rename(temporary, path) == 0, COHORT_DATA, "cannot rename %s to %s: %s",
                   temporary, path, strerror(errno));
    cohort_text folder = {0};
    cohort_status status = cohort_path_folder(&folder, path);
    if (status == COHORT_OK)
        status = flush_to_disk(folder.data, O_RDONLY | O_DIRECTORY);
    cohort_text_clear(&folder);
    return status;
}

cohort_status cohort_file_write(const char *path, const void *bytes, size_t count)
{
    cohort_text temporary = {0};
    cohort_text_append(&temporary, "%s.%ld.tmp", path, (long)getpid());
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_text_status(&temporary));
    FILE *file = fopen(temporary.data, "wb");
    COHORT_REQUIRE_DONE(status, file, COHORT_DATA, "cannot write %s: %s", path, strerror(errno));
    bool good = fwrite(bytes, 1, count, file) == count;
    int reason = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        reason = errno;
    }
    if (!good) {
        unlink(temporary.data);
        status = COHORT_FAIL(COHORT_DATA, "cannot write %s: %s", path, strerror(reason));
        goto done;
    }
    status = cohort_file_commit(temporary.data, path);
    if (status != COHORT_OK)
        unlink(temporary.data);
done:
    cohort_text_clear(&temporary);
    return status;
}

cohort_status cohort_folder_make(const char *path)
{
    char part[4096];
    COHORT_REQUIRE(strlen(path) < sizeof part, COHORT_USAGE, "path too long: %.80s…", path);
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1;; at++) {
        if (*at && *at != '/')
            continue;
        char kept = *at;
        *at = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return COHORT_FAIL(COHORT_DATA, "cannot make the folder %s: %s", part, strerror(errno));
        *at = kept;
        if (!kept)
            break;
    }
    struct stat info;
    COHORT_REQUIRE(stat(path, &info) == 0 && S_ISDIR(info.st_mode), COHORT_DATA,
                   "%s is not a folder", path);
    return COHORT_OK;
}

bool cohort_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
