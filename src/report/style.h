/* The style sheet of the page: light and dark, narrow and wide, paper. */
#ifndef COHORT_REPORT_STYLE_H
#define COHORT_REPORT_STYLE_H

extern const char cohort_report_style[];

#endif
