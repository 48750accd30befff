#include "federated/serve_secure.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

void cohort_seat_clear(cohort_seat *seat)
{
    cohort_secure_client_destroy(seat->client);
    cohort_free(seat->sealed);
    cohort_free(seat->has_shared);
    cohort_free(seat->answer);
    seat->client = NULL;
    seat->sealed = seat->answer = NULL;
    seat->has_shared = NULL;
    seat->answer_bytes = 0;
}

static cohort_status make_room(cohort_seat *seat, size_t bytes)
{
    cohort_free(seat->answer);
    seat->answer = NULL;
    seat->answer_bytes = 0;
    COHORT_TRY(COHORT_ALLOCATE(&seat->answer, bytes));
    seat->answer_bytes = bytes;
    return COHORT_OK;
}

/* --- Phases --- */

/* A plan is taken only as the recipe has it: a lower threshold would protect less. */
static cohort_status take_invitation(cohort_seat *seat, const cohort_letter *letter,
                                     const unsigned char *vector, size_t bytes)
{
    const cohort_federated_recipe *how = &seat->recipe->federated;
    const cohort_secure_recipe *secure = how->secure_aggregation.config;
    cohort_invitation said;
    COHORT_REQUIRE(bytes == sizeof said, COHORT_DATA, "an invitation of %zu bytes", bytes);
    memcpy(&said, vector, sizeof said);
    cohort_seat_clear(seat);
    seat->attempt = letter->attempt;
    seat->plan = (cohort_secure_plan){.clients = (size_t)said.clients,
                                      .threshold = (size_t)said.threshold,
                                      .count = (size_t)said.count,
                                      .bits = (unsigned)said.bits,
                                      .round = letter->round};
    memcpy(seat->plan.session, said.session, sizeof said.session);
    COHORT_REQUIRE(said.clients >= how->min_clients && said.clients <= UINT32_MAX &&
                       said.index < said.clients && said.bits <= 64 &&
                       said.threshold >=
                           cohort_secure_threshold((size_t)said.clients, secure->threshold) &&
                       said.count == seat->exchange->count + COHORT_SECURE_FIGURES,
                   COHORT_DATA, "the coordinator's plan for the secure sum is not the recipe's");
    COHORT_TRY(cohort_secure_client_create(&seat->client, &seat->plan, (size_t)said.index));
    COHORT_TRY(make_room(seat, COHORT_SECURE_KEYS_BYTES));
    cohort_secure_client_advertise(seat->answer, seat->client);
    return COHORT_OK;
}

static cohort_status take_roster(cohort_seat *seat, const unsigned char *vector, size_t bytes)
{
    COHORT_REQUIRE(bytes == seat->plan.clients * COHORT_SECURE_KEYS_BYTES, COHORT_DATA,
                   "a list of keys of %zu bytes", bytes);
    COHORT_TRY(make_room(seat, cohort_secure_shares_bytes(&seat->plan)));
    return cohort_secure_client_share(seat->answer, seat->client, vector);
}

/* *LIST [clients] of yes and no from VECTOR. */
static cohort_status read_list(bool **list, const cohort_seat *seat, const unsigned char *vector)
{
    COHORT_TRY(COHORT_ALLOCATE(list, seat->plan.clients));
    for (size_t v = 0; v < seat->plan.clients; v++)
        (*list)[v] = vector[v] != 0;
    return COHORT_OK;
}

static cohort_status take_sealed(cohort_seat *seat, const unsigned char *vector, size_t bytes)
{
    const size_t clients = seat->plan.clients, boxes = clients * COHORT_SECURE_SEALED_BYTES;
    COHORT_REQUIRE(!seat->sealed && bytes == clients + boxes, COHORT_DATA,
                   "sealed shares of %zu bytes, or twice", bytes);
    COHORT_TRY(read_list(&seat->has_shared, seat, vector));
    COHORT_TRY(COHORT_ALLOCATE(&seat->sealed, boxes));
    memcpy(seat->sealed, vector + clients, boxes);
    return COHORT_OK;
}

