#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/command.h"
#include "cli/eval_groups.h"
#include "train/evaluate.h"

enum { BATCH = 64 };

static const cohort_option options[] = {
    {"data", "FILE", "a dataset file (default: the recipe's)", false},
    {"split", "GROUP", "the group to evaluate (default: the recipe's test group)", false},
    {"by", "COLUMN", "also every figure for each value of this dataset, which lies beside x and y",
     false},
    {"json", NULL, "print one JSON object", false},
};

static const char *class_name(char *text, const cohort_snapshot *about, size_t index)
{
    if (about->classes && index < about->class_count)
        return about->classes[index];
    snprintf(text, 24, "%zu", index);
    return text;
}

/* GROUPS: NULL without --by. */
static cohort_status print_json(const cohort_evaluation *result, const cohort_inference *inference,
                                const cohort_eval_groups *groups)
{
    const cohort_snapshot *about = inference->about;
    cohort_language_figures language;
    cohort_text text = {0};
    cohort_json_begin_object(&text, NULL);
    cohort_evaluation_write(&text, result, about->classes, about->class_count, true);
    if (cohort_language_figures_of(&language, &inference->loss, about->tokenizer, result->loss)) {
        cohort_json_number(&text, "perplexity", language.perplexity);
        cohort_json_number(&text, language.per_character ? "bits_per_character" : "bits_per_token",
                           language.bits);
    }
    if (groups)
        cohort_eval_groups_write(&text, groups, about);
    cohort_json_end_object(&text);
    cohort_status status = cohort_text_status(&text);
    if (status == COHORT_OK)
        puts(text.data);
    cohort_text_clear(&text);
    return status;
}

enum { CLASSES_SHOWN_MAX = 64 };

static void print_tables(const cohort_evaluation *result, const cohort_inference *inference)
{
    const cohort_snapshot *about = inference->about;
    cohort_language_figures language;
    char name[24];
    printf("samples %llu\nloss %.6f\n", (unsigned long long)result->samples, result->loss);
    if (!isnan(result->accuracy))
        printf("accuracy %.4f\n", result->accuracy);
    if (cohort_language_figures_of(&language, &inference->loss, about->tokenizer, result->loss))
        printf("perplexity %.4f\nbits per %s %.4f\n", language.perplexity,
               language.per_character ? "character" : "token", language.bits);
    if (!result->class_count)
        return;
    if (result->class_count > CLASSES_SHOWN_MAX) {
        printf("macro precision %.4f  recall %.4f  F1 %.4f  (%zu classes; --json lists them)\n",
               result->macro.precision, result->macro.recall, result->macro.f1,
               result->class_count);
        return;
    }
    printf("\n%-20s %9s %9s %9s %9s\n", "class", "precision", "recall", "F1", "support");
    for (size_t i = 0; i < result->class_count; i++)
        printf("%-20s %9.4f %9.4f %9.4f %9llu\n", class_name(name, about, i),
               result->classes[i].precision, result->classes[i].recall, result->classes[i].f1,
               (unsigned long long)result->classes[i].support);
    printf("%-20s %9.4f %9.4f %9.4f %9llu\n", "macro average", result->macro.precision,
           result->macro.recall, result->macro.f1, (unsigned long long)result->macro.support);
    puts("\nconfusion matrix (rows: true class, columns: predicted)");
    printf("%-20s", "");
    for (size_t k = 0; k < result->class_count; k++)
        printf(" %7zu", k);
    puts("");
    for (size_t i = 0; i < result->class_count; i++) {
        printf("%-20s", class_name(name, about, i));
        for (size_t k = 0; k < result->class_count; k++)
            printf(" %7.0f", result->confusion[i * result->class_count + k]);
        puts("");
    }
}

/* All that LOADER brings, and each of GROUPS where they were read. */
static cohort_status measure(cohort_evaluation *result, cohort_eval_groups *groups,
                             cohort_comm *comm, const cohort_inference *inference,
                             cohort_loader *loader, uint64_t batch_count)
{
    const cohort_grouping grouping = {groups->ids, groups->group_count};
    if (!groups->ids)
        return cohort_evaluate(result, comm, inference->model, &inference->loss, loader,
                               batch_count, true);
    return cohort_evaluate_groups(result, groups->parts, comm, inference->model, &inference->loss,
                                  loader, batch_count, &grouping);
}

