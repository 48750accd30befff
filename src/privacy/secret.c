#include "privacy/secret.h"

#include <sodium.h>
#include <string.h>

enum { KEY_BYTES = crypto_stream_chacha20_KEYBYTES, BLOCK_WORDS = 8 };

struct cohort_secret {
    unsigned char key[KEY_BYTES];
};

/* Big-endian and little-endian machines get the same numbers. */
static void store_u64(unsigned char bytes[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
}

static void derive_key(unsigned char key[KEY_BYTES], cohort_secret_purpose purpose, uint64_t seed)
{
    unsigned char text[16];
    store_u64(text, seed);
    store_u64(text + 8, (uint64_t)purpose);
    crypto_generichash(key, KEY_BYTES, text, sizeof text, NULL, 0);
}

static cohort_status take_memory(cohort_secret **out)
{
    COHORT_REQUIRE(sodium_init() >= 0, COHORT_INTERNAL, "libsodium finds no source of randomness");
    *out = sodium_malloc(sizeof **out);
    COHORT_REQUIRE(*out, COHORT_MEMORY,
                   "no memory can be locked for the key of the noise; raise ulimit -l");
    return COHORT_OK;
}

cohort_status cohort_secret_create(cohort_secret **out, cohort_comm *comm,
                                   cohort_secret_purpose purpose, uint64_t testing_seed)
{
    const bool is_shared = purpose == COHORT_SECRET_SAMPLING;
    const bool is_first = cohort_comm_rank(comm) == 0;
    cohort_secret *secret = NULL;
    *out = NULL;
    COHORT_TRY(cohort_comm_agree(comm, is_shared || is_first ? take_memory(&secret) : COHORT_OK));
    if (is_first && testing_seed)
        derive_key(secret->key, purpose, testing_seed);
    else if (is_first)
        randombytes_buf(secret->key, KEY_BYTES);
    cohort_status status =
        is_shared ? cohort_comm_broadcast(comm, secret->key, KEY_BYTES, 0) : COHORT_OK;
    if (status != COHORT_OK) {
        cohort_secret_destroy(secret);
        return status;
    }
    *out = secret;
    return COHORT_OK;
}

void cohort_secret_destroy(cohort_secret *secret)
{
    sodium_free(secret);
}

void cohort_secret_words(uint64_t *words, const cohort_secret *secret, uint64_t stream,
                         uint64_t first, size_t count)
{
    unsigned char nonce[crypto_stream_chacha20_NONCEBYTES];
    store_u64(nonce, stream);
    memset(words, 0, count * sizeof *words);
    crypto_stream_chacha20_xor_ic((unsigned char *)words, (const unsigned char *)words,
                                  count * sizeof *words, nonce, first / BLOCK_WORDS, secret->key);
}

void cohort_secret_wipe(void *bytes, size_t count)
{
    sodium_memzero(bytes, count);
}

const char *cohort_secret_library(void)
{
    return sodium_version_string();
}
