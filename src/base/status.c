#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[1024];
static _Thread_local char trace[1024];

int cohort_status_exit_code(cohort_status status)
{
    static const int codes[] = {
#define X(name, code, text) code,
        COHORT_STATUS_LIST(X)
#undef X
    };
    return (unsigned)status < COHORT_STATUS_COUNT ? codes[status] : 1;
}

const char *cohort_status_text(cohort_status status)
{
    static const char *const texts[] = {
#define X(name, code, text) text,
        COHORT_STATUS_LIST(X)
#undef X
    };
    return (unsigned)status < COHORT_STATUS_COUNT ? texts[status] : "unknown status";
}

const char *cohort_error_message(void)
{
    return message;
}

const char *cohort_error_trace(void)
{
    return trace;
}

void cohort_error_clear(void)
{
    message[0] = trace[0] = '\0';
}

/* Names and values from files may hold anything; a message is one line, and sends nothing to
 * a terminal but text. */
static void keep_to_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

cohort_status cohort_error_set(cohort_status status, const char *file, int line, const char *format,
                               ...)
{
    /* Formatted aside first: an argument may be the current message itself. */
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    keep_to_one_line(text);
    memcpy(message, text, sizeof message);
    snprintf(trace, sizeof trace, "%s:%d", file, line);
    return status;
}

cohort_status cohort_error_pass(cohort_status status, const char *file, int line)
{
    size_t used = strlen(trace);
    snprintf(trace + used, sizeof trace - used, " < %s:%d", file, line);
    return status;
}

cohort_status cohort_error_prefix(cohort_status status, const char *format, ...)
{
    char text[sizeof message];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", message);
    keep_to_one_line(text);
    memcpy(message, text, sizeof message);
    return status;
}
