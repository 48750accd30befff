/* Messages between two ranks, for those that may lose each other: nothing here waits. A rank
 * that was killed, stopped or cut off holds up nobody; what was sent to it stays in its parcel
 * until the end.
 *
 * A message is one parcel of at most a fixed size. Between two ranks messages arrive in the order
 * in which they were sent. All functions are rank-local but open. */
#ifndef COHORT_COMM_MAIL_H
#define COHORT_COMM_MAIL_H

#include "comm/comm.h"

typedef struct cohort_mail cohort_mail;

/* Bytes on their way to one or several ranks; freed by itself once its maker has let go of it
 * and all that it was sent to have it. Not to be changed after the first send. */
typedef struct cohort_parcel {
    size_t bytes;
    size_t holders; /* private */
    unsigned char *data;
} cohort_parcel;

/* *out = a new parcel of BYTES, zeroed, held by the caller. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_parcel_create(cohort_parcel **out, size_t bytes);
void cohort_parcel_release(cohort_parcel *parcel);

/* *out = a mailbox over COMM (borrowed), for parcels of at most MOST_BYTES. Collective over COMM,
 * while all its ranks are there. COHORT_USAGE when MOST_BYTES is beyond what one message
 * carries (2 GiB). */
COHORT_NODISCARD cohort_status cohort_mail_open(cohort_mail **out, cohort_comm *comm,
                                                size_t most_bytes);
/* What could not be sent or received in full is left to the system. Leaves the communicator to
 * MPI: not collective. */
void cohort_mail_close(cohort_mail *mail);

/* From now on parcels have at most MOST_BYTES (COHORT_USAGE as above). */
COHORT_NODISCARD cohort_status cohort_mail_set_limit(cohort_mail *mail, size_t most_bytes);

/* Sends PARCEL to RANK; returns at once. Errors of MPI count as a rank that hears nothing. */
COHORT_NODISCARD cohort_status cohort_mail_send(cohort_mail *mail, int rank, cohort_parcel *parcel);
/* Whether RANK has not taken all that was sent to it yet. */
bool cohort_mail_is_pending(cohort_mail *mail, int rank);

/* Takes one message that has arrived, if there is one: *from, *data [*bytes] (owned by MAIL,
 * valid until the next call with the same sender's turn); else *from is -1. A message that is
 * too long is never taken: its sender is heard no more. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_mail_receive(cohort_mail *mail, int *from,
                                                   const unsigned char **data, size_t *bytes);
/* A little sleep for those who ask in a loop, that grows to a millisecond the longer nothing has
 * come. */
void cohort_mail_idle(cohort_mail *mail);

/* The other side is gone and this rank must not go on: breaks the communicator with the current
 * message, so that the program says it and ends. Returns COHORT_PEER. */
cohort_status cohort_mail_give_up(cohort_mail *mail);

/* Whether the process of RANK is known to have ended: seen on this host only. */
bool cohort_mail_is_dead(const cohort_mail *mail, int rank);
/* Kills the process of RANK where it runs on this host: a stopped one would keep the launcher
 * waiting for ever. For the end of the job. */
void cohort_mail_kill(const cohort_mail *mail, int rank);

#endif
