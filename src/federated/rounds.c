/* Rounds: choosing, training, the server's step, evaluation, checkpoints, records. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "federated/deploy.h"
#include "federated/protect.h"
#include "federated/secure.h"

static bool is_rank_0(const cohort_federated *federated)
{
    return cohort_comm_rank(federated->comm) == 0;
}

/* Sums over the clients that count, in their order. */
typedef struct round_sums {
    double loss, correct, count, rows, norm;
} round_sums;

static round_sums add_up(const cohort_round *round)
{
    round_sums sums = {0};
    for (size_t i = 0; i < round->count; i++) {
        if (round->dropped[i] != COHORT_DROPPED_NOT)
            continue;
        sums.loss += round->results[i].loss;
        sums.correct += round->results[i].correct;
        sums.count += round->results[i].count;
        sums.rows += round->results[i].rows;
        sums.norm += round->results[i].norm / (double)round->kept;
    }
    return sums;
}

/* --- Records --- */

static int64_t clients_per_round(const cohort_federated *federated)
{
    return cohort_federated_is_protected(federated)
               ? llround(cohort_federated_protect_mean(federated))
               : (int64_t)federated->chosen_most;
}

static cohort_status record_start(cohort_federated *federated)
{
    const cohort_federated_recipe *how = federated->how;
    cohort_text *line = cohort_record_begin(&federated->record, "start");
    cohort_json_string(line, "name", federated->recipe->name);
    cohort_json_string(line, "version", COHORT_VERSION);
    cohort_record_machine(line);
    cohort_json_integer(line, "ranks", federated->rank_count);
    cohort_json_integer(line, "threads", (int64_t)federated->threads);
    cohort_json_integer(line, "parameters",
                        (int64_t)cohort_model_parameter_count(federated->model));
    cohort_json_integer(line, "train_samples", (int64_t)federated->progress.train_samples);
    cohort_json_boolean(line, "federated", true);
    cohort_json_boolean(line, "simulated", !federated->deployment);
    cohort_json_integer(line, "clients", (int64_t)federated->eligible_count);
    cohort_json_integer(line, "clients_per_round", clients_per_round(federated));
    cohort_json_string(line, "strategy", how->strategy.table->name);
    cohort_json_string(line, "partition",
                       federated->deployment ? "own files" : how->partition.table->name);
    cohort_json_string(line, "compression", how->compression.table->name);
    cohort_json_number(line, "update_step", 1 / federated->fixed.scale);
    cohort_json_boolean(line, "secure_aggregation", cohort_federated_secure_is(federated));
    cohort_json_boolean(line, "resumed", federated->resumed);
    cohort_json_integer(line, "round", (int64_t)federated->progress.epoch);
    cohort_json_number(line, "startup_seconds", cohort_clock_seconds() - federated->launched);
    return cohort_record_end(&federated->record);
}

static const char *reason_of(int dropped)
{
    static const char *const reasons[] = {
        [COHORT_DROPPED_NOT] = "",
        [COHORT_DROPPED_NOT_FINITE] = "not finite",
        [COHORT_DROPPED_TOO_LARGE] = "larger than update_limit",
        [COHORT_DROPPED_SILENT] = "did not answer",
        [COHORT_DROPPED_LATE] = "others were first",
        [COHORT_DROPPED_DAMAGED] = "does not decode",
    };
    return reasons[dropped];
}

static void append_dropped(cohort_text *line, const cohort_round *round)
{
    if (round->kept == round->count)
        return;
    cohort_json_begin_array(line, "dropped");
    for (size_t i = 0; i < round->count; i++) {
        if (round->dropped[i] == COHORT_DROPPED_NOT)
            continue;
        cohort_json_begin_object(line, NULL);
        cohort_json_integer(line, "client", (int64_t)round->clients[i]);
        cohort_json_string(line, "why", reason_of(round->dropped[i]));
        cohort_json_end_object(line);
    }
    cohort_json_end_array(line);
}

static void append_split(cohort_text *line, const cohort_federated *federated,
                         const cohort_federated_split *split, const char *prefix)
{
    char name[64];
    snprintf(name, sizeof name, "%sloss", prefix);
    cohort_json_number(line, name, split->loss);
    snprintf(name, sizeof name, "%saccuracy", prefix);
    if (federated->loss.counts_correct)
        cohort_json_number(line, name, split->accuracy);
    cohort_record_language(line, &federated->loss, cohort_federated_about(federated)->tokenizer,
                           prefix, split->loss);
}

