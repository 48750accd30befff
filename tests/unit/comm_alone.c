/* A communicator of one rank. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "comm/comm.h"

struct cohort_comm {
    int unused;
};

cohort_status cohort_comm_start(cohort_comm **out)
{
    *out = calloc(1, sizeof **out);
    return COHORT_OK;
}
void cohort_comm_close(cohort_comm *comm)
{
    free(comm);
}
int cohort_comm_rank(const cohort_comm *comm)
{
    (void)comm;
    return 0;
}
int cohort_comm_size(const cohort_comm *comm)
{
    (void)comm;
    return 1;
}
int cohort_comm_node_rank(const cohort_comm *comm)
{
    (void)comm;
    return 0;
}
int cohort_comm_node_size(const cohort_comm *comm)
{
    (void)comm;
    return 1;
}
cohort_status cohort_comm_agree(cohort_comm *comm, cohort_status mine)
{
    (void)comm;
    return mine;
}
cohort_status cohort_comm_broadcast(cohort_comm *comm, void *bytes, size_t count, int root)
{
    (void)comm, (void)bytes, (void)count, (void)root;
    return COHORT_OK;
}
cohort_status cohort_comm_max(cohort_comm *comm, double *values, size_t count)
{
    (void)comm, (void)values, (void)count;
    return COHORT_OK;
}
cohort_status cohort_comm_node_barrier(cohort_comm *comm)
{
    (void)comm;
    return COHORT_OK;
}
cohort_status cohort_shared_create(cohort_shared **out, void **base, cohort_comm *comm,
                                   size_t bytes)
{
    (void)comm, (void)bytes;
    *out = NULL;
    *base = NULL;
    return COHORT_FAIL(COHORT_MEMORY, "no windows");
}
void cohort_shared_destroy(cohort_shared *shared)
{
    (void)shared;
}
