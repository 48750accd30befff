/* Any two files as images and labels: [length of the first, 2 bytes][first][second]. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    if (count < 2)
        return 0;
    size_t first = (size_t)bytes[0] << 8 | bytes[1];
    first = first < count - 2 ? first : count - 2;
    const char *images = fuzz_put("images", bytes + 2, first),
               *labels = fuzz_put("labels", bytes + 2 + first, count - 2 - first);
    fuzz_require_refusal(fuzz_convert((const char *[]){"idx", images, labels, NULL}));
    return 0;
}
