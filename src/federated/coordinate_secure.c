/* Rank 0's part of a round by secure aggregation between real clients. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "federated/coordinate_private.h"
#include "federated/secure.h"

static cohort_secure_plan plan_of(const cohort_federated *federated)
{
    cohort_secure_plan plan = cohort_federated_secure_plan(federated, federated->round.count);
    plan.count += COHORT_SECURE_FIGURES;
    return plan;
}

static cohort_letter letter_of(const cohort_federated *federated, cohort_letter_kind kind)
{
    return (cohort_letter){.kind = (uint32_t)kind,
                           .round = federated->progress.epoch,
                           .attempt = federated->deployment->attempt};
}

/* --- What clients send --- */

/* A message out of place, or of keys that are none, is left out. */
static bool take_in(cohort_federated *federated, size_t index, const unsigned char *message,
                    size_t bytes, size_t expected)
{
    if (bytes == expected &&
        cohort_secure_take(federated->deployment->coordinator, index, message) == COHORT_OK)
        return true;
    cohort_error_clear();
    return false;
}

static void take_keys(cohort_federated *federated, size_t index, const cohort_letter *letter,
                      const unsigned char *message, size_t bytes)
{
    (void)letter;
    (void)take_in(federated, index, message, bytes, COHORT_SECURE_KEYS_BYTES);
}

static void take_shares(cohort_federated *federated, size_t index, const cohort_letter *letter,
                        const unsigned char *message, size_t bytes)
{
    const cohort_secure_plan plan = plan_of(federated);
    (void)letter;
    (void)take_in(federated, index, message, bytes, cohort_secure_shares_bytes(&plan));
}

static void take_masked(cohort_federated *federated, size_t index, const cohort_letter *letter,
                        const unsigned char *message, size_t bytes)
{
    const cohort_secure_plan plan = plan_of(federated);
    const cohort_client_result *result = &letter->result;
    cohort_round *round = &federated->round;
    const double rows = (double)federated->deployment->members[round->clients[index]].rows;
    if (round->dropped[index] != COHORT_DROPPED_SILENT || result->stopped > 0)
        return;
    if (result->fault > 0)
        round->dropped[index] = result->fault == COHORT_UPDATE_TOO_LARGE
                                    ? COHORT_DROPPED_TOO_LARGE
                                    : COHORT_DROPPED_NOT_FINITE;
    else if (result->rows != rows ||
             !take_in(federated, index, message, bytes, cohort_secure_masked_bytes(&plan)))
        round->dropped[index] = COHORT_DROPPED_DAMAGED;
    else {
        round->dropped[index] = COHORT_DROPPED_NOT;
        round->results[index] = (cohort_client_result){.rows = rows, .norm = NAN};
        round->kept++;
    }
}

static void take_reveal(cohort_federated *federated, size_t index, const cohort_letter *letter,
                        const unsigned char *message, size_t bytes)
{
    const cohort_secure_plan plan = plan_of(federated);
    (void)letter;
    (void)take_in(federated, index, message, bytes, cohort_secure_reveal_bytes(&plan));
}

/* Who has taken part in all phases so far and not in this one. */
static bool lacks_message(const cohort_federated *federated, size_t index)
{
    const cohort_secure_coordinator *coordinator = federated->deployment->coordinator;
    const cohort_secure_phase phase = cohort_secure_phase_of(coordinator);
    return (phase == COHORT_SECURE_KEYS ||
            cohort_secure_has(coordinator, (cohort_secure_phase)((int)phase - 1))[index]) &&
           !cohort_secure_has(coordinator, phase)[index];
}

/* As many vectors as the round wants are enough, if they can be unmasked. */
static bool lacks_vector(const cohort_federated *federated, size_t index)
{
    const cohort_round *round = &federated->round;
    const size_t wanted = federated->deployment->wanted,
                 least = cohort_federated_secure_least(federated);
    return round->kept < (wanted > least ? wanted : least) &&
           round->dropped[index] == COHORT_DROPPED_SILENT && lacks_message(federated, index);
}

/* --- Phases --- */

