/* Shamir's shares; secure sums with clients that drop out, lie, or are too few. */
#include "tests/cmocka_all.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "privacy/secure_sum.h"
#include "privacy/shamir.h"

static void test_shamir(void **state)
{
    (void)state;
    enum { COUNT = 9, THRESHOLD = 5 };
    unsigned char secret[32], back[32];
    cohort_shamir_share shares[COUNT], some[THRESHOLD];
    uint64_t weights[THRESHOLD];
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)(255 - 7 * i);
    assert_ok(cohort_shamir_split(shares, secret, COUNT, THRESHOLD));
    for (size_t first = 0; first + THRESHOLD <= COUNT; first++) {
        size_t owners[THRESHOLD];
        for (size_t i = 0; i < THRESHOLD; i++) {
            owners[i] = (first + 2 * i) % COUNT;
            some[i] = shares[owners[i]];
        }
        cohort_shamir_weights(weights, owners, THRESHOLD);
        assert_true(cohort_shamir_join(back, weights, some, THRESHOLD));
        assert_memory_equal(back, secret, sizeof secret);
        /* One short of the threshold gives something else. */
        cohort_shamir_weights(weights, owners, THRESHOLD - 1);
        assert_false(cohort_shamir_join(back, weights, some, THRESHOLD - 1) &&
                     memcmp(back, secret, sizeof secret) == 0);
    }
    some[0].limbs[0] = UINT64_MAX;
    assert_false(cohort_shamir_join(back, weights, some, THRESHOLD - 1));
}

/* --- Whole sums --- */

enum { CLIENTS = 12, COUNT = 1501, BITS = 61 };

typedef struct play {
    cohort_secure_plan plan;
    cohort_secure_client *clients[CLIENTS];
    cohort_secure_coordinator *coordinator;
    uint64_t values[CLIENTS][COUNT], sum[COUNT];
    unsigned char *message; /* of any phase */
    unsigned char sealed[CLIENTS * COHORT_SECURE_SEALED_BYTES];
    size_t drop_phase, drop_count; /* clients 0, 2, 4, … are silent from that phase on */
    size_t tampered_box, lying;    /* client numbers + 1: whose boxes change, who falsifies … */
    size_t about;                  /* … shares of which client */
} play;

static play *begin(size_t drop_phase, size_t drop_count)
{
    play *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->plan = (cohort_secure_plan){.clients = CLIENTS,
                                   .threshold = cohort_secure_threshold(CLIENTS, 0.66),
                                   .count = COUNT,
                                   .bits = BITS,
                                   .round = 3,
                                   .session = "a test"};
    p->drop_phase = drop_phase;
    p->drop_count = drop_count;
    p->message = malloc(cohort_secure_bytes_up(&p->plan));
    assert_non_null(p->message);
    for (size_t v = 0; v < CLIENTS; v++) {
        assert_ok(cohort_secure_client_create(&p->clients[v], &p->plan, v));
        for (size_t i = 0; i < COUNT; i++)
            p->values[v][i] = ((uint64_t)rand() << 40 ^ (uint64_t)rand()) - ((uint64_t)1 << 50);
    }
    assert_ok(cohort_secure_coordinator_create(&p->coordinator, &p->plan));
    return p;
}

static void end(play *p)
{
    for (size_t v = 0; v < CLIENTS; v++)
        cohort_secure_client_destroy(p->clients[v]);
    cohort_secure_coordinator_destroy(p->coordinator);
    free(p->message);
    free(p);
    cohort_error_clear();
}

static bool is_silent(const play *p, size_t phase, size_t v)
{
    return phase >= p->drop_phase && v % 2 == 0 && v / 2 < p->drop_count;
}

static cohort_status speak(play *p, size_t phase, size_t v)
{
    cohort_secure_client *client = p->clients[v];
    switch (phase) {
    case COHORT_SECURE_KEYS:
        cohort_secure_client_advertise(p->message, client);
        return COHORT_OK;
    case COHORT_SECURE_SHARES:
        return cohort_secure_client_share(p->message, client, cohort_secure_roster(p->coordinator));
    case COHORT_SECURE_MASKED:
        cohort_secure_deliver(p->sealed, p->coordinator, v);
        if (p->tampered_box)
            p->sealed[(p->tampered_box - 1) * COHORT_SECURE_SEALED_BYTES + 40] ^= 1;
        return cohort_secure_client_mask(p->message, client, p->sealed,
                                         cohort_secure_has(p->coordinator, COHORT_SECURE_SHARES),
                                         p->values[v]);
    default:
        COHORT_TRY(cohort_secure_client_reveal(
            p->message, client, cohort_secure_has(p->coordinator, COHORT_SECURE_MASKED)));
        if (p->lying == v + 1)
            p->message[p->about * COHORT_SECURE_REVEALED_BYTES] ^= 1;
        return COHORT_OK;
    }
}

