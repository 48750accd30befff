#include "train/tune.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "data/budget.h"
#include "train/private.h"
#include "train/tune_private.h"

static const double LOOK_INTERVAL = 0.2; /* seconds between looks at the others */
enum { RECIPE_BYTES_MAX = 1 << 20 };

static bool is_rank_0(const cohort_tune *tune)
{
    return cohort_comm_rank(tune->comm) == 0;
}

const cohort_recipe *cohort_tune_recipe(const cohort_tune *tune)
{
    return tune->recipe;
}

const cohort_search_plan *cohort_tune_plan(const cohort_tune *tune)
{
    return &tune->plan;
}

const char *cohort_tune_folder(const cohort_tune *tune)
{
    return tune->folder.data;
}

int cohort_tune_group_count(const cohort_tune *tune)
{
    return tune->group_count;
}

const cohort_trial *cohort_tune_trial(const cohort_tune *tune, size_t trial)
{
    return &tune->trials[trial];
}

/* --- While trials run ------------------------------------------------------------ */

/* Takes what has come of the trials of the rung under way; tells of it. Rank 0. */
static void hear(cohort_tune *tune, size_t rung)
{
    bool news = false;
    for (size_t i = 0; i < tune->plan.trial_count; i++) {
        const bool open = tune->trials[i].state == COHORT_TRIAL_OPEN || tune->trials[i].rung < rung;
        if (!tune->takes_part[i] || !open ||
            !cohort_tune_read_result(&tune->trials[i], tune, i, rung))
            continue;
        news = true;
        if (tune->options.on_trial)
            tune->options.on_trial(tune->options.context, tune, i);
    }
    if (news && cohort_tune_write_trials(tune) != COHORT_OK)
        cohort_error_clear(); /* tried again at the end of the rung */
}

bool cohort_tune_ask(void *context)
{
    cohort_tune *tune = context;
    const double now = cohort_clock_seconds();
    if (!tune->stop && tune->options.should_stop &&
        tune->options.should_stop(tune->options.stop_context)) {
        tune->stop = true;
        cohort_board_call_stop(&tune->board);
    }
    if (tune->stop || now < tune->next_look)
        return tune->stop;
    tune->next_look = now + LOOK_INTERVAL;
    if (cohort_comm_rank(tune->part) == 0)
        cohort_board_beat(&tune->board);
    if (cohort_comm_look(tune->comm) != COHORT_OK || cohort_board_is_stopped(&tune->board))
        tune->stop = true;
    return tune->stop;
}

/* Why a rank has stopped: ranks are lost, or it was asked to. */
static cohort_status stopped(const cohort_tune *tune)
{
    if (cohort_comm_is_broken(tune->comm))
        return cohort_comm_look(tune->comm);
    return COHORT_FAIL(COHORT_STOPPED,
                       "stopped by a signal, the trials under way saved; run the same command "
                       "again to continue");
}

/* The next trial of RUNG for this group into *trial; trial_count: none is left. */
static cohort_status take(size_t *trial, cohort_tune *tune, size_t rung)
{
    cohort_status status = COHORT_OK;
    size_t next = 0;
    for (; cohort_comm_rank(tune->part) == 0 && next < tune->plan.trial_count; next++) {
        char name[48];
        bool mine = false;
        if (!tune->takes_part[next] || cohort_tune_read_result(NULL, tune, next, rung))
            continue;
        snprintf(name, sizeof name, "rung-%zu-trial-%zu", rung, next);
        status = cohort_board_claim(&mine, &tune->board, name);
        if (mine || status != COHORT_OK)
            break;
    }
    COHORT_TRY(cohort_comm_follow(tune->part, status));
    *trial = next;
    return cohort_comm_broadcast(tune->part, trial, sizeof *trial, 0);
}

/* Ranks FIRST to LAST of group GROUP of COUNT. */
static int group_of(int rank, int per_group, int count)
{
    const int group = rank / per_group;
    return group < count ? group : count - 1;
}

static int ranks_per_group(const cohort_tune *tune)
{
    const int size = cohort_comm_size(tune->comm);
    const size_t wanted = tune->recipe->search.ranks_per_trial;
    return wanted < (size_t)size ? (int)wanted : size;
}

