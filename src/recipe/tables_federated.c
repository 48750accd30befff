/* The section `federated:`. */
#include <math.h>

#include "recipe/tables.h"

/* How rows are dealt to clients. */

static const cohort_key shards_keys[] = {
    {.name = "per_client",
     .type = COHORT_KEY_COUNT,
     AT(cohort_shards_recipe, per_client),
     .min = 1,
     .max = 1e6,
     .fallback = "2",
     .help = "runs of rows, sorted by label, that each client gets"},
};
static const cohort_key dirichlet_keys[] = {
    {.name = "alpha",
     .type = COHORT_KEY_REAL,
     AT(cohort_dirichlet_recipe, alpha),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .required = true,
     .help = "small: few classes a client; large: alike"},
};
static const cohort_key by_keys[] = {
    {.name = "dataset",
     .type = COHORT_KEY_STRING,
     AT(cohort_by_recipe, dataset),
     .required = true,
     .help = "in the training group, one value a row: equal values are one client's"},
};
static const cohort_key_table iid_table = {
    .name = "iid", .help = "rows drawn by seed, as many each", .config_bytes = 1};
static const cohort_key_table shards_table =
    TABLE("shards", "rows sorted by label, cut into runs, dealt by seed (McMahan et al. 2017)",
          cohort_shards_recipe, shards_keys, .main_key = "per_client");
static const cohort_key_table dirichlet_table =
    TABLE("dirichlet", "every class shared out by proportions drawn for it",
          cohort_dirichlet_recipe, dirichlet_keys, .main_key = "alpha");
static const cohort_key_table by_table = TABLE("by", "rows by writer, speaker, site: a dataset",
                                               cohort_by_recipe, by_keys, .main_key = "dataset");
static const cohort_key_table *const partition_variants[] = {&iid_table, &shards_table,
                                                             &dirichlet_table, &by_table, NULL};

/* Strategies: one struct, and per strategy the keys that mean something to it. */

static const cohort_key fedprox_keys[] = {
    {.name = "mu",
     .type = COHORT_KEY_REAL,
     AT(cohort_strategy_recipe, mu),
     .min = 0,
     .max = HUGE_VAL,
     .required = true,
     .help = "weight of mu/2 |w - w of the round's start|^2 in the clients' loss"},
};
static const cohort_key fedavgm_keys[] = {
    {.name = "momentum",
     .type = COHORT_KEY_REAL,
     AT(cohort_strategy_recipe, momentum),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0.9",
     .help = "of the server"},
};
#define BETA1_KEY                                                                                  \
    {                                                                                              \
        .name = "beta1", .type = COHORT_KEY_REAL, AT(cohort_strategy_recipe, beta1), .min = 0,     \
        .max = 1, .open_max = true, .fallback = "0.9", .help = "decay of the mean update"          \
    }
#define TAU_KEY                                                                                    \
    {                                                                                              \
        .name = "tau", .type = COHORT_KEY_REAL, AT(cohort_strategy_recipe, tau), .min = 0,         \
        .max = HUGE_VAL, .open_min = true, .fallback = "0.001",                                    \
        .help = "added to the denominator; its square is where the second moment starts"           \
    }
static const cohort_key fedadam_keys[] = {
    BETA1_KEY,
    {.name = "beta2",
     .type = COHORT_KEY_REAL,
     AT(cohort_strategy_recipe, beta2),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0.99",
     .help = "decay of the squared update"},
    TAU_KEY,
};
static const cohort_key fedadagrad_keys[] = {
    {.name = "beta1",
     .type = COHORT_KEY_REAL,
     AT(cohort_strategy_recipe, beta1),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0",
     .help = "decay of the mean update"},
    TAU_KEY,
};
static const cohort_key trimmed_keys[] = {
    {.name = "trim",
     .type = COHORT_KEY_REAL,
     AT(cohort_strategy_recipe, trim),
     .min = 0,
     .max = 0.5,
     .open_max = true,
     .fallback = "0.1",
     .help = "share of the clients left out at either end, coordinate by coordinate"},
};
static const cohort_key krum_keys[] = {
    {.name = "byzantine",
     .type = COHORT_KEY_COUNT,
     AT(cohort_strategy_recipe, byzantine),
     .max = 1e6,
     .fallback = "1",
     .help = "clients f that may be hostile; a round needs at least 2f + 3"},
    {.name = "keep",
     .type = COHORT_KEY_COUNT,
     AT(cohort_strategy_recipe, keep),
     .min = 1,
     .max = 1e6,
     .fallback = "1",
     .help = "updates averaged, the best scores first (more than 1: multi-Krum)"},
};
static const cohort_key norm_bound_keys[] = {
    {.name = "limit",
     .type = COHORT_KEY_REAL,
     AT(cohort_strategy_recipe, limit),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .required = true,
     .help = "longer updates are scaled down to this norm"},
};
#define PLAIN_STRATEGY(label, about)                                                               \
    {                                                                                              \
        .name = label, .help = about, .config_bytes = sizeof(cohort_strategy_recipe)               \
    }
