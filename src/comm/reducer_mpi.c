#include "base/memory.h"
#include "comm/reducer_internal.h"

cohort_status cohort_reducer_mpi_open(cohort_reducer *reducer)
{
    cohort_comm *comm = reducer->comm;
    cohort_status status =
        cohort_allocate(&reducer->private_memory, reducer->length, sizeof(float));
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&reducer->requests, reducer->bucket_count + 1);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&reducer->marks, reducer->words);
    COHORT_TRY(cohort_comm_agree(comm, status));
    reducer->vector = reducer->private_memory;
    for (size_t i = 0; i <= reducer->bucket_count; i++)
        reducer->requests[i] = MPI_REQUEST_NULL;
    if (comm->size == 1)
        return COHORT_OK;
    /* Its own communicator: other collectives between ready and finish cannot mix in. */
    const cohort_lookout_watch before = cohort_comm_enter_mpi(comm, "preparing the gradient sum");
    const int made = MPI_Comm_dup(comm->world, &reducer->peers);
    cohort_lookout_leave(before);
    COHORT_TRY(cohort_comm_check(comm, made, "preparing the gradient sum"));
    MPI_Comm_set_errhandler(reducer->peers, MPI_ERRORS_RETURN);
    return COHORT_OK;
}

void cohort_reducer_mpi_close(cohort_reducer *reducer)
{
    if (!reducer->comm->is_broken) { /* else MPI may still write to it */
        if (reducer->peers != MPI_COMM_NULL)
            MPI_Comm_free(&reducer->peers);
        cohort_free(reducer->requests);
        cohort_free(reducer->private_memory);
    }
    cohort_free(reducer->marks);
    reducer->marks = NULL;
    reducer->requests = NULL;
    reducer->private_memory = reducer->vector = NULL;
}

/* How many sums a step has: its buckets, and where there are tables the union of the marks. */
static size_t sum_count(const cohort_reducer *reducer)
{
    return reducer->bucket_count + (reducer->words > 0);
}

/* Tables are summed whole; that their marks are united keeps the promise of
 * cohort_reducer_rows. */
static cohort_status start(cohort_reducer *reducer, size_t index)
{
    MPI_Request *request = &reducer->requests[index];
    if (index == reducer->bucket_count)
        return cohort_comm_check(reducer->comm,
                                 MPI_Iallreduce(MPI_IN_PLACE, reducer->marks, (int)reducer->words,
                                                MPI_UINT64_T, MPI_BOR, reducer->peers, request),
                                 "the gradient sum");
    cohort_slice range = reducer->buckets[index].range;
    reducer->work.floats_summed += range.end - range.begin;
    return cohort_comm_check(reducer->comm,
                             MPI_Iallreduce(MPI_IN_PLACE, reducer->vector + range.begin,
                                            (int)(range.end - range.begin), MPI_FLOAT, MPI_SUM,
                                            reducer->peers, request),
                             "the gradient sum");
}

cohort_status cohort_reducer_mpi_advance(cohort_reducer *reducer)
{
    const size_t ready =
        reducer->ready == reducer->bucket_count ? sum_count(reducer) : reducer->ready;
    for (; reducer->started < ready; reducer->started++)
        COHORT_TRY(start(reducer, reducer->started));
    /* Open MPI moves data only inside its calls: each test drives all requests. */
    for (; reducer->done < reducer->started; reducer->done++) {
        int is_done = 0;
        COHORT_TRY(cohort_comm_check(
            reducer->comm, MPI_Test(&reducer->requests[reducer->done], &is_done, MPI_STATUS_IGNORE),
            "the gradient sum"));
        if (!is_done)
            break;
    }
    return COHORT_OK;
}

bool cohort_reducer_mpi_is_over(const cohort_reducer *reducer)
{
    return reducer->done == sum_count(reducer);
}
