#include "cli/explain_picture.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"

enum { SIDE = 280, GAP = 12, SIDE_MAX = 4096 };

static int compare(const void *a, const void *b)
{
    const float left = *(const float *)a, right = *(const float *)b;
    return left < right ? -1 : left > right;
}

/* The heat that gets the full colour: the 99th percentile, so that one pixel does not make all
 * others pale; the largest where most are zero. */
static cohort_status full_heat(float *full, const cohort_picture *picture)
{
    const size_t count = picture->height * picture->width;
    float *sizes = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&sizes, count));
    for (size_t i = 0; i < count; i++)
        sizes[i] = fabsf(picture->heat[i]);
    qsort(sizes, count, sizeof *sizes, compare);
    *full = sizes[(count - 1) * 99 / 100];
    if (!(*full > 0))
        *full = sizes[count - 1];
    cohort_free(sizes);
    return COHORT_OK;
}

/* The colour of HEAT (as a share of the full one, -1 to 1) over a pixel: grey, in the middle of
 * the scale so that both colours stand out of it. */
static void paint(unsigned char *out, const unsigned char *pixel, double heat)
{
    static const double warm[3] = {230, 85, 0}, cold[3] = {0, 105, 200};
    const double luminance = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
    const double grey = 60 + luminance * 165 / 255;
    const double *colour = heat < 0 ? cold : warm;
    double share = fabs(heat);
    share = 0.9 * (share < 1 ? share : 1);
    for (int i = 0; i < 3; i++)
        out[i] = (unsigned char)(grey + share * (colour[i] - grey) + 0.5);
}

/* Draws both halves, each pixel FACTOR times FACTOR. OUT is white. */
static void draw(unsigned char *out, size_t row_width, const cohort_picture *picture, size_t factor,
                 float full)
{
    const size_t width = picture->width, beside = width * factor + GAP;
    unsigned char painted[3];
    for (size_t y = 0; y < picture->height * factor; y++)
        for (size_t x = 0; x < width * factor; x++) {
            const size_t at = y / factor * width + x / factor;
            const unsigned char *pixel = picture->pixels + 3 * at;
            paint(painted, pixel, full > 0 ? (double)(picture->heat[at] / full) : 0);
            memcpy(out + 3 * (y * row_width + x), pixel, 3);
            memcpy(out + 3 * (y * row_width + beside + x), painted, 3);
        }
}

/* Through memory, so that PATH is whole at any moment. */
static cohort_status write_png(const char *path, const unsigned char *pixels, size_t height,
                               size_t width)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(png);
    unsigned char *file = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(cohort_allocate((void **)&file, bytes, 1));
    if (!png_image_write_to_memory(&png, file, &bytes, 0, pixels, 0, NULL))
        status = COHORT_FAIL(COHORT_DATA, "cannot write %s: %s", path, png.message);
    if (status == COHORT_OK)
        status = cohort_file_write(path, file, bytes);
    png_image_free(&png);
    cohort_free(file);
    return status;
}

cohort_status cohort_picture_write(const char *path, const cohort_picture *picture)
{
    const size_t longer = picture->height > picture->width ? picture->height : picture->width;
    const size_t factor = longer < SIDE ? SIDE / longer : 1;
    const size_t height = picture->height * factor, width = 2 * picture->width * factor + GAP;
    unsigned char *pixels = NULL;
    float full = 0;
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE(longer <= SIDE_MAX, COHORT_DATA, "images of more than %d pixels are not drawn",
                   SIDE_MAX);
    COHORT_TRY_DONE(status, full_heat(&full, picture));
    COHORT_TRY_DONE(status, cohort_allocate((void **)&pixels, height * width, 3));
    memset(pixels, 255, height * width * 3);
    draw(pixels, width, picture, factor, full);
    status = write_png(path, pixels, height, width);
done:
    cohort_free(pixels);
    return status;
}
