#include "cli/convert/documents.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/convert/csv_reader.h"
#include "cli/convert/format.h"

/* More than any review, and little enough to read at once. */
#define DOCUMENT_MOST ((size_t)1 << 30)

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static cohort_status list_folder(struct dirent ***entries, size_t *count, const char *path)
{
    int found = scandir(path, entries, is_visible, by_bytes);
    COHORT_REQUIRE(found >= 0, COHORT_DATA, "cannot read the folder %s: %s", path, strerror(errno));
    *count = (size_t)found;
    return COHORT_OK;
}

static void free_entries(struct dirent **entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
}

static cohort_status add_document(cohort_documents *documents, cohort_document document)
{
    COHORT_TRY(cohort_grow((void **)&documents->items, &documents->capacity, documents->count + 1,
                           sizeof *documents->items));
    documents->items[documents->count++] = document;
    return COHORT_OK;
}

/* What a tree that was downloaded may not name does not get into the data: no link of it leads
 * out. */
static cohort_status check_inside(const cohort_documents *documents, const char *path)
{
    const size_t length = strlen(documents->root);
    char *real = realpath(path, NULL);
    const bool is_inside =
        real && strncmp(real, documents->root, length) == 0 && (real[length] == '/' || length == 1);
    free(real);
    COHORT_REQUIRE(is_inside, COHORT_DATA,
                   "%s is a link that leads out of %s, or nowhere; put a copy in its place", path,
                   documents->root);
    return COHORT_OK;
}

/* A text is a regular file: others can block for ever. */
static cohort_status check_file(const cohort_documents *documents, const char *path)
{
    struct stat info;
    const bool there = lstat(path, &info) == 0;
    if (there && S_ISLNK(info.st_mode))
        COHORT_TRY(check_inside(documents, path));
    COHORT_REQUIRE(there && stat(path, &info) == 0 && S_ISREG(info.st_mode), COHORT_DATA,
                   "%s is not a regular file; remove it", path);
    return COHORT_OK;
}

static cohort_status add_file(cohort_documents *documents, const char *folder, const char *name,
                              int32_t label, bool test)
{
    cohort_text path = {0};
    cohort_status status = cohort_path_join(&path, folder, name);
    const bool is_text = status == COHORT_OK && !is_folder(path.data);
    if (is_text)
        status = check_file(documents, path.data);
    if (is_text && status == COHORT_OK)
        status = add_document(documents,
                              (cohort_document){.path = path.data, .label = label, .test = test});
    else
        cohort_text_clear(&path);
    return status;
}

static cohort_status list_class(cohort_documents *documents, const char *folder, int32_t label,
                                bool test)
{
    struct dirent **entries = NULL;
    size_t count = 0;
    const size_t before = documents->count;
    COHORT_TRY(list_folder(&entries, &count, folder));
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < count; i++)
        COHORT_TRY_DONE(status, add_file(documents, folder, entries[i]->d_name, label, test));
    COHORT_REQUIRE_DONE(status, documents->count > before, COHORT_DATA,
                        "the class folder %s has no files", folder);
done:
    free_entries(entries, count);
    return status;
}

/* *label = the class's number; test classes must be known. */
static cohort_status number_class(int32_t *label, cohort_documents *documents, const char *folder,
                                  const char *name, bool test)
{
    uint32_t id = cohort_dictionary_find(documents->classes, name, strlen(name));
    if (id == COHORT_DICTIONARY_NONE) {
        COHORT_REQUIRE(!test, COHORT_DATA, "%s/%s is a class that the training split does not have",
                       folder, name);
        COHORT_TRY(cohort_dictionary_add(&id, documents->classes, name, strlen(name)));
    }
    *label = (int32_t)id;
    return COHORT_OK;
}

static cohort_status list_split(cohort_documents *documents, const char *folder, bool test)
{
    struct dirent **entries = NULL;
    size_t count = 0;
    cohort_text path = {0};
    COHORT_TRY(list_folder(&entries, &count, folder));
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        int32_t label = 0;
        COHORT_TRY_DONE(status, cohort_path_join(&path, folder, name));
        if (!is_folder(path.data) || strcmp(name, "unsup") == 0)
            continue;
        COHORT_TRY_DONE(status, check_inside(documents, path.data));
        COHORT_TRY_DONE(status, number_class(&label, documents, folder, name, test));
        COHORT_TRY_DONE(status, list_class(documents, path.data, label, test));
    }
    COHORT_REQUIRE_DONE(status, cohort_dictionary_count(documents->classes) >= 2, COHORT_DATA,
                        "%s has %u folders of files; a folder per class is needed, at least two",
                        folder, cohort_dictionary_count(documents->classes));
