#include "cli/job_output.h"

#include <stdio.h>
#include <string.h>

enum { LINE_BYTES_MAX = 64 << 10 };

#define LOST_RANK "cohort: rank "
#define GIVES_UP "cohort: cannot go on: "
#define TCP_HEAD "mca_btl_tcp_"

static void pass(cohort_text *text)
{
    if (text->length > 0)
        fwrite(text->data, 1, text->length, stderr);
    fflush(stderr);
    text->length = 0;
}

static bool contains_any(const char *text, const char *const *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(text, parts[i]))
            return true;
    return false;
}

/* "… process rank 2 with PID 0 on node vm exited on signal 9 (Killed)." */
static void read_lost_rank(cohort_job_output *output)
{
    const char *at = strstr(output->block.data, "noticed that process rank ");
    int rank = 0, signal = 0;
    char host[sizeof output->host];
    if (at && output->lost_rank < 0 &&
        sscanf(at, "noticed that process rank %d with PID %*s on node %63s exited on signal %d",
               &rank, host, &signal) == 3) {
        output->lost_rank = rank;
        output->signal = signal;
        memcpy(output->host, host, sizeof host);
    }
}

/* A framed block: mpirun's words on how the job ended, or something a user must see. */
static void end_block(cohort_job_output *output)
{
    static const char *const known[] = {
        "noticed that process rank ",
        "Primary job  terminated normally",
        "MPI_ABORT was invoked on rank",
        "detected that one or more processes exited with non-zero status",
        /* What follows from a lost rank, on every other one. */
        "An MPI communication peer process has unexpectedly disconnected",
    };
    output->in_block = false;
    read_lost_rank(output);
    output->has_parted = output->has_parted || strstr(output->block.data, known[4]);
    /* A cause, unless ranks are being ended already: the session's folder goes first. */
    const bool follows =
        output->has_said && strstr(output->block.data, "A system call failed during "
                                                       "shared memory init");
    if (follows || contains_any(output->block.data, known, sizeof known / sizeof *known)) {
        output->block.length = 0;
    } else if (strstr(output->block.data, "failed to TCP connect to a peer")) {
        /* Follows from a lost rank, too, or tells of a wrong network: the end shows which. */
        cohort_text_append_bytes(&output->held, output->block.data, output->block.length);
        output->block.length = 0;
    } else if (strstr(output->block.data, "unable to reliably start one or more daemons")) {
        /* Said of one that dies later, too, whose ranks go on without it. */
        cohort_text_append_bytes(&output->missed, output->block.data, output->block.length);
        output->block.length = 0;
    }
    pass(&output->block);
}

/* What Open MPI's own server says when a rank it serves is gone, or many say the same. */
static bool is_noise(const char *line)
{
    static const char *const known[] = {
        "] PMIX ERROR: BAD-PARAM in file",
        "] PMIX ERROR: UNREACHABLE in file",
        "orte/util/show_help.c at line",
        "have sent help message help-mpi-api.txt / mpi-abort",
        "has sent help message help-mpi-api.txt / mpi-abort",
        "help message help-opal-shmem-mmap.txt / sys call fail",
        "Set MCA parameter \"orte_base_help_aggregate\" to 0",
        "help message help-mpi-btl-tcp.txt / peer hung up",
        "help message help-mpi-btl-tcp.txt / client connect fail",
        TCP_HEAD, /* what a connection is told at its end */
        "plm:rsh: Warning: setpgid(",
        "[warn] Epoll MOD(", /* libevent in an mpirun whose connections were shut down */
    };
    /* Open MPI writes where it is and what happened one after the other: between them may stand
     * what another rank wrote. */
    static const char *const alone[] = {"mpirun: Forwarding signal", TCP_HEAD,
                                        "invalid connection state ("};
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++)
        if (strncmp(line, alone[i], strlen(alone[i])) == 0)
            return true;
    return line[0] == '[' && contains_any(line, known, sizeof known / sizeof *known);
}

