#include "cli/signals.h"

#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static struct timespec caught_at;

/* Launchers pass one signal on more than once (the terminal and mpirun both send
 * SIGINT), so only one that comes at least a second later counts as a second. */
static int is_repeat(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - caught_at.tv_sec > 1;
}

static void on_signal(int number)
{
    if (!caught) {
        clock_gettime(CLOCK_MONOTONIC, &caught_at);
        caught = number;
        return;
    }
    if ((number == SIGTERM || number == SIGINT) && is_repeat())
        _exit(128 + number);
}

void cohort_signals_catch(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
}

int cohort_signals_pending(void)
{
    return caught;
}

static char unfinished[PATH_MAX];

static void on_end(int number)
{
    unlink(unfinished);
    signal(number, SIG_DFL);
    raise(number); /* delivered when this handler returns */
}

void cohort_signals_remove(const char *path)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = on_end}, was;
    sigemptyset(&action.sa_mask);
    snprintf(unfinished, sizeof unfinished, "%s", path);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN) /* nohup */
            sigaction(numbers[i], &action, NULL);
}
