/* Raising and passing on errors. See <cohort/status.h> for the statuses.
 *
 * Every function that can fail returns cohort_status. The place that finds the
 * problem calls COHORT_FAIL or COHORT_REQUIRE with one line that says what,
 * where and what to do; the levels above pass it on with COHORT_TRY. */
#ifndef COHORT_BASE_STATUS_H
#define COHORT_BASE_STATUS_H

#include "cohort/status.h"

/* Sets this thread's message (printf-style, cut at 1023 bytes) and starts a new
 * trace. Returns STATUS. */
cohort_status cohort_error_set(cohort_status status, const char *file, int line, const char *format,
                               ...) __attribute__((format(printf, 4, 5)));

/* Adds a level to the trace. Returns STATUS. */
cohort_status cohort_error_pass(cohort_status status, const char *file, int line);

/* Puts "CONTEXT: " in front of the current message. Returns STATUS. */
cohort_status cohort_error_prefix(cohort_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forgets message and trace (after a failure that was handled). */
void cohort_error_clear(void);

#define COHORT_FAIL(status, ...) cohort_error_set((status), __FILE__, __LINE__, __VA_ARGS__)

/* Returns from the calling function when EXPR fails. */
#define COHORT_TRY(expr)                                                                           \
    do {                                                                                           \
        cohort_status try_status_ = (expr);                                                        \
        if (try_status_ != COHORT_OK)                                                              \
            return cohort_error_pass(try_status_, __FILE__, __LINE__);                             \
    } while (0)

/* As COHORT_TRY, where something must be freed: stores into STATUS, jumps to `done`. */
#define COHORT_TRY_DONE(status, expr)                                                              \
    do {                                                                                           \
        (status) = (expr);                                                                         \
        if ((status) != COHORT_OK) {                                                               \
            cohort_error_pass((status), __FILE__, __LINE__);                                       \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

/* Checks input, in all builds. */
#define COHORT_REQUIRE(condition, status, ...)                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return COHORT_FAIL((status), __VA_ARGS__);                                             \
    } while (0)

#define COHORT_REQUIRE_DONE(variable, condition, status, ...)                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (variable) = COHORT_FAIL((status), __VA_ARGS__);                                       \
            goto done;                                                                             \
        }                                                                                          \
    } while (0)

#endif
