/* Means that a few hostile or broken clients cannot move far. Every client counts alike.
 * All work on a range of coordinates, so that ranks can share them; the result does not depend
 * on how they are cut. */
#ifndef COHORT_FEDERATED_ROBUST_H
#define COHORT_FEDERATED_ROBUST_H

#include <stddef.h>

#include "base/real.h"
#include "base/status.h"

/* Coordinates whose squares are summed at a time in krum distances: cut ranges here. */
enum { COHORT_ROBUST_BLOCK = 4096 };

/* OUT [begin..end) = the median of UPDATES [count][...]; the mean of the middle two of an even
 * number (Yin et al. 2018). COLUMN is scratch of COUNT. */
void cohort_robust_median(real *out, const real *const *updates, size_t count, size_t begin,
                          size_t end, real *column);
/* The mean without the floor(count x TRIM) smallest and as many of the largest. */
void cohort_robust_trimmed_mean(real *out, const real *const *updates, size_t count, double trim,
                                size_t begin, size_t end, real *column);

/* DISTANCES [block][count][count] (upper triangle) = squared distances over each block of
 * [begin, end), block 0 beginning at coordinate 0; END is a multiple of the block or the
 * length. */
void cohort_robust_distances(double *distances, const real *const *updates, size_t count,
                             size_t begin, size_t end);
/* Krum (Blanchard et al. 2017): the score of an update is the sum of its squared distances to
 * its count - BYZANTINE - 2 nearest others. CHOSEN [keep] = the updates of the lowest scores,
 * lowest first, by DISTANCES summed over their BLOCK_COUNT blocks in order. */
COHORT_NODISCARD cohort_status cohort_robust_krum(size_t *chosen, const double *distances,
                                                  size_t block_count, size_t count,
                                                  size_t byzantine, size_t keep);

#endif
