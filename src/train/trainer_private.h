#ifndef COHORT_TRAIN_TRAINER_PRIVATE_H
#define COHORT_TRAIN_TRAINER_PRIVATE_H

#include <stdatomic.h>

#include "comm/reducer.h"
#include "optim/optimizer.h"
#include "privacy/ledger.h"
#include "state/run.h"
#include "train/pass.h"
#include "train/record.h"
#include "train/shared_update.h"
#include "train/timing.h"
#include "train/trainer.h"

/* A split that is evaluated. */
typedef struct cohort_eval_split {
    cohort_dataset *dataset; /* NULL: there is none */
    bool is_borrowed;        /* the training data set serves */
    cohort_subset subset;    /* the rows that count */
    cohort_loader *loader;
    uint64_t batch_count;
} cohort_eval_split;

enum {
    COHORT_PART_LEVELS = 11,
    COHORT_PARTS_AT_ONCE = 64 /* no pass takes more */
};

/* Parts of this rank's share that one thread takes through a network of its own, and their
 * gradients on their way to one sum, pairwise: vectors [COHORT_REDUCER_EXTRAS + parameters] and the
 * marks of their rows. The first lane has the trainer's network and the reducer's vector. */
typedef struct cohort_part_lane {
    cohort_trainer *trainer;
    cohort_model *model;
    size_t begin, end; /* parts of the global batch */
    float *vectors[COHORT_PART_LEVELS];
    uint64_t *rows[COHORT_PART_LEVELS]; /* of the trainer's tables (base/rows.h) */
    size_t depth;                       /* vectors waiting below the one being written */
    size_t merges;           /* how many of them the one being written will be added to */
    size_t merged;           /* what lies from here on (in parameters) has been */
    bool is_last;            /* the last part: what is merged is complete */
    _Atomic size_t complete; /* what lies from here on is, for the first lane to see */
} cohort_part_lane;

/* What rides along with the gradients, in floats of the reducer's extras. */
enum { EXTRA_LOSS, EXTRA_CORRECT, EXTRA_COUNT, EXTRA_STOP, EXTRA_FAILED };

/* The ways to sum gradients, tried in turn over the first steps; see tune_sum.c. */
typedef struct cohort_sum_tuning {
    cohort_reducer_way ways[COHORT_REDUCER_WAYS];
    double least[COHORT_REDUCER_WAYS]; /* seconds of a step, of the slowest rank once agreed */
    size_t count; /* ways still in question, the first ones; 0: nothing is tried any more */
    size_t tried;
    size_t now, steps, rounds; /* the way under way, its steps, rounds through all */
    double started;            /* clock */
    char found[96];            /* what the run keeps, "" before it is known; rank 0 */
} cohort_sum_tuning;

typedef struct cohort_private cohort_private; /* see train/private.h */

struct cohort_trainer {
    cohort_comm *comm;
    cohort_recipe *recipe;
    cohort_trainer_options options;

    cohort_dataset *train;
    cohort_loader *loader;
    cohort_sampler sampler;
    cohort_eval_split validation, test;
    uint64_t *fold_rows; /* with options.fold: its rows, `fold_held` of them, then all others */
    size_t fold_held;

    cohort_model *model;
    float *params, *state;
    cohort_reducer *reducer;
    cohort_optimizer *optimizer;
    cohort_shared_update *shared; /* where the parameters are, if in a window; else NULL */
    bool shares_update;           /* the node's ranks deal the update among them */
    cohort_loss loss;
    cohort_share share;      /* parts of the global batch that are this rank's */
    size_t part;             /* samples of a part, at most */
    size_t microbatch;       /* … or of a pass if a part takes several */
    bool is_at_once;         /* one pass takes all of this rank's parts */
    size_t pass_count;       /* passes a part: the same on every rank */
    double target_count;     /* what the loss of the step is divided by; 0 = batch x positions */
    cohort_tables tables;    /* whose gradients are kept by rows; the model's */
    cohort_part_lane *lanes; /* [lane_count] */
    size_t lane_count;
    size_t joined;           /* of the lanes' gradients, what lies from here on is summed */
    size_t threads;          /* 0 until they are set */
    cohort_private *privacy; /* NULL: training is not private */
    cohort_ledger ledger;    /* rank 0: what the weights have cost, also before this run */
    cohort_text ledger_text; /* as last saved */

    uint64_t steps_per_epoch, total_steps;
    cohort_progress progress;
    /* Of elastic runs: where the run stood, and the layers' state, when all was last whole. */
    cohort_progress committed;
    float *committed_state;
    bool is_whole;           /* parameters and all belong to one step */
    uint32_t *choices;       /* the network's, while there is none */
    cohort_text recipe_text; /* resolved */
    cohort_run *run;         /* rank 0 only */
    cohort_record record;
    cohort_text folder;
    cohort_sum_tuning sum_tuning;
    cohort_text ways; /* how layers are computed, as kept with the run; empty: by rule */

    /* The epoch under way: seconds this part of the run spent, and where. */
    double wait_comm, wait_data, epoch_started;
    double step_seconds;                  /* of the last step, without waiting for data */
    double last_step, last_loss, last_lr; /* of the last step made; 0 = none */
    double ended_loss, ended_accuracy;    /* of the latest whole epoch; NaN before */
    double last_validation_loss, last_validation_accuracy;
    cohort_evaluation test_result;
    bool tested;
    float *best; /* [parameters + state] of the best epoch, where no folder keeps them; rank 0 */
    bool resumed;
    bool stop_seen;
    cohort_search *search;  /* looks at every pass; NULL but after a step that was not finite */
    float *state_before;    /* copy of `state` before the step; NULL unless steps may be skipped */
    uint64_t verified_step; /* the last one after which the ranks were compared; 0 = none */
    double launched;        /* clock when created */
};

