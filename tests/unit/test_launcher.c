/* A launcher that does not end after an abort is made to: by what it takes, and no more. */
#include "tests/cmocka_all.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ten times as fast, under another name. */
static int sooner(const struct timespec *time, struct timespec *rest)
{
    return nanosleep(&(struct timespec){.tv_nsec = time->tv_nsec / 10}, rest);
}
#define nanosleep sooner
#define cohort_launcher_release release
#include "comm/launcher.c"
#undef nanosleep

static volatile sig_atomic_t interrupts;

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

/* How a process called NAME ends, which a child of its asks to be released, and which itself would
 * go on for SECONDS or, unless that is 0, until OBEYED interrupts have come. */
static int status_of(const char *name, unsigned seconds, int obeyed)
{
    const pid_t launcher = fork();
    if (launcher == 0) {
        prctl(PR_SET_NAME, name);
        signal(SIGINT, count_interrupt);
        const pid_t rank = fork();
        if (rank == 0) {
            cohort_launcher_release();
            _exit(0);
        }
        waitpid(rank, NULL, 0);
        for (unsigned i = 0; i < 100 * seconds && !(obeyed && interrupts >= obeyed); i++)
            usleep(10000);
        _exit(interrupts);
    }
    int status = 0;
    assert_int_equal(waitpid(launcher, &status, 0), launcher);
    return status;
}

static void test_one_that_ends_is_left_alone(void **state)
{
    (void)state;
    const int status = status_of("mpirun", 0, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_one_that_obeys_is_interrupted(void **state)
{
    (void)state;
    const int status = status_of("orted", 60, 2);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static void test_one_that_is_stuck_is_killed(void **state)
{
    (void)state;
    const int status = status_of("mpirun", 60, 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_other_parents_are_not_touched(void **state)
{
    (void)state;
    const int status = status_of("slurmstepd", 2, 1);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_that_ends_is_left_alone),
        cmocka_unit_test(test_one_that_obeys_is_interrupted),
        cmocka_unit_test(test_one_that_is_stuck_is_killed),
        cmocka_unit_test(test_other_parents_are_not_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
