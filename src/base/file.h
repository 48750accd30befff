/* Files and folders. Errors are COHORT_DATA and name the path and the reason. */
#ifndef COHORT_BASE_FILE_H
#define COHORT_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "base/text.h"

/* Appends the whole of PATH to TEXT; refuses more than LIMIT bytes. */
COHORT_NODISCARD cohort_status cohort_file_read(cohort_text *text, const char *path, size_t limit);
/* Replaces PATH by BYTES: temporary file beside it, flush, fsync, rename, fsync
 * of the folder. PATH is the old or the new content at any moment. */
COHORT_NODISCARD cohort_status cohort_file_write(const char *path, const void *bytes, size_t count);
/* Flushes TEMPORARY to disk, renames it to PATH, flushes the folder. */
COHORT_NODISCARD cohort_status cohort_file_commit(const char *temporary, const char *path);
/* mkdir -p. */
COHORT_NODISCARD cohort_status cohort_folder_make(const char *path);
bool cohort_file_exists(const char *path);
/* "FOLDER/NAME" or NAME if it is absolute, into TEXT (replaced). */
COHORT_NODISCARD cohort_status cohort_path_join(cohort_text *text, const char *folder,
                                                const char *name);
/* The folder part of PATH ("." if none) into TEXT (replaced). */
COHORT_NODISCARD cohort_status cohort_path_folder(cohort_text *text, const char *path);

#endif
