#include "train/evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/exact_sum.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/tokenizer.h"

void cohort_evaluation_clear(cohort_evaluation *result)
{
    cohort_free(result->confusion);
    cohort_free(result->classes);
    *result = (cohort_evaluation){0};
}

static void write_classes(cohort_text *text, const cohort_evaluation *result,
                          const char *const *classes, size_t class_count)
{
    char number[24];
    cohort_json_begin_array(text, "classes");
    for (size_t i = 0; i < result->class_count; i++) {
        const cohort_class_figures *figures = &result->classes[i];
        snprintf(number, sizeof number, "%zu", i);
        cohort_json_begin_object(text, NULL);
        cohort_json_string(text, "name", classes && i < class_count ? classes[i] : number);
        cohort_json_number(text, "precision", figures->precision);
        cohort_json_number(text, "recall", figures->recall);
        cohort_json_number(text, "f1", figures->f1);
        cohort_json_integer(text, "support", (int64_t)figures->support);
        cohort_json_end_object(text);
    }
    cohort_json_end_array(text);
    cohort_json_begin_array(text, "confusion_matrix");
    for (size_t i = 0; i < result->class_count; i++) {
        cohort_json_begin_array(text, NULL);
        for (size_t k = 0; k < result->class_count; k++)
            cohort_json_integer(text, NULL,
                                (int64_t)result->confusion[i * result->class_count + k]);
        cohort_json_end_array(text);
    }
    cohort_json_end_array(text);
}

void cohort_evaluation_write(cohort_text *text, const cohort_evaluation *result,
                             const char *const *classes, size_t class_count, bool detailed)
{
    cohort_json_integer(text, "samples", (int64_t)result->samples);
    cohort_json_number(text, "loss", result->loss);
    if (!isnan(result->accuracy))
        cohort_json_number(text, "accuracy", result->accuracy);
    if (result->class_count == 0)
        return;
    cohort_json_number(text, "precision", result->macro.precision);
    cohort_json_number(text, "recall", result->macro.recall);
    cohort_json_number(text, "f1", result->macro.f1);
    if (detailed && result->classes)
        write_classes(text, result, classes, class_count);
}

bool cohort_language_figures_of(cohort_language_figures *figures, const cohort_loss *loss,
                                const char *tokenizer, double mean_loss)
{
    cohort_tokenizer_spec spec = {.type = COHORT_TOKENS_WORDS};
    if (loss->positions < 2 || loss->class_count == 0)
        return false;
    if (tokenizer && cohort_tokenizer_parse(&spec, tokenizer) != COHORT_OK)
        cohort_error_clear(); /* another program's: its tokens are tokens */
    *figures = (cohort_language_figures){.perplexity = exp(mean_loss),
                                         .bits = mean_loss / log(2.0),
                                         .per_character = spec.type == COHORT_TOKENS_CHARACTERS ||
                                                          spec.type == COHORT_TOKENS_BYTES};
    return true;
}

/* Sums on their way over the ranks, all of them exact, so that they are the same on any number of
 * ranks; the confusion matrix follows them in memory. */
enum {
    SUM_CORRECT,
    SUM_POSITIONS,
    SUM_SAMPLES,
    SUM_LOSS,
    SUM_COUNT = SUM_LOSS + COHORT_EXACT_DIGITS
};

/* A vocabulary squared would not fit memory, nor a person's eye. */
enum { DETAILED_CLASSES_MAX = 4096 };

typedef struct tally {
    double *sums; /* [SUM_COUNT + classes²], then the same for each group */
    size_t count;
    const cohort_grouping *grouping; /* NULL: nobody asks */
    size_t part_begin, part_count;   /* in sums: where groups begin, and the length of one */
    int32_t *truth, *predicted;      /* [batch x positions] */
} tally;

static void tally_clear(tally *t)
{
    cohort_free(t->sums);
    cohort_free(t->truth);
    cohort_free(t->predicted);
}

/* Adds what a sample comes to. */
static void add_sample(double *sums, const cohort_loss_sums *sample)
{
    cohort_exact_add(sums + SUM_LOSS, sample->loss);
    sums[SUM_CORRECT] += sample->correct;
    sums[SUM_POSITIONS] += sample->count;
    sums[SUM_SAMPLES]++;
}

