/* What the preflight makes of the facts of many ranks, and lists of ranks. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "train/preflight_private.h"

enum { RANKS = 64, PER_HOST = 16 };

typedef struct heard {
    size_t count;
    cohort_finding_level level;
    char text[1300];
} heard;

static void hear(void *context, cohort_finding_level level, const char *subject, const char *text)
{
    heard *last = context;
    last->count++;
    last->level = level;
    snprintf(last->text, sizeof last->text, "%s: %s", subject, text);
    assert_null(strchr(text, '\n'));
}

/* 64 ranks on four hosts of 16 cores, each bound to one. */
static void fill(cohort_rank_facts *facts)
{
    memset(facts, 0, RANKS * sizeof *facts);
    for (size_t r = 0; r < RANKS; r++) {
        snprintf(facts[r].host, sizeof facts[r].host, "node%zu", r / PER_HOST);
        snprintf(facts[r].mpi, sizeof facts[r].mpi, "Open MPI v4.1.4");
        facts[r].build = 7;
        facts[r].node = r / PER_HOST;
        facts[r].host_cores = PER_HOST;
        facts[r].threads = 1;
        CPU_SET(r % PER_HOST, &facts[r].cores);
    }
}

static void test_good(void **state)
{
    (void)state;
    static cohort_rank_facts facts[RANKS];
    heard last = {0};
    cohort_findings findings = {.context = &last, .report = hear};
    fill(facts);
    cohort_judge_launch(&findings, facts, RANKS, RANKS);
    assert_string_equal(
        last.text, "ranks: 64 ranks on 4 hosts: node0 (16), node1 (16), node2 (16), node3 (16)");
    cohort_judge_programs(&findings, facts, RANKS);
    cohort_judge_cores(&findings, facts, RANKS);
    assert_int_equal(findings.good, 3);
    assert_int_equal(findings.warnings + findings.problems, 0);
    assert_non_null(strstr(last.text, "each rank bound to cores of its own"));
}

/* One finding for all ranks, whatever is wrong with how many of them. */
static void judge(heard *last, const cohort_rank_facts *facts, const char *text, const char *also)
{
    cohort_findings findings = {.context = last, .report = hear};
    last->count = 0;
    cohort_judge_cores(&findings, facts, RANKS);
    assert_int_equal(last->count, 1);
    assert_int_equal(last->level, COHORT_FINDING_WARNING);
    if (!strstr(last->text, text) || !strstr(last->text, also))
        fail_msg("no \"%s\" and \"%s\" in: %s", text, also, last->text);
}

static void test_cores(void **state)
{
    (void)state;
    static cohort_rank_facts facts[RANKS];
    heard last = {0};
    /* More threads than cores, on all hosts. */
    fill(facts);
    for (size_t r = 0; r < RANKS; r++)
        facts[r].threads = 2;
    judge(&last, facts, "16 ranks with 32 threads on node0", "and so on 3 more hosts");
    assert_non_null(strstr(last.text, "set train.threads to 1"));
    /* All ranks of a host on its first core while others are idle. */
    fill(facts);
    for (size_t r = 32; r < 48; r++) {
        CPU_ZERO(&facts[r].cores);
        CPU_SET(0, &facts[r].cores);
    }
    judge(&last, facts, "on node2 may use 1 of its 16 cores", "--bind-to core");
    /* A rank whose threads share the one core it is bound to. */
    fill(facts);
    for (size_t r = 0; r < RANKS; r++)
        facts[r].host_cores = 32;
    for (size_t r = 16; r < 32; r++)
        CPU_SET(r, &facts[r].cores);
    facts[20].threads = 4;
    judge(&last, facts, "rank 20 on node1 runs 4 threads on the 2 cores", "--cpus-per-task=4");
    /* Two ranks on one core, and a core without a rank. */
    fill(facts);
    for (size_t r = 0; r < RANKS; r++)
        facts[r].host_cores = 17;
    CPU_SET(1, &facts[0].cores);
    CPU_SET(16, &facts[2].cores);
    judge(&last, facts, "ranks on node0 are bound to some of the same cores", "--bind-to core");
}

static void test_launch(void **state)
{
    (void)state;
    static cohort_rank_facts facts[RANKS];
    heard last = {0};
    cohort_findings findings = {.context = &last, .report = hear};
    fill(facts);
    cohort_judge_launch(&findings, facts, 1, RANKS);
    assert_int_equal(last.level, COHORT_FINDING_WARNING);
    assert_non_null(strstr(last.text, "1 rank on node0 (1), but this job has 64 tasks"));
    facts[40].build = 8;
    cohort_judge_programs(&findings, facts, RANKS);
    assert_int_equal(last.level, COHORT_FINDING_WARNING);
    assert_non_null(strstr(last.text, "rank 40 (node2) runs another build"));
    assert_int_equal(findings.warnings, 2);
    /* Many hosts are not all named. */
    for (size_t r = 0; r < RANKS; r++)
        facts[r].node = r;
    cohort_judge_launch(&findings, facts, RANKS, 0);
    assert_non_null(strstr(last.text, "64 ranks on 64 hosts"));
    assert_non_null(strstr(last.text, "and 58 more"));
    assert_true(strlen(last.text) < 160);
}

static void list(const bool *chosen, int size, const char *expected)
{
    cohort_text text = {0};
    cohort_comm_list_ranks(&text, chosen, size);
    assert_string_equal(text.data, expected);
    cohort_text_clear(&text);
}

static void test_lists(void **state)
{
    (void)state;
    bool some[40] = {false};
    some[3] = true;
    list(some, 40, "rank 3");
    some[0] = some[4] = some[7] = some[8] = some[9] = true;
    list(some, 40, "ranks 0, 3, 4, 7-9");
    for (int r = 11; r < 40; r += 2)
        some[r] = true;
    list(some, 40, "ranks 0, 3, 4, 7-9, 11, 13, 15, 17, 19 and 10 more");
}

static void test_build(void **state)
{
    (void)state;
    assert_int_equal(cohort_build_number(), cohort_build_number());
    assert_int_not_equal(cohort_build_number(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),  cmocka_unit_test(test_cores), cmocka_unit_test(test_launch),
        cmocka_unit_test(test_lists), cmocka_unit_test(test_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
