#include "base/memory.h"
#include "base/shape.h"
#include "comm/reducer_internal.h"

cohort_status cohort_reducer_mpi_open(cohort_reducer *reducer)
{
    cohort_comm *comm = reducer->comm;
    cohort_status status = COHORT_ALLOCATE(&reducer->vector, reducer->length);
    COHORT_TRY(cohort_comm_agree(comm, status));
    if (comm->size == 1)
        return COHORT_OK;
    /* Its own communicator: other collectives between ready and finish cannot mix in. */
    COHORT_TRY(cohort_comm_check(comm, MPI_Comm_dup(comm->world, &reducer->peers), "gradient sum"));
    MPI_Comm_set_errhandler(reducer->peers, MPI_ERRORS_RETURN);
    return COHORT_OK;
}

static cohort_status start(cohort_reducer *reducer)
{
    while (reducer->started < reducer->ready) {
        cohort_slice range = cohort_reducer_bucket(reducer, reducer->started);
        COHORT_TRY(
            cohort_comm_check(reducer->comm,
                              MPI_Iallreduce(MPI_IN_PLACE, reducer->vector + range.begin,
                                             (int)(range.end - range.begin), MPI_FLOAT, MPI_SUM,
                                             reducer->peers, &reducer->requests[reducer->started]),
                              "the gradient sum"));
        reducer->started++;
    }
    return COHORT_OK;
}

void cohort_reducer_mpi_advance(cohort_reducer *reducer)
{
    cohort_status status = start(reducer);
    /* Open MPI moves data only inside its calls: each test drives all requests. */
    while (status == COHORT_OK && reducer->done < reducer->started) {
        int is_done = 0;
        status = cohort_comm_check(
            reducer->comm, MPI_Test(&reducer->requests[reducer->done], &is_done, MPI_STATUS_IGNORE),
            "the gradient sum");
        if (!is_done)
            break;
        reducer->done++;
    }
    cohort_reducer_note(reducer, status);
}