static double client_lr(const cohort_federated *federated)
{
    const cohort_optimizer_recipe *optimizer = &federated->recipe->optimizer;
    return cohort_schedule_lr(&optimizer->schedule, optimizer->lr, federated->progress.epoch, 1,
                              federated->how->rounds);
}

static double server_lr(const cohort_federated *federated)
{
    return cohort_schedule_lr(&federated->how->server_schedule, federated->how->server_lr,
                              federated->progress.epoch, 1, federated->how->rounds);
}

/* Written before progress moves on; IS_TESTED: the splits have been evaluated this round. */
static cohort_status record_round(cohort_federated *federated, const round_sums *sums,
                                  bool is_tested)
{
    const cohort_round *round = &federated->round;
    const double peak = cohort_job_peak_rss_mb(federated->comm);
    cohort_text *line = cohort_record_begin(&federated->record, "round");
    cohort_json_integer(line, "round", (int64_t)federated->progress.epoch + 1);
    cohort_json_integer(line, "clients", (int64_t)round->kept);
    cohort_json_number(line, "loss", sums->loss / sums->count);
    if (federated->loss.counts_correct)
        cohort_json_number(line, "accuracy", sums->correct / sums->count);
    cohort_record_language(line, &federated->loss, cohort_federated_about(federated)->tokenizer, "",
                           sums->loss / sums->count);
    if (is_tested && federated->validation.dataset)
        append_split(line, federated, &federated->validation, "validation_");
    if (is_tested && federated->test.dataset)
        append_split(line, federated, &federated->test, "test_");
    cohort_json_number(line, "bytes_up", round->bytes_up);
    cohort_json_number(line, "bytes_down", round->bytes_down);
    if (cohort_federated_secure_is(federated)) {
        cohort_json_number(line, "expansion", round->expansion);
        cohort_json_integer(line, "threshold", (int64_t)cohort_federated_secure_least(federated));
    }
    cohort_json_number(line, "update_norm", sums->norm);
    cohort_federated_protect_note(line, federated);
    cohort_json_number(line, "lr", client_lr(federated));
    cohort_json_number(line, "server_lr", server_lr(federated));
    append_dropped(line, round);
    cohort_json_number(line, "seconds", round->seconds);
    cohort_json_number(line, "peak_rss_mb", peak);
    return cohort_record_end(&federated->record);
}

static void note_dropped(const cohort_federated *federated)
{
    const cohort_round *round = &federated->round;
    for (size_t i = 0; is_rank_0(federated) && i < round->count; i++)
        if (round->dropped[i] != COHORT_DROPPED_NOT && round->dropped[i] != COHORT_DROPPED_LATE)
            cohort_log(COHORT_LOG_WARNING, "round %llu goes on without client %zu: its update %s",
                       (unsigned long long)federated->progress.epoch + 1, round->clients[i],
                       round->dropped[i] == COHORT_DROPPED_SILENT    ? "did not come in time"
                       : round->dropped[i] == COHORT_DROPPED_DAMAGED ? "does not decode"
                       : round->dropped[i] == COHORT_DROPPED_TOO_LARGE
                           ? "is larger than federated.update_limit"
                           : "is not finite");
}

/* --- Evaluation and what follows from it --- */

/* Whether a round whose updates are in may still be given up for a signal, to be done again. Not
 * one that cost privacy, nor one for which real clients have moved on. */
static bool may_give_up(const cohort_federated *federated)
{
    return cohort_comm_has_stop(federated->comm) && !federated->deployment &&
           !cohort_federated_is_protected(federated);
}

/* Copies what the server's step changes to federated->before, or back from it. */
static void copy_server(cohort_federated *federated, bool back)
{
    real *parts[] = {federated->global, federated->server.slots[0], federated->server.slots[1]};
    const size_t counts[] = {federated->exchange.count, federated->server.count,
                             federated->server.count};
    real *copy = federated->before;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i])
            continue;
        memcpy(back ? parts[i] : copy, back ? copy : parts[i], counts[i] * sizeof *copy);
        copy += counts[i];
    }
}

static cohort_status keep_server(cohort_federated *federated)
{
    if (!may_give_up(federated))
        return COHORT_OK;
    cohort_status status = COHORT_OK;
    if (!federated->before)
        status = COHORT_ALLOCATE(&federated->before,
                                 federated->exchange.count + 2 * federated->server.count);
    COHORT_TRY(cohort_comm_agree(federated->comm, status));
    copy_server(federated, false);
    return COHORT_OK;
}

