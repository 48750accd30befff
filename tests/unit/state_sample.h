/* A small snapshot with everything in it, for the tests of the state room. */
#ifndef COHORT_TESTS_STATE_SAMPLE_H
#define COHORT_TESTS_STATE_SAMPLE_H

#include "tests/cmocka_all.h"

#include <stdlib.h>

#include "state/checkpoint.h"

enum { SAMPLE_PARAMS = 144, SAMPLE_STATE = 32 };

typedef struct sample {
    cohort_snapshot snapshot;
    real params[SAMPLE_PARAMS], state[SAMPLE_STATE];
} sample;

static const cohort_tensor sample_params[] = {
    {"0_dense", "kernel", {2, {5, 7}}, 0, 35, COHORT_PARAM_DECAYS, false},
    {"0_dense", "bias", {1, {7}}, 48, 7, 0, false},
    {"3_residual/shortcut/0_conv2d", "kernel", {4, {3, 3, 2, 4}}, 64, 72, 0, false},
};
static const cohort_tensor sample_state[] = {
    {"1_batch_norm", "moving_mean", {1, {4}}, 0, 4, 0, false},
    {"1_batch_norm", "moving_variance", {1, {4}}, 16, 4, 0, false},
};
static const char *const sample_classes[] = {"cat", "d\xc3\xb6g"};
static const char *const sample_vocabulary[] = {"", "\n", "zwei"};

/* Fills *S; START tells one sample's values from another's. Clear with sample_clear. */
static inline void sample_make(sample *s, const char *recipe, double start)
{
    const cohort_optimizer_recipe adam = {
        .type = COHORT_ADAM, .lr = 0.1, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-7};
    *s = (sample){.snapshot = {.recipe = recipe,
                               .params = {sample_params, 3},
                               .state = {sample_state, 2},
                               .classes = sample_classes,
                               .class_count = 2,
                               .vocabulary = sample_vocabulary,
                               .vocabulary_count = 3,
                               .ledger = "mechanism none unit example q 0 noise_multiplier 0 "
                                         "steps 1 data 0\n",
                               .tokenizer = "{\"type\":\"characters\",\"length\":64}",
                               .ways = "0_conv2d direct dnnl gemm\n",
                               .sum_way = "2 ranks, 1 nodes, bucket 262144, early",
                               .input_shape = {3, {28, 28, 1}}}};
    s->snapshot.params_data = s->params;
    s->snapshot.state_data = s->state;
    s->snapshot.progress = (cohort_progress){.epoch = 3,
                                             .step = 2814,
                                             .seed = (uint64_t)-5,
                                             .global_batch_size = 64,
                                             .epoch_loss = 1.5,
                                             .best_metric = 0.25,
                                             .best_epoch = 2,
                                             .seconds = 1e-300};
    assert_ok(
        cohort_optimizer_create(&s->snapshot.optimizer, &adam, &s->snapshot.params, SAMPLE_PARAMS));
    for (size_t i = 0; i < s->snapshot.params.count; i++)
        for (size_t j = 0; j < sample_params[i].count; j++) {
            size_t at = sample_params[i].offset + j;
            s->params[at] = (real)(start + (double)at / 8);
            cohort_optimizer_slot(s->snapshot.optimizer, 0)[at] = (real)(start * 2 + (double)at);
            cohort_optimizer_slot(s->snapshot.optimizer, 1)[at] = (real)(start * 3 + (double)at);
        }
    for (size_t i = 0; i < s->snapshot.state.count; i++)
        for (size_t j = 0; j < sample_state[i].count; j++)
            s->state[sample_state[i].offset + j] = (real)(start - (double)j);
}

static inline void sample_clear(sample *s)
{
    cohort_optimizer_destroy(s->snapshot.optimizer);
}

static inline bool sample_same_vectors(const sample *a, const sample *b)
{
    bool same = memcmp(a->params, b->params, sizeof a->params) == 0 &&
                memcmp(a->state, b->state, sizeof a->state) == 0;
    for (size_t i = 0; i < 2; i++)
        same =
            same && memcmp(cohort_optimizer_slot(a->snapshot.optimizer, i),
                           cohort_optimizer_slot(b->snapshot.optimizer, i), sizeof a->params) == 0;
    return same;
}

/* A new folder under $TMPDIR, in PATH (4096 bytes). */
static inline void sample_folder(char *path)
{
    const char *base = getenv("TMPDIR");
    snprintf(path, 4096, "%s/cohort-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(path));
}

#endif
