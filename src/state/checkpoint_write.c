#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/probe.h"
#include "state/checkpoint.h"
#include "state/image.h"
#include "state/layout.h"

static bool put_value(hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                      hid_t space, const void *value)
{
    hid_t attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool good = attribute >= 0 && H5Awrite(attribute, memory_type, value) >= 0;
    if (attribute >= 0)
        good = H5Aclose(attribute) >= 0 && good;
    return good;
}

static bool put_scalar(hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                       const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    bool good = put_value(object, name, file_type, memory_type, space, value);
    H5Sclose(space);
    return good;
}

static bool put_integer(hid_t object, const char *name, int64_t value)
{
    return put_scalar(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

/* Variable length: h5py gives these as str, fixed-length ones as bytes, which equal no str. The
 * heap they lie in has no checksums; the seal stands for them. */
static bool put_text(hid_t object, const char *name, const char *value)
{
    hid_t type = cohort_hdf5_string_type(H5T_VARIABLE);
    bool good = type >= 0 && put_scalar(object, name, type, type, &value);
    H5Tclose(type);
    return good;
}

static bool put_checksum(hid_t object, const char *name, const void *bytes, size_t count)
{
    uint64_t checksum = cohort_hash(bytes, count, 0);
    return put_scalar(object, name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &checksum);
}

static bool put_shape(hid_t object, const char *name, const cohort_shape *shape)
{
    int64_t dims[COHORT_SHAPE_MAX];
    for (size_t i = 0; i < shape->dim_count; i++)
        dims[i] = (int64_t)shape->dims[i];
    hid_t space = H5Screate_simple(1, (hsize_t[]){shape->dim_count}, NULL);
    bool good = put_value(object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, space, dims);
    H5Sclose(space);
    return good;
}

static hid_t shape_space(const cohort_shape *shape)
{
    hsize_t dims[COHORT_SHAPE_MAX];
    for (size_t i = 0; i < shape->dim_count; i++)
        dims[i] = shape->dims[i];
    return shape->dim_count ? H5Screate_simple((int)shape->dim_count, dims, NULL)
                            : H5Screate(H5S_SCALAR);
}

static cohort_status put_tensor(cohort_image *image, const char *path, const cohort_tensor *tensor,
                                const real *data)
{
    hid_t space = shape_space(&tensor->shape);
    hid_t set = H5Dcreate2(image->file, path, H5T_IEEE_F32LE, space, image->links, image->datasets,
                           H5P_DEFAULT);
    bool good = set >= 0 &&
                put_checksum(set, COHORT_CHECKPOINT_CHECKSUM, data, tensor->count * sizeof *data);
    cohort_status status = good ? cohort_image_place(image, set, data, tensor->count) : COHORT_OK;
    if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    H5Sclose(space);
    COHORT_TRY(status);
    COHORT_REQUIRE(good, COHORT_MEMORY, "no memory for tensor %s of the checkpoint", path);
    return COHORT_OK;
}

static cohort_status put_tensors(cohort_image *image, const cohort_snapshot *snapshot)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < cohort_section_count(snapshot); i++) {
        cohort_section section = cohort_section_at(snapshot, i);
        for (size_t j = 0; j < section.tensors->count; j++) {
            const cohort_tensor *tensor = &section.tensors->items[j];
            COHORT_TRY_DONE(status, cohort_section_path(&path, &section, tensor));
            COHORT_TRY_DONE(status,
                            put_tensor(image, path.data, tensor, section.data + tensor->offset));
        }
    }
done:
    cohort_text_clear(&path);
    return status;
}

static bool put_cells(cohort_image *image, const char *name, const char *cells, size_t count,
                      size_t width)
{
    hid_t type = cohort_hdf5_string_type(width);
    hid_t space = H5Screate_simple(1, (hsize_t[]){count}, NULL);
    hid_t set =
        H5Dcreate2(image->file, name, type, space, image->links, image->datasets, H5P_DEFAULT);
    bool good = set >= 0 && H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, cells) >= 0 &&
                put_checksum(set, COHORT_CHECKPOINT_CHECKSUM, cells, count * width);
    if (set >= 0)
        good = H5Dclose(set) >= 0 && good;
    H5Sclose(space);
    H5Tclose(type);
    return good;
}

