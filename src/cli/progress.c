#include "cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/command.h"

static const double LIVE_INTERVAL = 0.2, PLAIN_INTERVAL = 10;

static void append(char *text, size_t size, const char *format, double value)
{
    size_t used = strlen(text);
    if (!isnan(value))
        snprintf(text + used, size - used, format, value);
}

static void describe(char *text, size_t size, const cohort_train_view *view)
{
    snprintf(text, size, "%s %llu/%llu  %s %llu/%llu", view->by_rounds ? "round" : "epoch",
             (unsigned long long)view->epoch, (unsigned long long)view->epochs,
             view->by_rounds ? "clients" : "step", (unsigned long long)view->step_in_epoch,
             (unsigned long long)view->steps_per_epoch);
    append(text, size, "  loss %.4f", view->loss);
    append(text, size, "  accuracy %.2f%%", 100 * view->accuracy);
    append(text, size, "  %.0f samples/s", view->samples_per_s);
}

static void describe_privacy(char *text, size_t size, const cohort_train_view *view)
{
    size_t used = strlen(text);
    if (isinf(view->epsilon))
        snprintf(text + used, size - used, "  epsilon refused (testing seed)");
    else if (!isnan(view->epsilon))
        snprintf(text + used, size - used, "  epsilon %.4g (delta %g, %s)", view->epsilon,
                 view->delta, view->unit);
}

static int columns(void)
{
    struct winsize window;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 20)
        return window.ws_col;
    return 80;
}

void cohort_progress_hide(cohort_progress_line *line)
{
    if (line->is_shown)
        fputs("\r\033[K", stdout);
    line->is_shown = false;
    fflush(stdout);
}

static void on_step(void *context, const cohort_train_view *view)
{
    cohort_progress_line *line = context;
    const double now = cohort_clock_seconds();
    if (line->last_shown == 0)
        line->last_shown = now - (line->is_live ? LIVE_INTERVAL : 0);
    if (now - line->last_shown < (line->is_live ? LIVE_INTERVAL : PLAIN_INTERVAL))
        return;
    line->last_shown = now;
    char text[256], left[16];
    describe(text, sizeof text, view);
    if (view->step_in_epoch > 0) {
        const double a_step = view->seconds / (double)view->step_in_epoch;
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "  %s left",
                 cohort_duration_text(left, a_step * (double)(view->total_steps - view->step)));
    }
    if (line->is_live)
        printf("\r\033[K%.*s", columns() - 1, text);
    else
        puts(text);
    line->is_shown = line->is_live;
    fflush(stdout);
}

static void on_epoch(void *context, const cohort_train_view *view)
{
    cohort_progress_line *line = context;
    cohort_progress_hide(line);
    char text[256], seconds[16];
    describe(text, sizeof text, view);
    append(text, sizeof text, "  validation loss %.4f", view->validation_loss);
    append(text, sizeof text, "  validation accuracy %.2f%%", 100 * view->validation_accuracy);
    append(text, sizeof text, "  test loss %.4f", view->test_loss);
    append(text, sizeof text, "  test accuracy %.2f%%", 100 * view->test_accuracy);
    describe_privacy(text, sizeof text, view);
    printf("%s  %s\n", text, cohort_duration_text(seconds, view->seconds));
    line->last_shown = cohort_clock_seconds();
    fflush(stdout);
}

static void on_note(void *context, const char *text)
{
    cohort_progress_hide(context);
    puts(text);
    fflush(stdout);
}

cohort_train_observer cohort_progress_observer(cohort_progress_line *line)
{
    *line = (cohort_progress_line){.is_live = cohort_cli_is_terminal()};
    return (cohort_train_observer){
        .context = line, .on_step = on_step, .on_epoch = on_epoch, .on_note = on_note};
}