/* Adds each sample to all and to its group. With classes, t->truth and t->predicted are those of
 * the batch. */
static void tally_samples(tally *t, const cohort_loss *loss, const float *logits,
                          const cohort_batch *batch)
{
    const size_t positions = loss->positions, width = positions * loss->width;
    const bool detailed = t->part_count > SUM_COUNT;
    for (size_t i = 0; i < batch->count; i++) {
        const cohort_targets targets = {.labels =
                                            batch->labels ? batch->labels + i * positions : NULL,
                                        .values = batch->values ? batch->values + i * width : NULL};
        cohort_loss_sums sample = {0};
        cohort_loss_run(&sample, NULL, loss, logits + i * width, &targets, 1, 0);
        add_sample(t->sums, &sample);
        if (!t->grouping)
            continue;
        const size_t group = (size_t)t->grouping->ids[batch->rows[i]];
        double *sums = t->sums + t->part_begin + group * t->part_count;
        add_sample(sums, &sample);
        if (detailed)
            cohort_confusion_add(sums + SUM_COUNT, loss->class_count, t->truth + i * positions,
                                 t->predicted + i * positions, positions);
    }
}

static cohort_status tally_batch(tally *t, cohort_model *model, const cohort_loss *loss,
                                 const cohort_batch *batch, bool detailed)
{
    const cohort_pass pass = {.batch = batch->count, .samples = batch->rows};
    const cohort_targets targets = {.labels = batch->labels, .values = batch->values};
    const float *logits = cohort_model_forward(model, batch->x, &pass);
    if (detailed) {
        const size_t positions = batch->count * loss->positions;
        if (!t->truth) {
            COHORT_TRY(COHORT_ALLOCATE(&t->truth, positions));
            COHORT_TRY(COHORT_ALLOCATE(&t->predicted, positions));
        }
        cohort_loss_classes(t->predicted, loss, logits, batch->count);
        cohort_loss_target_classes(t->truth, loss, &targets, batch->count);
        cohort_confusion_add(t->sums + SUM_COUNT, loss->class_count, t->truth, t->predicted,
                             positions);
    }
    tally_samples(t, loss, logits, batch);
    return COHORT_OK;
}

static cohort_status tally_next(tally *t, cohort_model *model, const cohort_loss *loss,
                                cohort_loader *loader, bool detailed)
{
    const cohort_batch *batch = NULL;
    COHORT_TRY(cohort_loader_next(loader, &batch));
    return batch->count > 0 ? tally_batch(t, model, loss, batch, detailed) : COHORT_OK;
}

/* Batches between two questions whether to stop, by the SECONDS of the first: some three questions
 * a second. The same on every rank. Collective. */
static cohort_status choose_interval(uint64_t *batches, cohort_comm *comm, double seconds)
{
    enum { BATCHES_MAX = 4096 };
    COHORT_TRY(cohort_comm_max(comm, &seconds, 1));
    const double wanted = 0.3 / (seconds > 1e-6 ? seconds : 1e-6);
    *batches = wanted < 1 ? 1 : wanted < BATCHES_MAX ? (uint64_t)wanted : BATCHES_MAX;
    return COHORT_OK;
}

/* When the ranks of an evaluation ask each other whether to stop. */
typedef struct stopper {
    bool may_stop;
    double start;
    uint64_t interval; /* in batches */
} stopper;

static stopper begin_asking(const cohort_comm *comm, bool may_stop)
{
    return (stopper){.may_stop = may_stop && cohort_comm_has_stop(comm),
                     .start = cohort_clock_seconds(),
                     .interval = 1};
}

/* After batch STEP, which left this rank's *STATUS: COHORT_STOPPED when any was told to stop, or
 * another's failure. Collective. */
static cohort_status ask_stop(cohort_status *status, stopper *asks, cohort_comm *comm,
                              uint64_t step)
{
    if (!asks->may_stop || step % asks->interval != 0)
        return COHORT_OK;
    if (*status == COHORT_OK)
        *status = cohort_comm_check_stop(comm, "evaluating");
    COHORT_TRY(cohort_comm_agree(comm, *status));
    return step == 0 ? choose_interval(&asks->interval, comm, cohort_clock_seconds() - asks->start)
                     : COHORT_OK;
}

