#include "cli/job_processes.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Ended, whether its parent has taken notice or not. */
static bool is_dead(long pid)
{
    char path[48], line[512] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return true;
    if (!fgets(line, sizeof line, file))
        line[0] = '\0';
    fclose(file);
    const char *name_end = strrchr(line, ')'); /* "PID (name) state …" */
    return name_end && (name_end[2] == 'Z' || name_end[2] == 'X');
}

/* Counts the children that thread TASK of PID has started. */
static void look_at_thread(size_t *living, size_t *dead, pid_t pid, const char *task)
{
    char path[96];
    long child = 0;
    snprintf(path, sizeof path, "/proc/%ld/task/%.20s/children", (long)pid, task);
    FILE *file = fopen(path, "r");
    while (file && fscanf(file, "%ld", &child) == 1)
        ++*(is_dead(child) ? dead : living);
    if (file)
        fclose(file);
}

bool cohort_job_has_died_out(pid_t pid)
{
    char path[48];
    size_t living = 0, dead = 0;
    snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *entry; tasks && (entry = readdir(tasks));)
        if (entry->d_name[0] != '.')
            look_at_thread(&living, &dead, pid, entry->d_name);
    if (tasks)
        closedir(tasks);
    return dead > 0 && living == 0;
}
