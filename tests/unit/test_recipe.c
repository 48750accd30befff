/* Recipes: parsing, errors, --set, writing, comparing, with a small catalog of layers
 * that has every kind of key. */
#include "tests/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "nn/model.h"
#include "recipe/fill.h"
#include "recipe/recipe.h"

/* The catalog. */

typedef struct init_config {
    double value;
} init_config;
static const cohort_key init_value_keys[] = {
    {.name = "stddev",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(init_config, value),
     .min = 0,
     .max = 100,
     .open_min = true,
     .required = true,
     .help = "standard deviation"},
};
static const cohort_key_table init_zeros = {.name = "zeros"};
static const cohort_key_table init_glorot = {.name = "glorot_uniform"};
static const cohort_key_table init_normal = {.name = "normal",
                                             .config_bytes = sizeof(init_config),
                                             .main_key = "stddev",
                                             .keys = init_value_keys,
                                             .key_count = 1};
static const cohort_key_table *const init_variants[] = {&init_zeros, &init_glorot, &init_normal,
                                                        NULL};

typedef struct layer_config {
    const char *name;
    cohort_variant init, start;
    size_t units;
    size_t kernel[2], strides[2];
    int padding;
    bool bias;
    double rate;
    int64_t offset;
    uint64_t room;
    cohort_variants layers, shortcut;
} layer_config;

static const char *const paddings[] = {"valid", "same", NULL};
#define NAME_KEY                                                                                   \
    {                                                                                              \
        .name = "name", .type = COHORT_KEY_STRING, .offset = offsetof(layer_config, name)          \
    }
#define UNITS_KEY                                                                                  \
    {                                                                                              \
        .name = "units", .type = COHORT_KEY_COUNT, .offset = offsetof(layer_config, units),        \
        .min = 1, .max = 1e6, .required = true, .help = "outputs"                                  \
    }
#define INIT_KEY                                                                                   \
    {                                                                                              \
        .name = "init", .type = COHORT_KEY_VARIANT, .offset = offsetof(layer_config, init),        \
        .variants = init_variants, .fallback = "glorot_uniform"                                    \
    }
static const cohort_key dense_keys[] = {
    NAME_KEY,
    UNITS_KEY,
    {.name = "start",
     .type = COHORT_KEY_VARIANT,
     .offset = offsetof(layer_config, start),
     .variants = init_variants,
     .fallback = "normal: 0.5"},
    {.name = "bias",
     .type = COHORT_KEY_BOOL,
     .offset = offsetof(layer_config, bias),
     .fallback = "true"},
    INIT_KEY,
};
static const cohort_key conv2d_keys[] = {
    NAME_KEY,
    {.name = "kernel",
     .type = COHORT_KEY_PAIR,
     .offset = offsetof(layer_config, kernel),
     .min = 1,
     .max = 64,
     .required = true},
    {.name = "strides",
     .type = COHORT_KEY_PAIR,
     .offset = offsetof(layer_config, strides),
     .min = 1,
     .max = 64},
    {.name = "padding",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(layer_config, padding),
     .choices = paddings,
     .fallback = "valid"},
    {.name = "offset", .type = COHORT_KEY_INTEGER, .offset = offsetof(layer_config, offset)},
    {.name = "room",
     .type = COHORT_KEY_BYTES,
     .offset = offsetof(layer_config, room),
     .fallback = "1MiB"},
    INIT_KEY,
};
static const cohort_key dropout_keys[] = {
    NAME_KEY,
    {.name = "rate",
     .type = COHORT_KEY_REAL,
     .offset = offsetof(layer_config, rate),
     .min = 0,
     .max = 1,
     .open_max = true,
     .required = true},
};
static const cohort_key residual_keys[] = {
    NAME_KEY,
    {.name = "layers",
     .type = COHORT_KEY_VARIANTS,
     .offset = offsetof(layer_config, layers),
     .required = true},
    {.name = "shortcut",
     .type = COHORT_KEY_VARIANTS,
     .offset = offsetof(layer_config, shortcut),
     .fallback = "[]"},
};
static const char *const position_types[] = {"learned", "sinusoidal", NULL};
static const cohort_key position_keys[] = {
    {.name = "type",
     .type = COHORT_KEY_CHOICE,
     .offset = offsetof(layer_config, padding),
     .choices = position_types,
     .fallback = "learned"},
};
static const cohort_key flatten_keys[] = {NAME_KEY};
#define LAYER(label, keys_array, ...)                                                              \
    {                                                                                              \
        .name = label, .config_bytes = sizeof(layer_config), .keys = keys_array,                   \
        .key_count = sizeof(keys_array) / sizeof *(keys_array), __VA_ARGS__                        \
    }
static const cohort_key_table dense_table = LAYER("dense", dense_keys, .main_key = NULL);
static const cohort_key_table conv2d_table = LAYER("conv2d", conv2d_keys, .main_key = NULL);
static const cohort_key_table dropout_table = LAYER("dropout", dropout_keys, .main_key = "rate");
static const cohort_key_table residual_table = LAYER("residual", residual_keys, .main_key = NULL);
static const cohort_key_table position_table =
    LAYER("position_embedding", position_keys, .main_key = NULL);
static const cohort_key_table flatten_table = LAYER("flatten", flatten_keys, .main_key = NULL);
static const cohort_key_table *const catalog[] = {
    &dense_table,   &conv2d_table, &dropout_table, &residual_table, &position_table,
    &flatten_table, NULL};

static cohort_status parse_with(cohort_recipe **out, const char *text, const char *const *sets,
                                size_t count)
{
    return cohort_recipe_parse(out, text, "some/where/r.yaml", "some/where", sets, count, catalog);
}

static cohort_status parse(cohort_recipe **out, const char *text)
{
    return parse_with(out, text, NULL, 0);
}

