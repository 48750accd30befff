/* The optimizer's work dealt to the ranks of a node.
 *
 * The parameters of every rank of the node lie in one window, and the optimizer's slots once.
 * A rank updates the parts of the vector that are its own and writes them to all replicas, so
 * that the time of the optimizer and its memory divide by the ranks. The arithmetic is that of a
 * rank alone, element by element, so the bits are too.
 *
 * What is overwritten is first compared with the owner's own: replicas that have come to
 * differ (memory, CPU) would not be noticed otherwise, for they are the same again after. */
#ifndef COHORT_TRAIN_SHARED_UPDATE_H
#define COHORT_TRAIN_SHARED_UPDATE_H

#include "comm/reducer.h"
#include "optim/optimizer.h"

typedef struct cohort_shared_update cohort_shared_update;

/* *out = windows for COUNT parameters and SLOT_COUNT slots; NULL where ranks share no memory, or
 * not enough of it: then every rank does all. Collective. */
COHORT_NODISCARD cohort_status cohort_shared_update_create(cohort_shared_update **out,
                                                           cohort_comm *comm, size_t count,
                                                           size_t slot_count);
void cohort_shared_update_destroy(cohort_shared_update *update);

/* This rank's parameters [count], zeroed, 64-byte aligned. */
float *cohort_shared_update_params(cohort_shared_update *update);

/* For the reducer's config: takes the squares of a slice as soon as it is summed. CONTEXT is the
 * update. */
void cohort_shared_update_summed(void *context, size_t begin, size_t end);

/* Deals the work: after the reducer and the optimizer are made, whose slots move into the
 * window; TABLES as given to both. Both are borrowed. Collective. */
COHORT_NODISCARD cohort_status cohort_shared_update_deal(cohort_shared_update *update,
                                                         cohort_reducer *reducer,
                                                         cohort_optimizer *optimizer,
                                                         const cohort_tables *tables);

/* Deals it anew, after the reducer's slices have changed. Collective. */
COHORT_NODISCARD cohort_status cohort_shared_update_deal_again(cohort_shared_update *update);

/* As cohort_optimizer_step, with the sums the reducer has finished; *norm is what that returns.
 * Collective over the node. */
COHORT_NODISCARD cohort_status cohort_shared_update_step(double *norm, cohort_shared_update *update,
                                                         double lr, uint64_t step);

/* 1 + the first parameter in which this rank's replica was found to differ; 0: none. */
size_t cohort_shared_update_difference(const cohort_shared_update *update);

#endif
