/* Preflight: the order of things. Every phase ends with one finding or several; where
 * nothing after it can be looked at, the preflight ends there. */
#include "train/preflight.h"
#include "train/private.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/memory.h"
#include "data/budget.h"
#include "data/same_file.h"
#include "train/preflight_private.h"

static const double STEP_SECONDS = 2, READ_SECONDS = 0.3;
/* Training data beyond this are streamed during the preflight, to be done in seconds. */
static const uint64_t HELD_MOST = (uint64_t)256 << 20;

void cohort_find(cohort_findings *findings, cohort_finding_level level, const char *subject,
                 const char *format, ...)
{
    char text[1200];
    va_list arguments;
    if (!findings->report)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    findings->good += level == COHORT_FINDING_GOOD;
    findings->warnings += level == COHORT_FINDING_WARNING;
    findings->problems += level == COHORT_FINDING_PROBLEM;
    findings->report(findings->context, level, subject, text);
}

cohort_status cohort_note_failure(bool *on, cohort_findings *findings, const cohort_comm *comm,
                                  const char *subject, cohort_status status)
{
    *on = status == COHORT_OK;
    if (status == COHORT_OK)
        return COHORT_OK;
    if (cohort_comm_is_broken(comm))
        return status;
    cohort_find(findings, COHORT_FINDING_PROBLEM, subject, "%s", cohort_error_message());
    cohort_error_clear();
    return COHORT_OK;
}

static cohort_status note_failure(bool *on, cohort_preflight_run *run, const char *subject,
                                  cohort_status status)
{
    return cohort_note_failure(on, run->findings, run->comm, subject, status);
}

/* --- Ranks ------------------------------------------------------------------------ */

static cohort_status gather_facts(cohort_preflight_run *run, size_t threads)
{
    const size_t size = (size_t)cohort_comm_size(run->comm);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    cohort_rank_facts mine = {.build = cohort_build_number(),
                              .node = (uint64_t)cohort_comm_node_index(run->comm),
                              .host_cores = cores > 0 ? (uint64_t)cores : 1,
                              .threads = threads,
                              .memory_free = cohort_memory_available(),
                              .shared_free = cohort_shared_room()};
    snprintf(mine.host, sizeof mine.host, "%s",
             cohort_comm_host(run->comm, cohort_comm_rank(run->comm)));
    cohort_comm_library(mine.mpi, sizeof mine.mpi);
    CPU_ZERO(&mine.cores);
    if (sched_getaffinity(0, sizeof mine.cores, &mine.cores) != 0)
        for (size_t i = 0; i < mine.host_cores && i < CPU_SETSIZE; i++)
            CPU_SET(i, &mine.cores);
    cohort_status status = COHORT_ALLOCATE(&run->facts, size);
    COHORT_TRY(cohort_comm_agree(run->comm, status));
    return cohort_comm_gather_all(run->comm, run->facts, &mine, sizeof mine);
}

static cohort_status check_ranks(cohort_preflight_run *run)
{
    const size_t size = (size_t)cohort_comm_size(run->comm);
    COHORT_TRY(gather_facts(run, cohort_job_use_threads(run->recipe->train.threads)));
    cohort_judge_launch(run->findings, run->facts, size, (size_t)cohort_comm_job_tasks());
    cohort_judge_programs(run->findings, run->facts, size);
    cohort_judge_cores(run->findings, run->facts, size);
    return COHORT_OK;
}

/* --- Run folder --------------------------------------------------------------------- */

/* Bytes of one checkpoint: parameters, state, optimizer slots, and what is around them. */
static double checkpoint_bytes(const cohort_trainer *trainer)
{
    const double vectors = 1 + (double)cohort_optimizer_slot_count(trainer->optimizer);
    return 4 * (vectors * (double)cohort_model_params_count(trainer->model) +
                (double)cohort_model_state_count(trainer->model)) +
           0x1p17;
}

static void judge_disk(cohort_findings *findings, const cohort_run_place *place, const char *folder,
                       const cohort_recipe *recipe, double bytes)
{
    /* The epochs' that are kept and a new one, last, best, and one being written. */
    const double files = (double)recipe->checkpoint.keep + 4, need = files * bytes;
    char wanted[24], each[24], have[24];
    cohort_bytes_text(wanted, need);
    cohort_bytes_text(each, bytes);
    cohort_bytes_text(have, (double)place->free);
    if (need > (double)place->free)
        cohort_find(findings, COHORT_FINDING_PROBLEM, "disk",
                    "checkpoints need %s (%g of %s), but there are %s free at %s: make room, lower "
                    "checkpoint.keep, or give another folder with --run",
                    wanted, files, each, have, folder);
    else if (bytes > 0)
        cohort_find(findings, COHORT_FINDING_GOOD, "disk",
                    "%s for up to %g checkpoints of %s, %s free", wanted, files, each, have);
    if (!place->has_locks)
        cohort_find(findings, COHORT_FINDING_WARNING, "locks",
                    "the file system of %s cannot lock files: see to it that no two jobs use that "
                    "run folder",
                    folder);
}

