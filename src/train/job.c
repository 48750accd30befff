#include "train/job.h"

#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "cohort/train.h"
#include "data/tokenizer.h"

enum { RECIPE_BYTES_MAX = 1 << 20 };

cohort_status cohort_job_share_text(cohort_comm *comm, cohort_text *text)
{
    uint64_t length = text->length;
    COHORT_TRY(cohort_comm_broadcast(comm, &length, sizeof length, 0));
    char *bytes = NULL;
    cohort_status status = cohort_allocate((void **)&bytes, length + 1, 1);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    if (cohort_comm_rank(comm) == 0)
        memcpy(bytes, text->data ? text->data : "", length);
    COHORT_TRY_DONE(status, cohort_comm_broadcast(comm, bytes, length, 0));
    if (cohort_comm_rank(comm) != 0) {
        text->length = 0;
        cohort_text_append_bytes(text, bytes, length);
    }
    status = cohort_text_status(text);
done:
    cohort_free(bytes);
    return status;
}

/* data.file becomes the absolute path of the file found, so that the resolved recipe
 * means the same from any folder. */
static cohort_status settle_data_file(cohort_recipe *recipe)
{
    cohort_text path = {0};
    /* Real clients of a federated run look for a file each. */
    if (recipe->federated.rounds && strstr(recipe->data.file, COHORT_RANK_MARK))
        return COHORT_OK;
    cohort_status status = cohort_recipe_find_file(&path, recipe, recipe->data.file);
    char *absolute = NULL;
    if (status == COHORT_OK) {
        absolute = realpath(path.data, NULL);
        status = cohort_recipe_set_data_file(recipe, absolute ? absolute : path.data);
    }
    free(absolute);
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_job_require_same_program(cohort_comm *comm)
{
    return cohort_comm_require_same(comm, "program version", cohort_version(),
                                    "install one version on every host");
}

/* Length of the line of TEXT at *from, after spaces, which *from is moved behind. */
static int line_at(const char **from)
{
    *from += strspn(*from, " -");
    return (int)strcspn(*from, "\n");
}

/* The first line in which this rank's recipe is not rank 0's. */
static cohort_status compare_recipes(const char *mine, const char *first)
{
    while (*mine && *first) {
        const size_t length = strcspn(mine, "\n");
        if (strcspn(first, "\n") != length || memcmp(mine, first, length) != 0)
            break;
        mine += length + (mine[length] == '\n');
        first += length + (first[length] == '\n');
    }
    if (strcmp(mine, first) == 0)
        return COHORT_OK;
    const int mine_length = line_at(&mine), first_length = line_at(&first);
    return COHORT_FAIL(COHORT_PEER,
                       "the recipe is not the same on all ranks: `%.*s` here, `%.*s` on rank 0; "
                       "start every rank with the same --set",
                       mine_length, mine, first_length, first);
}

/* Rank 0's file is everyone's, but each rank has --set options of its own. Collective. */
static cohort_status require_same_recipe(cohort_comm *comm, const cohort_recipe *recipe)
{
    cohort_text mine = {0}, first = {0};
    cohort_status status = cohort_recipe_write(&mine, recipe);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    cohort_text_append_bytes(&first, mine.data, mine.length);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, cohort_text_status(&first)));
    COHORT_TRY_DONE(status, cohort_job_share_text(comm, &first));
    status = cohort_comm_agree(comm, compare_recipes(mine.data, first.data));
done:
    cohort_text_clear(&mine);
    cohort_text_clear(&first);
    return status;
}

cohort_status cohort_job_parse_recipe(cohort_recipe **out, cohort_comm *comm, cohort_text *text,
                                      const char *path, const char *folder, const char *const *sets,
                                      size_t set_count)
{
    *out = NULL;
    COHORT_TRY(cohort_job_share_text(comm, text));
    cohort_status status = cohort_recipe_parse(out, text->data ? text->data : "", path, folder,
                                               sets, set_count, cohort_model_catalog());
    status = cohort_comm_agree(comm, status);
    if (status == COHORT_OK)
        status = require_same_recipe(comm, *out);
    if (status != COHORT_OK) {
        cohort_recipe_destroy(*out);
        *out = NULL;
    }
    return status;
}

