/* A client of a secure sum. */
#include <sodium.h>
#include <string.h>

#include "base/memory.h"
#include "privacy/secure_private.h"

_Static_assert(COHORT_SECURE_KEY_BYTES == crypto_box_PUBLICKEYBYTES &&
                   COHORT_SECURE_KEY_BYTES == crypto_box_SECRETKEYBYTES &&
                   COHORT_SECURE_KEYS_BYTES == 2 * crypto_box_PUBLICKEYBYTES,
               "keys");
_Static_assert(COHORT_SECURE_SEALED_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
                                                 2 * COHORT_SECURE_REVEALED_BYTES +
                                                 crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "sealed shares");

enum {
    NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    PLAIN_BYTES = 2 * COHORT_SECURE_REVEALED_BYTES,
    ABOUT_BYTES = COHORT_SECURE_SESSION_BYTES + 3 * 8
};

/* In locked memory. */
typedef struct client_secrets {
    unsigned char message_key[COHORT_SECURE_KEY_BYTES], mask_key[COHORT_SECURE_KEY_BYTES];
    unsigned char seed[COHORT_SECURE_KEY_BYTES];
} client_secrets;

struct cohort_secure_client {
    cohort_secure_plan plan;
    size_t index;
    cohort_secure_phase phase; /* the next it takes part in */
    client_secrets *secrets;
    unsigned char keys[COHORT_SECURE_KEYS_BYTES]; /* public: messages, masks */
    unsigned char *roster;                        /* [clients][COHORT_SECURE_KEYS_BYTES] */
    cohort_secure_pair *pairs;                    /* [clients] shares it holds of others */
    bool *is_in;                                  /* [clients] whose shares it holds */
};

static const unsigned char *keys_of(const cohort_secure_client *client, size_t v)
{
    return client->roster + v * COHORT_SECURE_KEYS_BYTES;
}

static bool has_keys(const cohort_secure_client *client, size_t v)
{
    return !sodium_is_zero(keys_of(client, v), COHORT_SECURE_KEYS_BYTES);
}

static cohort_status check_left(const cohort_secure_client *client, size_t left)
{
    COHORT_REQUIRE(left >= client->plan.threshold, COHORT_PEER,
                   "secure sum of round %llu: %zu of %zu clients are left, fewer than the "
                   "threshold of %zu; this client says no more",
                   (unsigned long long)client->plan.round, left, client->plan.clients,
                   client->plan.threshold);
    return COHORT_OK;
}

cohort_status cohort_secure_client_create(cohort_secure_client **out,
                                          const cohort_secure_plan *plan, size_t index)
{
    cohort_secure_client *client = NULL;
    cohort_status status = COHORT_OK;
    *out = NULL;
    COHORT_TRY(cohort_secure_check(plan));
    COHORT_REQUIRE(sodium_init() >= 0, COHORT_INTERNAL, "libsodium finds no source of randomness");
    COHORT_TRY(COHORT_ALLOCATE(&client, 1));
    client->plan = *plan;
    client->index = index;
    COHORT_TRY_DONE(status,
                    COHORT_ALLOCATE(&client->roster, plan->clients * COHORT_SECURE_KEYS_BYTES));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&client->pairs, plan->clients));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&client->is_in, plan->clients));
    client->secrets = sodium_malloc(sizeof *client->secrets);
    COHORT_REQUIRE_DONE(status, client->secrets, COHORT_MEMORY,
                        "no memory can be locked for the keys of a secure sum; raise ulimit -l");
    crypto_box_keypair(client->keys, client->secrets->message_key);
    crypto_box_keypair(client->keys + COHORT_SECURE_KEY_BYTES, client->secrets->mask_key);
    randombytes_buf(client->secrets->seed, COHORT_SECURE_KEY_BYTES);
    *out = client;
    client = NULL;
done:
    cohort_secure_client_destroy(client);
    return status;
}

void cohort_secure_client_destroy(cohort_secure_client *client)
{
    if (!client)
        return;
    if (client->pairs)
        sodium_memzero(client->pairs, client->plan.clients * sizeof *client->pairs);
    sodium_free(client->secrets);
    cohort_free(client->roster);
    cohort_free(client->pairs);
    cohort_free(client->is_in);
    cohort_free(client);
}

void cohort_secure_client_advertise(unsigned char *keys, const cohort_secure_client *client)
{
    memcpy(keys, client->keys, COHORT_SECURE_KEYS_BYTES);
}

/* --- Sealing shares --- */

