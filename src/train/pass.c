#include "train/pass.h"

void cohort_pass_run(cohort_loss_sums *sums, cohort_model *model, const cohort_loss *loss,
                     const cohort_batch *batch, size_t begin, size_t end, double divisor,
                     cohort_pass *pass, cohort_search *search)
{
    const size_t sample_bytes = cohort_shape_count(&cohort_model_input(model)->shape) * 4;
    const cohort_targets targets = {
        .labels = batch->labels ? batch->labels + begin * loss->positions : NULL,
        .values = batch->values ? batch->values + begin * loss->positions * loss->width : NULL};
    pass->batch = end - begin;
    pass->samples = batch->rows + begin;
    const real *logits =
        cohort_model_forward(model, (const char *)batch->x + begin * sample_bytes, pass);
    if (search)
        cohort_search_losses(search, logits, &targets, pass);
    cohort_loss_run(sums, cohort_model_output_grad(model), loss, logits, &targets, pass->batch,
                    1.0 / divisor);
    cohort_model_backward(model, pass);
    if (search)
        cohort_search_grads(search);
}
