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

/* *out = the recipe in file PATH with SETS applied: read on rank 0, parsed on every rank.
 * data.file is replaced by the absolute path found. Collective; COHORT_USAGE; COHORT_PEER when
 * versions or SETS are not the same on all ranks. */
COHORT_NODISCARD cohort_status cohort_job_read_recipe(cohort_recipe **out, cohort_comm *comm,
                                                      const char *path, const char *const *sets,
                                                      size_t set_count);

/* Text from rank 0 to every rank; *text is replaced elsewhere. Collective. */
COHORT_NODISCARD cohort_status cohort_job_share_text(cohort_comm *comm, cohort_text *text);

/* Opens group GROUP of the recipe's data file (or of FILE when not NULL) with the recipe's
 * dataset names. Collective. */
COHORT_NODISCARD cohort_status cohort_job_open_data(cohort_dataset **out, cohort_comm *comm,
                                                    const cohort_recipe *recipe, const char *file,
                                                    const char *group, bool with_targets);

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
void cohort_inference_close(cohort_inference *inference);

#endif
