/* Prepares batches in one I/O thread: gather, augment, scale, into the second slot while
 * the first is being trained on. Rank-local.
 *
 * A batch that is a small copy out of memory (no augmentation, at most 512 KiB) costs less
 * than waking a thread, and ends up in the cache of the core that wants it: such batches are
 * prepared inside next. */
#ifndef COHORT_DATA_LOADER_H
#define COHORT_DATA_LOADER_H

#include "data/dataset.h"
#include "data/masking.h"
#include "data/sampler.h"
#include "recipe/recipe.h"

typedef struct cohort_loader_config {
    cohort_sampler sampler;
    /* This rank takes parts [part_begin, part_end) of the PART_COUNT contiguous parts of each
     * global batch (cohort_part_begin). */
    size_t part_begin, part_end, part_count;
    bool tokens;                    /* x goes to the network as int32 (else as scaled floats) */
    size_t token_limit;             /* tokens must lie in [0, limit); 0 = unchecked */
    cohort_masking masking;         /* tokens only: labels are the tokens hidden, y is not used */
    double scale;                   /* x <- (x * scale - mean) / std, in single precision */
    cohort_reals mean, std;         /* none, one value, or one per channel (last dimension) */
    const cohort_variants *augment; /* NULL or empty = none (evaluation) */
    uint64_t seed;
    bool resident_thread; /* false: prepare inside next (tests, single batches) */
} cohort_loader_config;

/* A rank's part of a global batch; owned by the loader, valid until the next
 * cohort_loader_next. */
typedef struct cohort_batch {
    uint64_t epoch, step;  /* step within the epoch, from 0 */
    size_t global_count;   /* samples of the global batch */
    size_t count;          /* of them here; may be 0 */
    const void *x;         /* [count][x_shape]: float, or int32 tokens */
    const int32_t *labels; /* [count] or [count][time]; or NULL */
    const float *values;   /* [count][k]; or NULL */
    const uint64_t *rows;  /* [count] dataset rows */
} cohort_batch;

typedef struct cohort_loader cohort_loader;

/* DATASET is borrowed; several loaders may share it. CONFIG with its lists is needed during
 * the call only. COHORT_USAGE when scale, mean, std or augmentation do not fit the samples,
 * or there are none; all memory is taken here. */
COHORT_NODISCARD cohort_status cohort_loader_create(cohort_loader **out, cohort_dataset *dataset,
                                                    const cohort_loader_config *config);
void cohort_loader_destroy(cohort_loader *loader);

/* The next batches are those of EPOCH from STEP on, then of the following epochs without
 * a pause; an earlier sequence is dropped. Without a seek: epoch 0 from step 0. */
void cohort_loader_seek(cohort_loader *loader, uint64_t epoch, uint64_t step);
/* The batches are drawn from SUBSET by SEED from now on, in batches of the same size; seek
 * before the next one. The list of a subset of rows is borrowed until the next call. SUBSET
 * must not be empty, nor its first batch larger than that of the subset the loader was made
 * with. Cheap: nothing is allocated. */
void cohort_loader_set_subset(cohort_loader *loader, const cohort_subset *subset, uint64_t seed);
/* *batch = the next batch. Waits for the thread; the first call after a seek has to.
 * COHORT_DATA when streamed data cannot be read or a token is out of range; again until the
 * next seek. */
COHORT_NODISCARD cohort_status cohort_loader_next(cohort_loader *loader,
                                                  const cohort_batch **batch);
/* Seconds next has waited for data since the last call of this function. */
double cohort_loader_take_wait_seconds(cohort_loader *loader);

#endif
