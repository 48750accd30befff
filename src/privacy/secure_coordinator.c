/* The coordinator of a secure sum. */
#include <sodium.h>
#include <string.h>

#include "base/memory.h"
#include "privacy/secure_private.h"

struct cohort_secure_coordinator {
    cohort_secure_plan plan;
    cohort_secure_phase phase;
    bool *has[COHORT_SECURE_DONE]; /* [clients] who has sent in each phase */
    unsigned char *roster;         /* [clients][COHORT_SECURE_KEYS_BYTES] */
    unsigned char *shares;         /* [clients] messages of phase 2 */
    unsigned char *revealed;       /* [clients] messages of phase 4 */
    uint64_t *sum;                 /* [count] */
};

cohort_status cohort_secure_coordinator_create(cohort_secure_coordinator **out,
                                               const cohort_secure_plan *plan)
{
    cohort_secure_coordinator *coordinator = NULL;
    cohort_status status = COHORT_OK;
    const size_t clients = plan->clients;
    *out = NULL;
    COHORT_TRY(cohort_secure_check(plan));
    COHORT_REQUIRE(sodium_init() >= 0, COHORT_INTERNAL, "libsodium finds no source of randomness");
    COHORT_TRY(COHORT_ALLOCATE(&coordinator, 1));
    coordinator->plan = *plan;
    for (int phase = 0; phase < COHORT_SECURE_DONE; phase++)
        COHORT_TRY_DONE(status, COHORT_ALLOCATE(&coordinator->has[phase], clients));
    COHORT_TRY_DONE(status,
                    COHORT_ALLOCATE(&coordinator->roster, clients * COHORT_SECURE_KEYS_BYTES));
    COHORT_TRY_DONE(status, cohort_allocate((void **)&coordinator->shares, clients,
                                            cohort_secure_shares_bytes(plan)));
    COHORT_TRY_DONE(status, cohort_allocate((void **)&coordinator->revealed, clients,
                                            cohort_secure_reveal_bytes(plan)));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&coordinator->sum, plan->count));
    *out = coordinator;
    coordinator = NULL;
done:
    cohort_secure_coordinator_destroy(coordinator);
    return status;
}

void cohort_secure_coordinator_destroy(cohort_secure_coordinator *coordinator)
{
    if (!coordinator)
        return;
    for (int phase = 0; phase < COHORT_SECURE_DONE; phase++)
        cohort_free(coordinator->has[phase]);
    cohort_free(coordinator->roster);
    cohort_free(coordinator->shares);
    cohort_free(coordinator->revealed);
    cohort_free(coordinator->sum);
    cohort_free(coordinator);
}

/* --- Messages --- */

static cohort_status enter(cohort_secure_coordinator *coordinator, size_t index)
{
    const cohort_secure_phase phase = coordinator->phase;
    COHORT_REQUIRE(phase < COHORT_SECURE_DONE && index < coordinator->plan.clients, COHORT_DATA,
                   "secure sum: a message of client %zu after the end", index);
    COHORT_REQUIRE(phase == COHORT_SECURE_KEYS || coordinator->has[phase - 1][index], COHORT_DATA,
                   "secure sum: a message of client %zu, which had dropped out", index);
    COHORT_REQUIRE(!coordinator->has[phase][index], COHORT_DATA,
                   "secure sum: a second message of client %zu in one phase", index);
    coordinator->has[phase][index] = true;
    return COHORT_OK;
}

