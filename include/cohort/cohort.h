/* All of the library: runs by recipe (train.h), networks inside a program (net.h). */
#ifndef COHORT_COHORT_H
#define COHORT_COHORT_H

#include "cohort/arrays.h"
#include "cohort/net.h"
#include "cohort/status.h"
#include "cohort/train.h"

#endif
