#include "cli/options.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static size_t find(const cohort_option *table, size_t count, const char *name, size_t length)
{
    size_t at = 0;
    while (at < count && (strlen(table[at].name) != length || memcmp(table[at].name, name, length)))
        at++;
    return at;
}

static cohort_status unknown_option(const cohort_options *parsed, const char *name)
{
    const char *nearest = NULL;
    const char **names = calloc(parsed->option_count + 1, sizeof *names);
    if (names) {
        for (size_t i = 0; i < parsed->option_count; i++)
            names[i] = parsed->table[i].name;
        names[parsed->option_count] = "help";
        nearest = cohort_nearest_word(name, names, parsed->option_count + 1);
        free(names);
    }
    if (nearest)
        return COHORT_FAIL(COHORT_USAGE, "%s: unknown option --%s; did you mean --%s?",
                           parsed->command, name, nearest);
    return COHORT_FAIL(COHORT_USAGE, "%s: unknown option --%s; cohort %s --help lists them",
                       parsed->command, name, parsed->command);
}

/* An argument as first read: an option with its value, or (option == option_count) positional. */
typedef struct argument {
    size_t option;
    const char *value;
} argument;

/* Reads the option at argv[*at], and its value from argv[*at + 1] if that is where it is. */
static cohort_status read_option(argument *out, const cohort_options *parsed, int argc, char **argv,
                                 int *at)
{
    const char *name = argv[*at] + 2, *equals = strchr(name, '=');
    const size_t length = equals ? (size_t)(equals - name) : strlen(name);
    out->option = find(parsed->table, parsed->option_count, name, length);
    if (out->option == parsed->option_count) {
        char copy[64];
        size_t kept = length < sizeof copy - 1 ? length : sizeof copy - 1;
        memcpy(copy, name, kept);
        copy[kept] = '\0';
        return unknown_option(parsed, copy);
    }
    const cohort_option *option = &parsed->table[out->option];
    COHORT_REQUIRE(option->value_name || !equals, COHORT_USAGE, "%s: --%s takes no value",
                   parsed->command, option->name);
    if (!option->value_name) {
        out->value = "";
    } else if (equals) {
        out->value = equals + 1;
    } else {
        /* "--output --seed 1" is a forgotten value far more often than a file named "--seed". */
        COHORT_REQUIRE(*at + 1 < argc && strncmp(argv[*at + 1], "--", 2) != 0, COHORT_USAGE,
                       "%s: --%s needs a value: --%s %s", parsed->command, option->name,
                       option->name, option->value_name);
        out->value = argv[++*at];
    }
    return COHORT_OK;
}

static bool looks_like_option(const char *word)
{
    /* "-" is standard input and "-3" a number: both are arguments. */
    return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9') && word[1] != '.';
}

static cohort_status read_arguments(argument *arguments, size_t *count, cohort_options *parsed,
                                    int argc, char **argv)
{
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (options_end || !looks_like_option(argv[i])) {
            arguments[(*count)++] = (argument){parsed->option_count, argv[i]};
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            parsed->help = true;
            return COHORT_OK;
        } else {
            COHORT_REQUIRE(argv[i][1] == '-', COHORT_USAGE,
                           "%s: unknown option %s; cohort %s --help lists them", parsed->command,
                           argv[i], parsed->command);
            COHORT_TRY(read_option(&arguments[(*count)++], parsed, argc, argv, &i));
        }
    }
    return COHORT_OK;
}

