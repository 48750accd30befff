/* Messages for people. The library is silent until a sink is set. */
#ifndef COHORT_BASE_LOG_H
#define COHORT_BASE_LOG_H

typedef enum cohort_log_level {
    COHORT_LOG_ERROR,
    COHORT_LOG_WARNING,
    COHORT_LOG_INFO,
    COHORT_LOG_DEBUG
} cohort_log_level;

/* Receives one message without a line end. May be called from any thread. */
typedef void cohort_log_sink(void *context, cohort_log_level level, const char *text);

/* Messages up to LEVEL go to SINK from now on; NULL silences. Process-wide; set
 * before other threads start. */
void cohort_log_set_sink(cohort_log_sink *sink, void *context, cohort_log_level level);

/* Formats and sends a message (cut at 2047 bytes). Each rank logs for itself:
 * the program's sink prints on rank 0 only, so rank-local findings belong in a
 * status, not in the log. */
void cohort_log(cohort_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
