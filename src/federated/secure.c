#include "federated/secure.h"

#include <string.h>

#include "base/memory.h"

struct cohort_secure_round {
    cohort_secure_plan plan;
    cohort_secure_client **clients; /* [plan.clients]; NULL where another rank plays it */
    cohort_secure_coordinator *coordinator;
    unsigned char *message, *sealed; /* the longest a client sends; what it gets sealed */
    uint64_t *all;                   /* every client's message of a phase, as words to sum */
    size_t all_words;
};

static const cohort_secure_recipe *recipe_of(const cohort_federated *federated)
{
    const cohort_variant *variant = &federated->how->secure_aggregation;
    return strcmp(variant->table->name, "false") == 0 ? NULL : variant->config;
}

bool cohort_federated_secure_is(const cohort_federated *federated)
{
    return recipe_of(federated) != NULL;
}

cohort_secure_plan cohort_federated_secure_plan(const cohort_federated *federated, size_t clients)
{
    return (cohort_secure_plan){
        .clients = clients,
        .threshold = cohort_secure_threshold(clients, recipe_of(federated)->threshold),
        .count = federated->exchange.count,
        .bits = federated->fixed.sum_bits,
        .round = federated->progress.epoch,
    };
}

size_t cohort_federated_secure_least(const cohort_federated *federated)
{
    return cohort_federated_secure_is(federated)
               ? cohort_federated_secure_plan(federated, federated->round.count).threshold
               : 0;
}

cohort_status cohort_federated_secure_check(const cohort_federated *federated)
{
    if (!cohort_federated_secure_is(federated))
        return COHORT_OK;
    COHORT_REQUIRE(federated->chosen_most >= 2, COHORT_USAGE,
                   "federated.secure_aggregation hides an update among others, but rounds have one "
                   "client only; raise federated.fraction or set min_clients: 2 or more");
    const cohort_secure_plan plan = cohort_federated_secure_plan(federated, federated->chosen_most);
    return cohort_secure_check(&plan);
}

/* --- Messages by way of all ranks --- */

static void put(struct cohort_secure_round *secure, size_t index, size_t bytes)
{
    memcpy((unsigned char *)secure->all + index * bytes, secure->message, bytes);
}

/* Where each client's BYTES (a multiple of 8) stand on one rank and zeros on the others, all have
 * them. Collective. */
static cohort_status exchange(struct cohort_secure_round *secure, cohort_comm *comm, size_t bytes)
{
    return cohort_comm_sum_integers(comm, secure->all,
                                    secure->plan.clients * bytes / sizeof *secure->all);
}

/* The coordinator takes the messages of the clients that WHO (NULL: all) names. */
static cohort_status take_all(struct cohort_secure_round *secure, size_t bytes, const bool *who)
{
    for (size_t i = 0; i < secure->plan.clients; i++)
        if (!who || who[i])
            COHORT_TRY(cohort_secure_take(secure->coordinator, i,
                                          (unsigned char *)secure->all + i * bytes));
    memset(secure->all, 0, secure->all_words * sizeof *secure->all);
    return cohort_secure_end_phase(secure->coordinator);
}