/* A stable counting sort: values of option 0, of option 1, …, the positional arguments. */
static cohort_status sort_arguments(cohort_options *parsed, const argument *arguments, size_t count)
{
    const size_t options = parsed->option_count;
    parsed->strings = calloc(count + 1, sizeof *parsed->strings);
    parsed->first = calloc(options + 2, sizeof *parsed->first);
    COHORT_REQUIRE(parsed->strings && parsed->first, COHORT_MEMORY, "out of memory");
    size_t at = 0;
    for (size_t option = 0; option <= options; option++) {
        parsed->first[option] = at;
        for (size_t i = 0; i < count; i++)
            if (arguments[i].option == option)
                parsed->strings[at++] = arguments[i].value;
        COHORT_REQUIRE(
            option == options || parsed->table[option].repeatable || at - parsed->first[option] < 2,
            COHORT_USAGE, "%s: --%s is given twice", parsed->command, parsed->table[option].name);
    }
    parsed->first[options + 1] = at;
    parsed->positional = parsed->strings + parsed->first[options];
    parsed->positional_count = at - parsed->first[options];
    return COHORT_OK;
}

cohort_status cohort_options_parse(cohort_options *parsed, const cohort_option *table, size_t count,
                                   int argc, char **argv)
{
    *parsed = (cohort_options){
        .command = argc > 0 ? argv[0] : "cohort", .table = table, .option_count = count};
    argument *arguments = calloc((size_t)(argc > 0 ? argc : 1), sizeof *arguments);
    COHORT_REQUIRE(arguments, COHORT_MEMORY, "out of memory");
    size_t given = 0;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, read_arguments(arguments, &given, parsed, argc, argv));
    COHORT_TRY_DONE(status, sort_arguments(parsed, arguments, parsed->help ? 0 : given));
done:
    free(arguments);
    if (status != COHORT_OK)
        cohort_options_clear(parsed);
    return status;
}

void cohort_options_clear(cohort_options *parsed)
{
    free(parsed->strings);
    free(parsed->first);
    *parsed = (cohort_options){0};
}

const char *const *cohort_options_list(size_t *count, const cohort_options *parsed,
                                       const char *name)
{
    size_t option = find(parsed->table, parsed->option_count, name, strlen(name));
    *count = 0;
    if (option == parsed->option_count)
        return NULL;
    *count = parsed->first[option + 1] - parsed->first[option];
    return *count ? parsed->strings + parsed->first[option] : NULL;
}

const char *cohort_options_get(const cohort_options *parsed, const char *name)
{
    size_t count;
    const char *const *values = cohort_options_list(&count, parsed, name);
    return count ? values[count - 1] : NULL;
}

bool cohort_options_given(const cohort_options *parsed, const char *name)
{
    return cohort_options_get(parsed, name) != NULL;
}

cohort_status cohort_options_require(const char **out, const cohort_options *parsed,
                                     const char *name)
{
    *out = cohort_options_get(parsed, name);
    if (*out)
        return COHORT_OK;
    size_t option = find(parsed->table, parsed->option_count, name, strlen(name));
    return COHORT_FAIL(COHORT_USAGE, "%s: --%s %s is required", parsed->command, name,
                       option < parsed->option_count && parsed->table[option].value_name
                           ? parsed->table[option].value_name
                           : "VALUE");
}

cohort_status cohort_options_integer(int64_t *out, const cohort_options *parsed, const char *name,
                                     int64_t otherwise, int64_t least, int64_t most)
{
    *out = otherwise;
    const char *text = cohort_options_get(parsed, name);
    if (!text)
        return COHORT_OK;
    COHORT_REQUIRE(cohort_parse_int64(out, text), COHORT_USAGE, "%s: --%s %s is not a whole number",
                   parsed->command, name, text);
    if (*out < least || *out > most) {
        if (most == INT64_MAX)
            return COHORT_FAIL(COHORT_USAGE, "%s: --%s %s must be at least %" PRId64,
                               parsed->command, name, text, least);
        return COHORT_FAIL(COHORT_USAGE, "%s: --%s %s must be from %" PRId64 " to %" PRId64,
                           parsed->command, name, text, least, most);
    }
    return COHORT_OK;
}

