/* The IDX files of MNIST, Fashion-MNIST, EMNIST: a magic number 0x000008DD (unsigned bytes in
 * DD dimensions), the extents as 32-bit big-endian numbers, the bytes; plain or gzipped. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/convert/format.h"

/* DEFLATE cannot shrink by more (a 258-byte match in 2 bits); a header that promises more data
 * than the file can hold is wrong, and is refused before memory is set aside for it. */
enum { DEFLATE_MOST = 1032, IDX_DIMS = 4 };

typedef struct idx_file {
    const char *path;
    gzFile stream;
    size_t dim_count, dims[IDX_DIMS];
    size_t row_bytes;
} idx_file;

static cohort_status read_exactly(void *bytes, idx_file *file, size_t count)
{
    int got = gzread(file->stream, bytes, (unsigned)count);
    if (got >= 0 && (size_t)got == count)
        return COHORT_OK;
    int code = Z_OK;
    const char *reason = gzerror(file->stream, &code);
    if (got < 0 && code == Z_DATA_ERROR)
        return COHORT_FAIL(COHORT_DATA, "%s is damaged: %s", file->path, reason);
    return COHORT_FAIL(COHORT_DATA, "%s ends too early; fetch it again", file->path);
}

static cohort_status check_size(const idx_file *file)
{
    struct stat info;
    COHORT_REQUIRE(stat(file->path, &info) == 0, COHORT_DATA, "cannot read %s: %s", file->path,
                   strerror(errno));
    const size_t header = 4 + 4 * file->dim_count, have = (size_t)info.st_size;
    size_t need = 0;
    COHORT_REQUIRE(
        cohort_size_multiply(&need, file->dims[0], file->row_bytes) && need < SIZE_MAX - header &&
            (gzdirect(file->stream) ? need + header <= have : need / DEFLATE_MOST <= have),
        COHORT_DATA,
        "%s is too short: %zu bytes cannot hold the %zu x %zu bytes its header promises",
        file->path, have, file->dims[0], file->row_bytes);
    COHORT_REQUIRE(!gzdirect(file->stream) || need + header == have, COHORT_DATA,
                   "%s has %zu bytes behind the %zu its header promises", file->path,
                   have - need - header, need + header);
    return COHORT_OK;
}

/* Opens PATH and reads the header; LEAST to MOST dimensions are accepted. */
static cohort_status open_idx(idx_file *file, const char *path, size_t least, size_t most)
{
    *file = (idx_file){.path = path, .stream = gzopen(path, "rb"), .row_bytes = 1};
    COHORT_REQUIRE(file->stream, COHORT_DATA, "cannot read %s: %s", path, strerror(errno));
    gzbuffer(file->stream, 256 << 10);
    unsigned char magic[4], extent[4];
    COHORT_TRY(read_exactly(magic, file, 4));
    COHORT_REQUIRE(magic[0] == 0 && magic[1] == 0, COHORT_DATA,
                   "%s is not an IDX file: it starts with %02x %02x %02x %02x", path, magic[0],
                   magic[1], magic[2], magic[3]);
    COHORT_REQUIRE(magic[2] == 8, COHORT_DATA,
                   "%s holds values of IDX type 0x%02x; only unsigned bytes (0x08) are understood",
                   path, magic[2]);
    file->dim_count = magic[3];
    COHORT_REQUIRE(file->dim_count >= least && file->dim_count <= most, COHORT_DATA,
                   "%s has %zu dimensions, %s have %zu", path, file->dim_count,
                   most == 1 ? "labels" : "images", least);
    for (size_t i = 0; i < file->dim_count; i++) {
        COHORT_TRY(read_exactly(extent, file, 4));
        file->dims[i] =
            (size_t)extent[0] << 24 | (size_t)extent[1] << 16 | (size_t)extent[2] << 8 | extent[3];
        COHORT_REQUIRE(file->dims[i] > 0, COHORT_DATA, "%s is empty: extent %zu is 0", path, i + 1);
        if (i > 0 && !cohort_size_multiply(&file->row_bytes, file->row_bytes, file->dims[i]))
            return COHORT_FAIL(COHORT_DATA, "%s promises more than can be addressed", path);
    }
    return check_size(file);
}

