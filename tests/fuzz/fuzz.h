/* What the fuzz targets share: files to read, and what is expected of a refusal. */
#ifndef COHORT_TESTS_FUZZ_H
#define COHORT_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* The target: one input. Ends the process when something is wrong. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* Ends the process with a message unless CONDITION holds. */
void fuzz_require(bool condition, const char *what);
/* STATUS is COHORT_OK, or the input was refused as such (COHORT_USAGE, COHORT_DATA) in one
 * line. */
void fuzz_require_refusal(cohort_status status);

/* "FOLDER/NAME" in a folder of this process that is removed at exit; static storage, a few
 * at a time. */
const char *fuzz_path(const char *name);
/* Writes the file FOLDER/NAME; returns its path. */
const char *fuzz_put(const char *name, const void *bytes, size_t count);

/* Takes the bytes up to the first zero (or all) off the front of an input. */
typedef struct fuzz_part {
    const uint8_t *bytes;
    size_t count;
} fuzz_part;
fuzz_part fuzz_take_part(fuzz_part *rest);
/* Takes one byte; 0 at the end. */
unsigned fuzz_take_byte(fuzz_part *rest);

/* cohort convert with ARGUMENTS (NULL-terminated, without --output), into FOLDER/out.h5;
 * nothing is printed. */
cohort_status fuzz_convert(const char *const *arguments);

#endif
