/* The outcome of every Cohort call that can fail, and the message behind it.
 *
 * Statuses map one to one onto the exit codes of the `cohort` program. The
 * message is kept per thread and stays valid until that thread's next failure. */
#ifndef COHORT_STATUS_H
#define COHORT_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, exit code, short description) */
#define COHORT_STATUS_LIST(X)                                                                      \
    X(OK, 0, "no error")                                                                           \
    X(INTERNAL, 1, "internal error")                                                               \
    X(MEMORY, 1, "out of memory")                                                                  \
    X(USAGE, 2, "usage or recipe")                                                                 \
    X(DATA, 3, "data or file")                                                                     \
    X(DIVERGED, 4, "training diverged")                                                            \
    X(PEER, 5, "another rank failed")                                                              \
    X(STOPPED, 75, "stopped by a signal after a checkpoint")

typedef enum cohort_status {
#define X(name, code, text) COHORT_##name,
    COHORT_STATUS_LIST(X)
#undef X
        COHORT_STATUS_COUNT
} cohort_status;

#if defined(__GNUC__)
#define COHORT_API __attribute__((visibility("default")))
#define COHORT_NODISCARD __attribute__((warn_unused_result))
#else
#define COHORT_API
#define COHORT_NODISCARD
#endif

/* The process exit code that belongs to STATUS (0, 1, 2, 3, 4, 5 or 75). */
COHORT_API int cohort_status_exit_code(cohort_status status);

/* A short English description of STATUS; static storage, never NULL. */
COHORT_API const char *cohort_status_text(cohort_status status);

/* The message of this thread's latest failure: one line saying what, where and
 * what to do. Thread-local storage owned by the library; "" if none. */
COHORT_API const char *cohort_error_message(void);

/* Where that failure was raised and passed on ("file:line" per level, newest
 * last, separated by " < "). For bug reports. Thread-local, never NULL. */
COHORT_API const char *cohort_error_trace(void);

#ifdef __cplusplus
}
#endif

#endif
