/* What a search leaves in its folder for people and programs. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "train/job.h"
#include "train/tune_private.h"

static const char *const states[] = {"open", "finished", "diverged", "failed"};

/* A YAML scalar as JSON: number and truth value, else text. */
static void add_value(cohort_text *line, const char *name, const char *value)
{
    double number;
    const size_t length = strlen(value);
    if (value[strspn(value, "0123456789+-.eE")] == '\0' && cohort_parse_double(&number, value))
        cohort_json_number(line, name, number);
    else if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
        cohort_json_boolean(line, name, value[0] == 't');
    else if (length >= 2 && value[0] == '"' && !strchr(value, '\\')) {
        cohort_text bare = {0};
        cohort_text_append_bytes(&bare, value + 1, length - 2);
        cohort_json_string(line, name, bare.data ? bare.data : "");
        cohort_text_clear(&bare);
    } else
        cohort_json_string(line, name, value);
}

static void add_trial(cohort_text *text, const cohort_tune *tune, size_t index)
{
    const cohort_trial *trial = &tune->trials[index];
    cohort_text line = {0};
    cohort_json_begin_object(&line, NULL);
    cohort_json_integer(&line, "trial", (int64_t)index);
    cohort_json_string(&line, "status", states[trial->state]);
    cohort_json_string(&line, "metric", cohort_search_metric(tune->recipe));
    cohort_json_number(&line, "figure", trial->figure);
    cohort_json_integer(&line, "epochs", (int64_t)trial->epochs);
    cohort_json_integer(&line, "best_epoch", (int64_t)trial->best_epoch);
    cohort_json_integer(&line, "rung", (int64_t)trial->rung + 1);
    cohort_json_begin_object(&line, "values");
    for (size_t i = 0; index > 0 && i < tune->plan.dimension_count; i++)
        add_value(&line, tune->recipe->search.space.items[i].path, tune->plan.values[index][i]);
    cohort_json_end_object(&line);
    if (trial->message[0])
        cohort_json_string(&line, "message", trial->message);
    cohort_json_number(&line, "seconds", trial->seconds);
    cohort_json_end_object(&line);
    cohort_text_append(text, "%s\n", line.data ? line.data : "");
    text->failed = text->failed || line.failed;
    cohort_text_clear(&line);
}

cohort_status cohort_tune_write_trials(const cohort_tune *tune)
{
    cohort_text text = {0}, path = {0};
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < tune->plan.trial_count; i++)
        if (tune->trials[i].state != COHORT_TRIAL_OPEN)
            add_trial(&text, tune, i);
    COHORT_TRY_DONE(status, cohort_text_status(&text));
    COHORT_TRY_DONE(status, cohort_tune_path(&path, tune, "trials.jsonl"));
    status = cohort_file_write(path.data, text.data ? text.data : "", text.length);
done:
    cohort_text_clear(&text);
    cohort_text_clear(&path);
    return status;
}

enum { NAME_MAX_BYTES = 200 }; /* of a recipe's name */

cohort_status cohort_tune_write_best(const cohort_tune *tune)
{
    const size_t best = cohort_tune_best(tune);
    cohort_recipe *recipe = NULL;
    cohort_text text = {0}, name = {0}, path = {0};
    cohort_status status = COHORT_OK;
    char figure[32];
    COHORT_TRY_DONE(status, cohort_tune_trial_recipe(&recipe, tune, best, false));
    cohort_text_append(&name, "%s-best", recipe->name);
    COHORT_TRY_DONE(status, cohort_text_status(&name));
    if (name.length <= NAME_MAX_BYTES) /* its run then does not meet one of the recipe itself */
        recipe->name = name.data;
    cohort_text_append(&text, "# Trial %zu of %s: %s %s at epoch %llu\n", best, tune->path,
                       cohort_search_metric(tune->recipe),
                       cohort_number_text(figure, tune->trials[best].figure),
                       (unsigned long long)tune->trials[best].best_epoch);
    COHORT_TRY_DONE(status, cohort_recipe_write(&text, recipe));
    COHORT_TRY_DONE(status, cohort_text_status(&text));
    COHORT_TRY_DONE(status, cohort_tune_path(&path, tune, "best.yaml"));
    status = cohort_file_write(path.data, text.data, text.length);
done:
    cohort_recipe_destroy(recipe);
    cohort_text_clear(&text);
    cohort_text_clear(&name);
    cohort_text_clear(&path);
    return status;
}
