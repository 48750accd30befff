#include "recipe/tables.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Augmentation. */

static const cohort_key random_crop_keys[] = {
    {.name = "padding",
     .type = COHORT_KEY_COUNT,
     AT(cohort_random_crop, padding),
     .min = 1,
     .max = 4096,
     .required = true,
     .help = "pixels of zeros on each side before cropping to the old size"},
};
static const char *const flip_directions[] = {"horizontal", "vertical", "both", NULL};
static const cohort_key flip_keys[] = {
    {.name = "direction",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_flip, direction),
     .choices = flip_directions,
     .fallback = "horizontal",
     .help = "along which axis, each with probability 1/2"},
};
static const cohort_key rotate_keys[] = {
    {.name = "degrees",
     .type = COHORT_KEY_REAL,
     AT(cohort_rotate, degrees),
     .min = 0,
     .max = 180,
     .open_min = true,
     .required = true,
     .help = "largest angle either way, uniform"},
};
static const cohort_key zoom_keys[] = {
    {.name = "range",
     .type = COHORT_KEY_REAL,
     AT(cohort_zoom, range),
     .min = 0,
     .max = 1,
     .open_min = true,
     .open_max = true,
     .required = true,
     .help = "the factor is uniform in 1 - range to 1 + range"},
};
static const cohort_key_table random_crop_table =
    TABLE("random_crop", "shift by padding and cropping", cohort_random_crop, random_crop_keys,
          .main_key = "padding");
static const cohort_key_table flip_table =
    TABLE("flip", "mirror", cohort_flip, flip_keys, .main_key = "direction");
static const cohort_key_table rotate_table =
    TABLE("rotate", "turn about the centre", cohort_rotate, rotate_keys, .main_key = "degrees");
static const cohort_key_table zoom_table =
    TABLE("zoom", "scale about the centre", cohort_zoom, zoom_keys, .main_key = "range");
static const cohort_key_table *const augment_variants[] = {&random_crop_table, &flip_table,
                                                           &rotate_table, &zoom_table, NULL};

/* Data. */

static const cohort_key data_keys[] = {
    {.name = "file",
     .type = COHORT_KEY_STRING,
     AT(cohort_data_recipe, file),
     .required = true,
     .help = "HDF5 data set; relative to the recipe, then to each folder of $COHORT_DATASETS"},
    {.name = "train",
     .type = COHORT_KEY_STRING,
     AT(cohort_data_recipe, train),
     .fallback = "train",
     .help = "group with the training samples"},
    {.name = "test",
     .type = COHORT_KEY_STRING,
     AT(cohort_data_recipe, test),
     .fallback = "test",
     .help = "group with the test samples; a file without it has no test"},
    {.name = "validation",
     .type = COHORT_KEY_STRING,
     AT(cohort_data_recipe, validation),
     .help = "a fraction of train, drawn by seed, or a group"},
    {.name = "x",
     .type = COHORT_KEY_STRING,
     AT(cohort_data_recipe, x),
     .fallback = "x",
     .help = "inputs: a dataset inside the group"},
    {.name = "y",
     .type = COHORT_KEY_STRING,
     AT(cohort_data_recipe, y),
     .fallback = "y",
     .help = "labels or targets: a dataset inside the group"},
    {.name = "scale",
     .type = COHORT_KEY_REAL,
     AT(cohort_data_recipe, scale),
     .fallback = "1",
     .help = "x <- (x * scale - mean) / std"},
    {.name = "mean",
     .type = COHORT_KEY_REALS,
     AT(cohort_data_recipe, mean),
     .fallback = "0",
     .help = "see scale; one for all channels or one per channel"},
    {.name = "std",
     .type = COHORT_KEY_REALS,
     AT(cohort_data_recipe, std),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .fallback = "1",
     .help = "see scale; one for all channels or one per channel"},
    {.name = "memory_limit",
     .type = COHORT_KEY_BYTES,
     AT(cohort_data_recipe, memory_limit),
     .fallback = "0",
     .help = "bytes of data a node may hold; 0 = half of what is free"},
    {.name = "limit",
     .type = COHORT_KEY_COUNT,
     AT(cohort_data_recipe, limit),
     .fallback = "0",
     .help = "training samples used, drawn by seed; 0 = all"},
    {.name = "shuffle",
     .type = COHORT_KEY_BOOL,
     AT(cohort_data_recipe, shuffle),
     .fallback = "true",
     .help = "a new order every epoch, drawn by seed"},
    {.name = "augment",
     .type = COHORT_KEY_VARIANTS,
     AT(cohort_data_recipe, augment),
     .variants = augment_variants,
     .fallback = "[]",
     .help = "random changes to training images, in this order"},
};
static const cohort_key_table data_table =
    TABLE("data", "what is learnt from", cohort_data_recipe, data_keys);

