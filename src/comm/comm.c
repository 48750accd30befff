#include "comm/comm.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "comm/internal.h"
#include "comm/lookout.h"

static const double DEFAULT_TIMEOUT = 300; /* seconds */

/* The value of environment variable NAME as a number, or FALLBACK. */
static int environment_int(const char *name, int fallback)
{
    int64_t value;
    const char *text = getenv(name);
    return text && cohort_parse_int64(&value, text) && value >= 0 && value <= INT32_MAX ? (int)value
                                                                                        : fallback;
}

/* The deadline before the recipe's is known: `cohort launch` tells comm.timeout. */
static double start_timeout(void)
{
    double seconds = DEFAULT_TIMEOUT;
    const char *text = getenv("COHORT_START_TIMEOUT");
    if (text && (!cohort_parse_double(&seconds, text) || !(seconds >= 0)))
        seconds = DEFAULT_TIMEOUT;
    return seconds;
}

static const double END_TIME = 30; /* seconds; however short comm.timeout is */

/* comm.timeout, INFINITY for none. */
static double patience(const cohort_comm *comm)
{
    return comm->timeout > 0 ? comm->timeout : INFINITY;
}

cohort_lookout_watch cohort_comm_enter_mpi(const cohort_comm *comm, const char *doing)
{
    return cohort_lookout_enter(doing, patience(comm));
}

/* What launchers tell a process: mpirun sets OMPI_…, PMIx hosts PMIX_RANK, other MPIs'
 * launchers PMI_…, srun SLURM_… (a batch script has SLURM_PROCID too, but no
 * SLURM_STEP_NUM_TASKS). */
typedef struct launch {
    bool has_mpi;   /* the launcher can tell the ranks of each other */
    int rank, size; /* size 0: not said */
} launch;

static launch launch_read(void)
{
    launch found = {0};
    int slurm_tasks = environment_int("SLURM_STEP_NUM_TASKS", 0);
    found.has_mpi = getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
    if (found.has_mpi)
        found.rank = environment_int("OMPI_COMM_WORLD_RANK",
                                     environment_int("PMIX_RANK", environment_int("PMI_RANK", 0)));
    else if (slurm_tasks > 0)
        found.rank = environment_int("SLURM_PROCID", 0);
    found.size = environment_int("OMPI_COMM_WORLD_SIZE", environment_int("PMI_SIZE", slurm_tasks));
    return found;
}

int cohort_comm_launched_rank(void)
{
    return launch_read().rank;
}

int cohort_comm_job_tasks(void)
{
    return environment_int("SLURM_NTASKS", 0);
}

/* Maximum of doubles that is NaN if any is, so that all ranks see the same. */
static void max_keeping_nan(void *in, void *inout, int *count, MPI_Datatype *type)
{
    (void)type;
    const double *a = in;
    double *b = inout;
    for (int i = 0; i < *count; i++)
        b[i] = isnan(a[i]) || isnan(b[i]) ? NAN : a[i] > b[i] ? a[i] : b[i];
}

/* What every rank tells all others when a communicator opens. */
typedef struct introduction {
    int leader; /* lowest rank of its node */
    int node_rank;
    char host[COHORT_HOST_BYTES];
} introduction;

static cohort_status split_node(cohort_comm *comm)
{
    COHORT_TRY(cohort_comm_check(comm,
                                 MPI_Comm_split_type(comm->world, MPI_COMM_TYPE_SHARED, comm->rank,
                                                     MPI_INFO_NULL, &comm->node),
                                 "finding the ranks of this host"));
    /* Tests lay several nodes on one machine. */
    int pretended = environment_int("COHORT_TEST_NODE_SIZE", 0);
    if (pretended > 0) {
        MPI_Comm whole = comm->node;
        COHORT_TRY(cohort_comm_check(
            comm, MPI_Comm_split(whole, comm->rank / pretended, comm->rank, &comm->node),
            "dividing the node"));
        MPI_Comm_free(&whole);
    }
    MPI_Comm_set_errhandler(comm->node, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm->node, &comm->node_rank);
    MPI_Comm_size(comm->node, &comm->node_size);
    return COHORT_OK;
}

