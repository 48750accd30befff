/* Three ranks meet; then rank 1 is lost in the way ARGV[1] says (killed, stopped, exited)
 * and the others must notice, say so and end the job. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "comm/comm.h"

static void be_lost(const char *how)
{
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    else if (strcmp(how, "stop") == 0)
        raise(SIGSTOP);
    else
        _exit(0);
}

int main(int argc, char **argv)
{
    cohort_comm *comm;
    cohort_status status = cohort_comm_start(&comm);
    if (status == COHORT_OK)
        status = cohort_comm_barrier(comm);
    if (status == COHORT_OK) {
        cohort_comm_set_timeout(comm, 1);
        cohort_comm_set_phase(comm, "step 3: forward");
        if (cohort_comm_rank(comm) == 1 && argc == 2)
            be_lost(argv[1]);
        status = cohort_comm_agree(comm, COHORT_OK);
    }
    if (status == COHORT_OK) {
        cohort_comm_close(comm);
        return 0;
    }
    if (!comm || cohort_comm_is_speaker(comm))
        fprintf(stderr, "%s\n", cohort_error_message());
    cohort_comm_kill(comm, cohort_status_exit_code(status));
}