/* What is to be met. */

static const char *const objective_types[] = {"labels", "masked", NULL};
static const cohort_key objective_keys[] = {
    {.name = "type",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_objective_recipe, type),
     .choices = objective_types,
     .fallback = "labels",
     .help = "y of the data, or tokens that are hidden from the network (then y is not read)"},
    {.name = "rate",
     .type = COHORT_KEY_REAL,
     AT(cohort_objective_recipe, rate),
     .min = 0,
     .max = 1,
     .open_min = true,
     .fallback = "0.15",
     .help = "masked: share of the tokens to be guessed; of them 80 % become [mask], 10 % another "
             "token, 10 % stay"},
};
static const cohort_key_table objective_table =
    TABLE("objective", "what the outputs are compared with", cohort_objective_recipe,
          objective_keys, .main_key = "type");

/* Losses: one struct, and per loss the keys that mean something to it. */

#define LABEL_SMOOTHING_KEY                                                                        \
    {                                                                                              \
        .name = "label_smoothing", .type = COHORT_KEY_REAL,                                        \
        AT(cohort_loss_recipe, label_smoothing), .min = 0, .max = 1, .open_max = true,             \
        .fallback = "0", .help = "share of a label spread evenly over the classes"                 \
    }
#define CLASS_WEIGHTS_KEY                                                                          \
    {                                                                                              \
        .name = "class_weights", .type = COHORT_KEY_REALS, AT(cohort_loss_recipe, class_weights),  \
        .min = 0, .max = HUGE_VAL, .help = "one factor per class"                                  \
    }
static const cohort_key cross_entropy_keys[] = {LABEL_SMOOTHING_KEY, CLASS_WEIGHTS_KEY};
static const cohort_key huber_keys[] = {
    {.name = "delta",
     .type = COHORT_KEY_REAL,
     AT(cohort_loss_recipe, delta),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .fallback = "1",
     .help = "error up to which the loss is quadratic"},
};
static const cohort_key_table cross_entropy_table =
    TABLE("cross_entropy", "softmax of logits against a class number or one-hot row",
          cohort_loss_recipe, cross_entropy_keys);
static const cohort_key_table binary_cross_entropy_table =
    TABLE("binary_cross_entropy", "sigmoid of logits against 0 or 1", cohort_loss_recipe,
          cross_entropy_keys);
static const cohort_key_table mse_table = {
    .name = "mse", .help = "mean squared error", .config_bytes = sizeof(cohort_loss_recipe)};
static const cohort_key_table huber_table =
    TABLE("huber", "quadratic near 0, linear beyond", cohort_loss_recipe, huber_keys,
          .main_key = "delta");
static const cohort_key_table *const loss_variants[] = {
    &cross_entropy_table, &binary_cross_entropy_table, &mse_table, &huber_table, NULL};

/* Optimizer. */

static const char *const schedule_types[] = {"constant", "step",      "cosine",
                                             "linear",   "one_cycle", NULL};
