/* LD_PRELOAD: a file system without locks. They fail with ENOLCK, or with COHORT_FAULT_LOCK=wait
 * do not come back, as where a network file system's lock server is gone. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* The tree is built with hidden symbols; these must be found before the C library's. */
#pragma GCC visibility push(default)

static int refuse(void)
{
    const char *how = getenv("COHORT_FAULT_LOCK");
    if (how && strcmp(how, "wait") == 0)
        sleep(1000);
    errno = ENOLCK;
    return -1;
}

int flock(int handle, int operation)
{
    (void)handle, (void)operation;
    return refuse();
}

static int pass(const char *name, int handle, int command, void *argument)
{
    int (*real)(int, int, ...);
    *(void **)&real = dlsym(RTLD_NEXT, name);
    return real(handle, command, argument);
}

#define FCNTL(name)                                                                                \
    int name(int handle, int command, ...)                                                         \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, command);                                                              \
        void *argument = va_arg(arguments, void *);                                                \
        va_end(arguments);                                                                         \
        return command == F_OFD_SETLK || command == F_SETLK                                        \
                   ? refuse()                                                                      \
                   : pass(#name, handle, command, argument);                                       \
    }
FCNTL(fcntl)
FCNTL(fcntl64)
