#include "privacy/ledger.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const char *const units[] = {"example", "client"};
static const char *const mechanisms[] = {"gaussian", "none"};

void cohort_ledger_clear(cohort_ledger *ledger)
{
    free(ledger->items);
    *ledger = (cohort_ledger){0};
}

static bool is_same(const cohort_ledger_entry *a, const cohort_ledger_entry *b)
{
    return a->mechanism == b->mechanism && a->unit == b->unit && a->data == b->data &&
           a->release.q == b->release.q &&
           a->release.noise_multiplier == b->release.noise_multiplier;
}

cohort_status cohort_ledger_add(cohort_ledger *ledger, const cohort_ledger_entry *entry)
{
    cohort_ledger_entry *last = ledger->count ? &ledger->items[ledger->count - 1] : NULL;
    if (last && is_same(last, entry)) {
        last->release.steps += entry->release.steps;
        return COHORT_OK;
    }
    COHORT_TRY(cohort_grow((void **)&ledger->items, &ledger->capacity, ledger->count + 1,
                           sizeof *ledger->items));
    ledger->items[ledger->count++] = *entry;
    return COHORT_OK;
}

void cohort_ledger_write(cohort_text *text, const cohort_ledger *ledger)
{
    char q[32], noise[32];
    for (size_t i = 0; i < ledger->count; i++) {
        const cohort_ledger_entry *entry = &ledger->items[i];
        cohort_text_append(text,
                           "mechanism %s unit %s q %s noise_multiplier %s steps %" PRIu64
                           " data %016" PRIx64 "\n",
                           mechanisms[entry->mechanism], units[entry->unit],
                           cohort_number_text(q, entry->release.q),
                           cohort_number_text(noise, entry->release.noise_multiplier),
                           entry->release.steps, entry->data);
    }
}

static bool find_word(int *index, const char *word, const char *const *words, int count)
{
    for (*index = 0; *index < count; ++*index)
        if (strcmp(words[*index], word) == 0)
            return true;
    return false;
}

static bool read_line(cohort_ledger_entry *entry, const char *line)
{
    char mechanism[16], unit[16], q[32], noise[32];
    int mechanism_index = 0, unit_index = 0, end = 0;
    *entry = (cohort_ledger_entry){0};
    cohort_release *release = &entry->release;
    if (sscanf(line,
               "mechanism %15s unit %15s q %31s noise_multiplier %31s steps %" SCNu64
               " data %" SCNx64 "%n",
               mechanism, unit, q, noise, &release->steps, &entry->data, &end) != 6)
        return false;
    if (line[end] != '\0' || !find_word(&mechanism_index, mechanism, mechanisms, 2) ||
        !find_word(&unit_index, unit, units, 2) || !cohort_parse_double(&release->q, q) ||
        !cohort_parse_double(&release->noise_multiplier, noise))
        return false;
    entry->mechanism = (cohort_mechanism)mechanism_index;
    entry->unit = (cohort_privacy_unit)unit_index;
    if (entry->mechanism == COHORT_MECHANISM_NONE)
        return release->q == 0 && release->noise_multiplier == 0;
    return release->q > 0 && release->q <= 1 && release->noise_multiplier > 0 &&
           isfinite(release->noise_multiplier);
}

cohort_status cohort_ledger_read(cohort_ledger *ledger, const char *text)
{
    while (text && *text) {
        char line[256];
        const size_t length = strcspn(text, "\n");
        cohort_ledger_entry entry;
        snprintf(line, sizeof line, "%.*s", (int)(length < sizeof line ? length : sizeof line - 1),
                 text);
        COHORT_REQUIRE(length < sizeof line && read_line(&entry, line), COHORT_DATA,
                       "the privacy ledger holds a line that cannot be read: '%.60s'", line);
        COHORT_TRY(cohort_ledger_add(ledger, &entry));
        text += length + (text[length] == '\n');
    }
    return COHORT_OK;
}

