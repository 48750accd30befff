/* Loss and figures over a data set, every sample counted exactly once on any number of
 * ranks. */
#ifndef COHORT_TRAIN_EVALUATE_H
#define COHORT_TRAIN_EVALUATE_H

#include "nn/metrics.h"
#include "train/job.h"

typedef struct cohort_evaluation {
    double loss, accuracy; /* means over the positions counted; accuracy NaN for a regression */
    uint64_t samples;
    double positions;   /* samples x time for sequences, without ignored ones */
    size_t class_count; /* 0 = regression, or too many classes for a matrix of them */
    double *confusion;  /* [class_count][class_count], row = true; NULL unless asked for */
    cohort_class_figures *classes; /* [class_count]; NULL unless asked for */
    cohort_class_figures macro;
} cohort_evaluation;

/* Evaluates MODEL on what LOADER (over SUBSET, unshuffled) brings. *result is the same on
 * every rank, and on any number of them where outputs are; clear it with cohort_evaluation_clear.
 * DETAILED asks for the confusion matrix. Collective. */
COHORT_NODISCARD cohort_status cohort_evaluate(cohort_evaluation *result, cohort_comm *comm,
                                               cohort_model *model, const cohort_loss *loss,
                                               cohort_loader *loader, uint64_t batch_count,
                                               bool detailed);
/* The same where outputs depend on the rows beside theirs: LOADER brings whole blocks of the data
 * (all parts of its batches), the same on any number of ranks, each of which takes a run of the
 * BLOCK_COUNT blocks. Without MAY_STOP it goes on to the end, whatever the job is told.
 * Collective. */
COHORT_NODISCARD cohort_status cohort_evaluate_blocks(cohort_evaluation *result, cohort_comm *comm,
                                                      cohort_model *model, const cohort_loss *loss,
                                                      cohort_loader *loader, uint64_t block_count,
                                                      bool detailed, bool may_stop);
void cohort_evaluation_clear(cohort_evaluation *result);

/* Groups of the samples; at most COHORT_EVALUATION_GROUPS_MAX of them. */
typedef struct cohort_grouping {
    const int32_t *ids; /* [rows of the data set] the group of each, below group_count */
    size_t group_count;
} cohort_grouping;
enum { COHORT_EVALUATION_GROUPS_MAX = 256 };
/* Evaluates as cohort_evaluate does, all in *result and each group of GROUPING in PARTS
 * [group_count]; clear each. A group without samples has NaN for loss and accuracy. The macro
 * averages of a part are over the classes with members in it. Where the matrices of all groups
 * would take too much memory, parts have no class figures (class_count 0). Collective. */
COHORT_NODISCARD cohort_status cohort_evaluate_groups(cohort_evaluation *result,
                                                      cohort_evaluation *parts, cohort_comm *comm,
                                                      cohort_model *model, const cohort_loss *loss,
                                                      cohort_loader *loader, uint64_t batch_count,
                                                      const cohort_grouping *grouping);

/* Appends the members of a JSON object that is open in TEXT: samples, loss, accuracy,
 * precision, recall, f1, and, if RESULT is detailed and DETAILED, the lists `classes` (by the
 * names CLASSES [CLASS_COUNT], else by number) and `confusion_matrix` (rows: true class). */
void cohort_evaluation_write(cohort_text *text, const cohort_evaluation *result,
                             const char *const *classes, size_t class_count, bool detailed);

/* The mean loss of a sequence model in the units language models are compared by: perplexity
 * e^loss, and loss / ln 2 in bits per character where TOKENIZER (the data set's attribute, or
 * NULL) says that tokens are characters, else per token. */
typedef struct cohort_language_figures {
    double perplexity, bits;
    bool per_character;
} cohort_language_figures;

/* Returns false, and nothing, for a model that does not choose a token at each position. */
bool cohort_language_figures_of(cohort_language_figures *figures, const cohort_loss *loss,
                                const char *tokenizer, double mean_loss);

#endif
