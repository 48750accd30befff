#include <stdio.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/bench/bench.h"
#include "comm/reducer.h"
#include "train/job.h"
#include "train/timing.h"

typedef struct way {
    const char *name, *title;
    cohort_reducer_mode mode;
} way;

static const way ways[] = {{"shared", "shared memory", COHORT_REDUCER_SHARED},
                           {"messages", "messages", COHORT_REDUCER_MESSAGES},
                           {"mpi", "MPI_Iallreduce", COHORT_REDUCER_MPI}};
enum { WAY_COUNT = sizeof ways / sizeof *ways, TABLE_ROWS = 7, LATENCY_FLOATS = 16 };
static const size_t sizes[TABLE_ROWS] = {LATENCY_FLOATS, 1 << 10, 1 << 14, 1 << 18,
                                         1 << 20,        1 << 22, 1 << 24};
/* Ranks whose speed is estimated. */
enum { ESTIMATES_LEAST = 2, ESTIMATES_MOST = 64 };

/* One sum of a gradient, as training would do it, and what a step computes. */
typedef struct scaling {
    size_t parameters;
    double latency, sum; /* seconds: of a sum of nothing, of the gradient */
    double compute;      /* seconds of a step on one rank; 0: not known */
    size_t batch;
} scaling;

static void write_row(cohort_bench *bench, size_t count,
                      const cohort_reducer_timing timings[WAY_COUNT])
{
    cohort_text *text = bench->text;
    const double bytes = 4 * (double)count;
    if (bench->json) {
        cohort_json_begin_object(text, NULL);
        cohort_json_integer(text, "floats", (int64_t)count);
        for (size_t w = 0; w < WAY_COUNT; w++) {
            cohort_json_begin_object(text, ways[w].name);
            cohort_json_number(text, "best_s", timings[w].best);
            cohort_json_number(text, "median_s", timings[w].median);
            cohort_json_string(text, "how", timings[w].description);
            cohort_json_end_object(text);
        }
        cohort_json_end_object(text);
        return;
    }
    cohort_text_append(text, "%7.3g %s", bytes < 0x1p20 ? bytes / 0x1p10 : bytes / 0x1p20,
                       bytes < 0x1p20 ? "KiB" : "MiB");
    for (size_t w = 0; w < WAY_COUNT; w++)
        cohort_text_append(text, "  %12.1f %8.2f", 1e6 * timings[w].median,
                           1e-9 * bytes / timings[w].median);
    cohort_text_append(text, "\n");
}

static void write_head(cohort_bench *bench)
{
    if (bench->json) {
        cohort_json_begin_array(bench->text, "sums");
        return;
    }
    cohort_text_append(bench->text, "gradient sums, median us and GB/s of the vector:\n%11s", "");
    for (size_t w = 0; w < WAY_COUNT; w++)
        cohort_text_append(bench->text, "  %21s", ways[w].title);
    cohort_text_append(bench->text, "\n");
}

static cohort_status measure_table(cohort_bench *bench)
{
    cohort_reducer_timing timings[WAY_COUNT];
    int64_t largest;
    COHORT_TRY(cohort_options_integer(&largest, bench->given, "largest",
                                      (int64_t)sizes[TABLE_ROWS - 1], LATENCY_FLOATS, INT64_MAX));
    write_head(bench);
    for (size_t i = 0; i < TABLE_ROWS && sizes[i] <= (size_t)largest; i++) {
        for (size_t w = 0; w < WAY_COUNT; w++)
            COHORT_TRY(cohort_reducer_measure(&timings[w], bench->comm, ways[w].mode, sizes[i],
                                              bench->seconds));
        write_row(bench, sizes[i], timings);
    }
    if (bench->json)
        cohort_json_end_array(bench->text);
    return COHORT_OK;
}

/* --- What to expect of more ranks ------------------------------------------------------ */

static cohort_status time_recipe(scaling *out, cohort_bench *bench, const char *path)
{
    size_t set_count = 0;
    const char *const *sets = cohort_options_list(&set_count, bench->given, "set");
    cohort_recipe *recipe = NULL;
    cohort_step_timing timing;
    COHORT_TRY(cohort_job_read_recipe(&recipe, bench->comm, path, sets, set_count));
    cohort_status status = cohort_train_time(&timing, bench->comm, recipe, 4 * bench->seconds);
    cohort_recipe_destroy(recipe);
    COHORT_TRY(status);
    out->parameters = timing.parameters;
    out->batch = timing.global_batch_size;
    out->compute =
        (timing.seconds - timing.wait_comm) / (double)timing.steps * cohort_comm_size(bench->comm);
    return COHORT_OK;
}

