#include <math.h>

#include "optim/optimizer.h"

/* How far STEP is on the way from BEGIN to END, within [0, 1]. */
static double way(double step, double begin, double end)
{
    if (step <= begin)
        return 0;
    return step >= end ? 1 : (step - begin) / (end - begin);
}

/* The factor of a rise that reaches 1 at its last step; 1 from then on. */
static double rise(double step, double rise_steps)
{
    return step + 1 < rise_steps ? (step + 1) / rise_steps : 1;
}

static double step_factor(const cohort_schedule_recipe *schedule, double step,
                          double steps_per_epoch)
{
    double factor = 1;
    for (size_t i = 0; i < schedule->milestones.count; i++)
        if (step >= schedule->milestones.items[i] * steps_per_epoch)
            factor *= schedule->factor;
    return factor;
}

static double schedule_factor(const cohort_schedule_recipe *schedule, double step,
                              double steps_per_epoch, double total)
{
    const double warmup = (double)schedule->warmup_steps, fall = 1 - schedule->final;
    const double pi = 3.14159265358979323846;
    double peak;
    switch ((cohort_schedule_type)schedule->type) {
    case COHORT_SCHEDULE_CONSTANT:
        return 1;
    case COHORT_SCHEDULE_STEP:
        return step_factor(schedule, step, steps_per_epoch);
    case COHORT_SCHEDULE_COSINE:
        return schedule->final + fall * 0.5 * (1 + cos(pi * way(step, warmup, total)));
    case COHORT_SCHEDULE_LINEAR:
        return 1 - fall * way(step, warmup, total);
    case COHORT_SCHEDULE_ONE_CYCLE:
        peak = schedule->peak_epoch * steps_per_epoch;
        return rise(step, peak) * (1 - fall * way(step, peak, total));
    }
    return 1;
}

double cohort_schedule_lr(const cohort_schedule_recipe *schedule, double lr, uint64_t step,
                          double steps_per_epoch, uint64_t total_steps)
{
    double at = (double)step;
    return lr * rise(at, (double)schedule->warmup_steps) *
           schedule_factor(schedule, at, steps_per_epoch, (double)total_steps);
}
