#include "federated/preflight.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "data/budget.h"
#include "data/survey.h"
#include "federated/deploy_private.h"
#include "federated/federated_private.h"
#include "federated/protect.h"

static const double TRAIN_SECONDS = 2, READ_SECONDS = 0.1;

/* --- Clients -------------------------------------------------------------------- */

static size_t rows_of(const cohort_federated *federated, size_t client)
{
    return cohort_partition_count(&federated->partition, client) -
           cohort_partition_test_count(&federated->partition, client, federated->how->client_test);
}

/* Local steps of a round on so many rows. */
static size_t steps_of(const cohort_federated_recipe *how, size_t rows)
{
    const size_t wanted = how->local_batch_size, batch = wanted && wanted < rows ? wanted : rows;
    return batch ? how->local_epochs * ((rows - 1) / batch + 1) : 0;
}

static void judge_clients(cohort_findings *findings, const cohort_federated *federated)
{
    const size_t count = federated->client_count, eligible = federated->eligible_count,
                 most = federated->chosen_most, ranks = (size_t)federated->rank_count;
    size_t least_rows = SIZE_MAX, most_rows = 0;
    for (size_t i = 0; i < eligible; i++) {
        const size_t rows = rows_of(federated, federated->eligible[i]);
        least_rows = rows < least_rows ? rows : least_rows;
        most_rows = rows > most_rows ? rows : most_rows;
    }
    cohort_find(findings, COHORT_FINDING_GOOD, "clients",
                "%zu clients of %zu to %zu rows, up to %zu of them a round", eligible, least_rows,
                most_rows, most);
    if (eligible < count)
        cohort_find(findings, COHORT_FINDING_WARNING, "clients",
                    "%zu of %zu clients have no rows and never take part: choose fewer, or another "
                    "partition",
                    count - eligible, count);
    if (most < ranks)
        cohort_find(findings, COHORT_FINDING_WARNING, "clients",
                    "%zu clients a round for %zu ranks leave %zu ranks idle: raise "
                    "federated.fraction or start fewer ranks",
                    most, ranks, ranks - most);
    if (federated->how->local_batch_size > most_rows)
        cohort_find(findings, COHORT_FINDING_WARNING, "batch",
                    "federated.local_batch_size is %zu, but no client has more than %zu rows: "
                    "each trains on all of its rows at once",
                    federated->how->local_batch_size, most_rows);
}

/* --- Memory ----------------------------------------------------------------------- */

static void judge_memory(cohort_findings *findings, const cohort_federated *federated)
{
    const cohort_model *trained = cohort_local_model(cohort_client_local(federated->client));
    const double ranks = (double)cohort_comm_node_size(federated->comm),
                 lanes = (double)federated->lane_count,
                 kept = federated->all ? (double)federated->chosen_most : 0,
                 work = (double)cohort_model_work_bytes(federated->model) +
                        lanes * (double)cohort_model_work_bytes(trained),
                 have = (double)cohort_memory_available();
    /* Global, mean, an update, sums of 8 bytes; a lane's weights, gradient, update, payload. */
    const double vectors = 4 * (5 + 4 * lanes + kept) * (double)federated->exchange.count,
                 need = ranks * (vectors + work);
    char a[24], b[24], c[24];
    cohort_bytes_text(a, need);
    cohort_bytes_text(b, have);
    cohort_bytes_text(c, vectors);
    if (need > have)
        cohort_find(findings, COHORT_FINDING_PROBLEM, "memory",
                    "%s are needed beside the data, but %s are free: for each of %g ranks %s of "
                    "models and updates: start fewer ranks a host%s",
                    a, b, ranks, c,
                    kept > 0 ? ", lower federated.fraction, or take a mean that sums" : "");
    else
        cohort_find(findings, COHORT_FINDING_GOOD, "memory",
                    "some %s of %s free beside the data: for each of %g rank%s %s of models and "
                    "updates",
                    a, b, ranks, ranks > 1 ? "s" : "", c);
}

/* --- Speed ------------------------------------------------------------------------ */

static bool time_is_up(void *context)
{
    return cohort_clock_seconds() > *(const double *)context;
}

