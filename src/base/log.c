#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

static cohort_log_sink *the_sink;
static void *the_context;
static cohort_log_level the_level;

void cohort_log_set_sink(cohort_log_sink *sink, void *context, cohort_log_level level)
{
    the_sink = sink;
    the_context = context;
    the_level = level;
}

void cohort_log(cohort_log_level level, const char *format, ...)
{
    if (!the_sink || level > the_level)
        return;
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    the_sink(the_context, level, text);
}