/* The round under way is as if it had never begun. */
static void give_up(cohort_federated *federated)
{
    copy_server(federated, true);
    cohort_client_store_roll_back(&federated->store);
    federated->stop_seen = true;
}

static cohort_status evaluate(cohort_federated *federated, cohort_federated_split *split)
{
    cohort_evaluation result;
    if (!split->dataset)
        return COHORT_OK;
    COHORT_TRY(cohort_evaluate_blocks(&result, federated->comm, federated->model, &federated->loss,
                                      split->loader, split->block_count, false,
                                      may_give_up(federated)));
    split->loss = result.loss;
    split->accuracy = result.accuracy;
    cohort_evaluation_clear(&result);
    return COHORT_OK;
}

/* The figure that decides which round is best: early_stopping.metric, else the validation
 * loss. False when this round has none: no validation data, or not evaluated. */
static bool deciding_metric(double *figure, bool *higher_is_better,
                            const cohort_federated *federated, const round_sums *sums,
                            bool is_tested)
{
    const char *metric = federated->recipe->train.early_stopping.metric;
    if (!metric && !federated->validation.dataset)
        return false;
    metric = metric ? metric : "validation_loss";
    *higher_is_better = strstr(metric, "accuracy") != NULL;
    const bool on_validation = strncmp(metric, "validation_", strlen("validation_")) == 0;
    if (on_validation)
        *figure = *higher_is_better ? federated->validation.accuracy : federated->validation.loss;
    else
        *figure = (*higher_is_better ? sums->correct : sums->loss) / sums->count;
    return is_tested || !on_validation;
}

/* Updates the best figure; true when this round, which progress counts already, is best. */
static bool judge(cohort_federated *federated, const round_sums *sums, bool is_tested)
{
    cohort_progress *progress = &federated->progress;
    const double margin = federated->recipe->train.early_stopping.min_delta;
    double figure = NAN;
    bool higher = false;
    if (!deciding_metric(&figure, &higher, federated, sums, is_tested))
        return false;
    const bool better =
        isnan(progress->best_metric) || (higher ? figure > progress->best_metric + margin
                                                : figure < progress->best_metric - margin);
    progress->epochs_without_improvement = better ? 0 : progress->epochs_without_improvement + 1;
    if (better) {
        progress->best_metric = figure;
        progress->best_epoch = progress->epoch;
    }
    return better;
}

static bool has_stopped_early(const cohort_federated *federated)
{
    const cohort_early_stopping_recipe *early = &federated->recipe->train.early_stopping;
    return federated->progress.on_target ||
           (early->metric && federated->progress.epochs_without_improvement >= early->patience);
}

static void tell(cohort_federated *federated, const round_sums *sums, bool is_tested)
{
    const cohort_train_observer *observer = &federated->options.observer;
    const cohort_round *round = &federated->round;
    const bool counts = federated->loss.counts_correct;
    if (!is_rank_0(federated) || !observer->on_epoch)
        return;
    cohort_train_view view = {
        .epoch = federated->progress.epoch + 1,
        .epochs = federated->how->rounds,
        .step_in_epoch = round->kept,
        .steps_per_epoch = round->count,
        .loss = sums->loss / sums->count,
        .accuracy = counts ? sums->correct / sums->count : NAN,
        .validation_loss = is_tested ? federated->validation.loss : NAN,
        .validation_accuracy = is_tested ? federated->validation.accuracy : NAN,
        .samples_per_s = round->seconds > 0
                             ? sums->rows * (double)federated->how->local_epochs / round->seconds
                             : 0,
        .seconds = round->seconds,
        .by_rounds = true,
        .test_loss = is_tested ? federated->test.loss : NAN,
        .test_accuracy = is_tested ? federated->test.accuracy : NAN,
    };
    cohort_federated_protect_look(&view, federated);
    observer->on_epoch(observer->context, &view);
}

/* --- A round --- */

static size_t fewest(const cohort_federated *federated)
{
    if (cohort_federated_is_protected(federated))
        return 0; /* whether a round counts must not depend on what clients send */
    const size_t secure = cohort_federated_secure_least(federated);
    return secure > federated->how->min_clients ? secure : federated->how->min_clients;
}