/* Collective; a failure of one rank, or COHORT_STOPPED, is every rank's. */
static cohort_status tally_all(tally *t, cohort_comm *comm, cohort_model *model,
                               const cohort_loss *loss, cohort_loader *loader, uint64_t batch_count,
                               bool detailed)
{
    stopper asks = begin_asking(comm, true);
    cohort_status status = COHORT_OK;
    cohort_loader_seek(loader, 0, 0);
    for (uint64_t step = 0; step < batch_count; step++) {
        if (status == COHORT_OK)
            status = tally_next(t, model, loss, loader, detailed);
        COHORT_TRY(ask_stop(&status, &asks, comm, step));
    }
    return cohort_comm_agree(comm, status);
}

/* SUMS [SUM_COUNT + classes²] as figures by class. */
static cohort_status detail(cohort_evaluation *result, const double *sums)
{
    const size_t cells = result->class_count * result->class_count;
    double accuracy = 0;
    COHORT_TRY(COHORT_ALLOCATE(&result->confusion, cells));
    COHORT_TRY(COHORT_ALLOCATE(&result->classes, result->class_count));
    memcpy(result->confusion, sums + SUM_COUNT, cells * sizeof *result->confusion);
    cohort_confusion_figures(result->classes, &result->macro, &accuracy, result->confusion,
                             result->class_count);
    return COHORT_OK;
}

static cohort_status begin(cohort_evaluation *result, tally *t, cohort_comm *comm,
                           const cohort_loss *loss, bool *detailed)
{
    *result = (cohort_evaluation){.class_count = loss->class_count};
    if (loss->class_count > DETAILED_CLASSES_MAX)
        result->class_count = 0;
    *detailed = *detailed && result->class_count > 0;
    cohort_comm_set_phase(comm, "evaluating");
    *t = (tally){.count = SUM_COUNT + (*detailed ? loss->class_count * loss->class_count : 0)};
    return COHORT_ALLOCATE(&t->sums, t->count);
}

/* What has been summed, as the result. */
static cohort_status conclude(cohort_evaluation *result, const double *sums,
                              const cohort_loss *loss, bool detailed)
{
    result->samples = (uint64_t)(sums[SUM_SAMPLES] + 0.5);
    result->positions = sums[SUM_POSITIONS];
    result->loss = cohort_exact_total(sums + SUM_LOSS) / sums[SUM_POSITIONS];
    result->accuracy = loss->counts_correct ? sums[SUM_CORRECT] / sums[SUM_POSITIONS] : NAN;
    return detailed ? detail(result, sums) : COHORT_OK;
}

cohort_status cohort_evaluate(cohort_evaluation *result, cohort_comm *comm, cohort_model *model,
                              const cohort_loss *loss, cohort_loader *loader, uint64_t batch_count,
                              bool detailed)
{
    tally t;
    cohort_status status = begin(result, &t, comm, loss, &detailed);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, tally_all(&t, comm, model, loss, loader, batch_count, detailed));
    COHORT_TRY_DONE(status, cohort_comm_sum(comm, t.sums, t.count));
    COHORT_TRY_DONE(status, conclude(result, t.sums, loss, detailed));
done:
    tally_clear(&t);
    if (status != COHORT_OK)
        cohort_evaluation_clear(result);
    return status;
}

/* Averages over the classes that occur: a group without members of a class is not bad at it. */
static void average_present(cohort_evaluation *part)
{
    cohort_class_figures mean = {0};
    double present = 0;
    for (size_t c = 0; c < part->class_count; c++) {
        const cohort_class_figures *own = &part->classes[c];
        if (own->support == 0)
            continue;
        present++;
        mean.support += own->support;
        mean.precision += own->precision;
        mean.recall += own->recall;
        mean.f1 += own->f1;
    }
    mean.precision /= present;
    mean.recall /= present;
    mean.f1 /= present;
    part->macro = mean;
}

/* Doubles that matrices of groups may take. */
enum { GROUP_CELLS_MAX = 1 << 24 };