static cohort_status run(play *p)
{
    for (size_t phase = COHORT_SECURE_KEYS; phase < COHORT_SECURE_DONE; phase++) {
        for (size_t v = 0; v < CLIENTS; v++) {
            if (is_silent(p, phase, v))
                continue;
            COHORT_TRY(speak(p, phase, v));
            COHORT_TRY(cohort_secure_take(p->coordinator, v, p->message));
        }
        COHORT_TRY(cohort_secure_end_phase(p->coordinator));
    }
    return cohort_secure_finish(p->sum, p->coordinator);
}

/* The sum of who spoke in phase 3 is the plain one, whoever fell silent when: a third may go. */
static void test_drops(void **state)
{
    (void)state;
    for (size_t phase = COHORT_SECURE_KEYS; phase <= COHORT_SECURE_DONE; phase++) {
        play *p = begin(phase, CLIENTS / 3);
        assert_ok(run(p));
        for (size_t i = 0; i < COUNT; i++) {
            uint64_t plain = 0;
            for (size_t v = 0; v < CLIENTS; v++)
                plain += is_silent(p, COHORT_SECURE_MASKED, v) ? 0 : p->values[v][i];
            assert_true(p->sum[i] == (plain & (UINT64_MAX >> (64 - BITS))));
        }
        end(p);
    }
}

static void test_too_few(void **state)
{
    (void)state;
    for (size_t phase = COHORT_SECURE_KEYS; phase < COHORT_SECURE_DONE; phase++) {
        play *p = begin(phase, CLIENTS / 3 + 1);
        assert_int_equal(run(p), COHORT_PEER);
        assert_non_null(strstr(cohort_error_message(), "round 4 is abandoned: 7 of 12 clients"));
        end(p);
    }
    /* Nor does a client help with a sum of too few, or twice, or with who never shared. */
    play *p = begin(COHORT_SECURE_DONE, 0);
    bool few[CLIENTS] = {true, true, true};
    assert_ok(run(p));
    assert_int_equal(cohort_secure_client_reveal(p->message, p->clients[1], few), COHORT_DATA);
    end(p);
    p = begin(COHORT_SECURE_REVEAL, CLIENTS / 2);
    assert_int_equal(run(p), COHORT_PEER);
    assert_int_equal(cohort_secure_client_reveal(p->message, p->clients[0], few), COHORT_PEER);
    end(p);
}

static void test_tampering(void **state)
{
    (void)state;
    play *p = begin(COHORT_SECURE_DONE, 0);
    p->tampered_box = 6;
    assert_int_equal(run(p), COHORT_DATA);
    assert_non_null(strstr(cohort_error_message(), "client 5 for client 0 have been tampered"));
    end(p);
    /* A falsified share of a self-mask, then of a mask key: client 0 is there, then gone. */
    for (size_t gone = 0; gone < 2; gone++) {
        p = begin(COHORT_SECURE_MASKED, gone);
        p->lying = 2;
        p->about = 0;
        assert_int_equal(run(p), COHORT_DATA);
        assert_non_null(
            strstr(cohort_error_message(), gone ? "client 0's mask key" : "client 0's self-mask"));
        end(p);
    }
    /* A list with other keys for a client than its own; keys that are a point of low order. */
    unsigned char roster[CLIENTS * COHORT_SECURE_KEYS_BYTES];
    p = begin(COHORT_SECURE_DONE, 0);
    for (size_t v = 0; v < CLIENTS; v++)
        cohort_secure_client_advertise(roster + v * COHORT_SECURE_KEYS_BYTES, p->clients[v]);
    roster[0] ^= 1;
    assert_int_equal(cohort_secure_client_share(p->message, p->clients[0], roster), COHORT_DATA);
    memset(roster, 0, COHORT_SECURE_KEYS_BYTES);
    roster[0] = 1;
    assert_int_equal(cohort_secure_client_share(p->message, p->clients[1], roster), COHORT_DATA);
    end(p);
    /* Messages out of place. */
    p = begin(COHORT_SECURE_DONE, 0);
    cohort_secure_client_advertise(roster, p->clients[4]);
    assert_ok(cohort_secure_take(p->coordinator, 4, roster));
    assert_int_equal(cohort_secure_take(p->coordinator, 4, roster), COHORT_DATA);
    assert_int_equal(cohort_secure_take(p->coordinator, CLIENTS, roster), COHORT_DATA);
    end(p);
}

/* --- What the coordinator sees --- */

