#include "cli/convert/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cohort_image_clear(cohort_image *image)
{
    free(image->pixels);
    *image = (cohort_image){0};
}

cohort_status cohort_image_read(cohort_image *image, const char *path)
{
    unsigned char head[8] = {0};
    FILE *file = fopen(path, "rb");
    *image = (cohort_image){0};
    COHORT_REQUIRE(file, COHORT_DATA, "cannot read %s: %s", path, strerror(errno));
    const size_t got = fread(head, 1, sizeof head, file);
    fclose(file);
    if (got == sizeof head && memcmp(head, "\x89PNG\r\n\x1a\n", sizeof head) == 0)
        return cohort_image_read_png(image, path);
    if (got >= 3 && memcmp(head, "\xff\xd8\xff", 3) == 0)
        return cohort_image_read_jpeg(image, path);
    return COHORT_FAIL(COHORT_DATA,
                       "%s is neither a PNG nor a JPEG file, whatever its name; convert or remove "
                       "it",
                       path);
}
