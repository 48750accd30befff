/* The texts of a classification data set: files in a folder per class, or a CSV column. */
#ifndef COHORT_CLI_CONVERT_DOCUMENTS_H
#define COHORT_CLI_CONVERT_DOCUMENTS_H

#include "cli/options.h"
#include "data/dictionary.h"

/* A text: read from the file PATH, or (PATH NULL) kept in memory. */
typedef struct cohort_document {
    char *path;
    size_t offset, length; /* in `texts` */
    int32_t label;
    bool test; /* of the test split, where the source has one */
} cohort_document;

/* Start from {0}; clear in any case. */
typedef struct cohort_documents {
    cohort_document *items;
    size_t count, capacity;
    cohort_text texts;
    cohort_dictionary *classes; /* in order */
    bool has_test;              /* the source has a test split of its own */
    char *root;                 /* of a tree of files, without links; owned */
} cohort_documents;

/* FOLDER/train/CLASS/FILE and FOLDER/test/CLASS/FILE, or FOLDER/CLASS/FILE; classes and
 * files in the order of their names. Hidden files and the class "unsup" (aclImdb's reviews
 * without labels) are left out. COHORT_DATA: fewer than two classes, a class without
 * files, a test class that is none of training, links that lead out of FOLDER, texts that
 * are no regular files. */
COHORT_NODISCARD cohort_status cohort_documents_list(cohort_documents *documents,
                                                     const char *folder);
/* The columns --text and --label of PATH and, if not NULL, TEST_PATH. */
COHORT_NODISCARD cohort_status cohort_documents_read_csv(cohort_documents *documents,
                                                         const cohort_options *options,
                                                         const char *path, const char *test_path);
void cohort_documents_clear(cohort_documents *documents);

/* *text, *length = the text of DOCUMENT; BUFFER holds it if it is read from a file. Valid
 * until the next call. */
COHORT_NODISCARD cohort_status cohort_document_text(const char **text, size_t *length,
                                                    cohort_text *buffer,
                                                    const cohort_documents *documents,
                                                    const cohort_document *document);

#endif
