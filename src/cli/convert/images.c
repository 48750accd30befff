/* Pictures in a folder for each class. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "cli/convert/documents.h"
#include "cli/convert/image.h"
#include "cli/convert/split.h"

enum { SIDE_MAX = 4096 };

typedef struct picture_plan {
    size_t height, width, channels;
    bool crop, skip;
    size_t skipped;
    char first_skipped[512];
} picture_plan;

/* --size 32 or 32x48 (height first), else the size of the first picture. */
static cohort_status choose_size(picture_plan *plan, const cohort_options *options,
                                 const cohort_documents *documents)
{
    const char *text = cohort_options_get(options, "size");
    cohort_image image;
    if (text) {
        char rest = '\0';
        const int got = sscanf(text, "%zux%zu%c", &plan->height, &plan->width, &rest);
        if (got == 1)
            plan->width = plan->height;
        COHORT_REQUIRE((got == 2 || (got == 1 && strspn(text, "0123456789") == strlen(text))) &&
                           *text != '-' && plan->height >= 1 && plan->height <= SIDE_MAX &&
                           plan->width >= 1 && plan->width <= SIDE_MAX,
                       COHORT_USAGE,
                       "convert images: --size \"%s\" must be a number of pixels, or "
                       "HEIGHTxWIDTH, up to %d",
                       text, SIDE_MAX);
        return COHORT_OK;
    }
    cohort_status status = cohort_image_read(&image, documents->items[0].path);
    plan->height = image.height;
    plan->width = image.width;
    cohort_image_clear(&image);
    COHORT_TRY(status);
    COHORT_REQUIRE(plan->height <= SIDE_MAX && plan->width <= SIDE_MAX, COHORT_USAGE,
                   "convert images: %s has %zu x %zu pixels; give --size HEIGHTxWIDTH",
                   documents->items[0].path, plan->width, plan->height);
    return COHORT_OK;
}

/* Reads a picture into PIXELS; without --size all must be of one size. */
static cohort_status read_picture(unsigned char *pixels, const picture_plan *plan,
                                  const cohort_options *options, const char *path)
{
    cohort_image image;
    cohort_status status = cohort_image_read(&image, path);
    COHORT_TRY_DONE(status, status);
    COHORT_REQUIRE_DONE(status,
                        cohort_options_given(options, "size") ||
                            (image.height == plan->height && image.width == plan->width),
                        COHORT_DATA,
                        "%s has %zu x %zu pixels, the first picture %zu x %zu; give --size "
                        "HEIGHTxWIDTH to resize all",
                        path, image.width, image.height, plan->width, plan->height);
    status =
        cohort_image_resize(pixels, plan->height, plan->width, plan->channels, &image, plan->crop);
done:
    cohort_image_clear(&image);
    return status;
}

/* A file that cannot be read is left out with --skip-damaged; *taken tells. */
static cohort_status take_picture(bool *taken, unsigned char *pixels, picture_plan *plan,
                                  const cohort_options *options, const char *path)
{
    cohort_status status = read_picture(pixels, plan, options, path);
    *taken = status == COHORT_OK;
    if (status != COHORT_DATA || !plan->skip)
        return status;
    if (plan->skipped++ == 0)
        snprintf(plan->first_skipped, sizeof plan->first_skipped, "%s", cohort_error_message());
    cohort_error_clear();
    return COHORT_OK;
}

static cohort_status write_pictures(cohort_split *split, picture_plan *plan,
                                    const cohort_options *options,
                                    const cohort_documents *documents, unsigned char *pixels)
{
    cohort_progress progress = cohort_progress_begin("reading pictures", documents->count);
    cohort_status status = COHORT_OK;
    size_t written = 0;
    for (size_t i = 0; i < documents->count && status == COHORT_OK; i++) {
        const cohort_document *document = &documents->items[i];
        bool taken = false;
        status = take_picture(&taken, pixels, plan, options, document->path);
        if (taken) {
            const bool test = documents->has_test ? document->test : cohort_split_is_test(split, i);
            status = cohort_split_append(split, test, pixels, &document->label, 1);
            written += !test;
        }
        cohort_progress_at(&progress, i + 1);
    }
    cohort_progress_end(&progress);
    COHORT_TRY(status);
    COHORT_REQUIRE(written > 0, COHORT_DATA, "no picture to train on could be read; the first: %s",
                   plan->first_skipped);
    return COHORT_OK;
}

