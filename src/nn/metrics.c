#include "nn/metrics.h"

void cohort_confusion_add(double *matrix, size_t classes, const int32_t *truth,
                          const int32_t *predicted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (truth[i] < 0 || predicted[i] < 0)
            continue;
        size_t row = (size_t)truth[i], column = (size_t)predicted[i];
        if (row < classes && column < classes)
            matrix[row * classes + column] += 1;
    }
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

void cohort_confusion_figures(cohort_class_figures *figures, cohort_class_figures *macro,
                              double *accuracy, const double *matrix, size_t classes)
{
    double total = 0, hits = 0;
    *macro = (cohort_class_figures){0};
    for (size_t c = 0; c < classes; c++) {
        double own = matrix[c * classes + c], members = 0, predicted = 0;
        for (size_t k = 0; k < classes; k++) {
            members += matrix[c * classes + k];
            predicted += matrix[k * classes + c];
        }
        figures[c] = (cohort_class_figures){.precision = ratio(own, predicted),
                                            .recall = ratio(own, members),
                                            .f1 = ratio(2 * own, members + predicted),
                                            .support = (uint64_t)members};
        macro->precision += figures[c].precision / (double)classes;
        macro->recall += figures[c].recall / (double)classes;
        macro->f1 += figures[c].f1 / (double)classes;
        macro->support += figures[c].support;
        total += members;
        hits += own;
    }
    *accuracy = ratio(hits, total);
}