static const cohort_key schedule_keys[] = {
    {.name = "type",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_schedule_recipe, type),
     .choices = schedule_types,
     .fallback = "constant",
     .help = "how the learning rate goes over the run"},
    {.name = "warmup_steps",
     .type = COHORT_KEY_COUNT,
     AT(cohort_schedule_recipe, warmup_steps),
     .fallback = "0",
     .help = "steps over which lr rises from 0"},
    {.name = "milestones",
     .type = COHORT_KEY_REALS,
     AT(cohort_schedule_recipe, milestones),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .help = "step: ascending epochs at which lr is multiplied by factor"},
    {.name = "factor",
     .type = COHORT_KEY_REAL,
     AT(cohort_schedule_recipe, factor),
     .min = 0,
     .max = 1,
     .open_min = true,
     .fallback = "0.1",
     .help = "step: see milestones"},
    {.name = "final",
     .type = COHORT_KEY_REAL,
     AT(cohort_schedule_recipe, final),
     .min = 0,
     .max = 1,
     .fallback = "0",
     .help = "cosine, linear, one_cycle: fraction of lr at the end"},
    {.name = "peak_epoch",
     .type = COHORT_KEY_REAL,
     AT(cohort_schedule_recipe, peak_epoch),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .help = "one_cycle: epoch at which lr is highest"},
};
const cohort_key_table cohort_schedule_table =
    TABLE("schedule", "the learning rate over the run", cohort_schedule_recipe, schedule_keys,
          .main_key = "type");

static const char *const optimizer_types[] = {"sgd", "adam", "adamw", "rmsprop", "adagrad", NULL};
static const char *const embedding_row_choices[] = {"all", "used", NULL};
static const cohort_key optimizer_keys[] = {
    {.name = "type",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_optimizer_recipe, type),
     .choices = optimizer_types,
     .fallback = "adam",
     .help = "the update rule"},
    {.name = "lr",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, lr),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "0.001",
     .help = "learning rate"},
    {.name = "momentum",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, momentum),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0",
     .help = "sgd, rmsprop"},
    {.name = "nesterov",
     .type = COHORT_KEY_BOOL,
     AT(cohort_optimizer_recipe, nesterov),
     .fallback = "false",
     .help = "sgd: look ahead along the momentum"},
    {.name = "beta1",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, beta1),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0.9",
     .help = "adam, adamw: decay of the first moment"},
    {.name = "beta2",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, beta2),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0.999",
     .help = "adam, adamw: decay of the second moment"},
    {.name = "rho",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, rho),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0.9",
     .help = "rmsprop: decay of the squared gradient"},
    {.name = "epsilon",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, epsilon),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .fallback = "1.0e-7",
     .help = "all but sgd: added to the denominator"},
    {.name = "weight_decay",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, weight_decay),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "0",
     .help = "kernels and embeddings only; decoupled in adamw, else added to the gradient"},
    {.name = "l1",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, l1),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "0",
     .help = "kernels and embeddings only: times the sign, added to the gradient"},
    {.name = "clip_norm",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, clip_norm),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "0",
     .help = "largest norm of the whole gradient; 0 = off"},
    {.name = "clip_value",
     .type = COHORT_KEY_REAL,
     AT(cohort_optimizer_recipe, clip_value),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "0",
     .help = "largest magnitude of a gradient's element; 0 = off"},
    {.name = "embedding_rows",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_optimizer_recipe, embedding_rows),
     .choices = embedding_row_choices,
     .fallback = "all",
     .help =
         "rows of embedding tables a step updates: all, as Keras's optimizers; or those used in "
         "the batch, as PyTorch's SparseAdam: moments and decay of the others rest"},
    {.name = "schedule",
     .type = COHORT_KEY_SECTION,
     AT(cohort_optimizer_recipe, schedule),
     .table = &cohort_schedule_table,
     .fallback = "{}",
     .help = "the learning rate over the run"},
};
static const cohort_key_table optimizer_table =
    TABLE("optimizer", "how parameters are updated", cohort_optimizer_recipe, optimizer_keys,
          .main_key = "type");

/* Training. */

static const cohort_key early_stopping_keys[] = {
    {.name = "metric",
     .type = COHORT_KEY_STRING,
     AT(cohort_early_stopping_recipe, metric),
     .fallback = "validation_loss",
     .help = "loss, accuracy, validation_loss or validation_accuracy"},
    {.name = "patience",
     .type = COHORT_KEY_COUNT,
     AT(cohort_early_stopping_recipe, patience),
     .min = 1,
     .max = HUGE_VAL,
     .fallback = "3",
     .help = "epochs without improvement before stopping"},
    {.name = "min_delta",
     .type = COHORT_KEY_REAL,
     AT(cohort_early_stopping_recipe, min_delta),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "0",
     .help = "smallest change that counts as improvement"},
};
static const cohort_key_table early_stopping_table =
    TABLE("early_stopping", "stop when a metric no longer improves", cohort_early_stopping_recipe,
          early_stopping_keys, .main_key = "metric");

