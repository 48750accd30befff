/* After the last round: how well the model does for each client, before and after the client
 * has tuned it for itself. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "federated/federated_private.h"

/* Of one client; travels as an array of doubles. */
typedef struct figures {
    double rows, loss, correct, count;       /* of the model as it is */
    double own_loss, own_correct, own_count; /* after tuning */
    double stopped;
} figures;
enum { FIGURES = sizeof(figures) / sizeof(double) };

/* A network for evaluation over the weights of the client in training. */
typedef struct tester {
    cohort_model *model;
    cohort_loader *loader;
    size_t block;
} tester;

static cohort_status make_tester(tester *made, cohort_federated *federated)
{
    enum { BLOCK = 64 };
    const cohort_share whole = {.begin = 0, .end = 1, .count = 1};
    const cohort_subset all = cohort_subset_all(cohort_dataset_describe(federated->train)->count);
    cohort_local *local = cohort_client_local(federated->client);
    made->block = BLOCK;
    COHORT_TRY(cohort_model_create(&made->model, federated->recipe,
                                   cohort_model_input(federated->model), BLOCK, false));
    cohort_model_bind(made->model, cohort_local_params(local), NULL, cohort_local_state(local));
    return cohort_job_loader(&made->loader, federated->recipe, federated->train, &all, BLOCK,
                             &whole, made->model, COHORT_TO_EVALUATE);
}

static void clear_tester(tester *made)
{
    cohort_loader_destroy(made->loader);
    cohort_model_destroy(made->model);
}

/* Loss and hits of the weights at hand on ROWS [count]. */
static cohort_status measure(double *loss, double *correct, double *count, const tester *with,
                             const cohort_federated *federated, const uint64_t *rows,
                             size_t row_count)
{
    const cohort_subset subset = cohort_subset_list(rows, row_count);
    cohort_loss_sums sums = {0};
    cohort_loader_set_subset(with->loader, &subset, (uint64_t)federated->recipe->seed);
    cohort_loader_seek(with->loader, 0, 0);
    for (size_t at = 0; at < row_count; at += with->block) {
        const cohort_batch *batch = NULL;
        COHORT_TRY(cohort_loader_next(with->loader, &batch));
        const cohort_pass pass = {.batch = batch->count, .samples = batch->rows};
        const cohort_targets targets = {.labels = batch->labels, .values = batch->values};
        const real *logits = cohort_model_forward(with->model, batch->x, &pass);
        cohort_loss_run(&sums, NULL, &federated->loss, logits, &targets, batch->count, 0);
    }
    *loss = sums.loss;
    *correct = sums.correct;
    *count = sums.count;
    return COHORT_OK;
}

/* One client: test, tune, test. */
static cohort_status serve(figures *of, cohort_federated *federated, const tester *with,
                           size_t client)
{
    const cohort_partition *partition = &federated->partition;
    const cohort_recipe *recipe = federated->recipe;
    const size_t held = cohort_partition_test_count(partition, client, federated->how->client_test);
    const size_t count = cohort_partition_count(partition, client) - held;
    const uint64_t *rows = partition->rows + partition->begins[client];
    cohort_local_result trained;
    const cohort_client_task task = {.client = client, .slot = client, .global = federated->global};
    const cohort_local_work work = {
        .rows = rows,
        .row_count = count,
        .key = client,
        .time = federated->how->rounds,
        .epochs = federated->how->personalize_epochs,
        .lr = cohort_schedule_lr(&recipe->optimizer.schedule, recipe->optimizer.lr,
                                 federated->how->rounds - 1, 1, federated->how->rounds),
        .should_stop = federated->options.should_stop,
        .stop_context = federated->options.stop_context,
    };
    of->rows = (double)held;
    if (held == 0)
        return COHORT_OK;
    cohort_client_begin(federated->client, &federated->store, &task);
    COHORT_TRY(measure(&of->loss, &of->correct, &of->count, with, federated, rows + count, held));
    if (work.epochs == 0)
        return COHORT_OK;
    COHORT_TRY(cohort_local_train(&trained, cohort_client_local(federated->client), &work));
    of->stopped = trained.stopped;
    return measure(&of->own_loss, &of->own_correct, &of->own_count, with, federated, rows + count,
                   held);
}