/* *SECONDS a step of CLIENT's training on ROWS takes here, by training it for a while. */
static cohort_status time_steps(double *seconds, cohort_local *local, const cohort_recipe *recipe,
                                size_t client, const uint64_t *rows, size_t row_count)
{
    const double start = cohort_clock_seconds();
    double end = start + TRAIN_SECONDS;
    cohort_local_result trained;
    const cohort_local_work work = {.rows = rows,
                                    .row_count = row_count,
                                    .key = client,
                                    .epochs = recipe->federated.local_epochs,
                                    .lr = cohort_schedule_lr(&recipe->optimizer.schedule,
                                                             recipe->optimizer.lr, 0, 1,
                                                             recipe->federated.rounds),
                                    .should_stop = time_is_up,
                                    .stop_context = &end};
    COHORT_TRY(cohort_local_train(&trained, local, &work));
    *seconds = (cohort_clock_seconds() - start) / fmax(1, (double)trained.steps);
    COHORT_REQUIRE(!trained.diverged && isfinite(trained.loss), COHORT_DIVERGED,
                   "the loss of client %zu is not finite in its first steps: lower optimizer.lr, "
                   "or look at the data and data.scale",
                   client);
    return COHORT_OK;
}

/* The same of a simulated client. Every rank takes another. */
static cohort_status time_client(double *seconds, cohort_federated *federated)
{
    const size_t which = (size_t)cohort_comm_rank(federated->comm) % federated->eligible_count,
                 client = federated->eligible[which];
    const cohort_client_task task = {.client = client,
                                     .slot = client,
                                     .rows = federated->partition.rows +
                                             federated->partition.begins[client],
                                     .row_count = rows_of(federated, client),
                                     .global = federated->global};
    const int threads = omp_get_max_threads();
    cohort_client_begin(federated->client, &federated->store, &task);
    if (federated->lane_count > 1)
        omp_set_num_threads(1);
    const cohort_status status = time_steps(seconds, cohort_client_local(federated->client),
                                            federated->recipe, client, task.rows, task.row_count);
    omp_set_num_threads(threads);
    return status;
}

static cohort_status judge_speed(cohort_findings *findings, cohort_federated *federated)
{
    cohort_comm *comm = federated->comm;
    const size_t lanes = (size_t)federated->rank_count * federated->lane_count,
                 most = federated->chosen_most;
    double each = 0, steps = 0;
    char round[16], whole[16];
    bool on = true;
    COHORT_TRY(cohort_note_failure(&on, findings, comm, "training",
                                   cohort_comm_agree(comm, time_client(&each, federated))));
    if (!on)
        return COHORT_OK;
    COHORT_TRY(cohort_comm_max(comm, &each, 1));
    for (size_t i = 0; i < federated->eligible_count; i++)
        steps += (double)steps_of(federated->how, rows_of(federated, federated->eligible[i]));
    steps /= (double)federated->eligible_count;
    const double a_round = each * steps * (double)((most + lanes - 1) / lanes);
    cohort_find(findings, COHORT_FINDING_GOOD, "speed",
                "%.3g ms a local step, %.3g steps a client: a round of %zu clients takes some %s, "
                "all %zu rounds %s, without evaluation",
                1000 * each, steps, most, cohort_duration_text(round, a_round),
                federated->how->rounds,
                cohort_duration_text(whole, a_round * (double)federated->how->rounds));
    return COHORT_OK;
}

/* --- Real clients --------------------------------------------------------------------- */

/* Training data of more bytes than this are not read whole. */
static const uint64_t HELD_MOST = (uint64_t)256 << 20;

/* Looks at this client's file: *rows it has to train on; lowers the recipe's limit where holding
 * them would take long. The coordinator has none. */