/* Who lives where, from everybody's introductions. */
static cohort_status map_nodes(cohort_comm *comm, const introduction *all)
{
    size_t size = (size_t)comm->size;
    COHORT_TRY(COHORT_ALLOCATE(&comm->node_of, size));
    COHORT_TRY(COHORT_ALLOCATE(&comm->node_ranks, (size_t)comm->node_size));
    COHORT_TRY(COHORT_ALLOCATE(&comm->hosts, size));
    COHORT_TRY(COHORT_ALLOCATE(&comm->reports, size));
    COHORT_TRY(COHORT_ALLOCATE(&comm->answer, (size_t)comm->node_size));
    int leader = all[comm->rank].leader;
    for (int rank = 0; rank < comm->size; rank++) {
        memcpy(comm->hosts[rank], all[rank].host, COHORT_HOST_BYTES);
        /* Leaders are met before the others of their node. */
        comm->node_of[rank] =
            all[rank].leader == rank ? comm->node_count++ : comm->node_of[all[rank].leader];
        if (all[rank].leader == leader)
            comm->node_ranks[all[rank].node_rank] = rank;
    }
    comm->node_index = comm->node_of[comm->rank];
    return COHORT_OK;
}

static cohort_status introduce(cohort_comm *comm)
{
    introduction mine = {.leader = comm->rank, .node_rank = comm->node_rank}, *all = NULL;
    gethostname(mine.host, sizeof mine.host - 1);
    MPI_Request request;
    cohort_status status = COHORT_ALLOCATE(&all, (size_t)comm->size);
    COHORT_TRY_DONE(status, status);
    COHORT_TRY_DONE(status, cohort_comm_check(
                                comm, MPI_Ibcast(&mine.leader, 1, MPI_INT, 0, comm->node, &request),
                                "start-up"));
    COHORT_TRY_DONE(status, cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_NODE, "start-up"));
    COHORT_TRY_DONE(
        status, cohort_comm_check(comm,
                                  MPI_Iallgather(&mine, (int)sizeof mine, MPI_BYTE, all,
                                                 (int)sizeof mine, MPI_BYTE, comm->world, &request),
                                  "start-up"));
    COHORT_TRY_DONE(status, cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_ALL, "start-up"));
    COHORT_TRY_DONE(status, map_nodes(comm, all));
done:
    cohort_free(all);
    return status;
}

/* Ranks share cores when the node has more of them than its ranks may run on. */
static cohort_status count_cores(cohort_comm *comm)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    sched_getaffinity(0, sizeof cores, &cores);
    MPI_Request request;
    COHORT_TRY(cohort_comm_check(comm,
                                 MPI_Iallreduce(MPI_IN_PLACE, &cores, (int)sizeof cores, MPI_BYTE,
                                                MPI_BOR, comm->node, &request),
                                 "start-up"));
    COHORT_TRY(cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_NODE, "start-up"));
    int count = CPU_COUNT(&cores);
    comm->crowded = count > 0 && comm->node_size > count;
    return COHORT_OK;
}

static cohort_status set_up_board(cohort_comm *comm)
{
    void *base;
    COHORT_TRY(cohort_shared_take(&comm->board_memory, &base, comm,
                                  (size_t)comm->node_size * sizeof(cohort_presence), false));
    cohort_presence *board = base;
    cohort_presence *mine = &board[comm->node_rank];
    struct stat space = {0};
    stat("/proc/self/ns/pid", &space);
    atomic_store(&mine->pid, (uint32_t)getpid());
    atomic_store(&mine->pid_space, (uint32_t)space.st_ino);
    atomic_store(&mine->born, cohort_process_born((uint32_t)getpid()));
    atomic_store(&mine->sequence, comm->sequence);
    atomic_store(&mine->node_sequence, comm->node_sequence);
    COHORT_TRY(cohort_comm_node_barrier(comm));
    comm->board = board;
    /* Containers may hide the other ranks' processes: then silence is all we have. */
    comm->sees_pids = true;
    for (int i = 0; i < comm->node_size; i++)
        comm->sees_pids = comm->sees_pids &&
                          atomic_load(&board[i].pid_space) == (uint32_t)space.st_ino &&
                          !cohort_presence_is_dead(&board[i]);
    COHORT_TRY(cohort_comm_barrier(comm));
    cohort_comm_set_phase(comm, "start-up");
    return COHORT_OK;
}