/* Fixed length: the size is known before reading, and damage stays inside its cell. */
static cohort_status put_list(cohort_image *image, const char *name, const char *const *strings,
                              size_t count)
{
    if (!strings || count == 0)
        return COHORT_OK;
    size_t width = 1, bytes;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(strings[i]);
        width = length > width ? length : width;
    }
    COHORT_REQUIRE(cohort_size_multiply(&bytes, count, width) &&
                       bytes <= COHORT_CHECKPOINT_LIST_MAX,
                   COHORT_DATA,
                   "%s: %zu strings of up to %zu bytes are too many for a checkpoint (limit %d "
                   "MiB); shorten the longest",
                   name, count, width, COHORT_CHECKPOINT_LIST_MAX >> 20);
    char *cells;
    COHORT_TRY(COHORT_ALLOCATE(&cells, bytes));
    for (size_t i = 0; i < count; i++)
        memcpy(cells + i * width, strings[i], strlen(strings[i]));
    bool good = put_cells(image, name, cells, count, width);
    cohort_free(cells);
    COHORT_REQUIRE(good, COHORT_MEMORY, "no memory for the %s of the checkpoint", name);
    return COHORT_OK;
}

static bool put_progress(cohort_image *image, const cohort_progress *progress)
{
    hid_t group = H5Gcreate2(image->file, "progress", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    bool good = group >= 0;
    for (size_t i = 0; good && i < cohort_progress_field_count; i++) {
        const cohort_progress_field *field = &cohort_progress_fields[i];
        const void *value = (const char *)progress + field->offset;
        good = field->is_real
                   ? put_scalar(group, field->name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, value)
                   : put_scalar(group, field->name, H5T_STD_I64LE, H5T_NATIVE_INT64, value);
    }
    if (group >= 0)
        good = H5Gclose(group) >= 0 && good;
    return good;
}

static cohort_status put_snapshot(cohort_image *image, const cohort_snapshot *snapshot)
{
    COHORT_REQUIRE(strlen(snapshot->recipe) <= COHORT_CHECKPOINT_TEXT_MAX, COHORT_USAGE,
                   "the recipe is longer than %d MiB", COHORT_CHECKPOINT_TEXT_MAX >> 20);
    bool good = put_text(image->file, "format", COHORT_CHECKPOINT_FORMAT) &&
                put_integer(image->file, "version", COHORT_CHECKPOINT_VERSION) &&
                put_text(image->file, "recipe", snapshot->recipe) &&
                put_checksum(image->file, COHORT_CHECKPOINT_RECIPE_CHECKSUM, snapshot->recipe,
                             strlen(snapshot->recipe)) &&
                put_shape(image->file, "input_shape", &snapshot->input_shape) &&
                put_integer(image->file, "input_tokens", snapshot->input_tokens) &&
                put_progress(image, &snapshot->progress);
    if (snapshot->tokenizer) {
        COHORT_REQUIRE(strlen(snapshot->tokenizer) <= COHORT_CHECKPOINT_TOKENIZER_MAX, COHORT_DATA,
                       "the attribute `tokenizer` of the data is longer than %d KiB: convert the "
                       "text again",
                       COHORT_CHECKPOINT_TOKENIZER_MAX >> 10);
        good = good && put_text(image->file, "tokenizer", snapshot->tokenizer);
    }
    if (snapshot->ways)
        good = good && put_text(image->file, "ways", snapshot->ways);
    if (snapshot->sum_way)
        good = good && put_text(image->file, "sum_way", snapshot->sum_way);
    if (snapshot->table) {
        COHORT_REQUIRE(strlen(snapshot->table) <= COHORT_CHECKPOINT_TEXT_MAX, COHORT_DATA,
                       "the attribute `table` of the data is longer than %d MiB: leave out a "
                       "column with so many categories",
                       COHORT_CHECKPOINT_TEXT_MAX >> 20);
        good = good && put_text(image->file, "table", snapshot->table);
    }
    if (snapshot->ledger)
        good = good && put_text(image->file, COHORT_CHECKPOINT_LEDGER, snapshot->ledger) &&
               put_checksum(image->file, COHORT_CHECKPOINT_LEDGER_CHECKSUM, snapshot->ledger,
                            strlen(snapshot->ledger));
    COHORT_REQUIRE(good, COHORT_MEMORY, "no memory for the attributes of the checkpoint");
    COHORT_TRY(put_list(image, "classes", snapshot->classes, snapshot->class_count));
    COHORT_TRY(put_list(image, "vocabulary", snapshot->vocabulary, snapshot->vocabulary_count));
    return put_tensors(image, snapshot);
}

/* The image flushed to disk and dropped from the page cache, so that reading back reads the disk.
 */
static cohort_status store_image(cohort_image *image, const char *temporary, const char *path)
{
    int handle = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    COHORT_REQUIRE(handle >= 0, COHORT_DATA, "cannot write %s: %s", path, strerror(errno));
    cohort_status status = cohort_image_write(image, handle, path);
    bool good = status != COHORT_OK || fsync(handle) == 0;
    int reason = errno;
    if (good)
        posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
    if (close(handle) != 0 && good) {
        good = false;
        reason = errno;
    }
    COHORT_TRY(status);
    COHORT_REQUIRE(good, COHORT_DATA, "cannot write %s: %s; the previous checkpoint is kept", path,
                   strerror(reason));
    return COHORT_OK;
}

/* *bytes = what they take. */
static size_t tensor_count(size_t *bytes, const cohort_snapshot *snapshot)
{
    size_t count = 0;
    *bytes = 0;
    for (size_t i = 0; i < cohort_section_count(snapshot); i++) {
        const cohort_tensors *tensors = cohort_section_at(snapshot, i).tensors;
        for (size_t j = 0; j < tensors->count; j++)
            *bytes += tensors->items[j].count * sizeof(real);
        count += tensors->count;
    }
    return count;
}

static cohort_status write_temporary(const char *temporary, const char *path,
                                     const cohort_snapshot *snapshot)
{
    cohort_image image;
    cohort_status status;
    size_t bytes, count = tensor_count(&bytes, snapshot);
    COHORT_TRY_DONE(status, cohort_image_open(&image, count, bytes, path));
    COHORT_TRY_DONE(status, put_snapshot(&image, snapshot));
    COHORT_TRY_DONE(status, store_image(&image, temporary, path));
done:
    cohort_image_close(&image);
    return status;
}

static void count_tensor(void *context, const char *name, const cohort_shape *shape)
{
    (void)name;
    (void)shape;
    ++*(size_t *)context;
}

/* Opening compares every byte with the seal; what is left is whether all tensors are there. */
static cohort_status read_back(const char *temporary, const cohort_snapshot *snapshot)
{
    cohort_checkpoint *checkpoint;
    size_t found = 0, bytes, written = tensor_count(&bytes, snapshot);
    cohort_hdf5_trust(temporary);
    COHORT_TRY(cohort_checkpoint_open(&checkpoint, temporary));
    cohort_status status = cohort_checkpoint_visit(checkpoint, count_tensor, &found);
    cohort_checkpoint_close(checkpoint);
    COHORT_TRY(status);
    COHORT_REQUIRE(found == written, COHORT_DATA, "%s: %zu tensors read back of %zu written",
                   temporary, found, written);
    return COHORT_OK;
}

cohort_status cohort_checkpoint_save(const char *path, const cohort_snapshot *snapshot)
{
    cohort_text temporary = {0};
    cohort_text_append(&temporary, "%s.%ld.tmp", path, (long)getpid());
    COHORT_TRY(cohort_text_status(&temporary));
    cohort_hdf5_begin();
    cohort_status status;
    unlink(temporary.data);
    COHORT_TRY_DONE(status, write_temporary(temporary.data, path, snapshot));
    COHORT_TRY_DONE(status, read_back(temporary.data, snapshot));
    COHORT_TRY_DONE(status, cohort_file_commit(temporary.data, path));
done:
    if (status != COHORT_OK)
        unlink(temporary.data);
    cohort_hdf5_end();
    cohort_text_clear(&temporary);
    return status;
}
