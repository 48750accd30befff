#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/convert/format.h"
#include "cli/manual/manual.h"
#include "nn/model.h"
#include "recipe/recipe.h"

static cohort_manual_page *add_page(cohort_manual *manual)
{
    cohort_manual_page *grown =
        realloc(manual->pages, (manual->page_count + 1) * sizeof *manual->pages);
    if (!grown)
        return NULL;
    manual->pages = grown;
    grown[manual->page_count] = (cohort_manual_page){0};
    return &grown[manual->page_count++];
}

static cohort_status fill_page(cohort_manual_page *page, const cohort_option *options, size_t count)
{
    COHORT_REQUIRE(page, COHORT_MEMORY, "out of memory");
    page->option_count = count;
    page->options = calloc(count + 1, sizeof *page->options);
    COHORT_REQUIRE(page->options, COHORT_MEMORY, "out of memory");
    if (count)
        memcpy(page->options, options, count * sizeof *options);
    return COHORT_OK;
}

static cohort_status add_format(cohort_manual *manual, const cohort_format *format)
{
    cohort_option table[COHORT_FORMAT_OPTIONS_MAX];
    size_t count = 0;
    COHORT_TRY(cohort_format_options(table, &count, format));
    cohort_manual_page *page = add_page(manual);
    COHORT_TRY(fill_page(page, table, count));
    page->usage = format->usage;
    page->summary = format->summary;
    page->details = format->help;
    page->is_part = true;
    snprintf(page->name, sizeof page->name, "convert %s", format->name);
    return COHORT_OK;
}

static cohort_status add_command(cohort_manual *manual, const cohort_command *command)
{
    cohort_manual_page *page = add_page(manual);
    COHORT_TRY(fill_page(page, command->options, command->option_count));
    page->usage = command->usage;
    page->summary = command->summary;
    page->details = command->details;
    page->has_parts = command == &cohort_command_convert;
    snprintf(page->name, sizeof page->name, "%s", command->name);
    for (size_t i = 0; command == &cohort_command_convert && cohort_formats[i]; i++)
        COHORT_TRY(add_format(manual, cohort_formats[i]));
    return COHORT_OK;
}

/* The visit of the recipe's outline. What finds no memory is seen by the caller: a key without
 * a path. */
static void add_key(void *context, const cohort_outline_line *line)
{
    cohort_manual *manual = context;
    if (!*line->path)
        return;
    /* Variants of one key may have keys of one name. */
    for (size_t i = 0; i < manual->key_count; i++)
        if (manual->keys[i].path && strcmp(manual->keys[i].path, line->path) == 0)
            return;
    cohort_manual_key *grown =
        realloc(manual->keys, (manual->key_count + 1) * sizeof *manual->keys);
    if (!grown)
        return;
    manual->keys = grown;
    cohort_text values = {0};
    for (size_t i = 0; line->values && line->values[i]; i++)
        cohort_text_append(&values, "%s%s", i ? " " : "", line->values[i]);
    grown[manual->key_count++] = (cohort_manual_key){
        .path = strdup(line->path), .values = strdup(values.data ? values.data : "")};
    cohort_text_clear(&values);
}

cohort_status cohort_manual_collect(cohort_manual *manual)
{
    *manual = (cohort_manual){0};
    for (size_t i = 0; i < COHORT_COMMAND_COUNT; i++)
        COHORT_TRY(add_command(manual, cohort_commands[i]));
    cohort_recipe_outline(add_key, manual, cohort_model_catalog());
    for (size_t i = 0; i < manual->key_count; i++)
        COHORT_REQUIRE(manual->keys[i].path && manual->keys[i].values, COHORT_MEMORY,
                       "out of memory");
    return COHORT_OK;
}

void cohort_manual_clear(cohort_manual *manual)
{
    for (size_t i = 0; i < manual->page_count; i++)
        free(manual->pages[i].options);
    for (size_t i = 0; i < manual->key_count; i++) {
        free(manual->keys[i].path);
        free(manual->keys[i].values);
    }
    free(manual->pages);
    free(manual->keys);
    *manual = (cohort_manual){0};
}