/* What a box is about, so that none passes for another: round, sender, receiver. */
static void describe(unsigned char about[ABOUT_BYTES], const cohort_secure_plan *plan, size_t from,
                     size_t to)
{
    memcpy(about, plan->session, COHORT_SECURE_SESSION_BYTES);
    cohort_secure_store(about + COHORT_SECURE_SESSION_BYTES, plan->round);
    cohort_secure_store(about + COHORT_SECURE_SESSION_BYTES + 8, (uint64_t)from);
    cohort_secure_store(about + COHORT_SECURE_SESSION_BYTES + 16, (uint64_t)to);
}

static cohort_status agree(unsigned char key[crypto_box_BEFORENMBYTES],
                           const cohort_secure_client *client, size_t v)
{
    COHORT_REQUIRE(crypto_box_beforenm(key, keys_of(client, v), client->secrets->message_key) == 0,
                   COHORT_DATA, "secure sum: client %zu's public message key is none", v);
    return COHORT_OK;
}

static cohort_status seal(unsigned char *sealed, const cohort_secure_client *client, size_t v,
                          const cohort_secure_pair *pair)
{
    unsigned char about[ABOUT_BYTES], key[crypto_box_BEFORENMBYTES], plain[PLAIN_BYTES];
    COHORT_TRY(agree(key, client, v));
    describe(about, &client->plan, client->index, v);
    for (size_t i = 0; i < COHORT_SHAMIR_LIMBS; i++) {
        cohort_secure_store(plain + 8 * i, pair->key.limbs[i]);
        cohort_secure_store(plain + COHORT_SECURE_REVEALED_BYTES + 8 * i, pair->seed.limbs[i]);
    }
    randombytes_buf(sealed, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + NONCE_BYTES, NULL, plain, sizeof plain,
                                               about, sizeof about, NULL, sealed, key);
    sodium_memzero(key, sizeof key);
    sodium_memzero(plain, sizeof plain);
    return COHORT_OK;
}

static cohort_status unseal(cohort_secure_pair *pair, const cohort_secure_client *client, size_t v,
                            const unsigned char *sealed)
{
    unsigned char about[ABOUT_BYTES], key[crypto_box_BEFORENMBYTES], plain[PLAIN_BYTES];
    COHORT_TRY(agree(key, client, v));
    describe(about, &client->plan, v, client->index);
    const int opened = crypto_aead_xchacha20poly1305_ietf_decrypt(
        plain, NULL, NULL, sealed + NONCE_BYTES, COHORT_SECURE_SEALED_BYTES - NONCE_BYTES, about,
        sizeof about, sealed, key);
    sodium_memzero(key, sizeof key);
    COHORT_REQUIRE(opened == 0, COHORT_DATA,
                   "secure sum: the shares of client %zu for client %zu have been tampered with", v,
                   client->index);
    for (size_t i = 0; i < COHORT_SHAMIR_LIMBS; i++) {
        pair->key.limbs[i] = cohort_secure_load(plain + 8 * i);
        pair->seed.limbs[i] = cohort_secure_load(plain + COHORT_SECURE_REVEALED_BYTES + 8 * i);
    }
    sodium_memzero(plain, sizeof plain);
    return COHORT_OK;
}

/* --- Phases --- */

static cohort_status take_roster(cohort_secure_client *client, const unsigned char *roster)
{
    size_t left = 0;
    COHORT_REQUIRE(client->phase == COHORT_SECURE_KEYS, COHORT_DATA,
                   "secure sum: a second list of keys for client %zu", client->index);
    memcpy(client->roster, roster, client->plan.clients * COHORT_SECURE_KEYS_BYTES);
    COHORT_REQUIRE(memcmp(keys_of(client, client->index), client->keys, sizeof client->keys) == 0,
                   COHORT_DATA, "secure sum: the list has other keys than client %zu's own",
                   client->index);
    for (size_t v = 0; v < client->plan.clients; v++)
        left += has_keys(client, v);
    return check_left(client, left);
}

/* All shares of one secret, one by one into pairs. */
static cohort_status split_into(cohort_secure_pair *pairs, cohort_shamir_share *room,
                                const cohort_secure_client *client)
{
    const cohort_secure_plan *plan = &client->plan;
    COHORT_TRY(
        cohort_shamir_split(room, client->secrets->mask_key, plan->clients, plan->threshold));
    for (size_t v = 0; v < plan->clients; v++)
        pairs[v].key = room[v];
    COHORT_TRY(cohort_shamir_split(room, client->secrets->seed, plan->clients, plan->threshold));
    for (size_t v = 0; v < plan->clients; v++)
        pairs[v].seed = room[v];
    return COHORT_OK;
}