static cohort_status blame(cohort_tune *tune, int group)
{
    const int first = group * ranks_per_group(tune);
    (void)COHORT_FAIL(COHORT_PEER,
                      "rank %d on %s, which trains a trial%s, has not moved for %g s: stopped or "
                      "stuck; look there, or raise comm.timeout",
                      first, cohort_comm_host(tune->comm, first),
                      ranks_per_group(tune) > 1 ? " with others" : "", tune->recipe->comm.timeout);
    return cohort_comm_lose(tune->comm);
}

/* Waits until all trials of RUNG have a result. */
static cohort_status await(cohort_tune *tune, size_t rung)
{
    for (size_t i = 0; i < tune->plan.trial_count;) {
        if (!tune->takes_part[i] || cohort_tune_read_result(NULL, tune, i, rung)) {
            i++;
            continue;
        }
        if (cohort_tune_ask(tune))
            return stopped(tune);
        const int stuck = cohort_board_find_stuck(&tune->board, tune->recipe->comm.timeout);
        if (stuck < tune->group_count)
            return blame(tune, stuck);
        if (is_rank_0(tune))
            hear(tune, rung);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    return COHORT_OK;
}

static cohort_status work(cohort_tune *tune, size_t rung)
{
    for (;;) {
        size_t trial = 0;
        if (cohort_tune_ask(tune))
            break;
        COHORT_TRY(take(&trial, tune, rung));
        if (trial == tune->plan.trial_count)
            return await(tune, rung);
        const cohort_status status = cohort_tune_run_trial(tune, trial, rung);
        if (status == COHORT_STOPPED || cohort_comm_is_broken(tune->comm))
            break;
        COHORT_TRY(status);
        if (is_rank_0(tune))
            hear(tune, rung);
    }
    if (is_rank_0(tune))
        hear(tune, rung);
    return stopped(tune);
}

/* A group that fails stops the others, which then learn why. Groups of several ranks agree
 * within: not all of a group need have been asked to stop. */
static cohort_status run_rung(cohort_tune *tune, size_t rung)
{
    cohort_status status = work(tune, rung);
    if (status != COHORT_OK)
        cohort_board_call_stop(&tune->board);
    COHORT_TRY(cohort_comm_agree(tune->comm, status));
    if (is_rank_0(tune))
        hear(tune, rung);
    return cohort_comm_broadcast(tune->comm, tune->trials,
                                 tune->plan.trial_count * sizeof *tune->trials, 0);
}

/* --- The search ---------------------------------------------------------------- */

static cohort_status scores_of(cohort_search_score **scores, const cohort_tune *tune)
{
    const size_t count = tune->plan.trial_count;
    COHORT_TRY(COHORT_ALLOCATE(scores, count));
    for (size_t i = 0; i < count; i++)
        (*scores)[i] =
            (cohort_search_score){.took_part = tune->takes_part[i],
                                  .failed = tune->trials[i].state != COHORT_TRIAL_FINISHED,
                                  .figure = tune->trials[i].figure};
    return COHORT_OK;
}

static cohort_status promote(cohort_tune *tune)
{
    cohort_search_score *scores = NULL;
    COHORT_TRY(scores_of(&scores, tune));
    cohort_search_promote(tune->takes_part, scores, tune->plan.trial_count,
                          tune->recipe->search.eta, cohort_search_prefers_more(tune->recipe));
    cohort_free(scores);
    return COHORT_OK;
}

size_t cohort_tune_best(const cohort_tune *tune)
{
    cohort_search_score *scores = NULL;
    if (scores_of(&scores, tune) != COHORT_OK) {
        cohort_error_clear();
        return tune->plan.trial_count;
    }
    const size_t best = cohort_search_best(scores, tune->plan.trial_count,
                                           cohort_search_prefers_more(tune->recipe));
    cohort_free(scores);
    return best;
}

static cohort_status conclude(cohort_tune *tune)
{
    cohort_text board = {0};
    cohort_status status = cohort_tune_write_trials(tune);
    if (status == COHORT_OK && cohort_tune_best(tune) < tune->plan.trial_count)
        status = cohort_tune_write_best(tune);
    if (status == COHORT_OK)
        status = cohort_tune_path(&board, tune, "claims");
    if (status == COHORT_OK)
        cohort_board_remove(board.data);
    cohort_text_clear(&board);
    return status;
}

cohort_status cohort_tune_run(cohort_tune *tune)
{
    for (size_t i = 0; i < tune->plan.trial_count; i++)
        tune->takes_part[i] = true;
    for (size_t rung = 0; rung < tune->plan.rung_count; rung++) {
        if (rung > 0)
            COHORT_TRY(cohort_comm_agree(tune->comm, promote(tune)));
        COHORT_TRY(run_rung(tune, rung));
    }
    COHORT_TRY(cohort_comm_follow(tune->comm, is_rank_0(tune) ? conclude(tune) : COHORT_OK));
    if (cohort_tune_best(tune) < tune->plan.trial_count)
        return COHORT_OK;
    const cohort_trial *first = &tune->trials[0];
    return COHORT_FAIL(first->state == COHORT_TRIAL_DIVERGED ? COHORT_DIVERGED : COHORT_USAGE,
                       "none of the %zu trials could be trained; the recipe as it stands: %s",
                       tune->plan.trial_count, first->message);
}

/* --- Opening ------------------------------------------------------------------- */

static cohort_status read_recipe(cohort_tune *tune)
{
    cohort_comm *comm = tune->comm;
    COHORT_TRY(cohort_job_require_same_program(comm));
    COHORT_TRY(cohort_job_read_text(&tune->text, &tune->recipe_folder, comm, tune->path));
    COHORT_TRY(cohort_job_parse_recipe(&tune->recipe, comm, &tune->text, tune->path,
                                       tune->recipe_folder.data, tune->sets, tune->set_count));
    COHORT_REQUIRE(!tune->recipe->train.folds, COHORT_USAGE,
                   "trials are judged on data.validation, not by folds; remove train.folds, and "
                   "train the best recipe with it afterwards");
    COHORT_REQUIRE(tune->recipe->search.space.count > 0, COHORT_USAGE,
                   "%s has no search; say what is to be tried, e.g. search: {space: "
                   "{optimizer.lr: {log_uniform: [0.001, 0.1]}}}",
                   tune->path);
    cohort_comm_set_timeout(comm, tune->recipe->comm.timeout);
    return cohort_job_find_data(tune->recipe, comm);
}

/* A search in the folder already must be this one. */
static cohort_status check_same(const cohort_tune *tune, const char *path)
{
    cohort_text text = {0}, key = {0};
    cohort_recipe *old = NULL;
    bool same = false;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_file_read(&text, path, RECIPE_BYTES_MAX));
    COHORT_TRY_DONE(status, cohort_recipe_parse(&old, text.data ? text.data : "", path, ".", NULL,
                                                0, cohort_model_catalog()));
    COHORT_TRY_DONE(status, cohort_recipe_is_same_run(&same, &key, old, tune->recipe));
    if (same && (old->train.epochs != tune->recipe->train.epochs ||
                 old->train.max_steps != tune->recipe->train.max_steps)) {
        same = false;
        cohort_text_append(&key, "train.epochs or train.max_steps");
    }
    COHORT_REQUIRE_DONE(status, same, COHORT_USAGE,
                        "the search in %s differs in %s; use --fresh to move it aside and start "
                        "anew, or --run for another folder",
                        tune->folder.data, key.data);
done:
    cohort_recipe_destroy(old);
    cohort_text_clear(&text);
    cohort_text_clear(&key);
    return status;
}