static const char *const tunings[] = {"off", "guarded", "fastest", NULL};
static const char *const nonfinite_choices[] = {"stop", "skip", NULL};
static const char *const precisions[] = {"float32", "bf16", NULL};
static const cohort_key train_keys[] = {
    {.name = "epochs",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, epochs),
     .min = 1,
     .max = 1e9,
     .fallback = "1",
     .help = "times through the training samples"},
    {.name = "max_steps",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, max_steps),
     .fallback = "0",
     .help = "optimizer steps at which to stop; 0 = no limit"},
    {.name = "global_batch_size",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, global_batch_size),
     .min = 1,
     .max = 1e9,
     .fallback = "64",
     .help = "samples a step, over all ranks; results do not depend on the rank count"},
    {.name = "parts",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, parts),
     .max = 1024,
     .fallback = "0",
     .help = "parts of the global batch whose gradients are summed in a fixed order: as many ranks "
             "give the same bits; a power of two, 0 = 4 where that costs no speed, else 1"},
    {.name = "microbatch_size",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, microbatch_size),
     .max = 1e9,
     .fallback = "0",
     .help = "samples a rank computes at once, bounds memory; 0 = its whole share"},
    {.name = "threads",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, threads),
     .max = 4096,
     .fallback = "0",
     .help = "per rank; 0 = the cores of its affinity mask. Each takes parts of the batch, or all "
             "share each layer, where a rank has too few parts"},
    {.name = "tune",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_train_recipe, tune),
     .choices = tunings,
     .fallback = "guarded",
     .help = "how each convolution is computed; off: by a rule. guarded: measured at start, the "
             "rule overruled where another way is twice as fast. fastest: as measured, so that "
             "runs anew may differ in the last bits"},
    {.name = "precision",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_train_recipe, precision),
     .choices = precisions,
     .fallback = "float32",
     .help = "bf16: the operands of dense, conv2d and attention products are rounded to 8 "
             "significant bits, sums and weights stay float32, as do dense layers of small kernels "
             "over fewer than 32 steps, which gain nothing; needs AVX512-BF16 or AMX"},
    {.name = "log_every_steps",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, log_every_steps),
     .fallback = "0",
     .help = "steps between records in metrics.jsonl; 0 = epoch records only"},
    {.name = "verify_every",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, verify_every),
     .fallback = TEXT_OF(COHORT_VERIFY_EVERY),
     .help = "steps between comparisons of the ranks' parameters, also made before each "
             "checkpoint; 0 = never"},
    {.name = "on_nonfinite",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_train_recipe, on_nonfinite),
     .choices = nonfinite_choices,
     .fallback = "stop",
     .help = "when loss or gradient is NaN or infinite: end the run, or leave out that step"},
    {.name = "max_skipped",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, max_skipped),
     .min = 1,
     .max = HUGE_VAL,
     .fallback = TEXT_OF(COHORT_MAX_SKIPPED),
     .help = "steps that on_nonfinite: skip may leave out in all before the run ends"},
    {.name = "folds",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, folds),
     .max = 100,
     .fallback = "0",
     .help = "cross-validation: train so many times, each time without another part of the "
             "training samples, which the network is then validated on; 0 = off"},
    {.name = "elastic",
     .type = COHORT_KEY_BOOL,
     AT(cohort_train_recipe, elastic),
     .fallback = "false",
     .help = "go on without ranks that die or stall, under `cohort launch mpirun` or `mpirun "
             "--enable-recovery`"},
    {.name = "min_ranks",
     .type = COHORT_KEY_COUNT,
     AT(cohort_train_recipe, min_ranks),
     .min = 1,
     .max = 1e6,
     .fallback = "1",
     .help = "elastic: end with exit code 5 when fewer ranks are left"},
    {.name = "initial_weights",
     .type = COHORT_KEY_STRING,
     AT(cohort_train_recipe, initial_weights),
     .help = "checkpoint whose tensors are taken over by name before training"},
    {.name = "early_stopping",
     .type = COHORT_KEY_SECTION,
     AT(cohort_train_recipe, early_stopping),
     .table = &early_stopping_table,
     .help = "stop when a metric no longer improves, and restore the best weights"},
};
static const cohort_key_table train_table =
    TABLE("train", "how long and in what portions", cohort_train_recipe, train_keys);

