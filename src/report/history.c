#include "report/history.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "report/page.h"

enum { RECIPE_MAX = 16 << 20 };
static const size_t metrics_max = (size_t)1 << 31;

struct cohort_history {
    cohort_text folder, recipe;
    json_t *records; /* an array of objects */
    size_t unreadable;
};

static cohort_status read_records(cohort_history *history, const char *path)
{
    cohort_text text = {0};
    cohort_status status = cohort_file_read(&text, path, metrics_max);
    history->records = json_array();
    for (const char *at = text.data, *end; status == COHORT_OK && at && *at; at = end) {
        const size_t length = strcspn(at, "\n");
        end = at + length + (at[length] == '\n');
        if (length == 0)
            continue;
        json_t *record = json_loadb(at, length, 0, NULL);
        if (!json_is_object(record) || !json_is_string(json_object_get(record, "event"))) {
            json_decref(record);
            history->unreadable++;
        } else if (json_array_append_new(history->records, record) != 0) {
            status = COHORT_FAIL(COHORT_MEMORY, "out of memory reading %s", path);
        }
    }
    cohort_text_clear(&text);
    COHORT_TRY(status);
    COHORT_REQUIRE(json_array_size(history->records) > 0, COHORT_DATA,
                   "%s holds no records; has the run begun?", path);
    return COHORT_OK;
}

cohort_status cohort_history_open(cohort_history **out, const char *folder)
{
    cohort_history *history = NULL;
    cohort_text path = {0};
    struct stat about;
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    COHORT_REQUIRE(stat(folder, &about) == 0 && S_ISDIR(about.st_mode), COHORT_DATA,
                   "%s is not a run folder; give the folder that `cohort train` names", folder);
    COHORT_TRY(COHORT_ALLOCATE(&history, 1));
    cohort_status status = COHORT_OK;
    cohort_text_append_bytes(&history->folder, folder, length);
    COHORT_TRY_DONE(status, cohort_text_status(&history->folder));
    COHORT_TRY_DONE(status, cohort_path_join(&path, history->folder.data, "metrics.jsonl"));
    COHORT_REQUIRE_DONE(status, cohort_file_exists(path.data), COHORT_DATA,
                        "%s is not a run folder: there is no metrics.jsonl in it", folder);
    COHORT_TRY_DONE(status, read_records(history, path.data));
    COHORT_TRY_DONE(status, cohort_path_join(&path, history->folder.data, "recipe.yaml"));
    if (cohort_file_exists(path.data))
        COHORT_TRY_DONE(status, cohort_file_read(&history->recipe, path.data, RECIPE_MAX));
done:
    cohort_text_clear(&path);
    if (status != COHORT_OK)
        cohort_history_close(history);
    else
        *out = history;
    return status;
}

void cohort_history_close(cohort_history *history)
{
    if (!history)
        return;
    cohort_text_clear(&history->folder);
    cohort_text_clear(&history->recipe);
    json_decref(history->records);
    cohort_free(history);
}

const char *cohort_history_folder(const cohort_history *history)
{
    return history->folder.data;
}

const char *cohort_history_name(const cohort_history *history)
{
    const char *name = cohort_record_string(cohort_history_last(history, "start"), "name");
    if (name)
        return name;
    const char *slash = strrchr(history->folder.data, '/');
    return slash && slash[1] ? slash + 1 : history->folder.data;
}

const char *cohort_history_recipe(const cohort_history *history)
{
    return history->recipe.data ? history->recipe.data : "";
}

size_t cohort_history_unreadable(const cohort_history *history)
{
    return history->unreadable;
}

static bool is_event(const json_t *record, const char *event)
{
    return strcmp(json_string_value(json_object_get(record, "event")), event) == 0;
}

const struct json_t *cohort_history_last(const cohort_history *history, const char *event)
{
    for (size_t i = json_array_size(history->records); i-- > 0;)
        if (is_event(json_array_get(history->records, i), event))
            return json_array_get(history->records, i);
    return NULL;
}

const struct json_t *cohort_history_first(const cohort_history *history, const char *event)
{
    for (size_t i = 0; i < json_array_size(history->records); i++)
        if (is_event(json_array_get(history->records, i), event))
            return json_array_get(history->records, i);
    return NULL;
}

const struct json_t *cohort_history_end(const cohort_history *history)
{
    for (size_t i = json_array_size(history->records); i-- > 0;) {
        const json_t *record = json_array_get(history->records, i);
        if (is_event(record, "end"))
            return record;
        if (is_event(record, "start"))
            return NULL;
    }
    return NULL;
}

double cohort_record_number(const struct json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *cohort_record_string(const struct json_t *record, const char *key)
{
    return json_string_value(json_object_get(record, key));
}

/* Whether RECORD has KEY with a number, or with the null that stands for one that is not finite. */
static bool has_value(const json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);
    return json_is_number(value) || json_is_null(value);
}

cohort_status cohort_history_values(cohort_series *series, const cohort_history *history,
                                    const char *event, const char *x_key, const char *y_key)
{
    const size_t most = json_array_size(history->records);
    *series = (cohort_series){0};
    COHORT_TRY(COHORT_ALLOCATE(&series->x, most));
    cohort_status status = COHORT_ALLOCATE(&series->y, most);
    if (status != COHORT_OK) {
        cohort_series_clear(series);
        return status;
    }
    for (size_t i = 0; i < most; i++) {
        const json_t *record = json_array_get(history->records, i);
        const double x = cohort_record_number(record, x_key);
        if (!is_event(record, event) || isnan(x) || !has_value(record, y_key))
            continue;
        while (series->count > 0 && series->x[series->count - 1] >= x)
            series->count--;
        series->x[series->count] = x;
        series->y[series->count++] = cohort_record_number(record, y_key);
    }
    return COHORT_OK;
}

cohort_status cohort_history_series(cohort_series *series, const cohort_history *history,
                                    const char *event, const char *x_key, const char *y_key)
{
    COHORT_TRY(cohort_history_values(series, history, event, x_key, y_key));
    size_t kept = 0;
    for (size_t i = 0; i < series->count; i++) {
        if (isnan(series->y[i]))
            continue;
        series->x[kept] = series->x[i];
        series->y[kept++] = series->y[i];
    }
    series->count = kept;
    return COHORT_OK;
}

void cohort_series_clear(cohort_series *series)
{
    cohort_free(series->x);
    cohort_free(series->y);
    *series = (cohort_series){0};
}

const char *cohort_report_library(void)
{
    return jansson_version_str();
}
