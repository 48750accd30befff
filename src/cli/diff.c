#include <stdio.h>

#include "cli/command.h"
#include "report/difference.h"

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    (void)comm;
    cohort_text text = {0};
    bool same = false;
    cohort_status status =
        cohort_difference_write(&text, &same, given->positional[0], given->positional[1]);
    if (status == COHORT_OK)
        printf("%s%s\n", text.data, same ? "no difference" : "the runs differ");
    cohort_text_clear(&text);
    return status;
}

const cohort_command cohort_command_diff = {
    .name = "diff",
    .usage = "RUN_A RUN_B",
    .summary = "Say where two runs part: recipe, first step, first layer",
    .details = "Compares the recipes, then the losses step by step (with train.log_every_steps;\n"
               "else epoch by epoch), then the weights of the checkpoints that both runs kept\n"
               "(checkpoint.keep says how many), layer by layer. The last line is `no difference`\n"
               "or `the runs differ`; the exit code is 0 in both cases.",
    .least = 2,
    .most = 2,
    .run = run,
};
