#include <stdio.h>

#include "cli/command.h"
#include "train/trainer.h"

static const cohort_option options[] = {
    {"recipe", "RECIPE", "the network that the weights are of, and its data set", false},
    {"output", "FILE.h5", "the checkpoint to write; replaced when it is complete", false},
    {"set", "KEY=VALUE", "override a recipe key", true},
};

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    size_t set_count = 0;
    const char *path = NULL, *output = NULL;
    const char *const *sets = cohort_options_list(&set_count, given, "set");
    cohort_recipe *recipe = NULL;
    COHORT_TRY(cohort_options_require(&path, given, "recipe"));
    COHORT_TRY(cohort_options_require(&output, given, "output"));
    COHORT_TRY(cohort_job_read_recipe(&recipe, comm, path, sets, set_count));
    cohort_status status = cohort_train_init(comm, recipe, given->positional[0], output);
    if (status == COHORT_OK && cohort_cli_is_speaker(comm))
        printf("wrote %s\n", output);
    cohort_recipe_destroy(recipe);
    return status;
}

const cohort_command cohort_command_import = {
    .name = "import",
    .usage = "FILE --recipe RECIPE --output FILE.h5",
    .summary = "Make a checkpoint of a recipe's network with the weights of another tool",
    .details =
        "FILE is a safetensors, npz or Keras weights (.h5) file; its content tells which. Names,\n"
        "layouts and order are those that `cohort export` writes (`cohort help export`); every\n"
        "tensor must be there and no other. The checkpoint can be evaluated and used to predict,\n"
        "and training starts from it with train.initial_weights.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
