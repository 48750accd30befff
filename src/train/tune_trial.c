/* One trial of a search. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "train/private.h"
#include "train/tune_private.h"

/* Seconds to wait for a run folder that a rank of a killed job may hold a moment longer. */
static const double PATIENCE = 10;
enum { RESULT_BYTES_MAX = 4096 };

cohort_status cohort_tune_path(cohort_text *path, const cohort_tune *tune, const char *format, ...)
{
    char name[64];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return cohort_path_join(path, tune->folder.data, name);
}

/* "KEY=VALUE" of each key of TRIAL behind the user's own, into SETS [set_count + dimensions],
 * which is freed with those it has made. */
static cohort_status make_sets(char **sets, const cohort_tune *tune, size_t trial)
{
    for (size_t i = 0; trial > 0 && i < tune->plan.dimension_count; i++) {
        cohort_text set = {0};
        cohort_text_append(&set, "%s=%s", tune->recipe->search.space.items[i].path,
                           tune->plan.values[trial][i]);
        COHORT_TRY(cohort_text_status(&set));
        sets[i] = set.data;
    }
    return COHORT_OK;
}

cohort_status cohort_tune_trial_recipe(cohort_recipe **out, const cohort_tune *tune, size_t trial,
                                       bool as_run)
{
    const size_t own = trial > 0 ? tune->plan.dimension_count : 0;
    const char **all = NULL;
    char **made = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&all, tune->set_count + own));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&made, own));
    COHORT_TRY_DONE(status, make_sets(made, tune, trial));
    for (size_t i = 0; i < tune->set_count; i++)
        all[i] = tune->sets[i];
    for (size_t i = 0; i < own; i++)
        all[tune->set_count + i] = made[i];
    COHORT_TRY_DONE(status,
                    cohort_recipe_parse(out, tune->text.data, tune->path, tune->recipe_folder.data,
                                        all, tune->set_count + own, cohort_model_catalog()));
    COHORT_TRY_DONE(status, cohort_recipe_set_data_file(*out, tune->recipe->data.file));
    (*out)->search = (cohort_search_recipe){0};
    if (as_run) {
        (*out)->data.memory_limit = tune->memory_limit;
        if ((*out)->train.threads == 0)
            (*out)->train.threads = 1;
    }
