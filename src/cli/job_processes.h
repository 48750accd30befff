/* The processes that a launched job has started on this host. */
#ifndef COHORT_CLI_JOB_PROCESSES_H
#define COHORT_CLI_JOB_PROCESSES_H

#include <stdbool.h>
#include <sys/types.h>

/* Whether process PID has children and all of them are dead, not yet waited for. False where it
 * cannot be told (/proc without lists of children). */
bool cohort_job_has_died_out(pid_t pid);

#endif
