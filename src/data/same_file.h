/* Whether all ranks see the same file under one name. */
#ifndef COHORT_DATA_SAME_FILE_H
#define COHORT_DATA_SAME_FILE_H

#include "comm/comm.h"

/* Fails with COHORT_PEER on every rank, naming ranks and hosts, unless PATH is the same file
 * on all: of one size and time of writing, or (copies on the hosts' own disks) of one size and
 * content. Of large files 256 MiB are compared, spread over the whole; only where times
 * differ is the content read. COHORT_DATA names a rank that cannot read it. Collective. */
COHORT_NODISCARD cohort_status cohort_data_require_same_file(cohort_comm *comm, const char *path);

#endif
