#include "nn/loss.h"

#include <math.h>
#include <string.h>

#include "kernel/activation.h"
#include "kernel/softmax.h"

static const char *const names[] = {
    [COHORT_LOSS_CROSS_ENTROPY] = "cross_entropy",
    [COHORT_LOSS_BINARY_CROSS_ENTROPY] = "binary_cross_entropy",
    [COHORT_LOSS_MSE] = "mse",
    [COHORT_LOSS_HUBER] = "huber",
};

static bool is_classification(const cohort_loss *loss)
{
    return loss->type == COHORT_LOSS_CROSS_ENTROPY ||
           loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY;
}

static cohort_status find_type(cohort_loss_type *type, const cohort_variant *recipe)
{
    COHORT_REQUIRE(recipe->table, COHORT_USAGE,
                   "the recipe has no `loss`; add one, e.g. loss: cross_entropy");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(recipe->table->name, names[i]) == 0) {
            *type = (cohort_loss_type)i;
            return COHORT_OK;
        }
    return COHORT_FAIL(COHORT_INTERNAL, "loss '%s' has no implementation", recipe->table->name);
}

/* Outputs against targets. */
static cohort_status check_width(const cohort_loss *loss, int line, size_t target_width)
{
    const char *name = names[loss->type];
    const size_t outputs = loss->positions * loss->width;
    if (loss->type == COHORT_LOSS_CROSS_ENTROPY)
        COHORT_REQUIRE(
            loss->width > 1, COHORT_USAGE,
            "line %d: loss cross_entropy needs one output per class, but the network has "
            "1; give the last layer as many units as classes, or use "
            "binary_cross_entropy",
            line);
    else if (loss->labels)
        COHORT_REQUIRE(loss->width == 1, COHORT_USAGE,
                       "line %d: loss %s with one number as target needs 1 output, but the network "
                       "has %zu; set the last layer's units to 1%s",
                       line, name, loss->width,
                       loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY ? ", or use cross_entropy"
                                                                      : "");
    COHORT_REQUIRE(loss->labels || target_width == outputs, COHORT_USAGE,
                   "line %d: loss %s: the targets have %zu values a sample, but the network has "
                   "%zu outputs; make the last layer's units fit",
                   line, name, target_width, outputs);
    return COHORT_OK;
}

static cohort_status check_weights(const cohort_loss *loss, int line, const cohort_reals *weights)
{
    const size_t count = weights->count;
    if (count == 0)
        return COHORT_OK;
    COHORT_REQUIRE(loss->class_count > 0, COHORT_USAGE,
                   "line %d: class_weights need targets that are classes; loss %s with %zu outputs "
                   "has none",
                   line, names[loss->type], loss->width);
    COHORT_REQUIRE(count == loss->class_count, COHORT_USAGE,
                   "line %d: class_weights has %zu numbers, but there are %zu classes; give one "
                   "for each",
                   line, count, loss->class_count);
    return COHORT_OK;
}

cohort_status cohort_loss_create(cohort_loss *loss, const cohort_variant *recipe,
                                 const cohort_shape *output, size_t target_width)
{
    *loss = (cohort_loss){.labels = target_width == 0};
    COHORT_TRY(find_type(&loss->type, recipe));
    const cohort_loss_recipe *config = recipe->config;
    loss->width = output->dim_count ? output->dims[output->dim_count - 1] : 1;
    COHORT_REQUIRE(loss->width > 0, COHORT_INTERNAL, "the network has no outputs");
    loss->positions = cohort_shape_count(output) / loss->width;
    loss->label_smoothing = config->label_smoothing;
    loss->delta = config->delta;
    if (loss->type == COHORT_LOSS_CROSS_ENTROPY)
        loss->class_count = loss->width;
    else if (loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY && loss->width == 1)
        loss->class_count = 2;
    loss->counts_correct = is_classification(loss) || loss->labels;
    COHORT_TRY(check_width(loss, recipe->line, target_width));
    COHORT_TRY(check_weights(loss, recipe->line, &config->class_weights));
    if (config->class_weights.count)
        loss->class_weights = config->class_weights.items;
    return COHORT_OK;
}

/* The class in row ROW of the targets; negative = ignored. */
static int32_t target_class(const cohort_loss *loss, const cohort_targets *targets, size_t row)
{
    if (loss->labels)
        return targets->labels[row];
    const real *values = targets->values + row * loss->width;
    if (loss->width == 1)
        return values[0] > REAL(0.5);
    return (int32_t)cohort_argmax(values, loss->width);
}

static double class_weight(const cohort_loss *loss, int32_t class_index)
{
    return loss->class_weights ? loss->class_weights[class_index] : 1;
}

/* A label that is not a class: the data room refuses such files, so this is memory
 * safety, and a loss that stops the run. */
static bool is_class(const cohort_loss *loss, int32_t label)
{
    return (size_t)label < loss->class_count;
}

