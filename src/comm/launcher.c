/* Ends the launcher's wait for hosts that cannot be reached.
 *
 * After MPI_Abort Open MPI's mpirun ends when the daemon of every host has confirmed it. To
 * a host that is down or cut off, TCP goes on sending for a quarter of an hour before it
 * gives up, and so long mpirun and the batch job stay. A small process of ours waits for
 * the launcher a while and then shuts its connections down, upon which it takes the hosts
 * for lost and ends at once, with the exit code it was aborted with. A launcher that does not is
 * interrupted, and at last killed: its daemons on other hosts then end by themselves. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "comm/internal.h"

enum { PATIENCE = 3 /* seconds */, MOST_DESCRIPTORS = 65536 };

/* mpirun, or the daemon that it starts on other hosts. */
static bool is_launcher(pid_t pid)
{
    static const char *const names[] = {"mpirun", "mpiexec", "orterun", "orted"};
    char path[48], name[32] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    if (!fgets(name, sizeof name, file))
        name[0] = '\0';
    fclose(file);
    name[strcspn(name, "\n")] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool ends_within(pid_t pid, int seconds)
{
    for (int i = 0; i < 10 * seconds; i++) {
        if (kill(pid, 0) != 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return false;
}

/* Shuts down the TCP connections of process PID as if the other ends had. Needs Linux 5.6
 * and the right to trace PID: without them nothing happens. */
static void disconnect(pid_t pid)
{
#if defined(SYS_pidfd_open) && defined(SYS_pidfd_getfd)
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    const long process = syscall(SYS_pidfd_open, pid, 0);
    for (int i = 0; process >= 0 && i < MOST_DESCRIPTORS && (rlim_t)i < limit.rlim_cur; i++) {
        const long copy = syscall(SYS_pidfd_getfd, (int)process, i, 0);
        if (copy < 0)
            continue;
        struct sockaddr_storage peer;
        socklen_t length = sizeof peer;
        if (getpeername((int)copy, (struct sockaddr *)&peer, &length) == 0 &&
            (peer.ss_family == AF_INET || peer.ss_family == AF_INET6))
            shutdown((int)copy, SHUT_RDWR);
        close((int)copy);
    }
#else
    (void)pid;
#endif
}

void cohort_launcher_release(void)
{
    const pid_t launcher = getppid();
    if (!is_launcher(launcher))
        return;
    /* The launcher kills the process groups of its ranks, at once where
     * odls_base_sigkill_timeout is 0. The child is out of ours before anybody is told to end. */
    const pid_t child = fork();
    if (child > 0)
        setpgid(child, child);
    if (child != 0)
        return;
    /* Of a process that may have had threads: system calls only. Nobody must wait for this
     * process's end of our pipes. */
    setpgid(0, 0);
    for (int i = 0; i < 3; i++)
        close(i);
    bool is_over = ends_within(launcher, PATIENCE);
    if (!is_over) {
        disconnect(launcher);
        is_over = ends_within(launcher, PATIENCE);
    }
    if (!is_over) {
        /* The second one it obeys at once, with exit code 1, or it gets stuck in its exit, as was
         * seen once in some seventy runs. */
        kill(launcher, SIGINT);
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
        kill(launcher, SIGINT);
        if (!ends_within(launcher, PATIENCE))
            kill(launcher, SIGKILL);
    }
    _exit(0);
}
