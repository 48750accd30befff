#include "data/budget.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The number after LABEL in PATH; FALLBACK if there is none. LABEL "" reads the first. */
static uint64_t read_number(const char *path, const char *label, uint64_t fallback)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return fallback;
    char line[256];
    uint64_t value = fallback;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, label, strlen(label)) == 0) {
            if (sscanf(line + strlen(label), " %" SCNu64, &value) != 1)
                value = fallback;
            break;
        }
    fclose(file);
    return value;
}

/* "/user.slice/job" of this process's group, "" if there is none. */
static void read_group(char *group, size_t bytes)
{
    group[0] = '\0';
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file)
        return;
    char line[3072];
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "0::/", 4) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(group, bytes, "%s", line + 3);
        }
    fclose(file);
}

uint64_t cohort_memory_available(void)
{
    uint64_t least = read_number("/proc/meminfo", "MemAvailable:", UINT64_MAX / 1024) * 1024;
    char group[3072], path[4096];
    read_group(group, sizeof group);
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        uint64_t limit = read_number(path, "", UINT64_MAX); /* "max": no number */
        least = limit < least ? limit : least;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

uint64_t cohort_memory_budget(uint64_t limit)
{
    return limit ? limit : cohort_memory_available() / 2;
}
