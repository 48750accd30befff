#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/folds.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "federated/federated.h"

static const cohort_option options[] = {
    {"set", "KEY=VALUE", "override a recipe key, e.g. optimizer.lr=0.01", true},
    {"run", "DIR", "the run folder (default runs/<name>)", false},
    {"fresh", NULL, "move an existing run folder aside and start anew", false},
    {"resume", "FILE", "continue from this checkpoint instead of the run folder's newest", false},
    {"restarts", "N", "start again up to N times after a rank died or stalled", false},
    {"quiet", NULL, "print the result only", false},
    {"verbose", NULL, "say on stderr how layers are computed, and what else is decided at start",
     false},
};

static bool signalled(void *context)
{
    (void)context;
    return cohort_signals_pending() != 0;
}

static void print_result(const cohort_evaluation *test, const char *folder)
{
    if (test) {
        printf("test: loss %.4f", test->loss);
        if (!isnan(test->accuracy))
            printf("  accuracy %.2f%%", 100 * test->accuracy);
        printf("  (%llu samples)\n", (unsigned long long)test->samples);
    }
    printf("run folder: %s\n", folder);
}

static cohort_status train(cohort_comm *comm, cohort_recipe *recipe,
                           const cohort_trainer_options *how, cohort_progress_line *line)
{
    cohort_trainer *trainer = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_trainer_create(&trainer, comm, recipe, how));
    COHORT_TRY_DONE(status, cohort_trainer_run(trainer));
    cohort_progress_hide(line);
    if (cohort_cli_is_speaker(comm) && !cohort_comm_is_broken(comm)) /* else another has */
        print_result(cohort_trainer_test(trainer), cohort_trainer_folder(trainer));
done:
    cohort_trainer_destroy(trainer);
    return status;
}

static cohort_status train_federated(cohort_comm *comm, cohort_recipe *recipe,
                                     const cohort_trainer_options *how, cohort_progress_line *line)
{
    cohort_federated *federated = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_federated_create(&federated, comm, recipe, how));
    COHORT_TRY_DONE(status, cohort_federated_run(federated));
    cohort_progress_hide(line);
    if (cohort_cli_is_speaker(comm)) /* a client has no result of its own */
        print_result(cohort_federated_test(federated), cohort_federated_folder(federated));
done:
    cohort_federated_destroy(federated);
    return status;
}

static cohort_status cross_validate(cohort_comm *comm, cohort_recipe *recipe,
                                    const cohort_trainer_options *how, cohort_progress_line *line)
{
    const cohort_status status = cohort_cross_validate(comm, recipe, how);
    cohort_progress_hide(line);
    return status;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    size_t set_count = 0;
    const char *const *sets = cohort_options_list(&set_count, given, "set");
    cohort_recipe *recipe = NULL;
    cohort_progress_line line = {0};
    cohort_trainer_options how = {
        .run_folder = cohort_options_get(given, "run"),
        .fresh = cohort_options_given(given, "fresh"),
        .resume = cohort_options_get(given, "resume"),
        .job = getenv("COHORT_JOB"),
        .should_stop = signalled,
    };
    if (!cohort_options_given(given, "quiet"))
        how.observer = cohort_progress_observer(&line);
    cohort_signals_catch();
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status,
                    cohort_job_read_recipe(&recipe, comm, given->positional[0], sets, set_count));
    if (cohort_federated_is(recipe))
        status = train_federated(comm, recipe, &how, &line);
    else if (recipe->train.folds)
        status = cross_validate(comm, recipe, &how, &line);
    else
        status = train(comm, recipe, &how, &line);
done:
    cohort_progress_hide(&line);
    cohort_recipe_destroy(recipe);
    return status;
}

const cohort_command cohort_command_train = {
    .name = "train",
    .usage = "RECIPE [--set KEY=VALUE]… [--run DIR] [--fresh] [--resume FILE] "
             "[--restarts N]",
    .summary = "Train the network of a recipe",
    .details = "Continues an unfinished run in the run folder by itself. A finished run, or one\n"
               "made from a different recipe, is refused unless --fresh, which moves the old\n"
               "folder aside and never deletes it. SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 stop the\n"
               "run after a checkpoint with exit code 75: run the same command again. With\n"
               "--restarts the run also survives ranks that are killed or stall: it starts again\n"
               "from its last checkpoint by itself, under mpirun too. With train.folds it trains\n"
               "once per fold, in DIR/fold-1 and so on, and prints their mean and deviation.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