cohort_status cohort_secure_client_share(unsigned char *message, cohort_secure_client *client,
                                         const unsigned char *roster)
{
    const cohort_secure_plan *plan = &client->plan;
    cohort_secure_pair *pairs = NULL;
    cohort_shamir_share *room = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(take_roster(client, roster));
    memset(message, 0, cohort_secure_shares_bytes(plan));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&pairs, plan->clients));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&room, plan->clients));
    COHORT_TRY_DONE(status, split_into(pairs, room, client));
    cohort_secure_commit(message, plan, client->index, client->secrets->seed);
    for (size_t v = 0; v < plan->clients; v++) {
        unsigned char *sealed =
            message + COHORT_SECURE_COMMIT_BYTES + v * COHORT_SECURE_SEALED_BYTES;
        if (v != client->index && has_keys(client, v))
            COHORT_TRY_DONE(status, seal(sealed, client, v, &pairs[v]));
    }
    client->pairs[client->index] = pairs[client->index];
    client->phase = COHORT_SECURE_MASKED;
done:
    if (pairs)
        sodium_memzero(pairs, plan->clients * sizeof *pairs);
    if (room)
        sodium_memzero(room, plan->clients * sizeof *room);
    cohort_free(pairs);
    cohort_free(room);
    return status;
}

static cohort_status take_pairs(cohort_secure_client *client, const unsigned char *sealed,
                                const bool *has_shared)
{
    size_t left = 0;
    COHORT_REQUIRE(client->phase == COHORT_SECURE_MASKED && has_shared[client->index], COHORT_DATA,
                   "secure sum: shares came out of turn to client %zu", client->index);
    for (size_t v = 0; v < client->plan.clients; v++) {
        client->is_in[v] = has_shared[v];
        left += has_shared[v];
        if (!has_shared[v] || v == client->index)
            continue;
        COHORT_REQUIRE(has_keys(client, v), COHORT_DATA,
                       "secure sum: shares of client %zu, whose keys never came", v);
        COHORT_TRY(unseal(&client->pairs[v], client, v, sealed + v * COHORT_SECURE_SEALED_BYTES));
    }
    return check_left(client, left);
}

cohort_status cohort_secure_client_mask(unsigned char *masked, cohort_secure_client *client,
                                        const unsigned char *sealed, const bool *has_shared,
                                        const uint64_t *values)
{
    const cohort_secure_plan *plan = &client->plan;
    uint64_t *sum = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY(take_pairs(client, sealed, has_shared));
    COHORT_TRY(COHORT_ALLOCATE(&sum, plan->count));
    memcpy(sum, values, plan->count * sizeof *sum);
    cohort_secure_self_mask(sum, plan, client->index, client->secrets->seed, 1);
    for (size_t v = 0; v < plan->clients; v++)
        if (client->is_in[v] && v != client->index)
            COHORT_TRY_DONE(status, cohort_secure_pair_mask(
                                        sum, plan, client->index, v, client->secrets->mask_key,
                                        keys_of(client, v) + COHORT_SECURE_KEY_BYTES, 1));
    cohort_secure_pack(masked, plan, sum);
    client->phase = COHORT_SECURE_REVEAL;
done:
    cohort_free(sum);
    return status;
}

cohort_status cohort_secure_client_reveal(unsigned char *message, cohort_secure_client *client,
                                          const bool *has_sent)
{
    size_t left = 0;
    COHORT_REQUIRE(client->phase == COHORT_SECURE_REVEAL, COHORT_DATA,
                   "secure sum: client %zu reveals shares once, after its vector", client->index);
    for (size_t v = 0; v < client->plan.clients; v++) {
        left += has_sent[v];
        COHORT_REQUIRE(!has_sent[v] || client->is_in[v], COHORT_DATA,
                       "secure sum: client %zu is said to have sent a vector without shares", v);
    }
    COHORT_TRY(check_left(client, left));
    client->phase = COHORT_SECURE_DONE;
    memset(message, 0, cohort_secure_reveal_bytes(&client->plan));
    for (size_t v = 0; v < client->plan.clients; v++) {
        const cohort_shamir_share *share =
            has_sent[v] ? &client->pairs[v].seed : &client->pairs[v].key;
        for (size_t i = 0; client->is_in[v] && i < COHORT_SHAMIR_LIMBS; i++)
            cohort_secure_store(message + v * COHORT_SECURE_REVEALED_BYTES + 8 * i,
                                share->limbs[i]);
    }
    return COHORT_OK;
}
