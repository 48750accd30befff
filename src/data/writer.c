#include "data/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/hdf5.h"

enum { CHUNK_BYTES = 256 << 10, SPLIT_BYTES = 4 << 20, RESERVE_BYTES = 256 << 10 };

/* Rows wait in `buffer` until they fill a chunk, so a chunk is written (and compressed) once
 * however small the appends are, and a dataset smaller than one chunk wastes no space. */
typedef struct column {
    char *path; /* "train/x" */
    cohort_element element;
    cohort_shape shape;
    int deflate;
    size_t row_bytes, buffer_rows;
    size_t waiting;  /* rows in `buffer` */
    hsize_t written; /* rows in the file */
    unsigned char *buffer;
    hid_t dataset; /* H5I_INVALID_HID until the first chunk is full */
} column;

struct cohort_writer {
    char *path, *temporary;
    hid_t file;
    column *columns;
    size_t column_count, column_capacity;
};

/* Why the first call failed since `begin`. Kept by a handler because HDF5 forgets it at the
 * next call, be it the one that closes something. */
static _Thread_local char reason[160];

/* The innermost entry of HDF5's error stack says most; of a system error only the system's
 * own words are wanted: "file write failed: …, error message = 'No space left on device', …". */
static herr_t keep_reason(unsigned depth, const H5E_error2_t *error, void *context)
{
    (void)context;
    static const char mark[] = "error message = '";
    const char *text = error->desc ? error->desc : "", *words = strstr(text, mark);
    if (words) {
        words += sizeof mark - 1;
        snprintf(reason, sizeof reason, "%.*s", (int)strcspn(words, "'"), words);
    } else if (depth == 0) {
        snprintf(reason, sizeof reason, "%s", text);
    }
    return words != NULL;
}

static herr_t on_failure(hid_t stack, void *context)
{
    if (!reason[0])
        H5Ewalk2(stack, H5E_WALK_UPWARD, keep_reason, context);
    return 0;
}

/* Brackets around all use of HDF5 here. */
static void begin(void)
{
    cohort_hdf5_begin();
    H5Eset_auto2(H5E_DEFAULT, on_failure, NULL);
    reason[0] = '\0';
}

static void end(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    cohort_hdf5_end();
}

static cohort_status hdf5_failure(const cohort_writer *writer)
{
    return COHORT_FAIL(COHORT_DATA, "cannot write %s: %s", writer->path,
                       reason[0] ? reason : "HDF5 gave no reason");
}

#define TRY_HDF5(writer, call)                                                                     \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            return hdf5_failure(writer);                                                           \
    } while (0)

/* The descriptor HDF5 writes to, or -1. */
static int descriptor(const cohort_writer *writer)
{
    void *handle = NULL;
    if (writer->file < 0 || H5Fget_vfd_handle(writer->file, H5P_DEFAULT, &handle) < 0 || !handle)
        return -1;
    return *(int *)handle;
}

/* Sets disk space aside for BYTES more and what HDF5 adds to them, so that a full disk is
 * met here: after a failed write HDF5 can neither close the file nor end in peace. Where
 * the file system cannot do it, the write itself has to fail. */
static cohort_status reserve(const cohort_writer *writer, size_t bytes)
{
    const int file = descriptor(writer);
    hsize_t size = 0;
    TRY_HDF5(writer, H5Fget_filesize(writer->file, &size));
    const size_t more = bytes + bytes / 8 + (size_t)size / 512 + RESERVE_BYTES;
    struct rlimit limit; /* not heeded when space is set aside behind the end */
    COHORT_REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) != 0 || size + more <= limit.rlim_cur,
                   COHORT_DATA, "cannot write %s: %s", writer->path, strerror(EFBIG));
    if (file >= 0 && fallocate(file, FALLOC_FL_KEEP_SIZE, (off_t)size, (off_t)more) != 0)
        COHORT_REQUIRE(errno != ENOSPC && errno != EDQUOT && errno != EFBIG, COHORT_DATA,
                       "cannot write %s: %s", writer->path, strerror(errno));
    return COHORT_OK;
}

/* Closes an identifier that may be invalid. */
static void release(hid_t id)
{
    if (id >= 0)
        H5Idec_ref(id);
}

static hid_t memory_type(cohort_element element)
{
    return element == COHORT_U8    ? H5T_NATIVE_UINT8
           : element == COHORT_I32 ? H5T_NATIVE_INT32
                                   : H5T_NATIVE_FLOAT;
}

