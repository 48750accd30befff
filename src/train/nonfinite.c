/* A step whose loss or gradient is NaN or infinite: where it comes from, and what becomes of
 * it. All ranks see the same sums, so all take the same way. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "train/trainer_private.h"

enum { ROWS_KEPT = 4, ROWS_SHOWN = 8, LAYER_BYTES = 96 };

/* Where values are met, in the order of a pass. */
typedef enum stage { NOWHERE, IN_OUTPUT, IN_LOSS, IN_GRADIENT, IN_WEIGHTS } stage;

/* What a rank has found; sent to all. */
typedef struct finding {
    uint64_t stage, depth; /* depth: layers passed before, within the stage */
    uint64_t row_count;    /* samples it is about; 0: not to be told */
    uint64_t rows[ROWS_KEPT];
    uint64_t sample_count; /* of the rank's share */
    char layer[LAYER_BYTES];
} finding;

struct cohort_search {
    const cohort_trainer *trainer;
    finding found;
    uint64_t depth; /* layers visited in this pass */
    bool is_backward;
};

static size_t first_bad(const float *values, size_t count)
{
    size_t i = 0;
    while (i < count && isfinite(values[i]))
        i++;
    return i;
}

/* Whether something at (STAGE, DEPTH) is to be looked at: nothing before it was found. */
static bool is_wanted(const cohort_search *search, stage at, uint64_t depth)
{
    const finding *found = &search->found;
    return found->stage == NOWHERE || at < (stage)found->stage ||
           (at == (stage)found->stage && depth <= found->depth);
}

static void take(cohort_search *search, stage at, uint64_t depth, const char *layer, bool has_row,
                 uint64_t row)
{
    finding *found = &search->found;
    if (found->stage != (uint64_t)at || found->depth != depth) {
        const uint64_t samples = found->sample_count;
        *found = (finding){.stage = (uint64_t)at, .depth = depth, .sample_count = samples};
        snprintf(found->layer, sizeof found->layer, "%s", layer);
    }
    if (has_row && found->row_count < ROWS_KEPT)
        found->rows[found->row_count] = row;
    found->row_count += has_row;
}

/* Looks at VALUES [batch][each]. */
static void look(cohort_search *search, stage at, uint64_t depth, const char *layer,
                 const float *values, size_t each, const cohort_pass *pass)
{
    if (!values || !is_wanted(search, at, depth))
        return;
    for (size_t i = 0; i < pass->batch; i++)
        if (first_bad(values + i * each, each) < each)
            take(search, at, depth, layer, true, pass->samples[i]);
}

void cohort_search_visit(void *context, const cohort_layer *layer, const cohort_pass *pass,
                         bool is_backward)
{
    cohort_search *search = context;
    const size_t each =
        cohort_shape_count(cohort_model_shape_behind(search->trainer->model, layer));
    if (search->is_backward && !is_backward)
        search->depth = 0; /* the next pass */
    if (!search->is_backward && is_backward)
        search->depth = 0;
    search->is_backward = is_backward;
    look(search, is_backward ? IN_GRADIENT : IN_OUTPUT, search->depth, layer->path,
         is_backward ? layer->dy : layer->y, each, pass);
    search->depth++;
}

void cohort_search_losses(cohort_search *search, const float *logits, const cohort_targets *targets,
                          const cohort_pass *pass)
{
    const cohort_loss *loss = &search->trainer->loss;
    const size_t positions = loss->positions, each = positions * loss->width;
    search->found.sample_count += pass->batch;
    for (size_t i = 0; i < pass->batch && is_wanted(search, IN_LOSS, 0); i++) {
        const cohort_targets one = {.labels =
                                        targets->labels ? targets->labels + i * positions : NULL,
                                    .values = targets->values ? targets->values + i * each : NULL};
        cohort_loss_sums own = {0};
        cohort_loss_run(&own, NULL, loss, logits + i * each, &one, 1, 1);
        if (!isfinite((float)own.loss))
            take(search, IN_LOSS, 0, "", true, pass->samples[i]);
    }
}

