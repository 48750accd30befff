/* Whether HDF5 survives a file: looked through by a process of its own before this one does it.
 *
 * HDF5 1.10 believes what a file says of itself. A damaged or hostile one makes it divide by
 * zero, read and write anywhere, ask for any memory or loop, in dozens of places: no check from
 * outside covers them. So the first look at a file is a forked child's, with limits on processor
 * time and memory; if it does not come to its end the file is refused.
 *
 * The child uses neither MPI nor threads, and ends within milliseconds. Forking beside RDMA needs
 * Linux 5.12 (which copies pinned pages) or what Open MPI does by itself (ibv_fork_init). */
#ifndef COHORT_DATA_PROBE_H
#define COHORT_DATA_PROBE_H

#include "base/status.h"

/* COHORT_DATA if HDF5 crashes on PATH, or takes more than 10 s of processor time or 4 GiB.
 * What HDF5 refuses by itself is good here. A file found good is not looked at again while its
 * size and times stay. Between cohort_hdf5_begin and end. */
COHORT_NODISCARD cohort_status cohort_hdf5_probe(const char *path);
/* PATH was written by this process: it need not be looked at. */
void cohort_hdf5_trust(const char *path);

#endif
