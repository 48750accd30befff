/* Reading checkpoints: what writing needs of it to check its work. */
#ifndef COHORT_STATE_CHECKPOINT_READ_H
#define COHORT_STATE_CHECKPOINT_READ_H

#include "state/checkpoint.h"

/* As cohort_checkpoint_verify; *count = the tensors that were found good. */
COHORT_NODISCARD cohort_status cohort_checkpoint_verify_count(size_t *count,
                                                              const cohort_checkpoint *checkpoint);

#endif
