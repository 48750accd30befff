#include "cli/folds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "cli/command.h"
#include "report/history.h"
#include "state/checkpoint.h"

/* The figures of a fold, NaN where there are none: mse has no accuracy, not every file a test. */
enum { VALIDATION_LOSS, VALIDATION_ACCURACY, TEST_LOSS, TEST_ACCURACY, FIGURES };
static const char *const names[FIGURES] = {"validation_loss", "validation_accuracy", "test_loss",
                                           "test_accuracy"};
static const char *const titles[FIGURES] = {"validation loss", "validation accuracy", "test loss",
                                            "test accuracy"};

typedef struct fold {
    double figures[FIGURES];
    uint64_t epochs; /* trained */
    uint64_t epoch;  /* whose figures they are: early stopping's best, else the last */
} fold;

typedef struct cross {
    cohort_comm *comm;
    cohort_recipe *recipe;
    const cohort_trainer_options *how;
    cohort_text folder;
    fold *folds; /* rank 0 [recipe->train.folds] */
} cross;

static bool is_rank_0(const cross *all)
{
    return cohort_comm_rank(all->comm) == 0;
}

static cohort_status folder_of(cohort_text *path, const cross *all, size_t number)
{
    char name[32];
    snprintf(name, sizeof name, "fold-%zu", number);
    return cohort_path_join(path, all->folder.data, name);
}

/* Whether the run in FOLDER is over and of this recipe. Rank 0. */
static cohort_status look(bool *is_over, const cross *all, const char *folder)
{
    cohort_text path = {0};
    cohort_checkpoint *checkpoint = NULL;
    cohort_status status = COHORT_OK;
    *is_over = false;
    if (all->how->fresh && !cohort_trainer_has_opened(folder, all->how->job))
        return COHORT_OK;
    COHORT_TRY_DONE(status, cohort_path_join(&path, folder, "checkpoints/last.h5"));
    if (!cohort_file_exists(path.data))
        goto done;
    if (cohort_checkpoint_open(&checkpoint, path.data) != COHORT_OK) {
        cohort_error_clear(); /* the trainer says what is wrong, and takes an older one */
        goto done;
    }
    const cohort_snapshot *about = cohort_checkpoint_describe(checkpoint);
    COHORT_TRY_DONE(status, cohort_job_check_same_run(about, path.data, all->recipe, folder));
    *is_over = about->progress.finished != 0;
done:
    cohort_checkpoint_close(checkpoint);
    cohort_text_clear(&path);
    return status;
}

static void say(const cross *all, const char *format, size_t number)
{
    if (!all->how->observer.on_note)
        return;
    char text[64];
    snprintf(text, sizeof text, format, number, all->recipe->train.folds);
    all->how->observer.on_note(all->how->observer.context, text);
}

static cohort_status train(const cross *all, size_t number, const char *folder)
{
    cohort_trainer *trainer = NULL;
    cohort_trainer_options options = *all->how;
    cohort_status status = COHORT_OK;
    options.run_folder = folder;
    options.fold = number;
    COHORT_TRY_DONE(status, cohort_trainer_create(&trainer, all->comm, all->recipe, &options));
    COHORT_TRY_DONE(status, cohort_trainer_run(trainer));
done:
    cohort_trainer_destroy(trainer);
    return status;
}

/* The value of KEY in the record of EPOCH. */
static cohort_status epoch_figure(double *figure, const cohort_history *history, const char *key,
                                  uint64_t epoch)
{
    cohort_series series = {0};
    COHORT_TRY(cohort_history_series(&series, history, "epoch", "epoch", key));
    *figure = NAN;
    for (size_t i = 0; i < series.count; i++)
        if (series.x[i] == (double)epoch)
            *figure = series.y[i];
    cohort_series_clear(&series);
    return COHORT_OK;
}

static cohort_status find_epochs(fold *result, const cross *all, const char *folder)
{
    cohort_text path = {0};
    cohort_checkpoint *checkpoint = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_path_join(&path, folder, "checkpoints/last.h5"));
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&checkpoint, path.data));
    const cohort_progress *progress = &cohort_checkpoint_describe(checkpoint)->progress;
    result->epochs = progress->epoch;
    result->epoch =
        all->recipe->train.early_stopping.metric ? progress->best_epoch : progress->epoch;