/* A line of ours behind Open MPI's "[host][where] " stands alone from here on. */
static void drop_heads(cohort_text *line)
{
    const char *own = line->data[0] == '[' && strstr(line->data, TCP_HEAD)
                          ? strstr(line->data, "] cohort")
                          : NULL;
    if (!own)
        return;
    own += strlen("] ");
    line->length -= (size_t)(own - line->data);
    memmove(line->data, own, line->length + 1);
}

/* A run that goes on without a rank has said so (train/regroup, federated/coordinate). */
static bool tells_of_loss(const char *line)
{
    static const char warning[] = "cohort: warning: ";
    return strncmp(line, warning, sizeof warning - 1) == 0 &&
           (strstr(line, ": lost rank ") || strstr(line, ") has died\n"));
}

/* Where the launcher is slow to end a job, another host says what the first has said, or misses
 * those, too, that have ended by then. */
static bool is_repeated(const cohort_job_output *output)
{
    const bool misses = output->named.length > 0 &&
                        strncmp(output->line.data, LOST_RANK, strlen(LOST_RANK)) == 0 &&
                        strstr(output->line.data, " did not arrive at ");
    const bool is_same = output->named.length > 0 && output->named.length == output->line.length &&
                         memcmp(output->named.data, output->line.data, output->line.length) == 0;
    /* A call of MPI that never ends is given up on by every rank in it (comm/lookout.h), and a
     * regrouping by each that is left on a host that was cut off. */
    return is_same || misses ||
           (output->has_said && (strstr(output->line.data, " did not complete on rank ") ||
                                 strncmp(output->line.data, GIVES_UP, strlen(GIVES_UP)) == 0));
}

static bool is_frame(const char *line)
{
    return strspn(line, "-") >= 60 && line[strspn(line, "-")] == '\n';
}

static void take_line(cohort_job_output *output)
{
    cohort_text *line = &output->line;
    const bool frame = is_frame(line->data);
    drop_heads(line);
    if (output->in_block || frame) {
        cohort_text_append_bytes(&output->block, line->data, line->length);
        if (frame && output->in_block)
            end_block(output);
        else
            output->in_block = true;
    } else if (strncmp(line->data, COHORT_JOB_OUTCOME, strlen(COHORT_JOB_OUTCOME)) == 0) {
        int code = -1;
        if (sscanf(line->data + strlen(COHORT_JOB_OUTCOME), "%d", &code) == 1 &&
            output->outcome != 0)
            output->outcome = code;
    } else if (line->data[0] != '\n' && !is_noise(line->data) && !is_repeated(output)) {
        if (strncmp(line->data, LOST_RANK, strlen(LOST_RANK)) == 0 && output->named.length == 0)
            cohort_text_append_bytes(&output->named, line->data, line->length);
        output->has_said = output->has_said || (strncmp(line->data, "cohort: ", 8) == 0 &&
                                                strncmp(line->data + 8, "warning: ", 9) != 0);
        output->has_parted = output->has_parted || tells_of_loss(line->data);
        pass(line);
    }
    line->length = 0;
}

void cohort_job_output_take(cohort_job_output *output, const char *bytes, size_t count)
{
    while (count > 0) {
        const char *end = memchr(bytes, '\n', count);
        const size_t part = end ? (size_t)(end - bytes) + 1 : count;
        cohort_text_append_bytes(&output->line, bytes, part);
        if (!output->line.failed && (end || output->line.length > LINE_BYTES_MAX))
            take_line(output);
        bytes += part;
        count -= part;
    }
}

void cohort_job_output_flush(cohort_job_output *output)
{
    if (output->line.length > 0)
        take_line(output);
    pass(&output->block);
    output->in_block = false;
    if (!output->has_parted && output->lost_rank < 0)
        pass(&output->held);
    if (output->outcome != 0)
        pass(&output->missed);
}

void cohort_job_output_clear(cohort_job_output *output)
{
    cohort_text_clear(&output->line);
    cohort_text_clear(&output->block);
    cohort_text_clear(&output->held);
    cohort_text_clear(&output->missed);
    cohort_text_clear(&output->named);
}
