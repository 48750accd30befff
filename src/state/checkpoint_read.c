#include "state/checkpoint.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/chunks.h"
#include "data/hdf5.h"
#include "data/heaps.h"
#include "data/probe.h"
#include "state/layout.h"
#include "state/seal.h"

/* Nothing in a file is believed before it is checked: types, shapes and sizes come first,
 * and what is read goes where its size has been compared. */

struct cohort_checkpoint {
    hid_t file;
    char *path;
    cohort_arena *arena;      /* strings and lists */
    cohort_snapshot snapshot; /* without tensors */
};

/* ---- Attributes ---- */

/* One number of class H5T_INTEGER or H5T_FLOAT; false if it is not there or not that. */
static bool get_number(hid_t object, const char *name, H5T_class_t class, hid_t memory_type,
                       void *value)
{
    if (H5Aexists(object, name) <= 0)
        return false;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    bool good = H5Tget_class(type) == class && H5Sget_simple_extent_npoints(space) == 1 &&
                H5Aread(attribute, memory_type, value) >= 0;
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return good;
}

/* Whether BYTES are what OBJECT's checksum says, or it has none. */
static bool is_intact(hid_t object, const char *checksum, const void *bytes, size_t count)
{
    uint64_t wanted = 0;
    return !get_number(object, checksum, H5T_INTEGER, H5T_NATIVE_UINT64, &wanted) ||
           cohort_hash(bytes, count, 0) == wanted;
}

/* Strings are read by the file's own TYPE: HDF5 does not convert between ASCII and UTF-8. */
static bool read_fixed_text(char **out, cohort_arena *arena, hid_t attribute, hid_t type)
{
    size_t width = H5Tget_size(type);
    return width > 0 && width <= COHORT_CHECKPOINT_TEXT_MAX &&
           COHORT_TAKE(out, arena, width + 1) == COHORT_OK && H5Aread(attribute, type, *out) >= 0;
}

/* What we and h5py write for a text. HDF5 stores an empty one as none. */
static bool read_variable_text(char **out, cohort_arena *arena, hid_t attribute, const char *name)
{
    char **text = NULL;
    const bool good =
        cohort_hdf5_variable_strings(&text, attribute, 1, COHORT_CHECKPOINT_TEXT_MAX + 1,
                                     "the checkpoint", name) == COHORT_OK &&
        cohort_arena_copy(out, arena, *text) == COHORT_OK;
    free(text);
    return good;
}

/* One string, fixed or variable, of bounded length. */
static bool get_text(char **out, cohort_arena *arena, hid_t object, const char *name)
{
    if (H5Aexists(object, name) <= 0)
        return false;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    bool good = H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1;
    if (good)
        good = H5Tis_variable_str(type) > 0 ? read_variable_text(out, arena, attribute, name)
                                            : read_fixed_text(out, arena, attribute, type);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    return good;
}

static bool get_shape(cohort_shape *shape, hid_t object, const char *name)
{
    int64_t dims[COHORT_SHAPE_MAX] = {0};
    if (H5Aexists(object, name) <= 0)
        return false;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    hssize_t count = H5Sget_simple_extent_npoints(space);
    bool good = H5Tget_class(type) == H5T_INTEGER && count >= 0 && count <= COHORT_SHAPE_MAX &&
                (count == 0 || H5Aread(attribute, H5T_NATIVE_INT64, dims) >= 0);
    H5Sclose(space);
    H5Tclose(type);
    H5Aclose(attribute);
    for (hssize_t i = 0; good && i < count; i++) {
        good = dims[i] >= 0;
        shape->dims[shape->dim_count++] = (size_t)dims[i];
    }
    return good && cohort_shape_count(shape) < SIZE_MAX / 16;
}

/* ---- Datasets ---- */

/* Data inside this file, in a plain layout, and enough of it: filters do not shrink more than
 * about a thousandfold (DEFLATE), so a larger claim is a lie that would only cost memory. */
static bool is_honest(hid_t set, size_t count)
{
    hid_t list = H5Dget_create_plist(set);
    H5D_layout_t layout = H5Pget_layout(list);
    bool good = (layout == H5D_COMPACT || layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED) &&
                H5Pget_external_count(list) == 0;
    H5Pclose(list);
    return good && count / 2048 <= H5Dget_storage_size(set) && cohort_hdf5_is_whole(set);
}