#define MINIMAL                                                                                    \
    "data: {file: d.h5}\n"                                                                         \
    "model:\n"                                                                                     \
    "  - dense: {units: 3}\n"                                                                      \
    "loss: mse\n"

static const layer_config *layer(const cohort_variants *layers, size_t index)
{
    return layers->items[index].config;
}

static void minimal_takes_the_defaults(void **state)
{
    (void)state;
    cohort_recipe *r = NULL;
    assert_ok(parse(&r, MINIMAL));
    assert_string_equal(r->name, "r");
    assert_string_equal(r->path, "some/where/r.yaml");
    assert_string_equal(r->folder, "some/where");
    assert_int_equal(r->seed, 1);
    assert_string_equal(r->data.file, "d.h5");
    assert_string_equal(r->data.train, "train");
    assert_string_equal(r->data.test, "test");
    assert_null(r->data.validation);
    assert_string_equal(r->data.x, "x");
    assert_true(r->data.scale == 1 && r->data.shuffle);
    assert_int_equal(r->data.mean.count, 1);
    assert_true(r->data.mean.items[0] == 0 && r->data.std.items[0] == 1);
    assert_int_equal(r->data.augment.count, 0);
    assert_int_equal(r->freeze.count, 0);
    assert_string_equal(r->loss.table->name, "mse");
    assert_int_equal(r->optimizer.type, COHORT_ADAM);
    assert_true(r->optimizer.lr == 0.001 && r->optimizer.beta1 == 0.9);
    assert_true(r->optimizer.beta2 == 0.999 && r->optimizer.rho == 0.9);
    assert_true(r->optimizer.epsilon == 1e-7 && !r->optimizer.nesterov);
    assert_int_equal(r->optimizer.schedule.type, COHORT_SCHEDULE_CONSTANT);
    assert_int_equal(r->train.epochs, 1);
    assert_int_equal(r->train.global_batch_size, 64);
    assert_null(r->train.early_stopping.metric);
    assert_null(r->train.initial_weights);
    assert_int_equal(r->checkpoint.every_epochs, 1);
    assert_int_equal(r->checkpoint.keep, 3);
    assert_true(r->comm.timeout == 300);
    assert_int_equal(r->model.count, 1);
    assert_int_equal(r->model.items[0].line, 3);
    assert_true(layer(&r->model, 0)->bias);
    assert_string_equal(layer(&r->model, 0)->init.table->name, "glorot_uniform");
    cohort_recipe_destroy(r);
}

static const char full[] =
    "name: every-thing\n"
    "seed: 42\n"
    "data:\n"
    "  file: \"a folder/d: \\\"q\\\" \\u2028\\u00e9.h5\"\n"
    "  validation: 0.1\n"
    "  x: x\n"
    "  y: y\n"
    "  scale: 0.00392156862745\n"
    "  mean: [0.1, 2, -3.0e-2]\n"
    "  std: 0.25\n"
    "  memory_limit: 4GiB\n"
    "  shuffle: false\n"
    "  augment:\n"
    "    - random_crop: {padding: 4}\n"
    "    - flip: vertical\n"
    "    - flip\n"
    "    - {type: rotate, degrees: 10}\n"
    "    - zoom: 0.1\n"
    "model:\n"
    "  - conv2d: {kernel: [3, 5], padding: same, room: 3KiB, offset: -4}\n"
    "  - flatten\n"
    "  - dense:\n"
    "      units: 10\n"
    "      bias: false\n"
    "      init:\n"
    "        normal: 0.05\n"
    "  - {type: dense, units: 7, init: {type: normal, stddev: 1e-3}, name: 'null'}\n"
    "  - dropout: 0.5\n"
    "  - position_embedding: {type: sinusoidal}\n"
    "  - type: flatten\n"
    "  - residual:\n"
    "      layers:\n"
    "        - dense: {units: 1, init: zeros}\n"
    "        - residual:\n"
    "            layers: [flatten, {dense: {units: 2}}]\n"
    "            shortcut: identity\n"
    "      shortcut:\n"
    "        - conv2d: {kernel: 1, strides: 2}\n"
    "freeze: [a, \"b c\"]\n"
    "loss: {type: cross_entropy, label_smoothing: 0.1, class_weights: [1, 2.5]}\n"
    "optimizer:\n"
    "  type: sgd\n"
    "  lr: 1e-1\n"
    "  momentum: 0.9\n"
    "  nesterov: true\n"
    "  weight_decay: 1.0e-4\n"
    "  schedule: {type: step, milestones: [1, 2.5], factor: 0.2, warmup_steps: 5}\n"
    "train:\n"
    "  epochs: 5\n"
    "  initial_weights: ~\n"
    "  early_stopping: {metric: validation_accuracy, patience: 4}\n"
    "comm: {reducer: shared, bucket: 256KiB}\n";

