/* What `cohort bench` measures: one file each. All are collective; rank 0 fills TEXT, which is
 * a table for people or, with `json`, the members of one JSON object. */
#ifndef COHORT_CLI_BENCH_H
#define COHORT_CLI_BENCH_H

#include "cli/options.h"
#include "comm/comm.h"

typedef struct cohort_bench {
    cohort_comm *comm;
    const cohort_options *given;
    double seconds; /* a measurement may take */
    bool json;
    cohort_text *text;
} cohort_bench;

/* Gradient sums by size and way, and what to expect of more ranks. */
COHORT_NODISCARD cohort_status cohort_bench_allreduce(cohort_bench *bench);
/* Single-precision matrix products on one core, and on all ranks together. */
COHORT_NODISCARD cohort_status cohort_bench_gemm(cohort_bench *bench);
/* Batches of a data set: from memory, streamed, and the file as it lies there. */
COHORT_NODISCARD cohort_status cohort_bench_data(cohort_bench *bench);

#endif
