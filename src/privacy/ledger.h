/* What a model has cost its data so far: every release, in order. It lives in the checkpoint and
 * goes wherever the weights go, so that resuming, or training again from them, keeps counting.
 *
 * Releases count whatever data they were on: a record may be in several data sets, and no
 * program can tell. Training without noise is in the ledger as well; it makes epsilon infinite
 * for the data it was on. */
#ifndef COHORT_PRIVACY_LEDGER_H
#define COHORT_PRIVACY_LEDGER_H

#include "base/text.h"
#include "privacy/account.h"

/* Numbers as in recipes (privacy.unit). */
typedef enum cohort_privacy_unit {
    COHORT_UNIT_EXAMPLE, /* neighbours differ in one row of the training data */
    COHORT_UNIT_CLIENT   /* … in all rows of one client */
} cohort_privacy_unit;

typedef enum cohort_mechanism {
    COHORT_MECHANISM_GAUSSIAN, /* Poisson-sampled, as in account.h */
    COHORT_MECHANISM_NONE      /* training without noise that can be relied on */
} cohort_mechanism;

typedef struct cohort_ledger_entry {
    cohort_mechanism mechanism;
    cohort_privacy_unit unit;
    cohort_release release; /* q and noise_multiplier are 0 for COHORT_MECHANISM_NONE */
    uint64_t data;          /* which data: a hash of all inputs of the training split */
} cohort_ledger_entry;

/* Start from {0}; free with cohort_ledger_clear. */
typedef struct cohort_ledger {
    cohort_ledger_entry *items;
    size_t count, capacity;
} cohort_ledger;

void cohort_ledger_clear(cohort_ledger *ledger);
/* Adds ENTRY's steps: to the last entry when that is the same but for its steps, else as a new
 * one. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_ledger_add(cohort_ledger *ledger,
                                                 const cohort_ledger_entry *entry);
/* Appends LEDGER to TEXT, a line for each entry, numbers in full; nothing for an empty one. */
void cohort_ledger_write(cohort_text *text, const cohort_ledger *ledger);
/* Adds the entries written in TEXT (NULL: none). COHORT_DATA for what is not a ledger. */
COHORT_NODISCARD cohort_status cohort_ledger_read(cohort_ledger *ledger, const char *text);

/* *epsilon at DELTA for one UNIT of data DATA: INFINITY when its data were trained on without
 * noise, or with noise for single examples only where a client is asked for (what protects a
 * client protects each of its examples). COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_ledger_epsilon(double *epsilon, const cohort_ledger *ledger,
                                                     cohort_accountant accountant,
                                                     cohort_privacy_unit unit, uint64_t data,
                                                     double delta);
/* False: no epsilon holds, as above. */
bool cohort_ledger_is_bounded(const cohort_ledger *ledger, cohort_privacy_unit unit, uint64_t data);
/* As cohort_account_noise, the ledger being the past. COHORT_USAGE also where the past is
 * infinite. */
COHORT_NODISCARD cohort_status cohort_ledger_noise(
    double *noise_multiplier, const cohort_ledger *ledger, cohort_accountant accountant,
    cohort_privacy_unit unit, uint64_t data, double target, double q, uint64_t steps, double delta);
/* *kept: whether STEPS more with Q and the noise of the last entry, if that is for DATA, keep
 * TARGET; then *noise_multiplier = that noise. For a run that goes on: bisection after some of
 * its steps would come out a hair off. COHORT_MEMORY. */
COHORT_NODISCARD cohort_status cohort_ledger_keep_noise(
    bool *kept, double *noise_multiplier, cohort_ledger *ledger, cohort_accountant accountant,
    cohort_privacy_unit unit, uint64_t data, double target, double q, uint64_t steps, double delta);
/* Steps of all entries. */
uint64_t cohort_ledger_steps(const cohort_ledger *ledger);
/* Whether there was training without noise on data other than DATA. */
bool cohort_ledger_has_noiseless(const cohort_ledger *ledger, uint64_t data);

#endif