static void everything_is_understood(void **state)
{
    (void)state;
    cohort_recipe *r = NULL;
    assert_ok(parse(&r, full));
    assert_string_equal(r->name, "every-thing");
    assert_string_equal(r->data.file, "a folder/d: \"q\" \xE2\x80\xA8\xC3\xA9.h5");
    assert_string_equal(r->data.validation, "0.1");
    assert_int_equal(r->data.mean.count, 3);
    assert_true(r->data.mean.items[2] == -0.03);
    assert_true(r->data.memory_limit == (uint64_t)4 << 30);
    assert_int_equal(r->data.augment.count, 5);
    assert_int_equal(((cohort_random_crop *)r->data.augment.items[0].config)->padding, 4);
    assert_int_equal(((cohort_flip *)r->data.augment.items[1].config)->direction, 1);
    assert_int_equal(((cohort_flip *)r->data.augment.items[2].config)->direction, 0);
    assert_true(((cohort_rotate *)r->data.augment.items[3].config)->degrees == 10);
    assert_true(((cohort_zoom *)r->data.augment.items[4].config)->range == 0.1);
    assert_int_equal(r->model.count, 8);
    const layer_config *conv = layer(&r->model, 0);
    assert_int_equal(conv->kernel[0], 3);
    assert_int_equal(conv->kernel[1], 5);
    assert_int_equal(conv->strides[0], 0);
    assert_int_equal(conv->padding, 1);
    assert_int_equal(conv->offset, -4);
    assert_int_equal(conv->room, 3072);
    assert_string_equal(layer(&r->model, 2)->init.table->name, "normal");
    assert_true(((init_config *)layer(&r->model, 2)->init.config)->value == 0.05);
    assert_int_equal(r->model.items[2].line, 22);
    assert_true(((init_config *)layer(&r->model, 3)->init.config)->value == 1e-3);
    assert_string_equal(layer(&r->model, 3)->name, "null");
    assert_true(layer(&r->model, 4)->rate == 0.5);
    assert_int_equal(layer(&r->model, 5)->padding, 1);
    const layer_config *residual = layer(&r->model, 7);
    assert_int_equal(residual->layers.count, 2);
    assert_int_equal(residual->shortcut.count, 1);
    assert_int_equal(layer(&residual->shortcut, 0)->strides[1], 2);
    assert_int_equal(layer(&residual->layers, 1)->layers.count, 2);
    assert_int_equal(layer(&residual->layers, 1)->shortcut.count, 0);
    assert_int_equal(r->freeze.count, 2);
    assert_string_equal(r->freeze.items[1], "b c");
    const cohort_loss_recipe *loss = r->loss.config;
    assert_true(loss->label_smoothing == 0.1 && loss->class_weights.items[1] == 2.5);
    assert_int_equal(r->optimizer.schedule.type, COHORT_SCHEDULE_STEP);
    assert_int_equal(r->optimizer.schedule.milestones.count, 2);
    assert_int_equal(r->train.early_stopping.patience, 4);
    assert_int_equal(r->comm.reducer, 1);
    assert_int_equal(r->comm.bucket, 256 << 10);
    cohort_recipe_destroy(r);
}

/* Writing. */

static void assert_round_trip(const char *source)
{
    cohort_recipe *first = NULL, *second = NULL;
    cohort_text once = {0}, twice = {0}, key = {0};
    bool same = false;
    assert_ok(parse(&first, source));
    assert_ok(cohort_recipe_write(&once, first));
    cohort_status status = parse(&second, once.data);
    if (status != COHORT_OK)
        fail_msg("%s in:\n%s", cohort_error_message(), once.data);
    assert_ok(cohort_recipe_write(&twice, second));
    assert_string_equal(once.data, twice.data);
    assert_ok(cohort_recipe_is_same_run(&same, &key, first, second));
    assert_true(same);
    cohort_recipe_destroy(first);
    cohort_recipe_destroy(second);
    cohort_text_clear(&once);
    cohort_text_clear(&twice);
    cohort_text_clear(&key);
}

static void what_is_written_parses_back(void **state)
{
    (void)state;
    assert_round_trip(MINIMAL);
    assert_round_trip(full);
    assert_round_trip(MINIMAL "name: \"tab\\tand \\e[0m 'quote' \\U0001F600\\x85\\uFEFF\"\n"
                              "freeze: [~x, '~', 'null', '- a', '#b', '{c', ' d ', 'e: f', '1']\n");
}

static void resolved_text_spells_out_defaults(void **state)
{
    (void)state;
    cohort_recipe *r = NULL;
    cohort_text text = {0};
    assert_ok(parse(&r, MINIMAL));
    assert_ok(cohort_recipe_write(&text, r));
    static const char *const lines[] = {
        "name: r\n",
        "  validation: null\n",
        "  augment: []\n",
        "  - dense: {units: 3, start: {normal: 0.5}, bias: true, init: glorot_uniform}\n",
        "  epsilon: 1.0e-07\n",
        "  schedule:\n    type: constant\n",
        "  early_stopping: null\n",
        "  timeout: 300\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text.data, lines[i]))
            fail_msg("'%s' is not in:\n%s", lines[i], text.data);
    cohort_text_clear(&text);
    cohort_recipe_destroy(r);
}

/* Errors. */

typedef struct mistake {
    const char *text, *message;
} mistake;

static void assert_mistakes(const mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cohort_recipe *r = (cohort_recipe *)1;
        cohort_status status = parse(&r, mistakes[i].text);
        if (status != COHORT_USAGE)
            fail_msg("status %d (%s) for:\n%s", (int)status, cohort_error_message(),
                     mistakes[i].text);
        if (strncmp(cohort_error_message(), "some/where/r.yaml:", 18) != 0 ||
            strcmp(cohort_error_message() + 18, mistakes[i].message) != 0)
            fail_msg("message \"%s\", expected \"%s\"", cohort_error_message(),
                     mistakes[i].message);
        assert_null(r);
        assert_null(strchr(cohort_error_message(), '\n'));
    }
}
#define ASSERT_MISTAKES(array) assert_mistakes(array, sizeof(array) / sizeof *(array))

