#include <stdio.h>
#include <string.h>

#include "comm/internal.h"

/* COUNT bytes from ROOT of ON. */
static cohort_status broadcast(cohort_comm *comm, MPI_Comm on, cohort_scope scope, char *bytes,
                               size_t count, int root)
{
    for (size_t done = 0; done < count;) {
        size_t chunk = count - done < comm->chunk_bytes ? count - done : comm->chunk_bytes;
        MPI_Request request;
        memcpy(comm->stage, bytes + done, chunk);
        COHORT_TRY(cohort_comm_check(
            comm, MPI_Ibcast(comm->stage, (int)chunk, MPI_BYTE, root, on, &request), "broadcast"));
        COHORT_TRY(cohort_comm_wait(comm, &request, 1, scope, "a broadcast"));
        memcpy(bytes + done, comm->stage, chunk);
        done += chunk;
    }
    return COHORT_OK;
}

/* The agreement among the ranks of ON: one maximum over (worst status, lowest rank that
 * has it) and over (minus the best status), then that rank's message. */
static cohort_status agree(cohort_comm *comm, MPI_Comm on, cohort_scope scope, cohort_status mine)
{
    if (comm->is_broken)
        return mine != COHORT_OK ? mine : COHORT_FAIL(COHORT_PEER, "%s", comm->failure);
    COHORT_TRY(cohort_comm_enter(comm, scope));
    int rank, size;
    MPI_Comm_rank(on, &rank);
    MPI_Comm_size(on, &size);
    int64_t votes[2] = {(int64_t)mine * size + (size - 1 - rank), -(int64_t)mine};
    MPI_Request request;
    memcpy(comm->stage, votes, sizeof votes);
    COHORT_TRY(cohort_comm_check(
        comm, MPI_Iallreduce(MPI_IN_PLACE, comm->stage, 2, MPI_INT64_T, MPI_MAX, on, &request),
        "agreement"));
    COHORT_TRY(cohort_comm_wait(comm, &request, 1, scope, "an agreement"));
    memcpy(votes, comm->stage, sizeof votes);
    cohort_status worst = (cohort_status)(votes[0] / size);
    if (worst == COHORT_OK)
        return COHORT_OK;
    int speaker = size - 1 - (int)(votes[0] % size);
    char message[COHORT_MESSAGE_BYTES];
    snprintf(message, sizeof message, "%s", cohort_error_message());
    COHORT_TRY(broadcast(comm, on, scope, message, sizeof message, speaker));
    int named = scope == COHORT_SCOPE_NODE ? comm->node_ranks[speaker] : speaker;
    if (votes[1] == -(int64_t)COHORT_OK)
        return COHORT_FAIL(worst, "rank %d on %s: %s", named, comm->hosts[named], message);
    return COHORT_FAIL(worst, "%s", message);
}

cohort_status cohort_comm_agree(cohort_comm *comm, cohort_status mine)
{
    return comm->size == 1 ? mine : agree(comm, comm->world, COHORT_SCOPE_ALL, mine);
}

cohort_status cohort_comm_node_agree(cohort_comm *comm, cohort_status mine)
{
    return comm->node_size == 1 ? mine : agree(comm, comm->node, COHORT_SCOPE_NODE, mine);
}

cohort_status cohort_comm_broadcast(cohort_comm *comm, void *bytes, size_t count, int root)
{
    COHORT_REQUIRE(root >= 0 && root < comm->size, COHORT_INTERNAL,
                   "broadcast from rank %d of %d: no such rank", root, comm->size);
    if (comm->size == 1 || count == 0)
        return COHORT_OK;
    COHORT_TRY(cohort_comm_enter(comm, COHORT_SCOPE_ALL));
    return broadcast(comm, comm->world, COHORT_SCOPE_ALL, bytes, count, root);
}

cohort_status cohort_comm_follow(cohort_comm *comm, cohort_status mine)
{
    struct {
        cohort_status status;
        char message[COHORT_MESSAGE_BYTES];
    } first = {.status = mine};
    if (comm->size == 1)
        return mine;
    snprintf(first.message, sizeof first.message, "%s", cohort_error_message());
    COHORT_TRY(cohort_comm_broadcast(comm, &first, sizeof first, 0));
    COHORT_REQUIRE(first.status == COHORT_OK, first.status, "%s", first.message);
    return COHORT_OK;
}

