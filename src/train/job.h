/* What training, evaluation and prediction share: a recipe, its data, its network. */
#ifndef COHORT_TRAIN_JOB_H
#define COHORT_TRAIN_JOB_H

#include "comm/comm.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "state/checkpoint.h"

/* Every rank must run the same version of the program. Collective; COHORT_PEER. */
COHORT_NODISCARD cohort_status cohort_job_require_same_program(cohort_comm *comm);

/* In the data.file of a federated run with real clients: the number of the rank. */
#define COHORT_RANK_MARK "{rank}"

/* *out = the recipe in file PATH with SETS applied: read on rank 0, parsed on every rank.
 * data.file is replaced by the absolute path found; `search`, which is no run's, is left out.
 * Collective; COHORT_USAGE; COHORT_PEER when versions or SETS are not the same on all ranks. */
COHORT_NODISCARD cohort_status cohort_job_read_recipe(cohort_recipe **out, cohort_comm *comm,
                                                      const char *path, const char *const *sets,
                                                      size_t set_count);

/* The pieces of it. TEXT on rank 0 and FOLDER on every rank = recipe file PATH and where it lies;
 * the recipe in rank 0's TEXT, which PATH names and the others get; data.file found. Collective;
 * errors as above. */
COHORT_NODISCARD cohort_status cohort_job_read_text(cohort_text *text, cohort_text *folder,
                                                    cohort_comm *comm, const char *path);
COHORT_NODISCARD cohort_status cohort_job_parse_recipe(cohort_recipe **out, cohort_comm *comm,
                                                       cohort_text *text, const char *path,
                                                       const char *folder, const char *const *sets,
                                                       size_t set_count);
COHORT_NODISCARD cohort_status cohort_job_find_data(cohort_recipe *recipe, cohort_comm *comm);

/* Text from rank 0 to every rank; *text is replaced elsewhere. Collective. */
COHORT_NODISCARD cohort_status cohort_job_share_text(cohort_comm *comm, cohort_text *text);

/* A split to be opened. */
typedef struct cohort_job_data {
    const char *file, *group; /* FILE NULL: the recipe's data.file */
    bool with_targets;
    bool is_read_once; /* in the order of rows: cohort_dataset_spec */
    bool is_left; /* in the file where the recipe's network does enough with a sample: `work` of
                     cohort_dataset_spec */
} cohort_job_data;

/* Opens DATA with the recipe's dataset names. Collective. */
COHORT_NODISCARD cohort_status cohort_job_open_data(cohort_dataset **out, cohort_comm *comm,
                                                    const cohort_recipe *recipe,
                                                    const cohort_job_data *data);

/* Whether the run saved as OLD in checkpoint WHERE may be continued by RECIPE in run folder
 * FOLDER. Rank-local. COHORT_USAGE names the key that differs. */
COHORT_NODISCARD cohort_status cohort_job_check_same_run(const cohort_snapshot *old,
                                                         const char *where,
                                                         const cohort_recipe *recipe,
                                                         const char *folder);

/* Reads checkpoint PATH into SNAPSHOT's vectors and progress. Rank-local. COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_job_load_weights(cohort_snapshot *snapshot, const char *path);

/* Takes what fits of train.initial_weights into SNAPSHOT's vectors and tells ON_NOTE (NULL:
 * nobody) what was taken. Rank-local. COHORT_DATA. */
COHORT_NODISCARD cohort_status
cohort_job_load_initial_weights(cohort_snapshot *snapshot, const cohort_recipe *recipe,
                                void (*on_note)(void *context, const char *text), void *context);

/* Whether data.validation is a fraction of the training samples, then *fraction; else 0. */
bool cohort_job_validation_fraction(double *fraction, const cohort_recipe *recipe);

/* *subset = the samples of INFO's split that RECIPE trains on: without those drawn for
 * validation, within data.limit. Rank-local; COHORT_DATA when none is left. */
COHORT_NODISCARD cohort_status cohort_job_training_subset(cohort_subset *subset,
                                                          const cohort_recipe *recipe,
                                                          const cohort_dataset_info *info);

/* *rows (to be freed) = the members of SUBSET, ascending. Rank-local. */
COHORT_NODISCARD cohort_status cohort_job_list_rows(uint64_t **rows, const cohort_subset *subset);
/* *labels (to be freed) = the class of each of ROWS [count], where y is one. Rank-local. */
COHORT_NODISCARD cohort_status cohort_job_read_labels(int32_t **labels, cohort_dataset *dataset,
                                                      const uint64_t *rows, size_t count);

