#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "comm/internal.h"

/* Polls before the processor is given away: some 50 us of pauses when every rank has a
 * core, next to none when ranks share cores. */
enum { POLLS_OF_SPIN = 2048, POLLS_OF_SPIN_CROWDED = 16 };
static const double SLEEP_AFTER = 0.1;       /* seconds of waiting: latency no longer matters */
static const double SERVICE_INTERVAL = 0.05; /* looking for questions and dead ranks */
/* How long other nodes get to answer: as long as the deadline, within these. */
static const double LEAST_ANSWER_TIME = 0.5, MOST_ANSWER_TIME = 2.0;
/* Until another host has reported and ended the job, where the launcher may be waiting for hosts
 * that are cut off (launcher.c); and between the ends of two ranks when it does end it. */
static const double REPORT_TIME = 8, END_TIME = 0.3;

enum { TAG_QUESTION = 1, TAG_ANSWER = 2, NAMED_RANKS = 6 };

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void nap(void)
{
    /* An interrupted nap is only shorter: signals need no care here. */
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

void cohort_comm_set_stop(cohort_comm *comm, bool (*asked)(void *context), void *context)
{
    comm->stop = asked;
    comm->stop_context = context;
}

bool cohort_comm_has_stop(const cohort_comm *comm)
{
    return comm->stop != NULL;
}

cohort_status cohort_comm_check_stop(const cohort_comm *comm, const char *doing)
{
    COHORT_REQUIRE(!comm->stop || !comm->stop(comm->stop_context), COHORT_STOPPED,
                   "stopped by a signal while %s; run the same command again", doing);
    return COHORT_OK;
}

void cohort_comm_set_timeout(cohort_comm *comm, double seconds)
{
    comm->timeout = seconds;
}

void cohort_comm_set_phase(cohort_comm *comm, const char *format, ...)
{
    if (!comm->board)
        return;
    union {
        char text[COHORT_PHASE_BYTES];
        uint64_t words[COHORT_PHASE_WORDS];
    } phase = {.words = {0}};
    va_list args;
    va_start(args, format);
    vsnprintf(phase.text, sizeof phase.text, format, args);
    va_end(args);
    /* A sequence lock with one writer: readers retry on odd or changed versions. */
    cohort_presence *mine = &comm->board[comm->node_rank];
    uint64_t version = atomic_load_explicit(&mine->version, memory_order_relaxed);
    atomic_store_explicit(&mine->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    for (int i = 0; i < COHORT_PHASE_WORDS; i++)
        atomic_store_explicit(&mine->phase[i], phase.words[i], memory_order_relaxed);
    atomic_store_explicit(&mine->version, version + 2, memory_order_release);
}

/* A writer stopped half-way must not hold us up: after some tries the text is taken as
 * it is (at worst a mixture of two phases). */
static void read_phase(char *text, cohort_presence *presence)
{
    uint64_t words[COHORT_PHASE_WORDS];
    for (int attempt = 0; attempt < 100; attempt++) {
        uint64_t before = atomic_load_explicit(&presence->version, memory_order_acquire);
        for (int i = 0; i < COHORT_PHASE_WORDS; i++)
            words[i] = atomic_load_explicit(&presence->phase[i], memory_order_relaxed);
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) &&
            before == atomic_load_explicit(&presence->version, memory_order_relaxed))
            break;
    }
    memcpy(text, words, COHORT_PHASE_BYTES);
    text[COHORT_PHASE_BYTES - 1] = '\0';
}

cohort_status cohort_comm_enter(cohort_comm *comm, cohort_scope scope)
{
    if (comm->is_broken)
        return COHORT_FAIL(COHORT_PEER, "%s", comm->failure);
    uint64_t *count = scope == COHORT_SCOPE_ALL ? &comm->sequence : &comm->node_sequence;
    ++*count;
    if (comm->board) {
        cohort_presence *mine = &comm->board[comm->node_rank];
        atomic_store_explicit(scope == COHORT_SCOPE_ALL ? &mine->sequence : &mine->node_sequence,
                              *count, memory_order_release);
    }
    return COHORT_OK;
}

cohort_status cohort_comm_break(cohort_comm *comm)
{
    if (comm->is_broken)
        return COHORT_PEER;
    comm->is_broken = true;
    /* The first of the node to notice reports it: others may be far from their deadline. */
    uint32_t none = 0;
    comm->speaks = !comm->board || atomic_compare_exchange_strong(&comm->board[0].speaker, &none,
                                                                  (uint32_t)comm->rank + 1);
    snprintf(comm->failure, sizeof comm->failure, "%s", cohort_error_message());
    if (!comm->whole)
        return COHORT_PEER;
    /* Messages number a part's ranks from 0. */
    (void)cohort_error_prefix(COHORT_PEER, "in a group of %d ranks (its rank %d is the job's %d)",
                              comm->size, comm->rank, comm->whole->rank);
    return cohort_comm_break(comm->whole);
}

