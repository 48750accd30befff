#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/manual/manual.h"

static void append(char *text, size_t bytes, const char *separator, const char *word)
{
    const size_t used = strlen(text);
    snprintf(text + used, bytes - used, "%s%s", used ? separator : "", word);
}

static void replace(char *text, char old, char new)
{
    for (; *text; text++)
        if (*text == old)
            *text = new;
}

/* What is known of names that say no ending: "RUN_A" begins with RUN. */
static const struct {
    const char *name, *how;
} known[] = {
    {"KEY=VALUE", "keys"}, {"RECIPE", "yaml|yml"}, {"MODEL", "h5"},         {"RUN", "folders"},
    {"DIR", "folders"},    {"FOLDER", "folders"},  {"COMMAND", "programs"}, {"FILE", "any"},
};

/* Any file goes before files by ending (which folders are offered with), those before folders. */
static void widen(cohort_completion *completion, const char *how)
{
    char *old = completion->how;
    const bool is_ending = strcmp(how, "any") && strcmp(how, "folders");
    if (strcmp(old, "none") == 0 || strcmp(how, "any") == 0 ||
        (is_ending && strcmp(old, "folders") == 0))
        snprintf(old, sizeof completion->how, "%s", how);
    else if (is_ending && strcmp(old, "any") != 0 && !strstr(old, how))
        append(old, sizeof completion->how, "|", how);
}

/* "OUT.{h5,csv}" ends in h5 or csv. */
static bool add_ending(cohort_completion *completion, const char *name)
{
    const char *dot = strrchr(name, '.');
    char ending[32];
    if (!dot || !dot[1])
        return false;
    snprintf(ending, sizeof ending, "%s", dot + 1 + (dot[1] == '{'));
    ending[strcspn(ending, "}")] = '\0';
    replace(ending, ',', '|');
    widen(completion, ending);
    return true;
}

static void add_name(cohort_completion *completion, const char *name, const char *otherwise)
{
    if (islower((unsigned char)*name)) { /* words to choose from */
        append(completion->words, sizeof completion->words, " ", name);
        replace(completion->words, '|', ' ');
        return;
    }
    if (add_ending(completion, name))
        return;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strncmp(name, known[i].name, strlen(known[i].name)) == 0) {
            widen(completion, known[i].how);
            return;
        }
    }
    if (otherwise)
        widen(completion, otherwise);
}

cohort_completion cohort_completion_of_value(const char *value_name)
{
    cohort_completion completion = {.how = "none"};
    if (value_name)
        add_name(&completion, value_name, NULL);
    return completion;
}

cohort_completion cohort_completion_of_usage(const char *usage)
{
    cohort_completion completion = {.how = "none"};
    bool is_value = false; /* the word belongs to an option before it */
    while (*usage) {
        const size_t length = strcspn(usage, " ");
        char word[128];
        const char *start = usage + (*usage == '[');
        snprintf(word, sizeof word, "%.*s", (int)(length - (size_t)(start - usage)), start);
        const bool is_closed = strchr(word, ']') != NULL;
        word[strcspn(word, "]")] = '\0';
        char *dots = strstr(word, "…");
        if (dots)
            *dots = '\0';
        if (strncmp(word, "--", 2) == 0)
            is_value = !is_closed;
        else if (is_value)
            is_value = false;
        else if (*word && strcmp(word, "|") != 0)
            add_name(&completion, word, "any");
        usage += length + strspn(usage + length, " ");
    }
    return completion;
}