done:
    cohort_checkpoint_close(checkpoint);
    cohort_text_clear(&path);
    return status;
}

/* What the finished run in FOLDER tells. Rank 0. */
static cohort_status read_fold(fold *result, const cross *all, const char *folder)
{
    cohort_history *history = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, find_epochs(result, all, folder));
    COHORT_TRY_DONE(status, cohort_history_open(&history, folder));
    for (int i = VALIDATION_LOSS; i <= VALIDATION_ACCURACY; i++)
        COHORT_TRY_DONE(status,
                        epoch_figure(&result->figures[i], history, names[i], result->epoch));
    COHORT_REQUIRE_DONE(status, !isnan(result->figures[VALIDATION_LOSS]), COHORT_DATA,
                        "%s/metrics.jsonl has no validation loss of epoch %llu, its last; train "
                        "whole epochs, or that fold again: remove %s",
                        folder, (unsigned long long)result->epoch, folder);
    const struct json_t *test = cohort_history_last(history, "test");
    result->figures[TEST_LOSS] = cohort_record_number(test, "loss");
    result->figures[TEST_ACCURACY] = cohort_record_number(test, "accuracy");
done:
    cohort_history_close(history);
    return status;
}

static cohort_status run_fold(cross *all, size_t number)
{
    cohort_text folder = {0};
    cohort_status status = COHORT_OK;
    bool is_over = false;
    COHORT_TRY_DONE(status, cohort_comm_agree(all->comm, folder_of(&folder, all, number)));
    if (is_rank_0(all))
        status = look(&is_over, all, folder.data);
    COHORT_TRY_DONE(status, cohort_comm_follow(all->comm, status));
    COHORT_TRY_DONE(status, cohort_comm_broadcast(all->comm, &is_over, sizeof is_over, 0));
    if (is_rank_0(all))
        say(all, is_over ? "fold %zu of %zu is finished" : "fold %zu of %zu", number);
    if (!is_over)
        COHORT_TRY_DONE(status, train(all, number, folder.data));
    if (is_rank_0(all))
        status = read_fold(&all->folds[number - 1], all, folder.data);
    status = cohort_comm_follow(all->comm, status);
done:
    cohort_text_clear(&folder);
    return status;
}

/* --- Together ------------------------------------------------------------------------ */

/* Mean and sample standard deviation of FIGURE over the folds. */
static void summarise(double *mean, double *deviation, const cross *all, int figure)
{
    const size_t count = all->recipe->train.folds;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += all->folds[i].figures[figure];
    *mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += pow(all->folds[i].figures[figure] - *mean, 2);
    *deviation = sqrt(squares / (double)(count - 1));
}

static int column_width(int figure)
{
    return (int)strlen(titles[figure]) + 2;
}

static void print_row(const char *title, const double *figures, const bool *shown)
{
    printf("%6s", title);
    for (int i = 0; i < FIGURES; i++) {
        const int width = column_width(i);
        if (shown[i] && (i == VALIDATION_ACCURACY || i == TEST_ACCURACY))
            printf("%*.2f%%", width - 1, 100 * figures[i]);
        else if (shown[i])
            printf("%*.4f", width, figures[i]);
    }
    printf("\n");
}

static void print_table(const cross *all)
{
    double mean[FIGURES], deviation[FIGURES];
    bool shown[FIGURES];
    char title[24];
    printf("%6s", "fold");
    for (int i = 0; i < FIGURES; i++) {
        summarise(&mean[i], &deviation[i], all, i);
        shown[i] = !isnan(mean[i]);
        if (shown[i])
            printf("%*s", column_width(i), titles[i]);
    }
    printf("\n");
    for (size_t k = 0; k < all->recipe->train.folds; k++) {
        snprintf(title, sizeof title, "%zu", k + 1);
        print_row(title, all->folds[k].figures, shown);
    }
    print_row("mean", mean, shown);
    print_row("sd", deviation, shown);
    printf("run folder: %s (a run for each fold: fold-1 to fold-%zu)\n", all->folder.data,
           all->recipe->train.folds);
}