/* Chi-square of the bytes of BYTES [count] against equal frequencies, in standard deviations. */
static double uniformity(const unsigned char *bytes, size_t count)
{
    double seen[256] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++)
        seen[bytes[i]]++;
    for (size_t i = 0; i < 256; i++)
        sum += (seen[i] - (double)count / 256) * (seen[i] - (double)count / 256);
    return (sum / ((double)count / 256) - 255) / sqrt(2 * 255);
}

/* Vectors of zeros look like noise once masked, alone and after subtracting another's. */
static void test_masked_looks_uniform(void **state)
{
    (void)state;
    enum { FEW = 3, LONG = 65536 };
    const cohort_secure_plan plan = {.clients = FEW, .threshold = 2, .count = LONG, .bits = 64};
    const size_t bytes = cohort_secure_masked_bytes(&plan);
    cohort_secure_client *clients[FEW];
    cohort_secure_coordinator *coordinator = NULL;
    unsigned char message[1024], sealed[FEW * COHORT_SECURE_SEALED_BYTES];
    unsigned char *masked[FEW], *difference = malloc(bytes);
    uint64_t *zeros = calloc(LONG, sizeof *zeros);
    assert_true(difference && zeros && bytes == LONG * 8);
    assert_ok(cohort_secure_coordinator_create(&coordinator, &plan));
    for (size_t v = 0; v < FEW; v++) {
        assert_ok(cohort_secure_client_create(&clients[v], &plan, v));
        cohort_secure_client_advertise(message, clients[v]);
        assert_ok(cohort_secure_take(coordinator, v, message));
    }
    assert_ok(cohort_secure_end_phase(coordinator));
    for (size_t v = 0; v < FEW; v++) {
        assert_ok(
            cohort_secure_client_share(message, clients[v], cohort_secure_roster(coordinator)));
        assert_ok(cohort_secure_take(coordinator, v, message));
    }
    assert_ok(cohort_secure_end_phase(coordinator));
    for (size_t v = 0; v < FEW; v++) {
        masked[v] = malloc(bytes);
        assert_non_null(masked[v]);
        cohort_secure_deliver(sealed, coordinator, v);
        assert_ok(cohort_secure_client_mask(masked[v], clients[v], sealed,
                                            cohort_secure_has(coordinator, COHORT_SECURE_SHARES),
                                            zeros));
        assert_true(fabs(uniformity(masked[v], bytes)) < 6);
    }
    assert_true(uniformity((unsigned char *)zeros, bytes) > 1000); /* the test can fail */
    for (size_t i = 0; i < bytes; i++)
        difference[i] = masked[0][i] ^ masked[1][i];
    assert_true(fabs(uniformity(difference, bytes)) < 6);
    for (size_t v = 0; v < FEW; v++) {
        cohort_secure_client_destroy(clients[v]);
        free(masked[v]);
    }
    cohort_secure_coordinator_destroy(coordinator);
    free(difference);
    free(zeros);
}

/* The paper's case: 2^10 clients, 2^20 numbers of 16 bits, whose sums have 26 bits. */
static void test_expansion(void **state)
{
    (void)state;
    const cohort_secure_plan plan = {
        .clients = 1024, .threshold = 683, .count = (size_t)1 << 20, .bits = 26};
    const double plain = 2.0 * (double)plan.count;
    const double expansion = (double)cohort_secure_bytes_up(&plan) / plain;
    assert_int_equal(cohort_secure_masked_bytes(&plan), (size_t)26 << 17);
    print_message("expansion for 2^10 clients and 2^20 numbers of 16 bits: %.3f up\n", expansion);
    assert_true(expansion > 26.0 / 16 && expansion < 1.73);
}

static void test_plans(void **state)
{
    (void)state;
    cohort_secure_coordinator *coordinator = NULL;
    cohort_secure_plan plan = {.clients = 1, .threshold = 1, .count = 1, .bits = 64};
    assert_int_equal(cohort_secure_coordinator_create(&coordinator, &plan), COHORT_USAGE);
    plan.clients = 10;
    plan.threshold = 5; /* two halves could be asked different things */
    assert_int_equal(cohort_secure_coordinator_create(&coordinator, &plan), COHORT_USAGE);
    plan.threshold = 11;
    assert_int_equal(cohort_secure_coordinator_create(&coordinator, &plan), COHORT_USAGE);
    assert_null(coordinator);
    assert_int_equal(cohort_secure_threshold(10, 0.5), 6);
    assert_int_equal(cohort_secure_threshold(10, 0.7), 7);
    assert_int_equal(cohort_secure_threshold(10, 0.71), 8);
    assert_int_equal(cohort_secure_threshold(2, 0.5), 2);
    cohort_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shamir),
        cmocka_unit_test(test_drops),
        cmocka_unit_test(test_too_few),
        cmocka_unit_test(test_tampering),
        cmocka_unit_test(test_masked_looks_uniform),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
