#include <stdio.h>

#include "cli/command.h"
#include "train/trainer.h"

static const cohort_option options[] = {
    {"output", "FILE.h5", "the checkpoint to write", false},
    {"set", "KEY=VALUE", "override a recipe key", true},
};

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    size_t set_count = 0;
    const char *output = NULL;
    const char *const *sets = cohort_options_list(&set_count, given, "set");
    cohort_recipe *recipe = NULL;
    COHORT_TRY(cohort_options_require(&output, given, "output"));
    COHORT_TRY(cohort_job_read_recipe(&recipe, comm, given->positional[0], sets, set_count));
    cohort_status status = cohort_train_init(comm, recipe, NULL, output);
    if (status == COHORT_OK && cohort_cli_is_speaker(comm))
        printf("wrote %s\n", output);
    cohort_recipe_destroy(recipe);
    return status;
}

const cohort_command cohort_command_init = {
    .name = "init",
    .usage = "RECIPE --output FILE.h5",
    .summary = "Write the untrained model as a checkpoint: exactly the weights train starts from",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
