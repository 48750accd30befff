/* The binary release of CIFAR-10 (Krizhevsky 2009): records of one label byte and the red,
 * green and blue planes of 32 x 32 pixels. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/convert/format.h"

enum {
    SIDE = 32,
    CHANNELS = 3,
    PIXELS = SIDE * SIDE,
    RECORD = 1 + PIXELS * CHANNELS,
    CLASSES = 10
};

/* Where the rows go. */
typedef struct split {
    cohort_writer *writer;
    size_t x, y;
} split;

static cohort_status add_split(split *out, cohort_writer *writer, const char *group, int deflate)
{
    out->writer = writer;
    COHORT_TRY(cohort_writer_add(&out->x, writer, group, "x", COHORT_U8,
                                 &cohort_shape_of(SIDE, SIDE, CHANNELS), deflate));
    return cohort_writer_add(&out->y, writer, group, "y", COHORT_I32,
                             &(cohort_shape){.dim_count = 0}, 0);
}

static cohort_status copy_record(const split *to, const unsigned char record[RECORD],
                                 const char *path, size_t index)
{
    unsigned char image[PIXELS * CHANNELS];
    int32_t label = record[0];
    COHORT_REQUIRE(label < CLASSES, COHORT_DATA,
                   "%s: label %d of record %zu (offset %zu) is out of range: there are %d classes",
                   path, label, index, index * RECORD, CLASSES);
    for (size_t pixel = 0; pixel < PIXELS; pixel++)
        for (size_t channel = 0; channel < CHANNELS; channel++)
            image[pixel * CHANNELS + channel] = record[1 + channel * PIXELS + pixel];
    COHORT_TRY(cohort_writer_append(to->writer, to->x, image, 1));
    return cohort_writer_append(to->writer, to->y, &label, 1);
}

static cohort_status copy_records(const split *to, FILE *file, const char *path)
{
    struct stat info;
    COHORT_REQUIRE(fstat(fileno(file), &info) == 0 && info.st_size > 0 &&
                       info.st_size % RECORD == 0,
                   COHORT_DATA, "%s is cut short: its size is not a multiple of the record's %d",
                   path, RECORD);
    const size_t count = (size_t)info.st_size / RECORD;
    unsigned char record[RECORD];
    for (size_t i = 0; i < count; i++) {
        COHORT_REQUIRE(fread(record, RECORD, 1, file) == 1, COHORT_DATA,
                       "cannot read %s at offset %zu: %s", path, i * RECORD, strerror(errno));
        COHORT_TRY(copy_record(to, record, path, i));
    }
    return COHORT_OK;
}

static cohort_status copy_batch(const split *to, const char *folder, const char *name)
{
    cohort_text path = {0};
    FILE *file = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_path_join(&path, folder, name));
    file = fopen(path.data, "rb");
    COHORT_REQUIRE_DONE(status, file, COHORT_DATA, "cannot read %s: %s", path.data,
                        strerror(errno));
    COHORT_TRY_DONE(status, copy_records(to, file, path.data));
done:
    if (file)
        fclose(file);
    cohort_text_clear(&path);
    return status;
}

static cohort_status name_classes(cohort_writer *writer, const char *folder)
{
    cohort_text path = {0}, text = {0};
    const char *names[CLASSES];
    size_t count = 0;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_path_join(&path, folder, "batches.meta.txt"));
    COHORT_TRY_DONE(status, cohort_file_read(&text, path.data, 4096));
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\r\n"));) {
        if (!*line)
            continue;
        if (count < CLASSES)
            names[count] = line;
        count++;
    }
    COHORT_REQUIRE_DONE(status, count == CLASSES, COHORT_DATA,
                        "%s names %zu classes, CIFAR-10 has %d", path.data, count, CLASSES);
    COHORT_TRY_DONE(status, cohort_writer_attribute_list(writer, "classes", names, CLASSES));
done:
    cohort_text_clear(&path);
    cohort_text_clear(&text);
    return status;
}

static cohort_status convert_folder(cohort_writer *writer, const char *folder, int deflate)
{
    split train, test;
    COHORT_TRY(name_classes(writer, folder));
    COHORT_TRY(add_split(&train, writer, "train", deflate));
    COHORT_TRY(add_split(&test, writer, "test", deflate));
    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        COHORT_TRY(copy_batch(&train, folder, name));
    }
    return copy_batch(&test, folder, "test_batch.bin");
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    int deflate = 0;
    cohort_text folder = {0};
    COHORT_TRY(cohort_format_compression(&deflate, options));
    /* The folder itself, or the one the archive was unpacked in. */
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status,
                    cohort_path_join(&folder, options->positional[0], "cifar-10-batches-bin"));
    COHORT_TRY_DONE(status, convert_folder(writer,
                                           cohort_file_exists(folder.data) ? folder.data
                                                                           : options->positional[0],
                                           deflate));
done:
    cohort_text_clear(&folder);
    return status;
}

const cohort_format cohort_format_cifar10 = {
    .name = "cifar10",
    .usage = "FOLDER",
    .summary = "the binary release of CIFAR-10 (cifar-10-batches-bin)",
    .help = "Reads data_batch_1.bin … data_batch_5.bin, test_batch.bin and batches.meta.txt in\n"
            "FOLDER (or in cifar-10-batches-bin in it). Writes /train and /test: x uint8\n"
            "[n][32][32][3], y class numbers [n].",
    .least = 1,
    .most = 1,
    .run = run,
};
