/* Element conversion: stored values to scaled floats, checks of what was read. */
#ifndef COHORT_DATA_CONVERT_H
#define COHORT_DATA_CONVERT_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "data/dataset.h"

/* x <- (x * scale - mean) / std as x * factor + offset, repeated over channels:
 * factor = scale / std, offset = -mean / std. */
typedef struct cohort_scaling {
    size_t period;          /* elements until the pattern repeats; 1 = one pair for all */
    float *factor, *offset; /* [period] */
} cohort_scaling;

/* Makes the scaling for samples whose last dimension is CHANNELS. MEAN and STD have 0
 * (absent: 0 and 1), 1 or CHANNELS values; else, or if std is not positive,
 * COHORT_USAGE. Free with cohort_scaling_clear. */
COHORT_NODISCARD cohort_status cohort_scaling_make(cohort_scaling *scaling, double scale,
                                                   const double *mean, size_t mean_count,
                                                   const double *std, size_t std_count,
                                                   size_t channels);
void cohort_scaling_clear(cohort_scaling *scaling);

/* OUT [count] = scaled X [count]; X begins at channel 0. */
void cohort_scale_u8(float *out, const uint8_t *x, size_t count, const cohort_scaling *scaling);
void cohort_scale_i32(float *out, const int32_t *x, size_t count, const cohort_scaling *scaling);
void cohort_scale_f32(float *out, const float *x, size_t count, const cohort_scaling *scaling);
/* The same for any element type; OUT may be X when ELEMENT is COHORT_F32. */
void cohort_scale(float *out, const void *x, cohort_element element, size_t count,
                  const cohort_scaling *scaling);

/* Plain widening to int32 (tokens) and to float (pixels). */
void cohort_widen_u8_i32(int32_t *out, const uint8_t *x, size_t count);
void cohort_to_float(float *out, const void *x, cohort_element element, size_t count);

/* The index of the first NaN or infinity; COUNT if there is none. */
size_t cohort_find_nonfinite(const float *x, size_t count);
/* The index of the first value outside int32, else COUNT and OUT holds them all. */
size_t cohort_narrow_i64(int32_t *out, const int64_t *x, size_t count);
size_t cohort_narrow_u64(int32_t *out, const uint64_t *x, size_t count);
/* Lowers *least and raises *most by the values of X. */
void cohort_range_i32(int32_t *least, int32_t *most, const int32_t *x, size_t count);

/* Bytes of an element. */
size_t cohort_element_bytes(cohort_element element);

#endif
