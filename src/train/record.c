#include "train/record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

void cohort_record_language(cohort_text *line, const cohort_loss *loss, const char *tokenizer,
                            const char *prefix, double value)
{
    cohort_language_figures figures;
    char name[64];
    if (!cohort_language_figures_of(&figures, loss, tokenizer, value))
        return;
    snprintf(name, sizeof name, "%sperplexity", prefix);
    cohort_json_number(line, name, figures.perplexity);
    snprintf(name, sizeof name, "%sbits_per_%s", prefix,
             figures.per_character ? "character" : "token");
    cohort_json_number(line, name, figures.bits);
}

cohort_status cohort_record_end(cohort_record *record)
{
    if (!record->path)
        return COHORT_OK;
    if (record->add)
        COHORT_TRY(record->add(record->context, &record->line));
    cohort_json_end_object(&record->line);
    cohort_text_append(&record->line, "\n");
    COHORT_TRY(cohort_text_status(&record->line));
    return append(record, record->line.data, record->line.length);
}

void cohort_record_machine(cohort_text *line)
{
    char host[256] = "", model[256] = "", text[64];
    const time_t now = time(NULL);
    struct tm utc;
    gethostname(host, sizeof host - 1);
    FILE *file = fopen("/proc/cpuinfo", "r");
    for (char row[512]; file && fgets(row, sizeof row, file);)
        if (sscanf(row, "model name : %255[^\n]", model) == 1)
            break;
    if (file)
        fclose(file);
    cohort_json_string(line, "host", host);
    if (model[0])
        cohort_json_string(line, "processor", model);
    cohort_json_integer(line, "cores", (int64_t)sysconf(_SC_NPROCESSORS_ONLN));
    if (gmtime_r(&now, &utc) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        cohort_json_string(line, "time", text);
}

/* Of the figures per class and the confusion matrix in the `test` record. */
enum { CLASSES_RECORDED_MAX = 64 };

cohort_status cohort_record_test(cohort_record *record, const cohort_evaluation *result,
                                 const cohort_loss *loss, const cohort_dataset_info *info,
                                 const char *unit, uint64_t at)
{
    cohort_text *line = cohort_record_begin(record, "test");
    cohort_json_integer(line, unit, (int64_t)at);
    cohort_evaluation_write(line, result, info->classes, info->class_count,
                            result->class_count <= CLASSES_RECORDED_MAX);
    cohort_record_language(line, loss, info->tokenizer, "", result->loss);
    return cohort_record_end(record);
}
