/* Any bytes as an HDF5 data set, held in memory or streamed by the first byte: it is refused, or
 * its rows can be read and its labels are what it says. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#include "data/dataset.h"
#include "data/listing.h"
#include "data/survey.h"

enum { BYTES_MOST = 1 << 22 };

static void read_rows(cohort_dataset *dataset)
{
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const size_t x = cohort_shape_count(&info->x_shape), y = cohort_shape_count(&info->y_shape);
    const uint64_t rows[3] = {info->count - 1, info->count / 2, 0};
    if (x > BYTES_MOST || y > BYTES_MOST)
        return;
    float *inputs = malloc(3 * x * sizeof *inputs);
    int32_t *targets = malloc(3 * (y + 1) * sizeof *targets);
    fuzz_require(inputs && targets, "memory");
    const cohort_status status = cohort_dataset_gather(inputs, targets, dataset, rows, 3);
    fuzz_require_refusal(status);
    for (size_t i = 0; status == COHORT_OK && info->labels && i < 3 * y; i++)
        fuzz_require(targets[i] >= info->label_min && targets[i] <= info->label_max,
                     "a label out of the range told");
    free(inputs);
    free(targets);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static cohort_comm *comm;
    fuzz_part rest = {bytes, count};
    const unsigned choice = fuzz_take_byte(&rest);
    cohort_dataset *dataset = NULL;
    cohort_survey survey;
    cohort_text list = {0};
    if (!comm)
        fuzz_require(cohort_comm_open(&comm, NULL) == COHORT_OK, "start");
    const cohort_dataset_spec spec = {.path = fuzz_put("data.h5", rest.bytes, rest.count),
                                      .group = "train",
                                      .x = "x",
                                      .y = choice & 1 ? NULL : "y",
                                      .memory_limit = choice & 2 ? 4096 : (uint64_t)64 << 20};
    const cohort_status status = cohort_dataset_open(&dataset, comm, &spec);
    fuzz_require_refusal(status);
    if (status == COHORT_OK)
        read_rows(dataset);
    cohort_dataset_close(dataset);
    fuzz_require_refusal(cohort_data_survey(&survey, &spec, 0.001));
    fuzz_require_refusal(cohort_data_list(&list, spec.path));
    cohort_text_clear(&list);
    return 0;
}
