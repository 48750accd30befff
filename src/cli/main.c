/* cohort: the program. Finds the subcommand, runs it, turns statuses into exit codes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/job_output.h"
#include "cli/supervise.h"
#include "cli/version.h"
#include "comm/lookout.h"
#include "nn/model.h"
#include "recipe/recipe.h"

static void print_overview(FILE *out)
{
    fputs("cohort " COHORT_VERSION ": " COHORT_ABOUT "\n\n"
          "usage: cohort COMMAND …        alone, under mpirun -n R, or under srun\n\n",
          out);
    for (size_t i = 0; i < COHORT_COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %s\n", cohort_commands[i]->name, cohort_commands[i]->summary);
    fputs("\n  help COMMAND     how to use a command\n"
          "  help recipe      every key a recipe knows\n"
          "  --version        version, libraries and build\n",
          out);
}

static cohort_status unknown(const char *name)
{
    const char *names[COHORT_COMMAND_COUNT + 1];
    for (size_t i = 0; i < COHORT_COMMAND_COUNT; i++)
        names[i] = cohort_commands[i]->name;
    names[COHORT_COMMAND_COUNT] = "help";
    const char *nearest = cohort_nearest_word(name, names, COHORT_COMMAND_COUNT + 1);
    if (nearest)
        return COHORT_FAIL(COHORT_USAGE, "there is no command '%s'; did you mean '%s'?", name,
                           nearest);
    return COHORT_FAIL(COHORT_USAGE, "there is no command '%s'; `cohort help` lists them", name);
}

static cohort_status help(int argc, char **argv)
{
    if (argc < 3) {
        print_overview(stdout);
        return COHORT_OK;
    }
    if (strcmp(argv[2], "recipe") == 0) {
        cohort_text text = {0};
        cohort_recipe_help(&text, cohort_model_catalog());
        cohort_status status = cohort_text_status(&text);
        if (status == COHORT_OK)
            fputs(text.data, stdout);
        cohort_text_clear(&text);
        return status;
    }
    const cohort_command *command = cohort_command_find(argv[2]);
    if (!command)
        return unknown(argv[2]);
    if (command->run_raw) {
        char *arguments[] = {argv[2], "--help", NULL};
        return command->run_raw(2, arguments);
    }
    cohort_cli_print_command(stdout, command);
    return COHORT_OK;
}

static void print_message(void *context, cohort_log_level level, const char *text)
{
    if (cohort_cli_is_speaker(context))
        fprintf(stderr, "cohort: %s%s\n", level == COHORT_LOG_WARNING ? "warning: " : "", text);
}

/* One line for all ranks, naming the outcome. */
static void print_failure(const cohort_comm *comm, cohort_status status)
{
    if (status == COHORT_OK || !cohort_cli_is_speaker(comm))
        return;
    fflush(stdout);
    const char *message = cohort_error_message();
    fprintf(stderr, "cohort: %s\n", *message ? message : cohort_status_text(status));
    if (getenv("COHORT_TRACE"))
        fprintf(stderr, "cohort: raised at %s\n", cohort_error_trace());
    /* mpirun stops reading when a process ends with a code that is not 0: it gets time to read
     * the line before anybody does (the others wait in closing). */
    if (comm && cohort_comm_size(comm) > 1)
        nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
}

static int finish(cohort_comm *comm, cohort_status status)
{
    print_failure(comm, status);
    /* stdout may be a full disk or a closed pipe: that is a failure too. */
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == COHORT_OK &&
        cohort_cli_is_speaker(comm)) {
        fprintf(stderr, "cohort: cannot write the output: %s\n", strerror(errno));
        status = COHORT_DATA;
    }
    const int code = cohort_status_exit_code(status);
    if (comm && getenv(COHORT_SUPERVISED) && cohort_cli_is_speaker(comm))
        fprintf(stderr, COHORT_JOB_OUTCOME "%d\n", code);
    /* Ranks that did not arrive cannot be waited for, also by MPI_Finalize. */
    if (comm && cohort_comm_launcher_recovers() && !cohort_comm_is_broken(comm)) {
        cohort_comm_set_over(comm);
        if (cohort_comm_barrier(comm) != COHORT_OK)
            cohort_error_clear();
        cohort_comm_kill(comm, code);
    }
    if (comm && cohort_comm_is_broken(comm))
        cohort_comm_kill(comm, code);
    if (comm && cohort_comm_is_abandoned(comm)) {
        fflush(NULL);
        _exit(code);
    }
    cohort_comm_close(comm);
    /* Without MPI nobody waits for rank 0's message, and mpirun ends the job at the first
     * code that is not 0: only rank 0 has one. */
    return comm || cohort_cli_is_speaker(NULL) ? code : 0;
}