static void wrong_keys_are_named(void **state)
{
    (void)state;
    static const mistake mistakes[] = {
        {MINIMAL "train:\n  epoch: 3\n", "6: unknown key 'epoch' in train; did you mean 'epochs'?"},
        {MINIMAL "modle: []\n", "5: unknown key 'modle'; did you mean 'model'?"},
        {MINIMAL "fantasy: {rounds: 3}\n",
         "5: unknown key 'fantasy'; its keys are name, seed, "
         "data, model, freeze, objective, loss, "
         "optimizer, train, checkpoint, comm, federated, privacy, search"},
        {"model:\n  - dense:\n      unit: 3\n"
         "data: {file: d}\nloss: mse\n",
         "3: unknown key 'unit' in model.0 (dense); did you mean 'units'?"},
        {"model: [{residual: {layers: [{dense: {units: 1, x: 2}}]}}]\ndata: {file: d}\nloss: mse\n",
         "1: unknown key 'x' in model.0.layers.0 (dense); its keys are name, units, start, bias, "
         "init"},
        {"model: [dens]\ndata: {file: d}\nloss: mse\n",
         "1: unknown layer 'dens' in model.0; did you mean 'dense'?"},
        {"model: [flatten]\ndata: {file: d}\nloss: msee\n",
         "3: unknown loss 'msee'; did you mean 'mse'?"},
        {"model: [flatten]\ndata: {file: d}\nloss: {type: mse, label_smoothing: 0.1}\n",
         "3: unknown key 'label_smoothing' in loss (mse); it takes none"},
        {"data: {file: d, augment: [flop]}\nmodel: [flatten]\nloss: mse\n",
         "1: unknown augment 'flop' in data.augment.0; did you mean 'flip'?"},
        {MINIMAL "optimizer: {type: adma}\n",
         "5: optimizer.type: unknown value 'adma'; did you mean 'adam'?"},
        {MINIMAL "optimizer: sgdx_what\n", "5: optimizer.type: unknown value 'sgdx_what'; choose "
                                           "one of sgd, adam, adamw, rmsprop, adagrad"},
        {MINIMAL "seed: 1\nseed: 2\n",
         "6: duplicate key 'seed', first given on line 5; remove one"},
        {MINIMAL "<<: {seed: 1}\n", "5: unknown key '<<'; its keys are name, seed, data, model, "
                                    "freeze, objective, loss, optimizer, "
                                    "train, checkpoint, comm, federated, privacy, search"},
        {"model: [flatten]\nloss: mse\n", "1: missing key 'data'"},
        {"model: [flatten]\ndata:\n  train: t\nloss: mse\n", "2: missing key 'file' in data"},
        {"model: [dense]\ndata: {file: d}\nloss: mse\n",
         "1: missing key 'units' in model.0 (dense)"},
        {"data: {file: d}\nloss: mse\n", "1: missing key 'model'"},
        {"data: {file: d}\nmodel: []\nloss: mse\n", "2: model is empty; give at least one layer"},
        {"data: {file: d}\nmodel:\n - residual: {layers: []}\nloss: mse\n",
         "3: model.0.layers is empty; give at least one layer"},
        {"data: {file: d}\nmodel: [flatten]\n", "1: missing key 'loss'"},
        {"data: {file: d}\nmodel:\n  - dense:\n    units: 3\nloss: mse\n",
         "3: model.0: 'dense' and 'units' stand side by side; indent the keys of 'dense' below "
         "it, or write dense: {key: value}"},
    };
    ASSERT_MISTAKES(mistakes);
}

static void wrong_values_are_named(void **state)
{
    (void)state;
    static const mistake mistakes[] = {
        {MINIMAL "train: {epochs: five}\n", "5: train.epochs must be a whole number, not 'five'"},
        {MINIMAL "train: {epochs: '5'}\n",
         "5: train.epochs must be a whole number, not the text '5'"},
        {MINIMAL "train: {epochs: 5.5}\n", "5: train.epochs must be a whole number, not '5.5'"},
        {MINIMAL "train: {epochs: 0}\n", "5: train.epochs must be in [1, 1000000000], not '0'"},
        {MINIMAL "train: {max_steps: -1}\n", "5: train.max_steps must be at least 0, not '-1'"},
        {MINIMAL "train: {epochs: [1]}\n", "5: train.epochs must be a whole number, not a list"},
        {MINIMAL "train: 5\n", "5: train must be a mapping of keys, not '5'"},
        {MINIMAL "train: [a]\n", "5: train must be a mapping of keys, not a list"},
        {MINIMAL "seed: -1\n", "5: seed must be at least 0, not '-1'"},
        {MINIMAL "seed: 99999999999999999999\n",
         "5: seed must be a whole number, not '99999999999999999999'"},
        {MINIMAL "optimizer: {lr: -0.1}\n", "5: optimizer.lr must be at least 0, not '-0.1'"},
        {MINIMAL "optimizer: {lr: .nan}\n", "5: optimizer.lr must be a number, not '.nan'"},
        {MINIMAL "optimizer: {lr: nan}\n", "5: optimizer.lr must be a number, not 'nan'"},
        {MINIMAL "optimizer: {lr: .inf}\n", "5: optimizer.lr must be a number, not '.inf'"},
        {MINIMAL "optimizer: {lr: inf}\n", "5: optimizer.lr must be a number, not 'inf'"},
        {MINIMAL "optimizer: {lr: 1e999}\n", "5: optimizer.lr must be a number, not '1e999'"},
        {MINIMAL "optimizer: {lr: 0x10}\n", "5: optimizer.lr must be a number, not '0x10'"},
        {MINIMAL "optimizer: {beta1: 1}\n", "5: optimizer.beta1 must be in [0, 1), not '1'"},
        {MINIMAL "optimizer: {epsilon: 0}\n", "5: optimizer.epsilon must be above 0, not '0'"},
        {MINIMAL "optimizer: {nesterov: yes}\n",
         "5: optimizer.nesterov must be true or false, not 'yes'"},
        {MINIMAL "comm: {bucket: lots}\n",
         "5: comm.bucket must be a number of bytes such as 512MiB, not 'lots'"},
        {MINIMAL "name: [a]\n", "5: name must be a text, not a list"},
        {MINIMAL "name: ''\n", "5: name must be a text that is not empty, not the text ''"},
        {MINIMAL "name: ../up\n",
         "5: name '../up' cannot be a folder's name; use letters, digits, - and _"},
        {MINIMAL "freeze: {a: b}\n", "5: freeze must be a text or a list of texts, not a mapping"},
        {"data: {file: d, std: [1, 0]}\nmodel: [flatten]\nloss: mse\n",
         "1: data.std must be above 0, not '0'"},
        {"data: {file: d, mean: []}\nmodel: [flatten]\nloss: mse\n",
         "1: data.mean must be a number or a list of numbers, not a list"},
        {"data: {file: d}\nmodel: flatten\nloss: mse\n",
         "2: model must be a list (lines that begin with '- '), not 'flatten'"},
        {"data: {file: d}\nmodel: [[flatten]]\nloss: mse\n",
         "2: model.0 must be NAME, NAME: {key: value} or {type: NAME, key: value}, not a list"},
        {"data: {file: d}\nmodel: [dense: 3]\nloss: mse\n",
         "2: model.0 must be NAME or NAME: {key: value}, not '3'"},
        {"data: {file: d}\nmodel: [conv2d: {kernel: [1, 2, 3]}]\nloss: mse\n",
         "2: model.0.kernel must be a whole number or [height, width], not a list"},
        {"data: {file: d}\nmodel: [conv2d: {kernel: [1, 0]}]\nloss: mse\n",
         "2: model.0.kernel must be in [1, 64], not '0'"},
        {"data: {file: d}\nmodel: [dropout: 1]\nloss: mse\n",
         "2: model.0.rate must be in [0, 1), not '1'"},
        {"data: {file: d, validation: 1.5}\nmodel: [flatten]\nloss: mse\n",
         "1: data.validation must be in (0, 1) or the name of a group, not '1.5'"},
    };
    ASSERT_MISTAKES(mistakes);
}

