/* A recipe: YAML text, parsed into typed structs. Rank 0 reads the file, every
 * rank parses the same text. */
#ifndef COHORT_RECIPE_RECIPE_H
#define COHORT_RECIPE_RECIPE_H

#include "base/status.h"
#include "base/text.h"
#include "recipe/keys.h"

typedef struct cohort_data_recipe {
    const char *file;  /* as written; resolve with cohort_recipe_find_file */
    const char *train; /* group names */
    const char *test;
    const char *validation; /* NULL, a fraction as text ("0.1"), or a group name */
    const char *x, *y;      /* dataset names inside a group */
    double scale;
    cohort_reals mean, std; /* one, or one per channel */
    uint64_t memory_limit;  /* bytes a node may hold; 0 = half of what is free */
    size_t limit;           /* training samples used, drawn by seed; 0 = all */
    bool shuffle;
    cohort_variants augment; /* random_crop, flip, rotate, zoom */
} cohort_data_recipe;

/* Configs of the augmentation variants. */
typedef struct cohort_random_crop {
    size_t padding; /* pixels of zeros on each side before cropping to the old size */
} cohort_random_crop;
typedef struct cohort_flip {
    int direction; /* 0 horizontal, 1 vertical, 2 both, each with probability 1/2 */
} cohort_flip;
typedef struct cohort_rotate {
    double degrees; /* uniform in ±degrees, bilinear, zeros outside */
} cohort_rotate;
typedef struct cohort_zoom {
    double range; /* factor uniform in 1 ± range, about the centre, bilinear */
} cohort_zoom;

typedef enum cohort_loss_type {
    COHORT_LOSS_CROSS_ENTROPY,
    COHORT_LOSS_BINARY_CROSS_ENTROPY,
    COHORT_LOSS_MSE,
    COHORT_LOSS_HUBER
} cohort_loss_type;

typedef enum cohort_objective_type {
    COHORT_OBJECTIVE_LABELS, /* y of the data */
    COHORT_OBJECTIVE_MASKED  /* the tokens themselves, where they are hidden */
} cohort_objective_type;

typedef struct cohort_objective_recipe {
    int type;    /* cohort_objective_type */
    double rate; /* masked: share of the tokens to be guessed */
} cohort_objective_recipe;

/* `loss: NAME` or `loss: {type: NAME, …}`: a variant whose table is one of the
 * four losses; all share this config. */
typedef struct cohort_loss_recipe {
    double label_smoothing;     /* cross_entropy, binary_cross_entropy */
    cohort_reals class_weights; /* cross_entropy, binary_cross_entropy; one per class */
    double delta;               /* huber */
} cohort_loss_recipe;

typedef enum cohort_optimizer_type {
    COHORT_SGD,
    COHORT_ADAM,
    COHORT_ADAMW,
    COHORT_RMSPROP,
    COHORT_ADAGRAD
} cohort_optimizer_type;

/* Which rows of a table of embeddings a step updates. */
typedef enum cohort_embedding_rows { COHORT_ROWS_ALL, COHORT_ROWS_USED } cohort_embedding_rows;

typedef enum cohort_schedule_type {
    COHORT_SCHEDULE_CONSTANT,
    COHORT_SCHEDULE_STEP,
    COHORT_SCHEDULE_COSINE,
    COHORT_SCHEDULE_LINEAR,
    COHORT_SCHEDULE_ONE_CYCLE
} cohort_schedule_type;

typedef struct cohort_schedule_recipe {
    int type; /* cohort_schedule_type */
    size_t warmup_steps;
    cohort_reals milestones; /* step: epochs at which lr is multiplied by factor */
    double factor;
    double final;      /* cosine, linear, one_cycle: fraction of lr at the end */
    double peak_epoch; /* one_cycle */
} cohort_schedule_recipe;

typedef struct cohort_optimizer_recipe {
    int type; /* cohort_optimizer_type */
    double lr, momentum, beta1, beta2, rho, epsilon, weight_decay, l1, clip_norm, clip_value;
    bool nesterov;
    int embedding_rows; /* cohort_embedding_rows */
    cohort_schedule_recipe schedule;
} cohort_optimizer_recipe;

typedef struct cohort_early_stopping_recipe {
    const char *metric; /* NULL = no early stopping */
    size_t patience;    /* epochs without improvement */
    double min_delta;
} cohort_early_stopping_recipe;

/* What matrix products and convolutions are computed in. */
typedef enum cohort_precision { COHORT_PRECISION_FLOAT32, COHORT_PRECISION_BF16 } cohort_precision;

/* Whether the ways of computing a layer are measured at start. */
typedef enum cohort_tune_type {
    COHORT_TUNE_OFF,     /* a rule chooses */
    COHORT_TUNE_GUARDED, /* the rule is overruled where it is far from the fastest */
    COHORT_TUNE_FASTEST
} cohort_tune_type;