/* Checkpoints and communication. */

static const cohort_key checkpoint_keys[] = {
    {.name = "every_epochs",
     .type = COHORT_KEY_COUNT,
     AT(cohort_checkpoint_recipe, every_epochs),
     .fallback = "1",
     .help = "epochs between checkpoints; 0 = none by epochs"},
    {.name = "every_steps",
     .type = COHORT_KEY_COUNT,
     AT(cohort_checkpoint_recipe, every_steps),
     .fallback = "0",
     .help = "steps between checkpoints; 0 = none by steps"},
    {.name = "keep",
     .type = COHORT_KEY_COUNT,
     AT(cohort_checkpoint_recipe, keep),
     .min = 1,
     .max = HUGE_VAL,
     .fallback = "3",
     .help = "newest checkpoints kept, besides best and last"},
};
static const cohort_key_table checkpoint_table =
    TABLE("checkpoint", "when the state is saved", cohort_checkpoint_recipe, checkpoint_keys);

static const char *const reducers[] = {"auto", "shared", "mpi", "messages", NULL};
static const cohort_key comm_keys[] = {
    {.name = "timeout",
     .type = COHORT_KEY_REAL,
     AT(cohort_comm_recipe, timeout),
     .min = 0,
     .max = 1e9,
     .open_min = true,
     .fallback = "300",
     .help = "seconds a collective may wait for a rank"},
    {.name = "reducer",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_comm_recipe, reducer),
     .choices = reducers,
     .fallback = "auto",
     .help = "how gradients are summed: through node-shared memory or MPI"},
    {.name = "bucket",
     .type = COHORT_KEY_BYTES,
     AT(cohort_comm_recipe, bucket),
     .fallback = "0",
     .help = "bytes of a gradient bucket; 0 = tuned over the first steps, which changes no result"},
};
static const cohort_key_table comm_table =
    TABLE("comm", "how ranks talk", cohort_comm_recipe, comm_keys);

/* Privacy. */

static const cohort_key adaptive_clip_keys[] = {
    {.name = "quantile",
     .type = COHORT_KEY_REAL,
     AT(cohort_adaptive_clip_recipe, quantile),
     .min = 0,
     .max = 1,
     .open_min = true,
     .open_max = true,
     .fallback = "0.5",
     .help = "share of the clients whose update is to be within the clip"},
    {.name = "lr",
     .type = COHORT_KEY_REAL,
     AT(cohort_adaptive_clip_recipe, lr),
     .min = 0,
     .max = 10,
     .open_min = true,
     .fallback = "0.2",
     .help = "of the clip's logarithm: times what the share is off, each round"},
    {.name = "count_noise",
     .type = COHORT_KEY_REAL,
     AT(cohort_adaptive_clip_recipe, count_noise),
     .min = 0,
     .max = 1e9,
     .open_min = true,
     .help = "standard deviation of the noise on how many are within, in clients; absent: a "
             "twentieth of those drawn, at least noise_multiplier"},
};
static const cohort_key_table adaptive_clip_table =
    TABLE("adaptive_clip", "a clip that follows a quantile of the updates' norms",
          cohort_adaptive_clip_recipe, adaptive_clip_keys, .main_key = "quantile");