/* Opens tensor PATH: a dataset of floats; *shape = its shape. Negative if it is not that. */
static hid_t open_tensor(cohort_shape *shape, hid_t file, const char *path)
{
    hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
    if (set < 0)
        return set;
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    hsize_t dims[COHORT_SHAPE_MAX];
    int dim_count = H5Sget_simple_extent_ndims(space);
    bool good = H5Tget_class(type) == H5T_FLOAT && dim_count >= 0 &&
                dim_count <= COHORT_SHAPE_MAX && H5Sget_simple_extent_type(space) != H5S_NULL &&
                (dim_count == 0 || H5Sget_simple_extent_dims(space, dims, NULL) >= 0);
    H5Sclose(space);
    H5Tclose(type);
    *shape = (cohort_shape){.dim_count = good ? (size_t)dim_count : 0};
    for (size_t i = 0; i < shape->dim_count; i++)
        shape->dims[i] = dims[i];
    if (good && is_honest(set, cohort_shape_count(shape)))
        return set;
    H5Dclose(set);
    return H5I_INVALID_HID;
}

/* DATA [count] from SET, compared with its checksum. */
static cohort_status read_tensor(real *data, const cohort_checkpoint *checkpoint, hid_t set,
                                 const char *path, size_t count)
{
    COHORT_REQUIRE(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0,
                   COHORT_DATA, "%s: tensor %s cannot be read: the file is damaged; take another",
                   checkpoint->path, path);
    COHORT_REQUIRE(is_intact(set, COHORT_CHECKPOINT_CHECKSUM, data, count * sizeof *data),
                   COHORT_DATA,
                   "%s: tensor %s is not what was written (checksum): the file is damaged; take "
                   "another, or delete the attribute %s if it was changed on purpose",
                   checkpoint->path, path, COHORT_CHECKPOINT_CHECKSUM);
    return COHORT_OK;
}

/* ---- Lists of strings ---- */

/* The strings of CELLS [count][width], padded with zeros, as a list. */
static cohort_status split_cells(const char *const **out, cohort_arena *arena, const char *cells,
                                 size_t count, size_t width)
{
    const char **list;
    char *copy;
    COHORT_TRY(COHORT_TAKE(&list, arena, count));
    COHORT_TRY(COHORT_TAKE(&copy, arena, count * (width + 1)));
    for (size_t i = 0; i < count; i++) {
        list[i] = copy + i * (width + 1);
        memcpy(copy + i * (width + 1), cells + i * width, width);
    }
    *out = list;
    return COHORT_OK;
}

/* *width and *count of list SET; false if it is not one of bounded size. */
static bool measure_list(size_t *width, size_t *count, hid_t set)
{
    hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    size_t bytes = 0;
    hssize_t points = H5Sget_simple_extent_npoints(space);
    bool good = H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 && points > 0 &&
                H5Sget_simple_extent_ndims(space) == 1;
    *width = H5Tget_size(type);
    *count = good ? (size_t)points : 0;
    H5Sclose(space);
    H5Tclose(type);
    return good && *width > 0 && cohort_size_multiply(&bytes, *width, *count) &&
           bytes <= COHORT_CHECKPOINT_LIST_MAX && is_honest(set, bytes);
}

static cohort_status read_list(const char *const **out, size_t *count, cohort_arena *arena,
                               const char *path, const char *name, hid_t set)
{
    size_t width = 0, found = 0;
    COHORT_REQUIRE(measure_list(&width, &found, set), COHORT_DATA,
                   "%s: %s is not a list of fixed-length strings of sensible size", path, name);
    char *cells;
    COHORT_TRY(COHORT_ALLOCATE(&cells, found * width));
    hid_t type = H5Dget_type(set);
    bool good = H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, cells) >= 0 &&
                is_intact(set, COHORT_CHECKPOINT_CHECKSUM, cells, found * width);
    H5Tclose(type);
    cohort_status status =
        good ? split_cells(out, arena, cells, found, width)
             : COHORT_FAIL(COHORT_DATA, "%s: %s cannot be read: the file is damaged", path, name);
    cohort_free(cells);
    *count = status == COHORT_OK ? found : 0;
    return status;
}