done:
    free_entries(entries, count);
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_documents_list(cohort_documents *documents, const char *folder)
{
    cohort_text train = {0}, test = {0};
    cohort_status status = COHORT_OK;
    documents->root = realpath(folder, NULL);
    COHORT_REQUIRE_DONE(status, documents->root, COHORT_DATA, "cannot read the folder %s: %s",
                        folder, strerror(errno));
    COHORT_TRY_DONE(status, cohort_dictionary_create(&documents->classes));
    COHORT_TRY_DONE(status, cohort_path_join(&train, folder, "train"));
    COHORT_TRY_DONE(status, cohort_path_join(&test, folder, "test"));
    COHORT_TRY_DONE(status,
                    list_split(documents, is_folder(train.data) ? train.data : folder, false));
    if (is_folder(train.data) && is_folder(test.data)) {
        COHORT_TRY_DONE(status, list_split(documents, test.data, true));
        documents->has_test = true;
    }
done:
    cohort_text_clear(&train);
    cohort_text_clear(&test);
    return status;
}

/* The column named (or numbered from 1) by --OPTION, or OTHERWISE when not given. */
static cohort_status find_column(size_t *out, const cohort_options *options, const char *option,
                                 size_t otherwise, const char *const *names, size_t count)
{
    const char *name = cohort_options_get(options, option);
    int64_t number = 0;
    *out = otherwise;
    if (!name)
        return COHORT_OK;
    for (*out = 0; names && *out < count; ++*out)
        if (strcmp(names[*out], name) == 0)
            return COHORT_OK;
    COHORT_REQUIRE(cohort_parse_int64(&number, name) && number >= 1 && (uint64_t)number <= count,
                   COHORT_USAGE, "convert text: --%s %s: no such column; there are %zu", option,
                   name, count);
    *out = (size_t)number - 1;
    return COHORT_OK;
}

typedef struct columns {
    size_t text, label, count;
} columns;

static cohort_status plan_columns(columns *out, const cohort_options *options,
                                  const char *const *fields, size_t count, const char *path)
{
    const char *const *names = cohort_options_given(options, "no-header") ? NULL : fields;
    COHORT_REQUIRE(count >= 2, COHORT_DATA,
                   "%s has one column; a text and a label are needed (another --delimiter?)", path);
    out->count = count;
    COHORT_TRY(find_column(&out->label, options, "label", count - 1, names, count));
    COHORT_TRY(find_column(&out->text, options, "text", out->label == 0, names, count));
    COHORT_REQUIRE(out->text != out->label, COHORT_USAGE,
                   "convert text: --text and --label name the same column");
    return COHORT_OK;
}

static cohort_status add_record(cohort_documents *documents, const columns *at,
                                const cohort_csv_reader *reader, const char *path,
                                const char *const *fields, size_t count, bool test)
{
    uint32_t id = 0;
    COHORT_REQUIRE(count == at->count, COHORT_DATA,
                   "%s line %zu: %zu columns where the first line has %zu", path,
                   cohort_csv_line(reader), count, at->count);
    const char *text = fields[at->text], *label = fields[at->label];
    COHORT_REQUIRE(*label, COHORT_DATA, "%s line %zu, column %zu: the label is missing", path,
                   cohort_csv_line(reader), at->label + 1);
    COHORT_REQUIRE(!test || cohort_dictionary_find(documents->classes, label, strlen(label)) !=
                                COHORT_DICTIONARY_NONE,
                   COHORT_DATA, "%s line %zu: \"%.40s\" is a class that the training file lacks",
                   path, cohort_csv_line(reader), label);
    COHORT_TRY(cohort_dictionary_add(&id, documents->classes, label, strlen(label)));
    COHORT_REQUIRE(cohort_dictionary_count(documents->classes) <= 10000, COHORT_DATA,
                   "%s line %zu: more than 10000 classes; is --label the right column?", path,
                   cohort_csv_line(reader));
    COHORT_TRY(add_document(documents, (cohort_document){.offset = documents->texts.length,
                                                         .length = strlen(text),
                                                         .label = (int32_t)id,
                                                         .test = test}));
    cohort_text_append_bytes(&documents->texts, text, strlen(text));
    return cohort_text_status(&documents->texts);
}