/* What becomes of a step whose loss or gradient is NaN or infinite. */
typedef enum cohort_on_nonfinite {
    COHORT_NONFINITE_STOP,
    COHORT_NONFINITE_SKIP
} cohort_on_nonfinite;

/* Defaults that checks compare with. */
#define COHORT_VERIFY_EVERY 500
#define COHORT_MAX_SKIPPED 10

typedef struct cohort_train_recipe {
    size_t folds; /* of cross-validation; 0 = none */
    size_t epochs, max_steps, global_batch_size, microbatch_size, parts, threads, log_every_steps;
    bool elastic;                /* go on without ranks that are lost */
    size_t min_ranks;            /* down to so many */
    size_t verify_every;         /* steps between comparisons of the ranks' parameters; 0 = never */
    int on_nonfinite;            /* cohort_on_nonfinite */
    size_t max_skipped;          /* steps */
    const char *initial_weights; /* a checkpoint, by name; NULL = none */
    int tune;                    /* cohort_tune_type */
    int precision;               /* cohort_precision */
    cohort_early_stopping_recipe early_stopping;
} cohort_train_recipe;

typedef struct cohort_checkpoint_recipe {
    size_t every_epochs, every_steps, keep;
} cohort_checkpoint_recipe;

typedef struct cohort_comm_recipe {
    double timeout;  /* seconds a collective may wait for a rank */
    int reducer;     /* index into auto | shared | mpi | messages */
    uint64_t bucket; /* bytes of a gradient bucket; 0 = fitting caches and network, then tuned */
} cohort_comm_recipe;

/* How training rows are dealt to simulated clients: `partition`. */
typedef struct cohort_shards_recipe {
    size_t per_client;
} cohort_shards_recipe;
typedef struct cohort_dirichlet_recipe {
    double alpha;
} cohort_dirichlet_recipe;
typedef struct cohort_by_recipe {
    const char *dataset; /* inside the training group: equal values are one client's */
} cohort_by_recipe;

/* `strategy`: one struct for all, each type has the keys that mean something to it. */
typedef struct cohort_strategy_recipe {
    double mu;                /* fedprox */
    double momentum;          /* fedavgm */
    double beta1, beta2, tau; /* fedadam, fedyogi, fedadagrad */
    double trim;              /* trimmed_mean: share cut off at either end */
    size_t byzantine, keep;   /* krum */
    double limit;             /* norm_bound */
} cohort_strategy_recipe;

/* `compression` of what clients send. */
typedef struct cohort_compression_recipe {
    size_t bits;     /* quantize */
    double fraction; /* top_k */
} cohort_compression_recipe;

/* `secure_aggregation`, unless it is false. */
typedef struct cohort_secure_recipe {
    double threshold; /* of a round's clients, at least, whose updates must come */
} cohort_secure_recipe;

typedef enum cohort_weighting { COHORT_WEIGHT_SAMPLES, COHORT_WEIGHT_UNIFORM } cohort_weighting;
typedef enum cohort_norm_policy { COHORT_NORM_AVERAGE, COHORT_NORM_LOCAL } cohort_norm_policy;

typedef struct cohort_federated_recipe {
    size_t rounds;            /* 0: there is no such section */
    size_t clients;           /* 0: as many as there are ranks but 0, or values of `by` */
    cohort_variant partition; /* iid, shards, dirichlet, by */
    double fraction, over_selection;
    size_t min_clients, local_epochs, local_batch_size;
    cohort_variant strategy; /* config cohort_strategy_recipe */
    int weighting;           /* cohort_weighting */
    int batch_norm;          /* cohort_norm_policy */
    double server_lr;
    cohort_schedule_recipe server_schedule;
    cohort_variant compression;        /* none, or config cohort_compression_recipe */
    cohort_variant secure_aggregation; /* false, or config cohort_secure_recipe */
    double update_limit, round_timeout;
    size_t evaluate_every;
    double target_accuracy, client_test;
    size_t personalize_epochs;
} cohort_federated_recipe;

typedef struct cohort_adaptive_clip_recipe {
    double quantile;        /* 0: the clip stays */
    double lr, count_noise; /* count_noise 0: by the clients drawn */
} cohort_adaptive_clip_recipe;

typedef struct cohort_privacy_recipe {
    int unit; /* 0 example, 1 client */
    double clip, delta;
    cohort_adaptive_clip_recipe adaptive_clip;
    double noise_multiplier, target_epsilon; /* one of them is given, the other is 0 */
    int accountant;                          /* 0 pld, 1 rdp */
    int64_t testing_seed;                    /* 0 = none: noise from a secret key */
} cohort_privacy_recipe;