/* Seconds of a sum over RANKS: a direct exchange moves 2 (p - 1)/p of the vector. */
static double sum_seconds(const scaling *of, int measured, int ranks)
{
    const double share = (ranks - 1.0) / ranks, here = (measured - 1.0) / measured;
    const double moving = of->sum > of->latency ? of->sum - of->latency : 0;
    return of->latency + moving * share / here;
}

static void write_estimate(cohort_bench *bench, const scaling *of, int ranks)
{
    const double sum = sum_seconds(of, cohort_comm_size(bench->comm), ranks),
                 one_batch = of->compute / (of->compute + ranks * sum),
                 batch_each = of->compute / (of->compute + sum);
    cohort_text *text = bench->text;
    if (bench->json) {
        cohort_json_begin_object(text, NULL);
        cohort_json_integer(text, "ranks", ranks);
        cohort_json_number(text, "sum_s", sum);
        if (of->compute > 0) {
            cohort_json_number(text, "efficiency_one_batch", one_batch);
            cohort_json_number(text, "efficiency_batch_each", batch_each);
        }
        cohort_json_end_object(text);
    } else if (of->compute > 0) {
        cohort_text_append(text, "%7d %12.3f %16.0f %% %16.0f %%\n", ranks, 1e3 * sum,
                           100 * one_batch, 100 * batch_each);
    } else {
        cohort_text_append(text, "%7d %12.3f %16.1f ms\n", ranks, 1e3 * sum, 9e3 * sum);
    }
}

static void write_scaling(cohort_bench *bench, const scaling *of)
{
    cohort_text *text = bench->text;
    if (bench->json) {
        cohort_json_integer(text, "parameters", (int64_t)of->parameters);
        cohort_json_number(text, "latency_s", of->latency);
        cohort_json_number(text, "sum_s", of->sum);
        if (of->compute > 0)
            cohort_json_number(text, "compute_s", of->compute);
        cohort_json_begin_array(text, "scaling");
    } else {
        cohort_text_append(text, "\na gradient of %zu floats: %.3f ms a sum here\n", of->parameters,
                           1e3 * of->sum);
        if (of->compute > 0)
            cohort_text_append(text,
                               "a step of %zu samples computes %.3f ms on one rank; efficiency to "
                               "expect:\n%7s %12s %18s %18s\n",
                               of->batch, 1e3 * of->compute, "ranks", "sum, ms", "one batch in all",
                               "a batch each");
        else
            cohort_text_append(text, "%7s %12s %19s\n", "ranks", "sum, ms", "90 % with steps of");
    }
    for (int ranks = ESTIMATES_LEAST; ranks <= ESTIMATES_MOST; ranks *= 2)
        write_estimate(bench, of, ranks);
    if (bench->json)
        cohort_json_end_array(text);
    else
        cohort_text_append(
            text, "Nothing hidden behind backward, and every link as fast as those "
                  "measured: start the bench on\nas many hosts as the training will have.\n");
}

static cohort_status measure_scaling(cohort_bench *bench, scaling *of)
{
    cohort_reducer_timing timing;
    COHORT_TRY(cohort_reducer_measure(&timing, bench->comm, COHORT_REDUCER_AUTO, LATENCY_FLOATS,
                                      bench->seconds));
    of->latency = timing.median;
    COHORT_TRY(cohort_reducer_measure(&timing, bench->comm, COHORT_REDUCER_AUTO, of->parameters,
                                      bench->seconds));
    of->sum = timing.median;
    if (cohort_comm_rank(bench->comm) == 0)
        write_scaling(bench, of);
    return COHORT_OK;
}

cohort_status cohort_bench_allreduce(cohort_bench *bench)
{
    const char *recipe = cohort_options_get(bench->given, "recipe");
    int64_t parameters;
    scaling of = {0};
    COHORT_TRY(
        cohort_options_integer(&parameters, bench->given, "parameters", 0, 1, (int64_t)1 << 32));
    COHORT_REQUIRE(cohort_comm_size(bench->comm) > 1, COHORT_USAGE,
                   "bench allreduce: one rank has nothing to sum; start it as training will be "
                   "started: mpirun -n 2 cohort bench allreduce");
    COHORT_REQUIRE(!recipe || !parameters, COHORT_USAGE,
                   "bench allreduce: --parameters is what --recipe says; give one of them");
    COHORT_REQUIRE(recipe || !cohort_options_given(bench->given, "set"), COHORT_USAGE,
                   "bench allreduce: --set overrides keys of a recipe; give --recipe, too");
    of.parameters = (size_t)parameters;
    if (recipe)
        COHORT_TRY(time_recipe(&of, bench, recipe));
    COHORT_TRY(measure_table(bench));
    return of.parameters ? measure_scaling(bench, &of) : COHORT_OK;
}