/* GROUPS is filled when --by is given. */
static cohort_status evaluate(cohort_evaluation *result, cohort_eval_groups *groups,
                              cohort_comm *comm, cohort_inference *inference,
                              const cohort_options *given)
{
    const cohort_recipe *recipe = inference->recipe;
    const char *file = cohort_options_get(given, "data");
    const char *group = cohort_options_get(given, "split");
    const char *column = cohort_options_get(given, "by");
    group = group ? group : recipe->data.test;
    file = file ? file : recipe->data.file;
    cohort_dataset *dataset = NULL;
    cohort_loader *loader = NULL;
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(
        status,
        cohort_job_open_data(&dataset, comm, recipe,
                             &(cohort_job_data){.file = file,
                                                .group = group,
                                                .with_targets = cohort_job_needs_targets(recipe)}));
    const cohort_dataset_info *info = cohort_dataset_describe(dataset);
    const size_t global = inference->batch * (size_t)cohort_comm_size(comm);
    const cohort_share share = cohort_job_even_share(comm);
    const cohort_subset all = cohort_subset_all(info->count);
    char name[256];
    snprintf(name, sizeof name, "%s/%s", file, group);
    status = cohort_job_loss(&inference->loss, recipe, inference->model, info);
    if (status == COHORT_OK)
        status = cohort_job_check_data(dataset, name, cohort_model_input(inference->model),
                                       &inference->loss);
    if (status == COHORT_OK)
        status = cohort_job_loader(&loader, recipe, dataset, &all, global, &share, inference->model,
                                   COHORT_TO_EVALUATE);
    COHORT_TRY_DONE(status, cohort_comm_agree(comm, status));
    if (column)
        COHORT_TRY_DONE(status,
                        cohort_eval_groups_read(groups, comm, file, group, column, info->count));
    COHORT_TRY_DONE(status, measure(result, groups, comm, inference, loader,
                                    (info->count + global - 1) / global));
done:
    cohort_loader_destroy(loader);
    if (dataset)
        cohort_dataset_close(dataset);
    return status;
}

static cohort_status run(cohort_comm *comm, const cohort_options *given)
{
    cohort_inference inference = {0};
    cohort_evaluation result = {0};
    cohort_eval_groups groups = {0};
    const bool by = cohort_options_given(given, "by");
    cohort_job_set_threads(comm, 0);
    cohort_status status = COHORT_OK;
    COHORT_TRY_DONE(status, cohort_inference_open(&inference, comm, given->positional[0], BATCH));
    COHORT_TRY_DONE(status, evaluate(&result, &groups, comm, &inference, given));
    if (cohort_cli_is_speaker(comm)) {
        if (cohort_options_given(given, "json"))
            status = print_json(&result, &inference, by ? &groups : NULL);
        else
            print_tables(&result, &inference);
        if (by && !cohort_options_given(given, "json"))
            cohort_eval_groups_print(&groups);
    }
done:
    cohort_eval_groups_clear(&groups);
    cohort_evaluation_clear(&result);
    cohort_inference_close(&inference);
    return status;
}

const cohort_command cohort_command_eval = {
    .name = "eval",
    .usage = "MODEL [--data FILE] [--split GROUP] [--by COLUMN] [--json]",
    .summary = "Evaluate a checkpoint or run folder on a dataset",
    .details = "Prints loss, accuracy, precision, recall and F1 per class and macro-averaged, and\n"
               "the confusion matrix. Every sample counts exactly once on any number of ranks.\n"
               "A run folder stands for its best checkpoint.\n"
               "With --by, also for each group of samples (site, sex, speaker: integers or texts,\n"
               "one a sample), and the largest gap between groups; averages are then over the\n"
               "classes that occur in the group.",
    .options = options,
    .option_count = sizeof options / sizeof *options,
    .least = 1,
    .most = 1,
    .is_parallel = true,
    .run = run,
};