/* Fewer updates than min_clients: names the first that is missing. */
static cohort_status refuse_round(const cohort_federated *federated)
{
    const cohort_round *round = &federated->round;
    size_t first = 0;
    while (first + 1 < round->count && round->dropped[first] == COHORT_DROPPED_NOT)
        first++;
    const bool silent = round->dropped[first] == COHORT_DROPPED_SILENT;
    const size_t least = fewest(federated);
    return COHORT_FAIL(silent ? COHORT_PEER : COHORT_DIVERGED,
                       "round %llu: %zu of %zu clients gave a usable update, fewer than "
                       "%s (%zu): client %zu's %s; %s (the last checkpoint is kept)",
                       (unsigned long long)federated->progress.epoch + 1, round->kept, round->count,
                       least > federated->how->min_clients
                           ? "the threshold of federated.secure_aggregation"
                           : "federated.min_clients",
                       least, round->clients[first],
                       silent ? "did not come in time"
                       : round->dropped[first] == COHORT_DROPPED_TOO_LARGE
                           ? "is larger than federated.update_limit"
                           : "is not finite",
                       silent ? "look there, or raise federated.round_timeout"
                       : round->dropped[first] == COHORT_DROPPED_TOO_LARGE
                           ? "lower optimizer.lr or raise the limit"
                           : "lower optimizer.lr or set optimizer.clip_norm");
}

/* The server's step by the mean update. */
static void update_global(cohort_federated *federated)
{
    const cohort_exchange *exchange = &federated->exchange;
    real *global = federated->global;
    const real *mean = federated->mean;
    cohort_server_step(&federated->server, global, mean, server_lr(federated));
    global += exchange->params;
    mean += exchange->params;
    for (size_t i = 0; i < exchange->state; i++)
        global[i] += mean[i];
    global += exchange->state;
    mean += exchange->state;
    /* c += |S| / N mean(change of c_k) */
    const double share = (double)federated->round.kept / (double)federated->eligible_count;
    for (size_t i = 0; i < exchange->control; i++)
        global[i] = (real)((double)global[i] + share * (double)mean[i]);
}

/* Ends the round whose updates are in: the step, figures, record, checkpoint. */
static cohort_status end_round(cohort_federated *federated)
{
    cohort_progress *progress = &federated->progress;
    const cohort_federated_recipe *how = federated->how;
    const round_sums sums = add_up(&federated->round);
    const bool is_tested =
        (progress->epoch + 1) % how->evaluate_every == 0 || progress->epoch + 1 == how->rounds;
    COHORT_TRY(cohort_federated_combine(federated));
    COHORT_TRY(keep_server(federated));
    update_global(federated);
    cohort_status status = COHORT_OK;
    if (is_tested)
        status = evaluate(federated, &federated->validation);
    if (is_tested && status == COHORT_OK)
        status = evaluate(federated, &federated->test);
    if (status == COHORT_STOPPED) {
        cohort_error_clear();
        give_up(federated);
        return COHORT_OK;
    }
    COHORT_TRY(status);
    cohort_client_store_commit(&federated->store);
    COHORT_TRY(cohort_comm_follow(federated->comm, record_round(federated, &sums, is_tested)));
    tell(federated, &sums, is_tested);
    progress->step = ++progress->epoch;
    progress->seconds += federated->round.seconds;
    federated->progress.on_target =
        how->target_accuracy > 0 && is_tested && federated->test.accuracy >= how->target_accuracy;
    const bool is_best = judge(federated, &sums, is_tested);
    const size_t every = federated->recipe->checkpoint.every_epochs;
    const bool due = every && progress->epoch % every == 0;
    return due || is_best ? cohort_federated_save(federated, due, is_best) : COHORT_OK;
}

static cohort_status run_round(cohort_federated *federated)
{
    cohort_round *round = &federated->round;
    round->kept = 0;
    round->is_abandoned = false;
    round->bytes_up = round->bytes_down = round->seconds = 0;
    if (federated->deployment)
        COHORT_TRY(cohort_deployment_choose(federated));
    else
        COHORT_TRY(cohort_federated_choose(federated));
    COHORT_TRY(federated->gather(federated));
    if (round->is_abandoned) {
        federated->stop_seen = true;
        return COHORT_OK;
    }
    note_dropped(federated);
    if (round->kept < fewest(federated))
        return refuse_round(federated);
    return end_round(federated);
}

static cohort_status stop(cohort_federated *federated)
{
    COHORT_TRY(cohort_federated_save(federated, false, false));
    cohort_text *line = cohort_record_begin(&federated->record, "end");
    cohort_json_string(line, "status", "stopped");
    cohort_json_integer(line, "round", (int64_t)federated->progress.epoch);
    cohort_json_number(line, "seconds", cohort_clock_seconds() - federated->launched);
    COHORT_TRY(cohort_comm_follow(federated->comm, cohort_record_end(&federated->record)));
    return COHORT_FAIL(COHORT_STOPPED,
                       "stopped by a signal after round %llu and a checkpoint; run the same "
                       "command again to continue",
                       (unsigned long long)federated->progress.epoch);
}

