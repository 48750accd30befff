#include "comm/mail.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/memory.h"
#include "comm/internal.h"
#include "comm/lookout.h"

enum { TAG_MAIL = 11 };

/* A parcel under way to one rank. */
typedef struct sending {
    MPI_Request request;
    cohort_parcel *parcel;
    int rank;
} sending;

/* What is coming from one rank. */
typedef struct receiving {
    MPI_Request request;
    unsigned char *data;
    size_t bytes, capacity;
    bool is_under_way, is_deaf; /* deaf: it has sent what cannot be taken */
} receiving;

struct cohort_mail {
    cohort_comm *comm;
    MPI_Comm world; /* of its own: nobody else's messages are seen */
    size_t most_bytes;
    sending *sendings;
    size_t sending_count, sending_capacity;
    receiving *receivings; /* [size] */
    int next;              /* whose turn it is */
    unsigned idle;         /* calls of idle since the last message */
};

cohort_status cohort_parcel_create(cohort_parcel **out, size_t bytes)
{
    *out = NULL;
    cohort_parcel *parcel = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&parcel, 1));
    cohort_status status = cohort_allocate((void **)&parcel->data, bytes, 1);
    if (status != COHORT_OK) {
        cohort_free(parcel);
        return status;
    }
    parcel->bytes = bytes;
    parcel->holders = 1;
    *out = parcel;
    return COHORT_OK;
}

void cohort_parcel_release(cohort_parcel *parcel)
{
    if (!parcel || --parcel->holders > 0)
        return;
    cohort_free(parcel->data);
    cohort_free(parcel);
}

cohort_status cohort_mail_set_limit(cohort_mail *mail, size_t most_bytes)
{
    COHORT_REQUIRE(most_bytes <= INT_MAX, COHORT_USAGE,
                   "a message of %zu bytes is more than MPI carries at once (%d); make the network "
                   "smaller",
                   most_bytes, INT_MAX);
    mail->most_bytes = most_bytes;
    return COHORT_OK;
}

cohort_status cohort_mail_give_up(cohort_mail *mail)
{
    return cohort_comm_break(mail->comm);
}

cohort_status cohort_mail_open(cohort_mail **out, cohort_comm *comm, size_t most_bytes)
{
    cohort_mail *mail = NULL;
    *out = NULL;
    cohort_status status = COHORT_ALLOCATE(&mail, 1);
    if (status == COHORT_OK)
        status = COHORT_ALLOCATE(&mail->receivings, (size_t)cohort_comm_size(comm));
    if (mail)
        mail->world = MPI_COMM_NULL;
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    mail->comm = comm;
    COHORT_TRY_DONE(status, cohort_mail_set_limit(mail, most_bytes));
    if (comm->size > 1) {
        MPI_Request request;
        COHORT_TRY_DONE(status,
                        cohort_comm_check(comm, MPI_Comm_idup(comm->world, &mail->world, &request),
                                          "start-up"));
        COHORT_TRY_DONE(status, cohort_comm_wait(comm, &request, 1, COHORT_SCOPE_ALL, "start-up"));
        MPI_Comm_set_errhandler(mail->world, MPI_ERRORS_RETURN);
    }
    cohort_lookout_end(); /* from here on the run goes on without ranks that die */
    *out = mail;
    mail = NULL;
done:
    cohort_mail_close(mail);
    return status;
}

/* Drops what has been sent. */
static void progress(cohort_mail *mail)
{
    for (size_t i = 0; i < mail->sending_count;) {
        sending *at = &mail->sendings[i];
        int is_done = 0;
        if (MPI_Test(&at->request, &is_done, MPI_STATUS_IGNORE) != MPI_SUCCESS || !is_done) {
            i++;
            continue;
        }
        cohort_parcel_release(at->parcel);
        *at = mail->sendings[--mail->sending_count];
    }
}

void cohort_mail_close(cohort_mail *mail)
{
    if (!mail)
        return;
    progress(mail);
    /* What is still under way belongs to MPI until the process ends. */
    for (int rank = 0; mail->receivings && mail->comm && rank < mail->comm->size; rank++)
        if (!mail->receivings[rank].is_under_way)
            cohort_free(mail->receivings[rank].data);
    cohort_free(mail->receivings);
    free(mail->sendings);
    cohort_free(mail);
}

