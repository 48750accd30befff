#include "cli/text_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"

cohort_status cohort_text_tokenizer(cohort_tokenizer **out, const cohort_inference *inference,
                                    const char *model)
{
    const cohort_snapshot *about = inference->about;
    cohort_tokenizer_spec spec;
    *out = NULL;
    COHORT_REQUIRE(about->input_tokens && about->vocabulary_count > 0 && about->tokenizer &&
                       about->input_shape.dim_count == 1,
                   COHORT_USAGE,
                   "%s cannot read text: it has no vocabulary or tokenizer; train it on data from "
                   "`cohort convert text` or `chars`",
                   model);
    COHORT_TRY(cohort_tokenizer_parse(&spec, about->tokenizer));
    spec.length = about->input_shape.dims[0];
    return cohort_tokenizer_create(out, &spec, about->vocabulary, about->vocabulary_count);
}

/* HDF5 files begin with their signature, or have it behind a user block of 512 2^k bytes. */
static bool is_hdf5(const char *path)
{
    static const char signature[8] = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
    FILE *file = fopen(path, "rb");
    bool found = false;
    for (long at = 0; file && !found && at < 1 << 20; at = at ? 2 * at : 512) {
        char bytes[sizeof signature];
        if (fseek(file, at, SEEK_SET) != 0 || fread(bytes, 1, sizeof bytes, file) != sizeof bytes)
            break;
        found = memcmp(bytes, signature, sizeof bytes) == 0;
    }
    if (file)
        fclose(file);
    return found;
}

static bool is_named_hdf5(const char *path)
{
    const char *end = strrchr(path, '.');
    return end && (strcmp(end, ".h5") == 0 || strcmp(end, ".hdf5") == 0);
}

cohort_status cohort_text_input_is(bool *is, cohort_comm *comm, const char *path)
{
    struct stat info;
    *is = false;
    if (cohort_comm_rank(comm) == 0)
        *is = stat(path, &info) == 0 && !S_ISDIR(info.st_mode) && !is_named_hdf5(path) &&
              !(S_ISREG(info.st_mode) && is_hdf5(path));
    return cohort_comm_broadcast(comm, is, sizeof *is, 0);
}

static cohort_status find_lines(cohort_text_input *input)
{
    const char *text = input->text.data;
    for (size_t at = 0; at < input->text.length;) {
        COHORT_TRY(cohort_grow((void **)&input->starts, &input->capacity, input->count + 2,
                               sizeof *input->starts));
        input->starts[input->count++] = at;
        const char *end = memchr(text + at, '\n', input->text.length - at);
        at = end ? (size_t)(end - text) + 1 : input->text.length;
        input->starts[input->count] = at;
    }
    COHORT_REQUIRE(input->count > 0, COHORT_DATA, "%s is empty; give one document a line",
                   input->path);
    return COHORT_OK;
}

static cohort_status prepare(cohort_text_input *input, const cohort_inference *inference,
                             const char *model)
{
    COHORT_TRY(find_lines(input));
    COHORT_TRY(cohort_text_tokenizer(&input->tokenizer, inference, model));
    input->time = cohort_tokenizer_spec_of(input->tokenizer)->length;
    COHORT_TRY(COHORT_ALLOCATE(&input->rows, input->batch * input->time));
    return COHORT_ALLOCATE(&input->numbers, input->batch);
}

cohort_status cohort_text_input_open(cohort_text_input *input, cohort_comm *comm,
                                     const cohort_inference *inference, const char *model,
                                     const char *path, size_t batch)
{
    *input = (cohort_text_input){.path = path, .batch = batch};
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(comm) == 0)
        status = cohort_file_read(&input->text, path, SIZE_MAX / 4);
    COHORT_TRY(cohort_comm_agree(comm, status));
    COHORT_TRY(cohort_job_share_text(comm, &input->text));
    return cohort_comm_agree(comm, prepare(input, inference, model));
}

void cohort_text_input_clear(cohort_text_input *input)
{
    cohort_text_clear(&input->text);
    free(input->starts);
    cohort_tokenizer_destroy(input->tokenizer);
    cohort_free(input->rows);
    cohort_free(input->numbers);
    *input = (cohort_text_input){0};
}

/* The row of line INDEX, without its end. */
static cohort_status take_line(int32_t *row, cohort_text_input *input, size_t index)
{
    const char *line = input->text.data + input->starts[index];
    size_t length = input->starts[index + 1] - input->starts[index];
    if (length > 0 && line[length - 1] == '\n')
        length--;
    if (length > 0 && line[length - 1] == '\r')
        length--;
    cohort_status status = cohort_tokenizer_row(row, input->tokenizer, line, length);
    if (status != COHORT_USAGE)
        return status;
    char reason[256];
    snprintf(reason, sizeof reason, "%s", cohort_error_message());
    return COHORT_FAIL(COHORT_DATA, "%s, line %zu: %s", input->path, index + 1, reason);
}

cohort_status cohort_text_input_take(cohort_batch *batch, cohort_text_input *input, size_t begin,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        COHORT_TRY(take_line(input->rows + i * input->time, input, begin + i));
        input->numbers[i] = begin + i;
    }
    *batch = (cohort_batch){
        .global_count = count, .count = count, .x = input->rows, .rows = input->numbers};
    return COHORT_OK;
}
