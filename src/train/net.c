/* The public networks (cohort/net.h): one trainer or one loaded checkpoint each. */
#include "cohort/net.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "train/design.h"
#include "train/net_private.h"
#include "train/private.h"

enum { LOADED_BATCH = 64 };

static const char NO_FILE[] = "memory"; /* data.file of what was trained on arrays */

/* --- The recipe ---------------------------------------------------------------- */

static cohort_status check_config(const cohort_net_config *config)
{
    const int given =
        (config->recipe != NULL) + (config->recipe_file != NULL) + (config->design != NULL);
    COHORT_REQUIRE(given == 1, COHORT_USAGE,
                   "a network is made from one of recipe, recipe_file and design; %s given",
                   given ? "several are" : "none is");
    COHORT_REQUIRE(config->train || (!config->validation && !config->test), COHORT_USAGE,
                   "validation and test data in memory need training data in memory");
    COHORT_REQUIRE(config->sets || config->set_count == 0, COHORT_USAGE, "sets is NULL");
    for (size_t i = 0; i < config->set_count; i++)
        COHORT_REQUIRE(config->sets[i], COHORT_USAGE, "sets[%zu] is NULL", i);
    return COHORT_OK;
}

/* What stands for arrays in the recipe, *own of them, then what the design sets, then what the
 * program sets. */
static cohort_status list_sets(const char ***sets, size_t *own, size_t *count,
                               const cohort_net_config *config)
{
    size_t designed = 0, used = 0;
    const char *const *design =
        config->design ? cohort_design_sets(&designed, config->design) : NULL;
    COHORT_TRY(COHORT_ALLOCATE(sets, designed + config->set_count + 2));
    if (config->validation)
        (*sets)[used++] = "data.validation=memory";
    if (config->train)
        (*sets)[used++] = "data.file=memory";
    *own = used;
    for (size_t i = 0; i < designed; i++)
        (*sets)[used++] = design[i];
    for (size_t i = 0; i < config->set_count; i++)
        (*sets)[used++] = config->sets[i];
    *count = used;
    return COHORT_OK;
}

/* Refuses a recipe that names at KEY a data set for which there are arrays. To see what it names
 * it is read without the first SKIPPED of SETS; where that fails it names nothing, and other
 * mistakes show later. */
static cohort_status refuse_named(const cohort_text *text, const char *const *sets, size_t skipped,
                                  size_t count, const char *key)
{
    cohort_recipe *named = NULL;
    cohort_status status = COHORT_OK;
    if (cohort_recipe_parse(&named, text->data ? text->data : "", "recipe", ".", sets + skipped,
                            count - skipped, cohort_model_catalog()) != COHORT_OK) {
        cohort_error_clear();
        return COHORT_OK;
    }
    const char *value = strcmp(key, "data.file") == 0 ? named->data.file : named->data.validation;
    if (value && strcmp(value, NO_FILE) != 0)
        status = COHORT_FAIL(COHORT_USAGE,
                             "the recipe has %s: %s, but that data is in memory; remove the key",
                             key, value);
    cohort_recipe_destroy(named);
    return status;
}

/* The recipe's text on rank 0, its folder everywhere. Collective. */
static cohort_status read_text(cohort_text *text, cohort_text *folder, cohort_comm *comm,
                               const cohort_net_config *config)
{
    cohort_status status = COHORT_OK;
    if (config->recipe_file)
        return cohort_job_read_text(text, folder, comm, config->recipe_file);
    COHORT_TRY(cohort_job_require_same_program(comm));
    cohort_text_append(folder, ".");
    if (config->design)
        status = cohort_design_write(text, config->design);
    else
        cohort_text_append(text, "%s", config->recipe);
    if (status == COHORT_OK)
        status = cohort_text_status(text);
    return cohort_comm_agree(comm, status);
}

static cohort_status check_recipe(const cohort_recipe *recipe, const cohort_net_config *config)
{
    const bool needs_y = cohort_job_needs_targets(recipe);
    const cohort_arrays *all[] = {config->train, config->validation, config->test};
    static const char *const names[] = {"train", "validation", "test"};
    double fraction = 0;
    COHORT_REQUIRE(recipe->federated.rounds == 0, COHORT_USAGE,
                   "a recipe with `federated` trains by cohort_train, not as a network");
    for (int i = 0; i < 3; i++)
        COHORT_REQUIRE(!all[i] || all[i]->y.dim_count || !needs_y, COHORT_USAGE,
                       "%s: the recipe needs targets, but there is no y", names[i]);
    COHORT_REQUIRE(!config->train || config->validation || !recipe->data.validation ||
                       cohort_job_validation_fraction(&fraction, recipe),
                   COHORT_USAGE,
                   "data.validation names the group %s, but the data is in memory; give "
                   "validation arrays or a fraction",
                   recipe->data.validation);
    COHORT_REQUIRE(config->run_folder || recipe->privacy.delta == 0, COHORT_USAGE,
                   "private training needs a run_folder, which keeps its ledger");
    COHORT_REQUIRE(!recipe->train.elastic, COHORT_USAGE,
                   "train.elastic is for runs by `cohort train`; remove it");
    COHORT_REQUIRE(!config->resume || config->run_folder || !recipe->train.early_stopping.metric,
                   COHORT_USAGE,
                   "resume with train.early_stopping needs a run_folder, which keeps the best "
                   "weights");
    return COHORT_OK;
}