static const char *const privacy_units[] = {"example", "client", NULL};
static const char *const privacy_accountants[] = {"pld", "rdp", NULL};
static const cohort_key privacy_keys[] = {
    {.name = "unit",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_privacy_recipe, unit),
     .choices = privacy_units,
     .fallback = "example",
     .help = "what epsilon protects: one example, or all of a client's (federated)"},
    {.name = "clip",
     .type = COHORT_KEY_REAL,
     AT(cohort_privacy_recipe, clip),
     .min = 0,
     .max = 1e30,
     .open_min = true,
     .fallback = "1",
     .help = "largest L2 norm of what one unit adds to a step"},
    {.name = "adaptive_clip",
     .type = COHORT_KEY_SECTION,
     AT(cohort_privacy_recipe, adaptive_clip),
     .table = &adaptive_clip_table,
     .help = "unit client: clip is where it starts and then follows a quantile of the updates' "
             "norms (Andrew et al. 2021)"},
    {.name = "noise_multiplier",
     .type = COHORT_KEY_REAL,
     AT(cohort_privacy_recipe, noise_multiplier),
     .min = 0,
     .max = 1e6,
     .open_min = true,
     .help = "standard deviation of the noise, in units of clip"},
    {.name = "target_epsilon",
     .type = COHORT_KEY_REAL,
     AT(cohort_privacy_recipe, target_epsilon),
     .min = 0,
     .max = 1e6,
     .open_min = true,
     .help = "instead of noise_multiplier: the least noise that keeps epsilon within this"},
    {.name = "delta",
     .type = COHORT_KEY_REAL,
     AT(cohort_privacy_recipe, delta),
     .min = 0,
     .max = 1,
     .open_min = true,
     .open_max = true,
     .fallback = "1.0e-5",
     .help = "chance with which epsilon may not hold; well below 1 / samples"},
    {.name = "accountant",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_privacy_recipe, accountant),
     .choices = privacy_accountants,
     .fallback = "pld",
     .help = "how epsilon is bounded: privacy loss distribution (tight), or Renyi"},
    {.name = "testing_seed",
     .type = COHORT_KEY_INTEGER,
     AT(cohort_privacy_recipe, testing_seed),
     .min = 1,
     .max = HUGE_VAL,
     .help = "for tests only: noise and batches that anybody can repeat; there is no epsilon then"},
};
static const cohort_key_table privacy_table =
    TABLE("privacy", "differential privacy: clipped, sampled and noisy steps, counted",
          cohort_privacy_recipe, privacy_keys);

/* The recipe. */

static const cohort_key recipe_keys[] = {
    {.name = "name",
     .type = COHORT_KEY_STRING,
     AT(cohort_recipe, name),
     .help = "of the run and its folder; the recipe's file name if absent"},
    {.name = "seed",
     .type = COHORT_KEY_INTEGER,
     AT(cohort_recipe, seed),
     .min = 0,
     .max = HUGE_VAL,
     .fallback = "1",
     .help = "of all random numbers"},
    {.name = "data",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, data),
     .table = &data_table,
     .required = true,
     .help = "what is learnt from"},
    {.name = "model",
     .type = COHORT_KEY_VARIANTS,
     AT(cohort_recipe, model),
     .required = true,
     .help = "the layers, from input to output"},
    {.name = "freeze",
     .type = COHORT_KEY_STRINGS,
     AT(cohort_recipe, freeze),
     .fallback = "[]",
     .help = "names of layers that are not trained"},
    {.name = "objective",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, objective),
     .table = &objective_table,
     .fallback = "{}",
     .help = "what the outputs are compared with"},
    {.name = "loss",
     .type = COHORT_KEY_VARIANT,
     AT(cohort_recipe, loss),
     .variants = loss_variants,
     .required = true,
     .help = "what training makes small"},
    {.name = "optimizer",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, optimizer),
     .table = &optimizer_table,
     .fallback = "{}",
     .help = "how parameters are updated"},
    {.name = "train",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, train),
     .table = &train_table,
     .fallback = "{}",
     .help = "how long and in what portions"},
    {.name = "checkpoint",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, checkpoint),
     .table = &checkpoint_table,
     .fallback = "{}",
     .help = "when the state is saved"},
    {.name = "comm",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, comm),
     .table = &comm_table,
     .fallback = "{}",
     .help = "how ranks talk"},
    {.name = "federated",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, federated),
     .table = &cohort_federated_table,
     .help = "train by rounds: chosen clients on their own rows, then the mean of their updates"},
    {.name = "privacy",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, privacy),
     .table = &privacy_table,
     .help = "train with differential privacy"},
    {.name = "search",
     .type = COHORT_KEY_SECTION,
     AT(cohort_recipe, search),
     .table = &cohort_search_table,
     .help = "what `cohort tune` tries; `cohort train` trains the values above"},
};
const cohort_key_table cohort_recipe_table =
    TABLE("recipe", "a training run", cohort_recipe, recipe_keys);