static cohort_status get_list(const char *const **out, size_t *count, cohort_checkpoint *checkpoint,
                              const char *name)
{
    if (H5Lexists(checkpoint->file, name, H5P_DEFAULT) <= 0)
        return COHORT_OK;
    hid_t set = H5Dopen2(checkpoint->file, name, H5P_DEFAULT);
    COHORT_REQUIRE(set >= 0, COHORT_DATA, "%s: %s is not a dataset", checkpoint->path, name);
    cohort_status status = read_list(out, count, checkpoint->arena, checkpoint->path, name, set);
    H5Dclose(set);
    return status;
}

/* ---- Opening ---- */

static cohort_status get_progress(cohort_progress *progress, const cohort_checkpoint *checkpoint)
{
    *progress = (cohort_progress){.best_metric = NAN};
    hid_t group = H5Gopen2(checkpoint->file, "progress", H5P_DEFAULT);
    COHORT_REQUIRE(group >= 0, COHORT_DATA, "%s: group /progress is missing or damaged",
                   checkpoint->path);
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < cohort_progress_field_count && status == COHORT_OK; i++) {
        const cohort_progress_field *field = &cohort_progress_fields[i];
        void *value = (char *)progress + field->offset;
        bool there = field->is_real
                         ? get_number(group, field->name, H5T_FLOAT, H5T_NATIVE_DOUBLE, value)
                         : get_number(group, field->name, H5T_INTEGER, H5T_NATIVE_INT64, value);
        if (!there && field->required)
            status = COHORT_FAIL(COHORT_DATA, "%s: attribute %s of /progress is missing or damaged",
                                 checkpoint->path, field->name);
    }
    H5Gclose(group);
    return status;
}

/* A sealed file is compared with its seal, the others are parsed as they are. The reason of a
 * failure is found out here where HDF5 would say only that it failed. */
static cohort_status open_file(hid_t *file, const char *path)
{
    struct stat info;
    COHORT_REQUIRE(stat(path, &info) == 0, COHORT_DATA, "cannot read checkpoint %s: %s", path,
                   strerror(errno));
    COHORT_REQUIRE(S_ISREG(info.st_mode), COHORT_DATA, "%s is not a file", path);
    COHORT_TRY(cohort_seal_check(path)); /* before HDF5 looks at it */
    COHORT_REQUIRE(H5Fis_hdf5(path) > 0, COHORT_DATA,
                   "%s is not an HDF5 file, or its beginning is damaged", path);
    COHORT_TRY(cohort_hdf5_probe(path)); /* a seal is no proof: anyone can make one */
    hid_t access = cohort_hdf5_access();
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    *file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    COHORT_REQUIRE(*file >= 0, COHORT_DATA,
                   "%s is truncated or damaged (or cannot be read); take another checkpoint", path);
    return COHORT_OK;
}

/* *out = attribute NAME of at most MOST bytes; unchanged where there is none. */
static cohort_status get_optional_text(const char **out, const cohort_checkpoint *checkpoint,
                                       const char *name, size_t most)
{
    char *text = NULL;
    if (H5Aexists(checkpoint->file, name) <= 0)
        return COHORT_OK;
    COHORT_REQUIRE(get_text(&text, checkpoint->arena, checkpoint->file, name) &&
                       strlen(text) <= most,
                   COHORT_DATA, "%s: attribute %s is damaged", checkpoint->path, name);
    *out = text;
    return COHORT_OK;
}

