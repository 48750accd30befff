#include <stdio.h>

#include "cli/command.h"
#include "state/foreign.h"
#include "train/job.h"

static const cohort_option options[] = {
    {"format", "safetensors|npz|keras|onnx|c", "the tool that is to read it (see above)", false},
    {"output", "FILE", "the file to write; replaced when it is complete", false},
};

static cohort_status write_file(cohort_inference *inference, cohort_foreign_format format,
                                const char *output)
{
    COHORT_TRY(cohort_inference_set_loss(inference));
    const cohort_foreign_network network = {.model = inference->model,
                                            .recipe = inference->recipe,
                                            .loss = &inference->loss,
                                            .classes = inference->about->classes,
                                            .class_count = inference->about->class_count};
    COHORT_TRY(cohort_foreign_export(output, format, &network));
    printf("wrote %s\n", output);
    return COHORT_OK;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    cohort_inference inference = {0};
    const char *output = NULL, *name = NULL;
    size_t format = 0, count = 0;
    while (cohort_foreign_names[count])
        count++;
    COHORT_TRY(cohort_options_require(&name, given, "format"));
    COHORT_TRY(cohort_options_choice(&format, given, "format", 0, cohort_foreign_names, count));
    COHORT_TRY(cohort_options_require(&output, given, "output"));
    cohort_job_set_threads(comm, 1);
    cohort_status status = cohort_inference_open(&inference, comm, given->positional[0], 1);
    if (status == COHORT_OK) {
        if (cohort_cli_is_speaker(comm))
            status = write_file(&inference, (cohort_foreign_format)format, output);
        status = cohort_comm_follow(comm, status);
    }
    cohort_inference_close(&inference);
    return status;
}

const cohort_command cohort_command_export = {
    .name = "export",
    .usage = "MODEL --format safetensors|npz|keras|onnx|c --output FILE",
    .summary = "Write a trained network in another tool's format",
    .details =
        "safetensors  for PyTorch: its names and layouts. A layer called `fc` in the recipe is\n"
        "             fc.weight and fc.bias, one inside a residual 3_residual.0_conv2d.weight.\n"
        "             Attention is nn.MultiheadAttention's, an lstm nn.LSTM's (its second bias\n"
        "             is 0), batch_norm has running_mean and running_var. What follows the\n"
        "             flattening of an image is in the order [channels][height][width], as\n"
        "             PyTorch flattens it. Set `eps` to the recipe's epsilon, `negative_slope`\n"
        "             to its slope: they are not in the file.\n"
        "npz          for NumPy: the names and layouts of a checkpoint, \"0_conv2d/kernel\"\n"
        "keras        weights for Keras 2: model.load_weights(FILE) by topology, name it\n"
        "             something.h5. One Keras layer for each of the recipe's, Add for the sum of\n"
        "             a residual (layers first, then the shortcut)\n"
        "onnx         the network for ONNX Runtime and others, opset 17: input `x` [batch][…] as\n"
        "             in the data set (scaling is inside), outputs `logits` and `y`, which is\n"
        "             what `cohort predict` writes\n"
        "c            one file of C99 without dependencies for small devices: void predict(const\n"
        "             float *x, float *y), int32_t *x for tokens; x and y as for onnx, without\n"
        "             the batch\n"
        "\n"
        "What is left out: how it was trained (optimizer, progress), except in checkpoints.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