cohort_status cohort_options_number(double *out, const cohort_options *parsed, const char *name,
                                    double otherwise, double least, double most)
{
    *out = otherwise;
    const char *text = cohort_options_get(parsed, name);
    if (!text)
        return COHORT_OK;
    COHORT_REQUIRE(cohort_parse_double(out, text), COHORT_USAGE, "%s: --%s %s is not a number",
                   parsed->command, name, text);
    /* Written so that NaN fails. */
    COHORT_REQUIRE(*out >= least && *out <= most, COHORT_USAGE, "%s: --%s %s must be from %g to %g",
                   parsed->command, name, text, least, most);
    return COHORT_OK;
}

cohort_status cohort_options_choice(size_t *out, const cohort_options *parsed, const char *name,
                                    size_t otherwise, const char *const *choices, size_t count)
{
    *out = otherwise;
    const char *value = cohort_options_get(parsed, name);
    if (!value)
        return COHORT_OK;
    for (*out = 0; *out < count; ++*out)
        if (strcmp(choices[*out], value) == 0)
            return COHORT_OK;
    cohort_text list = {0};
    for (size_t i = 0; i < count; i++)
        cohort_text_append(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", choices[i]);
    cohort_status status = COHORT_FAIL(COHORT_USAGE, "%s: --%s %s: must be %s", parsed->command,
                                       name, value, list.data ? list.data : "another value");
    cohort_text_clear(&list);
    return status;
}

cohort_status cohort_options_positionals(const cohort_options *parsed, size_t least, size_t most,
                                         const char *usage)
{
    COHORT_REQUIRE(parsed->positional_count >= least, COHORT_USAGE,
                   "%s: an argument is missing: cohort %s %s", parsed->command, parsed->command,
                   usage);
    COHORT_REQUIRE(parsed->positional_count <= most, COHORT_USAGE,
                   "%s: one argument too many: \"%s\"; usage: cohort %s %s", parsed->command,
                   parsed->positional[most], parsed->command, usage);
    return COHORT_OK;
}

enum { HELP_COLUMNS = 80, NAME_COLUMNS_MAX = 30 };

/* Characters of a UTF-8 text, one a column. */
static size_t columns_of(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += (*text & 0xC0) != 0x80;
    return columns;
}

static size_t name_columns(const cohort_option *option)
{
    return 4 + columns_of(option->name) +
           (option->value_name ? 1 + columns_of(option->value_name) : 0);
}

/* One option: name and value, then the help wrapped into the columns right of COLUMN. */
static void help_line(cohort_text *text, const cohort_option *option, size_t column)
{
    cohort_text_append(text, "  --%s%s%s", option->name, option->value_name ? " " : "",
                       option->value_name ? option->value_name : "");
    size_t used = name_columns(option);
    if (used + 2 > column) {
        cohort_text_append(text, "\n");
        used = 0;
    }
    cohort_text_append(text, "%*s", (int)(column - used), "");
    used = column;
    for (const char *word = option->help; *word;) {
        size_t length = strcspn(word, " "), columns = 0;
        for (size_t i = 0; i < length; i++)
            columns += (word[i] & 0xC0) != 0x80;
        if (used > column && used + 1 + columns > HELP_COLUMNS) {
            cohort_text_append(text, "\n%*s", (int)column, "");
            used = column;
        } else if (used > column) {
            cohort_text_append(text, " ");
            used++;
        }
        cohort_text_append_bytes(text, word, length);
        used += columns;
        word += length + strspn(word + length, " ");
    }
    cohort_text_append(text, "\n");
}

void cohort_options_help(cohort_text *text, const cohort_option *table, size_t count)
{
    static const cohort_option help = {"help", NULL, "this text", false};
    size_t column = name_columns(&help);
    for (size_t i = 0; i < count; i++) {
        size_t need = name_columns(&table[i]);
        if (need > column && need <= NAME_COLUMNS_MAX)
            column = need;
    }
    for (size_t i = 0; i < count; i++)
        help_line(text, &table[i], column + 2);
    help_line(text, &help, column + 2);
}