static const cohort_key_table fedavg_table =
    PLAIN_STRATEGY("fedavg", "mean of the clients' updates (McMahan et al. 2017)");
static const cohort_key_table fedprox_table =
    TABLE("fedprox", "clients are held near the round's start (Li et al. 2020)",
          cohort_strategy_recipe, fedprox_keys, .main_key = "mu");
static const cohort_key_table fedavgm_table =
    TABLE("fedavgm", "server with momentum (Hsu et al. 2019)", cohort_strategy_recipe, fedavgm_keys,
          .main_key = "momentum");
static const cohort_key_table fedadam_table =
    TABLE("fedadam", "server with Adam's rule (Reddi et al. 2021); lower server_lr",
          cohort_strategy_recipe, fedadam_keys);
static const cohort_key_table fedyogi_table =
    TABLE("fedyogi", "server with Yogi's rule (Reddi et al. 2021); lower server_lr",
          cohort_strategy_recipe, fedadam_keys);
static const cohort_key_table fedadagrad_table =
    TABLE("fedadagrad", "server with Adagrad's rule (Reddi et al. 2021); lower server_lr",
          cohort_strategy_recipe, fedadagrad_keys);
static const cohort_key_table scaffold_table =
    PLAIN_STRATEGY("scaffold", "control variates against client drift (Karimireddy et al. 2020)");
static const cohort_key_table fedsgd_table =
    PLAIN_STRATEGY("fedsgd", "one step on all of a client's rows (local_batch_size: 0)");
static const cohort_key_table median_table =
    PLAIN_STRATEGY("median", "robust: median of each coordinate, clients alike (Yin et al. 2018)");
static const cohort_key_table trimmed_table =
    TABLE("trimmed_mean", "robust: mean of each coordinate's middle, clients alike",
          cohort_strategy_recipe, trimmed_keys, .main_key = "trim");
static const cohort_key_table krum_table =
    TABLE("krum", "robust: the update nearest to the others (Blanchard et al. 2017)",
          cohort_strategy_recipe, krum_keys, .main_key = "byzantine");
static const cohort_key_table norm_bound_table =
    TABLE("norm_bound", "robust: mean of updates of bounded length", cohort_strategy_recipe,
          norm_bound_keys, .main_key = "limit");
static const cohort_key_table *const strategy_variants[] = {&fedavg_table,
                                                            &fedprox_table,
                                                            &fedavgm_table,
                                                            &fedadam_table,
                                                            &fedyogi_table,
                                                            &fedadagrad_table,
                                                            &scaffold_table,
                                                            &fedsgd_table,
                                                            &median_table,
                                                            &trimmed_table,
                                                            &krum_table,
                                                            &norm_bound_table,
                                                            NULL};

/* What is sent. */

static const cohort_key quantize_keys[] = {
    {.name = "bits",
     .type = COHORT_KEY_COUNT,
     AT(cohort_compression_recipe, bits),
     .min = 2,
     .max = 16,
     .fallback = "8",
     .help = "a number, rounded at random so that the mean is right; one scale for 256 of them"},
};
static const cohort_key top_k_keys[] = {
    {.name = "fraction",
     .type = COHORT_KEY_REAL,
     AT(cohort_compression_recipe, fraction),
     .min = 0,
     .max = 1,
     .open_min = true,
     .fallback = "0.01",
     .help = "of the numbers, the largest; a client keeps the rest for its next update"},
};
static const cohort_key_table uncompressed_table = {
    .name = "none", .help = "float32", .config_bytes = sizeof(cohort_compression_recipe)};
static const cohort_key_table quantize_table =
    TABLE("quantize", "few bits a number (Alistarh et al. 2017)", cohort_compression_recipe,
          quantize_keys, .main_key = "bits");
static const cohort_key_table top_k_table =
    TABLE("top_k", "the largest numbers, with error feedback (Stich et al. 2018)",
          cohort_compression_recipe, top_k_keys, .main_key = "fraction");
static const cohort_key_table *const compression_variants[] = {&uncompressed_table, &quantize_table,
                                                               &top_k_table, NULL};

/* Masks on what is sent. */

static const cohort_key secure_keys[] = {
    {.name = "threshold",
     .type = COHORT_KEY_REAL,
     AT(cohort_secure_recipe, threshold),
     .min = 0.5,
     .max = 1,
     .open_min = true,
     .fallback = "0.66",
     .help = "of a round's clients, rounded up: fewer updates and the round is abandoned"},
};
static const cohort_key_table insecure_table = {
    .name = "false", .help = "updates are seen", .config_bytes = sizeof(cohort_secure_recipe)};
static const cohort_key_table secure_table =
    TABLE("true", "as threshold, with its default", cohort_secure_recipe, secure_keys,
          .main_key = "threshold");
static const cohort_key_table threshold_table =
    TABLE("threshold", "masked updates, of which the sum alone is seen (Bonawitz et al. 2017)",
          cohort_secure_recipe, secure_keys, .main_key = "threshold");
static const cohort_key_table *const secure_variants[] = {&insecure_table, &secure_table,
                                                          &threshold_table, NULL};

