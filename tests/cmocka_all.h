/* cmocka with the headers it wants before it, in order. */
#ifndef COHORT_TESTS_CMOCKA_ALL_H
#define COHORT_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"

/* Fails with the library's own message. */
#define assert_ok(expr)                                                                            \
    do {                                                                                           \
        cohort_status assert_status_ = (expr);                                                     \
        if (assert_status_ != COHORT_OK)                                                           \
            fail_msg("%s: %s [%s]", #expr, cohort_error_message(), cohort_error_trace());          \
    } while (0)

/* Fails unless EXPR fails with STATUS and a message that contains PART. */
#define assert_fails(expr, wanted, part)                                                           \
    do {                                                                                           \
        cohort_status assert_status_ = (expr);                                                     \
        if (assert_status_ != (wanted))                                                            \
            fail_msg("%s: status %d, expected %d (%s)", #expr, (int)assert_status_, (int)(wanted), \
                     cohort_error_message());                                                      \
        if (!strstr(cohort_error_message(), (part)))                                               \
            fail_msg("%s: message \"%s\" lacks \"%s\"", #expr, cohort_error_message(), (part));    \
    } while (0)

#include <string.h>

#endif
