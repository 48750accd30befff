#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "state/foreign/formats.h"

struct cohort_output {
    FILE *file;
    const char *path; /* borrowed */
    cohort_text temporary;
    uint64_t size;
};

cohort_status cohort_output_create(cohort_output **out, const char *path)
{
    struct stat info;
    *out = NULL;
    COHORT_REQUIRE(stat(path, &info) != 0 || S_ISREG(info.st_mode), COHORT_DATA,
                   "cannot write %s: it is there and is not a file", path);
    cohort_output *output = calloc(1, sizeof *output);
    COHORT_REQUIRE(output, COHORT_MEMORY, "out of memory");
    output->path = path;
    cohort_text_append(&output->temporary, "%s.%ld.tmp", path, (long)getpid());
    cohort_status status = cohort_text_status(&output->temporary);
    if (status == COHORT_OK) {
        output->file = fopen(output->temporary.data, "wb");
        if (!output->file)
            status = COHORT_FAIL(COHORT_DATA, "cannot write %s: %s", path, strerror(errno));
    }
    if (status == COHORT_OK)
        *out = output;
    else
        cohort_output_destroy(output);
    return status;
}

cohort_status cohort_output_bytes(cohort_output *output, const void *bytes, size_t count)
{
    output->size += count;
    COHORT_REQUIRE(count == 0 || fwrite(bytes, 1, count, output->file) == count, COHORT_DATA,
                   "cannot write %s: %s", output->path, strerror(errno));
    return COHORT_OK;
}

cohort_status cohort_output_floats(cohort_output *output, const float *values, size_t count)
{
    enum { PIECE = 1024 };
    unsigned char bytes[4 * PIECE];
    for (size_t at = 0; at < count;) {
        const size_t piece = count - at < PIECE ? count - at : PIECE;
        for (size_t i = 0; i < piece; i++) {
            uint32_t bits;
            memcpy(&bits, values + at + i, sizeof bits);
            for (size_t k = 0; k < 4; k++)
                bytes[4 * i + k] = (unsigned char)(bits >> 8 * k);
        }
        COHORT_TRY(cohort_output_bytes(output, bytes, 4 * piece));
        at += piece;
    }
    return COHORT_OK;
}

uint64_t cohort_output_size(const cohort_output *output)
{
    return output->size;
}

cohort_status cohort_output_finish(cohort_output *output)
{
    const int failed = fclose(output->file);
    output->file = NULL;
    COHORT_REQUIRE(failed == 0, COHORT_DATA, "cannot write %s: %s", output->path, strerror(errno));
    return cohort_file_commit(output->temporary.data, output->path);
}

void cohort_output_destroy(cohort_output *output)
{
    if (!output)
        return;
    if (output->file)
        fclose(output->file);
    if (output->temporary.data)
        unlink(output->temporary.data); /* gone already when it was finished */
    cohort_text_clear(&output->temporary);
    free(output);
}