done:
    for (size_t i = 0; made && i < own; i++)
        free(made[i]);
    cohort_free(made);
    cohort_free(all);
    if (status != COHORT_OK) {
        cohort_recipe_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* --- Results ------------------------------------------------------------------- */

static const char *const states[] = {"open", "finished", "diverged", "failed"};

static cohort_status write_result(const cohort_tune *tune, size_t trial, const cohort_trial *result)
{
    cohort_text text = {0}, path = {0};
    cohort_status status = COHORT_OK;
    char figure[32];
    cohort_text_append(&text, "%s %s %llu %llu %.3f\n%s\n", states[result->state],
                       cohort_number_text(figure, result->figure),
                       (unsigned long long)result->epochs, (unsigned long long)result->best_epoch,
                       result->seconds, result->message);
    COHORT_TRY_DONE(status, cohort_text_status(&text));
    COHORT_TRY_DONE(status,
                    cohort_tune_path(&path, tune, "results/%04zu-%zu", trial, result->rung));
    status = cohort_file_write(path.data, text.data, text.length);
done:
    cohort_text_clear(&text);
    cohort_text_clear(&path);
    return status;
}

/* The line of a result, as written above. */
static bool parse_result(cohort_trial *result, const char *text)
{
    char state[16], figure[40];
    unsigned long long epochs, best_epoch;
    double seconds;
    if (sscanf(text, "%15s %39s %llu %llu %lf", state, figure, &epochs, &best_epoch, &seconds) != 5)
        return false;
    *result = (cohort_trial){.state = COHORT_TRIAL_OPEN,
                             .epochs = epochs,
                             .best_epoch = best_epoch,
                             .figure = strtod(figure, NULL),
                             .seconds = seconds};
    for (int i = 1; i < (int)(sizeof states / sizeof *states); i++)
        if (strcmp(states[i], state) == 0)
            result->state = i;
    const char *message = strchr(text, '\n');
    if (message)
        snprintf(result->message, sizeof result->message, "%.*s", (int)strcspn(message + 1, "\n"),
                 message + 1);
    return result->state != COHORT_TRIAL_OPEN;
}

bool cohort_tune_read_result(cohort_trial *result, const cohort_tune *tune, size_t trial,
                             size_t rung)
{
    cohort_text text = {0}, path = {0};
    cohort_trial read;
    bool found = false;
    if (cohort_tune_path(&path, tune, "results/%04zu-%zu", trial, rung) == COHORT_OK &&
        cohort_file_exists(path.data)) {
        found = !result || (cohort_file_read(&text, path.data, RESULT_BYTES_MAX) == COHORT_OK &&
                            text.data && parse_result(&read, text.data));
    }
    if (found && result) {
        read.rung = rung;
        *result = read;
    }
    cohort_error_clear();
    cohort_text_clear(&text);
    cohort_text_clear(&path);
    return found;
}

/* --- Training ------------------------------------------------------------------ */

/* Where the run in FOLDER stands, if it is over: by its last checkpoint. One rank. */
static bool is_over(cohort_trial *result, const char *folder)
{
    cohort_text path = {0};
    cohort_checkpoint *checkpoint = NULL;
    bool over = false;
    if (cohort_path_join(&path, folder, "checkpoints/last.h5") == COHORT_OK &&
        cohort_file_exists(path.data) &&
        cohort_checkpoint_open(&checkpoint, path.data) == COHORT_OK) {
        const cohort_progress *progress = &cohort_checkpoint_describe(checkpoint)->progress;
        over = progress->finished != 0 && !isnan(progress->best_metric);
        result->figure = progress->best_metric;
        result->epochs = progress->epoch;
        result->best_epoch = progress->best_epoch;
    }
    cohort_error_clear();
    cohort_checkpoint_close(checkpoint);
    cohort_text_clear(&path);
    return over;
}

/* Waits until no process of a job that was killed holds FOLDER. One rank. */
static cohort_status wait_for_folder(const char *folder)
{
    const double end = cohort_clock_seconds() + PATIENCE;
    for (;;) {
        cohort_run *run = NULL;
        const cohort_status status = cohort_run_open(&run, folder, false);
        cohort_run_close(run);
        if (status != COHORT_USAGE || cohort_clock_seconds() > end)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
}

/* The figure of a run that has ended inside its first epoch, else that of its best. */
static double figure_of(const cohort_trainer *trainer, const char *metric)
{
    cohort_train_view view;
    if (!isnan(trainer->progress.best_metric))
        return trainer->progress.best_metric;
    cohort_trainer_look(&view, trainer);
    if (strcmp(metric, "validation_loss") == 0)
        return view.validation_loss;
    if (strcmp(metric, "validation_accuracy") == 0)
        return view.validation_accuracy;
    return strcmp(metric, "loss") == 0 ? view.loss : view.accuracy;
}

/* From where the trial stands to the end of RUNG; *fatal: a failure is not its own. */
static cohort_status train(cohort_trial *result, bool *fatal, cohort_tune *tune, size_t rung,
                           cohort_recipe *recipe, const char *folder)
{
    cohort_trainer *trainer = NULL;
    cohort_status status = COHORT_OK;
    bool over = false;
    const char *metric = cohort_search_metric(tune->recipe);
    const cohort_trainer_options options = {.run_folder = folder,
                                            .metric = metric,
                                            .should_stop = cohort_tune_ask,
                                            .stop_context = tune};
    *fatal = false;
    COHORT_TRY_DONE(status, cohort_trainer_create(&trainer, tune->part, recipe, &options));
    *fatal = true;
    COHORT_TRY_DONE(status, cohort_trainer_begin(trainer));
    const uint64_t target = rung + 1 < tune->plan.rung_count
                                ? tune->plan.rung_epochs[rung] * trainer->steps_per_epoch
                                : UINT64_MAX;
    const uint64_t done_steps = trainer->progress.step;
    COHORT_TRY_DONE(status, cohort_trainer_advance(&over, trainer,
                                                   target > done_steps ? target - done_steps : 0));
    COHORT_TRY_DONE(status, over ? cohort_trainer_finish(trainer) : cohort_trainer_pause(trainer));
    result->figure = figure_of(trainer, metric);
    result->epochs = trainer->progress.epoch;
    result->best_epoch = trainer->progress.best_epoch;
done:
    cohort_trainer_destroy(trainer);
    *fatal = *fatal && status != COHORT_DIVERGED && status != COHORT_MEMORY;
    return status;
}

/* Whether STATUS, of an attempt to train, tells of the trial and not of the machine. */
static bool is_own(cohort_status status, bool fatal)
{
    return !fatal && (status == COHORT_USAGE || status == COHORT_DATA || status == COHORT_MEMORY ||
                      status == COHORT_DIVERGED);
}

/* What has become of a trial that ended with STATUS. */
static cohort_status judge(cohort_trial *result, cohort_status status)
{
    result->state = COHORT_TRIAL_FINISHED;
    if (status != COHORT_OK) {
        result->state = status == COHORT_DIVERGED ? COHORT_TRIAL_DIVERGED : COHORT_TRIAL_FAILED;
        snprintf(result->message, sizeof result->message, "%s", cohort_error_message());
        cohort_error_clear();
    } else if (!isfinite(result->figure)) {
        result->state = COHORT_TRIAL_DIVERGED;
        snprintf(result->message, sizeof result->message, "its figure is not finite");
    }
    if (result->state != COHORT_TRIAL_FINISHED)
        result->figure = NAN;
    return COHORT_OK;
}

/* The recipe and the run folder of TRIAL, trained. */
static cohort_status run_in(cohort_trial *result, cohort_tune *tune, size_t trial, size_t rung,
                            const char *folder)
{
    cohort_recipe *recipe = NULL;
    bool over = false, fatal = true;
    cohort_status status = COHORT_OK;
    const bool leads = cohort_comm_rank(tune->part) == 0;
    if (leads)
        over = is_over(result, folder);
    COHORT_TRY(cohort_comm_broadcast(tune->part, &over, sizeof over, 0));
    if (over) {
        COHORT_TRY(cohort_comm_broadcast(tune->part, result, sizeof *result, 0));
        return judge(result, COHORT_OK);
    }
    status = cohort_comm_agree(tune->part, cohort_tune_trial_recipe(&recipe, tune, trial, true));
    if (status == COHORT_USAGE)
        return judge(result, status);
    COHORT_TRY(status);
    COHORT_TRY_DONE(status,
                    cohort_comm_follow(tune->part, leads ? wait_for_folder(folder) : COHORT_OK));
    status = train(result, &fatal, tune, rung, recipe, folder);
    if (status == COHORT_OK || is_own(status, fatal))
        status = judge(result, status);
done:
    cohort_recipe_destroy(recipe);
    return status;
}

cohort_status cohort_tune_run_trial(cohort_tune *tune, size_t trial, size_t rung)
{
    const double start = cohort_clock_seconds();
    cohort_trial result = {.rung = rung, .figure = NAN};
    cohort_text folder = {0};
    cohort_status status = COHORT_OK;
    cohort_comm_set_phase(tune->comm, "trial %zu", trial);
    COHORT_TRY_DONE(status, cohort_comm_agree(tune->part, cohort_tune_path(&folder, tune,
                                                                           "trials/%04zu", trial)));
    COHORT_TRY_DONE(status, run_in(&result, tune, trial, rung, folder.data));
    result.seconds = cohort_clock_seconds() - start;
    if (cohort_comm_rank(tune->part) == 0)
        status = write_result(tune, trial, &result);
    status = cohort_comm_follow(tune->part, status);
done:
    cohort_text_clear(&folder);
    return status;
}