static hid_t file_type(cohort_element element)
{
    return element == COHORT_U8    ? H5T_STD_U8LE
           : element == COHORT_I32 ? H5T_STD_I32LE
                                   : H5T_IEEE_F32LE;
}

/* Times are left out, so that the same input gives the same bytes. The 1.8 format is the
 * oldest whose attributes may exceed 64 KiB (vocabularies do). */
static hid_t open_file(const char *path)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS), creation = H5Pcreate(H5P_FILE_CREATE);
    hid_t file = H5I_INVALID_HID;
    if (access >= 0 && creation >= 0 &&
        H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST) >= 0 &&
        H5Pset_obj_track_times(creation, false) >= 0)
        file = H5Fcreate(path, H5F_ACC_TRUNC, creation, access);
    release(access);
    release(creation);
    return file;
}

cohort_status cohort_writer_create(cohort_writer **out, const char *path)
{
    *out = NULL;
    struct stat info;
    COHORT_REQUIRE(stat(path, &info) != 0 || S_ISREG(info.st_mode), COHORT_DATA,
                   "cannot write %s: it is there and is not a file", path);
    cohort_writer *writer = calloc(1, sizeof *writer);
    COHORT_REQUIRE(writer, COHORT_MEMORY, "out of memory");
    writer->file = H5I_INVALID_HID;
    cohort_status status = COHORT_OK;
    writer->path = strdup(path);
    if (asprintf(&writer->temporary, "%s.%ld.tmp", path, (long)getpid()) < 0)
        writer->temporary = NULL;
    COHORT_REQUIRE_DONE(status, writer->path && writer->temporary, COHORT_MEMORY, "out of memory");
    begin();
    writer->file = open_file(writer->temporary);
    if (writer->file < 0)
        status = hdf5_failure(writer);
    end();
done:
    if (status == COHORT_OK)
        *out = writer;
    else
        cohort_writer_destroy(writer);
    return status;
}

const char *cohort_writer_temporary(const cohort_writer *writer)
{
    return writer->temporary;
}

cohort_status cohort_writer_add(size_t *id, cohort_writer *writer, const char *group,
                                const char *name, cohort_element element, const cohort_shape *shape,
                                int deflate)
{
    *id = writer->column_count;
    const size_t element_bytes = element == COHORT_U8 ? 1 : 4;
    size_t row_bytes = 0;
    COHORT_REQUIRE(cohort_size_multiply(&row_bytes, cohort_shape_count(shape), element_bytes) &&
                       row_bytes > 0 && row_bytes < (size_t)1 << 40,
                   COHORT_DATA, "cannot write %s: rows of /%s/%s would be empty or too large",
                   writer->path, group, name);
    COHORT_REQUIRE(deflate >= 0 && deflate <= 9, COHORT_USAGE,
                   "compression level %d must be from 0 to 9", deflate);
    COHORT_TRY(cohort_grow((void **)&writer->columns, &writer->column_capacity,
                           writer->column_count + 1, sizeof *writer->columns));
    column *new = &writer->columns[writer->column_count];
    *new = (column){.element = element,
                    .shape = *shape,
                    .deflate = deflate,
                    .row_bytes = row_bytes,
                    .buffer_rows = row_bytes < CHUNK_BYTES ? CHUNK_BYTES / row_bytes : 1,
                    .dataset = H5I_INVALID_HID};
    if (asprintf(&new->path, "%s%s%s", group, *group ? "/" : "", name) < 0)
        return COHORT_FAIL(COHORT_MEMORY, "out of memory");
    writer->column_count++; /* from here on destroy frees it */
    new->buffer = malloc(new->buffer_rows *row_bytes);
    COHORT_REQUIRE(new->buffer, COHORT_MEMORY, "out of memory: %zu bytes asked",
                   new->buffer_rows *row_bytes);
    return COHORT_OK;
}

/* dims = [rows][shape]; returns how many there are. */
static int extents(hsize_t dims[1 + COHORT_SHAPE_MAX], const column *col, hsize_t rows)
{
    dims[0] = rows;
    for (size_t i = 0; i < col->shape.dim_count; i++)
        dims[1 + i] = col->shape.dims[i];
    return 1 + (int)col->shape.dim_count;
}

/* Creation properties. A dataset that is COMPLETE (all its rows wait) is contiguous unless
 * compressed. Rows beyond SPLIT_BYTES are split over several chunks, leading extents first. */