static cohort_status read_description(cohort_checkpoint *checkpoint)
{
    cohort_snapshot *snapshot = &checkpoint->snapshot;
    char *format = NULL, *recipe = NULL;
    int64_t version = 0, tokens = 0;
    COHORT_REQUIRE(get_text(&format, checkpoint->arena, checkpoint->file, "format") &&
                       strcmp(format, COHORT_CHECKPOINT_FORMAT) == 0,
                   COHORT_DATA, "%s is an HDF5 file but not a checkpoint (attribute format)",
                   checkpoint->path);
    COHORT_REQUIRE(get_number(checkpoint->file, "version", H5T_INTEGER, H5T_NATIVE_INT64, &version),
                   COHORT_DATA, "%s: attribute version is missing or damaged", checkpoint->path);
    COHORT_REQUIRE(version == COHORT_CHECKPOINT_VERSION, COHORT_DATA,
                   "%s is of checkpoint version %lld, this program reads version %d: use the "
                   "program that wrote it",
                   checkpoint->path, (long long)version, COHORT_CHECKPOINT_VERSION);
    COHORT_REQUIRE(
        get_text(&recipe, checkpoint->arena, checkpoint->file, "recipe") &&
            is_intact(checkpoint->file, COHORT_CHECKPOINT_RECIPE_CHECKSUM, recipe, strlen(recipe)),
        COHORT_DATA, "%s: attribute recipe is missing or damaged", checkpoint->path);
    snapshot->recipe = recipe;
    COHORT_REQUIRE(H5Aexists(checkpoint->file, "input_shape") <= 0 ||
                       get_shape(&snapshot->input_shape, checkpoint->file, "input_shape"),
                   COHORT_DATA, "%s: attribute input_shape is damaged", checkpoint->path);
    snapshot->input_tokens =
        get_number(checkpoint->file, "input_tokens", H5T_INTEGER, H5T_NATIVE_INT64, &tokens) &&
        tokens != 0;
    COHORT_TRY(get_optional_text(&snapshot->tokenizer, checkpoint, "tokenizer",
                                 COHORT_CHECKPOINT_TOKENIZER_MAX));
    COHORT_TRY(get_optional_text(&snapshot->table, checkpoint, "table", SIZE_MAX));
    COHORT_TRY(get_optional_text(&snapshot->ways, checkpoint, "ways", COHORT_CHECKPOINT_WAYS_MAX));
    COHORT_TRY(
        get_optional_text(&snapshot->sum_way, checkpoint, "sum_way", COHORT_CHECKPOINT_WAYS_MAX));
    if (H5Aexists(checkpoint->file, COHORT_CHECKPOINT_LEDGER) > 0) {
        char *ledger = NULL;
        COHORT_REQUIRE(
            get_text(&ledger, checkpoint->arena, checkpoint->file, COHORT_CHECKPOINT_LEDGER) &&
                is_intact(checkpoint->file, COHORT_CHECKPOINT_LEDGER_CHECKSUM, ledger,
                          strlen(ledger)),
            COHORT_DATA, "%s: attribute %s is damaged", checkpoint->path, COHORT_CHECKPOINT_LEDGER);
        snapshot->ledger = ledger;
    }
    COHORT_TRY(get_progress(&snapshot->progress, checkpoint));
    COHORT_TRY(get_list(&snapshot->classes, &snapshot->class_count, checkpoint, "classes"));
    return get_list(&snapshot->vocabulary, &snapshot->vocabulary_count, checkpoint, "vocabulary");
}

cohort_status cohort_checkpoint_open(cohort_checkpoint **out, const char *path)
{
    *out = NULL;
    cohort_checkpoint *checkpoint;
    COHORT_TRY(COHORT_ALLOCATE(&checkpoint, 1));
    checkpoint->file = H5I_INVALID_HID;
    cohort_hdf5_begin();
    cohort_status status;
    COHORT_TRY_DONE(status, cohort_arena_create(&checkpoint->arena));
    COHORT_TRY_DONE(status, cohort_arena_copy(&checkpoint->path, checkpoint->arena, path));
    COHORT_TRY_DONE(status, open_file(&checkpoint->file, path));
    COHORT_TRY_DONE(status, read_description(checkpoint));
done:
    if (status == COHORT_OK)
        *out = checkpoint;
    else
        cohort_checkpoint_close(checkpoint);
    cohort_hdf5_end();
    return status;
}

void cohort_checkpoint_close(cohort_checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    if (checkpoint->file >= 0)
        H5Fclose(checkpoint->file);
    cohort_arena_destroy(checkpoint->arena);
    cohort_free(checkpoint);
}

const cohort_snapshot *cohort_checkpoint_describe(const cohort_checkpoint *checkpoint)
{
    return &checkpoint->snapshot;
}

static cohort_status is_checkpoint(bool *is, const char *path)
{
    hid_t file;
    cohort_arena *arena = NULL;
    char *format = NULL;
    COHORT_TRY(open_file(&file, path));
    cohort_status status = cohort_arena_create(&arena);
    if (status == COHORT_OK) {
        *is = get_text(&format, arena, file, "format") &&
              strcmp(format, COHORT_CHECKPOINT_FORMAT) == 0;
        cohort_arena_destroy(arena);
    }
    H5Fclose(file);
    return status;
}

