/* Any bytes as a PNG or JPEG file: it is refused in one line, or has pixels, which can be resized.
 */
#include "tests/fuzz/fuzz.h"

#include "cli/convert/image.h"

enum { SIDE = 5, PIXELS_MOST = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    cohort_image image = {0};
    unsigned char small[SIDE * SIDE * 3];
    const cohort_status status = cohort_image_read(&image, fuzz_put("picture", bytes, count));
    fuzz_require_refusal(status);
    if (status == COHORT_OK) {
        size_t sum = 0;
        fuzz_require(image.width > 0 && image.height > 0, "a picture without pixels");
        for (size_t i = 0; i < 3 * image.width * image.height; i++)
            sum += image.pixels[i];
        fuzz_require(sum <= 255 * 3 * image.width * image.height, "pixels");
        if (image.width * image.height <= PIXELS_MOST)
            fuzz_require(cohort_image_resize(small, SIDE, SIDE, 1 + 2 * (count & 1), &image,
                                             (count & 2) != 0) == COHORT_OK,
                         "it cannot be resized");
    }
    cohort_image_clear(&image);
    return 0;
}
