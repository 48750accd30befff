/* The heaps of variable-length strings in an HDF5 file, looked through before HDF5 reads them.
 *
 * A heap is a chain of objects, each beginning where the last one ends. HDF5 1.10 follows it
 * without looking: a piece of free space of no size, by damage or by intent, makes it read for
 * ever. (HDF5 file format specification, version 3, III.E: "GCOL".) */
#ifndef COHORT_DATA_HEAPS_H
#define COHORT_DATA_HEAPS_H

#include <hdf5.h>

#include "base/status.h"

/* COHORT_DATA if a heap in FILE (open from PATH) has a chain that does not end. Of files beyond
 * 256 MiB the first and last 32 MiB are looked at. What was good is not looked at again while
 * it has not changed. Between cohort_hdf5_begin and end. */
COHORT_NODISCARD cohort_status cohort_hdf5_check_heaps(hid_t file, const char *path);

#endif
