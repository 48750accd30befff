#include "tests/cmocka_all.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "state/run.h"
#include "tests/unit/state_sample.h"

static char base[4096], run_folder[4224], logged[4096];

static void keep_log(void *context, cohort_log_level level, const char *text)
{
    (void)context;
    (void)level;
    snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", text);
}

static int begin(void **state)
{
    (void)state;
    sample_folder(base);
    snprintf(run_folder, sizeof run_folder, "%s/runs/a", base);
    logged[0] = '\0';
    cohort_log_set_sink(keep_log, NULL, COHORT_LOG_INFO);
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static int end(void **state)
{
    (void)state;
    cohort_log_set_sink(NULL, NULL, COHORT_LOG_ERROR);
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* NAME under the run's folder; two at a time. */
static const char *in_run(const char *name)
{
    static char path[2][4352];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", run_folder, name);
    return path[turn];
}

static bool there(const char *name)
{
    return cohort_file_exists(in_run(name));
}

static cohort_run *open_run(bool fresh)
{
    cohort_run *run;
    assert_ok(cohort_run_open(&run, run_folder, fresh));
    return run;
}

static cohort_status save(cohort_run *run, cohort_text *path, size_t epoch, unsigned what,
                          size_t keep)
{
    sample s;
    sample_make(&s, "name: a\n", (double)epoch);
    s.snapshot.progress.epoch = epoch;
    cohort_status status = cohort_run_save(path, run, &s.snapshot, epoch, what, keep);
    sample_clear(&s);
    return status;
}

/* The epoch that the checkpoint at PATH says. */
static size_t epoch_in(const char *path)
{
    cohort_checkpoint *checkpoint;
    assert_ok(cohort_checkpoint_open(&checkpoint, path));
    assert_ok(cohort_checkpoint_verify(checkpoint));
    size_t epoch = (size_t)cohort_checkpoint_describe(checkpoint)->progress.epoch;
    cohort_checkpoint_close(checkpoint);
    return epoch;
}

static void damage(const char *name)
{
    assert_int_equal(truncate(in_run(name), 2000), 0);
}

static void makes_the_folder(void **state)
{
    (void)state;
    cohort_run *run;
    char slashed[4300];
    snprintf(slashed, sizeof slashed, "%s//", run_folder);
    assert_ok(cohort_run_open(&run, slashed, false));
    assert_string_equal(cohort_run_folder(run), run_folder);
    assert_true(there("checkpoints"));
    cohort_text text = {0};
    assert_ok(cohort_run_path(&text, run, "metrics.jsonl"));
    assert_string_equal(text.data, in_run("metrics.jsonl"));
    assert_ok(cohort_run_write_recipe(run, "name: a\n"));
    text.length = 0;
    assert_ok(cohort_file_read(&text, in_run("recipe.yaml"), 100));
    assert_string_equal(text.data, "name: a\n");
    assert_ok(cohort_run_latest(&text, run));
    assert_int_equal(text.length, 0);
    cohort_run_close(run);
    cohort_text_clear(&text);
}

static void keeps_the_newest(void **state)
{
    (void)state;
    cohort_run *run = open_run(false);
    cohort_text path = {0};
    assert_ok(save(run, &path, 1, COHORT_RUN_EPOCH_END | COHORT_RUN_BEST, 2));
    assert_string_equal(path.data, in_run("checkpoints/epoch-0001.h5"));
    for (size_t epoch = 2; epoch <= 4; epoch++)
        assert_ok(save(run, &path, epoch, COHORT_RUN_EPOCH_END, 2));
    assert_ok(save(run, &path, 5, 0, 2)); /* in the middle of an epoch */
    assert_string_equal(path.data, in_run("checkpoints/last.h5"));
    assert_false(there("checkpoints/epoch-0001.h5"));
    assert_false(there("checkpoints/epoch-0002.h5"));
    assert_false(there("checkpoints/epoch-0005.h5"));
    assert_int_equal(epoch_in(in_run("checkpoints/epoch-0003.h5")), 3);
    assert_int_equal(epoch_in(in_run("checkpoints/epoch-0004.h5")), 4);
    assert_int_equal(epoch_in(in_run("checkpoints/best.h5")), 1);
    assert_int_equal(epoch_in(in_run("checkpoints/last.h5")), 5);
    assert_ok(save(run, NULL, 10000, COHORT_RUN_EPOCH_END, 0));
    assert_true(there("checkpoints/epoch-10000.h5"));
    assert_true(there("checkpoints/epoch-0003.h5"));
    cohort_run_close(run);
    cohort_text_clear(&path);
}

static void falls_back_when_damaged(void **state)
{
    (void)state;
    cohort_run *run = open_run(false);
    cohort_text path = {0};
    for (size_t epoch = 9; epoch <= 11; epoch++)
        assert_ok(save(run, NULL, epoch, COHORT_RUN_EPOCH_END | COHORT_RUN_BEST, 3));
    assert_ok(cohort_run_latest(&path, run));
    assert_string_equal(path.data, in_run("checkpoints/last.h5"));
    assert_string_equal(logged, "");
    damage("checkpoints/last.h5");
    assert_ok(cohort_run_latest(&path, run));
    assert_string_equal(path.data, in_run("checkpoints/epoch-0011.h5"));
    assert_int_equal(epoch_in(path.data), 11);
    assert_non_null(strstr(logged, "last.h5 is truncated or damaged"));
    damage("checkpoints/epoch-0011.h5");
    assert_ok(cohort_run_latest(&path, run));
    assert_string_equal(path.data, in_run("checkpoints/epoch-0010.h5"));
    assert_int_equal(unlink(in_run("checkpoints/last.h5")), 0);
    assert_ok(cohort_run_latest(&path, run));
    assert_string_equal(path.data, in_run("checkpoints/epoch-0010.h5"));
    damage("checkpoints/epoch-0010.h5");
    damage("checkpoints/epoch-0009.h5");
    assert_fails(cohort_run_latest(&path, run), COHORT_DATA, "none of its 3 checkpoints is whole");
    cohort_run_close(run);
    cohort_text_clear(&path);
}

static void full_disk_loses_nothing(void **state)
{
    (void)state;
    cohort_run *run = open_run(false);
    char path[64];
    for (size_t epoch = 1; epoch <= 2; epoch++)
        assert_ok(save(run, NULL, epoch, COHORT_RUN_EPOCH_END | COHORT_RUN_BEST, 1));
    struct rlimit usual, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    cohort_status status = save(run, NULL, 3, COHORT_RUN_EPOCH_END | COHORT_RUN_BEST, 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    assert_int_equal(status, COHORT_DATA);
    assert_int_equal(epoch_in(in_run("checkpoints/last.h5")), 2);
    assert_int_equal(epoch_in(in_run("checkpoints/best.h5")), 2);
    assert_int_equal(epoch_in(in_run("checkpoints/epoch-0002.h5")), 2);
    assert_false(there("checkpoints/epoch-0003.h5"));
    /* A copy that fails after last.h5 was written. */
    assert_int_equal(mkdir(in_run("checkpoints/epoch-0003.h5"), 0777), 0);
    assert_fails(save(run, NULL, 3, COHORT_RUN_EPOCH_END, 1), COHORT_DATA, "epoch-0003.h5");
    assert_int_equal(epoch_in(in_run("checkpoints/last.h5")), 3);
    assert_int_equal(epoch_in(in_run("checkpoints/epoch-0002.h5")), 2);
    snprintf(path, sizeof path, "checkpoints/epoch-0003.h5.%ld.tmp", (long)getpid());
    assert_false(there(path));
    cohort_run_close(run);
}

static void fresh_moves_aside(void **state)
{
    (void)state;
    cohort_run *run = open_run(true); /* nothing there yet */
    assert_ok(save(run, NULL, 1, 0, 1));
    cohort_run_close(run);
    run = open_run(true);
    assert_false(there("checkpoints/last.h5"));
    assert_ok(save(run, NULL, 2, 0, 1));
    cohort_run_close(run);
    run = open_run(true);
    char path[4400];
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s.%d/checkpoints/last.h5", run_folder, i);
        assert_int_equal(epoch_in(path), i);
    }
    /* The new folder is the one that is locked. */
    cohort_run *other;
    assert_fails(cohort_run_open(&other, run_folder, false), COHORT_USAGE, "in use");
    cohort_run_close(run);
}

static void fresh_spares_other_folders(void **state)
{
    (void)state;
    cohort_run *run;
    assert_ok(cohort_folder_make(run_folder));
    assert_ok(cohort_file_write(in_run("thesis.tex"), "x", 1));
    assert_fails(cohort_run_open(&run, run_folder, true), COHORT_USAGE, "not the folder of a run");
    assert_null(run);
    assert_true(there("thesis.tex"));
}

static void one_job_at_a_time(void **state)
{
    (void)state;
    int ready[2], done[2];
    char byte = 0, holder[64];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) { /* holds the run until it is killed */
        cohort_run *held;
        byte = cohort_run_open(&held, run_folder, false) == COHORT_OK;
        if (write(ready[1], &byte, 1) != 1 || read(done[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    snprintf(holder, sizeof holder, "in use by process %ld@", (long)child);
    cohort_run *run;
    assert_fails(cohort_run_open(&run, run_folder, false), COHORT_USAGE, holder);
    assert_fails(cohort_run_open(&run, run_folder, true), COHORT_USAGE, holder);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    run = open_run(false);
    cohort_run_close(run);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(done[i]);
    }
}

static void removes_what_a_killed_job_left(void **state)
{
    (void)state;
    cohort_run_close(open_run(false));
    assert_ok(cohort_file_write(in_run("checkpoints/last.h5.77.tmp"), "x", 1));
    assert_ok(cohort_file_write(in_run("recipe.yaml.77.tmp"), "x", 1));
    assert_ok(cohort_file_write(in_run("metrics.jsonl"), "x", 1));
    cohort_run_close(open_run(false));
    assert_false(there("checkpoints/last.h5.77.tmp"));
    assert_false(there("recipe.yaml.77.tmp"));
    assert_true(there("metrics.jsonl"));
}

static void impossible_folders(void **state)
{
    (void)state;
    cohort_run *run;
    snprintf(run_folder, sizeof run_folder, "%s/file", base);
    assert_ok(cohort_file_write(run_folder, "x", 1));
    snprintf(run_folder, sizeof run_folder, "%s/file/run", base);
    assert_fails(cohort_run_open(&run, run_folder, false), COHORT_DATA, "cannot make the folder");
    assert_null(run);
}

#define in_new_folder(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_new_folder(makes_the_folder),        in_new_folder(keeps_the_newest),
        in_new_folder(falls_back_when_damaged), in_new_folder(full_disk_loses_nothing),
        in_new_folder(fresh_moves_aside),       in_new_folder(fresh_spares_other_folders),
        in_new_folder(one_job_at_a_time),       in_new_folder(removes_what_a_killed_job_left),
        in_new_folder(impossible_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