/* Whether FILE (NULL: data.file) has the group data.test; it may only be missing when the
 * recipe leaves it to the default. Rank 0 looks. Collective; COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_job_has_test(bool *has, cohort_comm *comm,
                                                   const cohort_recipe *recipe, const char *file);

/* Opens DATA to evaluate a network with INPUT by LOSS on it. Collective; COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_job_open_split(cohort_dataset **out, cohort_comm *comm,
                                                     const cohort_recipe *recipe,
                                                     const cohort_job_data *data,
                                                     const cohort_flow *input,
                                                     const cohort_loss *loss);

/* Whether RECIPE reads targets from the data; else the loader makes them. */
bool cohort_job_needs_targets(const cohort_recipe *recipe);

/* Sets up *loss for the outputs of MODEL and the targets of the data as INFO says, or as the
 * recipe's objective makes them. Rank-local; COHORT_USAGE, COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_job_loss(cohort_loss *loss, const cohort_recipe *recipe,
                                               const cohort_model *model,
                                               const cohort_dataset_info *info);

/* What the network of RECIPE gets of samples as INFO says. Rank-local; COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_job_input(cohort_flow *input, const cohort_recipe *recipe,
                                                const cohort_dataset_info *info);

/* Checks that DATASET suits a network with INPUT and LOSS: sample shape,
 * labels in range. NAME is what messages call it. Rank-local; COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_job_check_data(const cohort_dataset *dataset,
                                                     const char *name, const cohort_flow *input,
                                                     const cohort_loss *loss);

/* The parts [begin, end) of `count` contiguous parts of a global batch. */
typedef struct cohort_share {
    size_t begin, end, count;
    const cohort_draw *draw; /* who draws the batches; NULL: the sampler */
} cohort_share;

/* The share of this rank when every rank takes one part. */
cohort_share cohort_job_even_share(const cohort_comm *comm);

/* What samples are for: training shuffles and augments, prediction needs no targets. */
typedef enum cohort_job_use {
    COHORT_TO_TRAIN,
    COHORT_TO_EVALUATE,
    COHORT_TO_PREDICT
} cohort_job_use;

/* A loader over SUBSET of DATASET for MODEL, with the recipe's scaling; SHARE of global
 * batches of GLOBAL_BATCH. */
COHORT_NODISCARD cohort_status cohort_job_loader(cohort_loader **out, const cohort_recipe *recipe,
                                                 cohort_dataset *dataset,
                                                 const cohort_subset *subset, size_t global_batch,
                                                 const cohort_share *share,
                                                 const cohort_model *model, cohort_job_use use);

/* Sets the threads of this rank: the recipe's, else the cores of its affinity mask. Returns
 * them. Warns (rank 0) when the ranks of a node use more threads than it has cores. */
size_t cohort_job_set_threads(cohort_comm *comm, size_t wanted);
/* The same without a word. */
size_t cohort_job_use_threads(size_t wanted);

/* The most memory a rank has had so far. Collective. */
double cohort_job_peak_rss_mb(cohort_comm *comm);

/* A trained network, opened for inference. */
typedef struct cohort_inference {
    cohort_checkpoint *checkpoint;
    const cohort_snapshot *about; /* recipe text, classes, vocabulary … */
    cohort_recipe *recipe;
    cohort_model *model;
    cohort_loss loss; /* for `activate`; set up for the targets of the data at hand */
    float *params, *state;
    size_t batch; /* samples a pass */
} cohort_inference;

/* Opens MODEL: a checkpoint, or a run folder (its best.h5, else last.h5), for passes of
 * BATCH samples. Every rank reads the file. Collective; COHORT_DATA. Free with
 * cohort_inference_close, which accepts a half-opened one. */
COHORT_NODISCARD cohort_status cohort_inference_open(cohort_inference *inference, cohort_comm *comm,
                                                     const char *model, size_t batch);
/* Sets up INFERENCE's loss for the network's outputs, where there are no targets to fit.
 * Rank-local; COHORT_USAGE. */
COHORT_NODISCARD cohort_status cohort_inference_set_loss(cohort_inference *inference);
void cohort_inference_close(cohort_inference *inference);

#endif
