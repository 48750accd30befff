#include "federated/partition.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"

/* `layer` keys of the random numbers here. */
enum { STREAM_IID, STREAM_SHARDS, STREAM_CLASS, STREAM_PROPORTIONS, STREAM_GROUPS, STREAM_HOLD };

/* Rows with their keys and owners, to be sorted. */
typedef struct dealt {
    uint64_t row;
    int32_t key;
    uint32_t client;
} dealt;

static int by_key(const void *a, const void *b)
{
    const dealt *left = a, *right = b;
    if (left->key != right->key)
        return left->key < right->key ? -1 : 1;
    return left->row < right->row ? -1 : left->row > right->row;
}

static int by_client(const void *a, const void *b)
{
    const dealt *left = a, *right = b;
    if (left->client != right->client)
        return left->client < right->client ? -1 : 1;
    return left->row < right->row ? -1 : left->row > right->row;
}

static void deal_iid(dealt *rows, size_t count, size_t clients, uint64_t seed)
{
    const cohort_permutation order =
        cohort_permutation_make(count, seed, COHORT_RNG_PARTITION, STREAM_IID, 0);
    for (size_t client = 0; client < clients; client++)
        for (size_t i = cohort_part_begin(count, client, clients);
             i < cohort_part_begin(count, client + 1, clients); i++)
            rows[cohort_permutation_at(&order, i)].client = (uint32_t)client;
}

static void deal_shards(dealt *rows, size_t count, size_t clients, size_t per_client, uint64_t seed)
{
    const size_t shards = clients * per_client;
    const cohort_permutation order =
        cohort_permutation_make(shards, seed, COHORT_RNG_PARTITION, STREAM_SHARDS, 0);
    qsort(rows, count, sizeof *rows, by_key);
    for (size_t i = 0; i < shards; i++) {
        const size_t shard = (size_t)cohort_permutation_at(&order, i);
        for (size_t at = cohort_part_begin(count, shard, shards);
             at < cohort_part_begin(count, shard + 1, shards); at++)
            rows[at].client = (uint32_t)(i / per_client);
    }
}

/* The logarithm of a Gamma(ALPHA, 1) variate (Marsaglia and Tsang 2000); in logarithms
 * because for a small ALPHA the variate itself underflows. */
static double log_gamma_variate(cohort_rng *rng, double alpha)
{
    const double d = (alpha < 1 ? alpha + 1 : alpha) - 1.0 / 3, c = 1 / sqrt(9 * d);
    double boost = 0;
    if (alpha < 1)
        boost = log(1 - cohort_rng_double(rng)) / alpha;
    for (;;) {
        const double x = cohort_rng_normal(rng), v = 1 + c * x;
        const double u = 1 - cohort_rng_double(rng);
        if (v > 0 && log(u) < 0.5 * x * x + d - d * v * v * v + 3 * d * log(v))
            return log(d) + 3 * log(v) + boost;
    }
}

/* Rows [begin, end) are of one class: shares them out by proportions SHARES [clients]. */
static void deal_class(dealt *rows, size_t begin, size_t end, double *shares, size_t clients,
                       double alpha, uint64_t seed)
{
    const uint64_t class = (uint64_t)(int64_t)rows[begin].key;
    const size_t count = end - begin;
    cohort_rng rng = cohort_rng_make(seed, COHORT_RNG_PARTITION, STREAM_PROPORTIONS, class, 0);
    const cohort_permutation order =
        cohort_permutation_make(count, seed, COHORT_RNG_PARTITION, STREAM_CLASS, class);
    double most = -INFINITY, total = 0, sum = 0;
    for (size_t i = 0; i < clients; i++) {
        shares[i] = log_gamma_variate(&rng, alpha);
        most = shares[i] > most ? shares[i] : most;
    }
    for (size_t i = 0; i < clients; i++)
        total += shares[i] = exp(shares[i] - most);
    size_t at = 0;
    for (size_t i = 0; i < clients; i++) {
        sum += shares[i];
        const size_t upto =
            i + 1 == clients ? count : (size_t)llround((double)count * (sum / total));
        for (; at < upto && at < count; at++)
            rows[begin + cohort_permutation_at(&order, at)].client = (uint32_t)i;
    }
}

static cohort_status deal_dirichlet(dealt *rows, size_t count, size_t clients, double alpha,
                                    uint64_t seed)
{
    double *shares = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&shares, clients));
    qsort(rows, count, sizeof *rows, by_key);
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && rows[end].key == rows[begin].key;)
            end++;
        deal_class(rows, begin, end, shares, clients, alpha, seed);
    }
    cohort_free(shares);
    return COHORT_OK;
}

