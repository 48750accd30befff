#include "train/pass.h"

/* What the samples of BATCH from BEGIN on are to come to. */
static cohort_targets targets_from(const cohort_batch *batch, const cohort_loss *loss, size_t begin)
{
    const size_t at = begin * loss->positions;
    return (cohort_targets){.labels = batch->labels ? batch->labels + at : NULL,
                            .values = batch->values ? batch->values + at * loss->width : NULL};
}

/* Losses and their gradients, part by part. */
static void run_losses(cohort_loss_sums *sums, cohort_model *model, const cohort_loss *loss,
                       const cohort_batch *batch, const cohort_pass_range *range, double divisor,
                       const real *logits)
{
    real *gradient = cohort_model_output_grad(model);
    for (size_t part = 0, begin = 0; part < range->part_count; begin = range->ends[part++]) {
        const size_t at = begin * loss->positions * loss->width;
        const cohort_targets targets = targets_from(batch, loss, range->begin + begin);
        cohort_loss_run(&sums[part], gradient + at, loss, logits + at, &targets,
                        range->ends[part] - begin, 1.0 / divisor);
    }
}

void cohort_pass_run(cohort_loss_sums *sums, cohort_model *model, const cohort_loss *loss,
                     const cohort_batch *batch, const cohort_pass_range *range, double divisor,
                     cohort_pass *pass, cohort_search *search)
{
    const size_t sample_bytes = cohort_shape_count(&cohort_model_input(model)->shape) * 4;
    pass->batch = range->ends[range->part_count - 1];
    pass->samples = batch->rows + range->begin;
    const real *logits =
        cohort_model_forward(model, (const char *)batch->x + range->begin * sample_bytes, pass);
    if (search) {
        const cohort_targets targets = targets_from(batch, loss, range->begin);
        cohort_search_losses(search, logits, &targets, pass);
    }
    run_losses(sums, model, loss, batch, range, divisor, logits);
    cohort_model_backward(model, pass);
    if (search)
        cohort_search_grads(search);
}