static cohort_status open_many(cohort_comm *comm, MPI_Comm parent)
{
    MPI_Request request;
    MPI_Errhandler theirs; /* PARENT may be a program's own: it gets its errors back */
    MPI_Comm_get_errhandler(parent, &theirs);
    MPI_Comm_set_errhandler(parent, MPI_ERRORS_RETURN);
    const int code = MPI_Comm_idup(parent, &comm->world, &request);
    MPI_Comm_set_errhandler(parent, theirs);
    MPI_Errhandler_free(&theirs);
    COHORT_TRY(cohort_comm_check(comm, code, "start-up"));
    COHORT_TRY(cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_ALL, "start-up"));
    MPI_Comm_set_errhandler(comm->world, MPI_ERRORS_RETURN);
    COHORT_TRY(cohort_comm_check(comm, MPI_Op_create(max_keeping_nan, 1, &comm->max), "start-up"));
    COHORT_TRY(split_node(comm));
    COHORT_TRY(introduce(comm));
    COHORT_TRY(count_cores(comm));
    if (comm->node_count > 1) {
        COHORT_TRY(cohort_comm_check(comm, MPI_Comm_dup(comm->world, &comm->control), "start-up"));
        MPI_Comm_set_errhandler(comm->control, MPI_ERRORS_RETURN);
    }
    return set_up_board(comm);
}

static cohort_status open_one(cohort_comm *comm)
{
    comm->size = comm->node_size = comm->node_count = 1;
    COHORT_TRY(COHORT_ALLOCATE(&comm->hosts, 1));
    gethostname(comm->hosts[0], COHORT_HOST_BYTES - 1);
    return COHORT_OK;
}

cohort_status cohort_comm_build(cohort_comm *comm, const MPI_Comm *parent)
{
    comm->world = comm->node = comm->control = MPI_COMM_NULL;
    comm->answer_request = MPI_REQUEST_NULL;
    comm->max = MPI_OP_NULL;
    comm->rank = comm->node_rank = comm->node_index = comm->node_count = 0;
    comm->size = 1;
    comm->sees_pids = false;
    if (parent) {
        MPI_Comm_rank(*parent, &comm->rank);
        MPI_Comm_size(*parent, &comm->size);
    }
    COHORT_TRY(COHORT_ALLOCATE(&comm->stage, COHORT_STAGE_BYTES));
    return comm->size > 1 ? open_many(comm, *parent) : open_one(comm);
}

/* Makes the communicator; PARENT is NULL without MPI. */
static cohort_status make(cohort_comm **out, const MPI_Comm *parent, bool started_mpi)
{
    cohort_comm *comm = NULL;
    *out = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&comm, 1));
    comm->timeout = start_timeout();
    comm->chunk_bytes = COHORT_STAGE_BYTES;
    comm->started_mpi = started_mpi;
    comm->lifeline = MPI_COMM_NULL;
    cohort_status status = cohort_comm_build(comm, parent);
    if (status != COHORT_OK) {
        cohort_comm_close(comm);
        return status;
    }
    *out = comm;
    return COHORT_OK;
}

/* On one host no network is needed, and looking for one (libfabric, UCX) takes MPI_Init
 * 0.3 s out of 0.33. What the user has set stays. */
static void skip_network_search(void)
{
    int size = environment_int("OMPI_COMM_WORLD_SIZE", 0);
    bool is_one_host = size > 0 && environment_int("OMPI_COMM_WORLD_LOCAL_SIZE", -1) == size;
    if (is_one_host || (!size && environment_int("SLURM_STEP_NUM_NODES", 0) == 1))
        setenv("OMPI_MCA_pml", "ob1", 0);
}