/* Reads to the end, so that zlib compares the checksum too. */
static cohort_status expect_end(idx_file *file)
{
    unsigned char byte;
    int got = gzread(file->stream, &byte, 1), code = Z_OK;
    gzerror(file->stream, &code);
    COHORT_REQUIRE(got <= 0, COHORT_DATA, "%s has bytes behind those its header promises",
                   file->path);
    COHORT_REQUIRE(got == 0 && code != Z_DATA_ERROR && code != Z_BUF_ERROR, COHORT_DATA,
                   "%s is damaged or cut short; fetch it again", file->path);
    return COHORT_OK;
}

static cohort_status copy_images(cohort_writer *writer, const char *group, idx_file *images,
                                 int deflate)
{
    cohort_shape shape = {.dim_count = 3, .dims = {images->dims[1], images->dims[2], 1}};
    if (images->dim_count == 4)
        shape.dims[2] = images->dims[3];
    size_t id = 0, row_bytes = images->row_bytes;
    unsigned char *row = NULL;
    COHORT_TRY(cohort_writer_add(&id, writer, group, "x", COHORT_U8, &shape, deflate));
    COHORT_REQUIRE(row_bytes <= INT32_MAX, COHORT_DATA, "%s: images of %zu bytes are too large",
                   images->path, row_bytes);
    cohort_progress progress = cohort_progress_begin("converting images", images->dims[0]);
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&row, row_bytes));
    for (size_t i = 0; i < images->dims[0]; i++) {
        COHORT_TRY_DONE(status, read_exactly(row, images, row_bytes));
        COHORT_TRY_DONE(status, cohort_writer_append(writer, id, row, 1));
        cohort_progress_at(&progress, i);
    }
    COHORT_TRY_DONE(status, expect_end(images));
done:
    cohort_progress_end(&progress);
    cohort_free(row);
    return status;
}

/* *class_count is 0 while unknown: the first split then sets it. */
static cohort_status copy_labels(cohort_writer *writer, const char *group, idx_file *labels,
                                 int32_t *class_count)
{
    size_t id = 0;
    int32_t largest = 0;
    COHORT_TRY(
        cohort_writer_add(&id, writer, group, "y", COHORT_I32, &(cohort_shape){.dim_count = 0}, 0));
    for (size_t i = 0; i < labels->dims[0]; i++) {
        unsigned char byte = 0;
        COHORT_TRY(read_exactly(&byte, labels, 1));
        int32_t label = byte;
        COHORT_REQUIRE(*class_count == 0 || label < *class_count, COHORT_DATA,
                       "%s: label %d of sample %zu is out of range: there are %d classes",
                       labels->path, label, i, *class_count);
        largest = label > largest ? label : largest;
        COHORT_TRY(cohort_writer_append(writer, id, &label, 1));
    }
    if (*class_count == 0)
        *class_count = largest + 1;
    return expect_end(labels);
}

static cohort_status convert_split(cohort_writer *writer, const char *group, const char *image_path,
                                   const char *label_path, int32_t *class_count, int deflate)
{
    idx_file images = {0}, labels = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, open_idx(&images, image_path, 3, 4));
    COHORT_TRY_DONE(status, open_idx(&labels, label_path, 1, 1));
    COHORT_REQUIRE_DONE(status, images.dims[0] == labels.dims[0], COHORT_DATA,
                        "%s has %zu images but %s has %zu labels", image_path, images.dims[0],
                        label_path, labels.dims[0]);
    COHORT_TRY_DONE(status, copy_images(writer, group, &images, deflate));
    COHORT_TRY_DONE(status, copy_labels(writer, group, &labels, class_count));
done:
    if (images.stream)
        gzclose(images.stream);
    if (labels.stream)
        gzclose(labels.stream);
    return status;
}