/* What a key says of itself. */

const cohort_key *cohort_table_find(const cohort_key_table *table, const char *name)
{
    for (size_t i = 0; i < table->key_count; i++)
        if (strcmp(table->keys[i].name, name) == 0)
            return &table->keys[i];
    return NULL;
}

const cohort_key_table *const *cohort_key_variants(const cohort_key *key,
                                                   cohort_layer_catalog layers)
{
    static const cohort_key_table *const none[] = {NULL};
    if (key->variants)
        return key->variants;
    return layers ? layers : none;
}

bool cohort_key_has_min(const cohort_key *key)
{
    return key->min != 0 || key->max != 0 || key->open_min;
}

bool cohort_key_has_max(const cohort_key *key)
{
    return (key->min != 0 || key->max != 0) && key->max >= key->min && key->max < HUGE_VAL;
}

bool cohort_key_allows(const cohort_key *key, double value)
{
    if (cohort_key_has_min(key) && !(key->open_min ? value > key->min : value >= key->min))
        return false;
    return !cohort_key_has_max(key) || (key->open_max ? value < key->max : value <= key->max);
}

/* Whole numbers in full, not as 1e+09. */
static const char *bound_text(char *text, double bound)
{
    if (fabs(bound) < 1e15 && bound == floor(bound))
        snprintf(text, 32, "%.0f", bound);
    else
        cohort_number_text(text, bound);
    return text;
}

void cohort_key_bounds_text(cohort_text *text, const cohort_key *key)
{
    char min[32], max[32];
    bool has_min = cohort_key_has_min(key) && key->min > -HUGE_VAL;
    bound_text(min, key->min);
    bound_text(max, key->max);
    if (has_min && cohort_key_has_max(key))
        cohort_text_append(text, "in %c%s, %s%c", key->open_min ? '(' : '[', min, max,
                           key->open_max ? ')' : ']');
    else if (has_min)
        cohort_text_append(text, "%s %s", key->open_min ? "above" : "at least", min);
    else if (cohort_key_has_max(key))
        cohort_text_append(text, "%s %s", key->open_max ? "below" : "at most", max);
}

size_t cohort_key_bytes(const cohort_key *key)
{
    switch (key->type) {
    case COHORT_KEY_BOOL:
        return sizeof(bool);
    case COHORT_KEY_INTEGER:
        return sizeof(int64_t);
    case COHORT_KEY_COUNT:
        return sizeof(size_t);
    case COHORT_KEY_REAL:
        return sizeof(double);
    case COHORT_KEY_BYTES:
        return sizeof(uint64_t);
    case COHORT_KEY_STRING:
        return sizeof(char *);
    case COHORT_KEY_CHOICE:
        return sizeof(int);
    case COHORT_KEY_PAIR:
        return 2 * sizeof(size_t);
    case COHORT_KEY_REALS:
        return sizeof(cohort_reals);
    case COHORT_KEY_STRINGS:
        return sizeof(cohort_strings);
    case COHORT_KEY_SECTION:
        return key->table->config_bytes;
    case COHORT_KEY_VARIANT:
        return sizeof(cohort_variant);
    case COHORT_KEY_VARIANTS:
        return sizeof(cohort_variants);
    case COHORT_KEY_SPACE:
        return sizeof(cohort_space);
    }
    return 0;
}

bool cohort_key_is_absent(const cohort_key *key, const void *value)
{
    if (key->fallback || key->required || key->type == COHORT_KEY_BOOL ||
        key->type == COHORT_KEY_CHOICE)
        return false;
    const unsigned char *bytes = value;
    for (size_t i = 0; i < cohort_key_bytes(key); i++)
        if (bytes[i])
            return false;
    return true;
}