static herr_t lay_out(hid_t creation, const column *col, bool complete)
{
    if (H5Pset_obj_track_times(creation, false) < 0)
        return -1;
    if (complete && (!col->deflate || col->waiting == 0))
        return H5Pset_layout(creation, H5D_CONTIGUOUS);
    hsize_t dims[1 + COHORT_SHAPE_MAX];
    int dim_count = extents(dims, col, complete ? col->waiting : col->buffer_rows);
    size_t bytes = col->row_bytes;
    for (int i = 1; i < dim_count; i++) {
        while (dims[0] == 1 && bytes > SPLIT_BYTES && dims[i] > 1) {
            bytes = bytes / dims[i] * ((dims[i] + 1) / 2);
            dims[i] = (dims[i] + 1) / 2;
        }
    }
    if (H5Pset_chunk(creation, dim_count, dims) < 0)
        return -1;
    if (col->deflate &&
        (H5Pset_shuffle(creation) < 0 || H5Pset_deflate(creation, (unsigned)col->deflate) < 0))
        return -1;
    return 0;
}

/* Makes the groups of "a/b/x" that are missing, without times. */
static herr_t make_groups(const cohort_writer *writer, const char *path)
{
    hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
    herr_t result = creation < 0 ? -1 : H5Pset_obj_track_times(creation, false);
    for (const char *slash = strchr(path, '/'); slash && result >= 0;
         slash = strchr(slash + 1, '/')) {
        char part[256];
        snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
        htri_t there = H5Lexists(writer->file, part, H5P_DEFAULT);
        hid_t group =
            there == 0 ? H5Gcreate2(writer->file, part, H5P_DEFAULT, creation, H5P_DEFAULT) : -1;
        if (there < 0 || (there == 0 && group < 0))
            result = -1;
        release(group);
    }
    release(creation);
    return result;
}

static herr_t create_dataset(column *col, const cohort_writer *writer, bool complete)
{
    hsize_t dims[1 + COHORT_SHAPE_MAX], most[1 + COHORT_SHAPE_MAX];
    int dim_count = extents(dims, col, complete ? col->waiting : 0);
    extents(most, col, complete ? col->waiting : H5S_UNLIMITED);
    hid_t space = H5Screate_simple(dim_count, dims, most);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE), access = H5Pcreate(H5P_DATASET_ACCESS);
    /* Chunks are written whole: a cache would only put off the failure of a full disk. */
    if (space >= 0 && creation >= 0 && access >= 0 && H5Pset_chunk_cache(access, 0, 0, 0) >= 0 &&
        make_groups(writer, col->path) >= 0 && lay_out(creation, col, complete) >= 0)
        col->dataset = H5Dcreate2(writer->file, col->path, file_type(col->element), space,
                                  H5P_DEFAULT, creation, access);
    release(space);
    release(creation);
    release(access);
    return col->dataset < 0 ? -1 : 0;
}

/* Writes ROWS[0..count) behind what the dataset holds. */
static herr_t write_rows(column *col, const void *rows, size_t count, bool grow)
{
    hsize_t dims[1 + COHORT_SHAPE_MAX], start[1 + COHORT_SHAPE_MAX] = {0};
    int dim_count = extents(dims, col, col->written + count);
    if (grow && H5Dset_extent(col->dataset, dims) < 0)
        return -1;
    start[0] = col->written;
    dims[0] = count;
    hid_t memory = H5Screate_simple(dim_count, dims, NULL), file = H5Dget_space(col->dataset);
    herr_t result = -1;
    if (memory >= 0 && file >= 0 &&
        H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, dims, NULL) >= 0)
        result = H5Dwrite(col->dataset, memory_type(col->element), memory, file, H5P_DEFAULT, rows);
    release(memory);
    release(file);
    col->written += count;
    return result;
}

/* Empties the buffer; LAST: no more rows come. */
static cohort_status write_out(cohort_writer *writer, column *col, bool last)
{
    const bool complete = last && col->dataset < 0;
    COHORT_TRY(reserve(writer, col->waiting * col->row_bytes));
    if (col->dataset < 0)
        TRY_HDF5(writer, create_dataset(col, writer, complete));
    if (col->waiting > 0)
        TRY_HDF5(writer, write_rows(col, col->buffer, col->waiting, !complete));
    col->waiting = 0;
    return COHORT_OK;
}