static cohort_status take_survivors(cohort_seat *seat, const unsigned char *vector, size_t bytes)
{
    bool *has_sent = NULL;
    COHORT_REQUIRE(bytes == seat->plan.clients, COHORT_DATA, "a list of %zu bytes", bytes);
    COHORT_TRY(read_list(&has_sent, seat, vector));
    cohort_status status = make_room(seat, cohort_secure_reveal_bytes(&seat->plan));
    if (status == COHORT_OK)
        status = cohort_secure_client_reveal(seat->answer, seat->client, has_sent);
    cohort_free(has_sent);
    return status;
}

/* Says no more in this round, unless memory is short. */
static cohort_status withdraw(cohort_seat *seat, cohort_status status)
{
    if (status == COHORT_OK || status == COHORT_MEMORY)
        return status;
    cohort_error_clear();
    cohort_seat_clear(seat);
    return COHORT_OK;
}

static bool is_of_this_round(const cohort_seat *seat, const cohort_letter *letter)
{
    return seat->client && letter->round == seat->plan.round && letter->attempt == seat->attempt;
}

cohort_status cohort_seat_take(uint32_t *kind, cohort_seat *seat, const cohort_letter *letter,
                               const unsigned char *vector, size_t bytes)
{
    cohort_status status = COHORT_OK;
    uint32_t answers = 0;
    *kind = 0;
    if (letter->kind != COHORT_LETTER_INVITE && !is_of_this_round(seat, letter))
        return COHORT_OK;
    switch (letter->kind) {
    case COHORT_LETTER_INVITE:
        status = take_invitation(seat, letter, vector, bytes);
        answers = COHORT_LETTER_KEYS;
        break;
    case COHORT_LETTER_ROSTER:
        status = take_roster(seat, vector, bytes);
        answers = COHORT_LETTER_SHARES;
        break;
    case COHORT_LETTER_SEALED:
        status = take_sealed(seat, vector, bytes);
        break;
    case COHORT_LETTER_SURVIVORS:
        status = take_survivors(seat, vector, bytes);
        answers = COHORT_LETTER_REVEAL;
        break;
    default:
        break;
    }
    COHORT_TRY(withdraw(seat, status));
    *kind = seat->client ? answers : 0;
    return COHORT_OK;
}

/* --- The vector --- */

/* What a figure is in the sum: bounded, so that those of all clients cannot overflow it. */
static uint64_t encode(const cohort_secure_plan *plan, double figure)
{
    const double most = ldexp(1, (int)plan->bits - 2) / (double)plan->clients,
                 steps = ldexp(figure, COHORT_SECURE_FIGURE_BITS);
    return (uint64_t)(int64_t)llrint(fmin(fmax(steps, -most), most));
}

cohort_status cohort_seat_mask(cohort_seat *seat, const cohort_letter *letter,
                               const cohort_fixed *fixed, const real *update, uint64_t weight,
                               cohort_client_result *result)
{
    const double figures[COHORT_SECURE_FIGURES] = {result->loss, result->correct, result->count};
    uint64_t *values = NULL;
    *result = (cohort_client_result){
        .rows = result->rows, .fault = result->fault, .stopped = result->stopped};
    seat->answer_bytes = 0;
    if (!is_of_this_round(seat, letter) || !seat->sealed || result->fault > 0 ||
        result->stopped > 0)
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&values, seat->plan.count));
    cohort_client_add(values, seat->exchange, fixed, update, weight);
    for (size_t i = 0; i < COHORT_SECURE_FIGURES; i++)
        values[seat->exchange->count + i] = encode(&seat->plan, figures[i]);
    cohort_status status = make_room(seat, cohort_secure_masked_bytes(&seat->plan));
    if (status == COHORT_OK)
        status = cohort_secure_client_mask(seat->answer, seat->client, seat->sealed,
                                           seat->has_shared, values);
    cohort_free(values);
    return withdraw(seat, status);
}
