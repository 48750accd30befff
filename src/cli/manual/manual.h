/* Manual pages and completions for shells, written at build time from the tables behind
 * `cohort --help` and `cohort help recipe`. Private to the program cohort_manual. */
#ifndef COHORT_CLI_MANUAL_MANUAL_H
#define COHORT_CLI_MANUAL_MANUAL_H

#include "base/text.h"
#include "cli/options.h"

/* A command, or a format of `cohort convert`. Texts are the tables'. */
typedef struct cohort_manual_page {
    char name[64]; /* "train", "convert csv" */
    const char *usage, *summary;
    const char *details;    /* NULL: none */
    cohort_option *options; /* owned */
    size_t option_count;
    bool has_parts; /* the pages that follow, up to the next command, are its formats */
    bool is_part;
} cohort_manual_page;

/* A key that --set knows. */
typedef struct cohort_manual_key {
    char *path;   /* "optimizer.type"; owned */
    char *values; /* "sgd adam"; "" when any; owned */
} cohort_manual_key;

typedef struct cohort_manual {
    cohort_manual_page *pages;
    size_t page_count;
    cohort_manual_key *keys;
    size_t key_count;
} cohort_manual;

/* Clear also after a failure. */
COHORT_NODISCARD cohort_status cohort_manual_collect(cohort_manual *manual);
void cohort_manual_clear(cohort_manual *manual);

/* What completes an argument: the words, and files by HOW: "none", "any", "folders",
 * "programs", "keys" (of a recipe), or endings as "yaml|yml" (with folders on the way). */
typedef struct cohort_completion {
    char words[256]; /* "onnx c" */
    char how[64];
} cohort_completion;

/* Of an option's value, by its name in the table ("FILE.h5", "onnx|c"); NULL: a flag, none. */
cohort_completion cohort_completion_of_value(const char *value_name);
/* Of the positional arguments in a usage, whichever comes. */
cohort_completion cohort_completion_of_usage(const char *usage);

/* One manual page: of a command (its formats included), of the program, of recipes. DATE is
 * "2026-11-27". */
void cohort_manual_write_command(cohort_text *out, const cohort_manual *manual, size_t page,
                                 const char *date);
void cohort_manual_write_program(cohort_text *out, const cohort_manual *manual, const char *date);
void cohort_manual_write_recipe(cohort_text *out, const char *date);

/* One file for each shell. */
void cohort_manual_write_bash(cohort_text *out, const cohort_manual *manual);
void cohort_manual_write_zsh(cohort_text *out, const cohort_manual *manual);
void cohort_manual_write_fish(cohort_text *out, const cohort_manual *manual);

#endif