/* Whether the job that opened the folder last is this one, started again; else notes it. */
static cohort_status note_job(bool *again, const cohort_tune *tune, bool write)
{
    cohort_text path = {0}, job = {0};
    cohort_status status = cohort_tune_path(&path, tune, ".job");
    const char *name = tune->options.job;
    *again = false;
    if (status == COHORT_OK && name && write)
        status = cohort_file_write(path.data, name, strlen(name));
    else if (status == COHORT_OK && name && cohort_file_exists(path.data) &&
             cohort_file_read(&job, path.data, 256) == COHORT_OK && job.data)
        *again = strcmp(job.data, name) == 0;
    cohort_text_clear(&path);
    cohort_text_clear(&job);
    return status;
}

/* Rank 0's part of opening the folder. */
static cohort_status open_folder(cohort_tune *tune)
{
    static const char *const folders[] = {"trials", "results"};
    cohort_text path = {0}, text = {0};
    bool again = false, done_again = false;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, note_job(&again, tune, false));
    COHORT_TRY_DONE(status,
                    cohort_run_open(&tune->run, tune->folder.data, tune->options.fresh && !again));
    COHORT_TRY_DONE(status, note_job(&done_again, tune, true));
    COHORT_TRY_DONE(status, cohort_tune_path(&path, tune, "recipe.yaml"));
    if (cohort_file_exists(path.data))
        COHORT_TRY_DONE(status, check_same(tune, path.data));
    COHORT_TRY_DONE(status, cohort_recipe_write(&text, tune->recipe));
    COHORT_TRY_DONE(status, cohort_run_write_recipe(tune->run, text.data));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        COHORT_TRY_DONE(status, cohort_tune_path(&path, tune, "%s", folders[i]));
        COHORT_TRY_DONE(status, cohort_folder_make(path.data));
    }
    COHORT_TRY_DONE(status, cohort_tune_path(&path, tune, "claims"));
    status = cohort_board_prepare(path.data);