bool cohort_comm_is_broken(const cohort_comm *comm)
{
    return comm->is_broken;
}

bool cohort_comm_is_speaker(const cohort_comm *comm)
{
    return comm->is_broken ? comm->speaks : comm->rank == 0;
}

cohort_status cohort_comm_check(cohort_comm *comm, int code, const char *what)
{
    if (code == MPI_SUCCESS)
        return COHORT_OK;
    char text[MPI_MAX_ERROR_STRING + 1] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    for (char *at = text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    (void)COHORT_FAIL(COHORT_PEER, "%s failed on rank %d (%s): %s; see the other ranks' messages",
                      what, comm->rank, comm->hosts ? comm->hosts[comm->rank] : "this host", text);
    return cohort_comm_break(comm);
}

/* The state of process PID, 'X' when there is none, and when it began. */
static char read_process(unsigned long long *born, uint32_t pid)
{
    char path[48], text[1024] = "", state = 'X';
    *born = 0;
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 'X';
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    const char *at = strrchr(text, ')'); /* the name in brackets may hold anything */
    if (!at || sscanf(at + 1,
                      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                      "%*s %llu",
                      &state, born) != 2)
        return 'X';
    return state;
}

uint64_t cohort_process_born(uint32_t pid)
{
    unsigned long long born;
    const char state = read_process(&born, pid);
    return state == 'Z' || state == 'X' ? 0 : born;
}

char cohort_process_state(uint32_t pid)
{
    unsigned long long born;
    return read_process(&born, pid);
}

bool cohort_presence_is_dead(cohort_presence *presence)
{
    return cohort_process_born(atomic_load(&presence->pid)) != atomic_load(&presence->born);
}

/* Fills REPORTS [node_size] with what this node's board says of its ranks. */
static void report_node(cohort_comm *comm, cohort_report *reports)
{
    for (int i = 0; comm->board && i < comm->node_size; i++) {
        cohort_report *report = &reports[i];
        const char state =
            comm->sees_pids ? cohort_process_state(atomic_load(&comm->board[i].pid)) : 'R';
        report->rank = comm->node_ranks[i];
        report->answered = 1;
        report->is_stopped = state == 'T' || state == 't';
        report->sequence = atomic_load_explicit(&comm->board[i].sequence, memory_order_acquire);
        read_phase(report->phase, &comm->board[i]);
    }
}

/* Tells who asks what this node's ranks are doing. One answer is under way at a time;
 * further questions wait in MPI's queue. Best effort: errors show as silence. */
static void answer_questions(cohort_comm *comm)
{
    if (comm->control == MPI_COMM_NULL || !comm->board)
        return;
    int is_sent = 0, is_asked = 0;
    MPI_Status status;
    if (MPI_Test(&comm->answer_request, &is_sent, MPI_STATUS_IGNORE) || !is_sent ||
        MPI_Iprobe(MPI_ANY_SOURCE, TAG_QUESTION, comm->control, &is_asked, &status) || !is_asked)
        return;
    int asker = status.MPI_SOURCE;
    if (MPI_Recv(NULL, 0, MPI_BYTE, asker, TAG_QUESTION, comm->control, MPI_STATUS_IGNORE))
        return;
    report_node(comm, comm->answer);
    MPI_Isend(comm->answer, comm->node_size * (int)sizeof *comm->answer, MPI_BYTE, asker,
              TAG_ANSWER, comm->control, &comm->answer_request);
}

/* Takes one answer, if there is one: true. The answering rank vouches for its node. */
static bool take_answer(cohort_comm *comm, cohort_report *buffer, bool *has_answered)
{
    int is_there = 0, bytes = 0;
    MPI_Status status;
    if (MPI_Iprobe(MPI_ANY_SOURCE, TAG_ANSWER, comm->control, &is_there, &status) || !is_there ||
        MPI_Get_count(&status, MPI_BYTE, &bytes) || bytes < 0 ||
        (size_t)bytes > (size_t)comm->size * sizeof *buffer ||
        MPI_Recv(buffer, bytes, MPI_BYTE, status.MPI_SOURCE, TAG_ANSWER, comm->control,
                 MPI_STATUS_IGNORE))
        return false;
    has_answered[status.MPI_SOURCE] = true;
    for (size_t i = 0; i < (size_t)bytes / sizeof *buffer; i++)
        if (buffer[i].rank >= 0 && buffer[i].rank < comm->size)
            comm->reports[buffer[i].rank] = buffer[i];
    return true;
}

/* Asks the ranks of other nodes and gathers answers until all came or time is over. */
static void ask_other_nodes(cohort_comm *comm, double seconds)
{
    size_t size = (size_t)comm->size;
    cohort_report buffer[size];
    bool has_answered[size];
    for (int rank = 0; rank < comm->size; rank++) {
        has_answered[rank] = comm->node_of[rank] == comm->node_index;
        MPI_Request request;
        if (!has_answered[rank] && MPI_Isend(NULL, 0, MPI_BYTE, rank, TAG_QUESTION, comm->control,
                                             &request) == MPI_SUCCESS)
            MPI_Request_free(&request);
    }
    double end = cohort_clock_seconds() + fmin(fmax(seconds, LEAST_ANSWER_TIME), MOST_ANSWER_TIME);
    for (bool all = false; !all && cohort_clock_seconds() < end;) {
        answer_questions(comm);
        if (!take_answer(comm, buffer, has_answered))
            nap();
        all = true;
        for (int rank = 0; rank < comm->size; rank++)
            all = all && has_answered[rank];
    }
}

/* "rank 2 on host (step 120: backward)" */
static void name_rank(cohort_text *text, const cohort_comm *comm, int rank)
{
    const cohort_report *report = &comm->reports[rank];
    cohort_text_append(text, "%srank %d on %s (last: %s)", text->length ? ", " : "", rank,
                       comm->hosts[rank],
                       !report->answered  ? "its host gives no answer"
                       : report->phase[0] ? report->phase
                                          : "starting");
}

/* Whether RANK has not entered the collective this rank waits in. */
static bool is_missing(const cohort_waiter *waiter, int rank)
{
    const cohort_comm *comm = waiter->comm;
    if (rank == comm->rank)
        return false;
    if (waiter->scope == COHORT_SCOPE_ALL)
        return !comm->reports[rank].answered || comm->reports[rank].sequence < comm->sequence;
    for (int i = 0; comm->board && i < comm->node_size; i++)
        if (comm->node_ranks[i] == rank)
            return atomic_load(&comm->board[i].node_sequence) < comm->node_sequence;
    return false;
}

static void gather_reports(const cohort_waiter *waiter)
{
    cohort_comm *comm = waiter->comm;
    memset(comm->reports, 0, (size_t)comm->size * sizeof *comm->reports);
    report_node(comm, comm->answer);
    for (int i = 0; comm->board && i < comm->node_size; i++)
        comm->reports[comm->node_ranks[i]] = comm->answer[i];
    if (waiter->scope == COHORT_SCOPE_ALL && comm->control != MPI_COMM_NULL && comm->board)
        ask_other_nodes(comm, waiter->timeout);
}

/* Others may be waiting for a stopped rank within their host, and it may have arrived before. */
static bool is_stopped_anywhere(const cohort_waiter *waiter)
{
    const cohort_comm *comm = waiter->comm;
    for (int rank = 0; rank < comm->size; rank++)
        if (comm->reports[rank].is_stopped)
            return true;
    return false;
}

/* The deadline is over: finds out who is missing and says so. */
static cohort_status report_missing(const cohort_waiter *waiter)
{
    cohort_comm *comm = waiter->comm;
    if (!comm->board)
        return COHORT_FAIL(COHORT_PEER,
                           "start-up (%s) did not complete on rank %d within %g s: a "
                           "rank did not start or hosts cannot reach each other; see the "
                           "launcher's messages",
                           waiter->what, comm->rank, waiter->timeout);
    gather_reports(waiter);
    cohort_text names = {0};
    int missing = 0, silent = 0;
    const bool stopped = is_stopped_anywhere(waiter);
    comm->first_arrived = comm->rank;
    for (int rank = comm->size - 1; rank >= 0; rank--)
        if (!is_missing(waiter, rank) && !comm->reports[rank].is_stopped &&
            (waiter->scope == COHORT_SCOPE_ALL || comm->node_of[rank] == comm->node_index))
            comm->first_arrived = rank;
    for (int rank = 0; rank < comm->size; rank++)
        if (stopped ? comm->reports[rank].is_stopped : is_missing(waiter, rank)) {
            silent += !comm->reports[rank].answered;
            if (++missing <= NAMED_RANKS)
                name_rank(&names, comm, rank);
        }
    if (missing > NAMED_RANKS)
        cohort_text_append(&names, " and %d more", missing - NAMED_RANKS);
    if (missing)
        (void)COHORT_FAIL(COHORT_PEER, "%s did not arrive at %s within %g s: %s",
                          names.data ? names.data : "?", waiter->what, waiter->timeout,
                          stopped  ? "stopped by a signal; look there, and run the same command "
                                     "again"
                          : silent ? "a host is down or the network to it is cut; look there, or "
                                     "raise comm.timeout"
                                   : "killed, stopped or stuck; look there, or raise comm.timeout");
    else
        (void)COHORT_FAIL(COHORT_PEER,
                          "%s did not complete within %g s though all ranks arrived "
                          "(rank %d on %s waits): the network between hosts is cut or slow; check "
                          "it, or raise comm.timeout",
                          waiter->what, waiter->timeout, comm->rank, comm->hosts[comm->rank]);
    cohort_text_clear(&names);
    return COHORT_PEER;
}

/* A rank of this node whose process is gone ends the wait at once. */
static cohort_status check_processes(const cohort_waiter *waiter)
{
    cohort_comm *comm = waiter->comm;
    for (int i = 0; comm->sees_pids && i < comm->node_size; i++) {
        if (!cohort_presence_is_dead(&comm->board[i]) ||
            atomic_load(&comm->board[i].leaving) == COHORT_OVER)
            continue;
        char phase[COHORT_PHASE_BYTES];
        read_phase(phase, &comm->board[i]);
        int rank = comm->node_ranks[i];
        return COHORT_FAIL(COHORT_PEER,
                           "rank %d on %s has died (last: %s), before %s was complete: "
                           "killed, out of memory or crashed; run the same command again to "
                           "continue",
                           rank, comm->hosts[rank], phase[0] ? phase : "starting", waiter->what);
    }
    return COHORT_OK;
}

cohort_status cohort_comm_look(cohort_comm *comm)
{
    if (comm->is_broken)
        return COHORT_FAIL(COHORT_PEER, "%s", comm->failure);
    const cohort_waiter waiter = cohort_waiter_make(comm, COHORT_SCOPE_NODE, "the work", 0);
    const cohort_status status = comm->board ? check_processes(&waiter) : COHORT_OK;
    return status == COHORT_OK ? COHORT_OK : cohort_comm_break(comm);
}

cohort_status cohort_comm_lose(cohort_comm *comm)
{
    return cohort_comm_break(comm);
}

cohort_waiter cohort_waiter_make(cohort_comm *comm, cohort_scope scope, const char *what,
                                 double timeout)
{
    return (cohort_waiter){.comm = comm, .what = what, .scope = scope, .timeout = timeout};
}

/* Goes on answering while another host reports and the launcher ends this rank, for which it sends
 * signals: they must not end this wait. */
static void let_others_report(cohort_comm *comm, double seconds)
{
    const double end = cohort_clock_seconds() + seconds;
    while (cohort_clock_seconds() < end) {
        answer_questions(comm);
        nap();
    }
}

cohort_status cohort_waiter_poll(cohort_waiter *waiter)
{
    cohort_comm *comm = waiter->comm;
    if (++waiter->polls < (comm->crowded ? POLLS_OF_SPIN_CROWDED : POLLS_OF_SPIN)) {
        relax();
        return COHORT_OK;
    }
    double now = cohort_clock_seconds();
    if (waiter->start <= 0) {
        waiter->start = now;
        waiter->next_service = now + SERVICE_INTERVAL;
    }
    if (now - waiter->start < SLEEP_AFTER)
        sched_yield();
    else
        nap();
    if (now < waiter->next_service)
        return COHORT_OK;
    waiter->next_service = now + SERVICE_INTERVAL;
    answer_questions(comm);
    comm->first_arrived = comm->rank;
    cohort_status status = check_processes(waiter);
    const bool has_died = status != COHORT_OK;
    if (status == COHORT_OK && cohort_comm_regroup_is_asked(comm))
        status = COHORT_FAIL(COHORT_PEER, "another rank has given up before %s was complete",
                             waiter->what);
    if (status == COHORT_OK && waiter->timeout > 0 && now - waiter->start > waiter->timeout) {
        status = report_missing(waiter);
        comm->timed_out = true;
    }
    if (status == COHORT_OK)
        return COHORT_OK;
    /* The host of the lowest rank that waits reports for all, and aborts. A rank that has died here
     * may be the first that the launcher ends after that. */
    if (comm->board && comm->node_count > 1 && comm->lifeline == MPI_COMM_NULL) {
        const bool is_here = comm->node_of[comm->first_arrived] == comm->node_index;
        let_others_report(comm, !is_here ? REPORT_TIME : has_died ? END_TIME : 0);
    }
    return cohort_comm_break(comm);
}

cohort_status cohort_comm_wait(cohort_comm *comm, MPI_Request *requests, int count,
                               cohort_scope scope, const char *what)
{
    cohort_waiter waiter = cohort_waiter_make(comm, scope, what, comm->timeout);
    for (;;) {
        int is_done = 0;
        COHORT_TRY(cohort_comm_check(
            comm, MPI_Testall(count, requests, &is_done, MPI_STATUSES_IGNORE), what));
        if (is_done)
            return COHORT_OK;
        COHORT_TRY(cohort_waiter_poll(&waiter));
    }
}