cohort_status cohort_mail_send(cohort_mail *mail, int rank, cohort_parcel *parcel)
{
    COHORT_REQUIRE(parcel->bytes <= mail->most_bytes, COHORT_INTERNAL,
                   "a message of %zu bytes where %zu are the most", parcel->bytes,
                   mail->most_bytes);
    progress(mail);
    COHORT_TRY(cohort_grow((void **)&mail->sendings, &mail->sending_capacity,
                           mail->sending_count + 1, sizeof *mail->sendings));
    sending *made = &mail->sendings[mail->sending_count];
    *made = (sending){.request = MPI_REQUEST_NULL, .parcel = parcel, .rank = rank};
    if (MPI_Isend(parcel->data, (int)parcel->bytes, MPI_BYTE, rank, TAG_MAIL, mail->world,
                  &made->request) != MPI_SUCCESS)
        return COHORT_OK;
    parcel->holders++;
    mail->sending_count++;
    return COHORT_OK;
}

bool cohort_mail_is_pending(cohort_mail *mail, int rank)
{
    progress(mail);
    for (size_t i = 0; i < mail->sending_count; i++)
        if (mail->sendings[i].rank == rank)
            return true;
    return false;
}

/* Begins to take what RANK has sent, if it has. */
static cohort_status begin(cohort_mail *mail, receiving *from, int rank)
{
    MPI_Message message;
    MPI_Status about;
    int is_there = 0, bytes = 0;
    if (from->is_deaf ||
        MPI_Iprobe(rank, TAG_MAIL, mail->world, &is_there, &about) != MPI_SUCCESS || !is_there)
        return COHORT_OK;
    MPI_Get_count(&about, MPI_BYTE, &bytes);
    from->is_deaf = bytes < 0 || (size_t)bytes > mail->most_bytes;
    if (from->is_deaf)
        return COHORT_OK;
    if ((size_t)bytes > from->capacity) {
        cohort_free(from->data);
        from->capacity = 0;
        COHORT_TRY(cohort_allocate((void **)&from->data, (size_t)bytes, 1));
        from->capacity = (size_t)bytes;
    }
    if (MPI_Improbe(rank, TAG_MAIL, mail->world, &is_there, &message, &about) != MPI_SUCCESS ||
        !is_there || MPI_Imrecv(from->data, bytes, MPI_BYTE, &message, &from->request))
        return COHORT_OK;
    from->bytes = (size_t)bytes;
    from->is_under_way = true;
    return COHORT_OK;
}

cohort_status cohort_mail_receive(cohort_mail *mail, int *from, const unsigned char **data,
                                  size_t *bytes)
{
    const int size = mail->comm->size;
    *from = -1;
    progress(mail);
    for (int turn = 0; turn < size; turn++) {
        const int rank = (mail->next + turn) % size;
        receiving *at = &mail->receivings[rank];
        int is_done = 0;
        if (!at->is_under_way)
            COHORT_TRY(begin(mail, at, rank));
        if (!at->is_under_way || MPI_Test(&at->request, &is_done, MPI_STATUS_IGNORE) || !is_done)
            continue;
        at->is_under_way = false;
        mail->next = (rank + 1) % size;
        mail->idle = 0;
        *from = rank;
        *data = at->data;
        *bytes = at->bytes;
        return COHORT_OK;
    }
    return COHORT_OK;
}

void cohort_mail_idle(cohort_mail *mail)
{
    enum { SHORT = 20000, LONG = 1000000, GROWTH = 50 }; /* nanoseconds; calls */
    const long pause = mail->idle < GROWTH ? SHORT : LONG;
    mail->idle++;
    nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
}

/* What RANK has on this node's board; NULL if it is elsewhere, or its process cannot be seen. */
static cohort_presence *presence_of(const cohort_mail *mail, int rank)
{
    const cohort_comm *comm = mail->comm;
    for (int i = 0; comm->sees_pids && i < comm->node_size; i++)
        if (comm->node_ranks[i] == rank)
            return &comm->board[i];
    return NULL;
}

bool cohort_mail_is_dead(const cohort_mail *mail, int rank)
{
    cohort_presence *presence = presence_of(mail, rank);
    return presence && cohort_presence_is_dead(presence);
}

void cohort_mail_kill(const cohort_mail *mail, int rank)
{
    cohort_presence *presence = presence_of(mail, rank);
    if (presence && !cohort_presence_is_dead(presence))
        kill((pid_t)atomic_load(&presence->pid), SIGKILL);
}
