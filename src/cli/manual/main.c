/* cohort_manual FOLDER DATE: writes man/man1/….1.gz, man/man5/….5.gz and completions/…, as they
 * are installed. Part of the build; not installed itself. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "cli/manual/manual.h"

static cohort_status open_failed(const char *path)
{
    return COHORT_FAIL(COHORT_DATA, "cannot write %s", path);
}

/* Best compression, without the file's name or time in it, as Debian asks for. */
static cohort_status write_compressed(const char *path, const cohort_text *text)
{
    COHORT_TRY(cohort_text_status(text));
    gzFile file = gzopen(path, "wb9");
    if (!file)
        return open_failed(path);
    const int wanted = (int)text->length, written = gzwrite(file, text->data, (unsigned)wanted);
    if (gzclose(file) != Z_OK || written != wanted)
        return open_failed(path);
    return COHORT_OK;
}

static cohort_status write_plain(const char *path, const cohort_text *text)
{
    COHORT_TRY(cohort_text_status(text));
    FILE *file = fopen(path, "w");
    if (!file)
        return open_failed(path);
    const size_t written = fwrite(text->data, 1, text->length, file);
    if (fclose(file) != 0 || written != text->length)
        return open_failed(path);
    return COHORT_OK;
}

static cohort_status write_pages(const char *folder, const char *date, const cohort_manual *manual)
{
    char path[4096];
    cohort_status status = COHORT_OK;
    cohort_text text = {0};
    cohort_manual_write_program(&text, manual, date);
    snprintf(path, sizeof path, "%s/man/man1/cohort.1.gz", folder);
    COHORT_TRY_DONE(status, write_compressed(path, &text));
    cohort_text_clear(&text);
    cohort_manual_write_recipe(&text, date);
    snprintf(path, sizeof path, "%s/man/man5/cohort-recipe.5.gz", folder);
    COHORT_TRY_DONE(status, write_compressed(path, &text));
    for (size_t i = 0; i < manual->page_count; i++) {
        if (manual->pages[i].is_part)
            continue;
        cohort_text_clear(&text);
        cohort_manual_write_command(&text, manual, i, date);
        snprintf(path, sizeof path, "%s/man/man1/cohort-%s.1.gz", folder, manual->pages[i].name);
        COHORT_TRY_DONE(status, write_compressed(path, &text));
    }
done:
    cohort_text_clear(&text);
    return status;
}

static cohort_status write_completions(const char *folder, const cohort_manual *manual)
{
    static const struct {
        const char *path;
        void (*write)(cohort_text *out, const cohort_manual *manual);
    } shells[] = {
        {"bash-completion/completions/cohort", cohort_manual_write_bash},
        {"zsh/site-functions/_cohort", cohort_manual_write_zsh},
        {"fish/vendor_completions.d/cohort.fish", cohort_manual_write_fish},
    };
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
        char path[4096];
        cohort_text text = {0};
        snprintf(path, sizeof path, "%s/%s", folder, shells[i].path);
        shells[i].write(&text, manual);
        const cohort_status status = write_plain(path, &text);
        cohort_text_clear(&text);
        COHORT_TRY(status);
    }
    return COHORT_OK;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: cohort_manual FOLDER DATE\n");
        return cohort_status_exit_code(COHORT_USAGE);
    }
    cohort_manual manual;
    cohort_status status = cohort_manual_collect(&manual);
    if (status == COHORT_OK)
        status = write_pages(argv[1], argv[2], &manual);
    if (status == COHORT_OK)
        status = write_completions(argv[1], &manual);
    if (status != COHORT_OK)
        fprintf(stderr, "cohort_manual: %s\n", cohort_error_message());
    cohort_manual_clear(&manual);
    return cohort_status_exit_code(status);
}
