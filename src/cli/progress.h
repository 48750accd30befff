/* What a person sees of a training run. Rank 0. */
#ifndef COHORT_CLI_PROGRESS_H
#define COHORT_CLI_PROGRESS_H

#include "train/trainer.h"

typedef struct cohort_progress_line {
    bool is_live;      /* one line rewritten in place, on a terminal */
    bool is_shown;     /* a live line stands on the screen */
    double last_shown; /* clock */
} cohort_progress_line;

/* An observer that prints to stdout: a live line on a terminal, elsewhere one plain
 * line each ten seconds; one line an epoch. LINE must live as long. */
cohort_train_observer cohort_progress_observer(cohort_progress_line *line);
/* Takes the live line off the screen. */
void cohort_progress_hide(cohort_progress_line *line);

#endif
