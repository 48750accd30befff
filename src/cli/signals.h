/* Asking a run to stop: SIGTERM, SIGINT, SIGUSR1, SIGUSR2. */
#ifndef COHORT_CLI_SIGNALS_H
#define COHORT_CLI_SIGNALS_H

/* Catches the four signals from now on: the first is remembered, a second one of
 * SIGTERM or SIGINT ends the process at once with exit code 128 + signal. */
void cohort_signals_catch(void);
/* The first signal caught, or 0. Async-signal-safe, cheap. */
int cohort_signals_pending(void);

/* From now on SIGTERM, SIGINT and SIGHUP remove the file PATH (copied; not longer than PATH_MAX)
 * before they end the process as they would have. For commands that hold nothing else back. */
void cohort_signals_remove(const char *path);

#endif
