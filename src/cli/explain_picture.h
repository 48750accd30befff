/* Pictures of attributions over images. */
#ifndef COHORT_CLI_EXPLAIN_PICTURE_H
#define COHORT_CLI_EXPLAIN_PICTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

/* A sample as it is to be drawn. */
typedef struct cohort_picture {
    size_t height, width;
    const unsigned char *pixels; /* [height][width][3] */
    const float *heat;           /* [height][width] */
} cohort_picture;

/* Writes PNG file PATH: the image, and beside it the heat over the grey image, orange where it is
 * positive and blue where negative, the stronger the larger; small images enlarged to about 280
 * pixels. COHORT_DATA, COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_picture_write(const char *path,
                                                    const cohort_picture *picture);

#endif
