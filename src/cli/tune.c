#include "train/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/command.h"
#include "cli/signals.h"

static const cohort_option options[] = {
    {"set", "KEY=VALUE", "override a recipe key, e.g. search.trials=9", true},
    {"run", "DIR", "the search's folder, which all hosts must share (default runs/<name>-tune)",
     false},
    {"fresh", NULL, "move an existing folder aside and start anew", false},
    {"ranks-per-trial", "N", "ranks that train one trial together (search.ranks_per_trial)", false},
    {"restarts", "N", "start again up to N times after a rank died or stalled", false},
    {"quiet", NULL, "print the result only", false},
};
enum { LINES_MAX = 30, RANKS_MAX = 1000000 };

static bool signalled(void *context)
{
    (void)context;
    return cohort_signals_pending() != 0;
}

/* The keys of TRIAL and their values in one line. */
static void append_values(cohort_text *text, const cohort_tune *tune, size_t trial)
{
    const cohort_search_plan *plan = cohort_tune_plan(tune);
    const cohort_space *space = &cohort_tune_recipe(tune)->search.space;
    if (trial == 0)
        cohort_text_append(text, "  the recipe as it stands");
    for (size_t i = 0; trial > 0 && i < plan->dimension_count; i++)
        cohort_text_append(text, "  %s=%s", space->items[i].path, plan->values[trial][i]);
}

/* "  12  0.03456      5  optimizer.lr=0.01 …" */
static void print_trial(const cohort_tune *tune, size_t index)
{
    const cohort_trial *trial = cohort_tune_trial(tune, index);
    cohort_text line = {0};
    cohort_text_append(&line, "%5zu  ", index);
    if (trial->state == COHORT_TRIAL_FINISHED)
        cohort_text_append(&line, "%-10.5g %6llu", trial->figure,
                           (unsigned long long)trial->epochs);
    else
        cohort_text_append(&line, "%-10s %6llu",
                           trial->state == COHORT_TRIAL_DIVERGED ? "diverged" : "failed",
                           (unsigned long long)trial->epochs);
    append_values(&line, tune, index);
    if (trial->state == COHORT_TRIAL_FAILED)
        cohort_text_append(&line, "  (%s)", trial->message);
    if (line.data && !line.failed)
        puts(line.data);
    cohort_text_clear(&line);
}

static void print_head(const cohort_tune *tune)
{
    printf("trial  %-10.10s epochs\n",
           strstr(cohort_search_metric(cohort_tune_recipe(tune)), "accuracy") ? "accuracy"
                                                                              : "loss");
}

/* As trials end: rank 0 hears of those of other groups, too. */
static void on_trial(void *context, const cohort_tune *tune, size_t trial)
{
    bool *begun = context;
    if (!*begun) {
        const cohort_search_plan *plan = cohort_tune_plan(tune);
        printf("%zu trials and the recipe as it stands, %d at a time, by %s\n",
               plan->trial_count - 1, cohort_tune_group_count(tune),
               cohort_search_metric(cohort_tune_recipe(tune)));
        print_head(tune);
    }
    *begun = true;
    print_trial(tune, trial);
    fflush(stdout);
}

/* What the comparison of two trials for qsort needs, which hands on no context. */
typedef struct ranked {
    const cohort_trial *trial;
    size_t index;
    bool prefers_more;
} ranked;

/* Those that came farther first, among them the better. */
static int compare(const void *left, const void *right)
{
    const ranked *a = left, *b = right;
    const bool a_ok = a->trial->state == COHORT_TRIAL_FINISHED,
               b_ok = b->trial->state == COHORT_TRIAL_FINISHED;
    if (a_ok != b_ok)
        return a_ok ? -1 : 1;
    if (a_ok && a->trial->rung != b->trial->rung)
        return a->trial->rung > b->trial->rung ? -1 : 1;
    if (a_ok && (a->trial->figure < b->trial->figure || a->trial->figure > b->trial->figure))
        return (a->trial->figure < b->trial->figure) != a->prefers_more ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static cohort_status print_table(const cohort_tune *tune)
{
    const size_t count = cohort_tune_plan(tune)->trial_count;
    ranked *order = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&order, count));
    for (size_t i = 0; i < count; i++)
        order[i] = (ranked){.trial = cohort_tune_trial(tune, i),
                            .index = i,
                            .prefers_more = cohort_search_prefers_more(cohort_tune_recipe(tune))};
    qsort(order, count, sizeof *order, compare);
    printf("\nbest first, by %s\n", cohort_search_metric(cohort_tune_recipe(tune)));
    print_head(tune);
    for (size_t i = 0; i < count; i++)
        if (i < LINES_MAX || order[i].index == 0)
            print_trial(tune, order[i].index);
    if (count > LINES_MAX)
        printf("all %zu: %s/trials.jsonl\n", count, cohort_tune_folder(tune));
    cohort_free(order);
    return COHORT_OK;
}

