/* Locks on files that never make a job wait. */
#ifndef COHORT_STATE_LOCK_H
#define COHORT_STATE_LOCK_H

/* Locks the whole file open as HANDLE against all others: 0, or why not, as an errno (EAGAIN or
 * EACCES: another holds it). Open-file locks (Linux) end with the process and hold over NFS; they
 * do not wait for another holder, but on a network file system for the lock server, for ever if it
 * does not answer: after 10 s that is ETIMEDOUT. */
int cohort_lock_file(int handle);

#endif