static void useless_combinations_are_refused(void **state)
{
    (void)state;
    static const mistake mistakes[] = {
        {MINIMAL "optimizer:\n  type: adam\n  momentum: 0.9\n",
         "7: optimizer.momentum is not used by adam; remove it or choose sgd or rmsprop"},
        {MINIMAL "optimizer: {type: sgd, beta1: 0.8}\n",
         "5: optimizer.beta1 is not used by sgd; remove it or choose adam or adamw"},
        {MINIMAL "optimizer: {type: sgd, epsilon: 1e-8}\n",
         "5: optimizer.epsilon is not used by sgd; remove it or choose adam or adamw or rmsprop "
         "or adagrad"},
        {MINIMAL "optimizer: {type: sgd, nesterov: true}\n",
         "5: optimizer.nesterov needs momentum above 0; set momentum or remove it"},
        {MINIMAL "optimizer: {schedule: {type: cosine, factor: 0.5}}\n",
         "5: optimizer.schedule.factor is not used by cosine; remove it or choose step"},
        {MINIMAL "optimizer: {schedule: {milestones: [3]}}\n",
         "5: optimizer.schedule.milestones is not used by constant; remove it or choose step"},
        {MINIMAL "optimizer: {schedule: step}\n",
         "5: a step schedule needs milestones, e.g. milestones: [30, 60]"},
        {MINIMAL "optimizer:\n  schedule:\n    type: step\n    milestones: [3, 3]\n",
         "8: optimizer.schedule.milestones must be in ascending order"},
        {MINIMAL "optimizer: {schedule: one_cycle}\n",
         "5: a one_cycle schedule needs peak_epoch, the epoch at which lr is highest"},
        {MINIMAL "train: {epochs: 4}\noptimizer: {schedule: {type: one_cycle, peak_epoch: 4}}\n",
         "6: optimizer.schedule.peak_epoch must be below train.epochs (4)"},
        {MINIMAL "train: {early_stopping: {patience: 3}}\n",
         "5: train.early_stopping watches validation_loss, but there is no validation data; set "
         "data.validation, e.g. to 0.1"},
        {MINIMAL "train: {early_stopping: {metric: f1}}\n",
         "5: train.early_stopping.metric: unknown metric 'f1'; choose one of loss, accuracy, "
         "validation_loss, validation_accuracy"},
    };
    ASSERT_MISTAKES(mistakes);
    /* Defaults may stand there: a resolved recipe writes them all. */
    cohort_recipe *r = NULL;
    assert_ok(parse(&r, MINIMAL "optimizer: {type: adam, momentum: 0.0, nesterov: false}\n"));
    cohort_recipe_destroy(r);
}

static void bad_yaml_is_located(void **state)
{
    (void)state;
    static const mistake mistakes[] = {
        {"", "1: the recipe is empty; see cohort help recipe"},
        {"# nothing\n", "1: the recipe is empty; see cohort help recipe"},
        {"~\n", "1: the recipe is empty; see cohort help recipe"},
        {"- a\n", "1: not a recipe: it must be 'key: value' lines; see cohort help recipe"},
        {"data: [a\nmodel: b\n", "2: not valid YAML: did not find expected ',' or ']' while "
                                 "parsing a flow sequence"},
        {"data:\n\tfile: d\n", "2: not valid YAML: a tab; indent with spaces instead"},
        {"seed: 1\nname: \xff\n", "2: not valid YAML: invalid leading UTF-8 octet"},
        {"seed: \"a\\0b\"\n", "1: a text with a zero byte in it; remove it"},
        {MINIMAL "---\nseed: 1\n", "5: a second document (---); a recipe is one document"},
        {"a: &x [1]\nb: *x\n", "1: anchors (&name) are not accepted; remove it"},
        {"seed: *x\n", "1: aliases (*name) are not accepted; write the value out"},
        {"seed: !!str 5\n", "1: tags (!name) are not accepted; quote text instead"},
        {"? [a, b]\n: 5\n", "1: a key must be a word, not a list or map"},
        {MINIMAL "\"bad\\nkey\": 5\n",
         "5: unknown key 'bad?key'; its keys are name, seed, data, model, freeze, objective, loss, "
         "optimizer, train, checkpoint, comm, federated, privacy, search"},
    };
    ASSERT_MISTAKES(mistakes);
}