static void append_figures(cohort_text *text, const double *figures, const char *suffix)
{
    char name[48];
    for (int i = 0; i < FIGURES; i++) {
        snprintf(name, sizeof name, "%s%s", names[i], suffix);
        if (!isnan(figures[i]))
            cohort_json_number(text, name, figures[i]);
    }
}

/* metrics.jsonl: a record a fold, then the summary. */
static void append_records(cohort_text *text, const cross *all)
{
    double mean[FIGURES], deviation[FIGURES];
    for (size_t k = 0; k < all->recipe->train.folds; k++) {
        const fold *result = &all->folds[k];
        cohort_json_begin_object(text, NULL);
        cohort_json_string(text, "event", "fold");
        cohort_json_integer(text, "fold", (int64_t)k + 1);
        cohort_json_integer(text, "epochs", (int64_t)result->epochs);
        cohort_json_integer(text, "epoch", (int64_t)result->epoch);
        append_figures(text, result->figures, "");
        cohort_json_end_object(text);
        cohort_text_append(text, "\n");
    }
    for (int i = 0; i < FIGURES; i++)
        summarise(&mean[i], &deviation[i], all, i);
    cohort_json_begin_object(text, NULL);
    cohort_json_string(text, "event", "folds");
    cohort_json_string(text, "name", all->recipe->name);
    cohort_json_integer(text, "folds", (int64_t)all->recipe->train.folds);
    append_figures(text, mean, "");
    append_figures(text, deviation, "_sd");
    cohort_json_end_object(text);
    cohort_text_append(text, "\n");
}

/* Rank 0. */
static cohort_status write_summary(const cross *all)
{
    cohort_text text = {0}, path = {0};
    cohort_status status = COHORT_OK;
    append_records(&text, all);
    COHORT_TRY_DONE(status, cohort_text_status(&text));
    COHORT_TRY_DONE(status, cohort_path_join(&path, all->folder.data, "metrics.jsonl"));
    COHORT_TRY_DONE(status, cohort_file_write(path.data, text.data, text.length));
    text.length = 0;
    COHORT_TRY_DONE(status, cohort_recipe_write(&text, all->recipe));
    COHORT_TRY_DONE(status, cohort_path_join(&path, all->folder.data, "recipe.yaml"));
    status = cohort_file_write(path.data, text.data, text.length);
done:
    cohort_text_clear(&text);
    cohort_text_clear(&path);
    return status;
}

/* A folder that holds a run of its own is not mixed with those of folds. */
static cohort_status check_folder(const cross *all)
{
    cohort_text path = {0};
    COHORT_TRY(cohort_path_join(&path, all->folder.data, "checkpoints"));
    const bool is_run = cohort_file_exists(path.data);
    cohort_text_clear(&path);
    COHORT_REQUIRE(!is_run, COHORT_USAGE,
                   "%s holds a run without folds; give --run for another folder, or move it aside",
                   all->folder.data);
    return COHORT_OK;
}

static cohort_status begin(cross *all)
{
    COHORT_REQUIRE(!all->how->resume, COHORT_USAGE,
                   "--resume names a checkpoint of one run, but train.folds makes several; run the "
                   "same command again without it: finished folds are not trained again");
    if (all->how->run_folder)
        cohort_text_append(&all->folder, "%s", all->how->run_folder);
    else
        cohort_text_append(&all->folder, "runs/%s", all->recipe->name);
    COHORT_TRY(cohort_text_status(&all->folder));
    if (!is_rank_0(all))
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&all->folds, all->recipe->train.folds));
    return check_folder(all);
}

cohort_status cohort_cross_validate(cohort_comm *comm, cohort_recipe *recipe,
                                    const cohort_trainer_options *how)
{
    cross all = {.comm = comm, .recipe = recipe, .how = how};
    cohort_status status = cohort_comm_agree(comm, begin(&all));
    for (size_t k = 1; status == COHORT_OK && k <= recipe->train.folds; k++)
        status = run_fold(&all, k);
    if (status == COHORT_OK) {
        if (is_rank_0(&all))
            status = write_summary(&all);
        status = cohort_comm_follow(comm, status);
    }
    if (status == COHORT_OK && cohort_cli_is_speaker(comm))
        print_table(&all);
    cohort_text_clear(&all.folder);
    cohort_free(all.folds);
    return status;
}