/* The layer of the last tensor of GRADS that is not finite; NULL if all are. */
static const char *bad_tensor(const cohort_trainer *trainer, const float *grads)
{
    const cohort_tensors tensors = cohort_model_param_tensors(trainer->model);
    for (size_t i = tensors.count; i-- > 0;) {
        const cohort_tensor *tensor = &tensors.items[i];
        if (!tensor->frozen && first_bad(grads + tensor->offset, tensor->count) < tensor->count)
            return tensor->layer;
    }
    return NULL;
}

void cohort_search_grads(cohort_search *search)
{
    const char *layer =
        is_wanted(search, IN_WEIGHTS, 0)
            ? bad_tensor(search->trainer, cohort_model_grads(search->trainer->model))
            : NULL;
    if (layer)
        take(search, IN_WEIGHTS, 0, layer, false, 0);
}

/* --- Of all ranks ------------------------------------------------------------------- */

/* What is said and recorded. */
typedef struct verdict {
    const finding *first; /* of the lowest rank that has it; NULL: no rank has anything */
    int rank;             /* that */
    bool *chosen;         /* [size] ranks that have it */
    uint64_t rows[ROWS_SHOWN], rows_shown, row_count, sample_count;
} verdict;

static void judge(verdict *out, const finding *all, int size)
{
    for (int r = 0; r < size; r++) {
        const finding *own = &all[r], *best = out->first;
        out->sample_count += own->sample_count;
        if (own->stage != NOWHERE && (!best || own->stage < best->stage ||
                                      (own->stage == best->stage && own->depth < best->depth))) {
            out->first = own;
            out->rank = r;
        }
    }
    for (int r = 0; out->first && r < size; r++) {
        out->chosen[r] = all[r].stage == out->first->stage && all[r].depth == out->first->depth;
        if (!out->chosen[r])
            continue;
        for (size_t i = 0; i < all[r].row_count && i < ROWS_KEPT; i++)
            if (out->rows_shown < ROWS_SHOWN)
                out->rows[out->rows_shown++] = all[r].rows[i];
        out->row_count += all[r].row_count;
    }
}

/* "the output of layer 2_dense on rank 1 (node7), dataset row 17 (1 of 64 samples)". SUMMED is
 * the layer whose summed gradient is not finite, if no rank's own is. */
static void describe(cohort_text *text, const verdict *of, const cohort_trainer *trainer,
                     const char *summed)
{
    if (!of->first) {
        cohort_text_append(text, "only the sum over the batch%s%s, no value of a rank",
                           summed ? ", in layer " : "", summed ? summed : "");
        return;
    }
    const char *layer = of->first->layer;
    if (of->first->stage == IN_OUTPUT)
        cohort_text_append(text, "the output of layer %s", layer);
    else if (of->first->stage == IN_LOSS)
        cohort_text_append(text, "the loss of finite outputs");
    else if (of->first->stage == IN_GRADIENT)
        cohort_text_append(text, "the gradient that comes to layer %s", layer);
    else
        cohort_text_append(text, "the gradient of layer %s's weights", layer);
    if (cohort_comm_size(trainer->comm) > 1) {
        cohort_text_append(text, " on ");
        cohort_comm_list_ranks(text, of->chosen, cohort_comm_size(trainer->comm));
        cohort_text_append(text, " (%s)", cohort_comm_host(trainer->comm, of->rank));
    }
    for (size_t i = 0; i < of->rows_shown; i++)
        cohort_text_append(text, "%s%llu",
                           i                   ? ", "
                           : of->row_count > 1 ? ", dataset rows "
                                               : ", dataset row ",
                           (unsigned long long)of->rows[i]);
    if (of->rows_shown)
        cohort_text_append(text, "%s (%llu of %llu samples)",
                           of->row_count > of->rows_shown ? " …" : "",
                           (unsigned long long)of->row_count, (unsigned long long)of->sample_count);
}