cohort_status cohort_job_find_data(cohort_recipe *recipe, cohort_comm *comm)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    if (cohort_comm_rank(comm) == 0)
        status = settle_data_file(recipe);
    COHORT_TRY(cohort_comm_follow(comm, status));
    if (cohort_comm_rank(comm) == 0)
        cohort_text_append(&path, "%s", recipe->data.file);
    COHORT_TRY_DONE(status, cohort_job_share_text(comm, &path));
    status = cohort_recipe_set_data_file(recipe, path.data);
done:
    cohort_text_clear(&path);
    return status;
}

cohort_status cohort_job_read_text(cohort_text *text, cohort_text *folder, cohort_comm *comm,
                                   const char *path)
{
    COHORT_TRY(cohort_job_require_same_program(comm));
    cohort_status status = cohort_path_folder(folder, path);
    if (status == COHORT_OK && cohort_comm_rank(comm) == 0) {
        status = cohort_file_read(text, path, RECIPE_BYTES_MAX);
        if (status == COHORT_DATA)
            status = COHORT_USAGE; /* the recipe is an argument, not data */
    }
    return cohort_comm_follow(comm, status);
}

cohort_status cohort_job_read_recipe(cohort_recipe **out, cohort_comm *comm, const char *path,
                                     const char *const *sets, size_t set_count)
{
    cohort_text text = {0}, folder = {0};
    *out = NULL;
    cohort_status status = cohort_job_read_text(&text, &folder, comm, path);
    COHORT_TRY_DONE(status, status);
    COHORT_TRY_DONE(status,
                    cohort_job_parse_recipe(out, comm, &text, path, folder.data, sets, set_count));
    (*out)->search = (cohort_search_recipe){0}; /* `cohort tune` looks at it, no run does */
    COHORT_TRY_DONE(status, cohort_job_find_data(*out, comm));
done:
    cohort_text_clear(&text);
    cohort_text_clear(&folder);
    if (status != COHORT_OK) {
        cohort_recipe_destroy(*out);
        *out = NULL;
    }
    return status;
}

/* What a recipe's network does with a sample; nothing where it does not fit, which is told later.
 */
static double network_work(const void *context, const cohort_dataset_info *info)
{
    const cohort_recipe *recipe = context;
    cohort_model *model = NULL;
    cohort_flow input;
    cohort_status status = cohort_job_input(&input, recipe, info);
    if (status == COHORT_OK)
        status = cohort_model_create(&model, recipe, &input, 1, false);
    if (status != COHORT_OK)
        cohort_error_clear();
    const double work = model ? cohort_model_work(model) : 0;
    cohort_model_destroy(model);
    return work;
}

cohort_status cohort_job_open_data(cohort_dataset **out, cohort_comm *comm,
                                   const cohort_recipe *recipe, const cohort_job_data *data)
{
    const cohort_dataset_spec spec = {
        .path = data->file ? data->file : recipe->data.file,
        .group = data->group,
        .x = recipe->data.x,
        .y = data->with_targets ? recipe->data.y : NULL,
        .memory_limit = recipe->data.memory_limit,
        .is_read_once = data->is_read_once,
        .work = data->is_left ? network_work : NULL,
        .work_context = recipe,
    };
    return cohort_dataset_open(out, comm, &spec);
}

cohort_status cohort_job_check_same_run(const cohort_snapshot *old, const char *where,
                                        const cohort_recipe *recipe, const char *folder)
{
    cohort_recipe *before = NULL;
    cohort_text key = {0};
    bool same = false;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_recipe_parse(&before, old->recipe, where, ".", NULL, 0,
                                                cohort_model_catalog()));
    COHORT_TRY_DONE(status, cohort_recipe_is_same_run(&same, &key, before, recipe));
    COHORT_REQUIRE_DONE(status, same, COHORT_USAGE,
                        "%s holds a run of another recipe (%s); use --fresh to move it aside and "
                        "start anew, or --run for another folder",
                        folder, key.data);
done:
    cohort_text_clear(&key);
    cohort_recipe_destroy(before);
    return status;
}

