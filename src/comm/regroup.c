/* Going on without lost ranks.
 *
 * Who notices that a collective cannot complete tells all others that may still be there (a
 * report: how far its work is, who has certainly died), and hears theirs. The lowest rank that
 * is left decides who belongs to the new communicator and tells them. Ranks that are silent
 * beyond the deadline are left out: those on a host with members are killed by them, so that
 * they cannot come back and write; elsewhere only a minority may be left out, so that no two
 * groups go on. All this goes point-to-point over the lifeline, a duplicate of the first
 * communicator, of which MPI_Comm_create_group also makes the new one: collective over its
 * members alone, so it does not mind the dead. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "comm/internal.h"
#include "comm/lookout.h"

/* Who dies together is lost together: so long is waited for more. */
static const double SETTLE = 0.15;
/* After a deadline the others wait in the same collective and answer soon. */
static const double ANSWER_TIME = 3;
static const double BUILD_TIME = 20;

enum { TAG_WORD = 1, NAMED = 6 };

typedef enum word_kind { WORD_REPORT, WORD_DECISION } word_kind;

/* A message; behind it one byte for each rank: dead (report), a member (decision). */
typedef struct word {
    int32_t kind, generation;
    int32_t rank;   /* who sends */
    int32_t source; /* decision: the rank that is farthest */
    uint64_t major, minor;
    int32_t is_over, unused;
    unsigned char marks[];
} word;

typedef enum mark { UNKNOWN, PRESENT, DEAD } mark;

/* The state of one regrouping; ranks are those of the communicator that broke. */
typedef struct council {
    cohort_comm *comm;
    int rank, size; /* of COMM before */
    size_t word_bytes;
    word *heard;                /* received */
    mark *marks;                /* [size] */
    cohort_position *positions; /* [size] of those present */
    bool is_over, is_decided;
    int source;
    double start, deadline;
    cohort_loss_report *report;
} council;

bool cohort_comm_launcher_recovers(void)
{
    const char *set = getenv("OMPI_MCA_orte_enable_recovery");
    return set && strcmp(set, "0") != 0 && strcmp(set, "false") != 0;
}

cohort_status cohort_comm_allow_loss(cohort_comm *comm)
{
    cohort_lookout_end();
    if (comm->size == 1)
        return COHORT_OK;
    cohort_status status = COHORT_ALLOCATE(&comm->lifeline_rank, (size_t)comm->size);
    COHORT_TRY(cohort_comm_agree(comm, status));
    const cohort_lookout_watch before = cohort_comm_enter_mpi(comm, "start-up");
    const int made = MPI_Comm_dup(comm->world, &comm->lifeline);
    cohort_lookout_leave(before);
    COHORT_TRY(cohort_comm_check(comm, made, "start-up"));
    MPI_Comm_set_errhandler(comm->lifeline, MPI_ERRORS_RETURN);
    for (int rank = 0; rank < comm->size; rank++)
        comm->lifeline_rank[rank] = rank;
    return COHORT_OK;
}

bool cohort_comm_may_lose(const cohort_comm *comm)
{
    return comm->lifeline != MPI_COMM_NULL;
}

void cohort_comm_set_over(cohort_comm *comm)
{
    if (comm->board)
        atomic_store(&comm->board[comm->node_rank].leaving, COHORT_OVER);
}

bool cohort_comm_regroup_is_asked(cohort_comm *comm)
{
    if (comm->lifeline == MPI_COMM_NULL)
        return false;
    for (int i = 0; comm->board && i < comm->node_size; i++)
        if (atomic_load(&comm->board[i].leaving) & COHORT_REGROUPS)
            return true;
    /* Words of earlier regroupings, from ranks that were left out, say nothing any more. */
    int is_there = 0;
    return MPI_Iprobe(MPI_ANY_SOURCE, TAG_WORD + comm->generation, comm->lifeline, &is_there,
                      MPI_STATUS_IGNORE) == MPI_SUCCESS &&
           is_there;
}

/* --- Words ----------------------------------------------------------------------- */

