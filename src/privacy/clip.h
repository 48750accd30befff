/* Bounding what one record (or client) may contribute. Flat vectors; rank-local. */
#ifndef COHORT_PRIVACY_CLIP_H
#define COHORT_PRIVACY_CLIP_H

#include <stddef.h>

/* SUM [count] += VALUES [count] scaled to an L2 norm of at most LIMIT. Returns the norm that
 * VALUES had. Values that are not finite contribute nothing (the norm returned is then NAN or
 * infinite). What is added has a norm of at most LIMIT also after rounding. */
double cohort_clip_add(float *sum, const float *values, size_t count, double limit);

/* VALUES scaled in place likewise; zeros when not finite. Returns the norm they had. */
double cohort_clip(float *values, size_t count, double limit);

#endif
