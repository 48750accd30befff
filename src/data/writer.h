/* Writing dataset files, for `cohort convert` and `predict`. */
#ifndef COHORT_DATA_WRITER_H
#define COHORT_DATA_WRITER_H

#include "data/dataset.h"

typedef struct cohort_writer cohort_writer;

/* Creates PATH through a temporary file beside it; nothing is left of it unless
 * cohort_writer_finish succeeds. COHORT_DATA on failure. */
COHORT_NODISCARD cohort_status cohort_writer_create(cohort_writer **out, const char *path);
/* The temporary file, for who may have to remove it without a chance to call destroy. */
const char *cohort_writer_temporary(const cohort_writer *writer);
/* Adds dataset GROUP/NAME ("train", "x") of rows of SHAPE; grows as rows are appended.
 * GROUP "" is the root. Chunked by about 256 KiB; DEFLATE 0-9 (0 = none). *id names it. */
COHORT_NODISCARD cohort_status cohort_writer_add(size_t *id, cohort_writer *writer,
                                                 const char *group, const char *name,
                                                 cohort_element element, const cohort_shape *shape,
                                                 int deflate);
/* Appends COUNT rows of the element type given. */
COHORT_NODISCARD cohort_status cohort_writer_append(cohort_writer *writer, size_t id,
                                                    const void *rows, size_t count);
/* File attributes: a string, or an array of strings (`classes`, `vocabulary`). */
COHORT_NODISCARD cohort_status cohort_writer_attribute(cohort_writer *writer, const char *name,
                                                       const char *value);
COHORT_NODISCARD cohort_status cohort_writer_attribute_list(cohort_writer *writer, const char *name,
                                                            const char *const *values,
                                                            size_t count);
/* Flushes, renames into place. */
COHORT_NODISCARD cohort_status cohort_writer_finish(cohort_writer *writer);
/* Frees; removes the temporary file if not finished. */
void cohort_writer_destroy(cohort_writer *writer);

#endif
