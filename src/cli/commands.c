#include <string.h>

#include "cli/command.h"

const cohort_command *const cohort_commands[COHORT_COMMAND_COUNT] = {
#define X(name) &cohort_command_##name,
#include "cli/commands.def"
#undef X
};

const cohort_command *cohort_command_find(const char *name)
{
    for (size_t i = 0; i < COHORT_COMMAND_COUNT; i++)
        if (strcmp(cohort_commands[i]->name, name) == 0)
            return cohort_commands[i];
    return NULL;
}

void cohort_cli_print_command(FILE *out, const cohort_command *command)
{
    cohort_text text = {0};
    cohort_text_append(&text, "usage: cohort %s %s\n\n%s.\n", command->name, command->usage,
                       command->summary);
    if (command->details)
        cohort_text_append(&text, "\n%s\n", command->details);
    cohort_text_append(&text, "\noptions:\n");
    cohort_options_help(&text, command->options, command->option_count);
    if (!text.failed)
        fputs(text.data, out);
    cohort_text_clear(&text);
}
