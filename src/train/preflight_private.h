/* What the files of the preflight share. */
#ifndef COHORT_TRAIN_PREFLIGHT_PRIVATE_H
#define COHORT_TRAIN_PREFLIGHT_PRIVATE_H

#include <sched.h>

#include "data/survey.h"
#include "train/preflight.h"
#include "train/trainer_private.h"

/* What a rank says of itself and its host. */
typedef struct cohort_rank_facts {
    char host[64];
    char mpi[64];    /* library */
    uint64_t build;  /* of the program; 0 unknown */
    uint64_t node;   /* which host, from 0 by lowest rank */
    cpu_set_t cores; /* it may run on */
    uint64_t host_cores, threads;
    uint64_t memory_free, shared_free; /* bytes of the host */
} cohort_rank_facts;

typedef struct cohort_preflight_run {
    cohort_findings *findings;
    cohort_comm *comm;
    const cohort_preflight_options *options;
    cohort_rank_facts *facts; /* [size], the same on all ranks */
    cohort_recipe *recipe;
    cohort_survey survey;
    bool held; /* training data would be kept in memory, though streamed in the preflight */
    cohort_trainer *trainer;
} cohort_preflight_run;

/* Judgements of the facts of COUNT ranks, TASKS of the batch job (0 = not said). Pure. */
void cohort_judge_launch(cohort_findings *findings, const cohort_rank_facts *facts, size_t count,
                         size_t tasks);
void cohort_judge_programs(cohort_findings *findings, const cohort_rank_facts *facts, size_t count);
void cohort_judge_cores(cohort_findings *findings, const cohort_rank_facts *facts, size_t count);

/* Before the trainer is opened: the split as it lies in the file. Rank 0. */
void cohort_judge_survey(cohort_preflight_run *run, uint64_t budget);
/* After: shares, values and labels, memory. Rank 0. */
void cohort_judge_batch(cohort_preflight_run *run);
void cohort_judge_values(cohort_preflight_run *run);
void cohort_judge_memory(cohort_preflight_run *run);

#endif