static void cross_entropy_row(cohort_loss_sums *sums, real *dx, const cohort_loss *loss,
                              const real *x, const cohort_targets *targets, size_t row,
                              double scale)
{
    /* Rows that are no one-hot rows still have a most likely class to be met. */
    int32_t wanted = target_class(loss, targets, row);
    cohort_softmax_target target = {.values =
                                        loss->labels ? NULL : targets->values + row * loss->width,
                                    .label = (size_t)wanted,
                                    .smoothing = loss->label_smoothing,
                                    .weight = class_weight(loss, wanted)};
    sums->correct += cohort_is_argmax(x, loss->width, (size_t)wanted);
    sums->loss += cohort_softmax_cross_entropy(dx, x, &target, loss->width, scale);
}

/* -t log s(x) - (1 - t) log(1 - s(x)) = max(x, 0) - t x + log(1 + e^-|x|), mean over
 * the row. */
static void binary_row(cohort_loss_sums *sums, real *dx, const cohort_loss *loss, const real *x,
                       const cohort_targets *targets, size_t row, double scale)
{
    const size_t width = loss->width;
    double weight = 1, total = 0;
    bool correct = true;
    if (loss->class_weights)
        weight = class_weight(loss, target_class(loss, targets, row));
    for (size_t j = 0; j < width; j++) {
        double logit = (double)x[j];
        double given =
            loss->labels ? targets->labels[row] : (double)targets->values[row * width + j];
        double wanted = given * (1 - loss->label_smoothing) + 0.5 * loss->label_smoothing;
        double decay = exp(-fabs(logit)); /* in (0, 1]: never overflows */
        double probability = logit >= 0 ? 1 / (1 + decay) : decay / (1 + decay);
        total += (logit > 0 ? logit : 0) - wanted * logit + log1p(decay);
        correct &= (logit > 0) == (given > 0.5);
        if (dx)
            dx[j] = (real)((probability - wanted) * weight * scale / (double)width);
    }
    sums->loss += weight * total / (double)width;
    sums->correct += correct;
}

/* Squares or Huber's function of the differences, mean over the row (as in Keras). */
static void regression_row(cohort_loss_sums *sums, real *dx, const cohort_loss *loss, const real *x,
                           const cohort_targets *targets, size_t row, double scale)
{
    const size_t width = loss->width;
    const double delta = loss->delta;
    double total = 0;
    for (size_t j = 0; j < width; j++) {
        double wanted =
            loss->labels ? targets->labels[row] : (double)targets->values[row * width + j];
        double output = (double)x[j], difference = output - wanted, slope;
        if (loss->type == COHORT_LOSS_MSE) {
            total += difference * difference;
            slope = 2 * difference;
        } else if (fabs(difference) <= delta) {
            total += 0.5 * difference * difference;
            slope = difference;
        } else {
            total += delta * (fabs(difference) - 0.5 * delta);
            slope = copysign(delta, difference);
        }
        if (loss->labels && (wanted == 0 || wanted == 1))
            sums->correct += (output > 0.5) == (wanted == 1);
        else if (loss->labels)
            sums->correct += fabs(difference) < 0.5;
        if (dx)
            dx[j] = (real)(slope * scale / (double)width);
    }
    sums->loss += total / (double)width;
}

void cohort_loss_run(cohort_loss_sums *sums, real *dlogits, const cohort_loss *loss,
                     const real *logits, const cohort_targets *targets, size_t batch, double scale)
{
    const size_t rows = batch * loss->positions;
    for (size_t row = 0; row < rows; row++) {
        const real *x = logits + row * loss->width;
        real *dx = dlogits ? dlogits + row * loss->width : NULL;
        if (!is_classification(loss)) {
            regression_row(sums, dx, loss, x, targets, row, scale);
            sums->count += 1;
            continue;
        }
        if (loss->labels && !is_class(loss, targets->labels[row])) {
            if (dx)
                memset(dx, 0, loss->width * sizeof *dx);
            if (targets->labels[row] >= 0) {
                sums->loss = NAN;
                sums->count += 1;
            }
            continue;
        }
        if (loss->type == COHORT_LOSS_CROSS_ENTROPY)
            cross_entropy_row(sums, dx, loss, x, targets, row, scale);
        else
            binary_row(sums, dx, loss, x, targets, row, scale);
        sums->count += 1;
    }
}

void cohort_loss_activate(real *outputs, const cohort_loss *loss, size_t batch)
{
    cohort_activation activation = COHORT_LINEAR;
    if (loss->type == COHORT_LOSS_CROSS_ENTROPY)
        activation = COHORT_SOFTMAX;
    else if (loss->type == COHORT_LOSS_BINARY_CROSS_ENTROPY)
        activation = COHORT_SIGMOID;
    cohort_activation_forward(activation, 0, outputs, outputs, batch * loss->positions,
                              loss->width);
}

void cohort_loss_classes(int32_t *classes, const cohort_loss *loss, const real *logits,
                         size_t batch)
{
    if (loss->class_count == 0)
        return;
    for (size_t row = 0; row < batch * loss->positions; row++)
        classes[row] = loss->width == 1
                           ? logits[row] > 0
                           : (int32_t)cohort_argmax(logits + row * loss->width, loss->width);
}

void cohort_loss_target_classes(int32_t *classes, const cohort_loss *loss,
                                const cohort_targets *targets, size_t batch)
{
    if (loss->class_count == 0)
        return;
    for (size_t row = 0; row < batch * loss->positions; row++)
        classes[row] = target_class(loss, targets, row);
}
