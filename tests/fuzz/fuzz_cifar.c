/* Any bytes as the class names (up to a zero) and one batch of CIFAR-10; the other batches
 * have no record too many. */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

enum { RECORD = 3073 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static const unsigned char record[RECORD];
    fuzz_part rest = {bytes, count};
    const fuzz_part names = fuzz_take_part(&rest);
    fuzz_put("batches.meta.txt", names.bytes, names.count);
    for (int i = 1; i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        fuzz_put(name, record, sizeof record);
    }
    fuzz_put("data_batch_2.bin", rest.bytes, rest.count);
    fuzz_put("test_batch.bin", record, sizeof record);
    fuzz_require_refusal(fuzz_convert((const char *[]){"cifar10", fuzz_path(""), NULL}));
    return 0;
}