cohort_status cohort_writer_append(cohort_writer *writer, size_t id, const void *rows, size_t count)
{
    COHORT_REQUIRE(id < writer->column_count, COHORT_INTERNAL, "no dataset %zu in the writer", id);
    column *col = &writer->columns[id];
    cohort_status status = COHORT_OK;
    for (const unsigned char *from = rows; count > 0 && status == COHORT_OK;) {
        size_t taken = col->buffer_rows - col->waiting;
        if (taken > count)
            taken = count;
        memcpy(col->buffer + col->waiting * col->row_bytes, from, taken * col->row_bytes);
        col->waiting += taken;
        from += taken * col->row_bytes;
        count -= taken;
        if (col->waiting == col->buffer_rows) {
            begin();
            status = write_out(writer, col, false);
            end();
        }
    }
    return status;
}

static cohort_status write_attribute(const cohort_writer *writer, const char *name,
                                     const char *const *values, size_t count, hid_t space)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(values[i]) + 64; /* with the entry of the string in HDF5's heap */
    cohort_status room = reserve(writer, bytes);
    if (room != COHORT_OK) {
        release(space);
        return room;
    }
    hid_t type = H5Tcopy(H5T_C_S1), attribute = H5I_INVALID_HID;
    herr_t result = -1;
    if (type >= 0 && space >= 0 && H5Tset_size(type, H5T_VARIABLE) >= 0 &&
        H5Tset_cset(type, H5T_CSET_UTF8) >= 0) {
        attribute = H5Acreate2(writer->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
        if (attribute >= 0)
            result = H5Awrite(attribute, type, values);
    }
    cohort_status status = result < 0 ? hdf5_failure(writer) : COHORT_OK;
    release(attribute);
    release(type);
    release(space);
    return status;
}

cohort_status cohort_writer_attribute(cohort_writer *writer, const char *name, const char *value)
{
    begin();
    cohort_status status = write_attribute(writer, name, &value, 1, H5Screate(H5S_SCALAR));
    end();
    return status;
}

cohort_status cohort_writer_attribute_list(cohort_writer *writer, const char *name,
                                           const char *const *values, size_t count)
{
    begin();
    cohort_status status =
        write_attribute(writer, name, values, count, H5Screate_simple(1, (hsize_t[]){count}, NULL));
    end();
    return status;
}

/* All is flushed before anything is closed: HDF5 cannot take back a close that failed. */
static cohort_status close_file(cohort_writer *writer)
{
    for (size_t i = 0; i < writer->column_count; i++) {
        COHORT_TRY(write_out(writer, &writer->columns[i], true));
        TRY_HDF5(writer, H5Dflush(writer->columns[i].dataset));
    }
    TRY_HDF5(writer, H5Fflush(writer->file, H5F_SCOPE_GLOBAL));
    for (size_t i = 0; i < writer->column_count; i++) {
        hid_t dataset = writer->columns[i].dataset;
        writer->columns[i].dataset = H5I_INVALID_HID;
        TRY_HDF5(writer, H5Dclose(dataset));
    }
    hid_t file = writer->file;
    writer->file = H5I_INVALID_HID;
    TRY_HDF5(writer, H5Fclose(file));
    return COHORT_OK;
}

cohort_status cohort_writer_finish(cohort_writer *writer)
{
    begin();
    cohort_status status = close_file(writer);
    end();
    COHORT_TRY(status);
    /* Gives back what was set aside behind the end. */
    struct stat info;
    COHORT_REQUIRE(stat(writer->temporary, &info) == 0 &&
                       truncate(writer->temporary, info.st_size) == 0,
                   COHORT_DATA, "cannot write %s: %s", writer->path, strerror(errno));
    COHORT_TRY(cohort_file_commit(writer->temporary, writer->path));
    free(writer->temporary);
    writer->temporary = NULL; /* nothing left to remove */
    return COHORT_OK;
}

/* Lets the file go on in memory that is given back when it is closed. HDF5 insists on writing
 * what it holds; on a full disk it fails to close for that and crashes when the program ends. */
static void abandon(const cohort_writer *writer)
{
    const int file = descriptor(writer);
    if (file < 0)
        return;
    int memory = memfd_create("cohort-abandoned", MFD_CLOEXEC);
    if (memory < 0)
        return;
    dup2(memory, file);
    close(memory);
}

void cohort_writer_destroy(cohort_writer *writer)
{
    if (!writer)
        return;
    begin();
    abandon(writer);
    for (size_t i = 0; i < writer->column_count; i++) {
        release(writer->columns[i].dataset);
        free(writer->columns[i].buffer);
        free(writer->columns[i].path);
    }
    release(writer->file);
    end();
    if (writer->temporary)
        unlink(writer->temporary);
    free(writer->columns);
    free(writer->temporary);
    free(writer->path);
    free(writer);
}