static cohort_status look_at_own(double *rows, const cohort_comm *comm, cohort_recipe *recipe)
{
    const int rank = cohort_comm_rank(comm);
    cohort_text path = {0};
    cohort_survey survey;
    bool has_test = false;
    *rows = 0;
    cohort_status status = cohort_deployment_file(&path, recipe, rank);
    const cohort_dataset_spec spec = {.path = path.data,
                                      .group = recipe->data.train,
                                      .x = recipe->data.x,
                                      .y =
                                          cohort_job_needs_targets(recipe) ? recipe->data.y : NULL};
    if (status == COHORT_OK && rank == 0)
        status = cohort_dataset_has_group(&has_test, path.data, recipe->data.test);
    else if (status == COHORT_OK)
        status = cohort_data_survey(&survey, &spec, READ_SECONDS);
    if (status == COHORT_OK && rank > 0) {
        *rows = (double)survey.count;
        if (survey.bytes > HELD_MOST)
            recipe->data.memory_limit = HELD_MOST;
    }
    cohort_text_clear(&path);
    return status;
}

/* What a client finds when it tries to train. */
typedef struct trial {
    const cohort_recipe *recipe;
    size_t client;
    double seconds; /* of a step */
    double steps;   /* of a round */
    uint64_t vector;
} trial;

/* Weights are those that a run would begin with, near enough. Of data that are read in pieces only
 * the first rows are trained on, after they have been read once: a run would hold them. */
static cohort_status try_training(void *context, const cohort_client_view *view)
{
    enum { FIRST_ROWS = 2048 };
    trial *t = context;
    const bool is_part = t->recipe->data.memory_limit == HELD_MOST && view->row_count > FIRST_ROWS;
    const size_t row_count = is_part ? FIRST_ROWS : view->row_count;
    t->vector = view->vector;
    t->steps = (double)steps_of(&t->recipe->federated, view->row_count);
    cohort_model_init(cohort_local_model(view->local), (uint64_t)t->recipe->seed);
    if (is_part)
        COHORT_TRY(
            time_steps(&t->seconds, view->local, t->recipe, t->client, view->rows, row_count));
    return time_steps(&t->seconds, view->local, t->recipe, t->client, view->rows, row_count);
}

/* All must exchange vectors of the coordinator's length. */
static cohort_status check_vector(cohort_comm *comm, uint64_t mine)
{
    uint64_t wanted = mine;
    COHORT_TRY(cohort_comm_broadcast(comm, &wanted, sizeof wanted, 0));
    return cohort_comm_agree(comm, mine == wanted ? COHORT_OK
                                                  : cohort_deployment_refuse_vector(mine, wanted));
}

/* The slowest client makes the round, the exchange with the coordinator aside. */
static cohort_status judge_clients_speed(cohort_findings *findings, cohort_comm *comm,
                                         const trial *t)
{
    const int size = cohort_comm_size(comm);
    const double mine[2] = {t->seconds, t->steps};
    double(*all)[2] = NULL;
    char round[16], whole[16];
    int slowest = 1;
    cohort_status status = cohort_comm_agree(comm, COHORT_ALLOCATE(&all, (size_t)size));
    if (status == COHORT_OK)
        status = cohort_comm_gather_all(comm, all, mine, sizeof mine);
    if (status == COHORT_OK) {
        for (int rank = 2; rank < size; rank++)
            if (all[rank][0] * all[rank][1] > all[slowest][0] * all[slowest][1])
                slowest = rank;
        const double a_round = all[slowest][0] * all[slowest][1];
        cohort_find(findings, COHORT_FINDING_GOOD, "speed",
                    "rank %d on %s trains longest, %.0f steps of %.3g ms: a round takes some %s, "
                    "all %zu rounds %s, without evaluation and what is sent",
                    slowest, cohort_comm_host(comm, slowest), all[slowest][1],
                    1000 * all[slowest][0], cohort_duration_text(round, a_round),
                    t->recipe->federated.rounds,
                    cohort_duration_text(whole, a_round * (double)t->recipe->federated.rounds));
    }
    cohort_free(all);
    return status;
}

/* Opens what the run would, trains for a moment. ROWS [size]: of each rank. */
static cohort_status try_deployment(cohort_findings *findings, cohort_comm *comm,
                                    cohort_federated *federated, const double *rows)
{
    cohort_recipe *recipe = federated->recipe;
    const int rank = cohort_comm_rank(comm);
    trial t = {.recipe = recipe, .client = rank > 0 ? (size_t)rank - 1 : 0};
    bool on = true;
    const cohort_status status = rank == 0
                                     ? cohort_deployment_try(federated, comm, rows)
                                     : cohort_deployment_try_client(comm, recipe, try_training, &t);
    COHORT_TRY(cohort_note_failure(&on, findings, comm, "setup", cohort_comm_agree(comm, status)));
    if (!on)
        return COHORT_OK;
    if (rank == 0)
        t.vector = federated->exchange.count;
    COHORT_TRY(cohort_note_failure(&on, findings, comm, "model", check_vector(comm, t.vector)));
    if (!on)
        return COHORT_OK;
    if (rank == 0)
        cohort_find_model(findings, federated->model);
    return judge_clients_speed(findings, comm, &t);
}