/* Only checkpoints are sealed: then HDF5 need not look, nor the whole file be read. */
cohort_status cohort_checkpoint_is(bool *is, const char *path)
{
    *is = false;
    struct stat info;
    bool there = stat(path, &info) == 0;
    if (there && S_ISREG(info.st_mode))
        COHORT_TRY(cohort_seal_find(is, path));
    if (*is)
        return COHORT_OK;
    cohort_hdf5_begin();
    bool hdf5 = !there || (S_ISREG(info.st_mode) && H5Fis_hdf5(path) > 0);
    cohort_status status = hdf5 ? is_checkpoint(is, path) : COHORT_OK;
    cohort_hdf5_end();
    return status;
}

bool cohort_checkpoint_has(const cohort_checkpoint *checkpoint, const char *group)
{
    cohort_hdf5_begin();
    const bool has = cohort_hdf5_exists(checkpoint->file, group);
    cohort_hdf5_end();
    return has;
}

/* ---- Loading ---- */

/* How a tensor of ours compares with the file. */
typedef enum tensor_match { TENSOR_MISSING, TENSOR_DIFFERS, TENSOR_FITS } tensor_match;

/* *set is open when the tensor fits. */
static tensor_match match_tensor(hid_t *set, cohort_shape *theirs, hid_t file, const char *path,
                                 const cohort_tensor *tensor)
{
    *set = open_tensor(theirs, file, path);
    if (*set < 0)
        return TENSOR_MISSING;
    if (cohort_shape_equal(theirs, &tensor->shape))
        return TENSOR_FITS;
    H5Dclose(*set);
    return TENSOR_DIFFERS;
}

static cohort_status check_tensor(const cohort_checkpoint *checkpoint, const char *path,
                                  const cohort_tensor *tensor)
{
    hid_t set;
    cohort_shape theirs;
    char a[COHORT_SHAPE_TEXT], b[COHORT_SHAPE_TEXT];
    switch (match_tensor(&set, &theirs, checkpoint->file, path, tensor)) {
    case TENSOR_MISSING:
        return COHORT_FAIL(COHORT_DATA,
                           "%s: tensor %s is missing or damaged; this model needs it with shape %s",
                           checkpoint->path, path, cohort_shape_text(a, &tensor->shape));
    case TENSOR_DIFFERS:
        return COHORT_FAIL(COHORT_DATA, "%s: tensor %s has shape %s, this model needs %s",
                           checkpoint->path, path, cohort_shape_text(a, &theirs),
                           cohort_shape_text(b, &tensor->shape));
    case TENSOR_FITS:
        H5Dclose(set);
    }
    return COHORT_OK;
}

static cohort_status load_tensor(real *data, const cohort_checkpoint *checkpoint, const char *path,
                                 const cohort_tensor *tensor)
{
    cohort_shape theirs;
    hid_t set = open_tensor(&theirs, checkpoint->file, path);
    COHORT_REQUIRE(set >= 0, COHORT_DATA, "%s: tensor %s cannot be read", checkpoint->path, path);
    cohort_status status = read_tensor(data, checkpoint, set, path, tensor->count);
    H5Dclose(set);
    return status;
}

/* Checks every tensor of SNAPSHOT, or reads it. */
static cohort_status walk_tensors(const cohort_checkpoint *checkpoint,
                                  const cohort_snapshot *snapshot, bool read)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < cohort_section_count(snapshot); i++) {
        cohort_section section = cohort_section_at(snapshot, i);
        for (size_t j = 0; j < section.tensors->count; j++) {
            const cohort_tensor *tensor = &section.tensors->items[j];
            COHORT_TRY_DONE(status, cohort_section_path(&path, &section, tensor));
            COHORT_TRY_DONE(status, read ? load_tensor(section.data + tensor->offset, checkpoint,
                                                       path.data, tensor)
                                         : check_tensor(checkpoint, path.data, tensor));
        }
    }
done:
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_checkpoint_load(const cohort_checkpoint *checkpoint, cohort_snapshot *snapshot)
{
    cohort_hdf5_begin();
    cohort_status status;
    COHORT_TRY_DONE(status, walk_tensors(checkpoint, snapshot, false));
    COHORT_TRY_DONE(status, walk_tensors(checkpoint, snapshot, true));
    snapshot->progress = checkpoint->snapshot.progress;
done:
    cohort_hdf5_end();
    return status;
}