/* Whether any rank was told to stop. Collective. */
static cohort_status ask_stop(cohort_federated *federated)
{
    const cohort_trainer_options *options = &federated->options;
    double wanted = federated->stop_seen ||
                    (options->should_stop && options->should_stop(options->stop_context));
    COHORT_TRY(cohort_comm_max(federated->comm, &wanted, 1));
    federated->stop_seen = wanted > 0;
    return COHORT_OK;
}

/* Early stopping gives back the weights of the best round. */
static cohort_status restore_best(cohort_federated *federated)
{
    const cohort_progress *progress = &federated->progress;
    if (!federated->recipe->train.early_stopping.metric || progress->best_epoch == 0 ||
        progress->best_epoch == progress->epoch)
        return COHORT_OK;
    cohort_status status = COHORT_OK;
    if (is_rank_0(federated)) {
        cohort_text path = {0};
        cohort_snapshot snapshot = {
            .params = cohort_model_param_tensors(federated->model),
            .state = cohort_model_state_tensors(federated->model),
            .params_data = federated->global,
            .state_data = federated->global + federated->exchange.params,
        };
        status = cohort_run_path(&path, federated->run, "checkpoints/best.h5");
        if (status == COHORT_OK)
            status = cohort_job_load_weights(&snapshot, path.data);
        cohort_text_clear(&path);
    }
    COHORT_TRY(cohort_comm_follow(federated->comm, status));
    return cohort_comm_broadcast(
        federated->comm, federated->global,
        (federated->exchange.params + federated->exchange.state) * sizeof(real), 0);
}

static cohort_status test(cohort_federated *federated)
{
    cohort_evaluation *result = &federated->test_result;
    if (!federated->test.dataset)
        return COHORT_OK;
    cohort_status status = cohort_evaluate_blocks(
        result, federated->comm, federated->model, &federated->loss, federated->test.loader,
        federated->test.block_count, true, !federated->deployment);
    if (status == COHORT_STOPPED) {
        cohort_error_clear();
        federated->stop_seen = true;
        return COHORT_OK;
    }
    COHORT_TRY(status);
    federated->tested = true;
    return cohort_comm_follow(federated->comm,
                              cohort_record_test(&federated->record, result, &federated->loss,
                                                 cohort_dataset_describe(federated->test.dataset),
                                                 "round", federated->progress.epoch));
}

static cohort_status record_end(cohort_federated *federated)
{
    const double peak = cohort_job_peak_rss_mb(federated->comm);
    cohort_text *line = cohort_record_begin(&federated->record, "end");
    cohort_json_string(line, "status", "finished");
    if (has_stopped_early(federated))
        cohort_json_boolean(line, "stopped_early", true);
    cohort_json_integer(line, "round", (int64_t)federated->progress.epoch);
    cohort_json_number(line, "seconds", cohort_clock_seconds() - federated->launched);
    cohort_json_number(line, "peak_rss_mb", peak);
    return cohort_record_end(&federated->record);
}

static cohort_status run(cohort_federated *federated)
{
    cohort_progress *progress = &federated->progress;
    COHORT_TRY(cohort_comm_follow(federated->comm, record_start(federated)));
    while (progress->epoch < federated->how->rounds && !has_stopped_early(federated)) {
        COHORT_TRY(run_round(federated));
        COHORT_TRY(ask_stop(federated));
        if (federated->stop_seen)
            return stop(federated);
    }
    const bool early = has_stopped_early(federated);
    COHORT_TRY(restore_best(federated));
    COHORT_TRY(test(federated));
    if (!federated->stop_seen)
        COHORT_TRY(cohort_federated_personalize(federated));
    if (federated->stop_seen)
        return stop(federated);
    progress->finished = early ? COHORT_RUN_FINISHED_EARLY : COHORT_RUN_FINISHED;
    COHORT_TRY(cohort_federated_save(federated, false, isnan(progress->best_metric)));
    return cohort_comm_follow(federated->comm, record_end(federated));
}

cohort_status cohort_federated_run(cohort_federated *federated)
{
    if (federated->serves)
        return cohort_deployment_serve(federated->comm, federated->recipe, &federated->options);
    cohort_status status = run(federated);
    if (federated->deployment)
        cohort_deployment_finish(federated, status);
    return status;
}