/* Finds "train-images-idx3-ubyte", ".idx3-ubyte", each with or without ".gz". */
static cohort_status find_in_folder(cohort_text *path, const char *folder, const char *stem,
                                    int dim_count)
{
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%cidx%d-ubyte%s", stem, i & 1 ? '.' : '-', dim_count,
                 i & 2 ? ".gz" : "");
        COHORT_TRY(cohort_path_join(path, folder, name));
        if (cohort_file_exists(path->data))
            return COHORT_OK;
    }
    return COHORT_FAIL(COHORT_DATA, "%s has no %s-idx%d-ubyte or %s-idx%d-ubyte.gz", folder, stem,
                       dim_count, stem, dim_count);
}

/* Names the classes by --classes, or by their numbers. */
static cohort_status name_classes(cohort_writer *writer, const char *list, int32_t count)
{
    char names[256][64];
    const char *pointers[256];
    for (int32_t i = 0; i < count; i++) {
        size_t length = list ? strcspn(list, ",") : 0;
        if (list)
            snprintf(names[i], sizeof names[i], "%.*s", (int)length, list);
        else
            snprintf(names[i], sizeof names[i], "%d", i);
        if (list)
            list += length + (list[length] == ',');
        pointers[i] = names[i];
    }
    return cohort_writer_attribute_list(writer, "classes", pointers, (size_t)count);
}

static int32_t count_names(const char *list)
{
    int32_t count = list && *list ? 1 : 0;
    for (; list && *list; list++)
        count += *list == ',';
    return count;
}

static cohort_status convert_folder(cohort_writer *writer, const char *folder, int32_t *class_count,
                                    int deflate)
{
    static const char *const prefixes[2] = {"train", "t10k"}, *const groups[2] = {"train", "test"};
    cohort_text images = {0}, labels = {0};
    cohort_status status = COHORT_OK;
    for (int split = 0; split < 2; split++) {
        char stem[32];
        snprintf(stem, sizeof stem, "%s-images", prefixes[split]);
        COHORT_TRY_DONE(status, find_in_folder(&images, folder, stem, 3));
        snprintf(stem, sizeof stem, "%s-labels", prefixes[split]);
        COHORT_TRY_DONE(status, find_in_folder(&labels, folder, stem, 1));
        COHORT_TRY_DONE(status, convert_split(writer, groups[split], images.data, labels.data,
                                              class_count, deflate));
    }
done:
    cohort_text_clear(&images);
    cohort_text_clear(&labels);
    return status;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    const char *const *paths = options->positional, *names = cohort_options_get(options, "classes");
    const size_t count = options->positional_count;
    int32_t class_count = count_names(names);
    int deflate = 0;
    COHORT_TRY(cohort_format_compression(&deflate, options));
    COHORT_REQUIRE(count != 3 && class_count <= 256, COHORT_USAGE,
                   "convert idx: give a folder, IMAGES LABELS, or four files; at most 256 classes");
    if (count == 1) {
        COHORT_TRY(convert_folder(writer, paths[0], &class_count, deflate));
    } else {
        for (size_t i = 0; i + 1 < count; i += 2)
            COHORT_TRY(convert_split(writer, i ? "test" : "train", paths[i], paths[i + 1],
                                     &class_count, deflate));
    }
    return name_classes(writer, names, class_count);
}

static const cohort_option options[] = {
    {"classes", "A,B,…", "names of the classes in order (default: their numbers)", false},
};

const cohort_format cohort_format_idx = {
    .name = "idx",
    .usage = "FOLDER | IMAGES LABELS [TEST-IMAGES TEST-LABELS]",
    .summary = "the four files of MNIST, Fashion-MNIST and their like",
    .help = "Reads IDX files, plain or gzipped. A FOLDER holds train-images-idx3-ubyte,\n"
            "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte\n"
            "(or with .idx, or .gz). Writes /train and /test: x uint8 [n][height][width][1],\n"
            "y class numbers [n].",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 4,
    .run = run,
};