static cohort_status invite(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    cohort_round *round = &federated->round;
    const cohort_letter letter = letter_of(federated, COHORT_LETTER_INVITE);
    cohort_secure_plan plan = plan_of(federated);
    cohort_invitation invitation = {.clients = plan.clients,
                                    .threshold = plan.threshold,
                                    .count = plan.count,
                                    .bits = plan.bits};
    bool *one = NULL;
    COHORT_TRY(cohort_secure_draw_session(&plan));
    memcpy(invitation.session, plan.session, sizeof plan.session);
    cohort_secure_coordinator_destroy(deployment->coordinator);
    COHORT_TRY(cohort_secure_coordinator_create(&deployment->coordinator, &plan));
    COHORT_TRY(COHORT_ALLOCATE(&one, round->count));
    cohort_status status = COHORT_OK;
    for (size_t i = 0; i < round->count && status == COHORT_OK; i++) {
        one[i] = true;
        invitation.index = i;
        status = cohort_deployment_send(federated, &letter, &invitation, sizeof invitation, one);
        one[i] = false;
    }
    cohort_free(one);
    return status;
}

/* To each of WHO what the others sealed for it, behind the list of those others. */
static cohort_status send_sealed(cohort_federated *federated, const bool *who)
{
    const cohort_letter letter = letter_of(federated, COHORT_LETTER_SEALED);
    const size_t count = federated->round.count, bytes = count * (1 + COHORT_SECURE_SEALED_BYTES);
    unsigned char *vector = NULL;
    bool *one = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&vector, bytes));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&one, count));
    for (size_t i = 0; i < count; i++)
        vector[i] = who[i];
    for (size_t i = 0; i < count; i++) {
        if (!who[i])
            continue;
        one[i] = true;
        cohort_secure_deliver(vector + count, federated->deployment->coordinator, i);
        COHORT_TRY_DONE(status, cohort_deployment_send(federated, &letter, vector, bytes, one));
        one[i] = false;
    }
done:
    cohort_free(vector);
    cohort_free(one);
    return status;
}

static cohort_status send_survivors(cohort_federated *federated, const bool *who)
{
    const cohort_letter letter = letter_of(federated, COHORT_LETTER_SURVIVORS);
    unsigned char *list = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&list, federated->round.count));
    for (size_t i = 0; i < federated->round.count; i++)
        list[i] = who[i];
    cohort_status status =
        cohort_deployment_send(federated, &letter, list, federated->round.count, who);
    cohort_free(list);
    return status;
}

/* The sum of the updates into federated->sums; that of the figures stands, as if it were one
 * client's, with the first that counts. */
static cohort_status unmask(cohort_federated *federated)
{
    const cohort_secure_plan plan = plan_of(federated);
    cohort_round *round = &federated->round;
    uint64_t *sum = NULL;
    double figures[COHORT_SECURE_FIGURES];
    size_t first = 0;
    COHORT_TRY(COHORT_ALLOCATE(&sum, plan.count));
    cohort_status status = cohort_secure_finish(sum, federated->deployment->coordinator);
    cohort_federated_secure_sign(sum, plan.count, plan.bits);
    memcpy(federated->sums, sum, federated->exchange.count * sizeof *sum);
    for (size_t i = 0; i < COHORT_SECURE_FIGURES; i++)
        figures[i] =
            ldexp((double)(int64_t)sum[federated->exchange.count + i], -COHORT_SECURE_FIGURE_BITS);
    while (round->dropped[first] != COHORT_DROPPED_NOT)
        first++;
    round->results[first].loss = figures[0];
    round->results[first].correct = figures[1];
    round->results[first].count = figures[2];
    cohort_free(sum);
    return status;
}

/* Hears a phase's messages. *goes_on is false when the run is told to stop, or too few sent: the
 * message of the latter is the thread's error. */
static cohort_status hear(bool *goes_on, cohort_federated *federated,
                          const cohort_listener *listener)
{
    *goes_on = false;
    COHORT_TRY(cohort_deployment_listen(federated, listener));
    if (!federated->round.is_abandoned)
        *goes_on = cohort_secure_end_phase(federated->deployment->coordinator) == COHORT_OK;
    return COHORT_OK;
}

