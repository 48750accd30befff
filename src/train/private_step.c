/* Gradients of single rows, clipped and summed; the noise. */
#include <omp.h>
#include <string.h>

#include "comm/tree.h"
#include "kernel/parallel.h"
#include "kernel/vector.h"
#include "privacy/clip.h"
#include "privacy/noise.h"
#include "train/private_internal.h"

/* Adds the clipped gradient of sample INDEX of the batch to SUM. */
static void add_sample(float *sum, cohort_loss_sums *sums, const cohort_trainer *trainer,
                       const cohort_lane *lane, const cohort_batch *batch, size_t index)
{
    const size_t end = 1;
    const cohort_pass_range range = {.begin = index, .ends = &end, .part_count = 1};
    cohort_pass pass = {.part_count = 1,
                        .training = true,
                        .seed = (uint64_t)trainer->recipe->seed,
                        .step = trainer->progress.step};
    cohort_pass_run(sums, lane->model, &trainer->loss, batch, &range,
                    (double)trainer->loss.positions, &pass, NULL);
    cohort_clip_add(sum, lane->grads, cohort_model_params_count(lane->model),
                    trainer->recipe->privacy.clip);
}

/* A part of a batch, the samples [begin, end) of it. */
typedef struct private_part {
    const cohort_trainer *trainer;
    const cohort_batch *batch;
    size_t begin, end;
    cohort_loss_sums sums[COHORT_PRIVATE_RUNS];
} private_part;

/* Run RUN of the part, by the network of the thread that has it. */
static void sum_run(void *context, size_t run)
{
    private_part *part = context;
    const cohort_trainer *trainer = part->trainer;
    const cohort_private *privacy = trainer->privacy;
    const size_t samples = part->end - part->begin, runs = privacy->run_count;
    const size_t from = part->begin + cohort_part_begin(samples, run, runs),
                 to = part->begin + cohort_part_begin(samples, run + 1, runs);
    memset(privacy->runs[run], 0, cohort_model_params_count(trainer->model) * sizeof(float));
    for (size_t i = from; i < to; i++)
        add_sample(privacy->runs[run], &part->sums[run], trainer,
                   &privacy->lanes[omp_get_thread_num()], part->batch, i);
}

void cohort_private_sum_part(cohort_loss_sums *sums, float *vector, cohort_trainer *trainer,
                             const cohort_batch *batch, size_t begin, size_t end)
{
    cohort_private *privacy = trainer->privacy;
    const size_t runs = privacy->run_count, count = cohort_model_params_count(trainer->model);
    private_part part = {.trainer = trainer, .batch = batch, .begin = begin, .end = end};
    privacy->runs[0] = vector + COHORT_REDUCER_EXTRAS;
    cohort_parallel_each(runs, (int)privacy->lane_count, sum_run, &part);
    for (size_t at = 0; at < count; at += COHORT_TREE_BLOCK) {
        const size_t here = count - at < COHORT_TREE_BLOCK ? count - at : COHORT_TREE_BLOCK;
        cohort_tree_sum(privacy->runs[0] + at, privacy->runs, runs, at, here);
    }
    for (size_t run = 0; run < runs; run++) {
        sums->loss += part.sums[run].loss;
        sums->correct += part.sums[run].correct;
        sums->count += part.sums[run].count;
    }
}

cohort_status cohort_private_release(cohort_trainer *trainer)
{
    cohort_private *privacy = trainer->privacy;
    if (!privacy)
        return COHORT_OK;
    float *grads = cohort_reducer_grads(trainer->reducer);
    const size_t count = cohort_model_params_count(trainer->model);
    cohort_status status = COHORT_OK;
    if (privacy->noise) {
        const cohort_tensors tensors = cohort_model_param_tensors(trainer->model);
        cohort_noise_add(grads, &tensors, privacy->noise, trainer->progress.step,
                         trainer->recipe->privacy.clip, privacy->noise_multiplier);
        cohort_vector_scale(grads, (float)(1.0 / (double)trainer->sampler.global_batch), count);
        status = cohort_private_enter_step(trainer);
    }
    COHORT_TRY(cohort_comm_follow(trainer->comm, status));
    return cohort_comm_broadcast(trainer->comm, grads, count * sizeof(float), 0);
}