/* ---- Listing ---- */

/* Names of a file's tensors, in order of layers. */
typedef struct name_list {
    const char *group;
    char **names;
    size_t count, capacity;
    bool failed;
} name_list;

static void name_list_clear(name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
}

/* Soft and external links are passed over: a checkpoint has none. */
static herr_t collect_name(hid_t group, const char *name, const H5L_info_t *info, void *context)
{
    name_list *list = context;
    (void)group;
    if (info->type != H5L_TYPE_HARD)
        return 0;
    cohort_text path = {0};
    cohort_text_append(&path, "%s/%s", list->group, name);
    if (path.failed || cohort_grow((void **)&list->names, &list->capacity, list->count + 1,
                                   sizeof *list->names) != COHORT_OK) {
        cohort_text_clear(&path);
        list->failed = true;
        return -1;
    }
    list->names[list->count++] = path.data;
    return 0;
}

/* "10_dense" after "9_dense". */
static int compare_names(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

static cohort_status collect_group(name_list *list, const cohort_checkpoint *checkpoint,
                                   const char *name)
{
    if (H5Lexists(checkpoint->file, name, H5P_DEFAULT) <= 0)
        return COHORT_OK;
    hid_t group = H5Gopen2(checkpoint->file, name, H5P_DEFAULT);
    COHORT_REQUIRE(group >= 0, COHORT_DATA, "%s: group /%s is damaged", checkpoint->path, name);
    size_t before = list->count;
    list->group = name;
    herr_t failed = H5Lvisit(group, H5_INDEX_NAME, H5_ITER_NATIVE, collect_name, list);
    H5Gclose(group);
    if (list->count > before)
        qsort(list->names + before, list->count - before, sizeof *list->names, compare_names);
    COHORT_REQUIRE(!list->failed, COHORT_MEMORY, "out of memory listing %s", checkpoint->path);
    COHORT_REQUIRE(failed >= 0, COHORT_DATA, "%s: group /%s is damaged", checkpoint->path, name);
    return COHORT_OK;
}

static cohort_status collect_names(name_list *list, const cohort_checkpoint *checkpoint)
{
    static const char *const groups[] = {"params", "state", "optimizer", "server", "clients"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        COHORT_TRY(collect_group(list, checkpoint, groups[i]));
    return COHORT_OK;
}

static bool is_group(hid_t file, const char *name)
{
    hid_t object = H5Oopen(file, name, H5P_DEFAULT);
    bool is = object >= 0 && H5Iget_type(object) == H5I_GROUP;
    if (object >= 0)
        H5Oclose(object);
    return is;
}

/* What listing does with one tensor, open as SET. */
typedef cohort_status tensor_action(void *context, const cohort_checkpoint *checkpoint, hid_t set,
                                    const char *name, const cohort_shape *shape);

static cohort_status for_each_tensor(const cohort_checkpoint *checkpoint, tensor_action *action,
                                     void *context)
{
    name_list list = {0};
    cohort_hdf5_begin();
    cohort_status status;
    COHORT_TRY_DONE(status, collect_names(&list, checkpoint));
    for (size_t i = 0; i < list.count; i++) {
        cohort_shape shape;
        hid_t set = open_tensor(&shape, checkpoint->file, list.names[i]);
        if (set < 0 && is_group(checkpoint->file, list.names[i]))
            continue;
        COHORT_REQUIRE_DONE(status, set >= 0, COHORT_DATA,
                            "%s: %s is damaged or no tensor; take another checkpoint",
                            checkpoint->path, list.names[i]);
        cohort_status acted = action(context, checkpoint, set, list.names[i], &shape);
        H5Dclose(set);
        COHORT_TRY_DONE(status, acted);
    }
done:
    cohort_hdf5_end();
    name_list_clear(&list);
    return status;
}

typedef struct visit_context {
    cohort_checkpoint_visitor *visit;
    void *context;
} visit_context;

static cohort_status visit_tensor(void *context, const cohort_checkpoint *checkpoint, hid_t set,
                                  const char *name, const cohort_shape *shape)
{
    visit_context *visit = context;
    (void)checkpoint;
    (void)set;
    visit->visit(visit->context, name, shape);
    return COHORT_OK;
}

cohort_status cohort_checkpoint_visit(const cohort_checkpoint *checkpoint,
                                      cohort_checkpoint_visitor *visit, void *context)
{
    visit_context both = {visit, context};
    return for_each_tensor(checkpoint, visit_tensor, &both);
}

static cohort_status verify_tensor(void *context, const cohort_checkpoint *checkpoint, hid_t set,
                                   const char *name, const cohort_shape *shape)
{
    size_t count = cohort_shape_count(shape);
    real *data;
    (void)context;
    COHORT_TRY(COHORT_ALLOCATE(&data, count));
    cohort_status status = read_tensor(data, checkpoint, set, name, count);
    cohort_free(data);
    return status;
}

cohort_status cohort_checkpoint_verify(const cohort_checkpoint *checkpoint)
{
    return for_each_tensor(checkpoint, verify_tensor, NULL);
}

/* ---- Loading what fits ---- */

typedef struct match_state {
    const cohort_checkpoint *checkpoint;
    cohort_snapshot *snapshot; /* without its optimizer */
    size_t taken, count;
    cohort_text rest; /* what was not taken, one a line */
} match_state;

static cohort_status take_tensor(match_state *matching, const cohort_section *section,
                                 const cohort_tensor *tensor, const char *path)
{
    hid_t set;
    cohort_shape theirs;
    char a[COHORT_SHAPE_TEXT], b[COHORT_SHAPE_TEXT];
    cohort_status status = COHORT_OK;
    matching->count++;
    switch (match_tensor(&set, &theirs, matching->checkpoint->file, path, tensor)) {
    case TENSOR_MISSING:
        cohort_text_append(&matching->rest, "  %s: not in the file\n", path);
        break;
    case TENSOR_DIFFERS:
        cohort_text_append(&matching->rest, "  %s: %s in the file, %s here\n", path,
                           cohort_shape_text(a, &theirs), cohort_shape_text(b, &tensor->shape));
        break;
    case TENSOR_FITS:
        status = read_tensor(section->data + tensor->offset, matching->checkpoint, set, path,
                             tensor->count);
        H5Dclose(set);
        matching->taken++;
    }
    return status;
}

static cohort_status take_tensors(match_state *matching)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < 2; i++) {
        cohort_section section = cohort_section_at(matching->snapshot, i);
        for (size_t j = 0; j < section.tensors->count; j++) {
            const cohort_tensor *tensor = &section.tensors->items[j];
            COHORT_TRY_DONE(status, cohort_section_path(&path, &section, tensor));
            COHORT_TRY_DONE(status, take_tensor(matching, &section, tensor, path.data));
        }
    }
done:
    cohort_text_clear(&path);
    return status;
}