cohort_status cohort_secure_take(cohort_secure_coordinator *coordinator, size_t index,
                                 const unsigned char *message)
{
    const cohort_secure_plan *plan = &coordinator->plan;
    const size_t shares = cohort_secure_shares_bytes(plan),
                 revealed = cohort_secure_reveal_bytes(plan);
    COHORT_REQUIRE(coordinator->phase != COHORT_SECURE_KEYS ||
                       !sodium_is_zero(message, COHORT_SECURE_KEYS_BYTES),
                   COHORT_DATA, "secure sum: the keys of client %zu are none", index);
    COHORT_TRY(enter(coordinator, index));
    switch (coordinator->phase) {
    case COHORT_SECURE_KEYS:
        memcpy(coordinator->roster + index * COHORT_SECURE_KEYS_BYTES, message,
               COHORT_SECURE_KEYS_BYTES);
        break;
    case COHORT_SECURE_SHARES:
        memcpy(coordinator->shares + index * shares, message, shares);
        break;
    case COHORT_SECURE_MASKED:
        cohort_secure_add_packed(coordinator->sum, plan, message);
        break;
    case COHORT_SECURE_REVEAL:
        memcpy(coordinator->revealed + index * revealed, message, revealed);
        break;
    case COHORT_SECURE_DONE:
        break;
    }
    return COHORT_OK;
}

cohort_status cohort_secure_note(cohort_secure_coordinator *coordinator, size_t index)
{
    COHORT_REQUIRE(coordinator->phase == COHORT_SECURE_MASKED, COHORT_INTERNAL,
                   "secure sum: client %zu noted out of turn", index);
    return enter(coordinator, index);
}

cohort_status cohort_secure_end_phase(cohort_secure_coordinator *coordinator)
{
    static const char *const what[] = {"keys", "shares", "masked vectors", "shares for the sum"};
    const cohort_secure_plan *plan = &coordinator->plan;
    size_t left = 0;
    COHORT_REQUIRE(coordinator->phase < COHORT_SECURE_DONE, COHORT_INTERNAL,
                   "secure sum: no phase is under way");
    for (size_t v = 0; v < plan->clients; v++)
        left += coordinator->has[coordinator->phase][v];
    COHORT_REQUIRE(left >= plan->threshold, COHORT_PEER,
                   "secure sum of round %llu is abandoned: %zu of %zu clients sent their %s, fewer "
                   "than the threshold of %zu; nothing was learned of any update",
                   (unsigned long long)plan->round + 1, left, plan->clients,
                   what[coordinator->phase], plan->threshold);
    coordinator->phase = (cohort_secure_phase)((int)coordinator->phase + 1);
    return COHORT_OK;
}

cohort_secure_phase cohort_secure_phase_of(const cohort_secure_coordinator *coordinator)
{
    return coordinator->phase;
}

const bool *cohort_secure_has(const cohort_secure_coordinator *coordinator,
                              cohort_secure_phase phase)
{
    return coordinator->has[phase];
}

const unsigned char *cohort_secure_roster(const cohort_secure_coordinator *coordinator)
{
    return coordinator->roster;
}

uint64_t *cohort_secure_partial(cohort_secure_coordinator *coordinator)
{
    return coordinator->sum;
}

static const unsigned char *shares_of(const cohort_secure_coordinator *coordinator, size_t v)
{
    return coordinator->shares + v * cohort_secure_shares_bytes(&coordinator->plan);
}

void cohort_secure_deliver(unsigned char *sealed, const cohort_secure_coordinator *coordinator,
                           size_t index)
{
    for (size_t v = 0; v < coordinator->plan.clients; v++)
        memcpy(sealed + v * COHORT_SECURE_SEALED_BYTES,
               shares_of(coordinator, v) + COHORT_SECURE_COMMIT_BYTES +
                   index * COHORT_SECURE_SEALED_BYTES,
               COHORT_SECURE_SEALED_BYTES);
}

/* --- The end --- */

/* The first `threshold` clients that answered: their weights, and room for a share of each. */
typedef struct restorer {
    size_t *owners;
    uint64_t *weights;
    cohort_shamir_share *shares;
} restorer;

/* SECRET of client V from the answers. */
static bool restore(unsigned char *secret, const restorer *by,
                    const cohort_secure_coordinator *coordinator, size_t v)
{
    const cohort_secure_plan *plan = &coordinator->plan;
    for (size_t i = 0; i < plan->threshold; i++) {
        const unsigned char *share = coordinator->revealed +
                                     by->owners[i] * cohort_secure_reveal_bytes(plan) +
                                     v * COHORT_SECURE_REVEALED_BYTES;
        for (size_t k = 0; k < COHORT_SHAMIR_LIMBS; k++)
            by->shares[i].limbs[k] = cohort_secure_load(share + 8 * k);
    }
    return cohort_shamir_join(secret, by->weights, by->shares, plan->threshold);
}

