#include "cli/eval_groups.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "data/groups.h"

/* Names as they come from rank 0, and the numbers of the groups. Collective. */
static cohort_status share(cohort_eval_groups *groups, cohort_comm *comm, size_t row_count)
{
    uint64_t count = groups->group_count;
    cohort_status status = groups->ids ? COHORT_OK : COHORT_ALLOCATE(&groups->ids, row_count);
    COHORT_TRY(cohort_comm_agree(comm, status));
    COHORT_TRY(cohort_comm_broadcast(comm, &count, sizeof count, 0));
    groups->group_count = (size_t)count;
    COHORT_TRY(cohort_comm_broadcast(comm, groups->ids, row_count * sizeof *groups->ids, 0));
    COHORT_TRY(cohort_job_share_text(comm, &groups->names));
    return cohort_comm_agree(comm, COHORT_ALLOCATE(&groups->parts, groups->group_count));
}

cohort_status cohort_eval_groups_read(cohort_eval_groups *groups, cohort_comm *comm,
                                      const char *path, const char *group, const char *column,
                                      size_t row_count)
{
    cohort_status status = COHORT_OK;
    groups->column = column;
    if (cohort_comm_rank(comm) == 0) {
        status = cohort_groups_read_named(&groups->ids, &groups->group_count, &groups->names, path,
                                          group, column, row_count);
        if (status == COHORT_OK && groups->group_count > COHORT_EVALUATION_GROUPS_MAX)
            status = COHORT_FAIL(
                COHORT_DATA, "%s: %s/%s has %zu different values; --by takes at most %d groups",
                path, group, column, groups->group_count, COHORT_EVALUATION_GROUPS_MAX);
    }
    COHORT_TRY(cohort_comm_follow(comm, status));
    return share(groups, comm, row_count);
}

void cohort_eval_groups_clear(cohort_eval_groups *groups)
{
    for (size_t g = 0; groups->parts && g < groups->group_count; g++)
        cohort_evaluation_clear(&groups->parts[g]);
    cohort_free(groups->parts);
    cohort_free(groups->ids);
    cohort_text_clear(&groups->names);
    *groups = (cohort_eval_groups){0};
}

static const char *name_of(const cohort_eval_groups *groups, size_t index)
{
    const char *name = groups->names.data;
    while (index-- > 0)
        name += strlen(name) + 1;
    return name;
}

typedef struct figure {
    const char *key, *title;
    double (*of)(const cohort_evaluation *part);
} figure;

static double loss_of(const cohort_evaluation *part)
{
    return part->loss;
}

static double accuracy_of(const cohort_evaluation *part)
{
    return part->accuracy;
}

static double precision_of(const cohort_evaluation *part)
{
    return part->class_count ? part->macro.precision : NAN;
}

static double recall_of(const cohort_evaluation *part)
{
    return part->class_count ? part->macro.recall : NAN;
}

static double f1_of(const cohort_evaluation *part)
{
    return part->class_count ? part->macro.f1 : NAN;
}

static const figure figures[] = {{"loss", "loss", loss_of},
                                 {"accuracy", "accuracy", accuracy_of},
                                 {"precision", "precision", precision_of},
                                 {"recall", "recall", recall_of},
                                 {"f1", "F1", f1_of}};
enum { FIGURE_COUNT = sizeof figures / sizeof *figures };

/* The groups with the highest and the lowest figure BY; false where no group has it. */
static bool find_gap(size_t *highest, size_t *lowest, const figure *by,
                     const cohort_eval_groups *groups)
{
    bool found = false;
    for (size_t g = 0; g < groups->group_count; g++) {
        const double value = by->of(&groups->parts[g]);
        if (isnan(value))
            continue;
        if (!found || value > by->of(&groups->parts[*highest]))
            *highest = g;
        if (!found || value < by->of(&groups->parts[*lowest]))
            *lowest = g;
        found = true;
    }
    return found;
}

static void write_gaps(cohort_text *text, const cohort_eval_groups *groups)
{
    size_t highest = 0, lowest = 0;
    cohort_json_begin_array(text, "gaps");
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        if (!find_gap(&highest, &lowest, &figures[i], groups))
            continue;
        cohort_json_begin_object(text, NULL);
        cohort_json_string(text, "figure", figures[i].key);
        cohort_json_number(text, "gap",
                           figures[i].of(&groups->parts[highest]) -
                               figures[i].of(&groups->parts[lowest]));
        cohort_json_string(text, "highest", name_of(groups, highest));
        cohort_json_string(text, "lowest", name_of(groups, lowest));
        cohort_json_end_object(text);
    }
    cohort_json_end_array(text);
}

void cohort_eval_groups_write(cohort_text *text, const cohort_eval_groups *groups,
                              const cohort_snapshot *about)
{
    cohort_json_string(text, "by", groups->column);
    cohort_json_begin_array(text, "groups");
    for (size_t g = 0; g < groups->group_count; g++) {
        cohort_json_begin_object(text, NULL);
        cohort_json_string(text, "group", name_of(groups, g));
        cohort_evaluation_write(text, &groups->parts[g], about->classes, about->class_count, true);
        cohort_json_end_object(text);
    }
    cohort_json_end_array(text);
    write_gaps(text, groups);
}

static void print_gaps(const cohort_eval_groups *groups)
{
    size_t highest = 0, lowest = 0;
    puts("\nlargest gaps");
    for (size_t i = 0; i < FIGURE_COUNT; i++) {
        if (!find_gap(&highest, &lowest, &figures[i], groups))
            continue;
        const double high = figures[i].of(&groups->parts[highest]);
        const double low = figures[i].of(&groups->parts[lowest]);
        printf("%-20s %9.4f   %s %.4f, %s %.4f\n", figures[i].title, high - low,
               name_of(groups, highest), high, name_of(groups, lowest), low);
    }
}

void cohort_eval_groups_print(const cohort_eval_groups *groups)
{
    size_t unused;
    printf("\n%-20s %9s", groups->column, "samples");
    for (size_t i = 0; i < FIGURE_COUNT; i++)
        if (find_gap(&unused, &unused, &figures[i], groups))
            printf(" %9s", figures[i].title);
    puts("");
    for (size_t g = 0; g < groups->group_count; g++) {
        printf("%-20s %9llu", name_of(groups, g), (unsigned long long)groups->parts[g].samples);
        for (size_t i = 0; i < FIGURE_COUNT; i++)
            if (find_gap(&unused, &unused, &figures[i], groups))
                printf(" %9.4f", figures[i].of(&groups->parts[g]));
        puts("");
    }
    print_gaps(groups);
}
