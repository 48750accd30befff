#include "comm/lookout.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "comm/internal.h"

enum { SIBLINGS_MAX = 1024, ENVIRONMENT_BYTES = 64 << 10 };
static const double LAUNCH_TIME = 10; /* until all ranks of a host must have been started */
static const double GRACE = 1; /* seconds: who waits in one of our own calls notices by itself */

static cohort_lookout_action *action;
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_running, is_over;
static const char *doing;
static double deadline, began;
/* The ranks of this host: at first the processes with the same parent. */
static cohort_lookout_rank siblings[SIBLINGS_MAX];
static int sibling_count;
static int expected = -1; /* of them; -1: all that were launched */
static int speaker;       /* the lowest rank of all hosts */

void cohort_lookout_set_action(cohort_lookout_action *wanted)
{
    action = wanted;
}

/* The rank process PID was started as, or -1. */
static int rank_of(uint32_t pid)
{
    static const char name[] = "OMPI_COMM_WORLD_RANK=";
    static char text[ENVIRONMENT_BYTES];
    char path[48];
    snprintf(path, sizeof path, "/proc/%u/environ", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    const size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    for (size_t at = 0; at < length; at += strlen(text + at) + 1)
        if (strncmp(text + at, name, sizeof name - 1) == 0)
            return atoi(text + at + sizeof name - 1);
    return -1;
}

static void find_siblings(void)
{
    char path[64];
    unsigned pid;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)getppid(), (long)getppid());
    FILE *file = fopen(path, "r");
    sibling_count = 0;
    while (file && sibling_count < SIBLINGS_MAX && fscanf(file, "%u", &pid) == 1) {
        const cohort_lookout_rank found = {pid, cohort_process_born(pid), rank_of(pid)};
        if (found.rank >= 0 && found.born)
            siblings[sibling_count++] = found;
    }
    if (file)
        fclose(file);
}

static int ranks_here(void)
{
    const char *text = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    return text ? atoi(text) : 0;
}

static int expected_here(void)
{
    return expected >= 0 ? expected : ranks_here();
}

void cohort_lookout_expect(const cohort_lookout_rank *ranks, int count, int lowest)
{
    speaker = lowest;
    sibling_count = expected = count <= SIBLINGS_MAX ? count : 0;
    for (int i = 0; i < sibling_count; i++)
        siblings[i] = ranks[i];
}

/* Appends the ranks of this host that are stopped to TEXT [bytes]; whether there are any. */
static bool name_stopped(char *text, size_t bytes, const char *host)
{
    size_t length = 0;
    text[0] = '\0';
    if (sibling_count < expected_here())
        find_siblings();
    for (int i = 0; i < sibling_count && length < bytes; i++) {
        const char state = cohort_process_state(siblings[i].pid);
        if (state == 'T' || state == 't')
            length += (size_t)snprintf(text + length, bytes - length, "%srank %d on %s",
                                       length ? ", " : "", siblings[i].rank, host);
    }
    return length > 0;
}

/* Of those known, the first that has died, or NULL; *lowest = the lowest that has not. */
static const cohort_lookout_rank *find_dead(int *lowest)
{
    const cohort_lookout_rank *dead = NULL;
    *lowest = INT32_MAX;
    for (int i = 0; i < sibling_count; i++) {
        if (cohort_process_born(siblings[i].pid) != siblings[i].born)
            dead = dead ? dead : &siblings[i];
        else if (siblings[i].rank < *lowest)
            *lowest = siblings[i].rank;
    }
    return dead;
}

/* Whether it is time to give up, what to say then, and which rank says it. */
static bool has_reason(char *message, size_t bytes, int *lowest)
{
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    const double now = cohort_clock_seconds();
    const int count = expected_here();
    if (cohort_comm_launcher_recovers() && count > 0 && count <= SIBLINGS_MAX) {
        const cohort_lookout_rank *dead = find_dead(lowest);
        if (dead) {
            snprintf(message, bytes,
                     "rank %d on %s has died (last: %s): killed, out of memory or crashed; run the "
                     "same command again to continue",
                     dead->rank, host, doing);
            return true;
        }
        if (sibling_count < count)
            find_siblings();
        if (sibling_count < count && now > began + LAUNCH_TIME) {
            snprintf(message, bytes,
                     "only %d of %d ranks on %s are there at %s: killed, or they could not start",
                     sibling_count, count, host, doing);
            return true;
        }
    }
    *lowest = speaker;
    if (now <= deadline)
        return false;
    char stopped[200];
    if (name_stopped(stopped, sizeof stopped, host))
        snprintf(message, bytes,
                 "%s did not complete on rank %d (%s) in time: %s: stopped by a signal; look "
                 "there, and run the same command again",
                 doing, cohort_comm_launched_rank(), host, stopped);
    else
        snprintf(message, bytes,
                 "%s did not complete on rank %d (%s) in time: a rank did not start or is stuck, "
                 "or hosts cannot reach each other; see the launcher's messages",
                 doing, cohort_comm_launched_rank(), host);
    return true;
}

static bool wait_a_moment(double seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    const long nanoseconds = until.tv_nsec + (long)(seconds * 1e9);
    until.tv_sec += nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    while (!is_over && pthread_cond_timedwait(&changed, &lock, &until) == 0)
        ;
    return !is_over;
}

static void *keep(void *unused)
{
    char message[512];
    int lowest = 0;
    (void)unused;
    pthread_mutex_lock(&lock);
    while (wait_a_moment(0.05))
        if (has_reason(message, sizeof message, &lowest) && wait_a_moment(GRACE - 0.01))
            action(message, cohort_comm_launched_rank() == lowest);
    pthread_mutex_unlock(&lock);
    return NULL;
}

void cohort_lookout_begin(const char *what, double seconds)
{
    if (!action || is_running)
        return;
    doing = what;
    began = cohort_clock_seconds();
    deadline = began + seconds;
    is_over = false;
    is_running = pthread_create(&thread, NULL, keep, NULL) == 0;
}

void cohort_lookout_end(void)
{
    if (!is_running)
        return;
    pthread_mutex_lock(&lock);
    is_over = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    is_running = false;
}

cohort_lookout_watch cohort_lookout_enter(const char *what, double seconds)
{
    cohort_lookout_watch before = {.was_running = is_running};
    if (!is_running) {
        cohort_lookout_begin(what, seconds);
        return before;
    }
    pthread_mutex_lock(&lock);
    before.doing = doing;
    before.deadline = deadline;
    doing = what;
    deadline = cohort_clock_seconds() + seconds;
    pthread_mutex_unlock(&lock);
    return before;
}

void cohort_lookout_leave(cohort_lookout_watch before)
{
    if (!before.was_running) {
        cohort_lookout_end();
        return;
    }
    pthread_mutex_lock(&lock);
    doing = before.doing;
    deadline = before.deadline;
    pthread_mutex_unlock(&lock);
}
