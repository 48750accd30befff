/* Manual pages in man(7), as `man` and mandoc read them. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/manual/manual.h"
#include "nn/model.h"
#include "recipe/recipe.h"

/* The code point at *AT (UTF-8, trusted: the tables are ours), which moves to the next. */
static unsigned next_point(const char **at)
{
    const unsigned char *bytes = (const unsigned char *)*at;
    unsigned point = bytes[0];
    size_t more = point < 0x80 ? 0 : point < 0xE0 ? 1 : point < 0xF0 ? 2 : 3;
    point &= more ? 0x3Fu >> more : 0x7Fu;
    for (size_t i = 1; i <= more; i++)
        point = point << 6 | (bytes[i] & 0x3Fu);
    *at += 1 + more;
    return point;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '\\':
        return "\\e";
    case '-': /* what may be copied stays a minus */
        return "\\-";
    case '\'':
        return "\\(aq";
    case '"':
        return "\\(dq";
    case '^':
        return "\\(ha";
    case '~':
        return "\\(ti";
    default:
        return NULL;
    }
}

/* LENGTH bytes of TEXT. Between backquotes it is bold. */
static void append_some(cohort_text *out, const char *text, size_t length)
{
    bool is_code = false;
    for (const char *end = text + length; text < end;) {
        const char c = *text;
        const unsigned point = next_point(&text);
        if (c == '`') {
            cohort_text_append(out, is_code ? "\\fR" : "\\fB");
            is_code = !is_code;
        } else if (point >= 0x80) {
            cohort_text_append(out, "\\[u%04X]", point);
        } else if (escape_of(c)) {
            cohort_text_append(out, "%s", escape_of(c));
        } else {
            cohort_text_append_bytes(out, &c, 1);
        }
    }
    if (is_code)
        cohort_text_append(out, "\\fR");
}

/* One line of text, which may begin with what would be a request. */
static void append_line(cohort_text *out, const char *text, size_t length)
{
    if (length && *text == '.')
        cohort_text_append(out, "\\&");
    append_some(out, text, length);
    cohort_text_append(out, "\n");
}

static void append_words(cohort_text *out, const char *text)
{
    append_line(out, text, strlen(text));
}

