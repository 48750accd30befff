/* Loaded into the ranks of a deployment in front of MPI (LD_PRELOAD), to hit clients at an exact
 * place in the protocol: STRIKE="KIND ROUND SIGNAL RANK…" raises SIGNAL (a number) in each RANK
 * just before it sends its message of KIND (federated/deploy_private.h) in ROUND (from 0).
 * STRIKE_KEEP=PREFIX appends the vectors of KEEP_KIND's messages to PREFIX.RANK. */
#include <mpi.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 128, ROUND_AT = 8, TAG_MAIL = 11, KEEP_KIND = 3 };

static void strike(const char *how, uint32_t kind, uint64_t round, int rank)
{
    char *rest;
    const unsigned long at_kind = strtoul(how, &rest, 10), at_round = strtoul(rest, &rest, 10);
    const int number = (int)strtol(rest, &rest, 10);
    if (kind != at_kind || round != at_round)
        return;
    for (char *next = rest; *rest; rest = next) {
        const long who = strtol(rest, &next, 10);
        if (next == rest)
            break;
        if (who == rank)
            raise(number);
    }
}

static void keep(const char *prefix, const unsigned char *bytes, int count, int rank)
{
    char name[512];
    snprintf(name, sizeof name, "%s.%d", prefix, rank);
    FILE *file = fopen(name, "ab");
    if (!file)
        return;
    fwrite(bytes + HEADER_BYTES, 1, (size_t)(count - HEADER_BYTES), file);
    fclose(file);
}

int MPI_Isend(const void *data, int count, MPI_Datatype type, int to, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    const char *how = getenv("STRIKE"), *prefix = getenv("STRIKE_KEEP");
    uint32_t kind;
    uint64_t round;
    int rank = 0;
    if (tag == TAG_MAIL && type == MPI_BYTE && to == 0 && count >= HEADER_BYTES) {
        memcpy(&kind, data, sizeof kind);
        memcpy(&round, (const char *)data + ROUND_AT, sizeof round);
        PMPI_Comm_rank(comm, &rank);
        if (how)
            strike(how, kind, round, rank);
        if (prefix && kind == KEEP_KIND)
            keep(prefix, data, count, rank);
    }
    return PMPI_Isend(data, count, type, to, tag, comm, request);
}
