/* Networks as one file of C99: constants, the functions they need, and `predict`. */
#include "state/foreign/c_source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/convert.h"

int cohort_c_value(cohort_c_source *source, size_t count)
{
    if (source->status == COHORT_OK)
        source->status = cohort_grow((void **)&source->slots, &source->slot_capacity,
                                     source->slot_count + 1, sizeof *source->slots);
    if (source->status != COHORT_OK)
        return COHORT_C_INPUT;
    source->slots[source->slot_count] =
        (cohort_slot){.bytes = count * sizeof(float), .first = source->tick, .last = source->tick};
    return (int)source->slot_count++;
}

const char *cohort_c_name(char *text, cohort_c_source *source, int value)
{
    if (value == COHORT_C_INPUT) {
        snprintf(text, COHORT_C_NAME, "x");
        return text;
    }
    source->slots[value].last = source->tick;
    snprintf(text, COHORT_C_NAME, "memory + v%d", value);
    return text;
}

/* As short as it reads back the same; C wants a point or an exponent before the f. */
static void append_float(cohort_text *text, float value)
{
    char number[48];
    snprintf(number, sizeof number, "%.9g", (double)value);
    cohort_text_append(text, "%s%sf", number, strpbrk(number, ".e") ? "" : ".0");
}

size_t cohort_c_weights(cohort_c_source *source, const float *values, size_t count)
{
    cohort_text_append(&source->weights, "static const float w%zu[%zu] = {", source->weight_count,
                       count);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]) && source->status == COHORT_OK)
            source->status = COHORT_FAIL(COHORT_DATA, "a weight is not finite: the model is of no "
                                                      "use; take an earlier checkpoint");
        cohort_text_append(&source->weights, i % 8 ? ", " : i ? ",\n    " : "\n    ");
        append_float(&source->weights, values[i]);
    }
    cohort_text_append(&source->weights, "};\n");
    return source->weight_count++;
}

/* x <- x factor + offset, if it does anything. */
static int scale_input(cohort_c_source *source, const cohort_recipe *recipe,
                       const cohort_shape *shape)
{
    const cohort_data_recipe *data = &recipe->data;
    const size_t channels = shape->dims[shape->dim_count - 1];
    cohort_scaling scaling = {0};
    char name[COHORT_C_NAME];
    bool is_needed = false;
    source->status = cohort_scaling_make(&scaling, data->scale, data->mean.items, data->mean.count,
                                         data->std.items, data->std.count, channels);
    const size_t period = scaling.period > 1 ? channels : 1;
    for (size_t i = 0; source->status == COHORT_OK && i < period; i++)
        is_needed |= scaling.factor[i] != 1 || scaling.offset[i] != 0;
    int value = COHORT_C_INPUT;
    if (is_needed) {
        const size_t count = cohort_shape_count(shape);
        const size_t factor = cohort_c_weights(source, scaling.factor, period);
        const size_t offset = cohort_c_weights(source, scaling.offset, period);
        value = cohort_c_value(source, count);
        source->used[COHORT_C_SCALE] = true;
        cohort_text_append(&source->body, "    scale(%s, x, w%zu, w%zu, %zu, %zu);\n",
                           cohort_c_name(name, source, value), factor, offset, count / period,
                           period);
    }
    cohort_scaling_clear(&scaling);
    return value;
}

/* What turns logits into y. */
static void append_prediction(cohort_text *text, const cohort_foreign_network *network)
{
    const cohort_loss *loss = network->loss;
    const size_t count = loss->positions * loss->width;
    cohort_text_append(text, "    predict_logits(x, y);\n");
    if (loss->type == COHORT_LOSS_CROSS_ENTROPY)
        cohort_text_append(text, "    softmax(y, y, %zu, %zu);\n", loss->positions, loss->width);
    else if (loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY)
        cohort_text_append(text, "    sigmoid(y, y, %zu);\n", count);
}

