/* Floats in fewer bytes, every bit kept: for links that are slower than this.
 *
 * Of numbers of like size, such as the gradients of a layer, the exponents say little: in a block
 * of 64 they are kept as 4 bits below the largest, which saves an eighth; a block of zeros, such as
 * the gradients of inputs that were 0 in all samples, takes two bytes; a block of any other
 * numbers is kept as it is. */
#ifndef COHORT_COMM_PACK_H
#define COHORT_COMM_PACK_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that COUNT floats, a multiple of 16, take at most. */
size_t cohort_pack_bound(size_t count);
/* Writes FROM [count] to TO [cohort_pack_bound]; returns the bytes used. */
size_t cohort_pack(uint8_t *to, const float *from, size_t count);
/* The same floats from what cohort_pack has written; returns the bytes read. */
size_t cohort_unpack(float *to, const uint8_t *from, size_t count);

#endif
