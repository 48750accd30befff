/* What of a job's stderr reaches the user, by what mpirun was seen to write. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/job_output.h"

#define FRAME "--------------------------------------------------------------------------\n"
#define NO_CONNECTION                                                                              \
    FRAME "WARNING: Open MPI failed to TCP connect to a peer MPI process.  This\n"                 \
          "should not happen.\n" FRAME
#define KILLED                                                                                     \
    FRAME "mpirun noticed that process rank 2 with PID 0 on node vm exited on signal 9 (Killed)."  \
          "\n" FRAME
#define NO_DAEMON FRAME "ORTE was unable to reliably start one or more daemons.\n" FRAME
#define LOST "cohort: rank 2 on host-3 did not arrive at the gradient sum within 6 s\n"

/* What is shown of TEXT, taken a few bytes at a time; freed by the caller. */
static char *shown(cohort_job_output *output, const char *text)
{
    char *seen = calloc(1, 4096);
    FILE *file = tmpfile();
    fflush(stderr);
    const int kept = dup(STDERR_FILENO);
    assert_true(seen && file && dup2(fileno(file), STDERR_FILENO) >= 0);
    *output = (cohort_job_output){.outcome = -1, .lost_rank = -1};
    for (size_t at = 0, count = strlen(text); at < count; at += 7)
        cohort_job_output_take(output, text + at, count - at < 7 ? count - at : 7);
    cohort_job_output_flush(output);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    rewind(file);
    assert_true(fread(seen, 1, 4095, file) < 4095);
    fclose(file);
    return seen;
}

static void check(const char *text, const char *wanted)
{
    cohort_job_output output;
    char *seen = shown(&output, text);
    assert_string_equal(seen, wanted);
    free(seen);
    cohort_job_output_clear(&output);
}

static void a_lost_rank_is_named_once(void **state)
{
    (void)state;
    check(LOST LOST, LOST);
    check(LOST "cohort: rank 0 on host-1 (last: step 75), rank 2 on host-3 did not arrive at the "
               "gradient sum within 6 s\n",
          LOST);
    check(LOST "cohort: warning: something else\n" LOST, LOST "cohort: warning: something else\n");
    check("cohort: warning: twice\ncohort: warning: twice\n",
          "cohort: warning: twice\ncohort: warning: twice\n");
}

static void words_that_follow_from_a_loss_are_kept_back(void **state)
{
    (void)state;
    static const char told[] = "cohort: warning: lost rank 0 on host-1; 3 of 4 ranks go on\n",
                      client[] = "cohort: warning: client 1 (rank 2 on host-3) has died\n";
    char text[1024];
    /* A network that is wrong from the start must be seen. */
    check(NO_CONNECTION, NO_CONNECTION);
    snprintf(text, sizeof text, "%s%s", told, NO_CONNECTION);
    check(text, told);
    snprintf(text, sizeof text, "%s%s", NO_CONNECTION, client);
    check(text, client);
    check(KILLED NO_CONNECTION, "");
    /* A launcher's daemon that dies, with the ranks going on to the end, or not. */
    check(NO_DAEMON COHORT_JOB_OUTCOME "0\n", "");
    check(NO_DAEMON COHORT_JOB_OUTCOME "5\n", NO_DAEMON);
    check(NO_DAEMON, NO_DAEMON);
    check("[vm:00042] PMIX ERROR: UNREACHABLE in file server.c at line 2795\n", "");
    check("[vm:00042] something a user must see\n", "[vm:00042] something a user must see\n");
}

#define HEAD "[host-3][[7311,1],2][btl_tcp_endpoint.c:624:mca_btl_tcp_endpoint_recv_connect_ack] "
#define READ_HEAD "[host-2][[7311,1],1][btl_tcp_frag.c:241:mca_btl_tcp_frag_recv] "
#define READ "mca_btl_tcp_frag_recv: readv failed: Connection reset by peer (104)\n"

/* Open MPI's two writes of one line, with those of other ranks between them. */
static void torn_lines_are_told_apart(void **state)
{
    (void)state;
    static const char told[] = "cohort: warning: lost rank 0 on host-1; 3 of 4 ranks go on\n";
    char text[1024];
    check(HEAD "invalid connection state (2)\n", "");
    check(HEAD READ_HEAD "invalid connection state (2)\n" READ, "");
    check(HEAD READ_HEAD READ "invalid connection state (2)\n\n", "");
    snprintf(text, sizeof text, HEAD READ_HEAD "%sinvalid connection state (2)\n" READ, told);
    check(text, told);
}

#define STUCK                                                                                      \
    "cohort: start-up did not complete on rank 0 (vm) in time: rank 2 on vm: stopped by a "        \
    "signal\n"
#define NO_FOLDER                                                                                  \
    FRAME "A system call failed during shared memory initialization that should\n" FRAME

static void a_call_that_never_ends_is_told_once(void **state)
{
    (void)state;
    check(STUCK "cohort: start-up did not complete on rank 1 (vm) in time\n", STUCK);
    check(STUCK NO_FOLDER, STUCK);
    check(NO_FOLDER, NO_FOLDER); /* by itself it is a cause */
}

#define CUT_OFF "cohort: cannot go on: 4 ranks give no answer, for only 2 are left here\n"

static void a_host_that_is_cut_off_gives_up_once(void **state)
{
    (void)state;
    check(CUT_OFF "cohort: cannot go on: 4 ranks give no answer, for only 1 are left here\n",
          CUT_OFF);
}

static void outcome_and_lost_rank_are_read(void **state)
{
    (void)state;
    cohort_job_output output;
    free(shown(&output, KILLED));
    assert_int_equal(output.lost_rank, 2);
    assert_int_equal(output.signal, 9);
    assert_string_equal(output.host, "vm");
    assert_int_equal(output.outcome, -1);
    cohort_job_output_clear(&output);
    free(shown(&output, COHORT_JOB_OUTCOME "75\n" LOST));
    assert_int_equal(output.outcome, 75);
    assert_true(output.named.length > 0);
    cohort_job_output_clear(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_rank_is_named_once),
        cmocka_unit_test(words_that_follow_from_a_loss_are_kept_back),
        cmocka_unit_test(torn_lines_are_told_apart),
        cmocka_unit_test(a_call_that_never_ends_is_told_once),
        cmocka_unit_test(a_host_that_is_cut_off_gives_up_once),
        cmocka_unit_test(outcome_and_lost_rank_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
