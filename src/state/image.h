/* An HDF5 file on its way to disk without a copy of its tensors.
 *
 * HDF5 lays the file out in memory, with holes where the tensors go: it cannot be trusted to report
 * a full disk, nor to close a file after one. Written are then its bytes, those of the tensors from
 * where they lie, and the seal. */
#ifndef COHORT_STATE_IMAGE_H
#define COHORT_STATE_IMAGE_H

#include <hdf5.h>
#include <stddef.h>

#include "base/status.h"

/* Where a tensor's bytes go. */
typedef struct cohort_image_hole {
    size_t offset, bytes;
    const char *data;
} cohort_image_hole;

typedef struct cohort_image {
    hid_t file;
    hid_t links;    /* creates missing groups on the way */
    hid_t datasets; /* no fill values, no time stamps */
    int memory;     /* what HDF5 takes for its file; pages never written are not there */
    cohort_image_hole *holes;
    size_t hole_count, hole_max;
} cohort_image;

/* An empty file for at most HOLES tensors of BYTES in all, which is to become PATH. IMAGE is to be
 * closed also after an error. COHORT_DATA if files of that size are not allowed, COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_image_open(cohort_image *image, size_t holes, size_t bytes,
                                                 const char *path);
void cohort_image_close(cohort_image *image);

/* COUNT floats at DATA become all of dataset SET, made with the image's properties. They are
 * borrowed until the image is closed. */
COHORT_NODISCARD cohort_status cohort_image_place(cohort_image *image, hid_t set, const float *data,
                                                  size_t count);

/* The whole file with its seal, from the start of HANDLE. COHORT_DATA with errno's words. */
COHORT_NODISCARD cohort_status cohort_image_write(cohort_image *image, int handle,
                                                  const char *path);

#endif
