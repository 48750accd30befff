#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double cohort_clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double cohort_clock_cpu_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

double cohort_clock_since_launch(void)
{
    /* Field 22 of /proc/self/stat: start time in ticks since boot. The program
     * name in field 2 may hold spaces, so fields are counted after its ')'. */
    char text[1024] = "";
    FILE *file = fopen("/proc/self/stat", "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *at = strrchr(text, ')');
    unsigned long long ticks = 0;
    if (!at || sscanf(at + 1,
                      " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d "
                      "%*d %*d %*d %llu",
                      &ticks) != 1)
        return 0;
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec -
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

const char *cohort_duration_text(char *text, double seconds)
{
    if (!(seconds >= 0))
        seconds = 0;
    if (seconds > 359999)
        seconds = 359999;
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(text, 16, "%uh %02um", whole / 3600, whole / 60 % 60);
    else if (whole >= 60)
        snprintf(text, 16, "%um %02us", whole / 60, whole % 60);
    else
        snprintf(text, 16, "%us", whole);
    return text;
}