static void keys_of_steps_are_refused_where_a_run_goes_by_rounds(void **state)
{
    (void)state;
#define ROUNDS MINIMAL "federated: {rounds: 1, clients: 2}\n"
#define REFUSAL(key) key " does not apply to a federated run, which goes by rounds; remove it"
    static const mistake mistakes[] = {
        {ROUNDS "train: {verify_every: 5}\n", "6: " REFUSAL("train.verify_every")},
        {ROUNDS "train: {on_nonfinite: skip}\n", "6: " REFUSAL("train.on_nonfinite")},
        {ROUNDS "train: {max_skipped: 3}\n", "6: " REFUSAL("train.max_skipped")},
        {ROUNDS "train: {tune: fastest}\n", "6: " REFUSAL("train.tune")},
        {ROUNDS "comm: {reducer: mpi}\n", "6: " REFUSAL("comm.reducer")},
        {ROUNDS "comm: {bucket: 1MiB}\n", "6: " REFUSAL("comm.bucket")},
    };
    ASSERT_MISTAKES(mistakes);
    cohort_recipe *recipe = NULL; /* written out as defaults they are no mistake */
    assert_int_equal(parse(&recipe, ROUNDS "train: {verify_every: 500, on_nonfinite: stop, "
                                           "max_skipped: 10}\n"),
                     COHORT_OK);
    cohort_recipe_destroy(recipe);
#undef REFUSAL
#undef ROUNDS
}

/* HEAD, then UNIT repeated until BYTES are reached. */
static char *repeated(const char *head, const char *unit, size_t bytes)
{
    size_t length = strlen(head), step = strlen(unit);
    char *text = malloc(bytes + length + step + 1);
    assert_non_null(text);
    memcpy(text, head, length);
    for (; length < bytes; length += step)
        memcpy(text + length, unit, step);
    text[length] = '\0';
    return text;
}

static void hostile_text_is_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *head, *unit;
        size_t bytes;
        const char *message;
    } texts[] = {
        {"#", " ", (1 << 20) + 10, "longer than 1048576 bytes"},
        {"a: ", "[", (1 << 20) - 64, "nested more than 100 levels"},
        {"a: ", "{a: ", (1 << 20) - 64, "nested more than 100 levels"},
        {"", "- ", (1 << 20) - 64, "nested more than 100 levels"},
        {"a: [", "1,", (1 << 20) - 64, "more than 100000 values"},
        {"a: {b", "c,b", 4000, "duplicate key 'bc'"},
        {"model: [", "flatten,\n", 1 << 16, "not valid YAML"},
        {"data: {file: d}\nloss: mse\nmodel:", "\n- flatten", 1 << 16, "more than 4096 entries"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cohort_recipe *r = NULL;
        char *text = repeated(texts[i].head, texts[i].unit, texts[i].bytes);
        if (i == 5)
            memcpy(text, "a: {bc", 6);
        assert_fails(parse(&r, text), COHORT_USAGE, texts[i].message);
        assert_true(strlen(cohort_error_message()) < 300);
        free(text);
    }
    cohort_text keys = {0};
    for (int i = 0; i < 300; i++)
        cohort_text_append(&keys, "key%d: 1\n", i);
    cohort_recipe *r = NULL;
    assert_fails(parse(&r, keys.data), COHORT_USAGE, "more than 256 keys in one mapping");
    cohort_text_clear(&keys);
}

/* --set. */

static void sets_override(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "train.epochs=7",
        "optimizer.lr=1e-2",
        "optimizer.schedule.type=cosine",
        "data.mean=[0.1, 0.2]",
        "data.shuffle=false",
        "data.augment=[flip, rotate: 5]",
        "model.0.units=64",
        "model.0.init.stddev=0.5",
        "model.1.name=flat",
        "model.2.layers.0.init={normal: 0.25}",
        "model.2.shortcut=[flatten]",
        "model.3=dropout: {rate: 0.25}",
        "model.4.rate=0.75",
        "model.5.type=sinusoidal",
        "model.6.type=flatten",
        "loss={type: huber, delta: 2}",
        "loss.delta=3",
        "name=a=b",
        "train.early_stopping.patience=9",
        "train.early_stopping.metric=loss",
        "train.epochs=8",
        "seed=",
    };
    cohort_recipe *r = NULL;
    assert_ok(parse_with(&r,
                         "seed: 5\n"
                         "data: {file: d}\n"
                         "model:\n"
                         "  - {type: dense, units: 3, init: {normal: 0.05}}\n"
                         "  - flatten\n"
                         "  - residual: {layers: [dense: {units: 2}]}\n"
                         "  - flatten\n"
                         "  - dropout: 0.5\n"
                         "  - position_embedding\n"
                         "  - dropout: {}\n"
                         "loss: mse\n"
                         "optimizer: sgd\n",
                         sets, sizeof sets / sizeof *sets));
    assert_int_equal(r->train.epochs, 8);
    assert_true(r->optimizer.lr == 0.01);
    assert_int_equal(r->optimizer.type, COHORT_SGD);
    assert_int_equal(r->optimizer.schedule.type, COHORT_SCHEDULE_COSINE);
    assert_int_equal(r->data.mean.count, 2);
    assert_false(r->data.shuffle);
    assert_int_equal(r->data.augment.count, 2);
    assert_int_equal(layer(&r->model, 0)->units, 64);
    assert_true(((init_config *)layer(&r->model, 0)->init.config)->value == 0.5);
    assert_string_equal(layer(&r->model, 1)->name, "flat");
    const layer_config *inner = layer(&layer(&r->model, 2)->layers, 0);
    assert_int_equal(inner->units, 2);
    assert_true(((init_config *)inner->init.config)->value == 0.25);
    assert_int_equal(layer(&r->model, 2)->shortcut.count, 1);
    assert_true(layer(&r->model, 3)->rate == 0.25);
    assert_true(layer(&r->model, 4)->rate == 0.75);
    assert_int_equal(layer(&r->model, 5)->padding, 1);
    assert_string_equal(r->model.items[6].table->name, "flatten");
    assert_string_equal(r->loss.table->name, "huber");
    assert_true(((const cohort_loss_recipe *)r->loss.config)->delta == 3);
    assert_string_equal(r->name, "a=b");
    assert_int_equal(r->train.early_stopping.patience, 9);
    assert_int_equal(r->seed, 1);
    cohort_recipe_destroy(r);
}