/* RELEASES [ledger->count] (NULL: only counted) = what counts for UNIT of DATA. False where there
 * is no bound. */
static bool take_releases(cohort_release *releases, size_t *count, const cohort_ledger *ledger,
                          cohort_privacy_unit unit, uint64_t data)
{
    *count = 0;
    for (size_t i = 0; i < ledger->count; i++) {
        const cohort_ledger_entry *entry = &ledger->items[i];
        if (entry->release.steps == 0)
            continue;
        if (entry->mechanism == COHORT_MECHANISM_NONE) {
            if (entry->data == data)
                return false;
            continue;
        }
        if (unit == COHORT_UNIT_CLIENT && entry->unit == COHORT_UNIT_EXAMPLE)
            return false;
        if (releases)
            releases[*count] = entry->release;
        ++*count;
    }
    return true;
}

bool cohort_ledger_is_bounded(const cohort_ledger *ledger, cohort_privacy_unit unit, uint64_t data)
{
    size_t count = 0;
    return take_releases(NULL, &count, ledger, unit, data);
}

cohort_status cohort_ledger_epsilon(double *epsilon, const cohort_ledger *ledger,
                                    cohort_accountant accountant, cohort_privacy_unit unit,
                                    uint64_t data, double delta)
{
    cohort_release *releases = NULL;
    size_t count = 0;
    cohort_status status = COHORT_OK;
    *epsilon = INFINITY;
    COHORT_TRY(COHORT_ALLOCATE(&releases, ledger->count));
    if (take_releases(releases, &count, ledger, unit, data))
        status = cohort_account(epsilon, accountant, releases, count, delta);
    cohort_free(releases);
    return status;
}

cohort_status cohort_ledger_noise(double *noise_multiplier, const cohort_ledger *ledger,
                                  cohort_accountant accountant, cohort_privacy_unit unit,
                                  uint64_t data, double target, double q, uint64_t steps,
                                  double delta)
{
    cohort_release *releases = NULL;
    size_t count = 0;
    cohort_status status = COHORT_OK;
    COHORT_TRY(COHORT_ALLOCATE(&releases, ledger->count));
    if (take_releases(releases, &count, ledger, unit, data))
        status = cohort_account_noise(noise_multiplier, accountant, target, releases, count, q,
                                      steps, delta);
    else
        status = COHORT_FAIL(COHORT_USAGE,
                             "privacy.target_epsilon: the weights come from training on the same "
                             "data without noise; no epsilon can be reached");
    cohort_free(releases);
    return status;
}

uint64_t cohort_ledger_steps(const cohort_ledger *ledger)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < ledger->count; i++)
        sum += ledger->items[i].release.steps;
    return sum;
}

bool cohort_ledger_has_noiseless(const cohort_ledger *ledger, uint64_t data)
{
    for (size_t i = 0; i < ledger->count; i++)
        if (ledger->items[i].mechanism == COHORT_MECHANISM_NONE && ledger->items[i].data != data)
            return true;
    return false;
}

cohort_status cohort_ledger_keep_noise(bool *kept, double *noise_multiplier, cohort_ledger *ledger,
                                       cohort_accountant accountant, cohort_privacy_unit unit,
                                       uint64_t data, double target, double q, uint64_t steps,
                                       double delta)
{
    double epsilon = INFINITY;
    *kept = false;
    if (ledger->count == 0)
        return COHORT_OK;
    cohort_ledger_entry *entry = &ledger->items[ledger->count - 1];
    if (entry->release.q != q || entry->data != data)
        return COHORT_OK;
    entry->release.steps += steps;
    cohort_status status = cohort_ledger_epsilon(&epsilon, ledger, accountant, unit, data, delta);
    entry->release.steps -= steps;
    *kept = epsilon <= target * (1 + 1e-6);
    if (*kept)
        *noise_multiplier = entry->release.noise_multiplier;
    return status;
}