cohort_status cohort_job_load_weights(cohort_snapshot *snapshot, const char *path)
{
    cohort_checkpoint *checkpoint = NULL;
    cohort_status status = cohort_checkpoint_open(&checkpoint, path);
    if (status == COHORT_OK)
        status = cohort_checkpoint_load(checkpoint, snapshot);
    cohort_checkpoint_close(checkpoint);
    return status;
}

cohort_status cohort_job_load_initial_weights(cohort_snapshot *snapshot,
                                              const cohort_recipe *recipe,
                                              void (*on_note)(void *context, const char *text),
                                              void *context)
{
    cohort_checkpoint *checkpoint = NULL;
    cohort_text path = {0}, report = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_recipe_find_file(&path, recipe, recipe->train.initial_weights));
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&checkpoint, path.data));
    COHORT_REQUIRE_DONE(
        status, !recipe->federated.rounds || !cohort_checkpoint_describe(checkpoint)->ledger,
        COHORT_USAGE,
        "train.initial_weights: %s counts what private training has cost (its "
        "ledger), which a federated run cannot carry on yet",
        path.data);
    COHORT_TRY_DONE(status, cohort_checkpoint_load_matching(checkpoint, snapshot, &report));
    if (report.length > 0 && report.data[report.length - 1] == '\n')
        report.data[--report.length] = '\0'; /* a note comes without a line end */
    if (on_note && report.data)
        on_note(context, report.data);
done:
    cohort_checkpoint_close(checkpoint);
    cohort_text_clear(&report);
    cohort_text_clear(&path);
    return status;
}

bool cohort_job_validation_fraction(double *fraction, const cohort_recipe *recipe)
{
    *fraction = 0;
    return recipe->data.validation && cohort_parse_double(fraction, recipe->data.validation);
}

cohort_status cohort_job_training_subset(cohort_subset *subset, const cohort_recipe *recipe,
                                         const cohort_dataset_info *info)
{
    const uint64_t seed = (uint64_t)recipe->seed;
    double fraction = 0;
    *subset = cohort_subset_all(info->count);
    if (cohort_job_validation_fraction(&fraction, recipe))
        *subset = cohort_subset_training(info->count, fraction, info->chunk_rows, seed);
    if (recipe->data.limit)
        *subset = cohort_subset_limit(subset, recipe->data.limit, seed);
    COHORT_REQUIRE(cohort_subset_count(subset) > 0, COHORT_DATA,
                   "data.validation: %s leaves no sample to train on; lower it",
                   recipe->data.validation);
    return COHORT_OK;
}

cohort_status cohort_job_list_rows(uint64_t **rows, const cohort_subset *subset)
{
    const size_t count = (size_t)cohort_subset_count(subset);
    const uint64_t total = subset->row_count;
    unsigned char *is_member = NULL;
    size_t found = 0;
    COHORT_TRY(COHORT_ALLOCATE(rows, count));
    COHORT_TRY(COHORT_ALLOCATE(&is_member, (size_t)total));
    for (size_t i = 0; i < count; i++)
        is_member[cohort_subset_row(subset, i)] = 1;
    for (uint64_t row = 0; row < total; row++)
        if (is_member[row])
            (*rows)[found++] = row;
    cohort_free(is_member);
    return COHORT_OK;
}

cohort_status cohort_job_read_labels(int32_t **labels, cohort_dataset *dataset,
                                     const uint64_t *rows, size_t count)
{
    enum { AT_ONCE = 65536 };
    COHORT_TRY(COHORT_ALLOCATE(labels, count));
    for (size_t at = 0; at < count; at += AT_ONCE)
        COHORT_TRY(cohort_dataset_gather(NULL, *labels + at, dataset, rows + at,
                                         count - at < AT_ONCE ? count - at : AT_ONCE));
    return COHORT_OK;
}

cohort_status cohort_job_has_test(bool *has, cohort_comm *comm, const cohort_recipe *recipe,
                                  const char *file)
{
    cohort_status status = COHORT_OK;
    file = file ? file : recipe->data.file;
    *has = false;
    if (cohort_comm_rank(comm) == 0)
        status = cohort_dataset_has_group(has, file, recipe->data.test);
    COHORT_TRY(cohort_comm_follow(comm, status));
    COHORT_TRY(cohort_comm_broadcast(comm, has, sizeof *has, 0));
    COHORT_REQUIRE(*has || strcmp(recipe->data.test, "test") == 0, COHORT_DATA,
                   "%s has no group '%s' (data.test)", file, recipe->data.test);
    return COHORT_OK;
}

