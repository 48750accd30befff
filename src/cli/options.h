/* Command-line options of the subcommands: --name VALUE, --name=VALUE, flags, repeated
 * options, positional arguments, "--" before arguments that look like options. */
#ifndef COHORT_CLI_OPTIONS_H
#define COHORT_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "base/text.h"

/* One line of a subcommand's table; tables are static. */
typedef struct cohort_option {
    const char *name; /* "output", written --output */
    const char
        *value_name;  /* NULL: a flag, which takes no value. "onnx|c" lists the words to choose
                         from; else cli/manual/kind.c tells from "FILE.h5" how to complete it */
    const char *help; /* one sentence without a full stop; wrapped when long */
    bool repeatable;  /* else giving it twice is an error */
} cohort_option;

/* What was given. Strings are borrowed from argv, the table from the caller. */
typedef struct cohort_options {
    const char *command; /* argv[0], named in messages: "convert idx" */
    const cohort_option *table;
    size_t option_count;
    bool help; /* --help or -h was given: the rest is not looked at */
    const char *const *positional;
    size_t positional_count;
    const char **strings; /* private: values by option, then the positional arguments */
    size_t *first;        /* private: [option_count + 1] where an option's values begin */
} cohort_options;

/* Parses argv[1..argc). COHORT_USAGE names the unknown option and the nearest known one,
 * a missing value, a value for a flag, an option given twice. Clear *parsed in any case
 * (harmless after a failure). */
COHORT_NODISCARD cohort_status cohort_options_parse(cohort_options *parsed,
                                                    const cohort_option *table, size_t count,
                                                    int argc, char **argv);
void cohort_options_clear(cohort_options *parsed);

/* The value (the last of several; "" for a flag), or NULL when not given. */
const char *cohort_options_get(const cohort_options *parsed, const char *name);
bool cohort_options_given(const cohort_options *parsed, const char *name);
/* All values in the order given; *count = 0 and NULL when not given. */
const char *const *cohort_options_list(size_t *count, const cohort_options *parsed,
                                       const char *name);

/* As get, but COHORT_USAGE when not given. */
COHORT_NODISCARD cohort_status cohort_options_require(const char **out,
                                                      const cohort_options *parsed,
                                                      const char *name);
/* *out = the number given, or OTHERWISE; COHORT_USAGE unless it lies in [least, most]. */
COHORT_NODISCARD cohort_status cohort_options_integer(int64_t *out, const cohort_options *parsed,
                                                      const char *name, int64_t otherwise,
                                                      int64_t least, int64_t most);
COHORT_NODISCARD cohort_status cohort_options_number(double *out, const cohort_options *parsed,
                                                     const char *name, double otherwise,
                                                     double least, double most);
/* *out = the index of the value among CHOICES, or OTHERWISE when not given. */
COHORT_NODISCARD cohort_status cohort_options_choice(size_t *out, const cohort_options *parsed,
                                                     const char *name, size_t otherwise,
                                                     const char *const *choices, size_t count);
/* COHORT_USAGE unless the number of positional arguments lies in [least, most]; USAGE says
 * what was expected ("MODEL INPUT.h5"). */
COHORT_NODISCARD cohort_status cohort_options_positionals(const cohort_options *parsed,
                                                          size_t least, size_t most,
                                                          const char *usage);

/* Appends the aligned list of options, one a line, wrapped at 80 columns; --help last. */
void cohort_options_help(cohort_text *text, const cohort_option *table, size_t count);

#endif
