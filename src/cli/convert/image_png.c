#include <png.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/convert/image.h"

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