static cohort_status read_recipe(cohort_net *net, const cohort_net_config *config)
{
    cohort_text text = {0}, folder = {0};
    const char **sets = NULL;
    const char *name = config->recipe_file ? config->recipe_file : "recipe";
    size_t own = 0, count = 0;
    cohort_status status = list_sets(&sets, &own, &count, config);
    COHORT_TRY_DONE(status, cohort_comm_agree(net->comm, status));
    COHORT_TRY_DONE(status, read_text(&text, &folder, net->comm, config));
    if (config->train)
        status = refuse_named(&text, sets, own, count, "data.file");
    if (config->validation && status == COHORT_OK)
        status = refuse_named(&text, sets, own - 1, count, "data.validation");
    COHORT_TRY_DONE(status, cohort_comm_follow(net->comm, status));
    COHORT_TRY_DONE(status, cohort_job_parse_recipe(&net->recipe, net->comm, &text, name,
                                                    folder.data, sets, count));
    net->recipe->search = (cohort_search_recipe){0}; /* of no meaning to one network */
    if (!config->train)
        COHORT_TRY_DONE(status, cohort_job_find_data(net->recipe, net->comm));
    status = cohort_comm_agree(net->comm, check_recipe(net->recipe, config));
done:
    cohort_free(sets);
    cohort_text_clear(&text);
    cohort_text_clear(&folder);
    return status;
}

/* --- Callbacks ----------------------------------------------------------------- */

static cohort_net_view public_view(const cohort_net *net, const cohort_train_view *view)
{
    return (cohort_net_view){
        .epoch = view->epoch,
        .epochs = view->epochs,
        .step = view->step,
        .total_steps = view->total_steps,
        .loss = view->loss,
        .accuracy = view->accuracy,
        .validation_loss = view->validation_loss,
        .validation_accuracy = view->validation_accuracy,
        .test_loss = NAN,
        .test_accuracy = NAN,
        .lr = view->lr,
        .samples_per_s = view->samples_per_s,
        .is_over = net->is_over,
    };
}

static void tell_step(void *context, const cohort_train_view *view)
{
    const cohort_net *net = context;
    const cohort_net_view shown = public_view(net, view);
    net->on_step(net->context, &shown);
}

static void tell_epoch(void *context, const cohort_train_view *view)
{
    const cohort_net *net = context;
    const cohort_net_view shown = public_view(net, view);
    net->on_epoch(net->context, &shown);
}

static void tell_note(void *context, const char *text)
{
    const cohort_net *net = context;
    net->on_note(net->context, text);
}

static bool ask_stop(void *context)
{
    const cohort_net *net = context;
    return net->should_stop(net->context) != 0;
}

/* --- Making and freeing -------------------------------------------------------- */

static cohort_status open_arrays(cohort_arrays_data **out, cohort_net *net,
                                 const cohort_arrays *arrays, const char *name)
{
    return arrays ? cohort_arrays_data_create(out, net->comm, arrays, name) : COHORT_OK;
}

static cohort_status create(cohort_net *net, const cohort_net_config *config)
{
    double fraction = 0;
    COHORT_TRY(cohort_comm_agree(net->comm, check_config(config)));
    COHORT_TRY(read_recipe(net, config));
    COHORT_TRY(open_arrays(&net->train, net, config->train, "train"));
    COHORT_TRY(open_arrays(&net->validation, net, config->validation, "validation"));
    COHORT_TRY(open_arrays(&net->test, net, config->test, "test"));
    net->context = config->context;
    net->on_step = config->on_step;
    net->on_epoch = config->on_epoch;
    net->on_note = config->on_note;
    net->should_stop = config->should_stop;
    net->fractions = cohort_job_validation_fraction(&fraction, net->recipe);
    const cohort_trainer_options options = {
        .run_folder = config->run_folder,
        .no_folder = !config->run_folder,
        .resume = config->resume,
        .data = {.train = cohort_arrays_data_set(net->train),
                 .validation = cohort_arrays_data_set(net->validation),
                 .test = cohort_arrays_data_set(net->test)},
        .observer = {.context = net,
                     .on_step = net->on_step ? tell_step : NULL,
                     .on_epoch = net->on_epoch ? tell_epoch : NULL,
                     .on_note = net->on_note ? tell_note : NULL},
        .should_stop = net->should_stop ? ask_stop : NULL,
        .stop_context = net,
    };
    COHORT_TRY(cohort_trainer_create(&net->trainer, net->comm, net->recipe, &options));
    net->threads = net->trainer->threads;
    COHORT_TRY(cohort_comm_agree(
        net->comm, cohort_predictor_init(&net->predictor, net->recipe, net->trainer->model,
                                         &net->trainer->loss, net->trainer->microbatch)));
    return cohort_trainer_begin(net->trainer);
}