done:
    cohort_text_clear(&path);
    cohort_text_clear(&text);
    return status;
}

static cohort_status divide(cohort_tune *tune)
{
    const int size = cohort_comm_size(tune->comm), per_group = ranks_per_group(tune);
    cohort_text path = {0};
    tune->group_count = size / per_group;
    tune->group = group_of(cohort_comm_rank(tune->comm), per_group, tune->group_count);
    COHORT_TRY(cohort_comm_split(&tune->part, tune->comm, tune->group));
    /* Groups of one node share what data it may hold. */
    const int on_node = (cohort_comm_node_size(tune->comm) + per_group - 1) / per_group;
    tune->memory_limit = cohort_memory_budget(tune->recipe->data.memory_limit) / (uint64_t)on_node;
    cohort_status status = cohort_tune_path(&path, tune, "claims");
    if (status == COHORT_OK)
        status = cohort_board_open(&tune->board, path.data, tune->group, tune->group_count);
    cohort_text_clear(&path);
    return cohort_comm_agree(tune->comm, status);
}

static cohort_status open_all(cohort_tune *tune)
{
    COHORT_TRY(read_recipe(tune));
    cohort_status status = cohort_search_plan_make(&tune->plan, tune->recipe);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&tune->trials, tune->plan.trial_count);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&tune->takes_part, tune->plan.trial_count);
    if (tune->options.run_folder)
        cohort_text_append(&tune->folder, "%s", tune->options.run_folder);
    else
        cohort_text_append(&tune->folder, "runs/%s-tune", tune->recipe->name);
    if (status == COHORT_OK)
        status = cohort_text_status(&tune->folder);
    COHORT_TRY(cohort_comm_agree(tune->comm, status));
    COHORT_TRY(cohort_comm_follow(tune->comm, is_rank_0(tune) ? open_folder(tune) : COHORT_OK));
    return divide(tune);
}

cohort_status cohort_tune_open(cohort_tune **out, cohort_comm *comm, const char *path,
                               const char *const *sets, size_t set_count,
                               const cohort_tune_options *options)
{
    cohort_tune *tune = NULL;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&tune, 1));
    tune->comm = comm;
    tune->path = path;
    tune->sets = sets;
    tune->set_count = set_count;
    tune->options = *options;
    const cohort_status status = open_all(tune);
    if (status != COHORT_OK) {
        cohort_tune_close(tune);
        return status;
    }
    *out = tune;
    return COHORT_OK;
}

void cohort_tune_close(cohort_tune *tune)
{
    if (!tune)
        return;
    cohort_comm_close(tune->part);
    cohort_board_clear(&tune->board);
    cohort_run_close(tune->run);
    cohort_search_plan_clear(&tune->plan);
    cohort_recipe_destroy(tune->recipe);
    cohort_text_clear(&tune->text);
    cohort_text_clear(&tune->recipe_folder);
    cohort_text_clear(&tune->folder);
    cohort_free(tune->trials);
    cohort_free(tune->takes_part);
    cohort_free(tune);
}
