/* Any bytes as a safetensors, npz or npy file: refused with one line, or every array that it lists
 * can be read. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "state/foreign/source.h"

enum { INFLATED_MAX = 1 << 20 };

static void read_all(const cohort_source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        const cohort_source_array *array = &source->items[i];
        const size_t values = cohort_shape_count(&array->shape);
        float *floats = NULL;
        fuzz_require(cohort_source_find(source, array->name) == array, "an array is not found");
        fuzz_require(COHORT_ALLOCATE(&floats, values) == COHORT_OK, "memory");
        cohort_source_read_floats(floats, array);
        for (size_t k = 0; k < values; k++) {
            double value = 0;
            cohort_source_read(&value, array, k, 1);
            fuzz_require((float)value == floats[k] || value != value, "two ways of reading differ");
        }
        cohort_free(floats);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    /* A copy of its own, so that reading behind it is seen. */
    uint8_t *copy = malloc(count ? count : 1);
    fuzz_require(copy != NULL, "memory");
    if (count)
        memcpy(copy, bytes, count);
    cohort_source source = {.path = "fuzz"};
    const char first = count ? (char)copy[0] : '\0';
    cohort_status status = first == 'P'      ? cohort_source_npz(&source, copy, count, INFLATED_MAX)
                           : first == '\x93' ? cohort_source_npy(&source, "array", copy, count)
                                             : cohort_source_safetensors(&source, copy, count);
    if (status == COHORT_OK)
        read_all(&source);
    else
        fuzz_require_refusal(status);
    cohort_source_clear(&source);
    free(copy);
    return 0;
}