static void append_head(cohort_text *text, const cohort_foreign_network *network, size_t memory)
{
    char in[COHORT_SHAPE_TEXT], out[COHORT_SHAPE_TEXT];
    const cohort_flow *input = cohort_model_input(network->model);
    const cohort_shape *output = cohort_model_output_shape(network->model);
    cohort_text_append(
        text,
        "/* A network with %zu parameters, written by cohort %s.\n"
        " *\n"
        " * x: one sample of %s%s as in the data set%s. y: %s values, what\n"
        " * `cohort predict` writes%s; predict_logits stops before the last activation.\n"
        " * Needs the C library's <math.h>, nothing else, and %zu bytes of static memory, which\n"
        " * calls share: one call at a time. */\n"
        "#include <math.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n",
        cohort_model_parameter_count(network->model), COHORT_VERSION,
        cohort_shape_text(in, &input->shape), input->tokens ? " tokens" : " values",
        input->tokens ? "" : ", which is scaled here", cohort_shape_text(out, output),
        network->class_count ? " (probabilities of the classes)" : "", memory * sizeof(float));
    cohort_text_append(text,
                       "enum { INPUTS = %zu, OUTPUTS = %zu };\n\n"
                       "void predict(const %s *x, float *y);\n"
                       "void predict_logits(const %s *x, float *logits);\n\n",
                       cohort_shape_count(&input->shape), cohort_shape_count(output),
                       input->tokens ? "int32_t" : "float", input->tokens ? "int32_t" : "float");
}

/* The file, from the parts in SOURCE; the result is value LAST. */
static cohort_status assemble(cohort_text *text, cohort_c_source *source,
                              const cohort_foreign_network *network, int last)
{
    const char *type = cohort_model_input(network->model)->tokens ? "int32_t" : "float";
    size_t bytes = 0;
    char name[COHORT_C_NAME];
    source->tick++;
    cohort_c_name(name, source, last);
    COHORT_TRY(cohort_place(&bytes, source->slots, source->slot_count));
    append_head(text, network, bytes / sizeof(float));
    if (network->loss->type == COHORT_LOSS_CROSS_ENTROPY)
        source->used[COHORT_C_SOFTMAX] = true;
    if (network->loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY)
        source->used[COHORT_C_SIGMOID] = true;
    for (size_t i = 0; i < COHORT_C_FUNCTION_COUNT; i++)
        if (source->used[i])
            cohort_text_append(text, "%s\n", cohort_c_functions[i]);
    COHORT_TRY(cohort_text_status(&source->weights));
    COHORT_TRY(cohort_text_status(&source->body));
    if (source->weights.length)
        cohort_text_append_bytes(text, source->weights.data, source->weights.length);
    if (source->slot_count) {
        cohort_text_append(text, "\n/* Where values are kept. */\nenum {\n");
        for (size_t i = 0; i < source->slot_count; i++)
            cohort_text_append(text, "    v%zu = %zu%s\n", i,
                               source->slots[i].offset / sizeof(float),
                               i + 1 < source->slot_count ? "," : "");
        cohort_text_append(text, "};\nstatic float memory[%zu];\n", bytes / sizeof(float));
    }
    cohort_text_append(text, "\nvoid predict_logits(const %s *x, float *logits)\n{\n%s", type,
                       source->body.data ? source->body.data : "");
    cohort_text_append(text, "    memcpy(logits, %s, OUTPUTS * sizeof(float));\n}\n\n", name);
    cohort_text_append(text, "void predict(const %s *x, float *y)\n{\n", type);
    append_prediction(text, network);
    cohort_text_append(text, "}\n");
    return cohort_text_status(text);
}

cohort_status cohort_foreign_write_c(cohort_output *output, const cohort_foreign_network *network)
{
    const cohort_flow *input = cohort_model_input(network->model);
    cohort_c_source source = {.model = network->model, .mask = COHORT_C_INPUT};
    cohort_text text = {0};
    cohort_status status = COHORT_OK;
    int value = COHORT_C_INPUT;
    if (!input->tokens)
        value = scale_input(&source, network->recipe, &input->shape);
    if (source.status == COHORT_OK)
        value = cohort_c_layers(&source, value);
    COHORT_TRY_DONE(status, source.status);
    COHORT_TRY_DONE(status, assemble(&text, &source, network, value));
    COHORT_TRY_DONE(status, cohort_output_bytes(output, text.data, text.length));
done:
    cohort_text_clear(&source.weights);
    cohort_text_clear(&source.body);
    cohort_text_clear(&text);
    free(source.slots);
    return status;
}
