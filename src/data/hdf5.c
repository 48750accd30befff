#include "data/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "data/heaps.h"
#include "data/probe.h"

enum { STRINGS_MAX = 4 << 20, NAMES_LISTED = 12 };
#define STRINGS_BYTES_MAX ((size_t)256 << 20)

static pthread_mutex_t the_lock;
static pthread_once_t the_lock_once = PTHREAD_ONCE_INIT;

/* Under the lock: how deep we are in it, and the host program's error handler. */
static int the_depth;
static H5E_auto2_t the_handler;
static void *the_handler_context;

static void make_lock(void)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&the_lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    /* We close what we open. What HDF5 could not close on a full disk it tries again at exit,
     * and crashes over what it has freed the first time. */
    H5dont_atexit();
}

void cohort_hdf5_begin(void)
{
    pthread_once(&the_lock_once, make_lock);
    pthread_mutex_lock(&the_lock);
    if (the_depth++ == 0) {
        H5Eget_auto2(H5E_DEFAULT, &the_handler, &the_handler_context);
        H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    }
}

void cohort_hdf5_end(void)
{
    if (--the_depth == 0)
        H5Eset_auto2(H5E_DEFAULT, the_handler, the_handler_context);
    pthread_mutex_unlock(&the_lock);
}

static herr_t take_innermost(unsigned index, const H5E_error2_t *entry, void *context)
{
    if (index == 0 && entry->desc)
        snprintf(context, COHORT_HDF5_REASON, "%s", entry->desc);
    return 0;
}

const char *cohort_hdf5_reason(char *text)
{
    snprintf(text, COHORT_HDF5_REASON, "no reason given");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_innermost, text);
    for (char *c = text; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    return text;
}

/* What the operating system says about PATH, before HDF5 gets to blur it. */
static cohort_status check_readable(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    COHORT_REQUIRE(file >= 0, COHORT_DATA, "%s: %s; check the path", path, strerror(errno));
    struct stat status;
    int error = fstat(file, &status);
    close(file);
    COHORT_REQUIRE(!error && S_ISREG(status.st_mode), COHORT_DATA,
                   "%s: not a regular file; give an HDF5 file", path);
    COHORT_REQUIRE(status.st_size > 0, COHORT_DATA, "%s: the file is empty; write it again", path);
    return COHORT_OK;
}

cohort_status cohort_hdf5_open(hid_t *file, const char *path)
{
    *file = H5I_INVALID_HID;
    COHORT_TRY(check_readable(path));
    COHORT_REQUIRE(H5Fis_hdf5(path) > 0, COHORT_DATA,
                   "%s: not an HDF5 file; make one with `cohort convert`", path);
    COHORT_TRY(cohort_hdf5_probe(path));
    return cohort_hdf5_open_unseen(file, path);
}

int cohort_hdf5_descriptor(hid_t object)
{
    void *handle = NULL;
    int descriptor = -1;
    const hid_t file = H5Iget_file_id(object);
    if (file >= 0 && H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) >= 0 && handle)
        descriptor = *(const int *)handle;
    H5Fclose(file);
    return descriptor;
}

uint64_t cohort_hdf5_file_bytes(hid_t object)
{
    struct stat status;
    const int descriptor = cohort_hdf5_descriptor(object);
    return descriptor >= 0 && fstat(descriptor, &status) == 0 ? (uint64_t)status.st_size : 0;
}

hid_t cohort_hdf5_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
    if (access >= 0)
        H5Pset_file_locking(access, false, true);
#endif
    return access;
}

cohort_status cohort_hdf5_open_unseen(hid_t *file, const char *path)
{
    char reason[COHORT_HDF5_REASON];
    hid_t access = cohort_hdf5_access();
    COHORT_REQUIRE(access >= 0, COHORT_MEMORY, "HDF5: %s", cohort_hdf5_reason(reason));
    *file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (*file < 0)
        cohort_hdf5_reason(reason);
    H5Pclose(access);
    COHORT_REQUIRE(*file >= 0, COHORT_DATA,
                   "%s: cannot open, damaged or truncated (%s); copy or convert it again", path,
                   reason);
    return COHORT_OK;
}

