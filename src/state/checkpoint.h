/* Checkpoints: everything a run is, in one HDF5 file.
 *
 * Layout: root attributes format = "cohort-checkpoint", version, recipe (text), input_shape,
 * input_tokens, tokenizer, table and privacy_ledger (texts, if any), ways and sum_way (texts, if
 * any); /params/<layer>/<tensor>, /state/<layer>/<tensor>, /optimizer/<slot>/<layer>/<tensor>
 * float32, and so under /server and /clients/<number> what a federated run keeps; /progress
 * attributes, one a field of cohort_progress (int64 or float64); /classes and /vocabulary
 * fixed-length UTF-8 strings. Texts are variable-length UTF-8 (str in h5py). Every tensor has an
 * attribute xxh64, the XXH64 of its little-endian float32 bytes, verified on load; tensors without
 * one (from other tools) are taken as they are. So for the lists, and recipe_xxh64 and
 * privacy_ledger_xxh64 for those texts. Behind HDF5's end of file stands a checksum of the whole
 * file (state/seal.h), verified after writing and on opening; programs that change the file through
 * HDF5 drop it. Called on one rank (rank 0). */
#ifndef COHORT_STATE_CHECKPOINT_H
#define COHORT_STATE_CHECKPOINT_H

#include "nn/model.h"
#include "optim/optimizer.h"

/* Values of cohort_progress.finished. */
enum { COHORT_RUN_FINISHED = 1, COHORT_RUN_FINISHED_EARLY = 2 };

/* Where a run stands; saved as attributes of /progress. Plain numbers only. */
typedef struct cohort_progress {
    uint64_t epoch;         /* finished epochs */
    uint64_t step;          /* finished global steps */
    uint64_t step_in_epoch; /* finished steps of the epoch under way */
    uint64_t seed;
    uint64_t global_batch_size;
    uint64_t train_samples;
    uint64_t chunk_rows; /* the sampler's mode (0 = free shuffle) */
    uint64_t finished;   /* the run is over */
    /* Sums of the epoch under way, so that its record is whole after resuming. */
    double epoch_loss, epoch_correct, epoch_count, epoch_seconds;
    /* Early stopping and `best`. */
    double best_metric; /* NaN before the first evaluation */
    uint64_t best_epoch;
    uint64_t epochs_without_improvement;
    uint64_t skipped;   /* steps left out because they were not finite; `step` counts them */
    uint64_t on_target; /* federated.target_accuracy is reached */
    double seconds;     /* training time so far, over all parts of the run */
    double clip;        /* privacy.adaptive_clip: where the clip is now; else 0 */
} cohort_progress;

/* A further vector, laid out as TENSORS: /<group>/<slot>/<layer>/<tensor>. GROUP begins with
 * "server" or "clients" (of a federated run). */
typedef struct cohort_attachment {
    const char *group, *slot;
    cohort_tensors tensors;
    real *data;
} cohort_attachment;

/* What a checkpoint is written from and read into. */
typedef struct cohort_snapshot {
    const char *recipe; /* resolved recipe text */
    cohort_tensors params, state;
    real *params_data, *state_data;
    cohort_optimizer *optimizer; /* NULL: without slots */
    const cohort_attachment *attachments;
    size_t attachment_count;
    cohort_progress progress;
    /* Of the data set the model was trained on, so that predict and generate work from the
     * checkpoint alone; NULL/0 if none. */
    const char *const *classes;
    size_t class_count;
    const char *const *vocabulary;
    size_t vocabulary_count;
    const char *tokenizer;    /* see data/tokenizer.h; NULL if none */
    const char *table;        /* see data/table.h; NULL if none */
    const char *ways;         /* cohort_model_write_choices; NULL in older files */
    const char *sum_way;      /* how gradients are summed fastest; NULL: not tried */
    const char *ledger;       /* see privacy/ledger.h; NULL if none */
    cohort_shape input_shape; /* of one sample */
    bool input_tokens;
} cohort_snapshot;

/* Writes PATH: temporary file in the same folder, flush, fsync, rename, fsync of the
 * folder; read back and compared before the rename. On failure (COHORT_DATA: disk full …)
 * an earlier PATH is untouched and the temporary file is gone. */
COHORT_NODISCARD cohort_status cohort_checkpoint_save(const char *path,
                                                      const cohort_snapshot *snapshot);

/* An open checkpoint. */
typedef struct cohort_checkpoint cohort_checkpoint;
/* Opens and checks PATH: format, version, bounds. Strings and lists belong to the checkpoint.
 * COHORT_DATA for what is not a checkpoint, truncated or damaged. */
COHORT_NODISCARD cohort_status cohort_checkpoint_open(cohort_checkpoint **out, const char *path);
void cohort_checkpoint_close(cohort_checkpoint *checkpoint);
/* Its recipe, progress, classes, vocabulary, input (tensor fields empty); owned by it. */
const cohort_snapshot *cohort_checkpoint_describe(const cohort_checkpoint *checkpoint);
/* Fills SNAPSHOT's vectors from the file. Every tensor of SNAPSHOT must be there with its
 * shape and checksum; COHORT_DATA names the first that is not. Optimizer slots are read
 * when SNAPSHOT->optimizer is given. Progress is filled in. When a tensor is missing or has
 * another shape, nothing was changed; when one is damaged, the vectors are undefined. */
COHORT_NODISCARD cohort_status cohort_checkpoint_load(const cohort_checkpoint *checkpoint,
                                                      cohort_snapshot *snapshot);
/* As load, but takes those parameters and state that have the same name and shape (for
 * train.initial_weights); appends what was and was not taken to REPORT: one line with the
 * counts, then one for each tensor that is only here, only there, or of another shape. */
COHORT_NODISCARD cohort_status cohort_checkpoint_load_matching(const cohort_checkpoint *checkpoint,
                                                               cohort_snapshot *snapshot,
                                                               cohort_text *report);
/* Whether it holds GROUP ("clients/3/control"). */
bool cohort_checkpoint_has(const cohort_checkpoint *checkpoint, const char *group);
/* Lists its tensors: calls VISIT with "params/0_conv2d/kernel" and the shape. */
typedef void cohort_checkpoint_visitor(void *context, const char *name, const cohort_shape *shape);
COHORT_NODISCARD cohort_status cohort_checkpoint_visit(const cohort_checkpoint *checkpoint,
                                                       cohort_checkpoint_visitor *visit,
                                                       void *context);
/* Reads every tensor and compares it with its checksum. COHORT_DATA names the first that is
 * damaged. */
COHORT_NODISCARD cohort_status cohort_checkpoint_verify(const cohort_checkpoint *checkpoint);
/* Whether PATH says it is a checkpoint, by its seal or its attribute `format`; it may be damaged.
 */
COHORT_NODISCARD cohort_status cohort_checkpoint_is(bool *is, const char *path);

#endif
