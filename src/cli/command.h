/* The subcommands of the program: one file and one table line each. */
#ifndef COHORT_CLI_COMMAND_H
#define COHORT_CLI_COMMAND_H

#include <stdio.h>

#include "cli/options.h"
#include "comm/comm.h"

typedef struct cohort_command {
    const char *name;
    const char *usage;   /* what follows the name: "RECIPE [--set KEY=VALUE]…" */
    const char *summary; /* one sentence without a full stop */
    const char *details; /* paragraphs for `cohort help NAME`; may be NULL */
    const cohort_option *options;
    size_t option_count;
    size_t least, most; /* positional arguments */
    bool is_parallel;   /* runs on all ranks; COMM is given. Else rank 0 alone, COMM NULL */
    /* Prints results to stdout on rank 0. Collective when parallel. */
    cohort_status (*run)(cohort_comm *comm, const cohort_options *options);
    /* Instead of the above, for commands that parse their own arguments. */
    cohort_status (*run_raw)(int argc, char **argv);
    /* Instead of both, for what runs other programs: returns the exit code. */
    int (*run_outside)(int argc, char **argv);
} cohort_command;

#define X(name) extern const cohort_command cohort_command_##name;
#include "cli/commands.def"
#undef X

enum {
    COHORT_COMMAND_COUNT = 0
#define X(name) +1
#include "cli/commands.def"
#undef X
};

/* What the program is, in a line. */
#define COHORT_ABOUT "trains neural networks data-parallel on CPU clusters"

/* All of them, in the order of commands.def. */
extern const cohort_command *const cohort_commands[COHORT_COMMAND_COUNT];
/* NULL if there is none of that name. */
const cohort_command *cohort_command_find(const char *name);

enum { COHORT_RESTARTS_MAX = 1000 }; /* of `train --restarts` */

/* The help text of COMMAND. */
void cohort_cli_print_command(FILE *out, const cohort_command *command);

/* Whether this process speaks for all: rank 0, also before MPI is up. */
bool cohort_cli_is_speaker(const cohort_comm *comm);
/* Whether stdout reaches a person's terminal (through mpirun, too). */
bool cohort_cli_is_terminal(void);

#endif