static void print_best(const cohort_tune *tune)
{
    const size_t best = cohort_tune_best(tune);
    const cohort_trial *own = cohort_tune_trial(tune, 0);
    printf("\nbest: trial %zu, %s %.5g", best, cohort_search_metric(cohort_tune_recipe(tune)),
           cohort_tune_trial(tune, best)->figure);
    if (best == 0)
        printf(", the recipe as it stands");
    else if (own->state == COHORT_TRIAL_FINISHED)
        printf(" (the recipe as it stands: %.5g)", own->figure);
    printf("\ntrain it with: cohort train %s/best.yaml\n", cohort_tune_folder(tune));
}

/* The --set options and, behind them, what --ranks-per-trial stands for (in OWN). */
static cohort_status collect_sets(const char ***out, size_t *count, char *own, size_t own_bytes,
                                  const cohort_options *given)
{
    const char *const *sets = cohort_options_list(count, given, "set");
    int64_t ranks = 0;
    COHORT_TRY(cohort_options_integer(&ranks, given, "ranks-per-trial", 0, 1, RANKS_MAX));
    COHORT_TRY(COHORT_ALLOCATE(out, *count + 1));
    for (size_t i = 0; i < *count; i++)
        (*out)[i] = sets[i];
    snprintf(own, own_bytes, "search.ranks_per_trial=%lld", (long long)ranks);
    if (ranks > 0)
        (*out)[(*count)++] = own;
    return COHORT_OK;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    const char **sets = NULL;
    size_t set_count = 0;
    char own[64];
    bool begun = false;
    cohort_tune *tune = NULL;
    cohort_tune_options how = {
        .run_folder = cohort_options_get(given, "run"),
        .fresh = cohort_options_given(given, "fresh"),
        .job = getenv("COHORT_JOB"),
        .should_stop = signalled,
        .on_trial = cohort_options_given(given, "quiet") ? NULL : on_trial,
        .context = &begun,
    };
    cohort_signals_catch();
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, collect_sets(&sets, &set_count, own, sizeof own, given));
    COHORT_TRY_DONE(status,
                    cohort_tune_open(&tune, comm, given->positional[0], sets, set_count, &how));
    COHORT_TRY_DONE(status, cohort_tune_run(tune));
    if (cohort_cli_is_speaker(comm)) {
        status = print_table(tune);
        print_best(tune);
    }
done:
    cohort_tune_close(tune);
    cohort_free(sets);
    return status;
}

const cohort_command cohort_command_tune = {
    .name = "tune",
    .usage = "RECIPE [--set KEY=VALUE]… [--run DIR] [--fresh] [--ranks-per-trial N] "
             "[--restarts N]",
    .summary = "Try many values of a recipe's keys and write the best as a recipe",
    .details =
        "What is tried stands in the recipe's search: section, e.g.\n"
        "\n"
        "  search:\n"
        "    type: halving             # random | grid | halving\n"
        "    trials: 27\n"
        "    metric: validation_loss\n"
        "    space:                    # keys as --set takes them\n"
        "      optimizer.lr: {log_uniform: [0.0001, 0.1]}\n"
        "      model.0.units: [32, 64, 128]\n"
        "\n"
        "Each group of search.ranks_per_trial ranks trains one trial after another; the recipe\n"
        "as it stands is trial 0, to compare with. Every trial has the recipe's seed, and one\n"
        "thread a rank unless train.threads says more: its figure is the same on any number\n"
        "of ranks. A trial that diverges or cannot be trained is listed as such. After a\n"
        "signal (exit code 75) or a lost rank (5) the same command goes on: what is finished\n"
        "is not repeated, what was under way continues from its checkpoint.\n"
        "\n"
        "The folder then holds best.yaml for `cohort train`, trials.jsonl, and each trial's run\n"
        "in trials/. `cohort train RECIPE` trains the recipe's own values and leaves search:\n"
        "alone.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