/* For cohort_pass.visit; CONTEXT is the search. */
void cohort_search_visit(void *context, const cohort_layer *layer, const cohort_pass *pass,
                         bool is_backward);

/* The step just reduced had no finite WHAT ("loss", "gradient"): its batch is run again to name
 * layer, ranks and rows. With on_nonfinite: skip the step is recorded and left out (COHORT_OK;
 * state is as before it); COHORT_DIVERGED otherwise, and when too many were. Parameters and
 * optimizer must be untouched. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_nonfinite(cohort_trainer *trainer,
                                                        const cohort_batch *batch,
                                                        const char *what);
/* Lanes for this rank's share: their networks and sums. Share, network, vectors, reducer and tables
 * are there. Rank-local; COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_trainer_create_lanes(cohort_trainer *trainer);
/* Their networks compute as the trainer's does. Rank-local; COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_trainer_choose_lanes(cohort_trainer *trainer);
void cohort_trainer_destroy_lanes(cohort_trainer *trainer);
/* Vectors of gradients, the reducer's among them, and bytes of activations of all lanes. */
size_t cohort_trainer_vector_count(const cohort_trainer *trainer);
size_t cohort_trainer_work_bytes(const cohort_trainer *trainer);
/* Forward and backward over BATCH, this rank's share of a step, shown to trainer->search if there
 * is one; else the reducer has begun. Collective, since layers may sum over ranks. */
void cohort_trainer_compute(cohort_trainer *trainer, const cohort_batch *batch);

/* The network for this rank's share of the batch, its loss and loader, from the recipe and the
 * open data. Rank-local. */
COHORT_NODISCARD cohort_status cohort_trainer_create_network(cohort_trainer *trainer);
/* The reducer for it, and its parameters, gradients and state. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_connect_network(cohort_trainer *trainer);
/* A loader for what there is of SPLIT, this rank's part of it. Rank-local. */
COHORT_NODISCARD cohort_status cohort_trainer_open_split(cohort_eval_split *split,
                                                         cohort_trainer *trainer);
/* Opens the folder's records, on rank 0. */
COHORT_NODISCARD cohort_status cohort_trainer_open_record(cohort_trainer *trainer);
/* Parameters, state, optimizer and progress of rank SOURCE to all. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_share_all(cohort_trainer *trainer, int source);

/* The record of the last step, if it is due. Rank 0 writes. */
COHORT_NODISCARD cohort_status cohort_trainer_record_step(cohort_trainer *trainer);

/* Elastic runs: remembers where the run stands, before what changes it in several steps. */
void cohort_trainer_commit(cohort_trainer *trainer);
/* Whether FAILED means lost ranks, without which this run may go on. */
bool cohort_trainer_may_go_on(const cohort_trainer *trainer, cohort_status failed);
/* Goes on without ranks that are lost: the run stands where it was last committed, on the rank
 * that was farthest, and all that depends on the number of ranks is made anew. *is_over: the run
 * has ended without this rank. Collective over those that are left; COHORT_PEER. */
COHORT_NODISCARD cohort_status cohort_trainer_go_on(bool *is_over, cohort_trainer *trainer);

/* Opens data, network, reducer, optimizer. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_open(cohort_trainer *trainer);
/* Finds and locks the run folder, continues what is there. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_open_run(cohort_trainer *trainer);
/* Whether the run folder, of which PLACE is known, can be continued or begun by this run (whose
 * `folder` is set), as opening it would find; initial weights are loaded. Rank 0. */
COHORT_NODISCARD cohort_status cohort_trainer_try_run(cohort_trainer *trainer,
                                                      const cohort_run_place *place);
/* Chooses how layers are computed: as the run did before it was resumed, else by rule and
 * measurement on rank 0; the same on every rank. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_choose_ways(cohort_trainer *trainer);
/* Appends them to the record LINE, as an array of texts; nothing where there are none. */
void cohort_trainer_record_ways(cohort_text *line, const cohort_trainer *trainer);
/* Begins to try ways to sum gradients, or takes the one that was found before the run was resumed.
 * Nothing where the recipe says how, or there is nothing to choose. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_begin_sum_tuning(cohort_trainer *trainer);
/* After a step: goes on to the next way, or takes the fastest and says so. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_tune_sum(cohort_trainer *trainer);
/* Parameters and state of rank 0 to all. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_share_weights(cohort_trainer *trainer);
/* Do all ranks hold the same parameters and state? Nothing is done where verify_every is 0 or
 * this step was looked at already. COHORT_PEER names step, ranks, hosts and the first layer
 * that differs. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_verify(cohort_trainer *trainer);
/* One step: forward, backward, reduce, update. Adds to the epoch's sums. */
COHORT_NODISCARD cohort_status cohort_trainer_step(cohort_trainer *trainer);
/* Trains from the first step on for about BUDGET seconds. Collective. */
COHORT_NODISCARD cohort_status cohort_trainer_time(cohort_step_timing *out, cohort_trainer *trainer,
                                                   double budget);
/* Fills VIEW from the progress. */
void cohort_trainer_look(cohort_train_view *view, const cohort_trainer *trainer);
/* Without a folder: keeps the weights in memory as the best so far, and puts them back. Rank 0. */
COHORT_NODISCARD cohort_status cohort_trainer_keep_best(cohort_trainer *trainer);
void cohort_trainer_put_best(cohort_trainer *trainer);
/* Trains on what the data set holds by now, from the next step on. Rank-local. */
COHORT_NODISCARD cohort_status cohort_trainer_reload(cohort_trainer *trainer);
/* What a checkpoint is made of right now. */
cohort_snapshot cohort_trainer_snapshot(cohort_trainer *trainer);

#endif