static cohort_status record(cohort_trainer *trainer, const char *what, const verdict *of,
                            const char *summed)
{
    const cohort_progress *progress = &trainer->progress;
    cohort_text *line = cohort_record_begin(&trainer->record, "skipped");
    cohort_json_integer(line, "step", (int64_t)progress->step + 1);
    cohort_json_integer(line, "epoch", (int64_t)progress->epoch + 1);
    cohort_json_string(line, "nonfinite", what);
    if (of->first ? *of->first->layer : summed != NULL)
        cohort_json_string(line, "layer", of->first ? of->first->layer : summed);
    cohort_json_begin_array(line, "rows");
    for (size_t i = 0; i < of->rows_shown; i++)
        cohort_json_integer(line, NULL, (int64_t)of->rows[i]);
    cohort_json_end_array(line);
    cohort_json_integer(line, "skipped", (int64_t)progress->skipped);
    return cohort_comm_follow(trainer->comm, cohort_record_end(&trainer->record));
}

/* Ends the run, or leaves the step out. */
static cohort_status decide(cohort_trainer *trainer, const char *what, const verdict *of,
                            const char *where, const char *summed)
{
    cohort_progress *progress = &trainer->progress;
    const unsigned long long step = (unsigned long long)progress->step + 1,
                             epoch = (unsigned long long)progress->epoch + 1;
    const cohort_train_recipe *recipe = &trainer->recipe->train;
    COHORT_REQUIRE(recipe->on_nonfinite == COHORT_NONFINITE_SKIP, COHORT_DIVERGED,
                   "the %s is not finite at step %llu (epoch %llu), first %s; lower optimizer.lr, "
                   "set optimizer.clip_norm, look at those rows, or set train.on_nonfinite to skip "
                   "(the last checkpoint is kept)",
                   what, step, epoch, where);
    COHORT_REQUIRE(
        progress->skipped < recipe->max_skipped, COHORT_DIVERGED,
        "the %s is not finite at step %llu (epoch %llu), first %s, after %llu steps were "
        "left out already (train.max_skipped); lower optimizer.lr or set "
        "optimizer.clip_norm (the last checkpoint is kept)",
        what, step, epoch, where, (unsigned long long)progress->skipped);
    progress->skipped++;
    if (trainer->state_before)
        memcpy(trainer->state, trainer->state_before,
               cohort_model_state_count(trainer->model) * sizeof *trainer->state);
    cohort_log(COHORT_LOG_WARNING, "the %s is not finite at step %llu, first %s; left out", what,
               step, where);
    return record(trainer, what, of, summed);
}

/* Runs the batch again under SEARCH; all ranks' findings into ALL [size]. */
static cohort_status search_all(finding *all, cohort_trainer *trainer, const cohort_batch *batch)
{
    cohort_search search = {.trainer = trainer};
    trainer->search = &search;
    cohort_trainer_compute(trainer, batch);
    trainer->search = NULL;
    return cohort_comm_gather_all(trainer->comm, all, &search.found, sizeof search.found);
}

cohort_status cohort_trainer_nonfinite(cohort_trainer *trainer, const cohort_batch *batch,
                                       const char *what)
{
    const int size = cohort_comm_size(trainer->comm);
    const char *summed = bad_tensor(trainer, cohort_reducer_grads(trainer->reducer));
    finding *all = NULL;
    verdict of = {0};
    cohort_text where = {0};
    cohort_comm_set_phase(trainer->comm, "looking for what is not finite in step %llu",
                          (unsigned long long)trainer->progress.step + 1);
    cohort_status status = COHORT_ALLOCATE(&all, (size_t)size);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&of.chosen, (size_t)size);
    COHORT_TRY_DONE(status, cohort_comm_agree(trainer->comm, status));
    COHORT_TRY_DONE(status, search_all(all, trainer, batch));
    judge(&of, all, size);
    describe(&where, &of, trainer, summed);
    COHORT_TRY_DONE(status, cohort_comm_agree(trainer->comm, cohort_text_status(&where)));
    status = decide(trainer, what, &of, where.data, summed);
done:
    cohort_free(all);
    cohort_free(of.chosen);
    cohort_text_clear(&where);
    return status;
}