/* Makes room for groups behind the sums over all. */
static cohort_status add_groups(tally *t, const cohort_loss *loss, const cohort_grouping *grouping,
                                bool detailed)
{
    const size_t cells = detailed ? loss->class_count * loss->class_count : 0;
    t->grouping = grouping;
    t->part_begin = t->count;
    t->part_count = SUM_COUNT + (cells <= GROUP_CELLS_MAX / grouping->group_count ? cells : 0);
    t->count += grouping->group_count * t->part_count;
    cohort_free(t->sums);
    return COHORT_ALLOCATE(&t->sums, t->count);
}

static cohort_status conclude_groups(cohort_evaluation *parts, const tally *t,
                                     const cohort_loss *loss)
{
    const bool detailed = t->part_count > SUM_COUNT;
    for (size_t g = 0; g < t->grouping->group_count; g++) {
        parts[g].class_count = detailed ? loss->class_count : 0;
        COHORT_TRY(
            conclude(&parts[g], t->sums + t->part_begin + g * t->part_count, loss, detailed));
        if (detailed)
            average_present(&parts[g]);
    }
    return COHORT_OK;
}

cohort_status cohort_evaluate_groups(cohort_evaluation *result, cohort_evaluation *parts,
                                     cohort_comm *comm, cohort_model *model,
                                     const cohort_loss *loss, cohort_loader *loader,
                                     uint64_t batch_count, const cohort_grouping *grouping)
{
    tally t;
    bool detailed = true;
    memset(parts, 0, grouping->group_count * sizeof *parts);
    cohort_status status = begin(result, &t, comm, loss, &detailed);
    if (status == COHORT_OK)
        status = add_groups(&t, loss, grouping, detailed);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, tally_all(&t, comm, model, loss, loader, batch_count, detailed));
    COHORT_TRY_DONE(status, cohort_comm_sum(comm, t.sums, t.count));
    COHORT_TRY_DONE(status, conclude(result, t.sums, loss, detailed));
    COHORT_TRY_DONE(status, conclude_groups(parts, &t, loss));
done:
    tally_clear(&t);
    if (status != COHORT_OK)
        cohort_evaluation_clear(result);
    for (size_t g = 0; g < grouping->group_count && status != COHORT_OK; g++)
        cohort_evaluation_clear(&parts[g]);
    return status;
}

/* This rank's run of blocks. Collective, as tally_all. */
static cohort_status tally_blocks(tally *t, cohort_comm *comm, cohort_model *model,
                                  const cohort_loss *loss, cohort_loader *loader,
                                  uint64_t block_count, bool detailed, bool may_stop)
{
    const size_t rank = (size_t)cohort_comm_rank(comm), size = (size_t)cohort_comm_size(comm);
    const size_t first = cohort_part_begin((size_t)block_count, rank, size),
                 mine = cohort_part_begin((size_t)block_count, rank + 1, size) - first,
                 most = ((size_t)block_count + size - 1) / size;
    stopper asks = begin_asking(comm, may_stop);
    cohort_status status = COHORT_OK;
    cohort_loader_seek(loader, 0, first);
    for (size_t i = 0; i < most; i++) {
        if (status == COHORT_OK && i < mine)
            status = tally_next(t, model, loss, loader, detailed);
        COHORT_TRY(ask_stop(&status, &asks, comm, i));
    }
    return cohort_comm_agree(comm, status);
}

cohort_status cohort_evaluate_blocks(cohort_evaluation *result, cohort_comm *comm,
                                     cohort_model *model, const cohort_loss *loss,
                                     cohort_loader *loader, uint64_t block_count, bool detailed,
                                     bool may_stop)
{
    tally t;
    cohort_status status = begin(result, &t, comm, loss, &detailed);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status,
                    tally_blocks(&t, comm, model, loss, loader, block_count, detailed, may_stop));
    COHORT_TRY_DONE(status, cohort_comm_sum(comm, t.sums, t.count));
    COHORT_TRY_DONE(status, conclude(result, t.sums, loss, detailed));
done:
    tally_clear(&t);
    if (status != COHORT_OK)
        cohort_evaluation_clear(result);
    return status;
}
