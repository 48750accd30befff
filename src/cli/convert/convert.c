#include "cli/convert/convert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/convert/format.h"
#include "cli/signals.h"

const cohort_format *const cohort_formats[] = {
    &cohort_format_idx,    &cohort_format_cifar10,
    &cohort_format_csv,    &cohort_format_text,
    &cohort_format_chars,  &cohort_format_digits,
    &cohort_format_images, &cohort_format_npz,
    &cohort_format_hdf5,   NULL,
};
enum { FORMAT_COUNT = sizeof cohort_formats / sizeof *cohort_formats - 1 };

static const cohort_option common[] = {
    {"output", "FILE.h5", "the dataset to write; replaced when it is complete", false},
    {"compress", "LEVEL", "gzip level of x from 0 (none, the default: fastest to train from) to 9",
     false},
};
enum { COMMON_COUNT = sizeof common / sizeof *common };

cohort_status cohort_format_options(cohort_option table[COHORT_FORMAT_OPTIONS_MAX], size_t *count,
                                    const cohort_format *format)
{
    *count = format->option_count + COMMON_COUNT;
    COHORT_REQUIRE(*count <= COHORT_FORMAT_OPTIONS_MAX, COHORT_INTERNAL,
                   "format %s has too many options", format->name);
    if (format->option_count)
        memcpy(table, format->options, format->option_count * sizeof *table);
    memcpy(table + format->option_count, common, sizeof common);
    return COHORT_OK;
}

cohort_status cohort_format_compression(int *level, const cohort_options *options)
{
    int64_t value = 0;
    COHORT_TRY(cohort_options_integer(&value, options, "compress", 0, 0, 9));
    *level = (int)value;
    return COHORT_OK;
}

cohort_status cohort_format_seed(uint64_t *seed, const cohort_options *options)
{
    int64_t value = 0;
    COHORT_TRY(cohort_options_integer(&value, options, "seed", 1, 0, INT64_MAX));
    *seed = (uint64_t)value;
    return COHORT_OK;
}

cohort_status cohort_format_vocabulary(cohort_writer *writer, const cohort_tokenizer *tokenizer)
{
    size_t count = 0;
    const char *const *vocabulary = cohort_tokenizer_vocabulary(&count, tokenizer);
    cohort_text description = {0};
    cohort_tokenizer_describe(&description, cohort_tokenizer_spec_of(tokenizer));
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_text_status(&description));
    COHORT_TRY_DONE(status, cohort_writer_attribute_list(writer, "vocabulary", vocabulary, count));
    COHORT_TRY_DONE(status, cohort_writer_attribute(writer, "tokenizer", description.data));
done:
    cohort_text_clear(&description);
    return status;
}

static cohort_status print_overview(void)
{
    printf("usage: cohort convert FORMAT … --output FILE.h5\n\n"
           "Converts datasets into HDF5 files to train from. Formats:\n\n");
    for (size_t i = 0; i < FORMAT_COUNT; i++)
        printf("  %-8s %s\n", cohort_formats[i]->name, cohort_formats[i]->summary);
    printf("\ncohort convert FORMAT --help shows the options of a format.\n");
    return COHORT_OK;
}

static cohort_status print_help(const cohort_format *format, const cohort_option *table,
                                size_t count)
{
    cohort_text text = {0};
    cohort_text_append(&text, "usage: cohort convert %s %s%s--output FILE.h5 [options]\n\n%s\n\n",
                       format->name, format->usage, *format->usage ? " " : "", format->help);
    cohort_options_help(&text, table, count);
    cohort_status status = cohort_text_status(&text);
    if (status == COHORT_OK)
        fputs(text.data, stdout);
    cohort_text_clear(&text);
    return status;
}

static cohort_status find_format(const cohort_format **out, const char *name)
{
    const char *names[FORMAT_COUNT];
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        names[i] = cohort_formats[i]->name;
        if (strcmp(names[i], name) == 0) {
            *out = cohort_formats[i];
            return COHORT_OK;
        }
    }
    const char *nearest = cohort_nearest_word(name, names, FORMAT_COUNT);
    if (nearest)
        return COHORT_FAIL(COHORT_USAGE, "convert: unknown format \"%s\"; did you mean %s?", name,
                           nearest);
    return COHORT_FAIL(COHORT_USAGE,
                       "convert: unknown format \"%s\"; cohort convert --help lists them", name);
}

/* The command that makes this file, without where it goes: it says all there is to say about
 * how the data was made, and running it again makes the same. */
static cohort_status describe_source(cohort_text *text, int argc, char **argv)
{
    cohort_text_append(text, "cohort %s convert", COHORT_VERSION);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--output") == 0)
            i++;
        else if (strncmp(argv[i], "--output=", 9) != 0)
            cohort_text_append(text, " %s", argv[i]);
    }
    return cohort_text_status(text);
}

static cohort_status write_file(const cohort_format *format, const cohort_options *options,
                                int argc, char **argv)
{
    const char *path = NULL;
    cohort_writer *writer = NULL;
    cohort_text source = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_options_positionals(options, format->least, format->most, format->usage));
    COHORT_TRY(cohort_options_require(&path, options, "output"));
    COHORT_TRY_DONE(status, cohort_writer_create(&writer, path));
    cohort_signals_remove(cohort_writer_temporary(writer));
    COHORT_TRY_DONE(status, format->run(writer, options));
    COHORT_TRY_DONE(status, describe_source(&source, argc, argv));
    COHORT_TRY_DONE(status, cohort_writer_attribute(writer, "source", source.data));
    COHORT_TRY_DONE(status, cohort_writer_finish(writer));
    printf("wrote %s\n", path);
done:
    cohort_text_clear(&source);
    cohort_writer_destroy(writer);
    return status;
}

cohort_status cohort_cli_convert(int argc, char **argv)
{
    COHORT_REQUIRE(argc >= 2, COHORT_USAGE,
                   "convert: which format? cohort convert --help lists them");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_overview();
    const cohort_format *format = NULL;
    COHORT_TRY(find_format(&format, argv[1]));
    cohort_option table[COHORT_FORMAT_OPTIONS_MAX];
    size_t count;
    COHORT_TRY(cohort_format_options(table, &count, format));

    char command[64];
    char **arguments = malloc((size_t)argc * sizeof *arguments);
    COHORT_REQUIRE(arguments, COHORT_MEMORY, "out of memory");
    memcpy(arguments, argv + 1, (size_t)argc * sizeof *arguments - sizeof *arguments);
    snprintf(command, sizeof command, "convert %s", format->name);
    arguments[0] = command;
    cohort_options options;
    cohort_status status = cohort_options_parse(&options, table, count, argc - 1, arguments);
    if (status == COHORT_OK)
        status = options.help ? print_help(format, table, count)
                              : write_file(format, &options, argc, argv);
    cohort_options_clear(&options);
    free(arguments);
    return status;
}