static void wrong_sets_are_named(void **state)
{
    (void)state;
    static const mistake mistakes[] = {
        {"train.epoch=5",
         "--set train.epoch: unknown key 'epoch' in train; did you mean 'epochs'?"},
        {"trian.epochs=5", "--set trian.epochs: unknown key 'trian'; did you mean 'train'?"},
        {"train.epochs=x", "--set train.epochs: train.epochs must be a whole number, not 'x'"},
        {"train.epochs", "--set train.epochs: write --set KEY=VALUE, e.g. train.epochs=3"},
        {"=5", "--set =5: write --set KEY=VALUE, e.g. train.epochs=3"},
        {"train.epochs=[1", "--set train.epochs: not valid YAML: did not find expected ',' or ']' "
                            "while parsing a flow sequence"},
        {"train.epochs.x=1",
         "--set train.epochs.x: train.epochs is a value and has no keys below it"},
        {"model.1.units=5", "--set model.1.units: model has no entry '1'; it has 0 to 0"},
        {"model.x.units=5", "--set model.x.units: model has no entry 'x'; it has 0 to 0"},
        {"model.0.unit=5", "--set model.0.unit: unknown key 'unit' in model.0 (dense); did you "
                           "mean 'units'?"},
        {"model.0.units=0", "--set model.0.units: model.0.units must be in [1, 1000000], not '0'"},
        {"model.0.type=dens", "--set model.0.type: unknown layer 'dens' in model.0; did you mean "
                              "'dense'?"},
        {"model=[]", "--set model: model is empty; give at least one layer"},
        {"data.augment.0.padding=1", "--set data.augment.0.padding: data.augment has no entries"},
        {"train..epochs=1",
         "--set train..epochs: unknown key '' in train; its keys are epochs, "
         "max_steps, global_batch_size, parts, microbatch_size, threads, tune, precision, "
         "log_every_steps, verify_every, on_nonfinite, max_skipped, folds, elastic, min_ranks, "
         "initial_weights, early_stopping"},
        {"optimizer.momentum=0.9", "--set optimizer.momentum: optimizer.momentum is not used by "
                                   "adam; remove it or choose sgd or rmsprop"},
        {"loss=null", "--set loss: missing key 'loss'"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        cohort_recipe *r = NULL;
        cohort_status status = parse_with(&r, MINIMAL, &mistakes[i].text, 1);
        if (status != COHORT_USAGE || strcmp(cohort_error_message(), mistakes[i].message) != 0)
            fail_msg("--set %s: status %d, message \"%s\", expected \"%s\"", mistakes[i].text,
                     (int)status, cohort_error_message(), mistakes[i].message);
    }
}

/* Comparing. */

static void assert_compared(const char *set, const char *difference)
{
    cohort_recipe *a = NULL, *b = NULL;
    cohort_text key = {0};
    bool same = false;
    assert_ok(parse(&a, full));
    assert_ok(parse_with(&b, full, &set, 1));
    assert_ok(cohort_recipe_is_same_run(&same, &key, a, b));
    if (same != !difference || (difference && strcmp(key.data, difference) != 0))
        fail_msg("%s: %s", set, same ? "the same" : key.data);
    cohort_text_clear(&key);
    cohort_recipe_destroy(a);
    cohort_recipe_destroy(b);
}

static void same_runs_are_told_apart(void **state)
{
    (void)state;
    static const char *const free_to_change[] = {
        "name=other",
        "train.epochs=9",
        "train.max_steps=3",
        "train.threads=2",
        "train.tune=off",
        "comm.timeout=1",
        "train.log_every_steps=1",
        "checkpoint.keep=9",
        "data.memory_limit=1G",
        "train.microbatch_size=8",
        "train.verify_every=0",
        "train.on_nonfinite=skip",
        "train.max_skipped=3",
    };
    for (size_t i = 0; i < sizeof free_to_change / sizeof *free_to_change; i++)
        assert_compared(free_to_change[i], NULL);
    assert_compared("seed=2", "seed (42 and 2)");
    assert_compared("train.global_batch_size=32", "train.global_batch_size (64 and 32)");
    assert_compared("data.file=e.h5",
                    "data.file (\"a folder/d: \\\"q\\\" \\u2028\xC3\xA9.h5\" and e.h5)");
    assert_compared("model.2.units=11", "model.2.units (10 and 11)");
    assert_compared("model.7.layers.0.units=4", "model.7.layers.0.units (1 and 4)");
    assert_compared("model.1=dense: {units: 1}", "model.1 (flatten and dense)");
    assert_compared("model.2.init=zeros", "model.2.init (normal and zeros)");
    assert_compared("model.7.shortcut=[]", "model.7.shortcut (1 entries and 0)");
    assert_compared("loss.label_smoothing=0.2", "loss.label_smoothing (0.1 and 0.2)");
    assert_compared("train.early_stopping=null",
                    "train.early_stopping ({metric: validation_accuracy, patience: 4, "
                    "min_delta: 0} and null)");
    assert_compared("data.validation=0.2", "data.validation (0.1 and 0.2)");
}

static void help_names_every_key(void **state)
{
    (void)state;
    cohort_text text = {0};
    cohort_recipe_help(&text, catalog);
    assert_ok(cohort_text_status(&text));
    static const char *const words[] = {"global_batch_size", "early_stopping", "random_crop",
                                        "label_smoothing",   "one_cycle",      "residual",
                                        "shortcut",          "[0.001]",        "in [0, 1)",
                                        "glorot_uniform",    "[required]"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(text.data, words[i]))
            fail_msg("no '%s' in\n%s", words[i], text.data);
    cohort_text_clear(&text);
}

/* The tables themselves. */

static void check_table(const cohort_key_table *table);

static void check_key(const cohort_key_table *table, const cohort_key *key)
{
    if (!key->help || strchr(key->help, '\n'))
        fail_msg("%s.%s: no one-line help", table->name, key->name);
    if (key->offset + cohort_key_bytes(key) > table->config_bytes)
        fail_msg("%s.%s lies outside its struct", table->name, key->name);
    if (cohort_table_find(table, key->name) != key)
        fail_msg("%s.%s is declared twice", table->name, key->name);
    if (key->required && key->fallback)
        fail_msg("%s.%s is required and has a default", table->name, key->name);
    if ((key->type == COHORT_KEY_CHOICE) != (key->choices != NULL))
        fail_msg("%s.%s: choices", table->name, key->name);
    if ((key->type == COHORT_KEY_SECTION) != (key->table != NULL))
        fail_msg("%s.%s: table", table->name, key->name);
    if (key->table)
        check_table(key->table);
    for (size_t i = 0; key->variants && key->variants[i]; i++)
        check_table(key->variants[i]);
}

/* Every default reads as a value of its key. */
static void check_default(const cohort_key_table *table, const cohort_key *key)
{
    cohort_fill fill = {.path = table->name};
    assert_ok(cohort_arena_create(&fill.arena));
    assert_ok(cohort_arena_create(&fill.scratch));
    cohort_key_table alone = *table;
    alone.keys = key;
    alone.key_count = 1;
    void *config = NULL;
    assert_ok(cohort_arena_take(&config, fill.arena, table->config_bytes));
    assert_ok(cohort_fill_keys(&fill, NULL, &alone, NULL, NULL, false, config));
    cohort_arena_destroy(fill.arena);
    cohort_arena_destroy(fill.scratch);
}

static void check_table(const cohort_key_table *table)
{
    for (size_t i = 0; i < table->key_count; i++) {
        check_key(table, &table->keys[i]);
        if (!table->keys[i].required)
            check_default(table, &table->keys[i]);
    }
    if (table->main_key && !cohort_table_find(table, table->main_key))
        fail_msg("%s: no key %s", table->name, table->main_key);
}

static void tables_are_sound(void **state)
{
    (void)state;
    check_table(&cohort_recipe_table);
    cohort_layer_catalog layers = cohort_model_catalog();
    for (size_t i = 0; layers[i]; i++)
        check_table(layers[i]);
}

static void files_are_found(void **state)
{
    (void)state;
    char root[] = "/tmp/cohort-recipe-XXXXXX";
    assert_non_null(mkdtemp(root));
    cohort_text here = {0}, there = {0}, list = {0}, path = {0};
    cohort_text_append(&here, "%s/here.h5", root);
    cohort_text_append(&there, "%s/sets/there.h5", root);
    cohort_text_append(&list, "/nowhere::%s/sets", root);
    assert_ok(cohort_text_status(&here));
    assert_ok(cohort_path_join(&path, root, "sets"));
    assert_ok(cohort_folder_make(path.data));
    assert_ok(cohort_file_write(here.data, "x", 1));
    assert_ok(cohort_file_write(there.data, "x", 1));
    cohort_recipe *r = NULL;
    assert_ok(cohort_recipe_parse(&r, MINIMAL, "r.yaml", root, NULL, 0, catalog));
    unsetenv("COHORT_DATASETS");
    assert_ok(cohort_recipe_find_file(&path, r, "here.h5"));
    assert_string_equal(path.data, here.data);
    assert_fails(cohort_recipe_find_file(&path, r, "there.h5"), COHORT_DATA, root);
    setenv("COHORT_DATASETS", list.data, 1);
    assert_ok(cohort_recipe_find_file(&path, r, "there.h5"));
    assert_string_equal(path.data, there.data);
    assert_ok(cohort_recipe_find_file(&path, r, there.data));
    assert_fails(cohort_recipe_find_file(&path, r, "none.h5"), COHORT_DATA, "/nowhere");
    assert_fails(cohort_recipe_find_file(&path, r, "/none.h5"), COHORT_DATA, "/none.h5");
    unlink(here.data);
    unlink(there.data);
    assert_ok(cohort_path_join(&path, root, "sets"));
    rmdir(path.data);
    rmdir(root);
    cohort_recipe_destroy(r);
    cohort_text_clear(&here);
    cohort_text_clear(&there);
    cohort_text_clear(&list);
    cohort_text_clear(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(minimal_takes_the_defaults),
        cmocka_unit_test(everything_is_understood),
        cmocka_unit_test(what_is_written_parses_back),
        cmocka_unit_test(resolved_text_spells_out_defaults),
        cmocka_unit_test(wrong_keys_are_named),
        cmocka_unit_test(wrong_values_are_named),
        cmocka_unit_test(useless_combinations_are_refused),
        cmocka_unit_test(bad_yaml_is_located),
        cmocka_unit_test(keys_of_steps_are_refused_where_a_run_goes_by_rounds),
        cmocka_unit_test(hostile_text_is_bounded),
        cmocka_unit_test(sets_override),
        cmocka_unit_test(wrong_sets_are_named),
        cmocka_unit_test(same_runs_are_told_apart),
        cmocka_unit_test(help_names_every_key),
        cmocka_unit_test(tables_are_sound),
        cmocka_unit_test(files_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
