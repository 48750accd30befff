/* What clients and server do with updates, as a table, and the server's step.
 *
 * d is the clients' mean update of a round, w the weights, lr the server's rate:
 *
 *   plain    w += lr d
 *   momentum m = momentum m + d, w += lr m                     (FedAvgM, Hsu et al. 2019)
 *   adam     m = beta1 m + (1 - beta1) d, v = beta2 v + (1 - beta2) d^2,
 *            w += lr m / (sqrt(v) + tau)                       (Reddi et al. 2021, algorithm 2)
 *   yogi     as adam, but v -= (1 - beta2) d^2 sign(v - d^2)
 *   adagrad  as adam, but v += d^2
 *
 * v starts at tau^2; there is no correction of the start. Moving averages of batch_norm are
 * always averaged plainly. */
#ifndef COHORT_FEDERATED_STRATEGY_H
#define COHORT_FEDERATED_STRATEGY_H

#include <stdbool.h>

#include "base/real.h"
#include "base/status.h"
#include "recipe/recipe.h"

typedef enum cohort_combine {
    COHORT_COMBINE_MEAN,
    COHORT_COMBINE_MEDIAN,
    COHORT_COMBINE_TRIMMED_MEAN,
    COHORT_COMBINE_KRUM
} cohort_combine;

typedef enum cohort_server_rule {
    COHORT_SERVER_PLAIN,
    COHORT_SERVER_MOMENTUM,
    COHORT_SERVER_ADAM,
    COHORT_SERVER_YOGI,
    COHORT_SERVER_ADAGRAD
} cohort_server_rule;

typedef struct cohort_strategy {
    const char *name; /* as in recipes */
    cohort_combine combine;
    cohort_server_rule server;
    bool proximal; /* clients add mu (w - w of the round's start) to gradients */
    bool control;  /* clients and server keep control variates (SCAFFOLD, option II) */
    bool bounded;  /* updates are scaled down to `limit` */
} cohort_strategy;

/* The strategy VARIANT names; never NULL for a recipe that was parsed. */
const cohort_strategy *cohort_strategy_find(const cohort_variant *variant);

/* The server's optimizer over vectors of COUNT reals. */
typedef struct cohort_server {
    cohort_server_rule rule;
    cohort_strategy_recipe numbers;
    size_t count;
    real *slots[2]; /* [count] each, NULL if the rule has none: "momentum", or "m" and "v" */
} cohort_server;

/* Free with cohort_server_clear. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_server_init(cohort_server *server, cohort_server_rule rule,
                                                  const cohort_strategy_recipe *numbers,
                                                  size_t count);
void cohort_server_clear(cohort_server *server);
/* "momentum", "m", "v" of slot INDEX; NULL behind the last. */
const char *cohort_server_slot_name(const cohort_server *server, size_t index);
/* One step of WEIGHTS by the mean update MEAN with rate LR. */
void cohort_server_step(cohort_server *server, real *weights, const real *mean, double lr);

#endif