static const char *const weightings[] = {"samples", "uniform", NULL};
static const char *const norm_policies[] = {"average", "local", NULL};
static const cohort_key federated_keys[] = {
    {.name = "rounds",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, rounds),
     .min = 1,
     .max = 1e9,
     .fallback = "100",
     .help = "times that clients train and the server takes their mean"},
    {.name = "clients",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, clients),
     .min = 1,
     .max = 1e7,
     .help = "simulated on any number of ranks; absent = every rank but 0 is a client with its "
             "own data.file ({rank} in its name), or one for each value of partition by"},
    {.name = "partition",
     .type = COHORT_KEY_VARIANT,
     AT(cohort_federated_recipe, partition),
     .variants = partition_variants,
     .fallback = "iid",
     .help = "how training rows are dealt to simulated clients"},
    {.name = "fraction",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, fraction),
     .min = 0,
     .max = 1,
     .open_min = true,
     .fallback = "0.1",
     .help = "of the clients, drawn by seed for each round"},
    {.name = "over_selection",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, over_selection),
     .min = 0,
     .max = 10,
     .fallback = "0",
     .help = "real clients: so many more are asked (0.3 = 30 %); the first to answer count"},
    {.name = "min_clients",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, min_clients),
     .min = 1,
     .max = 1e7,
     .fallback = "1",
     .help = "asked at least, and updates without which a round fails"},
    {.name = "local_epochs",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, local_epochs),
     .min = 1,
     .max = 1e6,
     .fallback = "1",
     .help = "times through a client's rows in a round"},
    {.name = "local_batch_size",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, local_batch_size),
     .max = 1e9,
     .fallback = "10",
     .help = "rows of a client's step; 0 = all it has"},
    {.name = "strategy",
     .type = COHORT_KEY_VARIANT,
     AT(cohort_federated_recipe, strategy),
     .variants = strategy_variants,
     .fallback = "fedavg",
     .help = "what clients and server do with updates"},
    {.name = "weighting",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_federated_recipe, weighting),
     .choices = weightings,
     .fallback = "samples",
     .help = "a client counts by its rows, or as any other"},
    {.name = "batch_norm",
     .type = COHORT_KEY_CHOICE,
     AT(cohort_federated_recipe, batch_norm),
     .choices = norm_policies,
     .fallback = "average",
     .help = "local: clients go on from their own batch_norm layers (FedBN, Li et al. 2021); the "
             "mean of them serves tests and new clients"},
    {.name = "server_lr",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, server_lr),
     .min = 0,
     .max = HUGE_VAL,
     .open_min = true,
     .fallback = "1.0",
     .help = "factor of the mean update"},
    {.name = "server_schedule",
     .type = COHORT_KEY_SECTION,
     AT(cohort_federated_recipe, server_schedule),
     .table = &cohort_schedule_table,
     .fallback = "{}",
     .help = "server_lr over the rounds; a round is a step and an epoch, here and in "
             "optimizer.schedule"},
    {.name = "compression",
     .type = COHORT_KEY_VARIANT,
     AT(cohort_federated_recipe, compression),
     .variants = compression_variants,
     .fallback = "none",
     .help = "of what clients send"},
    {.name = "secure_aggregation",
     .type = COHORT_KEY_VARIANT,
     AT(cohort_federated_recipe, secure_aggregation),
     .variants = secure_variants,
     .fallback = "false",
     .help = "true or {threshold: 0.67}: the server learns the sum of updates, not one of them"},
    {.name = "update_limit",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, update_limit),
     .min = 0,
     .max = 1e12,
     .open_min = true,
     .fallback = "1024",
     .help = "largest magnitude of an update's element; a client with a larger one is dropped. "
             "Sums are exact in fixed point: lower it for finer steps"},
    {.name = "round_timeout",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, round_timeout),
     .min = 0,
     .max = 1e9,
     .fallback = "0",
     .help = "real clients: seconds until those that have not answered are dropped for the round; "
             "0 = comm.timeout"},
    {.name = "evaluate_every",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, evaluate_every),
     .min = 1,
     .max = HUGE_VAL,
     .fallback = "1",
     .help = "rounds between evaluations on test and validation data"},
    {.name = "target_accuracy",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, target_accuracy),
     .min = 0,
     .max = 1,
     .fallback = "0",
     .help = "test accuracy at which the run is over; 0 = never"},
    {.name = "client_test",
     .type = COHORT_KEY_REAL,
     AT(cohort_federated_recipe, client_test),
     .min = 0,
     .max = 1,
     .open_max = true,
     .fallback = "0",
     .help = "share of each client's rows, drawn by seed, that it keeps to test the final model"},
    {.name = "personalize_epochs",
     .type = COHORT_KEY_COUNT,
     AT(cohort_federated_recipe, personalize_epochs),
     .max = 1e6,
     .fallback = "0",
     .help = "times through its rows that each client tunes the final model for itself; tested "
             "before and after"},
};
const cohort_key_table cohort_federated_table =
    TABLE("federated", "training by rounds on clients' own rows", cohort_federated_recipe,
          federated_keys);
