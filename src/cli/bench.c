#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/bench/bench.h"
#include "cli/command.h"

static const cohort_option options[] = {
    {"recipe", "RECIPE", "allreduce: the training whose scaling is estimated", false},
    {"set", "KEY=VALUE", "allreduce: override a key of that recipe", true},
    {"parameters", "N", "allreduce: the length of the gradient, without a recipe", false},
    {"largest", "N", "allreduce: floats of the longest vector (default 16777216)", false},
    {"size", "N", "gemm: rows and columns of the matrices (default 1024)", false},
    {"split", "GROUP", "data: the group that is read (default train)", false},
    {"batch", "N", "data: samples of a batch over all ranks (default 64)", false},
    {"seconds", "S", "time for each measurement (default 0.5)", false},
    {"json", NULL, "print one JSON object", false},
};
enum { OPTION_COUNT = sizeof options / sizeof *options };

typedef struct subject {
    const char *name;
    size_t positionals; /* besides its name */
    cohort_status (*measure)(cohort_bench *bench);
} subject;

static const subject subjects[] = {
    {"allreduce", 0, cohort_bench_allreduce},
    {"gemm", 0, cohort_bench_gemm},
    {"data", 1, cohort_bench_data},
};
enum { SUBJECT_COUNT = sizeof subjects / sizeof *subjects };

static cohort_status find(const subject **out, const char *name)
{
    const char *names[SUBJECT_COUNT];
    for (size_t i = 0; i < SUBJECT_COUNT; i++) {
        names[i] = subjects[i].name;
        *out = &subjects[i];
        if (strcmp(names[i], name) == 0)
            return COHORT_OK;
    }
    const char *nearest = cohort_nearest_word(name, names, SUBJECT_COUNT);
    return COHORT_FAIL(
        COHORT_USAGE, "bench: \"%s\" is nothing to measure%s%s; there are allreduce, gemm and data",
        name, nearest ? ": did you mean " : "", nearest ? nearest : "");
}

/* An option of another measurement is a mistake: its help names the one it is for. */
static cohort_status check_options(const subject *which, const cohort_options *given)
{
    const size_t length = strlen(which->name);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const char *colon = strchr(options[i].help, ':');
        if (!colon || !cohort_options_given(given, options[i].name))
            continue;
        COHORT_REQUIRE((size_t)(colon - options[i].help) == length &&
                           memcmp(options[i].help, which->name, length) == 0,
                       COHORT_USAGE, "bench: --%s is for `cohort bench %.*s`, not for %s",
                       options[i].name, (int)(colon - options[i].help), options[i].help,
                       which->name);
    }
    COHORT_REQUIRE(given->positional_count == 1 + which->positionals, COHORT_USAGE,
                   "bench: usage: cohort bench %s%s", which->name,
                   which->positionals ? " FILE.h5" : "");
    return COHORT_OK;
}

static void begin(cohort_bench *bench, const subject *which)
{
    const cohort_comm *comm = bench->comm;
    const int ranks = cohort_comm_size(comm), hosts = cohort_comm_node_count(comm);
    if (!bench->json) {
        cohort_text_append(bench->text, "%d rank%s on %d host%s\n", ranks, ranks == 1 ? "" : "s",
                           hosts, hosts == 1 ? "" : "s");
        return;
    }
    cohort_json_begin_object(bench->text, NULL);
    cohort_json_string(bench->text, "bench", which->name);
    cohort_json_integer(bench->text, "ranks", ranks);
    cohort_json_integer(bench->text, "hosts", hosts);
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    cohort_text text = {0};
    cohort_bench bench = {
        .comm = comm, .given = given, .text = &text, .json = cohort_options_given(given, "json")};
    const subject *which = NULL;
    COHORT_TRY(find(&which, given->positional[0]));
    COHORT_TRY(check_options(which, given));
    COHORT_TRY(cohort_options_number(&bench.seconds, given, "seconds", 0.5, 0.001, 3600));
    begin(&bench, which);
    cohort_status status = which->measure(&bench);
    if (bench.json)
        cohort_json_end_object(&text);
    if (status == COHORT_OK)
        status = cohort_comm_agree(comm, cohort_text_status(&text));
    if (status == COHORT_OK && cohort_cli_is_speaker(comm))
        printf("%s%s", text.data, bench.json ? "\n" : "");
    cohort_text_clear(&text);
    return status;
}

const cohort_command cohort_command_bench = {
    .name = "bench",
    .usage = "allreduce | gemm | data FILE.h5 [--json]",
    .summary = "Measure this cluster: gradient sums, matrix products, reading data",
    .details =
        "Start it as training will be started: alone, under mpirun or srun.\n\n"
        "  allreduce  sums of gradients by size, in each way that comm.reducer knows; with\n"
        "             --recipe or --parameters what to expect of 2, 4, 8 … ranks\n"
        "  gemm       single-precision matrix products, on one core and on all ranks together\n"
        "  data       batches of a data set, from memory and streamed, and the file's own rate",
    .options = options,
    .option_count = OPTION_COUNT,
    .least = 1,
    .most = 2,
    .is_parallel = true,
    .run = run,
};
