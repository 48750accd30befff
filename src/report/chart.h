/* Line charts as inline SVG. */
#ifndef COHORT_REPORT_CHART_H
#define COHORT_REPORT_CHART_H

#include <stdbool.h>

#include "base/text.h"
#include "report/history.h"

enum { COHORT_CHART_COLOURS = 8 };

typedef struct cohort_line {
    const char *label;
    cohort_series series;
    size_t colour; /* modulo COHORT_CHART_COLOURS; the page's style sheet has them */
    bool dashed;
} cohort_line;

typedef struct cohort_chart {
    const char *title;
    const char *x_title;
    const cohort_line *lines;
    size_t line_count;
    bool percent;   /* y values are fractions, shown as per cent */
    bool from_zero; /* the y axis begins at 0 */
} cohort_chart;

/* Appends a <figure> with the chart: axes with round numbers, a legend, a description for
 * those who do not see it (first, best and last value of each line), and the values as a
 * table to unfold. Nothing if no line has a point. Long series are drawn by the smallest and
 * largest value of each pixel column. */
void cohort_chart_write(cohort_text *html, const cohort_chart *chart);

#endif
