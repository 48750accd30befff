#include "cli/convert/csv_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct cohort_csv_reader {
    const char *path;
    FILE *file;
    char delimiter;
    size_t line, record_line, offset;
    cohort_text text; /* the fields of the record, each followed by a zero byte */
    size_t *starts;   /* of the fields in `text` */
    const char **fields;
    size_t field_count, start_capacity, field_capacity;
    char buffer[65536];
    size_t at, filled;
};

cohort_status cohort_csv_open(cohort_csv_reader **out, const char *path, char delimiter)
{
    *out = NULL;
    cohort_csv_reader *reader = malloc(sizeof *reader);
    COHORT_REQUIRE(reader, COHORT_MEMORY, "out of memory");
    *reader = (cohort_csv_reader){.path = path, .delimiter = delimiter, .line = 1};
    reader->file = fopen(path, "rb");
    if (!reader->file) {
        free(reader);
        return COHORT_FAIL(COHORT_DATA, "cannot read %s: %s", path, strerror(errno));
    }
    reader->filled = fread(reader->buffer, 1, sizeof reader->buffer, reader->file);
    if (reader->filled >= 3 && memcmp(reader->buffer, "\xef\xbb\xbf", 3) == 0)
        reader->at = 3;
    *out = reader;
    return COHORT_OK;
}

void cohort_csv_close(cohort_csv_reader *reader)
{
    if (!reader)
        return;
    fclose(reader->file);
    cohort_text_clear(&reader->text);
    free(reader->starts);
    free(reader->fields);
    free(reader);
}

/* The next byte, or EOF. */
static int peek(cohort_csv_reader *reader)
{
    if (reader->at == reader->filled) {
        reader->at = 0;
        reader->filled = fread(reader->buffer, 1, sizeof reader->buffer, reader->file);
        reader->offset += reader->filled;
        if (reader->filled == 0)
            return EOF;
    }
    return (unsigned char)reader->buffer[reader->at];
}

static int take(cohort_csv_reader *reader)
{
    int c = peek(reader);
    if (c != EOF)
        reader->at++;
    reader->line += c == '\n';
    return c;
}

static void put(cohort_csv_reader *reader, int c)
{
    char byte = (char)c;
    cohort_text_append_bytes(&reader->text, &byte, 1);
}

/* Takes a line end if one is next (CR LF, LF, or the end of the file). */
static bool take_line_end(cohort_csv_reader *reader)
{
    int c = peek(reader);
    if (c == '\r') {
        take(reader);
        if (peek(reader) != '\n' && peek(reader) != EOF) {
            put(reader, '\r'); /* a lone one is a character like any other */
            return false;
        }
        c = peek(reader);
    }
    if (c == '\n')
        take(reader);
    return c == '\n' || c == EOF;
}

static cohort_status read_quoted(cohort_csv_reader *reader)
{
    const size_t begin = reader->line;
    take(reader);
    for (;;) {
        int c = take(reader);
        COHORT_REQUIRE(c != EOF, COHORT_DATA, "%s line %zu: a quote is never closed", reader->path,
                       begin);
        COHORT_REQUIRE(c != 0, COHORT_DATA, "%s line %zu: a zero byte; is this a text file?",
                       reader->path, reader->line);
        if (c == '"' && peek(reader) != '"')
            return COHORT_OK;
        if (c == '"')
            take(reader);
        put(reader, c);
    }
}

static bool is_blank(int c)
{
    return c == ' ' || c == '\t';
}

static void skip_blanks(cohort_csv_reader *reader)
{
    while (is_blank(peek(reader)) && peek(reader) != reader->delimiter)
        take(reader);
}

/* Reads a field up to its delimiter or line end; *last tells which. */
static cohort_status read_field(bool *last, cohort_csv_reader *reader)
{
    const size_t start = reader->text.length;
    skip_blanks(reader);
    const bool quoted = peek(reader) == '"';
    if (quoted) {
        COHORT_TRY(read_quoted(reader));
        skip_blanks(reader);
    }
    while (!(*last = take_line_end(reader)) && peek(reader) != (unsigned char)reader->delimiter) {
        COHORT_REQUIRE(!quoted, COHORT_DATA,
                       "%s line %zu: text behind the closing quote of a field", reader->path,
                       reader->line);
        COHORT_REQUIRE(peek(reader) != 0, COHORT_DATA,
                       "%s line %zu: a zero byte; is this a text file?", reader->path,
                       reader->line);
        put(reader, take(reader));
    }
    if (!*last)
        take(reader);
    while (!quoted && reader->text.length > start &&
           is_blank(reader->text.data[reader->text.length - 1]))
        reader->text.length--;
    put(reader, '\0');
    COHORT_TRY(cohort_grow((void **)&reader->starts, &reader->start_capacity,
                           reader->field_count + 1, sizeof *reader->starts));
    reader->starts[reader->field_count++] = start;
    return cohort_text_status(&reader->text);
}

cohort_status cohort_csv_read(const char *const **fields, size_t *count, cohort_csv_reader *reader)
{
    bool last = false;
    do {
        *count = reader->field_count = reader->text.length = 0;
        reader->record_line = reader->line;
        if (peek(reader) == EOF) {
            COHORT_REQUIRE(!ferror(reader->file), COHORT_DATA, "cannot read %s: %s", reader->path,
                           strerror(errno));
            return COHORT_OK;
        }
        do
            COHORT_TRY(read_field(&last, reader));
        while (!last);
    } while (reader->field_count == 1 && reader->text.length == 1);
    COHORT_TRY(cohort_grow((void **)&reader->fields, &reader->field_capacity, reader->field_count,
                           sizeof *reader->fields));
    for (size_t i = 0; i < reader->field_count; i++)
        reader->fields[i] = reader->text.data + reader->starts[i];
    *fields = reader->fields;
    *count = reader->field_count;
    return COHORT_OK;
}

size_t cohort_csv_line(const cohort_csv_reader *reader)
{
    return reader->record_line;
}

size_t cohort_csv_offset(const cohort_csv_reader *reader)
{
    return reader->offset;
}

cohort_status cohort_csv_delimiter(char *out, const char *text)
{
    const bool tab = strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0;
    COHORT_REQUIRE(tab || (strlen(text) == 1 && !strchr("\"\r\n", *text)), COHORT_USAGE,
                   "--delimiter \"%s\" must be one character, or tab", text);
    *out = tab ? '\t' : *text;
    return COHORT_OK;
}
