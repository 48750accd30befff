/* The training loop.
 *
 * A trainer holds everything of one run: data, network, reducer, optimizer, run folder,
 * progress. Collective throughout: every rank makes the same calls. */
#ifndef COHORT_TRAIN_TRAINER_H
#define COHORT_TRAIN_TRAINER_H

#include "train/evaluate.h"
#include "train/job.h"

typedef struct cohort_trainer cohort_trainer;

/* Where a run stands, for people. */
typedef struct cohort_train_view {
    uint64_t epoch; /* under way, from 1 */
    uint64_t epochs;
    uint64_t step; /* finished global steps */
    uint64_t step_in_epoch, steps_per_epoch;
    uint64_t total_steps;  /* of the whole run */
    double loss, accuracy; /* means over the epoch so far; accuracy NaN for a regression */
    double validation_loss, validation_accuracy; /* NaN where there is none */
    double lr;
    double samples_per_s;            /* of the epoch so far, training time only */
    double seconds;                  /* of this epoch so far */
    bool by_rounds;                  /* federated: an epoch is a round, a step one of its clients */
    double test_loss, test_accuracy; /* after a round; NaN where there is none */
    /* Of private training, at the end of an epoch: what it has cost one UNIT ("example") so far;
     * epsilon NaN elsewhere. INFINITY: a testing seed, nothing is promised. */
    double epsilon, delta;
    const char *unit;
} cohort_train_view;

/* Called on rank 0 only. */
typedef struct cohort_train_observer {
    void *context;
    void (*on_step)(void *context, const cohort_train_view *view);
    void (*on_epoch)(void *context, const cohort_train_view *view);
    /* A line worth saying, without a line end. */
    void (*on_note)(void *context, const char *text);
} cohort_train_observer;

/* Data that is open already, instead of the recipe's file; borrowed. */
typedef struct cohort_trainer_data {
    cohort_dataset *train;             /* NULL: all from the file */
    cohort_dataset *validation, *test; /* NULL: none, or a fraction by data.validation */
} cohort_trainer_data;

typedef struct cohort_trainer_options {
    const char *run_folder; /* NULL: runs/<name> */
    bool no_folder;         /* nothing is written: no checkpoints, no records */
    cohort_trainer_data data;
    bool fresh;  /* an existing run is moved aside */
    size_t fold; /* of the recipe's train.folds, from 1: that part is held out to validate on */
    const char *resume; /* a checkpoint to start from; NULL: the run folder's newest */
    const char *metric; /* decides which epoch is best where early stopping does not; NULL: the
                           validation loss, else the training loss */
    /* Names a job that may start again: in a run folder that it has opened before, `fresh` and
     * `resume` have had their effect and are not looked at. NULL: it does not. */
    const char *job;
    cohort_train_observer observer;
    /* Asked after every step on every rank; true on any rank stops all of them after a
     * checkpoint. Where simulated clients train, by several threads at a time. NULL: never. */
    bool (*should_stop)(void *context);
    void *stop_context;
} cohort_trainer_options;

/* Opens everything a run needs and finds where it continues. RECIPE is borrowed. Errors:
 * COHORT_USAGE (recipe, finished or different run), COHORT_DATA (files). */
COHORT_NODISCARD cohort_status cohort_trainer_create(cohort_trainer **out, cohort_comm *comm,
                                                     cohort_recipe *recipe,
                                                     const cohort_trainer_options *options);
void cohort_trainer_destroy(cohort_trainer *trainer);

/* Trains to the end, tests, saves. COHORT_STOPPED after a checkpoint when asked to stop;
 * COHORT_DIVERGED when the loss or gradient is not finite: the last checkpoint stays. */
COHORT_NODISCARD cohort_status cohort_trainer_run(cohort_trainer *trainer);

/* The same in pieces: begin once, advance by at most COUNT steps until *is_over (all steps, or
 * early stopping; COHORT_STOPPED as above), finish once. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_begin(cohort_trainer *trainer);
COHORT_NODISCARD cohort_status cohort_trainer_advance(bool *is_over, cohort_trainer *trainer,
                                                      uint64_t count);
COHORT_NODISCARD cohort_status cohort_trainer_finish(cohort_trainer *trainer);

/* A checkpoint where the run stands, between two calls of advance, to go on from later. */
COHORT_NODISCARD cohort_status cohort_trainer_pause(cohort_trainer *trainer);

/* Whether JOB (see options; may be NULL) is the one that opened run folder FOLDER last. */
bool cohort_trainer_has_opened(const char *folder, const char *job);

/* The run folder in use. */
const char *cohort_trainer_folder(const cohort_trainer *trainer);
/* The test evaluation of a finished run; NULL if there is no test split. */
const cohort_evaluation *cohort_trainer_test(const cohort_trainer *trainer);

/* Writes the untrained model of RECIPE to PATH, with the parameters and state in the file WEIGHTS
 * (see state/foreign.h) unless that is NULL. Collective. */
COHORT_NODISCARD cohort_status cohort_train_init(cohort_comm *comm, cohort_recipe *recipe,
                                                 const char *weights, const char *path);

#endif
