/* Classification figures from a confusion matrix. */
#ifndef COHORT_NN_METRICS_H
#define COHORT_NN_METRICS_H

#include <stddef.h>
#include <stdint.h>

/* Per class and macro-averaged (unweighted mean over classes); 0/0 counts as 0, as in
 * scikit-learn. */
typedef struct cohort_class_figures {
    double precision, recall, f1;
    uint64_t support; /* true members */
} cohort_class_figures;

/* Adds COUNT pairs to MATRIX [classes][classes], row = true, column = predicted.
 * Pairs with a negative truth are skipped. */
void cohort_confusion_add(double *matrix, size_t classes, const int32_t *truth,
                          const int32_t *predicted, size_t count);
/* FIGURES [classes] and the macro average (its support is the total). */
void cohort_confusion_figures(cohort_class_figures *figures, cohort_class_figures *macro,
                              double *accuracy, const double *matrix, size_t classes);

#endif