bool cohort_hdf5_exists(hid_t location, const char *name)
{
    char *walk = strdup(name);
    bool exists = walk != NULL;
    /* H5Lexists wants every link but the last to exist already. */
    for (char *at = walk; exists && at && *at;) {
        at += strspn(at, "/");
        char *end = at + strcspn(at, "/"), after = *end;
        *end = '\0';
        exists = end == at || H5Lexists(location, walk, H5P_DEFAULT) > 0;
        *end = after;
        at = end;
    }
    free(walk);
    return exists;
}

typedef struct listing {
    cohort_text text;
    H5O_type_t wanted;
    int count;
} listing;

static herr_t list_one(hid_t group, const char *name, const H5L_info_t *link, void *context)
{
    (void)link;
    listing *names = context;
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0)
        return 0;
    bool wanted =
        H5Iget_type(object) == (names->wanted == H5O_TYPE_GROUP ? H5I_GROUP : H5I_DATASET);
    H5Oclose(object);
    if (!wanted)
        return 0;
    if (names->count < NAMES_LISTED)
        cohort_text_append(&names->text, "%s%.40s", names->count ? ", " : "", name);
    else if (names->count == NAMES_LISTED)
        cohort_text_append(&names->text, ", ...");
    names->count++;
    return names->count > NAMES_LISTED;
}

/* "NAME not there; there are a, b" as COHORT_DATA. */
static cohort_status fail_missing(hid_t location, H5O_type_t wanted, const char *path,
                                  const char *kind, const char *prefix, const char *name)
{
    listing names = {.wanted = wanted};
    hsize_t position = 0;
    H5Literate(location, H5_INDEX_NAME, H5_ITER_NATIVE, &position, list_one, &names);
    cohort_status status =
        COHORT_FAIL(COHORT_DATA, "%s: has no %s %s%s%s (it has %s); name one of these", path, kind,
                    prefix, *prefix ? "/" : "", name, names.count ? names.text.data : "none");
    cohort_text_clear(&names.text);
    return status;
}

cohort_status cohort_hdf5_open_group(hid_t *group, hid_t file, const char *path, const char *name)
{
    *group = H5I_INVALID_HID;
    const char *used = *name ? name : "/";
    if (!cohort_hdf5_exists(file, used))
        return fail_missing(file, H5O_TYPE_GROUP, path, "group", "", name);
    *group = H5Gopen2(file, used, H5P_DEFAULT);
    COHORT_REQUIRE(*group >= 0, COHORT_DATA,
                   "%s: %s is not a readable group; name the group that holds x and y", path, used);
    return COHORT_OK;
}

cohort_status cohort_hdf5_open_dataset(hid_t *dataset, hid_t group, const char *path,
                                       const char *group_name, const char *name, bool by_chunks)
{
    hid_t access = H5P_DEFAULT;
    *dataset = H5I_INVALID_HID;
    if (!*name || !cohort_hdf5_exists(group, name))
        return fail_missing(group, H5O_TYPE_DATASET, path, "dataset", group_name, name);
    if (by_chunks) {
        access = H5Pcreate(H5P_DATASET_ACCESS);
        H5Pset_chunk_cache(access, 0, 0, H5D_CHUNK_CACHE_W0_DEFAULT);
    }
    *dataset = H5Dopen2(group, name, access);
    if (by_chunks)
        H5Pclose(access);
    COHORT_REQUIRE(*dataset >= 0, COHORT_DATA,
                   "%s: %s/%s is not a readable dataset; name a dataset of numbers", path,
                   group_name, name);
    return COHORT_OK;
}

/* Strings of fixed length, as read. */
typedef struct raw_strings {
    size_t count, bytes_each;
    bool space_padded;
    char *bytes; /* [count][bytes_each] */
} raw_strings;