cohort_status cohort_comm_start(cohort_comm **out)
{
    *out = NULL;
    int is_running = 0;
    MPI_Initialized(&is_running);
    if (is_running)
        return cohort_comm_open(out, &(MPI_Comm){MPI_COMM_WORLD});
    launch launched = launch_read();
    COHORT_REQUIRE(launched.has_mpi || launched.size <= 1, COHORT_USAGE,
                   "srun started %d separate processes that cannot find each other: use "
                   "`srun --mpi=pmix` (`srun --mpi=list` shows what this cluster has), or mpirun",
                   launched.size);
    if (!launched.has_mpi || launched.size == 1)
        return make(out, NULL, false);
    int provided, size = 1;
    skip_network_search();
    cohort_lookout_begin("start-up", start_timeout() > 0 ? start_timeout() : INFINITY);
    COHORT_REQUIRE(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS,
                   COHORT_PEER, "MPI could not start on rank %d: see its messages above",
                   launched.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size == 1 && launched.size > 1) {
        cohort_lookout_end();
        MPI_Finalize();
        return COHORT_FAIL(COHORT_USAGE,
                           "the launcher started %d processes but each is alone in MPI: start with "
                           "Open MPI's own mpirun, or `srun --mpi=pmix`",
                           launched.size);
    }
    cohort_status status = make(out, &(MPI_Comm){MPI_COMM_WORLD}, true);
    cohort_lookout_end();
    if (cohort_comm_launcher_recovers()) /* opening data takes as long as it takes */
        cohort_lookout_begin("opening the data", INFINITY);
    return status;
}

cohort_status cohort_comm_open(cohort_comm **out, const void *mpi_comm)
{
    *out = NULL;
    if (!mpi_comm)
        return make(out, NULL, false);
    int is_running = 0, is_over = 0;
    MPI_Initialized(&is_running);
    MPI_Finalized(&is_over);
    COHORT_REQUIRE(is_running && !is_over, COHORT_USAGE,
                   "MPI is not running: call MPI_Init before and MPI_Finalize after Cohort");
    MPI_Comm parent;
    memcpy(&parent, mpi_comm, sizeof parent);
    COHORT_REQUIRE(parent != MPI_COMM_NULL, COHORT_USAGE, "the communicator is MPI_COMM_NULL");
    return make(out, &parent, false);
}

cohort_status cohort_comm_split(cohort_comm **part, cohort_comm *comm, int colour)
{
    *part = NULL;
    if (comm->size == 1)
        return make(part, NULL, false);
    MPI_Comm ranks = MPI_COMM_NULL;
    COHORT_TRY(cohort_comm_barrier(comm)); /* what follows knows no deadline */
    const cohort_lookout_watch before = cohort_comm_enter_mpi(comm, "dividing the ranks");
    const int divided = MPI_Comm_split(comm->world, colour, comm->rank, &ranks);
    cohort_status status = cohort_comm_check(comm, divided, "dividing the ranks");
    if (status == COHORT_OK) {
        MPI_Comm_set_errhandler(ranks, MPI_ERRORS_RETURN);
        status = make(part, &ranks, false);
    }
    cohort_lookout_leave(before);
    if (divided != MPI_SUCCESS)
        return status;
    MPI_Comm_free(&ranks);
    COHORT_TRY(cohort_comm_agree(comm, status));
    (*part)->whole = comm;
    (*part)->timeout = comm->timeout;
    return COHORT_OK;
}

static void end_mpi(cohort_comm *comm)
{
    cohort_shared_destroy(comm->board_memory); /* leaves the window when ranks are missing */
    if (comm->is_broken || comm->lifeline != MPI_COMM_NULL)
        return;
    if (comm->max != MPI_OP_NULL)
        MPI_Op_free(&comm->max);
    MPI_Comm *all[] = {&comm->control, &comm->node, &comm->world};
    for (int i = 0; i < 3; i++)
        if (*all[i] != MPI_COMM_NULL)
            MPI_Comm_free(all[i]);
    if (comm->started_mpi)
        MPI_Finalize();
}

/* MPI's destructors are collective and know no deadline: with a rank missing they would
 * wait for ever, so first see that all have come. */
static void close_mpi(cohort_comm *comm)
{
    cohort_lookout_end();
    if (comm->is_abandoned || (comm->whole && comm->whole->is_broken))
        return; /* the message of why stays */
    if (comm->board && cohort_comm_barrier(comm) != COHORT_OK)
        cohort_error_clear(); /* told already: closing comes after the message */
    const cohort_lookout_watch before =
        cohort_lookout_enter("ending", fmax(END_TIME, patience(comm)));
    end_mpi(comm);
    cohort_lookout_leave(before);
}

