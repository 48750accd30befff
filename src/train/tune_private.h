/* What the files of tuning share. */
#ifndef COHORT_TRAIN_TUNE_PRIVATE_H
#define COHORT_TRAIN_TUNE_PRIVATE_H

#include "state/run.h"
#include "train/board.h"
#include "train/tune.h"

struct cohort_tune {
    cohort_comm *comm, *part; /* all ranks; those of this group */
    int group, group_count;
    cohort_tune_options options;
    /* The recipe with its search, and what the trials' are made of. */
    cohort_recipe *recipe;
    cohort_text text, recipe_folder;
    const char *path;
    const char *const *sets;
    size_t set_count;
    cohort_search_plan plan;
    cohort_text folder;
    cohort_run *run; /* rank 0's lock on it */
    cohort_board board;
    cohort_trial *trials;  /* [plan.trial_count] */
    bool *takes_part;      /* [plan.trial_count] in the rung under way */
    uint64_t memory_limit; /* bytes of data a group may hold */
    bool stop;             /* asked to stop, or ranks are lost */
    double next_look;      /* clock */
};

/* *recipe = that of TRIAL as a run of its own; with AS_RUN what belongs to the search's way of
 * running it: one thread, its share of the memory. Rank-local; COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_tune_trial_recipe(cohort_recipe **recipe,
                                                        const cohort_tune *tune, size_t trial,
                                                        bool as_run);

/* FOLDER/NAME into PATH (replaced). */
COHORT_NODISCARD cohort_status cohort_tune_path(cohort_text *path, const cohort_tune *tune,
                                                const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Trains TRIAL to the end of RUNG and writes its result. Collective over the group. Fails only
 * for what is not the trial's own: COHORT_STOPPED, COHORT_PEER, a full disk. */
COHORT_NODISCARD cohort_status cohort_tune_run_trial(cohort_tune *tune, size_t trial, size_t rung);

/* Whether there is a result of TRIAL in RUNG; then *result (may be NULL). Rank-local. */
bool cohort_tune_read_result(cohort_trial *result, const cohort_tune *tune, size_t trial,
                             size_t rung);

/* should_stop of trainers, and while waiting. */
bool cohort_tune_ask(void *tune);

/* trials.jsonl, best.yaml. Rank 0. COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_tune_write_trials(const cohort_tune *tune);
COHORT_NODISCARD cohort_status cohort_tune_write_best(const cohort_tune *tune);

#endif
