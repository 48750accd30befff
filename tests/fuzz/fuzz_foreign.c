/* Any bytes as another program's HDF5 file: Keras's weights for a small network, or two datasets to
 * convert. Refused in one line, or read. */
#include "tests/fuzz/fuzz.h"

#include "base/memory.h"
#include "recipe/recipe.h"
#include "state/foreign/formats.h"

enum { WEIGHTS_MOST = 256 };

/* A network whose weights the seeds hold. */
static cohort_model *make_network(void)
{
    static const char text[] =
        "name: fuzz\ndata: {file: none.h5}\n"
        "model: [dense: {units: 3, activation: relu}, batch_norm, dense: 2]\n"
        "loss: cross_entropy\n";
    static float params[WEIGHTS_MOST], state[WEIGHTS_MOST];
    const cohort_flow input = {.shape = cohort_shape_of(4)};
    cohort_recipe *recipe = NULL;
    cohort_model *model = NULL;
    fuzz_require(cohort_recipe_parse(&recipe, text, "fuzz", ".", NULL, 0, cohort_model_catalog()) ==
                         COHORT_OK &&
                     cohort_model_create(&model, recipe, &input, 1, false) == COHORT_OK,
                 "the network");
    fuzz_require(cohort_model_params_count(model) <= WEIGHTS_MOST &&
                     cohort_model_state_count(model) <= WEIGHTS_MOST,
                 "its size");
    cohort_model_bind(model, params, NULL, state);
    return model;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    static cohort_model *model;
    fuzz_part rest = {bytes, count};
    const unsigned choice = fuzz_take_byte(&rest);
    const char *path = fuzz_put("foreign.h5", rest.bytes, rest.count);
    if (choice & 1) {
        const char *const arguments[] = {"hdf5", path, "--x", "train/x", "--y", "train/y", NULL};
        fuzz_require_refusal(fuzz_convert(arguments));
        return 0;
    }
    if (!model)
        model = make_network();
    fuzz_require_refusal(cohort_foreign_read_keras(model, path));
    return 0;
}
