/* Training on this process alone, on chosen rows of a data set: what one client of a federated
 * run does. One trainer serves any number of clients in turn; nothing is allocated for each.
 *
 * A client's result is a function of its start weights, its rows, the recipe's seed and the
 * numbers in cohort_local_work, whoever computes it. */
#ifndef COHORT_TRAIN_LOCAL_H
#define COHORT_TRAIN_LOCAL_H

#include "optim/optimizer.h"
#include "train/job.h"

typedef struct cohort_local cohort_local;

/* One client's training. */
typedef struct cohort_local_work {
    const uint64_t *rows; /* [row_count], at least one; of the data set */
    size_t row_count;
    uint64_t key;  /* tells the client's random numbers from those of others */
    uint64_t time; /* tells this training from the client's others (the round) */
    size_t epochs; /* times through the rows */
    double lr;     /* constant */
    /* Changes the gradients before each update (a proximal term, say); NULL: does not. */
    void (*adjust)(void *context, real *grads, const real *params);
    void *adjust_context;
    /* Asked before each step; true ends the training. NULL: never. */
    bool (*should_stop)(void *context);
    void *stop_context;
} cohort_local_work;

typedef struct cohort_local_result {
    double loss, correct, count; /* sums over the positions seen */
    uint64_t steps;
    bool stopped;  /* before its end */
    bool diverged; /* a gradient was not finite; the weights then need not show it */
} cohort_local_result;

/* *out = a trainer by RECIPE's optimizer on DATASET (borrowed, as RECIPE): batches of BATCH
 * rows, fewer for clients that have fewer, none with more than MOST_ROWS. Rank-local.
 * COHORT_USAGE, COHORT_DATA as opening a run. */
COHORT_NODISCARD cohort_status cohort_local_create(cohort_local **out, const cohort_recipe *recipe,
                                                   cohort_dataset *dataset, size_t batch,
                                                   size_t most_rows);
void cohort_local_destroy(cohort_local *local);

/* The network in training and what it is trained against; owned by LOCAL. */
cohort_model *cohort_local_model(cohort_local *local);
const cohort_loss *cohort_local_loss(const cohort_local *local);
/* Its weights [params_count] and state [state_count]: set them before training, read them
 * after. */
real *cohort_local_params(cohort_local *local);
real *cohort_local_state(cohort_local *local);

/* Trains on WORK's rows with a fresh optimizer. Weights that are no longer finite are no
 * error here: the caller looks at them. COHORT_DATA when rows cannot be read. */
COHORT_NODISCARD cohort_status cohort_local_train(cohort_local_result *result, cohort_local *local,
                                                  const cohort_local_work *work);

#endif