void cohort_comm_close(cohort_comm *comm)
{
    if (!comm)
        return;
    close_mpi(comm);
    cohort_free(comm->node_of);
    cohort_free(comm->node_ranks);
    cohort_free(comm->hosts);
    cohort_free(comm->reports);
    cohort_free(comm->answer);
    cohort_free(comm->stage);
    cohort_free(comm->lifeline_rank);
    cohort_free(comm);
}

/* Open MPI's shared-memory files of this host's ranks, which only MPI_Finalize would remove:
 * 4 MiB of /dev/shm a rank. All ranks have opened them long since. */
static void remove_segments(void)
{
    const char *folder = getenv("OMPI_MCA_btl_vader_backing_directory");
    const char *job = getenv("OMPI_MCA_ess_base_jobid");
    char host[COHORT_HOST_BYTES] = "", path[4096];
    gethostname(host, sizeof host - 1);
    for (int i = 0; job && i < environment_int("OMPI_COMM_WORLD_LOCAL_SIZE", 0); i++) {
        snprintf(path, sizeof path, "%s/vader_segment.%s.%u.%lx.%d",
                 folder && *folder ? folder : "/dev/shm", host, (unsigned)geteuid(),
                 strtoul(job, NULL, 10), i);
        unlink(path);
    }
}

void cohort_comm_kill(cohort_comm *comm, int exit_code)
{
    int is_running = 0, is_over = 0;
    MPI_Initialized(&is_running);
    MPI_Finalized(&is_over);
    fflush(NULL);
    /* With recovery MPI_Abort ends this rank alone too, and takes its time. */
    if (is_running && !is_over && !cohort_comm_launcher_recovers()) {
        /* The rank that prints the message goes first, so that it is seen. */
        if (comm && !cohort_comm_is_speaker(comm))
            usleep(500000);
        else if (comm && comm->is_broken && comm->node_count > 1)
            cohort_launcher_release();
        MPI_Abort(MPI_COMM_WORLD, exit_code);
    }
    if (comm && comm->board && comm->is_broken) /* others need not wait for a deadline */
        atomic_fetch_or(&comm->board[comm->node_rank].leaving, COHORT_REGROUPS);
    if (cohort_comm_launcher_recovers())
        remove_segments();
    _exit(exit_code);
}

void cohort_comm_release_launcher(void)
{
    const bool has_other_hosts = environment_int("OMPI_COMM_WORLD_LOCAL_SIZE", 0) <
                                 environment_int("OMPI_COMM_WORLD_SIZE", 0);
    if (has_other_hosts && !cohort_comm_launcher_recovers())
        cohort_launcher_release();
}

void cohort_comm_abandon(cohort_comm *comm)
{
    comm->is_abandoned = true;
}

bool cohort_comm_is_abandoned(const cohort_comm *comm)
{
    return comm->is_abandoned;
}

int cohort_comm_rank(const cohort_comm *comm)
{
    return comm->rank;
}

int cohort_comm_size(const cohort_comm *comm)
{
    return comm->size;
}

int cohort_comm_node_rank(const cohort_comm *comm)
{
    return comm->node_rank;
}

int cohort_comm_node_size(const cohort_comm *comm)
{
    return comm->node_size;
}

int cohort_comm_node_index(const cohort_comm *comm)
{
    return comm->node_index;
}

int cohort_comm_node_count(const cohort_comm *comm)
{
    return comm->node_count;
}

const char *cohort_comm_host(const cohort_comm *comm, int rank)
{
    return rank >= 0 && rank < comm->size ? comm->hosts[rank] : "?";
}

bool cohort_comm_is_crowded(const cohort_comm *comm)
{
    return comm->crowded;
}

void cohort_comm_library(char *text, size_t bytes)
{
    char name[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(name, &length);
    /* "Open MPI v4.1.4, package: Debian OpenMPI, ident: …" */
    snprintf(text, bytes, "%.*s", (int)strcspn(name, ",\n"), name);
}