static cohort_status read_records(cohort_documents *documents, const cohort_options *options,
                                  cohort_csv_reader *reader, const char *path, bool test)
{
    const char *const *fields = NULL;
    size_t count = 0;
    columns at = {0};
    const size_t before = documents->count;
    cohort_progress progress = cohort_progress_begin("reading bytes", 0);
    COHORT_TRY(cohort_csv_read(&fields, &count, reader));
    COHORT_REQUIRE(count > 0, COHORT_DATA, "%s is empty", path);
    COHORT_TRY(plan_columns(&at, options, fields, count, path));
    if (cohort_options_given(options, "no-header"))
        COHORT_TRY(add_record(documents, &at, reader, path, fields, count, test));
    for (;;) {
        COHORT_TRY(cohort_csv_read(&fields, &count, reader));
        if (count == 0)
            break;
        COHORT_TRY(add_record(documents, &at, reader, path, fields, count, test));
        cohort_progress_at(&progress, cohort_csv_offset(reader));
    }
    cohort_progress_end(&progress);
    COHORT_REQUIRE(documents->count > before, COHORT_DATA, "%s has no rows", path);
    return COHORT_OK;
}

static cohort_status read_file(cohort_documents *documents, const cohort_options *options,
                               const char *path, bool test)
{
    const char *given = cohort_options_get(options, "delimiter");
    char delimiter = ',';
    cohort_csv_reader *reader = NULL;
    COHORT_TRY(cohort_csv_delimiter(&delimiter, given ? given : ","));
    COHORT_TRY(cohort_csv_open(&reader, path, delimiter));
    cohort_status status = read_records(documents, options, reader, path, test);
    cohort_csv_close(reader);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Replaces the classes by the same in order, and renumbers the labels. */
static cohort_status sort_classes(cohort_documents *documents)
{
    const uint32_t count = cohort_dictionary_count(documents->classes);
    const char **names = calloc(count + 1, sizeof *names);
    cohort_dictionary *sorted = NULL;
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, names, COHORT_MEMORY, "out of memory");
    COHORT_TRY_DONE(status, cohort_dictionary_create(&sorted));
    for (uint32_t i = 0; i < count; i++)
        names[i] = cohort_dictionary_text(documents->classes, i);
    qsort(names, count, sizeof *names, by_text);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = 0;
        COHORT_TRY_DONE(status, cohort_dictionary_add(&id, sorted, names[i], strlen(names[i])));
    }
    for (size_t i = 0; i < documents->count; i++) {
        const uint32_t old = (uint32_t)documents->items[i].label;
        documents->items[i].label =
            (int32_t)cohort_dictionary_find(sorted, cohort_dictionary_text(documents->classes, old),
                                            cohort_dictionary_length(documents->classes, old));
    }
    cohort_dictionary_destroy(documents->classes);
    free(documents->root);
    documents->classes = sorted;
    sorted = NULL;
done:
    free(names);
    cohort_dictionary_destroy(sorted);
    return status;
}

cohort_status cohort_documents_read_csv(cohort_documents *documents, const cohort_options *options,
                                        const char *path, const char *test_path)
{
    COHORT_TRY(cohort_dictionary_create(&documents->classes));
    COHORT_TRY(read_file(documents, options, path, false));
    if (test_path)
        COHORT_TRY(read_file(documents, options, test_path, true));
    documents->has_test = test_path != NULL;
    COHORT_REQUIRE(cohort_dictionary_count(documents->classes) >= 2, COHORT_DATA,
                   "%s has only one class; is --label the right column?", path);
    return sort_classes(documents);
}

void cohort_documents_clear(cohort_documents *documents)
{
    for (size_t i = 0; i < documents->count; i++)
        free(documents->items[i].path);
    free(documents->items);
    cohort_text_clear(&documents->texts);
    cohort_dictionary_destroy(documents->classes);
    free(documents->root);
    *documents = (cohort_documents){0};
}

cohort_status cohort_document_text(const char **text, size_t *length, cohort_text *buffer,
                                   const cohort_documents *documents,
                                   const cohort_document *document)
{
    *text = "";
    *length = document->length;
    if (!document->path) {
        if (documents->texts.data)
            *text = documents->texts.data + document->offset;
        return COHORT_OK;
    }
    buffer->length = 0;
    COHORT_TRY(cohort_file_read(buffer, document->path, DOCUMENT_MOST));
    if (buffer->length > 0)
        *text = buffer->data;
    *length = buffer->length;
    return COHORT_OK;
}
