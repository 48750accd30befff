/* Strings of variable length, read from an HDF5 file without HDF5's own reader of them.
 *
 * They lie in heaps: chains of objects, each beginning where the last one ends; an attribute or
 * dataset holds a reference [length][heap][object] a string. HDF5 1.10 follows both without
 * looking: a piece of free space of no size makes it read for ever, an object that is not there
 * makes it read anywhere, and one longer than its reference says makes it write behind what it
 * has allocated. Here every number is checked before it is used. (HDF5 file format
 * specification, version 3, III.E "Global Heap", and VIII.B "Variable-Length".) */
#ifndef COHORT_DATA_HEAPS_H
#define COHORT_DATA_HEAPS_H

#include <hdf5.h>

#include "base/status.h"

/* *items = the COUNT > 0 strings of SOURCE, an attribute or dataset of that many variable-length
 * strings: one block (free with free()) of COUNT pointers and the text behind them, which may
 * hold zero bytes. COHORT_DATA: damaged, or more than BYTES_MOST bytes together; PATH and NAME
 * are for the message. Between cohort_hdf5_begin and end. */
COHORT_NODISCARD cohort_status cohort_hdf5_variable_strings(char ***items, hid_t source,
                                                            size_t count, size_t bytes_most,
                                                            const char *path, const char *name);

#endif
