/* Random geometric changes of images [height][width][channels]: the augmentation of
 * training samples. */
#ifndef COHORT_DATA_AUGMENT_H
#define COHORT_DATA_AUGMENT_H

#include "data/dataset.h"
#include "recipe/recipe.h"

typedef struct cohort_augmenter cohort_augmenter;

/* The changes VARIANTS (random_crop, flip, rotate, zoom; copied) for samples of SHAPE.
 * *out is NULL when there are none. COHORT_USAGE: not images, unknown or impossible. */
COHORT_NODISCARD cohort_status cohort_augmenter_create(cohort_augmenter **out,
                                                       const cohort_variants *variants,
                                                       const cohort_shape *shape,
                                                       cohort_element element);
void cohort_augmenter_destroy(cohort_augmenter *augmenter);

/* Changes IMAGE (a sample in its stored type) into the augmenter's own buffer, *out: in
 * *element, which is the stored type for crops and flips alone, else float; valid until
 * the next call. What comes from outside the image is 0 in stored units.
 *
 * The steps are composed, in the order given, into one affine map from places of the
 * result to places of the image, which is sampled once (bilinear): a rotation after a crop
 * shows what the crop alone would have cut. Random numbers are keyed by (SEED, index of
 * the step, EPOCH, ROW): the same on any number of ranks. */
void cohort_augmenter_apply(const void **out, cohort_element *element, cohort_augmenter *augmenter,
                            const void *image, uint64_t seed, uint64_t epoch, uint64_t row);

#endif