static cohort_status load(cohort_net *net, const char *path)
{
    cohort_inference *inference = &net->inference;
    COHORT_TRY(cohort_inference_open(inference, net->comm, path, LOADED_BATCH));
    net->threads = cohort_job_use_threads(inference->recipe->train.threads);
    cohort_status status = cohort_inference_set_loss(inference);
    if (status == COHORT_OK)
        status = cohort_predictor_init(&net->predictor, inference->recipe, inference->model,
                                       &inference->loss, inference->batch);
    return cohort_comm_agree(net->comm, status);
}

/* *out = a network without anything but its communicator. */
static cohort_status begin(cohort_net **out, const void *mpi_comm)
{
    *out = NULL;
    cohort_comm *comm = NULL;
    COHORT_TRY(cohort_comm_open(&comm, mpi_comm));
    cohort_net *net = calloc(1, sizeof *net);
    cohort_status status = net ? COHORT_OK : COHORT_FAIL(COHORT_MEMORY, "out of memory");
    status = cohort_comm_agree(comm, status);
    if (status != COHORT_OK) {
        cohort_comm_close(comm);
        free(net);
        return status;
    }
    net->comm = comm;
    *out = net;
    return COHORT_OK;
}

cohort_status cohort_net_create(cohort_net **out, const void *mpi_comm,
                                const cohort_net_config *config)
{
    const int before = omp_get_max_threads();
    cohort_net *net = NULL;
    *out = NULL;
    COHORT_TRY(begin(&net, mpi_comm));
    const cohort_status status = create(net, config);
    omp_set_num_threads(before);
    if (status == COHORT_OK)
        *out = net;
    else
        cohort_net_destroy(net);
    return status;
}

cohort_status cohort_net_load(cohort_net **out, const void *mpi_comm, const char *path)
{
    const int before = omp_get_max_threads();
    cohort_net *net = NULL;
    *out = NULL;
    COHORT_TRY(begin(&net, mpi_comm));
    const cohort_status status = load(net, path);
    omp_set_num_threads(before);
    if (status == COHORT_OK)
        *out = net;
    else
        cohort_net_destroy(net);
    return status;
}

void cohort_net_destroy(cohort_net *net)
{
    if (!net)
        return;
    cohort_predictor_clear(&net->predictor);
    cohort_trainer_destroy(net->trainer);
    cohort_inference_close(&net->inference);
    cohort_arrays_data_destroy(net->train);
    cohort_arrays_data_destroy(net->validation);
    cohort_arrays_data_destroy(net->test);
    cohort_recipe_destroy(net->recipe);
    cohort_comm_close(net->comm);
    free(net);
}

/* --- Training ------------------------------------------------------------------ */

static cohort_status require_trainable(const cohort_net *net)
{
    COHORT_REQUIRE(net->trainer, COHORT_USAGE,
                   "a loaded network cannot be trained; make one with cohort_net_create and the "
                   "file as train.initial_weights or resume");
    COHORT_REQUIRE(!net->is_lost, COHORT_USAGE,
                   "the network's data could not be replaced; destroy it");
    return COHORT_OK;
}

static cohort_status train(cohort_net *net, uint64_t count)
{
    bool over = false;
    if (net->is_over)
        return COHORT_OK;
    cohort_status status = cohort_trainer_advance(&over, net->trainer, count);
    if (status == COHORT_STOPPED) { /* as asked; a checkpoint was written if there is a folder */
        cohort_error_clear();
        return COHORT_OK;
    }
    COHORT_TRY(status);
    if (!over)
        return COHORT_OK;
    COHORT_TRY(cohort_trainer_finish(net->trainer));
    net->is_over = true;
    return COHORT_OK;
}

