#include "privacy/clip.h"

#include <math.h>
#include <string.h>

#include "kernel/update.h"
#include "kernel/vector.h"

/* The factor, a little short of LIMIT / NORM: scaling in single precision may round every
 * element up by 2^-24 of itself. What has been scaled is not scaled again: a coordinator that clips
 * once more leaves an honest client's bits as they are. */
static float factor_for(double norm, double limit)
{
    if (!isfinite(norm))
        return 0;
    return norm * (1 + 0x1p-21) > limit ? (float)(limit / (norm * (1 + 0x1p-20))) : 1;
}

double cohort_clip_add(float *sum, const float *values, size_t count, double limit)
{
    const double norm = sqrt(cohort_update_square_sum(values, count));
    const float factor = factor_for(norm, limit);
    if (factor > 0)
        cohort_vector_axpy(sum, factor, values, count);
    return norm;
}

double cohort_clip(float *values, size_t count, double limit)
{
    const double norm = sqrt(cohort_update_square_sum(values, count));
    const float factor = factor_for(norm, limit);
    if (!isfinite(norm))
        memset(values, 0, count * sizeof *values);
    else if (factor < 1)
        cohort_vector_scale(values, factor, count);
    return norm;
}
