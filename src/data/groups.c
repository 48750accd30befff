#include "data/groups.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "data/chunks.h"
#include "data/hdf5.h"
#include "data/heaps.h"

#define TEXT_BYTES_MAX ((size_t)1 << 30)

/* The column as it lies in memory: numbers, or texts of WIDTH bytes or variable ones. */
typedef struct column {
    hid_t set, type, space;
    size_t count;
    size_t width; /* of a text; 0: variable */
    int64_t *numbers;
    char *cells;  /* [count][width + 1] */
    char **texts; /* [count], into cells, or one block with its text */
    bool is_variable;
} column;

static cohort_status open_column(column *c, hid_t file, const char *path, const char *group,
                                 const char *name, size_t row_count)
{
    hid_t location = H5I_INVALID_HID;
    COHORT_TRY(cohort_hdf5_open_group(&location, file, path, group));
    cohort_status status = cohort_hdf5_open_dataset(&c->set, location, path, group, name, false);
    H5Gclose(location);
    COHORT_TRY(status);
    c->type = H5Dget_type(c->set);
    c->space = H5Dget_space(c->set);
    const H5T_class_t class = H5Tget_class(c->type);
    const hssize_t count = H5Sget_simple_extent_npoints(c->space);
    COHORT_REQUIRE(class == H5T_INTEGER || class == H5T_STRING, COHORT_DATA,
                   "%s: %s/%s tells groups apart, so it must hold integers or texts", path, group,
                   name);
    COHORT_REQUIRE(count == (hssize_t)row_count, COHORT_DATA,
                   "%s: %s/%s holds %lld values for %zu rows; store one a row", path, group, name,
                   (long long)count, row_count);
    c->count = row_count;
    c->is_variable = class == H5T_STRING && H5Tis_variable_str(c->type) > 0;
    c->width = class == H5T_STRING && !c->is_variable ? H5Tget_size(c->type) : 0;
    return COHORT_OK;
}

/* All of it as values of TYPE into OUT. */
static cohort_status read_as(void *out, const column *c, hid_t type, const char *path,
                             const char *name)
{
    COHORT_REQUIRE(cohort_hdf5_is_whole(c->set) &&
                       H5Dread(c->set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0,
                   COHORT_DATA, "%s: %s cannot be read: the file is damaged", path, name);
    return COHORT_OK;
}

/* Texts of fixed length, each with a zero byte behind it. */
static cohort_status read_fixed(column *c, const char *path, const char *name)
{
    char *packed = NULL;
    COHORT_REQUIRE(c->width < TEXT_BYTES_MAX / c->count, COHORT_DATA,
                   "%s: %s holds texts of %zu bytes each; store shorter ones", path, name,
                   c->width);
    COHORT_TRY(COHORT_ALLOCATE(&c->texts, c->count));
    COHORT_TRY(cohort_allocate((void **)&c->cells, c->count, c->width + 1));
    COHORT_TRY(cohort_allocate((void **)&packed, c->count, c->width));
    const cohort_status status = read_as(packed, c, c->type, path, name);
    for (size_t i = 0; i < c->count; i++) {
        c->texts[i] = c->cells + i * (c->width + 1);
        memcpy(c->texts[i], packed + i * c->width, c->width);
    }
    cohort_free(packed);
    return status;
}

static cohort_status read_values(column *c, const char *path, const char *name)
{
    if (c->is_variable)
        return cohort_hdf5_variable_strings(&c->texts, c->set, c->count, TEXT_BYTES_MAX, path,
                                            name);
    if (c->width)
        return read_fixed(c, path, name);
    COHORT_TRY(COHORT_ALLOCATE(&c->numbers, c->count));
    return read_as(c->numbers, c, H5T_NATIVE_INT64, path, name);
}

static void close_column(column *c)
{
    if (c->set >= 0) {
        H5Tclose(c->type);
        H5Sclose(c->space);
        H5Dclose(c->set);
    }
    if (c->is_variable)
        free(c->texts);
    else
        cohort_free(c->texts);
    cohort_free(c->cells);
    cohort_free(c->numbers);
}

/* A row with its value, to be sorted. */
typedef struct member {
    const char *text;
    int64_t number;
    size_t row;
} member;

static int compare(const void *a, const void *b)
{
    const member *left = a, *right = b;
    if (left->text)
        return strcmp(left->text, right->text);
    return left->number < right->number ? -1 : left->number > right->number;
}

static void append_name(cohort_text *names, const member *m)
{
    if (m->text)
        cohort_text_append_bytes(names, m->text, strlen(m->text) + 1);
    else
        cohort_text_append(names, "%lld%c", (long long)m->number, '\0');
}

/* NAMES: NULL, nobody asks. */
static cohort_status number_groups(int32_t *ids, size_t *group_count, cohort_text *names,
                                   const column *c)
{
    member *members = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&members, c->count));
    for (size_t i = 0; i < c->count; i++)
        members[i] = (member){.text = !c->texts     ? NULL
                                      : c->texts[i] ? c->texts[i]
                                                    : "",
                              .number = c->numbers ? c->numbers[i] : 0,
                              .row = i};
    qsort(members, c->count, sizeof *members, compare);
    int32_t id = 0;
    for (size_t i = 0; i < c->count; i++) {
        const bool is_new = i == 0 || compare(&members[i - 1], &members[i]) != 0;
        id += i > 0 && is_new;
        ids[members[i].row] = id;
        if (names && is_new)
            append_name(names, &members[i]);
    }
    *group_count = c->count ? (size_t)id + 1 : 0;
    cohort_free(members);
    return names ? cohort_text_status(names) : COHORT_OK;
}

cohort_status cohort_groups_read(int32_t **ids, size_t *group_count, const char *path,
                                 const char *group, const char *name, size_t row_count)
{
    return cohort_groups_read_named(ids, group_count, NULL, path, group, name, row_count);
}

cohort_status cohort_groups_read_named(int32_t **ids, size_t *group_count, cohort_text *names,
                                       const char *path, const char *group, const char *name,
                                       size_t row_count)
{
    column c = {.set = H5I_INVALID_HID};
    hid_t file = H5I_INVALID_HID;
    cohort_status status = COHORT_OK;
    *ids = NULL;
    cohort_hdf5_begin();
    COHORT_TRY_DONE(status, cohort_hdf5_open(&file, path));
    COHORT_TRY_DONE(status, open_column(&c, file, path, group, name, row_count));
    COHORT_TRY_DONE(status, read_values(&c, path, name));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(ids, row_count));
    COHORT_TRY_DONE(status, number_groups(*ids, group_count, names, &c));
done:
    close_column(&c);
    if (file >= 0)
        H5Fclose(file);
    cohort_hdf5_end();
    if (status != COHORT_OK) {
        cohort_free(*ids);
        *ids = NULL;
    }
    return status;
}