/* The names of the classes, in their order. */
static cohort_status name_classes(cohort_writer *writer, const cohort_documents *documents)
{
    const uint32_t count = cohort_dictionary_count(documents->classes);
    const char **names = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&names, count));
    for (uint32_t i = 0; i < count; i++)
        names[i] = cohort_dictionary_text(documents->classes, i);
    cohort_status status = cohort_writer_attribute_list(writer, "classes", names, count);
    cohort_free(names);
    return status;
}

static cohort_status convert(cohort_writer *writer, picture_plan *plan,
                             const cohort_options *options, const cohort_documents *documents)
{
    cohort_split split = {0};
    unsigned char *pixels = NULL;
    COHORT_TRY(choose_size(plan, options, documents));
    COHORT_TRY(cohort_split_draw(&split, options, documents->count, 0.2, documents->has_test));
    const cohort_split_shape shape = {
        .x = COHORT_U8,
        .y = COHORT_I32,
        .x_shape = cohort_shape_of(plan->height, plan->width, plan->channels)};
    COHORT_TRY(cohort_split_open(&split, writer, options, &shape, documents->has_test));
    COHORT_TRY(name_classes(writer, documents));
    COHORT_TRY(COHORT_ALLOCATE(&pixels, cohort_shape_count(&shape.x_shape)));
    cohort_status status = write_pictures(&split, plan, options, documents, pixels);
    cohort_free(pixels);
    if (status == COHORT_OK && plan->skipped)
        printf("left out %zu files that could not be read, the first: %s\n", plan->skipped,
               plan->first_skipped);
    return status;
}

static cohort_status run(cohort_writer *writer, const cohort_options *options)
{
    static const char *const fits[] = {"stretch", "crop"};
    picture_plan plan = {.channels = cohort_options_given(options, "grey") ? 1 : 3,
                         .skip = cohort_options_given(options, "skip-damaged")};
    cohort_documents documents = {0};
    size_t fit = 0;
    COHORT_TRY(cohort_options_choice(&fit, options, "fit", 0, fits, 2));
    plan.crop = fit == 1;
    cohort_status status = cohort_documents_list(&documents, options->positional[0]);
    if (status == COHORT_OK)
        status = convert(writer, &plan, options, &documents);
    cohort_documents_clear(&documents);
    return status;
}

static const cohort_option options[] = {
    {"size", "PIXELS", "resize to PIXELS x PIXELS, or HEIGHTxWIDTH (default: all are of one size)",
     false},
    {"fit", "stretch|crop", "stretch (default), or crop: keep proportions and take the middle",
     false},
    {"grey", NULL, "one channel, the luminance (default: red, green, blue)", false},
    {"skip-damaged", NULL, "leave out files that cannot be read and say how many", false},
    COHORT_SPLIT_OPTIONS,
};

const cohort_format cohort_format_images = {
    .name = "images",
    .usage = "FOLDER",
    .summary = "pictures (PNG, JPEG) in a folder for each class",
    .help =
        "Reads FOLDER/CLASS/FILE, or FOLDER/train/CLASS/FILE and FOLDER/test/CLASS/FILE; the\n"
        "test rows are then those, else drawn by seed. Hidden files are passed over. Palettes,\n"
        "grey, 16 bits and CMYK become RGB of 8 bits, what is transparent becomes white; the\n"
        "orientation that cameras note beside the picture is not applied. Resized by Lanczos's\n"
        "filter. Writes x uint8 [n][height][width][channels], y class numbers [n] in the\n"
        "order of the folders' names with the attribute `classes`. In the recipe, give `data`\n"
        "scale: 0.00392156862745 (1/255).",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .run = run,
};
