/* Any bytes as a checkpoint: it is refused, or what it holds can be listed, verified and loaded
 * into a network of its recipe's. Seals are taken off, so that not they alone refuse. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "recipe/recipe.h"
#include "state/checkpoint.h"
#include "state/seal.h"

enum { WORK_MOST = 1 << 24 };

static void visit(void *context, const char *name, const cohort_shape *shape)
{
    size_t *sum = context;
    *sum += strlen(name) + cohort_shape_count(shape);
}

/* Its parameters into the network it describes, as for inference. */
static void load(const cohort_checkpoint *checkpoint)
{
    const cohort_snapshot *about = cohort_checkpoint_describe(checkpoint);
    cohort_recipe *recipe = NULL;
    cohort_model *model = NULL;
    cohort_text report = {0};
    float *params = NULL, *state = NULL;
    const cohort_flow input = {.shape = about->input_shape,
                               .tokens = about->input_tokens,
                               .vocabulary = about->vocabulary_count};
    cohort_status status = COHORT_OK;
    if (cohort_shape_count(&input.shape) > WORK_MOST)
        return;
    COHORT_TRY_DONE(status, cohort_recipe_parse(&recipe, about->recipe, "checkpoint", ".", NULL, 0,
                                                cohort_model_catalog()));
    COHORT_TRY_DONE(status, cohort_model_create(&model, recipe, &input, 1, false));
    if (cohort_model_params_count(model) > WORK_MOST)
        goto done;
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&params, cohort_model_params_count(model)));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&state, cohort_model_state_count(model)));
    cohort_snapshot snapshot = {.params = cohort_model_param_tensors(model),
                                .state = cohort_model_state_tensors(model),
                                .params_data = params,
                                .state_data = state};
    fuzz_require_refusal(cohort_checkpoint_load_matching(checkpoint, &snapshot, &report));
    status = cohort_checkpoint_load(checkpoint, &snapshot);
done:
    if (status != COHORT_MEMORY) /* a recipe may well ask for more than there is */
        fuzz_require_refusal(status);
    cohort_text_clear(&report);
    cohort_free(params);
    cohort_free(state);
    cohort_model_destroy(model);
    cohort_recipe_destroy(recipe);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    cohort_checkpoint *checkpoint = NULL;
    bool is = false;
    size_t sum = 0;
    if (count >= COHORT_SEAL_BYTES && memcmp(bytes + count - COHORT_SEAL_BYTES, "COHORT64", 8) == 0)
        count -= COHORT_SEAL_BYTES;
    const char *path = fuzz_put("model.h5", bytes, count);
    fuzz_require_refusal(cohort_checkpoint_is(&is, path));
    const cohort_status status = cohort_checkpoint_open(&checkpoint, path);
    fuzz_require_refusal(status);
    if (status != COHORT_OK)
        return 0;
    fuzz_require_refusal(cohort_checkpoint_visit(checkpoint, visit, &sum));
    fuzz_require_refusal(cohort_checkpoint_verify(checkpoint));
    load(checkpoint);
    cohort_checkpoint_close(checkpoint);
    return 0;
}