typedef enum cohort_search_type {
    COHORT_SEARCH_RANDOM,
    COHORT_SEARCH_GRID,
    COHORT_SEARCH_HALVING
} cohort_search_type;

typedef struct cohort_search_recipe {
    cohort_space space; /* empty: there is no such section */
    int type;           /* cohort_search_type */
    size_t trials;      /* random, halving */
    const char *metric; /* NULL: early stopping's, else validation_loss */
    int64_t seed;
    size_t ranks_per_trial;
    size_t min_epochs, eta; /* halving */
} cohort_search_recipe;

typedef struct cohort_recipe {
    const char *name;
    int64_t seed;
    cohort_data_recipe data;
    cohort_variants model; /* layers; config is the layer type's struct */
    cohort_strings freeze; /* names of layers that are not trained */
    cohort_objective_recipe objective;
    cohort_variant loss; /* table->name, config cohort_loss_recipe */
    cohort_optimizer_recipe optimizer;
    cohort_train_recipe train;
    cohort_checkpoint_recipe checkpoint;
    cohort_comm_recipe comm;
    cohort_federated_recipe federated;
    cohort_privacy_recipe privacy; /* delta 0 = training is not private */
    cohort_search_recipe search;   /* for `cohort tune`; of no meaning to a single run */
    /* Where it came from. */
    const char *path;   /* the file, for messages */
    const char *folder; /* relative paths start here */
} cohort_recipe;

/* The layer types a model may use (from nn), so that this room need not know them:
 * NULL-terminated. */
typedef const cohort_key_table *const *cohort_layer_catalog;

/* *out = the recipe in TEXT. PATH names it in messages; FOLDER is where relative
 * paths start; SETS are SET_COUNT strings "optimizer.lr=0.01" that override
 * scalars (also inside the model: "model.0.units=64"). Free with
 * cohort_recipe_destroy, which frees all strings, lists and configs of it.
 * COHORT_USAGE names file, line, key and the nearest valid key. */
COHORT_NODISCARD cohort_status cohort_recipe_parse(cohort_recipe **out, const char *text,
                                                   const char *path, const char *folder,
                                                   const char *const *sets, size_t set_count,
                                                   cohort_layer_catalog layers);
void cohort_recipe_destroy(cohort_recipe *recipe);

/* Appends the resolved recipe: YAML, every default written out, parses back to the
 * same recipe. */
COHORT_NODISCARD cohort_status cohort_recipe_write(cohort_text *text, const cohort_recipe *recipe);

/* Appends the reference of all keys and layers for `cohort help recipe`. */
void cohort_recipe_help(cohort_text *text, cohort_layer_catalog layers);

/* What that reference says before the keys and before the layers. */
extern const char cohort_recipe_about[], cohort_recipe_layers_about[];

/* One key, or one of the variants a key offers (a layer, a loss), in that reference. Texts are
 * valid during the visit only. */
typedef struct cohort_outline_line {
    const char *name;
    const char
        *path; /* what --set calls it: "optimizer.lr"; "" of a variant and what is in lists */
    const char *type; /* "count at least 1"; "" of sections and variants */
    const char *help;
    const char *note;          /* "[required]", the default in brackets, or "" */
    const char *const *values; /* words it may be, NULL-terminated; NULL if there are others */
    size_t depth;              /* sections and variants it is in */
    bool is_variant, is_layer; /* is_layer: a layer type or a key of one */
} cohort_outline_line;

/* Calls VISIT for each line of the reference in its order. */
void cohort_recipe_outline(void (*visit)(void *context, const cohort_outline_line *line),
                           void *context, cohort_layer_catalog layers);

/* "0.2.5", of libyaml. */
const char *cohort_recipe_library(void);

/* Replaces data.file by PATH (copied), once it has been found. */
COHORT_NODISCARD cohort_status cohort_recipe_set_data_file(cohort_recipe *recipe, const char *path);

/* NAME relative to the recipe's folder, else in each folder of $COHORT_DATASETS
 * (colon-separated), into PATH (replaced). COHORT_DATA lists where it looked. */
COHORT_NODISCARD cohort_status cohort_recipe_find_file(cohort_text *path,
                                                       const cohort_recipe *recipe,
                                                       const char *name);

/* Two recipes train the same thing: equal in all but what may change between
 * the parts of one run (name, epochs, max_steps, threads, logging, checkpointing,
 * comm, memory_limit, microbatch_size, on_nonfinite, max_skipped). On false, KEY (replaced) names
 * the first key that differs with both values. */
COHORT_NODISCARD cohort_status cohort_recipe_is_same_run(bool *same, cohort_text *key,
                                                         const cohort_recipe *a,
                                                         const cohort_recipe *b);

#endif
