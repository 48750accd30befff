#include "data/listing.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/shape.h"
#include "data/hdf5.h"

enum { STRINGS_SHOWN_MAX = 12 };

typedef struct listing {
    cohort_text *text;
    const char *path;
} listing;

/* "uint8", "int64 big-endian", "float32", "string", … */
static void append_type(cohort_text *text, hid_t dataset)
{
    hid_t type = H5Dget_type(dataset);
    const H5T_class_t class = H5Tget_class(type);
    const size_t bits = 8 * H5Tget_size(type);
    if (class == H5T_INTEGER)
        cohort_text_append(text, "%sint%zu", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
    else if (class == H5T_FLOAT)
        cohort_text_append(text, "float%zu", bits);
    else
        cohort_text_append(text, class == H5T_STRING ? "string" : "other");
    if ((class == H5T_INTEGER || class == H5T_FLOAT) && H5Tget_order(type) == H5T_ORDER_BE)
        cohort_text_append(text, " big-endian");
    H5Tclose(type);
}

static void append_dims(cohort_text *text, const hsize_t *dims, int count)
{
    for (int i = 0; i < count; i++)
        cohort_text_append(text, "%s%llu", i ? "x" : "", (unsigned long long)dims[i]);
}

static void append_layout(cohort_text *text, hid_t dataset, int dim_count)
{
    hsize_t chunk[H5S_MAX_RANK];
    hid_t plist = H5Dget_create_plist(dataset);
    if (H5Pget_layout(plist) == H5D_CHUNKED &&
        H5Pget_chunk(plist, H5S_MAX_RANK, chunk) == dim_count) {
        cohort_text_append(text, "  chunks ");
        append_dims(text, chunk, dim_count);
    }
    const int filter_count = H5Pget_nfilters(plist);
    for (int i = 0; i < filter_count; i++) {
        size_t none = 0;
        unsigned flags = 0, config = 0;
        char name[32] = "";
        H5Pget_filter2(plist, (unsigned)i, &flags, &none, NULL, sizeof name, name, &config);
        cohort_text_append(text, "%s%s", i ? ", " : "  ", name);
    }
    H5Pclose(plist);
}

static herr_t visit(hid_t file, const char *name, const H5O_info_t *info, void *context)
{
    const listing *list = context;
    hsize_t dims[H5S_MAX_RANK];
    if (info->type != H5O_TYPE_DATASET)
        return 0;
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    if (dataset < 0) {
        cohort_text_append(list->text, "/%s  unreadable\n", name);
        return 0;
    }
    hid_t space = H5Dget_space(dataset);
    const int dim_count = H5Sget_simple_extent_dims(space, dims, NULL);
    cohort_text_append(list->text, "/%-24s  ", name);
    append_dims(list->text, dims, dim_count);
    cohort_text_append(list->text, "%s", dim_count > 0 ? "  " : "scalar  ");
    append_type(list->text, dataset);
    append_layout(list->text, dataset, dim_count);
    cohort_text_append(list->text, "\n");
    H5Sclose(space);
    H5Dclose(dataset);
    return 0;
}

static cohort_status append_strings(const listing *list, hid_t file, const char *name)
{
    char **items = NULL;
    size_t count = 0;
    COHORT_TRY(cohort_hdf5_strings(&items, &count, file, list->path, name));
    if (count > 0) {
        cohort_text_append(list->text, "%s", name);
        if (count > 1)
            cohort_text_append(list->text, " (%zu)", count);
        cohort_text_append(list->text, ":");
        for (size_t i = 0; i < count && i < STRINGS_SHOWN_MAX; i++)
            cohort_text_append(list->text, "%s%s", i ? ", " : " ", items[i]);
        cohort_text_append(list->text, "%s\n", count > STRINGS_SHOWN_MAX ? ", …" : "");
    }
    free(items);
    return COHORT_OK;
}

static cohort_status list_file(const listing *list)
{
    static const char *const names[] = {"source", "classes", "vocabulary", "tokenizer"};
    hid_t file = H5I_INVALID_HID;
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_hdf5_open(&file, list->path));
    if (H5Ovisit2(file, H5_INDEX_NAME, H5_ITER_NATIVE, visit, (void *)list, H5O_INFO_BASIC) < 0) {
        char reason[COHORT_HDF5_REASON];
        status = COHORT_FAIL(COHORT_DATA, "cannot read %s: %s; it is damaged", list->path,
                             cohort_hdf5_reason(reason));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && status == COHORT_OK; i++)
        status = append_strings(list, file, names[i]);
    H5Fclose(file);
    return status != COHORT_OK ? status : cohort_text_status(list->text);
}

cohort_status cohort_data_list(cohort_text *text, const char *path)
{
    const listing list = {.text = text, .path = path};
    cohort_hdf5_begin();
    cohort_status status = list_file(&list);
    cohort_hdf5_end();
    return status;
}

void cohort_data_library(char *text, size_t bytes)
{
    unsigned major = 0, minor = 0, release = 0;
    cohort_hdf5_begin();
    H5get_libversion(&major, &minor, &release);
    cohort_hdf5_end();
    snprintf(text, bytes, "HDF5 %u.%u.%u", major, minor, release);
}