/* This rank's clients: those at home here. */
static cohort_status serve_mine(figures *all, cohort_federated *federated)
{
    const size_t rank = (size_t)cohort_comm_rank(federated->comm),
                 size = (size_t)cohort_comm_size(federated->comm);
    tester with = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, make_tester(&with, federated));
    for (size_t i = 0; i < federated->eligible_count; i++) {
        if (federated->eligible[i] % size != rank)
            continue;
        COHORT_TRY_DONE(status, serve(&all[i], federated, &with, federated->eligible[i]));
        if (all[i].stopped > 0)
            break;
    }
done:
    clear_tester(&with);
    return status;
}

static cohort_status record_client(cohort_federated *federated, size_t client, const figures *of)
{
    const bool counts = federated->loss.counts_correct;
    cohort_text *line = cohort_record_begin(&federated->record, "client");
    cohort_json_integer(line, "client", (int64_t)client);
    cohort_json_integer(line, "samples", (int64_t)of->rows);
    cohort_json_number(line, "loss", of->loss / of->count);
    if (counts)
        cohort_json_number(line, "accuracy", of->correct / of->count);
    if (federated->how->personalize_epochs) {
        cohort_json_number(line, "personal_loss", of->own_loss / of->own_count);
        if (counts)
            cohort_json_number(line, "personal_accuracy", of->own_correct / of->own_count);
    }
    return cohort_record_end(&federated->record);
}

static int ascending(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* Mean over clients and the tenth of them that fares worst, of VALUES [count] (reordered). */
static void summarize(cohort_text *line, const char *mean_name, const char *low_name,
                      double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    qsort(values, count, sizeof *values, ascending);
    cohort_json_number(line, mean_name, sum / (double)count);
    cohort_json_number(line, low_name, values[count / 10]);
}

/* A record a client, then one of all: means over clients, not over rows. */
static cohort_status record_all(cohort_federated *federated, const figures *all, double *values)
{
    const bool counts = federated->loss.counts_correct;
    size_t count = 0, own_count = 0;
    for (size_t i = 0; i < federated->eligible_count; i++)
        if (all[i].rows > 0)
            COHORT_TRY(record_client(federated, federated->eligible[i], &all[i]));
    cohort_text *line = cohort_record_begin(&federated->record, "clients");
    for (size_t i = 0; counts && i < federated->eligible_count; i++)
        if (all[i].count > 0)
            values[count++] = all[i].correct / all[i].count;
    cohort_json_integer(line, "clients", (int64_t)count);
    if (count > 0)
        summarize(line, "accuracy", "accuracy_decile", values, count);
    for (size_t i = 0; counts && i < federated->eligible_count; i++)
        if (all[i].own_count > 0)
            values[own_count++] = all[i].own_correct / all[i].own_count;
    if (own_count > 0)
        summarize(line, "personal_accuracy", "personal_accuracy_decile", values, own_count);
    return cohort_record_end(&federated->record);
}

cohort_status cohort_federated_personalize(cohort_federated *federated)
{
    const size_t count = federated->eligible_count;
    figures *all = NULL;
    double *values = NULL;
    if (!(federated->how->client_test > 0) || federated->deployment)
        return COHORT_OK;
    cohort_comm_set_phase(federated->comm, "testing the clients");
    cohort_status status = COHORT_ALLOCATE(&all, count);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&values, count);
    if (status == COHORT_OK)
        status = serve_mine(all, federated);
    COHORT_TRY_DONE(status, cohort_comm_agree(federated->comm, status));
    COHORT_TRY_DONE(status, cohort_comm_sum(federated->comm, (double *)all, count * FIGURES));
    for (size_t i = 0; i < count; i++)
        federated->stop_seen |= all[i].stopped > 0;
    if (!federated->stop_seen && cohort_comm_rank(federated->comm) == 0)
        status = record_all(federated, all, values);
    status = cohort_comm_follow(federated->comm, status);
done:
    cohort_free(all);
    cohort_free(values);
    return status;
}