/* Ranks that speak when those before them are stuck, and the seconds each gives the one before. */
enum { SPEAKERS = 7, TURN_SECONDS = 5 };

/* MPI does not come back (comm/lookout.h), or has not come up. */
static void end_at_once(const char *message, int is_speaker)
{
    const int code = cohort_status_exit_code(COHORT_PEER), rank = cohort_comm_launched_rank();
    /* Under plain mpirun the first to end ends all: the message first. Where the speaker is the one
     * that is stuck, the next in line speaks. */
    const bool may_speak = !cohort_comm_launcher_recovers() && rank < SPEAKERS;
    if (!is_speaker)
        nanosleep(&(struct timespec){.tv_sec = may_speak ? TURN_SECONDS * rank : 1}, NULL);
    if (is_speaker || may_speak)
        fprintf(stderr, "cohort: %s\n", message);
    if (getenv(COHORT_SUPERVISED))
        fprintf(stderr, COHORT_JOB_OUTCOME "%d\n", code);
    fflush(stderr);
    cohort_comm_release_launcher();
    _exit(code);
}

static int run_parallel(const cohort_command *command, const cohort_options *options)
{
    cohort_comm *comm = NULL;
    cohort_lookout_set_action(end_at_once);
    cohort_status status = cohort_comm_start(&comm);
    /* A rank that did not come cannot be waited for. */
    if (status == COHORT_PEER && !comm)
        end_at_once(cohort_error_message(), cohort_cli_is_speaker(NULL));
    if (status == COHORT_OK) {
        const bool verbose = cohort_options_given(options, "verbose");
        cohort_log_set_sink(print_message, comm, verbose ? COHORT_LOG_INFO : COHORT_LOG_WARNING);
        status = command->run(comm, options);
        cohort_log_set_sink(NULL, NULL, COHORT_LOG_ERROR);
    }
    return finish(comm, status);
}

static int run_command(const cohort_command *command, int argc, char **argv)
{
    cohort_options options = {0};
    int code = 0;
    cohort_status status =
        cohort_options_parse(&options, command->options, command->option_count, argc, argv);
    if (status == COHORT_OK && options.help) {
        if (cohort_cli_is_speaker(NULL))
            cohort_cli_print_command(stdout, command);
        cohort_options_clear(&options);
        return 0;
    }
    if (status == COHORT_OK)
        status =
            cohort_options_positionals(&options, command->least, command->most, command->usage);
    int64_t restarts = 0;
    bool is_outside = false;
    const bool can_restart = command == &cohort_command_train || command == &cohort_command_tune;
    if (status == COHORT_OK && can_restart) {
        is_outside = cohort_options_given(&options, "restarts") && !getenv(COHORT_SUPERVISED);
        status = cohort_options_integer(&restarts, &options, "restarts", 0, 0, COHORT_RESTARTS_MAX);
    }
    if (status != COHORT_OK) {
        code = finish(NULL, status);
    } else if (is_outside) {
        code = cohort_supervise_train(argv - 1, restarts);
    } else if (command->is_parallel) {
        code = run_parallel(command, &options);
    } else if (cohort_cli_is_speaker(NULL)) {
        cohort_log_set_sink(print_message, NULL, COHORT_LOG_WARNING);
        code = finish(NULL, command->run(NULL, &options));
    }
    cohort_options_clear(&options);
    return code;
}

int main(int argc, char **argv)
{
    /* Both then arrive as errors of the write, which are reported. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        if (cohort_cli_is_speaker(NULL))
            print_overview(stderr);
        return cohort_status_exit_code(COHORT_USAGE);
    }
    const char *name = argv[1];
    const bool is_help =
        strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    if (is_help)
        return cohort_cli_is_speaker(NULL) ? finish(NULL, help(argc, argv)) : 0;
    if (strcmp(name, "--version") == 0) {
        if (!cohort_cli_is_speaker(NULL))
            return 0;
        cohort_cli_print_version(stdout);
        return finish(NULL, COHORT_OK);
    }
    const cohort_command *command = cohort_command_find(name);
    if (!command)
        return finish(NULL, unknown(name));
    if (command->run_outside)
        return cohort_cli_is_speaker(NULL) ? command->run_outside(argc - 1, argv + 1) : 0;
    if (!command->run_raw)
        return run_command(command, argc - 1, argv + 1);
    return cohort_cli_is_speaker(NULL) ? finish(NULL, command->run_raw(argc - 1, argv + 1)) : 0;
}
