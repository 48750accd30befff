/* HDF5 as this program uses it: silent, and its failures in one line. */
#ifndef COHORT_DATA_HDF5_H
#define COHORT_DATA_HDF5_H

#include <hdf5.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Brackets around all use of HDF5. One thread at a time is inside (parallel builds of
 * HDF5 are not thread-safe, and a loader thread may read while a checkpoint is written);
 * the library prints nothing, the host's error handler is back afterwards. They nest. */
void cohort_hdf5_begin(void);
void cohort_hdf5_end(void);

enum { COHORT_HDF5_REASON = 200 };
/* The innermost entry of HDF5's error stack ("truncated file: eof = …") into TEXT
 * (COHORT_HDF5_REASON bytes), returned. */
const char *cohort_hdf5_reason(char *text);

/* The functions below must be called between begin and end. */

/* A list of how to open a file: without locks, where this HDF5 can. On shared file systems they may
 * fail or wait for ever, and our files are replaced whole. Negative: no memory. */
hid_t cohort_hdf5_access(void);
/* Opens PATH for reading, once a probe has shown that HDF5 survives it (probe.h). COHORT_DATA:
 * missing, unreadable, not HDF5, truncated, crashes HDF5. */
COHORT_NODISCARD cohort_status cohort_hdf5_open(hid_t *file, const char *path);
/* The same without a probe: for the probe. */
COHORT_NODISCARD cohort_status cohort_hdf5_open_unseen(hid_t *file, const char *path);
/* The descriptor of the file that OBJECT is in, HDF5's own; -1 when that cannot be told. */
int cohort_hdf5_descriptor(hid_t object);
/* Bytes of that file, as it is now; 0 when that cannot be told. */
uint64_t cohort_hdf5_file_bytes(hid_t object);
/* Whether every link along NAME ("a/b", "" and "/" for the root) exists. */
bool cohort_hdf5_exists(hid_t location, const char *name);
/* Opens the group NAME; if it is missing the message lists those there are. */
COHORT_NODISCARD cohort_status cohort_hdf5_open_group(hid_t *group, hid_t file, const char *path,
                                                      const char *name);
/* Opens the dataset NAME of GROUP; GROUP_NAME and PATH are for messages. BY_CHUNKS: whole chunks
 * will be read, so that HDF5 need not keep any. */
COHORT_NODISCARD cohort_status cohort_hdf5_open_dataset(hid_t *dataset, hid_t group,
                                                        const char *path, const char *group_name,
                                                        const char *name, bool by_chunks);

/* Strings of an attribute: fixed or variable length, a scalar or one dimension.
 * *items is one block (free with free()) of pointers and the text behind them; NULL
 * and 0 if the attribute is missing or not of strings. COHORT_DATA: unreadable, or more
 * than 4 Mi strings or 256 MiB. */
COHORT_NODISCARD cohort_status cohort_hdf5_strings(char ***items, size_t *count, hid_t object,
                                                   const char *path, const char *name);

#endif