cohort_status cohort_job_open_split(cohort_dataset **out, cohort_comm *comm,
                                    const cohort_recipe *recipe, const cohort_job_data *data,
                                    const cohort_flow *input, const cohort_loss *loss)
{
    char name[128];
    COHORT_TRY(cohort_job_open_data(out, comm, recipe, data));
    snprintf(name, sizeof name, "%s/%s", data->file ? data->file : recipe->data.file, data->group);
    return cohort_comm_agree(comm, cohort_job_check_data(*out, name, input, loss));
}

bool cohort_job_needs_targets(const cohort_recipe *recipe)
{
    return recipe->objective.type == COHORT_OBJECTIVE_LABELS;
}

/* Hidden tokens are guessed position by position, over all words. */
static cohort_status check_masked(const cohort_model *model, const cohort_loss *loss,
                                  const cohort_dataset_info *info)
{
    const cohort_flow *input = cohort_model_input(model);
    COHORT_REQUIRE(input->tokens && loss->positions == input->shape.dims[0] &&
                       loss->width >= cohort_model_vocabulary(model),
                   COHORT_USAGE,
                   "objective masked needs a network from tokens to one output for each word at "
                   "each position: begin with `embedding`, keep the sequence, end with `dense: "
                   "{units: %zu}`",
                   cohort_model_vocabulary(model));
    COHORT_REQUIRE(info->vocabulary_count > COHORT_TOKEN_MASK + 1 &&
                       info->vocabulary_count <= cohort_model_vocabulary(model) &&
                       strcmp(info->vocabulary[COHORT_TOKEN_MASK], COHORT_TOKEN_MASK_TEXT) == 0,
                   COHORT_DATA,
                   "objective masked needs a vocabulary with [mask]; convert the text again with "
                   "--mask-token");
    return COHORT_OK;
}

cohort_status cohort_job_loss(cohort_loss *loss, const cohort_recipe *recipe,
                              const cohort_model *model, const cohort_dataset_info *info)
{
    const bool labels = !cohort_job_needs_targets(recipe) || info->labels;
    COHORT_TRY(cohort_loss_create(loss, &recipe->loss, cohort_model_output_shape(model),
                                  labels ? 0 : cohort_shape_count(&info->y_shape)));
    return cohort_job_needs_targets(recipe) ? COHORT_OK : check_masked(model, loss, info);
}

cohort_status cohort_job_input(cohort_flow *input, const cohort_recipe *recipe,
                               const cohort_dataset_info *info)
{
    *input = (cohort_flow){.shape = info->x_shape};
    if (!cohort_model_reads_tokens(recipe))
        return COHORT_OK;
    char shape[COHORT_SHAPE_TEXT];
    COHORT_REQUIRE(info->x_element != COHORT_F32 && info->x_shape.dim_count == 1, COHORT_DATA,
                   "the first layer is `%s`, which reads token numbers [time], but x holds %s of "
                   "shape %s; convert the text with `cohort convert text` or `chars`",
                   recipe->model.items[0].table->name,
                   info->x_element == COHORT_F32 ? "floats" : "integers",
                   cohort_shape_text(shape, &info->x_shape));
    input->tokens = true;
    input->vocabulary = info->vocabulary_count;
    return COHORT_OK;
}

cohort_status cohort_job_check_data(const cohort_dataset *dataset, const char *name,
                                    const cohort_flow *input, const cohort_loss *loss)
{
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    char have[COHORT_SHAPE_TEXT], want[COHORT_SHAPE_TEXT];
    COHORT_REQUIRE(cohort_shape_equal(&info->x_shape, &input->shape), COHORT_DATA,
                   "%s: samples have the shape %s, but the network was made for %s", name,
                   cohort_shape_text(have, &info->x_shape), cohort_shape_text(want, &input->shape));
    if (!loss || !loss->labels || loss->class_count == 0)
        return COHORT_OK;
    const bool may_ignore = loss->positions > 1; /* a sequence may leave positions out */
    COHORT_REQUIRE(info->label_min >= 0 || may_ignore, COHORT_DATA,
                   "%s: y holds the label %d; labels are class numbers from 0", name,
                   info->label_min);
    COHORT_REQUIRE(info->label_max < (int64_t)loss->class_count, COHORT_DATA,
                   "%s: y holds the label %d, but the network has only %zu classes (0 to %zu); "
                   "give its last layer more units or mend the labels",
                   name, info->label_max, loss->class_count, loss->class_count - 1);
    return COHORT_OK;
}