/* VALUES [count] of TYPE, of eight bytes each. */
static cohort_status reduce(cohort_comm *comm, void *values, size_t count, MPI_Datatype type,
                            MPI_Op op, const char *what)
{
    char *bytes = values;
    if (comm->size == 1 || count == 0)
        return COHORT_OK;
    COHORT_TRY(cohort_comm_enter(comm, COHORT_SCOPE_ALL));
    const size_t most = comm->chunk_bytes / 8;
    for (size_t done = 0; done < count;) {
        size_t chunk = count - done < most ? count - done : most;
        MPI_Request request;
        memcpy(comm->stage, bytes + done * 8, chunk * 8);
        COHORT_TRY(cohort_comm_check(
            comm,
            MPI_Iallreduce(MPI_IN_PLACE, comm->stage, (int)chunk, type, op, comm->world, &request),
            what));
        COHORT_TRY(cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_ALL, what));
        memcpy(bytes + done * 8, comm->stage, chunk * 8);
        done += chunk;
    }
    return COHORT_OK;
}

cohort_status cohort_comm_sum(cohort_comm *comm, double *values, size_t count)
{
    return reduce(comm, values, count, MPI_DOUBLE, MPI_SUM, "a sum over ranks");
}

cohort_status cohort_comm_sum_integers(cohort_comm *comm, uint64_t *values, size_t count)
{
    return reduce(comm, values, count, MPI_UINT64_T, MPI_SUM, "a sum over ranks");
}

cohort_status cohort_comm_max(cohort_comm *comm, double *values, size_t count)
{
    return reduce(comm, values, count, MPI_DOUBLE, comm->max, "a maximum over ranks");
}

cohort_status cohort_comm_gather_all(cohort_comm *comm, void *all, const void *mine, size_t count)
{
    size_t size = (size_t)comm->size;
    if (count == 0)
        return COHORT_OK;
    if (size == 1) {
        memmove(all, mine, count);
        return COHORT_OK;
    }
    COHORT_TRY(cohort_comm_enter(comm, COHORT_SCOPE_ALL));
    if (count <= comm->chunk_bytes / size) {
        MPI_Request request;
        memcpy(comm->stage + (size_t)comm->rank * count, mine, count);
        COHORT_TRY(cohort_comm_check(comm,
                                     MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, comm->stage,
                                                    (int)count, MPI_BYTE, comm->world, &request),
                                     "gathering"));
        COHORT_TRY(
            cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_ALL, "gathering from all ranks"));
        memcpy(all, comm->stage, size * count);
        return COHORT_OK;
    }
    char *blocks = all;
    memcpy(blocks + (size_t)comm->rank * count, mine, count);
    for (size_t rank = 0; rank < size; rank++)
        COHORT_TRY(broadcast(comm, comm->world, COHORT_SCOPE_ALL, blocks + rank * count, count,
                             (int)rank));
    return COHORT_OK;
}

static cohort_status barrier(cohort_comm *comm, MPI_Comm on, cohort_scope scope)
{
    MPI_Request request;
    COHORT_TRY(cohort_comm_enter(comm, scope));
    /* What this rank has written to shared memory is seen by those that leave after it. */
    atomic_thread_fence(memory_order_seq_cst);
    COHORT_TRY(cohort_comm_check(comm, MPI_Ibarrier(on, &request), "barrier"));
    COHORT_TRY(cohort_comm_wait(comm, &request, 1, scope, "a barrier"));
    atomic_thread_fence(memory_order_seq_cst);
    return COHORT_OK;
}

cohort_status cohort_comm_barrier(cohort_comm *comm)
{
    return comm->size == 1 ? COHORT_OK : barrier(comm, comm->world, COHORT_SCOPE_ALL);
}

cohort_status cohort_comm_node_barrier(cohort_comm *comm)
{
    return comm->node_size == 1 ? COHORT_OK : barrier(comm, comm->node, COHORT_SCOPE_NODE);
}
