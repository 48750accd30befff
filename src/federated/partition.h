/* Which rows of the training data each simulated client has: a function of the recipe, the
 * seed and the labels, the same on every rank. */
#ifndef COHORT_FEDERATED_PARTITION_H
#define COHORT_FEDERATED_PARTITION_H

#include "data/dataset.h"
#include "data/sampler.h"
#include "recipe/recipe.h"

typedef struct cohort_partition {
    size_t client_count;
    size_t row_count;
    uint64_t *rows; /* [row_count]: client k's are [begins[k], begins[k + 1]) */
    size_t *begins; /* [client_count + 1] */
} cohort_partition;

/* What decides the rows' clients. */
typedef struct cohort_partition_source {
    const uint64_t *rows; /* [row_count] the rows to deal out, in ascending order */
    size_t row_count;
    const int32_t *keys; /* [row_count] label (shards, dirichlet) or group from 0 (by) */
    size_t group_count;  /* by: groups there are */
} cohort_partition_source;

/* Deals SOURCE's rows to CLIENTS clients (by: 0 = one a group) by RECIPE:
 *   iid        a permutation by seed, cut into runs as even as possible
 *   shards     rows sorted by label, cut into clients x per_client runs, dealt by seed
 *   dirichlet  for every class proportions over the clients from Dirichlet(alpha, ...); a client
 *              may be left without rows
 *   by         groups in an order drawn by seed, dealt in turn
 * Within a client rows ascend. Rank-local. COHORT_USAGE when there are more clients than rows,
 * runs or groups. Free with cohort_partition_clear. */
COHORT_NODISCARD cohort_status cohort_partition_make(cohort_partition *partition,
                                                     const cohort_variant *recipe, size_t clients,
                                                     const cohort_partition_source *source,
                                                     uint64_t seed);
void cohort_partition_clear(cohort_partition *partition);

/* How many rows client CLIENT has. */
size_t cohort_partition_count(const cohort_partition *partition, size_t client);
/* Reorders every client's rows by SEED, so that the last test_count of them can be kept for
 * testing; nothing with a TEST_SHARE of 0. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_partition_hold_out(cohort_partition *partition,
                                                         double test_share, uint64_t seed);
/* round(rows x TEST_SHARE), but at least one row is left to train on. */
size_t cohort_partition_test_count(const cohort_partition *partition, size_t client,
                                   double test_share);

#endif
