#include "federated/strategy.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

static const cohort_strategy strategies[] = {
    {.name = "fedavg"},
    {.name = "fedprox", .proximal = true},
    {.name = "fedavgm", .server = COHORT_SERVER_MOMENTUM},
    {.name = "fedadam", .server = COHORT_SERVER_ADAM},
    {.name = "fedyogi", .server = COHORT_SERVER_YOGI},
    {.name = "fedadagrad", .server = COHORT_SERVER_ADAGRAD},
    {.name = "scaffold", .control = true},
    {.name = "fedsgd"}, /* the recipe's check sees to it that clients take one whole step */
    {.name = "median", .combine = COHORT_COMBINE_MEDIAN},
    {.name = "trimmed_mean", .combine = COHORT_COMBINE_TRIMMED_MEAN},
    {.name = "krum", .combine = COHORT_COMBINE_KRUM},
    {.name = "norm_bound", .bounded = true},
};

const cohort_strategy *cohort_strategy_find(const cohort_variant *variant)
{
    for (size_t i = 0; i < sizeof strategies / sizeof *strategies; i++)
        if (strcmp(strategies[i].name, variant->table->name) == 0)
            return &strategies[i];
    return NULL;
}

cohort_status cohort_server_init(cohort_server *server, cohort_server_rule rule,
                                 const cohort_strategy_recipe *numbers, size_t count)
{
    *server = (cohort_server){.rule = rule, .numbers = *numbers, .count = count};
    if (rule == COHORT_SERVER_PLAIN)
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&server->slots[0], count));
    if (rule == COHORT_SERVER_MOMENTUM)
        return COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&server->slots[1], count));
    for (size_t i = 0; i < count; i++)
        server->slots[1][i] = (real)(numbers->tau * numbers->tau);
    return COHORT_OK;
}

void cohort_server_clear(cohort_server *server)
{
    cohort_free(server->slots[0]);
    cohort_free(server->slots[1]);
    *server = (cohort_server){0};
}

const char *cohort_server_slot_name(const cohort_server *server, size_t index)
{
    static const char *const adaptive[] = {"m", "v"};
    if (index > 1 || !server->slots[index])
        return NULL;
    return server->rule == COHORT_SERVER_MOMENTUM ? "momentum" : adaptive[index];
}

static double second_moment(const cohort_server *server, double v, double d)
{
    const double square = d * d, share = 1 - server->numbers.beta2;
    switch (server->rule) {
    case COHORT_SERVER_ADAM:
        return v + share * (square - v);
    case COHORT_SERVER_YOGI:
        return v - share * square * (double)((v > square) - (v < square));
    case COHORT_SERVER_ADAGRAD:
        return v + square;
    case COHORT_SERVER_PLAIN:
    case COHORT_SERVER_MOMENTUM:
        break;
    }
    return v;
}

static void step_adaptive(cohort_server *server, real *weights, const real *mean, double lr)
{
    const double beta1 = server->numbers.beta1, tau = server->numbers.tau;
    for (size_t i = 0; i < server->count; i++) {
        const double d = (double)mean[i];
        const double m = beta1 * (double)server->slots[0][i] + (1 - beta1) * d;
        const double v = second_moment(server, (double)server->slots[1][i], d);
        server->slots[0][i] = (real)m;
        server->slots[1][i] = (real)v;
        weights[i] = (real)((double)weights[i] + lr * m / (sqrt(v) + tau));
    }
}

void cohort_server_step(cohort_server *server, real *weights, const real *mean, double lr)
{
    const double momentum = server->numbers.momentum;
    if (server->slots[1]) {
        step_adaptive(server, weights, mean, lr);
        return;
    }
    for (size_t i = 0; i < server->count; i++) {
        double d = (double)mean[i];
        if (server->slots[0]) {
            d += momentum * (double)server->slots[0][i];
            server->slots[0][i] = (real)d;
        }
        weights[i] = (real)((double)weights[i] + lr * d);
    }
}
