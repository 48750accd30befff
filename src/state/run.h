/* The folder of a run: recipe.yaml, metrics.jsonl, checkpoints/{epoch-NNNN,last,best}.h5.
 *
 * Used on one rank (rank 0). What a person should know but that stops nothing (a damaged
 * checkpoint that was passed over, a file system without locks) goes to cohort_log. */
#ifndef COHORT_STATE_RUN_H
#define COHORT_STATE_RUN_H

#include "state/checkpoint.h"

typedef struct cohort_run cohort_run;

/* Opens run folder FOLDER for this job alone: makes it and its checkpoints/, takes the
 * advisory lock (file .lock, holding "pid@host"; released by close and by the death of the
 * process, also on NFS), removes temporary files that a killed job left. With FRESH, what the
 * folder holds is first moved aside as FOLDER.1 (or .2, …: the first that is free), never
 * deleted.
 * COHORT_USAGE: another job holds the folder (the message says which), or FRESH on a folder
 * that holds something but is no run. COHORT_DATA: it cannot be made or written. */
COHORT_NODISCARD cohort_status cohort_run_open(cohort_run **out, const char *folder, bool fresh);
/* What opening a run folder would meet. */
typedef struct cohort_run_place {
    bool exists;      /* the folder is there */
    bool has_locks;   /* the file system can lock files */
    uint64_t free;    /* bytes there */
    cohort_text last; /* newest checkpoint that verifies; "" if none */
} cohort_run_place;

/* Looks at FOLDER, or where it would be made, changing nothing (a file is made there and
 * removed at once). COHORT_USAGE: another job holds it; COHORT_DATA: it cannot be made or
 * written, or has checkpoints but none whole. Clear place->last in any case. */
COHORT_NODISCARD cohort_status cohort_run_look(cohort_run_place *place, const char *folder);
/* Releases the lock and frees; NULL is fine. */
void cohort_run_close(cohort_run *run);

/* The folder, without a trailing slash; owned by RUN. */
const char *cohort_run_folder(const cohort_run *run);
/* "FOLDER/NAME" into PATH (replaced); for NAME "metrics.jsonl", "checkpoints/best.h5", … */
COHORT_NODISCARD cohort_status cohort_run_path(cohort_text *path, const cohort_run *run,
                                               const char *name);
/* Replaces recipe.yaml by TEXT, atomically. */
COHORT_NODISCARD cohort_status cohort_run_write_recipe(const cohort_run *run, const char *text);

enum {
    COHORT_RUN_EPOCH_END = 1, /* keep it also as epoch-NNNN.h5 */
    COHORT_RUN_BEST = 2       /* keep it also as best.h5 */
};

/* Writes SNAPSHOT as last.h5 and, by WHAT (COHORT_RUN_*), copies of it as
 * epoch-EPOCH.h5 and best.h5; each replaces its old file atomically and is independent of the
 * others (damage to one spares the rest). After an epoch's file all but the KEEP newest
 * epoch files up to EPOCH are removed (0 = keep all); best.h5 and last.h5 stay. PATH
 * (replaced; may be NULL) is the file that was written: the epoch's if there is one, else
 * last.h5.
 * COHORT_DATA (disk full, …) names the file; every file is then the old or the new one,
 * whole, and nothing was removed. */
COHORT_NODISCARD cohort_status cohort_run_save(cohort_text *path, const cohort_run *run,
                                               const cohort_snapshot *snapshot, size_t epoch,
                                               unsigned what, size_t keep);

/* PATH (replaced) = the newest checkpoint that verifies: last.h5, else the newest epoch file;
 * those passed over are logged as warnings. Empty (length 0) if the run has no checkpoint
 * yet. COHORT_DATA if it has some but none is whole. */
COHORT_NODISCARD cohort_status cohort_run_latest(cohort_text *path, const cohort_run *run);

#endif
