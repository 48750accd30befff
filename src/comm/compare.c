/* Whether all ranks hold the same, and who does not. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "comm/comm.h"

enum { RUNS_LISTED = 8 };

void cohort_comm_list_ranks(cohort_text *text, const bool *chosen, int size)
{
    int count = 0, runs = 0, listed = 0;
    for (int r = 0; r < size; r++)
        count += chosen[r];
    cohort_text_append(text, count == 1 ? "rank " : "ranks ");
    for (int first = 0, next; first < size && runs < RUNS_LISTED; first = next) {
        next = first + 1;
        if (!chosen[first])
            continue;
        while (next < size && chosen[next])
            next++;
        cohort_text_append(text, "%s%d", runs++ ? ", " : "", first);
        if (next - first > 1)
            cohort_text_append(text, "%s%d", next - first > 2 ? "-" : ", ", next - 1);
        listed += next - first;
    }
    if (listed < count)
        cohort_text_append(text, " and %d more", count - listed);
}

/* Names the first rank whose text is another than rank 0's, and counts the others. */
static cohort_status name_difference(const cohort_comm *comm, const char *what, const char *advice,
                                     const char (*all)[COHORT_SAME_BYTES])
{
    const int size = cohort_comm_size(comm);
    cohort_text ranks = {0};
    bool *differs = NULL;
    int first = 0;
    cohort_status status = COHORT_ALLOCATE(&differs, (size_t)size);
    COHORT_TRY_DONE(status, status);
    for (int r = size - 1; r > 0; r--) {
        differs[r] = strcmp(all[r], all[0]) != 0;
        first = differs[r] ? r : first;
    }
    if (first == 0)
        goto done;
    cohort_comm_list_ranks(&ranks, differs, size);
    COHORT_TRY_DONE(status, cohort_text_status(&ranks));
    status =
        COHORT_FAIL(COHORT_PEER,
                    "the ranks do not have the same %s: %s on rank 0 (%s), %s on rank %d (%s); "
                    "not as rank 0: %s; %s",
                    what, all[0], cohort_comm_host(comm, 0), all[first], first,
                    cohort_comm_host(comm, first), ranks.data, advice);
done:
    cohort_free(differs);
    cohort_text_clear(&ranks);
    return status;
}

cohort_status cohort_comm_require_same(cohort_comm *comm, const char *what, const char *mine,
                                       const char *advice)
{
    const int size = cohort_comm_size(comm);
    char(*all)[COHORT_SAME_BYTES] = NULL, own[COHORT_SAME_BYTES] = "";
    if (size == 1)
        return COHORT_OK;
    snprintf(own, sizeof own, "%s", mine);
    cohort_status status = COHORT_ALLOCATE(&all, (size_t)size);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    COHORT_TRY_DONE(status, cohort_comm_gather_all(comm, all, own, sizeof own));
    status = name_difference(comm, what, advice, (const char(*)[COHORT_SAME_BYTES])all);
done:
    cohort_free(all);
    return status;
}