/* Where the training stands after its latest step. */
static void look(cohort_net_view *view, const cohort_net *net)
{
    const cohort_trainer *trainer = net->trainer;
    const cohort_evaluation *test = cohort_trainer_test(trainer);
    cohort_train_view now;
    cohort_trainer_look(&now, trainer);
    *view = public_view(net, &now);
    if (now.step_in_epoch == 0 && now.step > 0) { /* an epoch has ended: its figures */
        view->epoch--;
        view->loss = trainer->ended_loss;
        view->accuracy = trainer->ended_accuracy;
    }
    if (test) {
        view->test_loss = test->loss;
        view->test_accuracy = test->accuracy;
    }
}

cohort_status cohort_net_step(cohort_net_view *view, cohort_net *net, uint64_t count)
{
    COHORT_TRY(require_trainable(net));
    const int before = omp_get_max_threads();
    omp_set_num_threads((int)net->threads);
    const cohort_status status = train(net, count);
    omp_set_num_threads(before);
    if (view)
        look(view, net);
    return status;
}

cohort_status cohort_net_train(cohort_net_view *view, cohort_net *net)
{
    return cohort_net_step(view, net, UINT64_MAX);
}

static cohort_status replace(cohort_net *net, const cohort_arrays *train)
{
    COHORT_TRY(cohort_arrays_data_replace(net->train, train));
    return cohort_comm_agree(net->comm, cohort_trainer_reload(net->trainer));
}

cohort_status cohort_net_replace(cohort_net *net, const cohort_arrays *train)
{
    COHORT_TRY(require_trainable(net));
    COHORT_REQUIRE(net->train && train, COHORT_USAGE,
                   "the network trains from a file: only arrays can be replaced, by arrays");
    COHORT_REQUIRE(!net->trainer->privacy, COHORT_USAGE,
                   "private training counts what one data set has cost; it cannot be replaced");
    COHORT_REQUIRE(!net->fractions, COHORT_USAGE,
                   "data.validation is a part of the training data, which then cannot be "
                   "replaced; give validation arrays");
    const cohort_status status = replace(net, train);
    net->is_lost = status != COHORT_OK;
    return status;
}

/* --- The rest ------------------------------------------------------------------ */

static cohort_snapshot snapshot_of(cohort_net *net)
{
    if (net->trainer)
        return cohort_trainer_snapshot(net->trainer);
    cohort_snapshot snapshot = *net->inference.about;
    snapshot.params = cohort_model_param_tensors(net->inference.model);
    snapshot.state = cohort_model_state_tensors(net->inference.model);
    snapshot.params_data = net->inference.params;
    snapshot.state_data = net->inference.state;
    return snapshot;
}

cohort_status cohort_net_save(cohort_net *net, const char *path)
{
    cohort_status status = COHORT_OK;
    if (net->trainer)
        COHORT_TRY(cohort_trainer_verify(net->trainer));
    if (cohort_comm_rank(net->comm) == 0) {
        if (net->trainer)
            status = cohort_private_write_ledger(net->trainer);
        const cohort_snapshot snapshot = snapshot_of(net);
        if (status == COHORT_OK)
            status = cohort_checkpoint_save(path, &snapshot);
    }
    return cohort_comm_follow(net->comm, status);
}

static size_t copy_dims(size_t *dims, const cohort_shape *shape)
{
    memcpy(dims, shape->dims, shape->dim_count * sizeof *dims);
    return shape->dim_count;
}

void cohort_net_describe(cohort_net_info *info, const cohort_net *net)
{
    const cohort_model *model = net->predictor.model;
    const cohort_flow *input = cohort_model_input(model);
    const cohort_shape *output = cohort_model_output_shape(model);
    *info = (cohort_net_info){
        .parameters = cohort_model_parameter_count(model),
        .inputs = cohort_shape_count(&input->shape),
        .outputs = cohort_shape_count(output),
        .reads_tokens = input->tokens,
    };
    info->input_dim_count = copy_dims(info->input_dims, &input->shape);
    info->output_dim_count = copy_dims(info->output_dims, output);
    if (net->trainer) {
        const cohort_dataset_info *data = cohort_dataset_describe(net->trainer->train);
        info->classes = data->classes;
        info->class_count = data->class_count;
    } else {
        info->classes = net->inference.about->classes;
        info->class_count = net->inference.about->class_count;
    }
}

/* Whom cohort_net_hear has named. */
static void (*the_listener)(void *context, const char *text);

static void pass_on(void *context, cohort_log_level level, const char *text)
{
    (void)level;
    the_listener(context, text);
}

void cohort_net_hear(void (*say)(void *context, const char *text), void *context)
{
    the_listener = say;
    cohort_log_set_sink(say ? pass_on : NULL, context, COHORT_LOG_WARNING);
}