cohort_share cohort_job_even_share(const cohort_comm *comm)
{
    const size_t rank = (size_t)cohort_comm_rank(comm);
    return (cohort_share){.begin = rank, .end = rank + 1, .count = (size_t)cohort_comm_size(comm)};
}

cohort_status cohort_job_loader(cohort_loader **out, const cohort_recipe *recipe,
                                cohort_dataset *dataset, const cohort_subset *subset,
                                size_t global_batch, const cohort_share *share,
                                const cohort_model *model, cohort_job_use use)
{
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const uint64_t seed = (uint64_t)recipe->seed;
    const bool for_training = use == COHORT_TO_TRAIN;
    const bool masked =
        use != COHORT_TO_PREDICT && recipe->objective.type == COHORT_OBJECTIVE_MASKED;
    const cohort_loader_config config = {
        .sampler = {.subset = *subset,
                    .seed = seed,
                    .shuffle = for_training && recipe->data.shuffle,
                    .chunk_rows = for_training ? info->chunk_rows : 0,
                    .global_batch = global_batch,
                    .draw = share->draw ? *share->draw : (cohort_draw){0}},
        .part_begin = share->begin,
        .part_end = share->end,
        .part_count = share->count,
        .tokens = cohort_model_reads_tokens(recipe),
        .token_limit = cohort_model_vocabulary(model),
        .masking = {.rate = masked ? recipe->objective.rate : 0,
                    .vocabulary = info->vocabulary_count},
        .scale = recipe->data.scale,
        .mean = recipe->data.mean,
        .std = recipe->data.std,
        .augment = for_training ? &recipe->data.augment : NULL,
        .seed = seed,
        .resident_thread = true,
    };
    return cohort_loader_create(out, dataset, &config);
}

double cohort_job_peak_rss_mb(cohort_comm *comm)
{
    struct rusage usage;
    double peak = 0;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        peak = (double)usage.ru_maxrss / 1024;
    if (cohort_comm_max(comm, &peak, 1) != COHORT_OK)
        cohort_error_clear(); /* a figure for the log is not worth failing for */
    return peak;
}

