#include "federated/robust.h"

#include <stdlib.h>

#include "base/memory.h"

static int by_value(const void *a, const void *b)
{
    const real left = *(const real *)a, right = *(const real *)b;
    return left < right ? -1 : left > right;
}

/* COLUMN [count] = coordinate AT of the updates, ascending. */
static void sort_column(real *column, const real *const *updates, size_t count, size_t at)
{
    enum { FEW = 24 };
    if (count > FEW) {
        for (size_t k = 0; k < count; k++)
            column[k] = updates[k][at];
        qsort(column, count, sizeof *column, by_value);
        return;
    }
    for (size_t k = 0; k < count; k++) {
        const real value = updates[k][at];
        size_t to = k;
        for (; to > 0 && column[to - 1] > value; to--)
            column[to] = column[to - 1];
        column[to] = value;
    }
}

void cohort_robust_median(real *out, const real *const *updates, size_t count, size_t begin,
                          size_t end, real *column)
{
    for (size_t i = begin; i < end; i++) {
        sort_column(column, updates, count, i);
        const double low = (double)column[(count - 1) / 2], high = (double)column[count / 2];
        out[i] = (real)((low + high) / 2);
    }
}

void cohort_robust_trimmed_mean(real *out, const real *const *updates, size_t count, double trim,
                                size_t begin, size_t end, real *column)
{
    const size_t cut = (size_t)((double)count * trim);
    for (size_t i = begin; i < end; i++) {
        double sum = 0;
        sort_column(column, updates, count, i);
        for (size_t k = cut; k < count - cut; k++)
            sum += (double)column[k];
        out[i] = (real)(sum / (double)(count - 2 * cut));
    }
}

void cohort_robust_distances(double *distances, const real *const *updates, size_t count,
                             size_t begin, size_t end)
{
    for (size_t from = begin; from < end; from += COHORT_ROBUST_BLOCK) {
        const size_t to = from + COHORT_ROBUST_BLOCK < end ? from + COHORT_ROBUST_BLOCK : end;
        double *block = distances + from / COHORT_ROBUST_BLOCK * count * count;
        for (size_t a = 0; a < count; a++)
            for (size_t b = a + 1; b < count; b++) {
                double sum = 0;
                for (size_t i = from; i < to; i++) {
                    const double d = (double)updates[a][i] - (double)updates[b][i];
                    sum += d * d;
                }
                block[a * count + b] = sum;
            }
    }
}

typedef struct score {
    double value;
    size_t index;
} score;

static int by_score(const void *a, const void *b)
{
    const score *left = a, *right = b;
    if (left->value != right->value)
        return left->value < right->value ? -1 : 1;
    return left->index < right->index ? -1 : left->index > right->index;
}

static int ascending(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

/* The sum of the NEAREST smallest distances of update AT; TOTALS [count][count] is symmetric,
 * ROW scratch. */
static double score_of(const double *totals, size_t count, size_t at, size_t nearest, double *row)
{
    size_t found = 0;
    double sum = 0;
    for (size_t k = 0; k < count; k++)
        if (k != at)
            row[found++] = totals[at * count + k];
    qsort(row, found, sizeof *row, ascending);
    for (size_t k = 0; k < nearest; k++)
        sum += row[k];
    return sum;
}

cohort_status cohort_robust_krum(size_t *chosen, const double *distances, size_t block_count,
                                 size_t count, size_t byzantine, size_t keep)
{
    double *totals = NULL, *row = NULL;
    score *scores = NULL;
    cohort_status status = COHORT_OK;
    COHORT_REQUIRE(
        count >= 2 * byzantine + 3 && keep <= count - byzantine - 2, COHORT_USAGE,
        "krum against %zu hostile clients with %zu kept needs %zu updates, not %zu; ask "
        "more clients (federated.fraction, min_clients) or lower byzantine",
        byzantine, keep,
        2 * byzantine + 3 > keep + byzantine + 2 ? 2 * byzantine + 3 : keep + byzantine + 2, count);
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&totals, count * count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&row, count));
    COHORT_TRY_DONE(status, COHORT_ALLOCATE(&scores, count));
    for (size_t block = 0; block < block_count; block++)
        for (size_t a = 0; a < count; a++)
            for (size_t b = a + 1; b < count; b++)
                totals[a * count + b] += distances[(block * count + a) * count + b];
    for (size_t a = 0; a < count; a++)
        for (size_t b = a + 1; b < count; b++)
            totals[b * count + a] = totals[a * count + b];
    for (size_t k = 0; k < count; k++)
        scores[k] = (score){score_of(totals, count, k, count - byzantine - 2, row), k};
    qsort(scores, count, sizeof *scores, by_score);
    for (size_t k = 0; k < keep; k++)
        chosen[k] = scores[k].index;
done:
    cohort_free(totals);
    cohort_free(row);
    cohort_free(scores);
    return status;
}
