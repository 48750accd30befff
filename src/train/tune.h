/* Trying many values of a recipe's keys: `cohort tune`.
 *
 * The ranks are divided into groups; a group trains one trial after another, each as a run of its
 * own in FOLDER/trials/NNNN. Which trials there are and who goes on to the next rung is
 * recipe/search.h's; who trains which is settled in the run folder (train/board.h), which all
 * hosts must see. Every trial has the recipe's seed, so that figures depend on the values alone.
 *
 * FOLDER holds recipe.yaml (with its search), trials.jsonl (one line a trial), results/ (what the
 * groups have found, from which a search goes on) and best.yaml, for `cohort train`. */
#ifndef COHORT_TRAIN_TUNE_H
#define COHORT_TRAIN_TUNE_H

#include "comm/comm.h"
#include "recipe/search.h"

typedef enum cohort_trial_state {
    COHORT_TRIAL_OPEN,     /* not yet tried */
    COHORT_TRIAL_FINISHED, /* its last rung, or all it has had so far */
    COHORT_TRIAL_DIVERGED, /* loss or gradient not finite */
    COHORT_TRIAL_FAILED    /* could not be trained: `message` says why */
} cohort_trial_state;

enum { COHORT_TRIAL_MESSAGE = 240 };

/* How far a trial is. */
typedef struct cohort_trial {
    int state;   /* cohort_trial_state */
    size_t rung; /* that it has ended, from 0 */
    uint64_t epochs, best_epoch;
    double figure;  /* of the metric at best_epoch; NaN when it failed */
    double seconds; /* that the rung has taken */
    char message[COHORT_TRIAL_MESSAGE];
} cohort_trial;

typedef struct cohort_tune cohort_tune;

typedef struct cohort_tune_options {
    const char *run_folder; /* NULL: runs/<name>-tune */
    bool fresh;             /* an existing search is moved aside */
    const char *job;        /* as in cohort_trainer_options */
    /* Called on rank 0 for each trial that has ended a rung, as it hears of it. */
    void (*on_trial)(void *context, const cohort_tune *tune, size_t trial);
    void *context;
    /* Asked on every rank after every step, and while it waits. */
    bool (*should_stop)(void *context);
    void *stop_context;
} cohort_tune_options;

/* Reads the recipe PATH with SETS (borrowed until close), plans its search and opens the run
 * folder. Collective. COHORT_USAGE: recipe, no search in it, another search in the folder;
 * COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_tune_open(cohort_tune **out, cohort_comm *comm,
                                                const char *path, const char *const *sets,
                                                size_t set_count,
                                                const cohort_tune_options *options);
void cohort_tune_close(cohort_tune *tune);

/* Trains all trials that have no result yet and writes what came out. Collective. COHORT_STOPPED
 * when asked to stop, trials under way saved; COHORT_DIVERGED or COHORT_USAGE when no trial could
 * be trained. */
COHORT_NODISCARD cohort_status cohort_tune_run(cohort_tune *tune);

const cohort_recipe *cohort_tune_recipe(const cohort_tune *tune);
const cohort_search_plan *cohort_tune_plan(const cohort_tune *tune);
const char *cohort_tune_folder(const cohort_tune *tune);
int cohort_tune_group_count(const cohort_tune *tune);
const cohort_trial *cohort_tune_trial(const cohort_tune *tune, size_t trial);
/* The best trial of those in the last rung; the number of trials when there is none. */
size_t cohort_tune_best(const cohort_tune *tune);

#endif
