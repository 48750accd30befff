#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/command.h"

bool cohort_cli_is_speaker(const cohort_comm *comm)
{
    return comm ? cohort_comm_is_speaker(comm) : cohort_comm_launched_rank() == 0;
}

/* mpirun gives its children a pseudo-terminal even when its own output goes to a file,
 * so under a launcher the parent's stdout is looked at: majors 4 (console) and 136-143
 * (pseudo-terminals) are terminals. */
static bool parent_has_terminal(void)
{
    char path[64];
    struct stat info;
    snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
    if (stat(path, &info) != 0 || !S_ISCHR(info.st_mode))
        return false;
    unsigned kind = major(info.st_rdev);
    return kind == 4 || (kind >= 136 && kind <= 143);
}

bool cohort_cli_is_terminal(void)
{
    if (!isatty(STDOUT_FILENO))
        return false;
    return !getenv("OMPI_COMM_WORLD_SIZE") || parent_has_terminal();
}
