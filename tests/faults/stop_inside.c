/* Stops rank 1, or COHORT_FAULT_RANK, (SIGSTOP) as it enters a collective call of MPI that knows no
 * deadline, named by COHORT_FAULT_CALL; or kills it in the one that makes a communicator of those
 * that are left. Loaded by LD_PRELOAD. */
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void raise_at(const char *call, int number)
{
    const char *wanted = getenv("COHORT_FAULT_CALL"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    const char *victim = getenv("COHORT_FAULT_RANK");
    if (wanted && rank && strcmp(wanted, call) == 0 && strcmp(rank, victim ? victim : "1") == 0)
        raise(number);
}

__attribute__((visibility("default"))) int MPI_Win_allocate_shared(MPI_Aint size, int unit,
                                                                   MPI_Info info, MPI_Comm comm,
                                                                   void *base, MPI_Win *window)
{
    raise_at("win_allocate_shared", SIGSTOP);
    return PMPI_Win_allocate_shared(size, unit, info, comm, base, window);
}

__attribute__((visibility("default"))) int MPI_Win_free(MPI_Win *window)
{
    raise_at("win_free", SIGSTOP);
    return PMPI_Win_free(window);
}

__attribute__((visibility("default"))) int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *copy)
{
    raise_at("comm_dup", SIGSTOP);
    return PMPI_Comm_dup(comm, copy);
}

__attribute__((visibility("default"))) int MPI_Comm_create_group(MPI_Comm comm, MPI_Group group,
                                                                 int tag, MPI_Comm *made)
{
    raise_at("comm_create_group", SIGSTOP);
    raise_at("comm_create_group, killed", SIGKILL);
    return PMPI_Comm_create_group(comm, group, tag, made);
}
