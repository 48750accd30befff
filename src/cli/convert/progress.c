#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/convert/format.h"

cohort_progress cohort_progress_begin(const char *what, size_t total)
{
    return (cohort_progress){.what = what,
                             .total = total,
                             .next = cohort_clock_seconds() + 0.5,
                             .terminal = isatty(STDERR_FILENO)};
}

void cohort_progress_at(cohort_progress *progress, size_t done)
{
    if (!progress->terminal)
        return;
    double now = cohort_clock_seconds();
    if (now < progress->next)
        return;
    progress->next = now + 0.1;
    progress->shown = true;
    if (progress->total)
        fprintf(stderr, "\r\033[K%s: %zu of %zu (%.0f %%)", progress->what, done, progress->total,
                100.0 * (double)done / (double)progress->total);
    else
        fprintf(stderr, "\r\033[K%s: %zu", progress->what, done);
    fflush(stderr);
}

void cohort_progress_end(cohort_progress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
    progress->shown = false;
}
