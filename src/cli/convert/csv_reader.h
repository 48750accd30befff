/* Reading delimited text record by record (RFC 4180): quoted fields may hold delimiters, line
 * ends and doubled quotes; lines end in LF or CR LF; a byte order mark is skipped. */
#ifndef COHORT_CLI_CONVERT_CSV_READER_H
#define COHORT_CLI_CONVERT_CSV_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "base/text.h"

typedef struct cohort_csv_reader cohort_csv_reader;

/* PATH is borrowed. COHORT_DATA if it cannot be read. */
COHORT_NODISCARD cohort_status cohort_csv_open(cohort_csv_reader **out, const char *path,
                                               char delimiter);
void cohort_csv_close(cohort_csv_reader *reader);

/* Reads the next record that is not a blank line. *count = 0 at the end of the file; fields
 * are 0-terminated, unquoted ones without blanks around them; valid until the next call.
 * COHORT_DATA names file and line: an unclosed quote, text behind a quote, a zero byte. */
COHORT_NODISCARD cohort_status cohort_csv_read(const char *const **fields, size_t *count,
                                               cohort_csv_reader *reader);
/* The line (from 1) where the latest record began; the bytes read so far. */
size_t cohort_csv_line(const cohort_csv_reader *reader);
size_t cohort_csv_offset(const cohort_csv_reader *reader);

/* The character meant by a --delimiter: one character, or "tab". */
COHORT_NODISCARD cohort_status cohort_csv_delimiter(char *out, const char *text);

#endif
