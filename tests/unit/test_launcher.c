/* A launcher that does not end after an abort is made to: by what it takes, and no more. */
#include "tests/cmocka_all.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/internal.h"

/* A process called NAME, which a child of its asks to be released: it would end after SECONDS, or
 * before that when OBEYED interrupts have come, unless that is 0. Its status is how many came.
 * The child's process group is killed then, as launchers do. */
typedef struct stand_in {
    const char *name;
    unsigned seconds;
    int obeyed;
    pid_t pid;
} stand_in;

/* Interrupts are due after 6 and 6.5 seconds, the end after 9.5. All stand-ins wait together. */
static stand_in ends = {.name = "mpirun", .seconds = 1},
                obeys = {.name = "orted", .seconds = 60, .obeyed = 2},
                stuck = {.name = "mpirun", .seconds = 60},
                another = {.name = "slurmstepd", .seconds = 10};

static volatile sig_atomic_t interrupts;

static void count_interrupt(int signal)
{
    (void)signal;
    interrupts++;
}

static void start(stand_in *one)
{
    one->pid = fork();
    assert_true(one->pid >= 0);
    if (one->pid > 0)
        return;
    prctl(PR_SET_NAME, one->name);
    signal(SIGINT, count_interrupt);
    const pid_t rank = fork();
    if (rank == 0) {
        setpgid(0, 0);
        cohort_launcher_release();
        kill(0, SIGKILL);
    }
    waitpid(rank, NULL, 0);
    for (unsigned i = 0; i < 100 * one->seconds && !(one->obeyed && interrupts >= one->obeyed); i++)
        usleep(10000);
    _exit(interrupts);
}

static int start_all(void **state)
{
    (void)state;
    start(&ends);
    start(&obeys);
    start(&stuck);
    start(&another);
    return 0;
}

static int status_of(const stand_in *one)
{
    int status = 0;
    assert_int_equal(waitpid(one->pid, &status, 0), one->pid);
    return status;
}

static void test_one_that_ends_is_left_alone(void **state)
{
    (void)state;
    const int status = status_of(&ends);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_one_that_obeys_is_interrupted(void **state)
{
    (void)state;
    const int status = status_of(&obeys);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static void test_one_that_is_stuck_is_killed(void **state)
{
    (void)state;
    const int status = status_of(&stuck);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_other_parents_are_not_touched(void **state)
{
    (void)state;
    const int status = status_of(&another);
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
    return cmocka_run_group_tests(tests, start_all, NULL);
}