static size_t raw_length(const raw_strings *raw, size_t index)
{
    const char *text = raw->bytes + index * raw->bytes_each;
    size_t length = strnlen(text, raw->bytes_each);
    while (raw->space_padded && length && text[length - 1] == ' ')
        length--;
    return length;
}

static cohort_status pack_strings(char ***items, const raw_strings *raw, const char *path,
                                  const char *name)
{
    size_t bytes = 0;
    for (size_t i = 0; i < raw->count; i++) {
        bytes += raw_length(raw, i) + 1;
        COHORT_REQUIRE(bytes <= STRINGS_BYTES_MAX, COHORT_DATA,
                       "%s: attribute %s holds more than 256 MiB; shorten it", path, name);
    }
    char **block = malloc(raw->count * sizeof *block + bytes);
    COHORT_REQUIRE(block, COHORT_MEMORY, "out of memory: attribute %s of %s", name, path);
    char *text = (char *)(block + raw->count);
    for (size_t i = 0; i < raw->count; i++) {
        size_t length = raw_length(raw, i);
        block[i] = text;
        if (length)
            memcpy(text, raw->bytes + i * raw->bytes_each, length);
        text[length] = '\0';
        text += length + 1;
    }
    *items = block;
    return COHORT_OK;
}

static cohort_status read_fixed(char ***items, hid_t attribute, hid_t type, size_t count,
                                const char *path, const char *name)
{
    char reason[COHORT_HDF5_REASON];
    raw_strings raw = {.count = count,
                       .bytes_each = H5Tget_size(type),
                       .space_padded = H5Tget_strpad(type) == H5T_STR_SPACEPAD};
    raw.bytes = calloc(count, raw.bytes_each);
    COHORT_REQUIRE(raw.bytes, COHORT_MEMORY, "out of memory: attribute %s of %s", name, path);
    cohort_status status = COHORT_OK;
    /* The type of the file is also asked for in memory: no change of padding or charset. */
    if (H5Aread(attribute, type, raw.bytes) < 0)
        status = COHORT_FAIL(COHORT_DATA, "%s: cannot read attribute %s (%s); write it again", path,
                             name, cohort_hdf5_reason(reason));
    else
        status = pack_strings(items, &raw, path, name);
    free(raw.bytes);
    return status;
}

static cohort_status read_strings(char ***items, size_t *count, hid_t attribute, hid_t type,
                                  hid_t space, const char *path, const char *name)
{
    const hssize_t points = H5Sget_simple_extent_npoints(space);
    const bool variable = H5Tis_variable_str(type) > 0;
    const size_t each = variable ? sizeof(char *) : H5Tget_size(type);
    if (points <= 0 || H5Sget_simple_extent_ndims(space) > 1)
        return COHORT_OK;
    COHORT_REQUIRE(points <= STRINGS_MAX && each && (size_t)points <= STRINGS_BYTES_MAX / each,
                   COHORT_DATA,
                   "%s: attribute %s is too large (%lld strings of %zu bytes; at most 4 Mi "
                   "strings and 256 MiB); shorten it",
                   path, name, (long long)points, each);
    COHORT_TRY(variable ? cohort_hdf5_variable_strings(items, attribute, (size_t)points,
                                                       STRINGS_BYTES_MAX, path, name)
                        : read_fixed(items, attribute, type, (size_t)points, path, name));
    *count = (size_t)points;
    return COHORT_OK;
}

cohort_status cohort_hdf5_strings(char ***items, size_t *count, hid_t object, const char *path,
                                  const char *name)
{
    *items = NULL;
    *count = 0;
    if (H5Aexists(object, name) <= 0)
        return COHORT_OK;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    COHORT_REQUIRE(attribute >= 0, COHORT_DATA, "%s: cannot open attribute %s; write it again",
                   path, name);
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    const bool are_strings = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING;
    cohort_status status = COHORT_OK;
    if (are_strings)
        status = read_strings(items, count, attribute, type, space, path, name);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return status;
}