/* Tells all who may hear it. MPI reads the buffer until then, so each has one of its own. */
static void tell(council *c, word_kind kind)
{
    cohort_comm *comm = c->comm;
    const cohort_position *at = &c->positions[kind == WORD_REPORT ? comm->rank : c->source];
    for (int rank = 0; rank < comm->size; rank++) {
        word *copy = NULL;
        if (rank == comm->rank || c->marks[rank] == DEAD ||
            cohort_allocate((void **)&copy, c->word_bytes, 1) != COHORT_OK)
            continue;
        *copy = (word){.kind = kind,
                       .generation = comm->generation,
                       .rank = comm->rank,
                       .source = c->source,
                       .major = at->major,
                       .minor = at->minor,
                       .is_over = c->is_over};
        for (int r = 0; r < comm->size; r++)
            copy->marks[r] = c->marks[r] == (kind == WORD_REPORT ? DEAD : PRESENT);
        /* The request and the copy are left to MPI: the receiver may never take it. */
        MPI_Request request;
        if (MPI_Isend(copy, (int)c->word_bytes, MPI_BYTE, comm->lifeline_rank[rank],
                      TAG_WORD + comm->generation, comm->lifeline, &request) == MPI_SUCCESS)
            MPI_Request_free(&request);
    }
}

static void take_report(council *c, const word *heard)
{
    const int from = heard->rank;
    if (c->marks[from] == UNKNOWN)
        c->marks[from] = PRESENT;
    c->positions[from] = (cohort_position){heard->major, heard->minor};
    c->is_over = c->is_over || heard->is_over;
    for (int r = 0; r < c->comm->size; r++)
        if (heard->marks[r] && r != c->comm->rank)
            c->marks[r] = DEAD;
}

static void take_decision(council *c, const word *heard)
{
    for (int r = 0; r < c->comm->size; r++)
        c->marks[r] = heard->marks[r] ? PRESENT : c->marks[r] == DEAD ? DEAD : UNKNOWN;
    c->source = heard->source;
    c->positions[c->source] = (cohort_position){heard->major, heard->minor};
    c->is_over = c->is_over || heard->is_over;
    c->is_decided = true;
}

/* Takes all words that are there. */
static void listen(council *c)
{
    cohort_comm *comm = c->comm;
    int is_there = 0, bytes = 0;
    MPI_Status status;
    while (!c->is_decided &&
           MPI_Iprobe(MPI_ANY_SOURCE, TAG_WORD + comm->generation, comm->lifeline, &is_there,
                      &status) == MPI_SUCCESS &&
           is_there && MPI_Get_count(&status, MPI_BYTE, &bytes) == MPI_SUCCESS &&
           bytes == (int)c->word_bytes &&
           MPI_Recv(c->heard, bytes, MPI_BYTE, status.MPI_SOURCE, TAG_WORD + comm->generation,
                    comm->lifeline, MPI_STATUS_IGNORE) == MPI_SUCCESS) {
        if (c->heard->rank < 0 || c->heard->rank >= comm->size)
            continue;
        if (c->heard->kind == WORD_DECISION)
            take_decision(c, c->heard);
        else
            take_report(c, c->heard);
    }
}

/* --- Who is left --------------------------------------------------------------------- */

/* Marks ranks of this node whose process has ended; true when that is news. */
static bool find_dead(council *c)
{
    cohort_comm *comm = c->comm;
    bool news = false;
    for (int i = 0; comm->sees_pids && i < comm->node_size; i++) {
        const int rank = comm->node_ranks[i];
        const bool is_over = atomic_load(&comm->board[i].leaving) == COHORT_OVER;
        c->is_over = c->is_over || is_over;
        if (c->marks[rank] == DEAD || rank == comm->rank ||
            (!is_over && !cohort_presence_is_dead(&comm->board[i])))
            continue;
        c->marks[rank] = DEAD;
        news = true;
    }
    return news;
}

static bool is_anyone_unknown(const council *c)
{
    for (int rank = 0; rank < c->size; rank++)
        if (c->marks[rank] == UNKNOWN)
            return true;
    return false;
}

static int lowest_present(const council *c)
{
    int rank = 0;
    while (c->marks[rank] != PRESENT)
        rank++;
    return rank;
}

static int count_present(const council *c)
{
    int count = 0;
    for (int rank = 0; rank < c->size; rank++)
        count += c->marks[rank] == PRESENT;
    return count;
}

static bool has_member_on_host_of(const council *c, int lost)
{
    for (int rank = 0; rank < c->comm->size; rank++)
        if (c->marks[rank] == PRESENT && c->comm->node_of[rank] == c->comm->node_of[lost])
            return true;
    return false;
}

/* Ranks that may be alive where nobody can kill them must be fewer than those that go on, or as
 * many without the lowest: of two groups that do not see each other at most one goes on. */
