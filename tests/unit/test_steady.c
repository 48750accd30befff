/* Nothing is allocated inside a step: malloc and its kin are counted. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/convert/convert.h"
#include "train/trainer_private.h"

#ifndef COHORT_SANITIZED
static _Atomic size_t allocations;

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    allocations++;
    return __libc_realloc(memory, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    allocations++;
    return __libc_memalign(alignment, bytes);
}

static char folder[] = "/tmp/cohort-steady-XXXXXX";

static void train_some(const char *model, const char *extra)
{
    char text[2048], run[96];
    cohort_comm *comm = NULL;
    cohort_recipe *recipe = NULL;
    cohort_trainer *trainer = NULL;
    snprintf(run, sizeof run, "%s/run", folder);
    snprintf(text, sizeof text,
             "data: {file: %s/digits.h5, scale: 0.004%s}\nmodel: %s\nloss: cross_entropy\n"
             "train: {global_batch_size: 32, epochs: 100, threads: 1}\n",
             folder, extra, model);
    assert_ok(cohort_comm_start(&comm));
    assert_ok(
        cohort_recipe_parse(&recipe, text, "steady.yaml", folder, NULL, 0, cohort_model_catalog()));
    const cohort_trainer_options options = {.run_folder = run, .fresh = true};
    assert_ok(cohort_trainer_create(&trainer, comm, recipe, &options));
    for (int i = 0; i < 5; i++)
        assert_ok(cohort_trainer_step(trainer));
    const size_t before = allocations;
    for (int i = 0; i < 8; i++)
        assert_ok(cohort_trainer_step(trainer));
    assert_int_equal(allocations - before, 0);
    cohort_trainer_destroy(trainer);
    cohort_recipe_destroy(recipe);
    cohort_comm_close(comm);
}

static void steps_allocate_nothing(void **state)
{
    (void)state;
    train_some("[flatten, dense: {units: 32, activation: relu}, dropout: {rate: 0.2}, "
               "dense: {units: 10}]",
               "");
    train_some("[conv2d: {filters: 16, kernel: 3, activation: relu}, max_pool2d, batch_norm, "
               "residual: {layers: [conv2d: {filters: 16, kernel: 3, padding: same}]}, "
               "global_average_pool, dense: {units: 10}]",
               ", augment: [random_crop: {padding: 2}, rotate: {degrees: 5}]");
}
#endif

int main(void)
{
#ifdef COHORT_SANITIZED
    puts("skipped: sanitizers replace malloc themselves");
    return 0;
#else
    char output[64], command[64];
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_allocate_nothing)};
    if (!mkdtemp(folder))
        return 1;
    snprintf(output, sizeof output, "%s/digits.h5", folder);
    char *arguments[] = {"convert", "digits",   "--train", "512", "--test",
                         "64",      "--output", output,    NULL};
    if (cohort_cli_convert(8, arguments) != COHORT_OK)
        return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) != 0 || failed;
#endif
}
