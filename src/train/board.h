/* A folder by which groups of ranks that train apart settle who does what: no rank waits for
 * another to answer, and it works between hosts wherever they share a file system. */
#ifndef COHORT_TRAIN_BOARD_H
#define COHORT_TRAIN_BOARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "base/text.h"

typedef struct cohort_board {
    cohort_text folder;
    int group, group_count;
    double *moved_at;     /* [group_count] clock when a group was last seen to move */
    long long *last_mark; /* [group_count] by what it was seen */
    double next_beat;
} cohort_board;

/* Makes FOLDER empty. One rank, before the others open it. COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_board_prepare(const char *folder);
/* Removes it. One rank, after all. */
void cohort_board_remove(const char *folder);

/* Opens FOLDER, which has been prepared, for GROUP of GROUP_COUNT. COHORT_DATA when it is not to
 * be seen from this host. Clear in any case. */
COHORT_NODISCARD cohort_status cohort_board_open(cohort_board *board, const char *folder, int group,
                                                 int group_count);
void cohort_board_clear(cohort_board *board);

/* *mine = whether this group is the first to ask for NAME. COHORT_DATA. */
COHORT_NODISCARD cohort_status cohort_board_claim(bool *mine, cohort_board *board,
                                                  const char *name);

/* Asks all groups to stop, and whether somebody has. What cannot be written is not: the others
 * then hear of it by the next collective. */
void cohort_board_call_stop(cohort_board *board);
bool cohort_board_is_stopped(cohort_board *board);

/* This group moves: told at most once a second. */
void cohort_board_beat(cohort_board *board);
/* The first group that has not moved for SECONDS, as seen from here; GROUP_COUNT if all have.
 * To be asked again and again. */
int cohort_board_find_stuck(cohort_board *board, double seconds);

#endif
