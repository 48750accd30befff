/* How layers that can be computed in several ways are: the same on every rank, and the same
 * when a run is continued.
 *
 * The ways differ in the last bits, which grow. Were the fastest taken each time, noise on the
 * machine would let two runs of one recipe, or its runs on 1 and on 4 ranks, print other
 * losses. So a rule on shapes and instruction set decides, and a measurement overrules it only
 * where it is far off (a way without a fast implementation for the shape): between ways that
 * are near each other, which noise could turn round, it does not choose. */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernel/choice.h"
#include "train/trainer_private.h"

static const double TUNE_SECONDS = 0.1, GUARDED_GAIN = 2;

/* The line at *LINES into LINE (replaced); *lines moves behind it. False at the end. */
static bool next_line(cohort_text *line, const char **lines)
{
    const size_t length = strcspn(*lines, "\n");
    if (length == 0)
        return false;
    line->length = 0;
    cohort_text_append_bytes(line, *lines, length);
    *lines += length + ((*lines)[length] == '\n');
    return !line->failed;
}

static void log_lines(const char *lines, const char *note)
{
    cohort_text line = {0};
    while (lines && next_line(&line, &lines))
        cohort_log(COHORT_LOG_INFO, "%s%s", line.data, note);
    cohort_text_clear(&line);
}

void cohort_trainer_record_ways(cohort_text *line, const cohort_trainer *trainer)
{
    const char *lines = trainer->ways.data;
    cohort_text one = {0};
    if (!trainer->ways.length)
        return;
    cohort_json_begin_array(line, "ways");
    while (next_line(&one, &lines))
        cohort_json_string(line, NULL, one.data);
    cohort_json_end_array(line);
    cohort_text_clear(&one);
}

static cohort_status tune(cohort_trainer *trainer)
{
    const double gain = trainer->recipe->train.tune == COHORT_TUNE_FASTEST ? 1 : GUARDED_GAIN;
    cohort_text report = {0};
    const cohort_status status = cohort_model_tune(trainer->model, TUNE_SECONDS, gain, &report);
    if (status == COHORT_OK)
        log_lines(report.data, " a sample");
    cohort_text_clear(&report);
    return status;
}

/* Rank 0's choices. A run without kept ones was made by rule. */
static cohort_status choose(cohort_trainer *trainer)
{
    if (trainer->ways.length) {
        bool whole;
        COHORT_TRY(cohort_model_read_choices(&whole, trainer->model, trainer->ways.data));
        log_lines(trainer->ways.data, " (forward, dx, weights; as before in this run)");
        if (!whole)
            cohort_log(COHORT_LOG_WARNING, "this program or CPU lacks a way in which the run was "
                                           "computed: losses will differ in the last digits");
        return COHORT_OK;
    }
    if (!trainer->resumed && trainer->recipe->train.tune != COHORT_TUNE_OFF)
        return tune(trainer);
    cohort_text text = {0};
    cohort_model_write_choices(&text, trainer->model);
    log_lines(text.data, " (forward, dx, weights; by rule, not measured)");
    cohort_text_clear(&text);
    return COHORT_OK;
}

/* Rank 0's choices to all; where a rank lacks one, all take what everybody has. */
static cohort_status share(cohort_trainer *trainer, uint32_t *choices, uint32_t *taken,
                           double *lacking, size_t count)
{
    bool any = false;
    cohort_model_choices(choices, trainer->model);
    COHORT_TRY(cohort_comm_broadcast(trainer->comm, choices, count * sizeof *choices, 0));
    cohort_model_choose(trainer->model, choices);
    cohort_model_choices(taken, trainer->model);
    for (size_t i = 0; i < count; i++)
        lacking[i] = taken[i] != choices[i];
    COHORT_TRY(cohort_comm_max(trainer->comm, lacking, count));
    for (size_t i = 0; i < count; i++) {
        any |= lacking[i] > 0;
        if (lacking[i] > 0)
            choices[i] = 0;
    }
    cohort_model_choose(trainer->model, choices);
    if (any)
        cohort_log(COHORT_LOG_WARNING, "a rank lacks a way of computing convolutions that rank 0 "
                                       "has: all ranks take a slower one (other CPU or build?)");
    return COHORT_OK;
}

/* What is computed in other ways differs in its last bits, and in time the ranks' parameters
 * with it: refused unless nobody asks that they be the same. */
static cohort_status require_same_kernels(cohort_trainer *trainer)
{
    char kernels[COHORT_SAME_BYTES / 2], mine[COHORT_SAME_BYTES];
    const cohort_text *ways = &trainer->ways;
    if (!trainer->recipe->train.verify_every)
        return COHORT_OK;
    cohort_kernel_choice(kernels, sizeof kernels);
    snprintf(mine, sizeof mine, "%s, ways %08x", kernels,
             ways->length ? (unsigned)cohort_hash(ways->data, ways->length, 0) : 0);
    return cohort_comm_require_same(
        trainer->comm, "kernels", mine,
        "use hosts of one kind of CPU, or set train.verify_every to 0 and accept that ranks "
        "drift apart by rounding");
}

cohort_status cohort_trainer_choose_ways(cohort_trainer *trainer)
{
    const size_t count = cohort_model_choice_count(trainer->model);
    uint32_t *choices = NULL, *taken = NULL;
    double *lacking = NULL;
    cohort_status status = COHORT_OK;
    if (count == 0)
        return require_same_kernels(trainer);
    if (cohort_comm_rank(trainer->comm) == 0)
        status = choose(trainer);
    COHORT_TRY(cohort_comm_follow(trainer->comm, status));
    status = COHORT_ALLOCATE(&choices, count);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&taken, count);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&lacking, count);
    status = cohort_comm_agree(trainer->comm, status);
    if (status == COHORT_OK)
        status = share(trainer, choices, taken, lacking, count);
    trainer->ways.length = 0;
    cohort_model_write_choices(&trainer->ways, trainer->model);
    if (status == COHORT_OK)
        status = cohort_comm_agree(trainer->comm, cohort_text_status(&trainer->ways));
    if (status == COHORT_OK)
        status = require_same_kernels(trainer);
    if (status == COHORT_OK)
        status = cohort_comm_agree(trainer->comm, cohort_trainer_choose_lanes(trainer));
    cohort_free(choices);
    cohort_free(taken);
    cohort_free(lacking);
    return status;
}