static cohort_status deal_groups(dealt *rows, size_t count, size_t clients, size_t groups,
                                 uint64_t seed)
{
    uint32_t *owner = NULL;
    const cohort_permutation order =
        cohort_permutation_make(groups, seed, COHORT_RNG_PARTITION, STREAM_GROUPS, 0);
    COHORT_TRY(COHORT_ALLOCATE(&owner, groups));
    /* With a client for each group, client k is group k. */
    for (size_t i = 0; i < groups; i++)
        owner[clients == groups ? i : cohort_permutation_at(&order, i)] = (uint32_t)(i % clients);
    for (size_t i = 0; i < count; i++)
        rows[i].client = owner[rows[i].key];
    cohort_free(owner);
    return COHORT_OK;
}

static cohort_status check_counts(const cohort_variant *recipe, size_t clients, size_t runs,
                                  const cohort_partition_source *source)
{
    const bool groups = strcmp(recipe->table->name, "by") == 0;
    COHORT_REQUIRE(!groups || clients <= source->group_count, COHORT_USAGE,
                   "federated.clients is %zu, but %s has only %zu values; lower it, or leave it "
                   "out for a client each",
                   clients, ((const cohort_by_recipe *)recipe->config)->dataset,
                   source->group_count);
    COHORT_REQUIRE(clients > 0 && clients <= UINT32_MAX && runs / clients <= source->row_count &&
                       runs <= source->row_count,
                   COHORT_USAGE,
                   "%zu training rows are too few for %zu clients (%zu runs of rows); lower "
                   "federated.clients or per_client",
                   source->row_count, clients, runs);
    return COHORT_OK;
}

static cohort_status deal(dealt *rows, const cohort_variant *recipe, size_t clients,
                          const cohort_partition_source *source, uint64_t seed)
{
    const char *name = recipe->table->name;
    const size_t count = source->row_count;
    for (size_t i = 0; i < count; i++)
        rows[i] = (dealt){.row = source->rows[i], .key = source->keys ? source->keys[i] : 0};
    if (strcmp(name, "shards") == 0) {
        const size_t per_client = ((const cohort_shards_recipe *)recipe->config)->per_client;
        COHORT_TRY(check_counts(recipe, clients, clients * per_client, source));
        deal_shards(rows, count, clients, per_client, seed);
        return COHORT_OK;
    }
    COHORT_TRY(check_counts(recipe, clients, clients, source));
    if (strcmp(name, "dirichlet") == 0)
        return deal_dirichlet(rows, count, clients,
                              ((const cohort_dirichlet_recipe *)recipe->config)->alpha, seed);
    if (strcmp(name, "by") == 0)
        return deal_groups(rows, count, clients, source->group_count, seed);
    deal_iid(rows, count, clients, seed);
    return COHORT_OK;
}

cohort_status cohort_partition_make(cohort_partition *partition, const cohort_variant *recipe,
                                    size_t clients, const cohort_partition_source *source,
                                    uint64_t seed)
{
    const size_t count = source->row_count;
    dealt *rows = NULL;
    cohort_status status = COHORT_OK;
    if (clients == 0)
        clients = source->group_count;
    *partition = (cohort_partition){.client_count = clients, .row_count = count};
    COHORT_TRY(COHORT_ALLOCATE(&rows, count));
    COHORT_TRY_DONE(status, deal(rows, recipe, clients, source, seed));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&partition->rows, count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&partition->begins, clients + 1));
    qsort(rows, count, sizeof *rows, by_client);
    for (size_t i = 0; i < count; i++) {
        partition->rows[i] = rows[i].row;
        partition->begins[rows[i].client + 1]++;
    }
    for (size_t k = 0; k < clients; k++)
        partition->begins[k + 1] += partition->begins[k];
done:
    cohort_free(rows);
    if (status != COHORT_OK)
        cohort_partition_clear(partition);
    return status;
}

void cohort_partition_clear(cohort_partition *partition)
{
    cohort_free(partition->rows);
    cohort_free(partition->begins);
    *partition = (cohort_partition){0};
}

size_t cohort_partition_count(const cohort_partition *partition, size_t client)
{
    return partition->begins[client + 1] - partition->begins[client];
}

size_t cohort_partition_test_count(const cohort_partition *partition, size_t client,
                                   double test_share)
{
    const size_t count = cohort_partition_count(partition, client);
    const size_t held = (size_t)llround((double)count * test_share);
    return held < count ? held : count - (count > 0);
}

cohort_status cohort_partition_hold_out(cohort_partition *partition, double test_share,
                                        uint64_t seed)
{
    uint64_t *copy = NULL;
    if (!(test_share > 0))
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&copy, partition->row_count));
    memcpy(copy, partition->rows, partition->row_count * sizeof *copy);
    for (size_t client = 0; client < partition->client_count; client++) {
        const size_t begin = partition->begins[client],
                     count = cohort_partition_count(partition, client);
        const cohort_permutation order =
            cohort_permutation_make(count, seed, COHORT_RNG_PARTITION, STREAM_HOLD, client);
        for (size_t i = 0; i < count; i++)
            partition->rows[begin + i] = copy[begin + cohort_permutation_at(&order, i)];
    }
    cohort_free(copy);
    return COHORT_OK;
}
