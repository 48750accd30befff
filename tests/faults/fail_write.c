/* LD_PRELOAD: the Nth write to a checkpoint (a file with ".h5" in its name), counted from the
 * process's start, fails with EIO; N is $COHORT_FAULT_WRITE. Once only. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The tree is built with hidden symbols; these must be found before the C library's. */
#pragma GCC visibility push(default)

static int is_checkpoint(int handle)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = '\0';
    return strstr(path, "/checkpoints/") != NULL && strstr(path, ".h5") != NULL;
}

static int fails(int handle)
{
    static int seen;
    const char *which = getenv("COHORT_FAULT_WRITE");
    return which && is_checkpoint(handle) && ++seen == atoi(which);
}

ssize_t write(int handle, const void *bytes, size_t count)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "write");
    if (fails(handle)) {
        errno = EIO;
        return -1;
    }
    return real(handle, bytes, count);
}

ssize_t pwrite(int handle, const void *bytes, size_t count, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "pwrite");
    if (fails(handle)) {
        errno = EIO;
        return -1;
    }
    return real(handle, bytes, count, at);
}

ssize_t pwrite64(int handle, const void *bytes, size_t count, off_t at)
{
    return pwrite(handle, bytes, count, at);
}
