/* Which rows make which batch: a pure function of (seed, epoch, step), the same on
 * every rank and for any number of ranks. */
#ifndef COHORT_DATA_SAMPLER_H
#define COHORT_DATA_SAMPLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

/* A subset of a split: the training or the validation part. With fraction f of n rows,
 * round(n f) rows drawn by seed are the validation part. With CHUNK_ROWS (streamed data)
 * whole chunks are drawn, as few as reach that many rows; one chunk at least stays for
 * training, and a short last chunk always does. */
typedef struct cohort_subset {
    uint64_t row_count;   /* of the whole split */
    uint64_t begin, end;  /* positions in the (seed-drawn) order: of rows, or of whole chunks */
    bool split;           /* false: the whole split in file order */
    size_t chunk_rows;    /* 0: rows are drawn; else chunks of so many rows */
    bool tail;            /* with chunks: the short last one belongs to it */
    const uint64_t *rows; /* the members one by one (borrowed), at `begin` to `end`; else NULL */
    cohort_permutation order;
} cohort_subset;

cohort_subset cohort_subset_all(uint64_t row_count);
cohort_subset cohort_subset_training(uint64_t row_count, double validation_fraction,
                                     size_t chunk_rows, uint64_t seed);
cohort_subset cohort_subset_validation(uint64_t row_count, double validation_fraction,
                                       size_t chunk_rows, uint64_t seed);
/* At most LIMIT rows of SUBSET, drawn by SEED (whole chunks where it has them, as few as
 * reach that many). */
cohort_subset cohort_subset_limit(const cohort_subset *subset, uint64_t limit, uint64_t seed);
/* The COUNT rows ROWS, which are borrowed: what one client has, say. They are shuffled
 * freely, also when streamed. */
cohort_subset cohort_subset_list(const uint64_t *rows, uint64_t count);
uint64_t cohort_subset_count(const cohort_subset *subset);
/* The dataset row of member INDEX of the subset. */
uint64_t cohort_subset_row(const cohort_subset *subset, uint64_t index);

/* Chunks among which rows are mixed in a chunk-aware shuffle. */
enum { COHORT_SAMPLER_WINDOW = 8 };

/* Batches drawn by somebody else, of any size up to MOST: `members` fills MEMBERS [most] with
 * indices into the subset and returns how many there are, more than MOST when it fails. STEP
 * counts from the beginning of the run. A pure function; the loader's thread calls it. */
typedef struct cohort_draw {
    size_t (*members)(void *context, uint64_t *members, uint64_t step); /* NULL: not used */
    void *context;
    size_t most;
} cohort_draw;

typedef struct cohort_sampler {
    cohort_subset subset;
    uint64_t seed;
    bool shuffle;
    size_t chunk_rows;   /* 0: shuffle freely; else chunk-aware, for streamed data (the
                            dataset's chunk_rows, also given to the subset): chunks are
                            shuffled (a short last one stays last), dealt into windows of at
                            most 8, and rows shuffled within each window. A subset drawn by
                            rows is shuffled freely all the same. */
    size_t global_batch; /* over all ranks; at least 1. With DRAW the mean size */
    cohort_draw draw;    /* the loader asks it instead of cohort_sampler_rows */
} cohort_sampler;

/* Steps of an epoch: the last batch may be short. */
uint64_t cohort_sampler_steps(const cohort_sampler *sampler);
/* Samples of the global batch of STEP (within the epoch, from 0). */
size_t cohort_sampler_batch_count(const cohort_sampler *sampler, uint64_t step);
/* Dataset rows of positions [begin, begin + count) of that batch, into ROWS. */
void cohort_sampler_rows(uint64_t *rows, const cohort_sampler *sampler, uint64_t epoch,
                         uint64_t step, size_t begin, size_t count);

#endif