static cohort_status check_deployment(cohort_findings *findings, cohort_comm *comm,
                                      cohort_federated *federated)
{
    cohort_recipe *recipe = federated->recipe;
    const int size = cohort_comm_size(comm);
    const size_t wanted = recipe->federated.min_clients;
    double mine = 0, least = INFINITY, most = 0, *rows = NULL;
    bool on = true;
    if (size - 1 < (int)(wanted > 1 ? wanted : 1)) {
        cohort_find(findings, COHORT_FINDING_PROBLEM, "clients",
                    "%d rank%s: rank 0 coordinates, so that there %s %d client%s; start at least "
                    "%zu ranks, or set federated.clients to simulate them",
                    size, size == 1 ? "" : "s", size == 2 ? "is" : "are", size - 1,
                    size == 2 ? "" : "s", (wanted > 1 ? wanted : 1) + 1);
        return COHORT_OK;
    }
    COHORT_TRY(cohort_note_failure(&on, findings, comm, "data",
                                   cohort_comm_agree(comm, look_at_own(&mine, comm, recipe))));
    if (!on)
        return COHORT_OK;
    cohort_status status = cohort_comm_agree(comm, COHORT_ALLOCATE(&rows, (size_t)size));
    if (status == COHORT_OK)
        status = cohort_comm_gather_all(comm, rows, &mine, sizeof mine);
    for (int rank = 1; status == COHORT_OK && rank < size; rank++) {
        least = fmin(least, rows[rank]);
        most = fmax(most, rows[rank]);
    }
    if (status == COHORT_OK) {
        cohort_find(findings, COHORT_FINDING_GOOD, "clients",
                    "%d real client%s of %.0f to %.0f rows, coordinated by rank 0", size - 1,
                    size == 2 ? "" : "s", least, most);
        status = try_deployment(findings, comm, federated, rows);
    }
    cohort_free(rows);
    return status;
}

/* --- All of it ------------------------------------------------------------------------ */

static cohort_status check_rounds(cohort_findings *findings, cohort_federated *federated)
{
    cohort_comm *comm = federated->comm;
    bool on = true;
    COHORT_TRY(cohort_note_failure(&on, findings, comm, "setup", cohort_federated_open(federated)));
    if (!on)
        return COHORT_OK;
    judge_clients(findings, federated);
    judge_memory(findings, federated);
    return judge_speed(findings, federated);
}

/* Whether the run can go on from CHECKPOINT. CONTEXT: the run, open, or of real clients only
 * its recipe. */
static cohort_status try_run(void *context, const char *path, const char *folder)
{
    cohort_federated *federated = context;
    return *path ? cohort_federated_try(federated, path, folder) : COHORT_OK;
}

cohort_status cohort_federated_preflight(cohort_findings *findings, cohort_comm *comm,
                                         cohort_recipe *recipe,
                                         const cohort_preflight_options *options)
{
    const cohort_trainer_options nothing = {.no_folder = true};
    cohort_federated *federated = NULL;
    double bytes = 0;
    COHORT_TRY(cohort_federated_make(&federated, comm, recipe, &nothing));
    cohort_status status = COHORT_OK;
    if (cohort_deployment_is(recipe)) {
        status = check_deployment(findings, comm, federated);
    } else {
        status = check_rounds(findings, federated);
    }
    if (federated->exchange.count)                                  /* else it did not open */
        bytes = 4 * 3 * (double)federated->exchange.count + 0x1p17; /* with a server's slots */
    if (status == COHORT_OK)
        status =
            cohort_preflight_folder(findings, comm, recipe, options, bytes, try_run, federated);
    cohort_federated_destroy(federated);
    return status;
}