/* "RECIPE [--set KEY=VALUE]…": capitals are what stands for something, the rest is literal. */
static void append_usage(cohort_text *out, const char *usage)
{
    while (*usage) {
        size_t length = 0;
        char font = 0;
        if (isupper((unsigned char)*usage)) {
            font = 'I';
            while (isupper((unsigned char)usage[length]) ||
                   strchr("_-", usage[length] ? usage[length] : ' '))
                length++;
        } else if (isalnum((unsigned char)*usage) || *usage == '-' || *usage == '.') {
            font = 'B';
            while (islower((unsigned char)usage[length]) || isdigit((unsigned char)usage[length]) ||
                   (usage[length] && strchr("-.", usage[length])))
                length++;
        }
        if (font)
            cohort_text_append(out, "\\f%c", font);
        else
            length =
                strcspn(usage, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
        append_some(out, usage, length);
        if (font)
            cohort_text_append(out, "\\fR");
        usage += length;
    }
    cohort_text_append(out, "\n");
}

/* Where the text right of a term begins: "onnx   the network …" is 7; 0 if LINE is no such. */
static size_t term_columns(const char *line, size_t length)
{
    size_t at = strspn(line, " ");
    const size_t start = at;
    while (at < length && line[at] != ' ')
        at++;
    const size_t gap = at < length ? strspn(line + at, " ") : 0;
    return at > start && gap >= 2 ? at + gap : 0;
}

static size_t line_length(const char *text, const char *end)
{
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    return (size_t)((newline ? newline : end) - text);
}

/* An example, as it stands. */
static void append_example(cohort_text *out, const char *text, const char *end)
{
    const size_t indent = strspn(text, " ");
    cohort_text_append(out, ".PP\n.RS 4\n.nf\n");
    while (text < end) {
        const size_t length = line_length(text, end), skipped = length < indent ? length : indent;
        append_line(out, text + skipped, length - skipped);
        text += length + (text + length < end);
    }
    cohort_text_append(out, ".fi\n.RE\n");
}

/* A paragraph [TEXT, END): a list of terms when its first line has one, an example when it is
 * indented, else running text. */
static void append_paragraph(cohort_text *out, const char *text, const char *end)
{
    const size_t indent = strspn(text, " ");
    const bool is_list = term_columns(text, line_length(text, end)) > 0;
    if (!is_list && indent) {
        append_example(out, text, end);
        return;
    }
    if (!is_list)
        cohort_text_append(out, ".PP\n");
    while (text < end) {
        const size_t length = line_length(text, end), blanks = strspn(text, " ");
        const size_t columns = term_columns(text, length);
        if (is_list && blanks == indent && columns) {
            cohort_text_append(out, ".TP\n.B ");
            append_line(out, text + blanks, strcspn(text + blanks, " "));
            append_line(out, text + columns, length - columns);
        } else {
            append_line(out, text + blanks, length - blanks);
        }
        text += length + (text + length < end);
    }
}

/* Running text directly below a heading. */
static void append_line_by_line(cohort_text *out, const char *text)
{
    for (const char *end = text + strlen(text); text < end;) {
        const size_t length = line_length(text, end);
        append_line(out, text, length);
        text += length + (text + length < end);
    }
}

static void append_details(cohort_text *out, const char *details)
{
    while (details && *details) {
        const char *end = strstr(details, "\n\n");
        append_paragraph(out, details, end ? end : details + strlen(details));
        details = end ? end + 2 : NULL;
    }
}

static void append_option(cohort_text *out, const cohort_option *option)
{
    cohort_text_append(out, ".TP\n\\fB\\-\\-");
    append_some(out, option->name, strlen(option->name));
    cohort_text_append(out, "\\fR");
    if (option->value_name) {
        cohort_text_append(out, " ");
        append_usage(out, option->value_name);
    } else {
        cohort_text_append(out, "\n");
    }
    append_words(out, option->help);
}

static void append_options(cohort_text *out, const cohort_manual_page *page)
{
    static const cohort_option help = {"help", NULL, "print a short form of this page", false};
    for (size_t i = 0; i < page->option_count; i++)
        append_option(out, &page->options[i]);
    append_option(out, &help);
}

/* NAME in small letters, as it is after the dash of a NAME section. */
static void append_head(cohort_text *out, const char *name, int section, const char *date,
                        const char *summary)
{
    cohort_text_append(out, ".\\\" Written by the build from the tables behind `cohort --help`.\n"
                            ".TH ");
    for (const char *c = name; *c; c++)
        cohort_text_append(out, "%c", toupper((unsigned char)*c));
    cohort_text_append(out, " %d %s \"cohort %s\" \"Cohort\"\n.nh\n.ad l\n.SH NAME\n", section,
                       date, COHORT_VERSION);
    append_some(out, name, strlen(name));
    cohort_text_append(out, " \\- %c", tolower((unsigned char)*summary));
    append_words(out, summary + 1);
}

static void append_see_also(cohort_text *out, const cohort_manual *manual, const char *but)
{
    cohort_text_append(out, ".SH SEE ALSO\n");
    if (but)
        cohort_text_append(out, ".BR cohort (1),\n");
    for (size_t i = 0; i < manual->page_count; i++) {
        const cohort_manual_page *page = &manual->pages[i];
        if (!page->is_part && !(but && strcmp(page->name, but) == 0))
            cohort_text_append(out, ".BR cohort\\-%s (1),\n", page->name);
    }
    cohort_text_append(out, ".BR cohort\\-recipe (5)\n");
}

static void append_synopsis(cohort_text *out, const cohort_manual_page *page)
{
    cohort_text_append(out, ".B cohort %s\n", page->name);
    if (*page->usage)
        append_usage(out, page->usage);
    if (page->is_part)
        append_usage(out, "--output FILE.h5 [options]");
}

void cohort_manual_write_command(cohort_text *out, const cohort_manual *manual, size_t at,
                                 const char *date)
{
    const cohort_manual_page *page = &manual->pages[at];
    char name[80];
    snprintf(name, sizeof name, "cohort-%s", page->name);
    append_head(out, name, 1, date, page->summary);
    cohort_text_append(out, ".SH SYNOPSIS\n");
    append_synopsis(out, page);
    cohort_text_append(out, ".SH DESCRIPTION\n");
    append_some(out, page->summary, strlen(page->summary));
    cohort_text_append(out, ".\n");
    append_details(out, page->details);
    for (at++; page->has_parts && at < manual->page_count && manual->pages[at].is_part; at++) {
        const cohort_manual_page *part = &manual->pages[at];
        cohort_text_append(out, ".SH FORMAT %s\n", strchr(part->name, ' ') + 1);
        append_words(out, part->summary);
        cohort_text_append(out, ".PP\n");
        append_synopsis(out, part);
        append_details(out, part->details);
        append_options(out, part);
    }
    if (!page->has_parts) {
        cohort_text_append(out, ".SH OPTIONS\n");
        append_options(out, page);
    }
    cohort_text_append(out, ".SH EXIT STATUS\nSee\n.BR cohort (1).\n");
    append_see_also(out, manual, page->name);
}

static void append_exit_codes(cohort_text *out)
{
    cohort_text_append(out, ".SH EXIT STATUS\n");
    for (int code = 0; code < 256; code++) {
        const char *separator = "";
        for (unsigned i = 0; i < COHORT_STATUS_COUNT; i++) {
            const cohort_status status = (cohort_status)i;
            if (cohort_status_exit_code(status) != code)
                continue;
            if (!*separator)
                cohort_text_append(out, ".TP\n.B %d\n", code);
            cohort_text_append(out, "%s", separator);
            append_some(out, cohort_status_text(status), strlen(cohort_status_text(status)));
            separator = "; ";
        }
        if (*separator)
            cohort_text_append(out, "\n");
    }
}

void cohort_manual_write_program(cohort_text *out, const cohort_manual *manual, const char *date)
{
    append_head(out, "cohort", 1, date, COHORT_ABOUT);
    cohort_text_append(out, ".SH SYNOPSIS\n.B cohort\n\\fICOMMAND\\fR ...\n.br\n.B cohort help\n"
                            "[\\fICOMMAND\\fR | \\fBrecipe\\fR]\n.br\n.B cohort \\-\\-version\n"
                            ".SH COMMANDS\nA command runs alone, under\n.BR mpirun (1)\nor under\n"
                            ".BR srun (1).\n");
    for (size_t i = 0; i < manual->page_count; i++) {
        if (manual->pages[i].is_part)
            continue;
        cohort_text_append(out, ".TP\n.BR cohort\\-%s (1)\n", manual->pages[i].name);
        append_words(out, manual->pages[i].summary);
    }
    append_exit_codes(out);
    append_see_also(out, manual, NULL);
}

/* The nesting of the recipe's outline. */
typedef struct outline {
    cohort_text *out;
    size_t depth;
    bool in_layers;
} outline;

static void append_key(void *context, const cohort_outline_line *line)
{
    outline *o = context;
    cohort_text *out = o->out;
    for (; o->depth > line->depth; o->depth--)
        cohort_text_append(out, ".RE\n");
    if (line->is_layer && !o->in_layers) {
        cohort_text_append(out, ".SH LAYERS\n");
        append_line_by_line(out, cohort_recipe_layers_about);
    }
    o->in_layers = line->is_layer;
    for (; o->depth < line->depth; o->depth++)
        cohort_text_append(out, ".RS\n");
    cohort_text_append(out, ".TP\n\\fB");
    append_some(out, line->name, strlen(line->name));
    cohort_text_append(out, "\\fR");
    if (*line->type)
        cohort_text_append(out, "\\ \\ \\fI");
    append_some(out, line->type, strlen(line->type));
    cohort_text_append(out, "%s\n", *line->type ? "\\fR" : "");
    cohort_text text = {0};
    cohort_text_append(&text, "%s%s%s", line->help, *line->note ? " " : "", line->note);
    if (text.data)
        append_words(out, text.data);
    cohort_text_clear(&text);
}

void cohort_manual_write_recipe(cohort_text *out, const char *date)
{
    append_head(out, "cohort-recipe", 5, date, "The keys of a recipe for cohort train");
    cohort_text_append(out, ".SH DESCRIPTION\n");
    append_line_by_line(out, cohort_recipe_about);
    cohort_text_append(out, ".SH KEYS\n");
    outline o = {.out = out};
    cohort_recipe_outline(append_key, &o, cohort_model_catalog());
    for (; o.depth > 0; o.depth--)
        cohort_text_append(out, ".RE\n");
    cohort_text_append(out, ".SH SEE ALSO\n.BR cohort (1),\n.BR cohort\\-train (1)\n");
}
