/* Pictures from files. */
#ifndef COHORT_CLI_CONVERT_IMAGE_H
#define COHORT_CLI_CONVERT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

typedef struct cohort_image {
    size_t width, height;
    unsigned char *pixels; /* [height][width][3] red, green, blue; free with cohort_image_clear */
} cohort_image;

/* Reads the PNG or JPEG file PATH, whatever its name: palettes, grey, 16 bits and CMYK become
 * RGB of 8 bits, what is transparent becomes white. COHORT_DATA: neither of the two, cut short,
 * damaged, or more than COHORT_IMAGE_PIXELS_MAX pixels. Clear in any case. */
COHORT_NODISCARD cohort_status cohort_image_read(cohort_image *image, const char *path);
void cohort_image_clear(cohort_image *image);
enum { COHORT_IMAGE_PIXELS_MAX = 1 << 28 };

/* One format each, for cohort_image_read. */
COHORT_NODISCARD cohort_status cohort_image_read_png(cohort_image *image, const char *path);
COHORT_NODISCARD cohort_status cohort_image_read_jpeg(cohort_image *image, const char *path);

/* OUT [height][width][channels] = the part of IMAGE of WHOLE's proportions: all of it, or with
 * CROP the largest part in the middle that has those of OUT. CHANNELS 3, or 1: its luminance
 * (ITU-R BT.601). Filtered by Lanczos's window of 3 lobes, wide enough when shrinking that every
 * pixel counts. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_image_resize(unsigned char *out, size_t height, size_t width,
                                                   size_t channels, const cohort_image *image,
                                                   bool crop);

#endif