static cohort_status remove_self_mask(cohort_secure_coordinator *coordinator, const restorer *by,
                                      size_t v)
{
    unsigned char seed[COHORT_SECURE_KEY_BYTES], commitment[COHORT_SECURE_COMMIT_BYTES];
    bool fits = restore(seed, by, coordinator, v);
    cohort_secure_commit(commitment, &coordinator->plan, v, seed);
    fits = fits && memcmp(commitment, shares_of(coordinator, v), sizeof commitment) == 0;
    COHORT_REQUIRE(fits, COHORT_DATA,
                   "secure sum: the shares of client %zu's self-mask do not fit its commitment: "
                   "some client falsified them",
                   v);
    cohort_secure_self_mask(coordinator->sum, &coordinator->plan, v, seed, -1);
    sodium_memzero(seed, sizeof seed);
    return COHORT_OK;
}

/* Client V has dropped out: takes its masks off the vectors that came. */
static cohort_status remove_pair_masks(cohort_secure_coordinator *coordinator, const restorer *by,
                                       size_t v)
{
    const cohort_secure_plan *plan = &coordinator->plan;
    const unsigned char *roster = coordinator->roster + COHORT_SECURE_KEY_BYTES;
    unsigned char key[COHORT_SECURE_KEY_BYTES], public_key[COHORT_SECURE_KEY_BYTES];
    cohort_status status = COHORT_OK;
    bool fits = restore(key, by, coordinator, v);
    fits = fits && crypto_scalarmult_base(public_key, key) == 0 &&
           memcmp(public_key, roster + v * COHORT_SECURE_KEYS_BYTES, sizeof public_key) == 0;
    COHORT_REQUIRE(fits, COHORT_DATA,
                   "secure sum: the shares of client %zu's mask key do not fit its public key: "
                   "some client falsified them",
                   v);
    for (size_t u = 0; status == COHORT_OK && u < plan->clients; u++)
        if (coordinator->has[COHORT_SECURE_MASKED][u])
            status = cohort_secure_pair_mask(coordinator->sum, plan, u, v, key,
                                             roster + u * COHORT_SECURE_KEYS_BYTES, -1);
    sodium_memzero(key, sizeof key);
    return status;
}

static cohort_status remove_masks(cohort_secure_coordinator *coordinator, const restorer *by)
{
    for (size_t v = 0; v < coordinator->plan.clients; v++) {
        if (coordinator->has[COHORT_SECURE_MASKED][v])
            COHORT_TRY(remove_self_mask(coordinator, by, v));
        else if (coordinator->has[COHORT_SECURE_SHARES][v])
            COHORT_TRY(remove_pair_masks(coordinator, by, v));
    }
    return COHORT_OK;
}

cohort_status cohort_secure_finish(uint64_t *sum, cohort_secure_coordinator *coordinator)
{
    const cohort_secure_plan *plan = &coordinator->plan;
    const uint64_t keep = UINT64_MAX >> (64 - plan->bits);
    restorer by = {0};
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE(coordinator->phase == COHORT_SECURE_DONE, COHORT_INTERNAL,
                   "secure sum: asked for before its end");
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&by.owners, plan->threshold));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&by.weights, plan->threshold));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&by.shares, plan->threshold));
    size_t found = 0;
    for (size_t v = 0; found < plan->threshold; v++)
        if (coordinator->has[COHORT_SECURE_REVEAL][v])
            by.owners[found++] = v;
    cohort_shamir_weights(by.weights, by.owners, plan->threshold);
    COHORT_TRY_DONE(status, remove_masks(coordinator, &by));
    for (size_t i = 0; i < plan->count; i++)
        sum[i] = coordinator->sum[i] & keep;
done:
    cohort_free(by.owners);
    cohort_free(by.weights);
    cohort_free(by.shares);
    return status;
}