static cohort_status note_unused(void *context, const cohort_checkpoint *checkpoint, hid_t set,
                                 const char *name, const cohort_shape *shape)
{
    match_state *matching = context;
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    bool used = strncmp(name, "params/", 7) != 0 && strncmp(name, "state/", 6) != 0;
    (void)checkpoint;
    (void)set;
    (void)shape;
    for (size_t i = 0; i < 2; i++) {
        cohort_section section = cohort_section_at(matching->snapshot, i);
        for (size_t j = 0; !used && j < section.tensors->count; j++) {
            COHORT_TRY_DONE(status,
                            cohort_section_path(&path, &section, &section.tensors->items[j]));
            used = strcmp(path.data, name) == 0;
        }
    }
    if (!used)
        cohort_text_append(&matching->rest, "  %s: only in the file\n", name);
done:
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_checkpoint_load_matching(const cohort_checkpoint *checkpoint,
                                              cohort_snapshot *snapshot, cohort_text *report)
{
    match_state matching = {.checkpoint = checkpoint, .snapshot = snapshot};
    cohort_hdf5_begin();
    cohort_status status;
    COHORT_TRY_DONE(status, take_tensors(&matching));
    COHORT_TRY_DONE(status, for_each_tensor(checkpoint, note_unused, &matching));
    COHORT_TRY_DONE(status, cohort_text_status(&matching.rest));
    cohort_text_append(report, "took %zu of %zu tensors from %s\n%s", matching.taken,
                       matching.count, checkpoint->path,
                       matching.rest.data ? matching.rest.data : "");
    COHORT_TRY_DONE(status, cohort_text_status(report));
done:
    cohort_hdf5_end();
    cohort_text_clear(&matching.rest);
    return status;
}