/* Rank 0's part. */
static cohort_status look_at_folder(cohort_findings *findings, const cohort_recipe *recipe,
                                    const cohort_preflight_options *options, double bytes,
                                    cohort_preflight_continuing *continuing, void *context)
{
    cohort_run_place place = {0};
    cohort_text folder = {0};
    cohort_status status = COHORT_OK;
    if (options->run_folder)
        cohort_text_append(&folder, "%s", options->run_folder);
    else
        cohort_text_append(&folder, "runs/%s", recipe->name);
    COHORT_TRY_DONE(status, cohort_text_status(&folder));
    COHORT_TRY_DONE(status, cohort_run_look(&place, folder.data));
    judge_disk(findings, &place, folder.data, recipe, bytes);
    if (options->fresh)
        place.last.length = 0;
    COHORT_TRY_DONE(status,
                    continuing(context, place.last.length ? place.last.data : "", folder.data));
    cohort_find(findings, COHORT_FINDING_GOOD, "run",
                place.last.length ? "%s would be continued" : "%s would be begun", folder.data);
done:
    cohort_text_clear(&place.last);
    cohort_text_clear(&folder);
    return status;
}

cohort_status cohort_preflight_folder(cohort_findings *findings, cohort_comm *comm,
                                      const cohort_recipe *recipe,
                                      const cohort_preflight_options *options, double bytes,
                                      cohort_preflight_continuing *continuing, void *context)
{
    bool unused;
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(comm) == 0)
        status = look_at_folder(findings, recipe, options, bytes, continuing, context);
    return cohort_note_failure(&unused, findings, comm, "run", cohort_comm_follow(comm, status));
}

/* Initial weights are loaded, too. */
static cohort_status try_run(void *context, const char *checkpoint, const char *folder)
{
    cohort_preflight_run *run = context;
    cohort_run_place place = {0};
    cohort_text_append(&run->trainer->folder, "%s", folder);
    cohort_text_append(&place.last, "%s", checkpoint);
    /* A run is continued in the way it reads data, which here is another. */
    if (run->held)
        run->trainer->progress.chunk_rows = 0;
    cohort_status status = cohort_text_status(&place.last);
    if (status == COHORT_OK)
        status = cohort_trainer_try_run(run->trainer, &place);
    cohort_text_clear(&place.last);
    return status;
}

static cohort_status check_folder(cohort_preflight_run *run)
{
    COHORT_TRY(cohort_preflight_folder(run->findings, run->comm, run->recipe, run->options,
                                       checkpoint_bytes(run->trainer), try_run, run));
    return cohort_trainer_share_weights(run->trainer);
}

/* --- Data and network ----------------------------------------------------------------- */

/* Looks at the training data on every rank; lowers the recipe's limit where holding them
 * would take long. */
static cohort_status survey(cohort_preflight_run *run)
{
    cohort_data_recipe *data = &run->recipe->data;
    const cohort_dataset_spec spec = {
        .path = data->file,
        .group = data->train,
        .x = data->x,
        .y = cohort_job_needs_targets(run->recipe) ? data->y : NULL,
    };
    COHORT_TRY(cohort_data_require_same_file(run->comm, data->file));
    COHORT_TRY(cohort_comm_agree(run->comm, cohort_data_survey(&run->survey, &spec, READ_SECONDS)));
    double slow = -run->survey.bytes_per_s,
           scarce = -(double)cohort_memory_budget(data->memory_limit);
    COHORT_TRY(cohort_comm_max(run->comm, &slow, 1));
    COHORT_TRY(cohort_comm_max(run->comm, &scarce, 1));
    run->survey.bytes_per_s = -slow;
    const uint64_t budget = (uint64_t)-scarce;
    cohort_judge_survey(run, budget);
    const uint64_t blocks =
                       32 * run->survey.block_bytes * (uint64_t)cohort_comm_node_size(run->comm),
                   most = blocks > HELD_MOST ? blocks : HELD_MOST;
    double limit = (double)most; /* hosts may differ in ranks */
    COHORT_TRY(cohort_comm_max(run->comm, &limit, 1));
    run->held = run->survey.bytes <= budget;
    if (run->held && (double)run->survey.bytes > limit)
        data->memory_limit = (uint64_t)limit;
    return COHORT_OK;
}

void cohort_find_model(cohort_findings *findings, const cohort_model *model)
{
    char shape[COHORT_SHAPE_TEXT], out[COHORT_SHAPE_TEXT];
    cohort_find(findings, COHORT_FINDING_GOOD, "model", "%zu parameters, %s to %s",
                cohort_model_parameter_count(model),
                cohort_shape_text(shape, &cohort_model_input(model)->shape),
                cohort_shape_text(out, cohort_model_output_shape(model)));
}

/* --- Steps ---------------------------------------------------------------------------- */

