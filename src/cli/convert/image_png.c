#include <png.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/convert/image.h"

/* What is compressed to a pixel's share of nothing is no picture, but would take its memory: the
 * format's compression reaches 1032 at most, of a bit a pixel at least. */
static bool is_possible(const png_image *png, const char *path)
{
    struct stat file;
    const uint64_t pixels = (uint64_t)png->width * png->height;
    return stat(path, &file) != 0 || pixels / 8 / 1032 <= (uint64_t)file.st_size;
}

cohort_status cohort_image_read_png(cohort_image *image, const char *path)
{
    png_image png = {.version = PNG_IMAGE_VERSION};
    const png_color white = {255, 255, 255};
    COHORT_REQUIRE(png_image_begin_read_from_file(&png, path), COHORT_DATA,
                   "%s: %s; the file is damaged", path, png.message);
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE_DONE(status, (uint64_t)png.width * png.height <= COHORT_IMAGE_PIXELS_MAX,
                        COHORT_DATA, "%s has %u x %u pixels, more than %d million", path,
                        (unsigned)png.width, (unsigned)png.height, COHORT_IMAGE_PIXELS_MAX >> 20);
    COHORT_REQUIRE_DONE(status, is_possible(&png, path), COHORT_DATA,
                        "%s is too short for its %u x %u pixels; the file is cut short or damaged",
                        path, (unsigned)png.width, (unsigned)png.height);
    png.flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* 16 bits are the same colours as 8, only finer */
    png.format = PNG_FORMAT_RGB;
    image->width = png.width;
    image->height = png.height;
    image->pixels = malloc(PNG_IMAGE_SIZE(png));
    COHORT_REQUIRE_DONE(status, image->pixels, COHORT_MEMORY, "out of memory for %s", path);
    /* A warning (bit 0 of warning_or_error) is given for what does no harm to the pixels. */
    if (!png_image_finish_read(&png, &white, image->pixels, 0, NULL))
        status =
            COHORT_FAIL(COHORT_DATA, "%s: %s; the file is cut short or damaged", path, png.message);
done:
    png_image_free(&png);
    return status;
}
