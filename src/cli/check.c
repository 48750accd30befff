#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"
#include "federated/preflight.h"
#include "train/preflight.h"

static const cohort_option options[] = {
    {"set", "KEY=VALUE", "override a recipe key, e.g. train.threads=1", true},
    {"run", "DIR", "the run folder that train will be given (default runs/<name>)", false},
    {"fresh", NULL, "train will be given --fresh", false},
};

static void print_finding(void *context, cohort_finding_level level, const char *subject,
                          const char *text)
{
    static const char *const levels[] = {"ok", "warning", "PROBLEM"};
    (void)context;
    printf("%-8s %-9s %s\n", levels[level], subject, text);
    fflush(stdout);
}

/* What the rooms below have to say comes as a finding, too. */
static void take_note(void *context, cohort_log_level level, const char *text)
{
    cohort_findings *findings = context;
    (void)level;
    if (!findings->report)
        return;
    findings->warnings++;
    findings->report(findings->context, COHORT_FINDING_WARNING, "note", text);
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    cohort_findings findings = {.report = print_finding};
    cohort_preflight_options how = {.recipe = given->positional[0],
                                    .run_folder = cohort_options_get(given, "run"),
                                    .fresh = cohort_options_given(given, "fresh"),
                                    .rounds = cohort_federated_preflight};
    how.sets = cohort_options_list(&how.set_count, given, "set");
    if (!cohort_cli_is_speaker(comm))
        findings.report = NULL;
    cohort_log_set_sink(take_note, &findings, COHORT_LOG_WARNING);
    COHORT_TRY(cohort_preflight(&findings, comm, &how));
    cohort_status status = COHORT_OK;
    if (findings.problems)
        status =
            COHORT_FAIL(COHORT_USAGE, "%s: the run would fail: see the %zu line%s with PROBLEM",
                        how.recipe, findings.problems, findings.problems == 1 ? "" : "s");
    return cohort_comm_follow(comm, status);
}

const cohort_command cohort_command_check = {
    .name = "check",
    .usage = "RECIPE [--set KEY=VALUE]… [--run DIR] [--fresh]",
    .summary = "Look for whatever could go wrong in a run, in seconds and on every rank",
    .details = "Start it as the run will be started: alone, under mpirun or srun. Prints a line a\n"
               "finding: `ok`, `warning` (the run would go, but badly) or `PROBLEM` (it would\n"
               "fail), with what to do. A few steps are trained to measure their time; nothing\n"
               "is left behind. Exit code 0, or 2 when there is a problem.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