static void judge_steps(cohort_preflight_run *run, const cohort_step_timing *timing)
{
    const cohort_trainer *trainer = run->trainer;
    const size_t steps = timing->steps;
    const double seconds = timing->seconds, each = seconds / (double)steps,
                 waits[2] = {timing->wait_comm_most, timing->wait_data},
                 total = each * (double)trainer->total_steps;
    char epoch[16], whole[16], left[16];
    const char *end = getenv("SLURM_JOB_END_TIME");
    double until = 0;
    cohort_find(run->findings, COHORT_FINDING_GOOD, "speed",
                "%.3g ms a step (over %zu): an epoch of %llu steps takes some %s, all %llu steps "
                "%s, without evaluation",
                1000 * each, steps, (unsigned long long)trainer->steps_per_epoch,
                cohort_duration_text(epoch, each * (double)trainer->steps_per_epoch),
                (unsigned long long)trainer->total_steps, cohort_duration_text(whole, total));
    if (waits[0] > seconds / 2)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "speed",
                    "ranks wait for each other %.0f %% of the time: start fewer, raise "
                    "train.global_batch_size, or see to it that each has cores of its own",
                    100 * waits[0] / seconds);
    if (waits[1] > seconds / 4)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "speed",
                    "ranks wait for data %.0f %% of the time: put the file on a faster disk, raise "
                    "data.memory_limit, or augment less",
                    100 * waits[1] / seconds);
    if (end && cohort_parse_double(&until, end) && until - (double)time(NULL) < total)
        cohort_find(run->findings, COHORT_FINDING_WARNING, "time",
                    "the job ends in %s, the run takes some %s: ask for more time, or let the job "
                    "requeue (launch/README.md)",
                    cohort_duration_text(left, fmax(0, until - (double)time(NULL))), whole);
}

static cohort_status check_steps(cohort_preflight_run *run)
{
    cohort_step_timing timing;
    bool on = false;
    COHORT_TRY(note_failure(&on, run, "training",
                            cohort_trainer_time(&timing, run->trainer, STEP_SECONDS)));
    if (on)
        judge_steps(run, &timing);
    return COHORT_OK;
}

/* --- All of it ------------------------------------------------------------------------ */

static cohort_status open_trainer(cohort_preflight_run *run)
{
    run->trainer = calloc(1, sizeof *run->trainer);
    COHORT_TRY(cohort_comm_agree(
        run->comm, run->trainer ? COHORT_OK : COHORT_FAIL(COHORT_MEMORY, "out of memory")));
    run->trainer->comm = run->comm;
    run->trainer->recipe = run->recipe;
    run->trainer->progress.best_metric = NAN;
    run->trainer->threads = cohort_job_use_threads(run->recipe->train.threads);
    COHORT_TRY(cohort_trainer_open(run->trainer));
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(run->comm) == 0)
        status = cohort_private_settle(run->trainer);
    COHORT_TRY(cohort_comm_follow(run->comm, status));
    status = cohort_recipe_write(&run->trainer->recipe_text, run->recipe);
    return cohort_comm_agree(run->comm, status);
}

/* Whether the rows are real clients', each with a file of its own. */
static bool is_elsewhere(const cohort_recipe *recipe)
{
    return recipe->federated.rounds && strstr(recipe->data.file, COHORT_RANK_MARK);
}

static cohort_status go_through(cohort_preflight_run *run)
{
    const cohort_preflight_options *options = run->options;
    bool on = true;
    COHORT_TRY(note_failure(&on, run, "recipe",
                            cohort_job_read_recipe(&run->recipe, run->comm, options->recipe,
                                                   options->sets, options->set_count)));
    if (!on)
        return COHORT_OK;
    cohort_comm_set_timeout(run->comm, run->recipe->comm.timeout);
    COHORT_TRY(check_ranks(run));
    const double delta = run->recipe->privacy.delta;
    if (run->recipe->federated.rounds) {
        if (is_elsewhere(run->recipe))
            return options->rounds(run->findings, run->comm, run->recipe, options);
        run->recipe->privacy.delta = 0; /* a client's steps are plain, its update is private */
    }
    cohort_comm_set_phase(run->comm, "looking at the data");
    COHORT_TRY(note_failure(&on, run, "data", survey(run)));
    if (!on)
        return COHORT_OK;
    COHORT_TRY(note_failure(&on, run, "setup", open_trainer(run)));
    if (!on)
        return COHORT_OK;
    cohort_find_model(run->findings, run->trainer->model);
    if (run->findings->report)
        cohort_judge_values(run);
    if (run->recipe->federated.rounds) {
        cohort_trainer_destroy(run->trainer);
        run->trainer = NULL;
        run->recipe->privacy.delta = delta;
        return options->rounds(run->findings, run->comm, run->recipe, options);
    }
    cohort_judge_batch(run);
    cohort_judge_memory(run);
    COHORT_TRY(check_folder(run));
    return check_steps(run);
}

cohort_status cohort_preflight(cohort_findings *findings, cohort_comm *comm,
                               const cohort_preflight_options *options)
{
    cohort_preflight_run run = {.findings = findings, .comm = comm, .options = options};
    if (cohort_comm_rank(comm) != 0)
        findings->report = NULL;
    cohort_status status = go_through(&run);
    cohort_trainer_destroy(run.trainer);
    cohort_recipe_destroy(run.recipe);
    cohort_free(run.facts);
    return status;
}