/* --- The round --- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static cohort_status open_round(cohort_federated *federated)
{
    struct cohort_secure_round *secure = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&secure, 1));
    federated->secure = secure;
    secure->plan = cohort_federated_secure_plan(federated, federated->round.count);
    const cohort_secure_plan *plan = &secure->plan;
    const size_t most = larger(cohort_secure_shares_bytes(plan),
                               larger(cohort_secure_reveal_bytes(plan), COHORT_SECURE_KEYS_BYTES));
    secure->all_words = plan->clients * (most / sizeof *secure->all);
    COHORT_TRY(COHORT_ALLOCATE(&secure->clients, plan->clients));
    COHORT_TRY(COHORT_ALLOCATE(&secure->all, secure->all_words));
    COHORT_TRY(COHORT_ALLOCATE(&secure->message, larger(most, cohort_secure_masked_bytes(plan))));
    COHORT_TRY(COHORT_ALLOCATE(&secure->sealed, plan->clients * COHORT_SECURE_SEALED_BYTES));
    COHORT_TRY(cohort_secure_coordinator_create(&secure->coordinator, plan));
    for (size_t i = 0; i < plan->clients; i++) {
        if (federated->round.ranks[i] != cohort_comm_rank(federated->comm))
            continue;
        COHORT_TRY(cohort_secure_client_create(&secure->clients[i], plan, i));
        cohort_secure_client_advertise(secure->message, secure->clients[i]);
        put(secure, i, COHORT_SECURE_KEYS_BYTES);
    }
    return COHORT_OK;
}

static cohort_status share_mine(struct cohort_secure_round *secure)
{
    COHORT_TRY(take_all(secure, COHORT_SECURE_KEYS_BYTES, NULL));
    for (size_t i = 0; i < secure->plan.clients; i++) {
        if (!secure->clients[i])
            continue;
        COHORT_TRY(cohort_secure_client_share(secure->message, secure->clients[i],
                                              cohort_secure_roster(secure->coordinator)));
        put(secure, i, cohort_secure_shares_bytes(&secure->plan));
    }
    return COHORT_OK;
}

cohort_status cohort_federated_secure_begin(cohort_federated *federated)
{
    cohort_comm *comm = federated->comm;
    if (!cohort_federated_secure_is(federated))
        return COHORT_OK;
    cohort_federated_secure_clear(federated);
    COHORT_TRY(cohort_comm_agree(comm, open_round(federated)));
    struct cohort_secure_round *secure = federated->secure;
    COHORT_TRY(exchange(secure, comm, COHORT_SECURE_KEYS_BYTES));
    COHORT_TRY(cohort_comm_agree(comm, share_mine(secure)));
    COHORT_TRY(exchange(secure, comm, cohort_secure_shares_bytes(&secure->plan)));
    return cohort_comm_agree(comm,
                             take_all(secure, cohort_secure_shares_bytes(&secure->plan), NULL));
}

cohort_status cohort_federated_secure_take(cohort_federated *federated, size_t index)
{
    struct cohort_secure_round *secure = federated->secure;
    cohort_secure_deliver(secure->sealed, secure->coordinator, index);
    COHORT_TRY(cohort_secure_client_mask(
        secure->message, secure->clients[index], secure->sealed,
        cohort_secure_has(secure->coordinator, COHORT_SECURE_SHARES), federated->sums));
    return cohort_secure_take(secure->coordinator, index, secure->message);
}

/* Those whose vectors came say what takes the masks off. */
static cohort_status reveal_mine(cohort_federated *federated)
{
    struct cohort_secure_round *secure = federated->secure;
    const bool *has_sent = cohort_secure_has(secure->coordinator, COHORT_SECURE_MASKED);
    for (size_t i = 0; i < secure->plan.clients; i++)
        if (federated->round.dropped[i] == COHORT_DROPPED_NOT && !secure->clients[i])
            COHORT_TRY(cohort_secure_note(secure->coordinator, i));
    COHORT_TRY(cohort_secure_end_phase(secure->coordinator));
    for (size_t i = 0; i < secure->plan.clients; i++) {
        if (!has_sent[i] || !secure->clients[i])
            continue;
        COHORT_TRY(cohort_secure_client_reveal(secure->message, secure->clients[i], has_sent));
        put(secure, i, cohort_secure_reveal_bytes(&secure->plan));
    }
    return COHORT_OK;
}

void cohort_federated_secure_sign(uint64_t *sum, size_t count, unsigned bits)
{
    const uint64_t sign = (uint64_t)1 << (bits - 1);
    for (size_t i = 0; i < count; i++)
        sum[i] = (sum[i] ^ sign) - sign;
}

static cohort_status finish(cohort_federated *federated)
{
    struct cohort_secure_round *secure = federated->secure;
    const cohort_secure_plan *plan = &secure->plan;
    COHORT_TRY(take_all(secure, cohort_secure_reveal_bytes(plan),
                        cohort_secure_has(secure->coordinator, COHORT_SECURE_MASKED)));
    COHORT_TRY(cohort_secure_finish(federated->sums, secure->coordinator));
    cohort_federated_secure_sign(federated->sums, plan->count, plan->bits);
    return COHORT_OK;
}

cohort_status cohort_federated_secure_end(cohort_federated *federated)
{
    cohort_comm *comm = federated->comm;
    struct cohort_secure_round *secure = federated->secure;
    COHORT_TRY(cohort_comm_sum_integers(comm, cohort_secure_partial(secure->coordinator),
                                        secure->plan.count));
    COHORT_TRY(cohort_comm_agree(comm, reveal_mine(federated)));
    COHORT_TRY(exchange(secure, comm, cohort_secure_reveal_bytes(&secure->plan)));
    COHORT_TRY(cohort_comm_agree(comm, finish(federated)));
    cohort_federated_secure_clear(federated);
    return COHORT_OK;
}

void cohort_federated_secure_clear(cohort_federated *federated)
{
    struct cohort_secure_round *secure = federated->secure;
    if (!secure)
        return;
    for (size_t i = 0; secure->clients && i < secure->plan.clients; i++)
        cohort_secure_client_destroy(secure->clients[i]);
    cohort_secure_coordinator_destroy(secure->coordinator);
    cohort_free(secure->clients);
    cohort_free(secure->all);
    cohort_free(secure->message);
    cohort_free(secure->sealed);
    cohort_free(secure);
    federated->secure = NULL;
}

double cohort_federated_secure_bytes_up(const cohort_federated *federated, bool is_kept)
{
    const cohort_secure_plan plan = cohort_federated_secure_plan(federated, federated->round.count);
    if (!is_kept)
        return (double)(COHORT_SECURE_KEYS_BYTES + cohort_secure_shares_bytes(&plan) +
                        2 * COHORT_FEDERATED_HEADER_BYTES);
    return (double)(cohort_secure_bytes_up(&plan) + 4 * COHORT_FEDERATED_HEADER_BYTES);
}

double cohort_federated_secure_bytes_down(const cohort_federated *federated)
{
    const cohort_secure_plan plan = cohort_federated_secure_plan(federated, federated->round.count);
    return (double)(cohort_secure_bytes_down(&plan) + 3 * COHORT_FEDERATED_HEADER_BYTES);
}