static cohort_status check_majority(const council *c)
{
    const cohort_comm *comm = c->comm;
    int unsure = 0, lowest_unsure = -1;
    for (int rank = comm->size - 1; rank >= 0; rank--)
        if (c->marks[rank] == UNKNOWN && !(comm->sees_pids && has_member_on_host_of(c, rank))) {
            unsure++;
            lowest_unsure = rank;
        }
    const int present = count_present(c);
    COHORT_REQUIRE(unsure < present || (unsure == present && lowest_present(c) < lowest_unsure),
                   COHORT_PEER,
                   "cannot go on: %d ranks give no answer (first rank %d on %s) and may go on by "
                   "themselves, for only %d are left here; run the same command again to continue",
                   unsure, lowest_unsure, comm->hosts[lowest_unsure], present);
    return COHORT_OK;
}

static void decide(council *c)
{
    c->source = lowest_present(c);
    for (int rank = 0; rank < c->comm->size; rank++) {
        const cohort_position *a = &c->positions[rank], *b = &c->positions[c->source];
        if (c->marks[rank] == PRESENT &&
            (a->major > b->major || (a->major == b->major && a->minor > b->minor)))
            c->source = rank;
    }
    c->is_decided = true;
    tell(c, WORD_DECISION);
}

/* Hears all who are left and agrees with them. */
static cohort_status agree_on_members(council *c)
{
    cohort_comm *comm = c->comm;
    double patience = INFINITY; /* for the decision of a rank that was there already */
    tell(c, WORD_REPORT);
    while (!c->is_decided) {
        const double now = cohort_clock_seconds();
        listen(c);
        if (find_dead(c))
            tell(c, WORD_REPORT);
        const bool is_late = now > c->deadline;
        if (is_late && isinf(patience))
            patience = now + fmax(comm->timeout, ANSWER_TIME);
        COHORT_REQUIRE(now < patience, COHORT_PEER,
                       "the ranks that are left could not agree on who is gone; run the same "
                       "command again to continue");
        if (!c->is_decided && now > c->start + SETTLE && (is_late || !is_anyone_unknown(c)) &&
            lowest_present(c) == comm->rank) {
            COHORT_TRY(check_majority(c));
            decide(c);
        }
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    COHORT_REQUIRE(c->marks[comm->rank] == PRESENT, COHORT_PEER,
                   "rank %d on %s was too late: the others went on without it", comm->rank,
                   comm->hosts[comm->rank]);
    return check_majority(c);
}

/* Ends those of this host that were left out but may come back. */
static void fence(const council *c)
{
    cohort_comm *comm = c->comm;
    for (int i = 0; comm->sees_pids && i < comm->node_size; i++) {
        cohort_presence *presence = &comm->board[i];
        if (c->marks[comm->node_ranks[i]] == PRESENT || cohort_presence_is_dead(presence) ||
            atomic_load(&presence->leaving) == COHORT_OVER)
            continue;
        kill((pid_t)atomic_load(&presence->pid), SIGKILL);
        for (int tries = 0; tries < 200 && !cohort_presence_is_dead(presence); tries++)
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

/* --- The new communicator ---------------------------------------------------------------- */

static void name_lost(cohort_loss_report *report, const council *c)
{
    const cohort_comm *comm = c->comm;
    size_t used = 0;
    for (int rank = 0; rank < comm->size; rank++) {
        if (c->marks[rank] == PRESENT || ++report->lost_count > NAMED)
            continue;
        const int length = snprintf(report->lost + used, sizeof report->lost - used,
                                    "%srank %d on %s", used ? ", " : "", rank, comm->hosts[rank]);
        used += (size_t)length < sizeof report->lost - used ? (size_t)length : 0;
    }
    if (report->lost_count > NAMED)
        snprintf(report->lost + used, sizeof report->lost - used, " and %d more",
                 report->lost_count - NAMED);
}

/* COMM over the members. What belonged to the old one stays where it is: MPI may still write to
 * its buffers, and freeing a communicator or window wants all of its ranks. */
static cohort_status rebuild(council *c)
{
    cohort_comm *comm = c->comm;
    const int count = count_present(c);
    int *members = NULL;
    COHORT_TRY(COHORT_ALLOCATE(&members, (size_t)count));
    c->report->source = 0;
    for (int rank = 0, at = 0; rank < comm->size; rank++) {
        if (c->marks[rank] != PRESENT)
            continue;
        if (rank == c->source)
            c->report->source = at;
        members[at++] = comm->lifeline_rank[rank];
    }
    MPI_Comm fresh = MPI_COMM_NULL;
    MPI_Group all, group;
    MPI_Comm_group(comm->lifeline, &all);
    MPI_Group_incl(all, count, members, &group);
    cohort_status status = COHORT_OK;
    if (count > 1)
        status = cohort_comm_check(
            comm, MPI_Comm_create_group(comm->lifeline, group, comm->generation + 1, &fresh),
            "regrouping");
    MPI_Group_free(&all);
    MPI_Group_free(&group);
    COHORT_TRY(status);
    comm->generation++;
    comm->lifeline_rank = members;
    comm->is_broken = comm->speaks = comm->timed_out = false;
    comm->board = NULL;
    comm->board_memory = NULL;
    comm->sequence = comm->node_sequence = 0;
    comm->node_of = comm->node_ranks = NULL;
    comm->hosts = NULL;
    return cohort_comm_build(comm, count > 1 ? &fresh : NULL);
}

/* MPI's own part knows no deadline, nor that a member dies. */
static void watch_rebuild(const council *c)
{
    const cohort_comm *comm = c->comm;
    cohort_lookout_rank *here = NULL;
    int count = 0;
    if (comm->sees_pids && COHORT_ALLOCATE(&here, (size_t)comm->node_size) == COHORT_OK)
        for (int i = 0; i < comm->node_size; i++)
            if (c->marks[comm->node_ranks[i]] == PRESENT)
                here[count++] =
                    (cohort_lookout_rank){.pid = (uint32_t)atomic_load(&comm->board[i].pid),
                                          .born = atomic_load(&comm->board[i].born),
                                          .rank = comm->lifeline_rank[comm->node_ranks[i]]};
    cohort_lookout_expect(here, count, comm->lifeline_rank[lowest_present(c)]);
    cohort_free(here);
    cohort_lookout_begin("regrouping", BUILD_TIME);
}

static cohort_status open_council(council *c, cohort_comm *comm, cohort_position position)
{
    const size_t size = (size_t)comm->size;
    c->comm = comm;
    c->rank = comm->rank;
    c->size = comm->size;
    c->word_bytes = sizeof(word) + size;
    COHORT_TRY(cohort_allocate((void **)&c->heard, c->word_bytes, 1));
    COHORT_TRY(COHORT_ALLOCATE(&c->marks, size));
    COHORT_TRY(COHORT_ALLOCATE(&c->positions, size));
    c->marks[comm->rank] = PRESENT;
    c->positions[comm->rank] = position;
    c->start = cohort_clock_seconds();
    c->deadline = INFINITY;
    if (comm->timed_out)
        c->deadline = c->start + ANSWER_TIME;
    else if (comm->timeout > 0)
        c->deadline = c->start + fmax(comm->timeout, ANSWER_TIME);
    return COHORT_OK;
}

cohort_status cohort_comm_regroup(cohort_loss_report *report, cohort_comm *comm,
                                  cohort_position position, int least)
{
    council c = {.report = report};
    *report = (cohort_loss_report){.before = comm->size};
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE(comm->is_broken && comm->lifeline != MPI_COMM_NULL, COHORT_INTERNAL,
                   "regrouping ranks that are not lost");
    if (comm->board)
        atomic_fetch_or(&comm->board[comm->node_rank].leaving, COHORT_REGROUPS);
    COHORT_TRY_DONE(status, open_council(&c, comm, position));
    COHORT_TRY_DONE(status, agree_on_members(&c));
    fence(&c);
    name_lost(report, &c);
    report->is_source_whole = c.positions[c.source].major > 0;
    report->is_over = c.is_over;
    if (c.is_over)
        goto done;
    COHORT_REQUIRE_DONE(status, count_present(&c) >= least, COHORT_PEER,
                        "lost %s: %d of %d ranks are left, train.min_ranks is %d; run the same "
                        "command again to continue",
                        report->lost, count_present(&c), comm->size, least);
    watch_rebuild(&c);
    status = rebuild(&c);
    cohort_lookout_end();
done:
    if (status != COHORT_OK) {
        comm->is_broken = true;
        comm->lifeline = MPI_COMM_NULL; /* not again */
        comm->speaks = c.marks && lowest_present(&c) == c.rank;
        snprintf(comm->failure, sizeof comm->failure, "%s", cohort_error_message());
    }
    cohort_free(c.heard);
    cohort_free(c.marks);
    cohort_free(c.positions);
    return status;
}