static cohort_status run_phases(bool *is_done, cohort_federated *federated)
{
    const cohort_listener keys = {COHORT_LETTER_KEYS, take_keys, lacks_message},
                          shares = {COHORT_LETTER_SHARES, take_shares, lacks_message},
                          masked = {COHORT_LETTER_UPDATE, take_masked, lacks_vector},
                          reveal = {COHORT_LETTER_REVEAL, take_reveal, lacks_message};
    const cohort_letter roster = letter_of(federated, COHORT_LETTER_ROSTER);
    *is_done = false;
    bool on = false;
    COHORT_TRY(invite(federated));
    const cohort_secure_coordinator *coordinator = federated->deployment->coordinator;
    COHORT_TRY(hear(&on, federated, &keys));
    if (!on)
        return COHORT_OK;
    COHORT_TRY(cohort_deployment_send(federated, &roster, cohort_secure_roster(coordinator),
                                      federated->round.count * COHORT_SECURE_KEYS_BYTES,
                                      cohort_secure_has(coordinator, COHORT_SECURE_KEYS)));
    COHORT_TRY(hear(&on, federated, &shares));
    if (!on)
        return COHORT_OK;
    const bool *sharers = cohort_secure_has(coordinator, COHORT_SECURE_SHARES);
    COHORT_TRY(send_sealed(federated, sharers));
    COHORT_TRY(cohort_deployment_send_model(federated, sharers));
    COHORT_TRY(hear(&on, federated, &masked));
    if (!on)
        return COHORT_OK;
    COHORT_TRY(send_survivors(federated, cohort_secure_has(coordinator, COHORT_SECURE_MASKED)));
    COHORT_TRY(hear(&on, federated, &reveal));
    *is_done = on;
    return on ? unmask(federated) : COHORT_OK;
}

/* --- The round --- */

static bool has_silent(const cohort_federated *federated)
{
    for (size_t i = 0; i < federated->round.count; i++)
        if (federated->deployment->members[federated->round.clients[i]].is_silent)
            return true;
    return false;
}

/* Nobody is left to do without. Too few vectors are refused as in any round; vectors that cannot be
 * unmasked are no round. */
static cohort_status give_up(const cohort_federated *federated)
{
    char text[512];
    snprintf(text, sizeof text, "%s", cohort_error_message());
    cohort_error_clear();
    return federated->round.kept < cohort_federated_secure_least(federated)
               ? COHORT_OK
               : COHORT_FAIL(COHORT_PEER, "%s", text);
}

static void count_expansion(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    const double payload =
        (double)cohort_client_payload_bytes(&federated->exchange, &federated->compression);
    round->expansion = round->bytes_up / ((double)round->count * COHORT_FEDERATED_HEADER_BYTES +
                                          (double)round->kept * payload);
}

/* A round that too few are left for begins again without those that fell silent: each of them
 * costs one attempt at most. */
cohort_status cohort_deployment_gather_secure(cohort_federated *federated)
{
    cohort_deployment *deployment = federated->deployment;
    cohort_round *round = &federated->round;
    cohort_status status = COHORT_OK;
    bool is_done = false;
    for (size_t attempt = 0; !is_done; attempt++) {
        if (attempt > 0)
            COHORT_TRY(cohort_deployment_choose(federated));
        if (round->is_abandoned)
            return COHORT_OK;
        COHORT_TRY(cohort_deployment_begin_round(federated));
        status = run_phases(&is_done, federated);
        cohort_secure_coordinator_destroy(deployment->coordinator);
        deployment->coordinator = NULL;
        COHORT_TRY(status);
        if (round->is_abandoned)
            return COHORT_OK;
        if (is_done)
            break;
        if (!has_silent(federated) || attempt == deployment->count)
            return give_up(federated);
        cohort_log(COHORT_LOG_WARNING, "%s; it begins again with those that answer",
                   cohort_error_message());
        cohort_error_clear();
    }
    count_expansion(federated);
    return COHORT_OK;
}