/* The cores this process may run on. */
static size_t affinity_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (size_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

size_t cohort_job_use_threads(size_t wanted)
{
    const size_t threads = wanted ? wanted : affinity_cores();
    omp_set_num_threads((int)threads);
    return threads;
}

size_t cohort_job_set_threads(cohort_comm *comm, size_t wanted)
{
    const size_t threads = cohort_job_use_threads(wanted), allowed = affinity_cores();
    const size_t used = threads * (size_t)cohort_comm_node_size(comm);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (online <= 0)
        return threads;
    if (used <= (size_t)online) {
        if (threads > allowed)
            cohort_log(COHORT_LOG_WARNING,
                       "the launcher bound each rank to %zu of this host's %ld cores, too few for "
                       "%zu threads; bind it to more (mpirun --map-by slot:PE=%zu, srun "
                       "--cpus-per-task %zu) or set train.threads to %zu",
                       allowed, online, threads, threads, threads, allowed);
        return threads;
    }
    const long fair = online / cohort_comm_node_size(comm);
    if (threads == 1)
        cohort_log(COHORT_LOG_WARNING,
                   "%d ranks on this host share its %ld cores; start fewer ranks",
                   cohort_comm_node_size(comm), online);
    else
        cohort_log(COHORT_LOG_WARNING,
                   "%d ranks x %zu threads on this host use more than its %ld cores; set "
                   "train.threads to %ld or start fewer ranks",
                   cohort_comm_node_size(comm), threads, online, fair > 0 ? fair : 1);
    return threads;
}

/* A run folder stands for its best checkpoint, else its last. */
static cohort_status find_checkpoint(cohort_text *path, const char *model)
{
    struct stat info;
    path->length = 0;
    if (stat(model, &info) != 0 || !S_ISDIR(info.st_mode)) {
        cohort_text_append(path, "%s", model);
        return cohort_text_status(path);
    }
    static const char *const names[] = {"best.h5", "last.h5"};
    for (size_t i = 0; i < 2; i++) {
        path->length = 0;
        cohort_text_append(path, "%s/checkpoints/%s", model, names[i]);
        COHORT_TRY(cohort_text_status(path));
        if (cohort_file_exists(path->data))
            return COHORT_OK;
    }
    path->length = 0;
    cohort_text_append(path, "%s/fold-1", model);
    COHORT_TRY(cohort_text_status(path));
    COHORT_REQUIRE(!cohort_file_exists(path->data), COHORT_DATA,
                   "%s holds a model for each fold; name one of them, e.g. %s", model, path->data);
    return COHORT_FAIL(COHORT_DATA, "%s holds no checkpoint (checkpoints/best.h5 or last.h5)",
                       model);
}

static cohort_status open_inference(cohort_inference *inference, const char *model, size_t batch)
{
    cohort_text path = {0};
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, find_checkpoint(&path, model));
    COHORT_TRY_DONE(status, cohort_checkpoint_open(&inference->checkpoint, path.data));
    inference->about = cohort_checkpoint_describe(inference->checkpoint);
    COHORT_TRY_DONE(status, cohort_recipe_parse(&inference->recipe, inference->about->recipe,
                                                path.data, ".", NULL, 0, cohort_model_catalog()));
    const cohort_flow input = {.shape = inference->about->input_shape,
                               .tokens = inference->about->input_tokens,
                               .vocabulary = inference->about->vocabulary_count};
    COHORT_TRY_DONE(
        status, cohort_model_create(&inference->model, inference->recipe, &input, batch, false));
    bool whole; /* else last bits may differ from what the trainer printed */
    if (inference->about->ways)
        COHORT_TRY_DONE(
            status, cohort_model_read_choices(&whole, inference->model, inference->about->ways));
    COHORT_TRY_DONE(
        status, COHORT_ALLOCATE(&inference->params, cohort_model_params_count(inference->model)));
    COHORT_TRY_DONE(status,
                    COHORT_ALLOCATE(&inference->state, cohort_model_state_count(inference->model)));
    cohort_model_bind(inference->model, inference->params, NULL, inference->state);
    cohort_snapshot snapshot = {.params = cohort_model_param_tensors(inference->model),
                                .state = cohort_model_state_tensors(inference->model),
                                .params_data = inference->params,
                                .state_data = inference->state};
    COHORT_TRY_DONE(status, cohort_checkpoint_load(inference->checkpoint, &snapshot));
    inference->batch = batch;
done:
    cohort_text_clear(&path);
    return status == COHORT_USAGE ? COHORT_DATA : status; /* a damaged file, not a bad recipe */
}

cohort_status cohort_inference_open(cohort_inference *inference, cohort_comm *comm,
                                    const char *model, size_t batch)
{
    *inference = (cohort_inference){0};
    COHORT_TRY(cohort_job_require_same_program(comm));
    return cohort_comm_agree(comm, open_inference(inference, model, batch));
}

cohort_status cohort_inference_set_loss(cohort_inference *inference)
{
    const cohort_variant *loss = &inference->recipe->loss;
    const cohort_shape *shape = cohort_model_output_shape(inference->model);
    const bool is_regression =
        strcmp(loss->table->name, "mse") == 0 || strcmp(loss->table->name, "huber") == 0;
    return cohort_loss_create(&inference->loss, loss, shape,
                              is_regression ? cohort_shape_count(shape) : 0);
}

void cohort_inference_close(cohort_inference *inference)
{
    cohort_model_destroy(inference->model);
    cohort_recipe_destroy(inference->recipe);
    cohort_checkpoint_close(inference->checkpoint);
    cohort_free(inference->params);
    cohort_free(inference->state);
    *inference = (cohort_inference){0};
}
