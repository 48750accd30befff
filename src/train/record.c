#include "train/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cohort_status append(const cohort_record *record, const char *bytes, size_t count)
{
    FILE *file = fopen(record->path, "ab");
    COHORT_REQUIRE(file, COHORT_DATA, "cannot write %s: %s", record->path, strerror(errno));
    size_t written = fwrite(bytes, 1, count, file);
    int reason = errno;
    bool closed = fclose(file) == 0;
    COHORT_REQUIRE(written == count && closed, COHORT_DATA, "cannot write %s: %s", record->path,
                   strerror(written == count ? errno : reason));
    return COHORT_OK;
}

cohort_status cohort_record_open(cohort_record *record, const char *path)
{
    *record = (cohort_record){0};
    if (!path)
        return COHORT_OK;
    record->path = strdup(path);
    COHORT_REQUIRE(record->path, COHORT_MEMORY, "out of memory");
    FILE *file = fopen(path, "rb");
    int last = '\n';
    if (file) {
        if (fseek(file, -1, SEEK_END) == 0)
            last = fgetc(file);
        fclose(file);
    }
    return last == '\n' ? COHORT_OK : append(record, "\n", 1);
}

void cohort_record_close(cohort_record *record)
{
    free(record->path);
    cohort_text_clear(&record->line);
    *record = (cohort_record){0};
}

cohort_text *cohort_record_begin(cohort_record *record, const char *event)
{
    record->line.length = 0;
    cohort_json_begin_object(&record->line, NULL);
    cohort_json_string(&record->line, "event", event);
    return &record->line;
}

cohort_status cohort_record_end(cohort_record *record)
{
    if (!record->path)
        return COHORT_OK;
    cohort_json_end_object(&record->line);
    cohort_text_append(&record->line, "\n");
    COHORT_TRY(cohort_text_status(&record->line));
    return append(record, record->line.data, record->line.length);
}
